package logread

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// scanTimeout limits the time of a scan. The time that its client takes to read
// the response does not count.
const scanTimeout = 10 * time.Second

// errScanTimeout is the error of a scan that took longer than scanner.timeout.
var errScanTimeout = errors.New("scan timed out")

// A scanner runs scans of the log.
type scanner struct {
	db       *database
	passes   passes
	times    blockTimes
	timeout  time.Duration
	stepWork int64 // as for pass
}

// search adds the entries that match q to dst, newest first, and at most q.limit
// of them. The caller must hold the slot.
func (s *scanner) search(ctx context.Context, slot int, q *query, dst sink) error {
	return s.run(ctx, func(ctx context.Context, conn *sql.Conn, timer *pausableTimer) error {
		dst := pausingSink{dst, timer}
		if q.matchesAll() {
			return fetchRange(ctx, conn, q, dst)
		}
		f, err := newFetcher(ctx, conn, dst, q.limit)
		if err != nil {
			return err
		}
		defer f.close()
		return s.scanBlocks(ctx, conn, slot, q, nil, nil, f.fetch)
	})
}

// count calls count for every entry that matches q. The caller must hold the
// slot.
func (s *scanner) count(ctx context.Context, slot int, q *query, count countFunc) error {
	return s.run(ctx, func(ctx context.Context, conn *sql.Conn, _ *pausableTimer) error {
		blockDone := func(context.Context, []int64) (bool, error) { return false, nil }
		return s.scanBlocks(ctx, conn, slot, q, count, nil, blockDone)
	})
}

// each passes v every entry that matches q, in blocks from newest to oldest and in
// ascending order within a block. It ends after the block after which enough
// returns true. The caller must hold the slot.
func (s *scanner) each(ctx context.Context, slot int, q *query, v visitor, enough func() bool) error {
	return s.run(ctx, func(ctx context.Context, conn *sql.Conn, _ *pausableTimer) error {
		blockDone := func(context.Context, []int64) (bool, error) { return enough(), nil }
		return s.scanBlocks(ctx, conn, slot, q, nil, &v, blockDone)
	})
}

// run gives scan a connection and a context that is done when ctx is done or the
// timer expires. It returns the cause if the context ended the scan.
func (s *scanner) run(
	ctx context.Context,
	scan func(ctx context.Context, conn *sql.Conn, timer *pausableTimer) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := startTimer(s.timeout, func() { cancel(errScanTimeout) })
	defer timer.stop()

	conn, err := s.db.Conn(ctx)
	if err == nil {
		defer conn.Close() // returns it to the pool
		err = scan(ctx, conn, timer)
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
// blockDone the ids of the block's matching entries, in ascending order. The scan
// ends if blockDone returns true or an error.
//
// A scan skips blocks in which an earlier scan found no time between q.since and
// q.until. It remembers the times of a block only if it visited the whole block
// when an entry of a later block already existed: such a block gets no more
// entries.
func (s *scanner) scanBlocks(
	ctx context.Context, conn *sql.Conn, slot int, q *query, count countFunc, each *visitor,
	blockDone func(ctx context.Context, found []int64) (enough bool, err error),
) error {
	p := &s.passes[slot]
	*p = pass{matcher: matcher{work: work{ctx: ctx}}, filter: &q.filter, count: count, each: each, stepWork: s.stepWork}
	defer func() { *p = pass{} }()

	next, err := conn.PrepareContext(ctx, "SELECT max(id) FROM logs WHERE id <= ?")
	if err != nil {
		return err
	}
	defer next.Close()
	visit, err := conn.PrepareContext(ctx, p.statement())
	if err != nil {
		return err
	}
	defer visit.Close()

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
			p.startBlock()
			if err := visitBlock(ctx, visit, p, max(b.first(), q.after+1), id.Int64, slot); err != nil {
				return err
			}
			if p.needsTimes() && b.first() > q.after && b.last() <= top && b.last() < newest {
				s.times.set(b, p.times)
			}
			if enough, err := blockDone(ctx, p.found); err != nil || enough {
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
// for long: no checkpoint can complete during a statement.
func visitBlock(ctx context.Context, visit *sql.Stmt, p *pass, first, last int64, slot int) error {
	for first <= last {
		p.startStep()
		var visited int64
		err := visit.QueryRowContext(ctx, last, first, slot).Scan(&visited)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.finishStep(); err != nil {
			return err
		}
		first = visited + 1
	}
	return nil
}
