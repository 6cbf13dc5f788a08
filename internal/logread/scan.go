package logread

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"
)

// scanTimeout limits the time of a scan. The time in which it waits for its client or
// for a slot does not count.
const scanTimeout = 10 * time.Second

// errScanTimeout is the error of a scan that took longer than scanner.timeout.
var errScanTimeout = errors.New("scan timed out")

// A scanner runs scans of the log.
type scanner struct {
	db       *database
	large    *largeEntries
	passes   passes
	times    blockTimes
	timeout  time.Duration
	stepWork int64 // as for pass
}

// search adds the entries that match q to dst, newest first, and at most q.limit
// of them.
func (s *scanner) search(ctx context.Context, l *lease, q *query, dst *partWriter) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		f := &fetcher{db: s.db, large: s.large, lease: l, dst: dst}
		if q.matchesAll() {
			return f.fetchRange(ctx, q.after, q.before, q.limit)
		}
		left := q.limit
		var ids []int64
		return s.scanBlocks(ctx, l, q, nil, nil, func(ctx context.Context, found *idSet) (enough bool, err error) {
			for before := int64(math.MaxInt64); left > 0; before = ids[len(ids)-1] {
				ids = found.appendBelow(ids[:0], before, min(left, maxFetch))
				if len(ids) == 0 {
					return false, nil
				}
				n, err := f.fetch(ctx, ids, newestFirst)
				if err != nil {
					return false, err
				}
				left -= n
			}
			return true, nil
		})
	})
}

// newest returns the ids of the newest entries that match q, newest first, and at
// most q.limit of them. It must be called in run.
func (s *scanner) newest(ctx context.Context, l *lease, q *query) (ids []int64, err error) {
	if q.matchesAll() {
		return s.newestOfAll(ctx, q)
	}
	err = s.scanBlocks(ctx, l, q, nil, nil, func(_ context.Context, found *idSet) (enough bool, err error) {
		ids = found.appendBelow(ids, math.MaxInt64, q.limit-len(ids))
		return len(ids) == q.limit, nil
	})
	return ids, err
}

// newestOfAll is newest for a query that matches every entry.
func (s *scanner) newestOfAll(ctx context.Context, q *query) (ids []int64, err error) {
	stmt, err := s.db.statement(ctx, "SELECT id FROM logs WHERE id < ? AND id > ? ORDER BY id DESC LIMIT ?")
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, q.before, q.after, q.limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // has no effect after the last row
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// count calls count for every entry that matches q.
func (s *scanner) count(ctx context.Context, l *lease, q *query, count countFunc) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		blockDone := func(context.Context, *idSet) (bool, error) { return false, nil }
		return s.scanBlocks(ctx, l, q, count, nil, blockDone)
	})
}

// each passes v every entry that matches q, in blocks from newest to oldest and in
// ascending order within a block. It ends after the block after which enough
// returns true.
func (s *scanner) each(ctx context.Context, l *lease, q *query, v visitor, enough func() bool) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		blockDone := func(context.Context, *idSet) (bool, error) { return enough(), nil }
		return s.scanBlocks(ctx, l, q, nil, &v, blockDone)
	})
}

// run calls scan with a slot and a context that is done when ctx is done or the
// scan has taken too long. It returns the cause if the context ended the scan. It
// releases the slot. If patience is not 0, it returns errNoSlot if no slot is free
// for that long.
func (s *scanner) run(
	ctx context.Context, l *lease, patience time.Duration, scan func(context.Context) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.timer = newPausedTimer(s.timeout, func() { cancel(errScanTimeout) })
	defer l.timer.stop()

	err := l.acquireFirst(ctx, patience)
	if err == nil {
		defer l.release()
		err = scan(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// scanBlocks visits the entries with q.after < id < q.before, in blocks of ids
// from newest to oldest. It reads each block in ascending order: the kernel only
// reads ahead forwards, and descending reads from disk are ten times slower.
//
// If count or each is set, scanBlocks passes it the matching entries. Otherwise it passes
// blockDone the ids of the block's matching entries. The scan ends if blockDone
// returns true or an error.
//
// A scan skips blocks in which an earlier scan found no time between q.since and
// q.until. It remembers the times of a block only if it visited the whole block
// when an entry of a later block already existed: such a block gets no more
// entries.
func (s *scanner) scanBlocks(
	ctx context.Context, l *lease, q *query, count countFunc, each *visitor,
	blockDone func(ctx context.Context, found *idSet) (enough bool, err error),
) error {
	p := &pass{
		matcher:  matcher{work: work{ctx: ctx}},
		filter:   &q.filter,
		count:    count,
		each:     each,
		stepWork: s.stepWork,
	}
	defer l.scan(p)()
	next, err := s.db.statement(ctx, "SELECT max(id) FROM logs WHERE id <= ?")
	if err != nil {
		return err
	}

	newest := s.db.newest.Load()
	for top := q.before - 1; top > q.after; {
		var id sql.NullInt64
		if err := next.QueryRowContext(ctx, top).Scan(&id); err != nil {
			return err
		}
		if !id.Valid || id.Int64 <= q.after {
			return nil
		}
		newest = max(newest, id.Int64)
		b := blockOf(id.Int64)
		if !q.hasTimeRange || s.times.mayContain(b, q.since, q.until) {
			p.startBlock(b)
			if err := s.visitBlock(ctx, l, p, max(b.first(), q.after+1), id.Int64); err != nil {
				return err
			}
			if p.needsTimes() && b.first() > q.after && b.last() <= top && b.last() < newest {
				s.times.set(b, p.times)
			}
			if enough, err := blockDone(ctx, &p.found); err != nil || enough {
				return err
			}
		}
		if b.first() <= q.after {
			return nil
		}
		top = b.first() - 1
	}
	return nil
}

// visitBlock visits the entries with first <= id <= last. It uses one statement
// per step, so that a block of large entries does not keep a read transaction open
// for long: no checkpoint can complete during a statement. Between two steps,
// another read can get the slot.
func (s *scanner) visitBlock(ctx context.Context, l *lease, p *pass, first, last int64) error {
	visit, err := s.db.statement(ctx, p.statement())
	if err != nil {
		return err
	}
	for first <= last {
		if err := l.yield(ctx); err != nil {
			return err
		}
		p.startStep(first)
		var visited int64
		err := visit.QueryRowContext(ctx, last, first, l.slot).Scan(&visited)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case isTooBig(err):
			if visited, err = s.visitLarge(ctx, l, p, last); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		first = visited + 1
	}
	return nil
}

// visitLarge visits the entry after the last one that p visited, at which a statement
// failed with SQLITE_TOOBIG. It returns the entry's id.
func (s *scanner) visitLarge(ctx context.Context, l *lease, p *pass, last int64) (id int64, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT ifnull(min(id), ?) FROM logs WHERE id > ? AND id <= ?",
		last, p.visited, last).Scan(&id)
	if err != nil {
		return 0, err
	}
	t := s.large.newTurn(l)
	err = s.large.use(ctx, l, t, id, false, func(e *largeEntry) error { return p.visitLarge(&e.row) })
	t.release()
	if err != nil && !errors.Is(err, errEntryDeleted) {
		return 0, err
	}
	return id, l.acquire(ctx)
}
