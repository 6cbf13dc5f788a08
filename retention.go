package main

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log-ingester/internal/dbfile"
	"log/slog"
	"os"
	"time"
)

const (
	// retentionStep is how many rows one step looks at or deletes at the
	// least: some ten milliseconds of work.
	retentionStep = 1000

	// A sweep for expired rows ends when it has met this many rows without
	// one. Rows are stored as they come, so that behind them are younger ones.
	sweepPatience = 10_000

	sweepEvery     = 10 * time.Second
	fullSweepEvery = time.Hour // to the last row, past any number of rows dated in the future

	// reserveSize is the size, in bytes, of a file that makes way when the disk
	// is full: deleting takes room before it gives any, as much as it takes to
	// bring the WAL into the database, so that the WAL's own room is free.
	reserveSize = 3*walCheckpoint + 2<<20
)

// A retention deletes the oldest rows: those older than maxAge, and as many as
// the database is larger than maxSize. It works in steps, each a transaction of
// its own. It belongs to the writer's goroutine.
type retention struct {
	db      *database
	log     *slog.Logger
	metrics *metrics
	maxAge  time.Duration // 0: any age
	maxSize int64         // in bytes; 0: any size

	sweeping  bool
	full      bool  // the sweep goes on to the last row
	cursor    int64 // the sweep has seen the rows up to this id
	unexpired int   // rows since the last one that had expired
	nextSweep time.Time
	nextFull  time.Time
	failing   bool // the last step failed
	reserved  bool // there was room for the reserve when it was asked for
}

// newRetention returns nil where there is nothing to delete ever.
func newRetention(db *database, maxAge time.Duration, maxSize int64, log *slog.Logger, m *metrics) *retention {
	r := &retention{db: db, log: log, metrics: m, maxAge: maxAge, maxSize: maxSize}
	if maxAge == 0 && maxSize == 0 {
		if err := r.close(); err != nil { // it is that of a program that was killed
			log.Warn(err.Error())
		}
		return nil
	}
	err := r.setReserve()
	if err != nil {
		log.Warn("no reserve for deleting on a full disk", "err", err)
	}
	r.reserved = err == nil
	return r
}

// makeRoom deletes what it may on a full disk. It returns false when that is not
// enough to set up the reserve again, which is for deleting only.
func (r *retention) makeRoom() bool {
	if r.reserved {
		os.Remove(r.reservePath()) // setReserve tells if that failed
	}
	r.nextSweep = time.Time{}
	for n := retentionStep; n > 0; {
		r.db.conn.checkpoint() // if it fails, the next step may do with less
		more, err := r.work(n)
		if isFull(err) {
			n /= 4
		} else if !more {
			break
		}
	}
	r.db.conn.checkpoint() // if it fails, there is no room yet
	return !r.reserved || r.setReserve() == nil
}

// step does a part of the work, in proportion to the rows that were written
// since the last step. more reports that there is more to do at once.
func (r *retention) step(written int) (more bool) {
	more, err := r.work(max(retentionStep, 2*written))
	if err != nil && !r.failing {
		r.log.Warn("cannot delete old entries, trying again", "err", err)
	}
	r.failing = err != nil
	return more
}

// work looks at n rows, or deletes as many, or gives free pages back.
func (r *retention) work(n int) (more bool, err error) {
	if err := r.db.ensureOpen(); err != nil {
		return false, err
	}
	if more, err := r.deleteBySize(n); more || err != nil {
		return more, err
	}
	if more, err := r.sweep(n); more || err != nil {
		return more, err
	}
	return r.vacuum()
}

// deleteBySize deletes the oldest rows, at most n, where the database is too
// large: as many as it has to lose, and at least one. It leaves a little room
// below the limit, so that new rows find free pages.
func (r *retention) deleteBySize(n int) (more bool, err error) {
	if r.maxSize == 0 {
		return false, nil
	}
	size, free, err := r.pages()
	if err != nil || size-free <= r.maxSize-r.maxSize/64 {
		return false, err
	}
	deleted, err := r.delete(`id <= (SELECT max(id) FROM (
		SELECT id, sum(bytes) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - bytes AS older FROM (
			SELECT id, octet_length(level) + octet_length(message) + octet_length(timestamp) + ifnull(octet_length(details), 0) AS bytes
			FROM logs ORDER BY id LIMIT ?))
		WHERE older < ?)`, int64(n), size-free-(r.maxSize-r.maxSize/32))
	return deleted > 0, err
}

// sweep deletes those of the next n rows that have expired. A time that SQLite
// cannot read never expires.
func (r *retention) sweep(n int) (more bool, err error) {
	now := time.Now()
	if !r.sweeping {
		if r.maxAge == 0 || now.Before(r.nextSweep) {
			return false, nil
		}
		r.sweeping, r.cursor, r.unexpired = true, 0, 0
		r.full = !now.Before(r.nextFull)
		if r.full {
			r.nextFull = now.Add(fullSweepEvery)
		}
		r.nextSweep = now.Add(sweepEvery)
	}
	rows, err := r.db.conn.query("SELECT count(*), ifnull(max(id), 0) FROM (SELECT id FROM logs WHERE id > ? ORDER BY id LIMIT ?)", r.cursor, int64(n))
	if err != nil {
		return false, err
	}
	seen, last := rows[0][0].(int64), rows[0][1].(int64)
	deleted := int64(0)
	if seen > 0 {
		deleted, err = r.delete("id > ? AND id <= ? AND unixepoch(timestamp) < ?", r.cursor, last, now.Add(-r.maxAge).Unix())
		if err != nil {
			return false, err
		}
		r.cursor = last
	}
	if deleted > 0 {
		r.unexpired = 0
	} else {
		r.unexpired += int(seen)
	}
	r.sweeping = seen > 0 && (r.full || r.unexpired < sweepPatience)
	return r.sweeping, nil
}

// delete deletes the rows that the condition holds for.
func (r *retention) delete(condition string, args ...driver.Value) (int64, error) {
	n, err := r.db.conn.change("DELETE FROM logs WHERE "+condition, args...)
	r.metrics.deleted.Add(n)
	return n, err
}

// vacuum gives free pages back to the file system where the file is larger
// than it may be, or a good part of it is free.
func (r *retention) vacuum() (more bool, err error) {
	size, free, err := r.pages()
	if err != nil || free == 0 {
		return false, err
	}
	if tooLarge := r.maxSize > 0 && size > r.maxSize; !tooLarge && free <= size/8 {
		return false, nil
	}
	if err := r.db.conn.exec("PRAGMA incremental_vacuum(100)"); err != nil {
		return false, err
	}
	after, _, err := r.pages()
	return after < size, err // a file of the Rust service keeps its pages, for new rows
}

// pages returns the size of the database and of the free pages in it, in bytes.
func (r *retention) pages() (size, free int64, err error) {
	rows, err := r.db.conn.query("SELECT page_count * page_size, freelist_count * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
	if err != nil {
		return 0, 0, err
	}
	return rows[0][0].(int64), rows[0][1].(int64), nil
}

func (r *retention) reservePath() string { return dbfile.Sidecar(r.db.path, "-reserve") }

// setReserve makes the reserve, if there is room for it.
func (r *retention) setReserve() error {
	err := os.WriteFile(r.reservePath(), make([]byte, reserveSize), 0o600)
	if err != nil {
		os.Remove(r.reservePath()) // half of a reserve is none
	}
	return err
}

func (r *retention) close() error {
	if err := os.Remove(r.reservePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the reserve: %w", err)
	}
	return nil
}
