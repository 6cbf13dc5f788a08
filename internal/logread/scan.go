package logread

import (
	"context"
	"database/sql"
	"errors"
	"slices"
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
	stepper
	passes   passes
	times    blockTimes
	timeout  time.Duration
	stepWork int64 // as for pass

	helpers   helperSlots
	helpAfter time.Duration
	isBusy    func() bool // reports whether helpers would slow down the ingestion

	ignoreSummaries bool // visit every entry; for tests
	ignorePages     bool // read rows and not pages; for tests
}

// A scan visits the entries with q.after < id < q.before, in blocks of ids in the order
// of q. It reads each block in ascending order: the kernel only reads ahead forwards,
// and descending reads from disk are ten times slower.
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
	next     *sql.Stmt // the id of the next entry
	segments *segmentReader
	newest   int64
	start    time.Time
	pending  []*part // visited, or given to a helper, but not yet finished, in the order of q
}

// scan executes sc. l must hold a slot.
func (s *scanner) scan(ctx context.Context, l *lease, sc *scan) (err error) {
	p := &pass{
		matcher:  matcher{work: work{ctx: ctx}},
		filter:   &sc.q.filter,
		count:    sc.count,
		each:     sc.each,
		stepWork: s.stepWork,

		ignorePages: s.ignorePages,
	}
	defer l.scan(p)()
	sc.scanner, sc.lease, sc.pass, sc.newest, sc.start = s, l, p, s.db.newest.Load(), time.Now()
	nextID := "SELECT max(id) FROM logs WHERE id <= ?"
	if sc.q.order == oldestFirst {
		nextID = "SELECT min(id) FROM logs WHERE id >= ?"
	}
	sc.next, err = s.db.statement(ctx, nextID)
	if err != nil {
		return err
	}
	sc.segments = new(segmentReader)
	if !s.ignoreSummaries {
		sc.segments, err = newSegmentReader(ctx, s.db, sc.q, sc.counts != nil && sc.q.hasCounts())
		if err != nil {
			return err
		}
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
	if sc.q.after >= sc.q.before {
		return false, nil
	}
	for rest := (idRange{sc.q.after + 1, sc.q.before - 1}); rest.first <= rest.last; {
		id := rest.start(sc.q.order)
		segment, err := sc.segments.find(ctx, summary.SegmentOf(id))
		if err == nil && segment == nil {
			var ok bool
			if id, ok, err = sc.nextID(ctx, rest); err != nil || !ok {
				return false, err
			}
			sc.newest = max(sc.newest, id)
			segment, err = sc.segments.find(ctx, summary.SegmentOf(id))
		}
		if err != nil {
			return false, err
		}
		ids := rest.within(blockOf(id).first(), blockOf(id).last())
		if segment != nil {
			ids = rest.within(summary.FirstID(segment.number, 0), summary.FirstID(segment.number+1, 0)-1)
		}
		next := idRange{ids.last + 1, rest.last}
		if sc.q.order == newestFirst {
			next = idRange{rest.first, ids.first - 1}
			ids.last = id
		}
		if segment != nil {
			enough, err = sc.visitSegment(ctx, segment, ids)
		} else {
			enough, err = sc.visitUnsummarized(ctx, ids, rest)
		}
		if err != nil || enough {
			return enough, err
		}
		rest = next
	}
	return false, nil
}

// nextID returns the id of the first entry in rest. ok is false if there is none.
func (sc *scan) nextID(ctx context.Context, rest idRange) (id int64, ok bool, err error) {
	var next sql.NullInt64
	if err := sc.next.QueryRowContext(ctx, rest.start(sc.q.order)).Scan(&next); err != nil {
		return 0, false, err
	}
	return next.Int64, next.Valid && rest.first <= next.Int64 && next.Int64 <= rest.last, nil
}

// visitUnsummarized visits the given ids, which are in one block and are all ids of the
// block that are in rest. It remembers the times of a block only if it visits the whole
// block when an entry of a later block already exists: such a block gets no more entries.
func (sc *scan) visitUnsummarized(ctx context.Context, ids, rest idRange) (enough bool, err error) {
	b := blockOf(ids.last)
	if sc.q.hasTimeRange && !sc.times.mayContain(b, sc.q.since, sc.q.until) {
		return false, nil
	}
	remember := sc.pass.needsTimes() && rest.first <= b.first() && b.last() <= rest.last && b.last() < sc.newest
	return sc.visitPart(ctx, &part{ids: ids, filter: &sc.q.filter, remember: remember})
}

// visitSegment visits those of the given ids, all in one segment, that can match.
func (sc *scan) visitSegment(ctx context.Context, s *segment, ids idRange) (enough bool, err error) {
	if s.candidates&s.Covered() != 0 && s.counts != nil && ids.first == summary.FirstID(s.number, 0) &&
		sc.q.before > summary.FirstID(s.number, s.Blocks)-1 {
		done, err := sc.addCounts(ctx, s, ids)
		if done || err != nil {
			return false, err
		}
	}
	return sc.visitBlocks(ctx, s, s.candidates, ids, &sc.q.filter)
}

// visitBlocks visits the ids that are in some blocks of a segment.
func (sc *scan) visitBlocks(
	ctx context.Context, s *segment, blocks uint64, ids idRange, filter *filter,
) (enough bool, err error) {
	runs := s.runs(blocks, ids)
	if sc.q.order == oldestFirst {
		slices.Reverse(runs)
	}
	for _, run := range runs {
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

// helpAfter is how long a scan runs before other goroutines help it. In a shorter scan,
// what a helper reads ahead is often not needed.
const helpAfter = 3 * time.Millisecond

// maxPending is how many parts can be unfinished. It is large enough that a scan rarely
// waits for a slow helper while it can visit parts itself.
const maxPending = 16

// A part is a range of ids that a scan visits, at most one block or maxRunBlocks blocks
// of a segment.
type part struct {
	ids      idRange
	filter   *filter
	remember bool // record the times of the block that contains the ids

	done   chan struct{} // closed when a helper has visited the part; nil if it had none
	found  idSet
	times  timeSpan
	counts *summary.Counts // what a helper counts, if the scan has counts
	visit  func(*visitedEntry)
	merge  func() bool // with visit, as of visitor.fork, if the scan has each
	err    error
}

// helperSlots holds the numbers of the free slots for goroutines that help a scan.
type helperSlots chan int

// newHelperSlots returns n free slots, numbered from first.
func newHelperSlots(first, n int) helperSlots {
	s := make(helperSlots, n)
	for i := range n {
		s <- first + i
	}
	return s
}

// visitPart visits a part, or gives it to a helper if one is free. It returns enough if
// the scan needs no more parts.
func (sc *scan) visitPart(ctx context.Context, pt *part) (enough bool, err error) {
	if !sc.startHelper(ctx, pt) {
		if err := sc.visitHere(ctx, pt); err != nil {
			return false, err
		}
	}
	sc.pending = append(sc.pending, pt)
	return sc.finishParts(ctx, maxPending)
}

// visitHere visits a part in the scan's own goroutine.
func (sc *scan) visitHere(ctx context.Context, pt *part) error {
	sc.pass.filter = pt.filter
	sc.pass.startPart(pt.ids.first, pt.remember)
	if err := sc.visitBlock(ctx, sc.lease, sc.pass, pt.ids); err != nil {
		return err
	}
	pt.found, pt.times = sc.pass.found, sc.pass.times
	return nil
}

// startHelper gives a part to a helper, if one is free and may help.
func (sc *scan) startHelper(ctx context.Context, pt *part) bool {
	if !sc.canBeHelped() {
		return false
	}
	var slot int
	select {
	case slot = <-sc.helpers:
	default:
		return false
	}
	pt.done = make(chan struct{})
	if sc.counts != nil {
		pt.counts = sc.counts.Empty()
	}
	if sc.each != nil {
		pt.visit, pt.merge = sc.each.fork()
	}
	go func() {
		defer close(pt.done)
		defer func() { sc.helpers <- slot }()
		pt.err = sc.help(ctx, pt, slot)
	}()
	return true
}

// canBeHelped reports whether helpers may visit parts of the scan. Only this goroutine
// may call sc.count and sc.each.visit, so helpers need counts or a visitor of their own.
func (sc *scan) canBeHelped() bool {
	return (sc.each == nil || sc.each.fork != nil) && (sc.count == nil || sc.counts != nil) &&
		time.Since(sc.start) >= sc.helpAfter && !sc.isBusy()
}

// help visits a part. If the part has an entry above maxValue, help returns SQLite's
// error; the scan then visits the part itself.
func (sc *scan) help(ctx context.Context, pt *part, slot int) error {
	p := &pass{
		matcher:     matcher{work: work{ctx: ctx}},
		filter:      pt.filter,
		stepWork:    sc.stepWork,
		ignorePages: sc.ignorePages,
	}
	if pt.counts != nil {
		p.count = (&histogram{pt.counts}).count
	}
	if pt.visit != nil {
		p.each = &visitor{visit: pt.visit, details: sc.each.details}
	}
	sc.passes[slot] = p
	defer func() { sc.passes[slot] = nil }()
	p.startPart(pt.ids.first, pt.remember)
	for ids := pt.ids; ids.first <= ids.last; {
		visited, err := sc.step(ctx, p, slot, ids)
		if err != nil {
			return err
		}
		if visited == ids.last {
			break
		}
		ids.first = visited + 1
	}
	pt.found, pt.times = p.found, p.times
	return nil
}

// finishParts processes the results of the visited parts in their order. It waits for
// helpers until at most maxLeft parts are left. After that, it processes only parts that
// are complete.
func (sc *scan) finishParts(ctx context.Context, maxLeft int) (enough bool, err error) {
	for len(sc.pending) > 0 {
		pt := sc.pending[0]
		if pt.done != nil {
			select {
			case <-pt.done:
			default:
				if len(sc.pending) <= maxLeft {
					return false, nil
				}
				<-pt.done // its context ends it
			}
		}
		sc.pending = sc.pending[1:]
		if enough, err := sc.finishPart(ctx, pt); err != nil || enough {
			return enough, err
		}
	}
	return false, nil
}

// finishPart processes the results of a part.
func (sc *scan) finishPart(ctx context.Context, pt *part) (enough bool, err error) {
	if isTooBig(pt.err) {
		pt.counts, pt.merge = nil, nil // incomplete
		pt.err = sc.visitHere(ctx, pt)
	}
	if pt.err == nil && pt.merge != nil && !pt.merge() {
		sc.each.fork = nil // the same is likely for the other parts
		pt.err = sc.visitHere(ctx, pt)
	}
	if pt.err != nil {
		return false, pt.err
	}
	if pt.remember {
		sc.times.set(blockOf(pt.ids.first), pt.times)
	}
	if pt.counts != nil {
		sc.counts.AddAll(pt.counts)
	}
	if sc.count != nil {
		return false, nil
	}
	return sc.blockDone(ctx, &pt.found)
}

// awaitHelpers waits until no helper works for the scan. The context of the helpers must
// be done, or there must be no error.
func (sc *scan) awaitHelpers() {
	for _, pt := range sc.pending {
		if pt.done != nil {
			<-pt.done
		}
	}
}
