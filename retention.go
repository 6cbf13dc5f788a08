package main

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"log-ingester/internal/dbfile"
)

const (
	// minStepRows is how many rows one step may examine or delete when few or no
	// rows were written before: about ten milliseconds of work.
	minStepRows = 1000

	// A sweep for expired rows stops after this many consecutive rows that have
	// not expired. Rows are stored in order of arrival, so the rows after them
	// are usually younger.
	sweepGiveUpAfter = 10_000

	sweepEvery = 10 * time.Second

	// A full sweep examines all rows. It finds expired rows that other sweeps do
	// not reach, because they follow many rows with a time in the future.
	fullSweepEvery = time.Hour

	// reserveSize is the size, in bytes, of a placeholder file. It is removed
	// when the disk is full, because deleting rows needs space before it frees
	// any. Its space suffices for a checkpoint of the WAL, after which SQLite
	// overwrites the WAL instead of extending it.
	reserveSize = walCheckpoint + 6<<20
)

// A retention deletes the oldest rows: those older than maxAge, and those that
// make the database larger than maxSize. It works in steps, each with its own
// transaction. It belongs to the writer's goroutine. A nil retention deletes
// nothing.
type retention struct {
	db      *database
	log     *slog.Logger
	metrics *metrics
	maxAge  time.Duration // 0 for no limit
	maxSize int64         // in bytes; 0 for no limit

	sweeping  bool
	full      bool  // the current sweep examines all rows
	cursor    int64 // the current sweep has examined the rows up to this id
	unexpired int   // rows examined since the last step that deleted any
	nextSweep time.Time
	nextFull  time.Time

	failing    bool // the last step failed
	hasReserve bool // the reserve file could be created at startup
}

// newRetention creates the reserve file. If there is no limit, it returns nil and
// removes a reserve file from an earlier run.
func newRetention(db *database, maxAge time.Duration, maxSize int64, log *slog.Logger, m *metrics) *retention {
	r := &retention{db: db, log: log, metrics: m, maxAge: maxAge, maxSize: maxSize}
	if maxAge == 0 && maxSize == 0 {
		// A killed process may have left its reserve file behind.
		if err := r.close(); err != nil {
			log.Warn("cannot remove an old reserve file", "err", err)
		}
		return nil
	}
	err := r.createReserve()
	if err != nil {
		log.Warn("cannot create the reserve file for deleting entries on a full disk", "err", err)
	}
	r.hasReserve = err == nil
	return r
}

// makeRoom deletes rows on a full disk, and returns whether the writer should
// try again. If there was a reserve file, it returns false until that exists
// again, because its space is for deleting only.
func (r *retention) makeRoom() bool {
	if r == nil {
		return true
	}
	if r.hasReserve {
		os.Remove(r.reservePath()) // if this fails, createReserve reports it
	}
	r.nextSweep = time.Time{}
	for n := minStepRows; n > 0; {
		r.db.checkpoint() // if this fails, a smaller step may need less space
		more, err := r.deleteOrVacuum(n)
		if isFull(err) {
			n /= 4
		} else if !more {
			break
		}
	}
	r.db.checkpoint() // if this fails, there is no space yet
	return !r.hasReserve || r.createReserve() == nil
}

// step does a part of the work, in proportion to the number of rows written
// since the last step. It reports whether there is more to do now.
func (r *retention) step(written int) (more bool) {
	if r == nil {
		return false
	}
	more, err := r.deleteOrVacuum(max(minStepRows, 2*written))
	if err != nil && !r.failing {
		r.log.Warn("cannot delete old entries, retrying", "err", err)
	}
	r.failing = err != nil
	return more
}

