package main

import (
	"log/slog"
	"time"
)

// walCheckpoint is the size of the WAL, in bytes, from which a commit also runs a
// checkpoint: it copies the WAL into the database. SQLite's default, 1,000 pages
// (8 MiB here), is no faster and leaves more rows outside the database when the
// disk fills up.
const walCheckpoint = 2 << 20

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

// shrink truncates the WAL of c if size, the WAL's size in bytes, exceeds
// walShrinkSize. After a failure it returns the error, and the calls during the
// next shrinkEvery do nothing.
func (s *walShrinker) shrink(c *conn, size int64) error {
	now := time.Now()
	if now.Before(s.nextAttempt) {
		return nil
	}
	var err error
	if size > walShrinkSize {
		err = truncateWAL(c)
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

// truncateWAL runs a checkpoint that waits only shrinkTimeout for readers. It
// ignores errors of setBusyTimeout, because they are harmless: the checkpoint
// waits longer, or the next transaction fails sooner and is retried.
func truncateWAL(c *conn) error {
	c.setBusyTimeout(shrinkTimeout)
	defer c.setBusyTimeout(busyTimeout)
	return c.checkpoint()
}
