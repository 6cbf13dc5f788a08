package logread

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"log-ingester/internal/summary"
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

	helpers   slots // for goroutines that help a scan
	helpAfter time.Duration
	isBusy    func() bool // reports whether helpers would slow down the ingestion

	ignoreSummaries bool // visit every entry; for tests
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
		return s.scan(ctx, conn, slot, &scan{q: q, blockDone: f.fetch})
	})
}

// count calls count for every entry that matches q, except for those that it adds to
// counts from summaries. counts may be nil. The caller must hold the slot.
func (s *scanner) count(ctx context.Context, slot int, q *query, count countFunc, counts *summary.Counts) error {
	return s.run(ctx, func(ctx context.Context, conn *sql.Conn, _ *pausableTimer) error {
		return s.scan(ctx, conn, slot, &scan{q: q, count: count, counts: counts})
	})
}

// each passes v every entry that matches q, in blocks from newest to oldest and in
// ascending order within a block. It ends after the block after which enough
// returns true. The caller must hold the slot.
func (s *scanner) each(ctx context.Context, slot int, q *query, v visitor, enough func() bool) error {
	return s.run(ctx, func(ctx context.Context, conn *sql.Conn, _ *pausableTimer) error {
		blockDone := func(context.Context, []int64) (bool, error) { return enough(), nil }
		return s.scan(ctx, conn, slot, &scan{q: q, each: &v, blockDone: blockDone})
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

// A scan visits the entries with q.after < id < q.before, in blocks of ids from
// newest to oldest. It reads each block in ascending order: the kernel only reads
// ahead forwards, and descending reads from disk are ten times slower.
//
// In segments with a summary, it skips the blocks that cannot contain a matching entry.
// In others, it skips those in which an earlier scan found no time in the range of the
// query.
type scan struct {
	q *query

	// If count or each is set, the scan passes it the matching entries. Without count,
	// it calls blockDone after a block, without each with the ids of the block's matching
	// entries, in ascending order. The scan ends if blockDone returns true or an error.
	count     countFunc
	each      *visitor
	blockDone func(ctx context.Context, found []int64) (enough bool, err error)

	// If counts is set, the scan adds the stored counts of a segment to it instead of
	// counting its entries one by one, if that has the same result.
	counts *summary.Counts

	*scanner
	slot     int
	pass     *pass
	next     *sql.Stmt // the highest id up to another
	visit    *sql.Stmt
	segments *segmentReader
	newest   int64
	start    time.Time
	pending  []*part // visited, or given to a helper, but not yet finished; the newest first
}

// scan executes sc.
func (s *scanner) scan(ctx context.Context, conn *sql.Conn, slot int, sc *scan) error {
	p := &s.passes[slot]
	*p = pass{
		matcher:  matcher{work: work{ctx: ctx}},
		filter:   &sc.q.filter,
		count:    sc.count,
		each:     sc.each,
		stepWork: s.stepWork,
	}
	defer func() { *p = pass{} }()
	sc.scanner, sc.slot, sc.pass, sc.newest, sc.start = s, slot, p, s.db.newest.Load(), time.Now()

	var err error
	sc.next, err = conn.PrepareContext(ctx, "SELECT max(id) FROM logs WHERE id <= ?")
	if err != nil {
		return err
	}
	defer sc.next.Close()
	sc.visit, err = conn.PrepareContext(ctx, p.statement())
	if err != nil {
		return err
	}
	defer sc.visit.Close()
	sc.segments, err = newSegmentReader(ctx, conn, sc.q, s.ignoreSummaries)
	defer sc.segments.close()
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
