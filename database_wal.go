package main

import (
	"log/slog"
	"time"
)

// walCheckpoint is the size of the WAL, in bytes, at which a commit moves its
// content into the database. SQLite's default, 1,000 pages (8 MiB here), is no
// faster and leaves more rows outside the database when the disk fills up.
const walCheckpoint = 2 << 20

// walLimit is the size, in bytes, to which SQLite truncates the WAL when it
// restarts it. SQLite restarts the WAL after every few MB, unless a reader still
// needs its content. The WAL then grows, and above walShrinkSize the writer
// truncates it as soon as possible.
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

// shrink truncates the WAL of c if its size, in bytes, is too large. If that
// fails, it returns the error, and does nothing until the next attempt is due.
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

// truncateWAL is a checkpoint that waits only shrinkTimeout for readers. If the
// timeout cannot be set, the checkpoint waits longer, or the next transaction
// fails sooner and is retried.
func truncateWAL(c *conn) error {
	c.setBusyTimeout(shrinkTimeout)
	defer c.setBusyTimeout(busyTimeout)
	return c.checkpoint()
}
