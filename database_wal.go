package main

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"log-ingester/internal/dbfile"
)

// A checkpoint copies the WAL into the database. SQLite overwrites the WAL from its
// start when all of it has been copied.
//
// The checkpointer runs a checkpoint after each checkpointEvery bytes of rows. While
// many rows arrive, the WAL then always has some that are newer. From walCheckpoint
// bytes, a commit therefore also runs a checkpoint, which has less to copy.
const (
	checkpointEvery = 2 << 20
	walCheckpoint   = 8 << 20
)

// SQLite restarts the WAL after every few MB, and then truncates a larger file to
// walLimit bytes. It cannot restart the WAL while a reader still needs the
// content, so the WAL grows. Above walShrinkSize bytes, the writer truncates it
// as soon as possible.
const (
	walLimit      = 16 << 20
	walShrinkSize = 2 * walLimit
)

// While the WAL is larger than walShrinkSize, a truncating checkpoint is
// attempted every shrinkEvery. Each waits up to shrinkTimeout for readers.
const (
	shrinkEvery   = time.Second
	shrinkTimeout = 50 * time.Millisecond
)

// A walShrinker truncates a WAL that grew during a long read transaction.
type walShrinker struct {
	log         *slog.Logger
	blocked     bool // the last attempt failed
	nextAttempt time.Time
}

// shrink calls truncate if size, the WAL's size in bytes, exceeds walShrinkSize. After
// a failure it returns the error, and the calls during the next shrinkEvery do
// nothing.
func (s *walShrinker) shrink(truncate func() error, size int64) error {
	now := time.Now()
	if now.Before(s.nextAttempt) {
		return nil
	}
	var err error
	if size > walShrinkSize {
		err = truncate()
	}
	switch {
	case err != nil:
		if !s.blocked {
			s.log.Warn("WAL is growing", "bytes", size, "err", err)
		}
		s.nextAttempt = now.Add(shrinkEvery)
	case s.blocked:
		s.log.Info("WAL truncated")
	}
	s.blocked = err != nil
	return err
}

// A checkpointer runs checkpoints in a goroutine of its own, while the writer stores
// the next rows.
type checkpointer struct {
	conn    *conn
	due     chan struct{} // has a token if a checkpoint is due
	stopped chan struct{}
	running sync.Mutex // held during a checkpoint
	written int64      // bytes of rows since the last one was due; the writer's
}

// startCheckpointer opens a connection to the database at path. synchronous is the
// value of PRAGMA synchronous.
func startCheckpointer(path, synchronous string) (*checkpointer, error) {
	conn, err := openConn(dbfile.URI(path), new(pendingTable))
	if err != nil {
		return nil, err
	}
	c := &checkpointer{conn: conn, due: make(chan struct{}, 1), stopped: make(chan struct{})}
	err = conn.setBusyTimeout(busyTimeout)
	if err == nil {
		err = conn.exec("PRAGMA synchronous="+synchronous, "PRAGMA schema_version") // the second opens the WAL
	}
	if err != nil {
		return nil, errors.Join(err, conn.close())
	}
	go c.run()
	return c, nil
}

// run ignores errors: the checkpoints of commits try the same.
func (c *checkpointer) run() {
	defer close(c.stopped)
	for range c.due {
		c.running.Lock()
		c.conn.query("PRAGMA wal_checkpoint(PASSIVE)")
		c.running.Unlock()
	}
}

// committed counts n bytes of rows.
func (c *checkpointer) committed(n int64) {
	if c.written += n; c.written < checkpointEvery {
		return
	}
	c.written = 0
	select {
	case c.due <- struct{}{}:
	default:
	}
}

// close waits for the current checkpoint. c may be nil.
func (c *checkpointer) close() error {
	if c == nil {
		return nil
	}
	close(c.due)
	<-c.stopped
	return c.conn.close()
}
