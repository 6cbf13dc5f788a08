package logread

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"log-ingester/internal/summary"
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

	helpers   helperSlots
	helpAfter time.Duration
	isBusy    func() bool // reports whether helpers would slow down the ingestion

	ignoreSummaries bool // visit every entry; for tests
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
		return s.scan(ctx, l, &scan{q: q, blockDone: func(ctx context.Context, found *idSet) (enough bool, err error) {
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
		}})
	})
}

// newest returns the ids of the newest entries that match q, newest first, and at
// most q.limit of them. It must be called in run.
func (s *scanner) newest(ctx context.Context, l *lease, q *query) (ids []int64, err error) {
	if q.matchesAll() {
		return s.newestOfAll(ctx, q)
	}
	err = s.scan(ctx, l, &scan{q: q, blockDone: func(_ context.Context, found *idSet) (enough bool, err error) {
		ids = found.appendBelow(ids, math.MaxInt64, q.limit-len(ids))
		return len(ids) == q.limit, nil
	}})
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

// count calls count for every entry that matches q, except for those that it adds to
// counts from summaries. counts may be nil.
func (s *scanner) count(ctx context.Context, l *lease, q *query, count countFunc, counts *summary.Counts) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		return s.scan(ctx, l, &scan{q: q, count: count, counts: counts})
	})
}

// each passes v every entry that matches q, in parts from newest to oldest and in
// ascending order within a part. It ends after the part after which enough returns
// true.
func (s *scanner) each(ctx context.Context, l *lease, q *query, v visitor, enough func() bool) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		partDone := func(context.Context, *idSet) (bool, error) { return enough(), nil }
		return s.scan(ctx, l, &scan{q: q, each: &v, blockDone: partDone})
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

// A scan visits the entries with q.after < id < q.before, in blocks of ids from
// newest to oldest. It reads each block in ascending order: the kernel only reads
// ahead forwards, and descending reads from disk are ten times slower.
//
// In segments with a summary, it skips the blocks that cannot contain a matching entry.
// In others, it skips those in which an earlier scan found no time in the range of the
// query.
type scan struct {
	q *query

	// If count or each is set, the scan passes it the matching entries. If count is
	// not set, it calls blockDone after each part of a block, with the ids of the
	// matching entries if each is not set. The scan ends if blockDone returns true or
	// an error.
	count     countFunc
	each      *visitor
	blockDone func(ctx context.Context, found *idSet) (enough bool, err error)

	// If counts is set, the scan adds the stored counts of a segment to it instead of
	// counting its entries one by one, if that has the same result.
	counts *summary.Counts

	*scanner
	lease    *lease
	pass     *pass
	next     *sql.Stmt // the highest id up to another
	segments *segmentReader
	newest   int64
	start    time.Time
	pending  []*part // visited, or given to a helper, but not yet finished; the newest first
}

// scan executes sc. l must hold a slot.
func (s *scanner) scan(ctx context.Context, l *lease, sc *scan) (err error) {
	p := &pass{
		matcher:  matcher{work: work{ctx: ctx}},
		filter:   &sc.q.filter,
		count:    sc.count,
		each:     sc.each,
		stepWork: s.stepWork,
	}
	defer l.scan(p)()
	sc.scanner, sc.lease, sc.pass, sc.newest, sc.start = s, l, p, s.db.newest.Load(), time.Now()
	sc.next, err = s.db.statement(ctx, "SELECT max(id) FROM logs WHERE id <= ?")
	if err != nil {
		return err
	}
	sc.segments, err = newSegmentReader(ctx, s.db, sc.q, s.ignoreSummaries)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer sc.awaitHelpers()
	defer cancel()
	enough, err := sc.visitAll(ctx)
	if err == nil && !enough {
		_, err = sc.finishParts(ctx, 0)
	}
	return err
}

