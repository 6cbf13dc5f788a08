package logread

import (
	"context"
	"slices"
	"time"

	"log-ingester/internal/summary"
)

// helpAfter is how long a scan runs before other goroutines help it. In a shorter scan,
// what a helper reads ahead is often not needed.
const helpAfter = 3 * time.Millisecond

// A part is a range of ids that a scan visits, at most one block or maxRunBlocks blocks
// of a segment.
type part struct {
	ids      idRange
	filter   *filter
	remember bool // record the times of the block that contains the ids

	done   chan struct{} // closed when a helper has visited the part; nil if it had none
	found  []int64
	times  timeSpan
	counts *summary.Counts // what a helper counts, if the scan has counts
	err    error
}

// visitPart visits a part, or gives it to a helper if one is free. It returns enough if
// the scan needs no more parts.
func (sc *scan) visitPart(ctx context.Context, pt *part) (enough bool, err error) {
	if sc.canBeHelped() {
		if slot, ok := sc.helpers.tryAcquire(); ok {
			pt.done = make(chan struct{})
			if sc.counts != nil {
				pt.counts = sc.counts.Empty()
			}
			go func() {
				defer close(pt.done)
				defer sc.helpers.release(slot)
				pt.err = sc.help(ctx, pt, slot)
			}()
			sc.pending = append(sc.pending, pt)
			return sc.finishParts(ctx, cap(sc.helpers))
		}
	}
	sc.pass.filter = pt.filter
	sc.pass.startBlock()
	if err := visitBlock(ctx, sc.visit, sc.pass, pt.ids.first, pt.ids.last, sc.slot); err != nil {
		return false, err
	}
	pt.found, pt.times = slices.Clone(sc.pass.found), sc.pass.times
	sc.pending = append(sc.pending, pt)
	return sc.finishParts(ctx, cap(sc.helpers))
}

// canBeHelped reports whether helpers may visit parts of the scan. Only this goroutine
// may call sc.count and sc.each, so helpers need counts of their own.
func (sc *scan) canBeHelped() bool {
	return sc.each == nil && (sc.count == nil || sc.counts != nil) && time.Since(sc.start) >= sc.helpAfter && !sc.isBusy()
}

// help visits a part with a connection of its own.
func (sc *scan) help(ctx context.Context, pt *part, slot int) error {
	conn, err := sc.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // returns it to the pool
	p := &sc.passes[slot]
	*p = pass{matcher: matcher{work: work{ctx: ctx}}, filter: pt.filter, stepWork: sc.stepWork}
	defer func() { *p = pass{} }()
	if pt.counts != nil {
		p.count = (&histogram{pt.counts}).count
	}
	visit, err := conn.PrepareContext(ctx, p.statement())
	if err != nil {
		return err
	}
	defer visit.Close()
	p.startBlock()
	if err := visitBlock(ctx, visit, p, pt.ids.first, pt.ids.last, slot); err != nil {
		return err
	}
	pt.found, pt.times = p.found, p.times
	return nil
}

// finishParts processes the results of the visited parts in their order, until at most
// most parts are left, and further ones that are complete.
func (sc *scan) finishParts(ctx context.Context, most int) (enough bool, err error) {
	for len(sc.pending) > 0 {
		pt := sc.pending[0]
		if pt.done != nil {
			select {
			case <-pt.done:
			default:
				if len(sc.pending) <= most {
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
	return sc.blockDone(ctx, pt.found)
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
