// Package logread serves the HTTP routes that read the log: GET /logs and the routes
// below it.
//
// It guarantees:
//
//   - It never writes. Its connections are read-only.
//   - It never waits for the writer, and never delays a checkpoint by more than
//     some milliseconds: a statement reads a bounded number of rows and bytes,
//     and none runs while a large entry is matched or a response is written, even
//     if the client reads slowly.
//   - It checks the time limit of a read, and whether its client has disconnected,
//     by the bytes it has examined, also inside an entry.
//   - A partial response is never presented as complete. If a response fails
//     after its first bytes were sent, the connection is aborted.
//   - The numbers of concurrent scans and tails, and of the goroutines that help a scan,
//     are bounded. A client that exceeds
//     a limit gets a 503 with Retry-After.
//
// It must not depend on package main, and knows neither the queue nor the
// writer. It learns of commits through Reader.Committed, and of entries that
// other processes insert by polling. It relies on ids that only increase and on
// entries that never change, as AUTOINCREMENT and the writer guarantee.
package logread

import (
	"log/slog"
	"runtime"
	"time"
)

const (
	maxReads     = 4 // concurrent scans for /logs and /logs/histogram
	maxTailReads = 2 // concurrent scans for tails; each is short
	maxHelpers   = 7 // goroutines that help scans, if there are as many processors

	slotTimeout = time.Second // how long a scan waits for a free slot
)

// A Reader serves the routes that read the log, from one database file. It has
// its own connections.
type Reader struct {
	log     *slog.Logger
	db      *database
	scanner *scanner
	hub     *hub

	slotTimeout time.Duration
	reads       slots // for /logs and /logs/histogram
	tailReads   slots // for tails
}

// Open opens the existing database at path for reading.
func Open(path string, log *slog.Logger) (*Reader, error) {
	helpers := min(runtime.GOMAXPROCS(0)-1, maxHelpers)
	passes := make(passes, maxReads+maxTailReads+helpers)
	db, err := openDatabase(path, passes.visit, len(passes))
	if err != nil {
		return nil, err
	}
	return &Reader{
		log: log,
		db:  db,
		scanner: &scanner{
			db:        db,
			passes:    passes,
			timeout:   scanTimeout,
			stepWork:  defaultStepWork,
			helpers:   newSlots(maxReads+maxTailReads, helpers),
			helpAfter: helpAfter,
			isBusy:    func() bool { return false },
		},
		hub:         newHub(db, log),
		slotTimeout: slotTimeout,
		reads:       newSlots(0, maxReads),
		tailReads:   newSlots(maxReads, maxTailReads),
	}, nil
}

// Committed reports that the entries up to lastID are committed. It is cheap,
// never blocks, and may be called from any goroutine.
func (r *Reader) Committed(lastID int64) { r.hub.committed(lastID) }

// YieldWhile makes scans use only one processor each while isBusy returns true. It must
// be called before the first request.
func (r *Reader) YieldWhile(isBusy func() bool) { r.scanner.isBusy = isBusy }

// EndTails stops all tails and rejects new ones, so that a server can shut down
// without waiting for them.
func (r *Reader) EndTails() { r.hub.stop() }

// Close stops the tails, waits for them, and closes the connections. Reads in
// progress may finish.
func (r *Reader) Close() error {
	r.hub.stop()
	r.hub.wait()
	return r.db.Close()
}