// visitAll visits one part after another. It returns enough if the scan needs no more
// parts.
func (sc *scan) visitAll(ctx context.Context) (enough bool, err error) {
	for top := sc.q.before - 1; top > sc.q.after; {
		var id sql.NullInt64
		if err := sc.next.QueryRowContext(ctx, top).Scan(&id); err != nil {
			return false, err
		}
		if !id.Valid || id.Int64 <= sc.q.after {
			return false, nil
		}
		sc.newest = max(sc.newest, id.Int64)
		number := summary.SegmentOf(id.Int64)
		segment, err := sc.segments.find(ctx, number)
		if err != nil {
			return false, err
		}
		first := blockOf(id.Int64).first()
		if segment != nil {
			first = summary.FirstID(number, 0)
			enough, err = sc.visitSegment(ctx, segment, idRange{max(first, sc.q.after+1), id.Int64})
		} else {
			enough, err = sc.visitUnsummarized(ctx, idRange{max(first, sc.q.after+1), id.Int64}, top)
		}
		if err != nil || enough || first <= sc.q.after {
			return enough, err
		}
		top = first - 1
	}
	return false, nil
}

// visitUnsummarized visits the given ids, which are in one block and are all ids of the
// block up to top. It remembers the times of a block only if it visits the whole block
// when an entry of a later block already exists: such a block gets no more entries.
func (sc *scan) visitUnsummarized(ctx context.Context, ids idRange, top int64) (enough bool, err error) {
	b := blockOf(ids.last)
	if sc.q.hasTimeRange && !sc.times.mayContain(b, sc.q.since, sc.q.until) {
		return false, nil
	}
	remember := sc.pass.needsTimes() && b.first() == ids.first && b.last() <= top && b.last() < sc.newest
	return sc.visitPart(ctx, &part{ids: ids, filter: &sc.q.filter, remember: remember})
}

// visitSegment visits those of the given ids, all in one segment, that can match.
func (sc *scan) visitSegment(ctx context.Context, s *segment, ids idRange) (enough bool, err error) {
	if sc.counts != nil && s.counts != nil && ids.first == summary.FirstID(s.number, 0) &&
		sc.q.before > summary.FirstID(s.number, s.Blocks)-1 {
		done, err := sc.addCounts(ctx, s, ids)
		if done || err != nil {
			return false, err
		}
	}
	blocks, err := sc.segments.candidates(ctx, s)
	if err != nil {
		return false, err
	}
	return sc.visitBlocks(ctx, s, blocks, ids, &sc.q.filter)
}

// visitBlocks visits the ids that are in some blocks of a segment.
func (sc *scan) visitBlocks(
	ctx context.Context, s *segment, blocks uint64, ids idRange, filter *filter,
) (enough bool, err error) {
	for _, run := range s.runs(blocks, ids) {
		enough, err := sc.visitPart(ctx, &part{ids: run, filter: filter})
		if enough || err != nil {
			return enough, err
		}
	}
	return false, nil
}

// addCounts adds the stored counts of s, and counts the entries that they do not
// include. It returns false if the stored counts cannot be used.
func (sc *scan) addCounts(ctx context.Context, s *segment, ids idRange) (done bool, err error) {
	within := sc.q.times()
	first, last, ok := s.Span()
	if ok && !sc.q.selectsLevels() && (!sc.q.hasTimeRange || within.Since <= first && last < within.Until) {
		sc.counts.Cover(first, last)
	}
	rest, ok := sc.counts.Merge(s.counts, sc.q.rankSet(), within, !sc.q.hasTimeRange)
	if !ok {
		return false, nil
	}
	if _, err := sc.visitBlocks(ctx, s, ^s.Covered(), ids, &sc.q.filter); err != nil {
		return false, err
	}
	for _, part := range rest {
		filter := sc.q.filter
		filter.since, filter.until, filter.hasTimeRange = part.Since, part.Until, true
		blocks := s.Covered() & s.WithTimes(part) & s.WithLevels(sc.q.rankSet())
		if _, err := sc.visitBlocks(ctx, s, blocks, ids, &filter); err != nil {
			return false, err
		}
	}
	return true, nil
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
