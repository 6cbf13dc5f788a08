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
//   - The memory of all reads and tails is bounded; see memory.go. SQLite reads no
//     value above 64 KiB, except one large entry at a time, which all reads share.
//   - The numbers of open reads, tails, concurrent steps and goroutines that help
//     a scan are bounded. All but the last are shared fairly between client
//     addresses. A read that waits for its client counts only as an open read. A
//     client that exceeds a limit gets a 503 with Retry-After.
//
// It must not depend on package main, and knows neither the queue nor the
// writer. It learns of commits through Reader.Committed, and of entries that
// other processes insert by polling. It relies on ids that only increase and on
// entries that never change, as AUTOINCREMENT and the writer guarantee.
package logread

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"time"
)

const (
	maxReads = 64 // open requests, without tails
	maxTails = 32

	maxHelpers = 7 // goroutines that help scans, if there are as many processors

	maxCounts   = 2        // open requests to /logs/kinds and /logs/fields, besides the limit maxReads
	countMemory = 10 << 20 // of such a request, in bytes

	maxReadSteps = 4 // concurrent steps of these requests
	maxTailSteps = 2 // concurrent steps for tails

	slotTimeout = time.Second // how long a request waits until it may be open
)

// errShutdown is the error of a read that does not end in time at a shutdown.
var errShutdown = errors.New("service is shutting down")

// A Config configures a Reader.
type Config struct {
	Log *slog.Logger

	// ClientAddr returns the address of a request's client, by which the limits are
	// shared. IPv6 addresses of one /64 network count as one. The default is the
	// request's RemoteAddr.
	ClientAddr func(*http.Request) netip.Addr

	// IsBusy reports whether clients that send logs need the processors. Scans then use
	// one processor each. The default is never.
	IsBusy func() bool
}

// A Reader serves the routes that read the log, from one database file. It has
// its own connections.
type Reader struct {
	log         *slog.Logger
	clientAddr  func(*http.Request) netip.Addr
	memory      memory
	db          *database
	large       *largeEntries
	scanner     *scanner
	compressors *compressors
	hub         *hub

	slotTimeout time.Duration
	openReads   *slots // for all but tails
	openTails   *slots
	openCounts  *slots // for /logs/kinds and /logs/fields
	readSteps   *slots
	tailSteps   *slots

	shutdown      context.Context // done when a shutdown begins
	startShutdown context.CancelFunc
}

// Open opens the existing database at path for reading.
func Open(path string, config Config) (*Reader, error) {
	r := &Reader{
		log:         config.Log,
		clientAddr:  config.ClientAddr,
		slotTimeout: slotTimeout,
		openReads:   newSlots(0, maxReads, true),
		openTails:   newSlots(0, maxTails, true),
		openCounts:  newSlots(0, maxCounts, true),
		readSteps:   newSlots(0, maxReadSteps, false),
		tailSteps:   newSlots(maxReadSteps, maxTailSteps, false),
	}
	if r.clientAddr == nil {
		r.clientAddr = remoteAddr
	}
	reads := account{&r.memory, &r.memory.reads}
	r.compressors = newCompressors(reads)

	helpers := min(runtime.GOMAXPROCS(0)-1, maxHelpers)
	passes := make(passes, maxReadSteps+maxTailSteps+helpers)
	db, err := openDatabase(path, passes.functions(), len(passes))
	if err != nil {
		return nil, err
	}
	large, err := openLargeEntries(path, reads)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	r.db, r.large = db, large
	r.scanner = &scanner{
		stepper:   stepper{db, large},
		passes:    passes,
		timeout:   scanTimeout,
		stepWork:  defaultStepWork,
		helpers:   newHelperSlots(maxReadSteps+maxTailSteps, helpers),
		helpAfter: helpAfter,
		isBusy:    config.IsBusy,
	}
	if config.IsBusy == nil {
		r.scanner.isBusy = func() bool { return false }
	}
	r.hub = newHub(db, config.Log)
	r.shutdown, r.startShutdown = context.WithCancel(context.Background())
	return r, nil
}

// Committed reports that the entries up to lastID are committed. It is cheap,
// never blocks, and may be called from any goroutine.
func (r *Reader) Committed(lastID int64) { r.hub.committed(lastID) }

// QueryRow runs a statement that selects at most one row and takes microseconds.
// It does not count as a scan.
func (r *Reader) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return r.db.QueryRowContext(ctx, query, args...)
}

// Memory returns the bytes that reads and tails use: their buffers, and the large
// entry that is loaded for one of them, with SQLite's copy of it. It does not include
// the page caches of the connections.
func (r *Reader) Memory() (reads, tails int64) {
	return r.memory.reads.Load(), r.memory.tails.Load()
}

// IsReading reports whether a read is in progress that does not wait for its client.
func (r *Reader) IsReading() bool { return r.readSteps.inUse() }

// Shutdown stops all tails, rejects new ones, and gives reads one more second, so
// that a server can shut down without waiting for slow clients.
func (r *Reader) Shutdown() {
	r.hub.stop()
	r.startShutdown()
}

// Close stops the tails, waits for them and for the reads in progress, and closes
// the connections.
func (r *Reader) Close() error {
	r.hub.stop()
	r.hub.wait()
	r.openReads.close()
	r.openReads.wait()
	r.startShutdown() // release the context
	return errors.Join(r.large.close(), r.db.Close())
}