// deleteOrVacuum examines or deletes up to n rows or, if there is nothing to
// delete, returns free pages to the file system.
func (r *retention) deleteOrVacuum(n int) (more bool, err error) {
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

// deleteBySize deletes up to n of the oldest rows if the database is too large: not
// more than necessary, but at least one. It leaves some space below the limit,
// so that new rows find free pages.
func (r *retention) deleteBySize(n int) (more bool, err error) {
	if r.maxSize == 0 {
		return false, nil
	}
	size, free, err := r.pageBytes()
	if err != nil || size-free <= r.maxSize-r.maxSize/64 {
		return false, err
	}
	last, ok, err := r.oldest(n, size-free-(r.maxSize-r.maxSize/32))
	if err != nil || !ok {
		return false, err
	}
	deleted, err := r.delete(math.MinInt64, last, "id <= ?", last)
	return deleted > 0, err
}

// oldest selects the oldest rows: at most n, with at most size bytes in total, but at
// least one. It returns the id of the last of them; ok is false if there are no rows. It
// tries different numbers of rows, because a window function would take longer than
// deleting the rows does.
func (r *retention) oldest(n int, size int64) (last int64, ok bool, err error) {
	for try := min(n, minStepRows); ; {
		rows, err := r.db.conn.query(`SELECT max(id), sum(bytes) FROM (
			SELECT id, octet_length(level) + octet_length(message) + octet_length(timestamp) +
				ifnull(octet_length(details), 0) AS bytes
			FROM logs ORDER BY id LIMIT ?)`, int64(try))
		if err != nil {
			return 0, false, err
		}
		last, ok = rows[0][0].(int64)
		sum, _ := rows[0][1].(int64)
		estimate := int(float64(try) * float64(size) / float64(max(sum, 1)))
		switch {
		case sum > size && try > 1:
			try = max(1, min(try/2, estimate))
			n = try // do not try more again
		case ok && sum < size/2 && try < n:
			try = min(n, estimate)
		default:
			return last, ok, nil
		}
	}
}

// sweep deletes the expired rows among the next n rows. A row whose time SQLite
// cannot parse never expires.
func (r *retention) sweep(n int) (more bool, err error) {
	now := time.Now()
	if !r.sweeping {
		if r.maxAge == 0 || now.Before(r.nextSweep) {
			return false, nil
		}
		r.startSweep(now)
	}
	rows, err := r.db.conn.query("SELECT count(*), ifnull(max(id), 0)"+
		" FROM (SELECT id FROM logs WHERE id > ? ORDER BY id LIMIT ?)", r.cursor, int64(n))
	if err != nil {
		return false, err
	}
	seen, last := rows[0][0].(int64), rows[0][1].(int64)
	deleted := int64(0)
	if seen > 0 {
		deleted, err = r.delete(r.cursor, last, "id > ? AND id <= ? AND unixepoch(timestamp) < ?",
			r.cursor, last, now.Add(-r.maxAge).Unix())
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
	r.sweeping = seen > 0 && (r.full || r.unexpired < sweepGiveUpAfter)
	return r.sweeping, nil
}

// startSweep starts a sweep at the oldest row.
func (r *retention) startSweep(now time.Time) {
	r.sweeping, r.cursor, r.unexpired = true, 0, 0
	r.nextSweep = now.Add(sweepEvery)
	r.full = !now.Before(r.nextFull)
	if r.full {
		r.nextFull = now.Add(fullSweepEvery)
	}
}

// delete deletes the rows that match condition, all of which have ids from first to
// last.
func (r *retention) delete(first, last int64, condition string, args ...driver.Value) (int64, error) {
	n, err := r.db.deleteRows(first, last, condition, args...)
	r.metrics.deleted.Add(n)
	return n, err
}

// vacuum returns free pages to the file system if the file is larger than
// maxSize, or if more than an eighth of it is free.
func (r *retention) vacuum() (more bool, err error) {
	size, free, err := r.pageBytes()
	if err != nil || free == 0 {
		return false, err
	}
	if tooLarge := r.maxSize > 0 && size > r.maxSize; !tooLarge && free <= size/8 {
		return false, nil
	}
	if err := r.db.conn.exec("PRAGMA incremental_vacuum(100)"); err != nil {
		return false, err
	}
	after, _, err := r.pageBytes()
	// A file without auto_vacuum, such as the Rust service's, keeps its pages
	// for new rows.
	return after < size, err
}

// pageBytes returns the size of the database and of its free pages, in bytes.
func (r *retention) pageBytes() (size, free int64, err error) {
	rows, err := r.db.conn.query("SELECT page_count * page_size, freelist_count * page_size" +
		" FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
	if err != nil {
		return 0, 0, err
	}
	return rows[0][0].(int64), rows[0][1].(int64), nil
}

func (r *retention) reservePath() string { return dbfile.Sidecar(r.db.path, "-reserve") }

// createReserve creates the reserve file. It replaces what is at the path, which could
// be another user's link to a file. After an error there is no reserve file.
func (r *retention) createReserve() error {
	if err := r.close(); err != nil {
		return err
	}
	f, err := os.OpenFile(r.reservePath(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, reserveSize))
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(r.reservePath()) // an incomplete reserve is useless
	}
	return err
}

// close removes the reserve file.
func (r *retention) close() error {
	if r == nil {
		return nil
	}
	if err := os.Remove(r.reservePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove reserve file: %w", err)
	}
	return nil
}
