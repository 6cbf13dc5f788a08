package logread

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	// tailPace is the shortest time between two batches, so that thousands of
	// commits per second do not cause thousands of scans.
	tailPace = 40 * time.Millisecond

	tailWindow    = 20_000 // ids searched for one batch
	tailBurst     = 500    // entries in one batch
	tailHeartbeat = 15 * time.Second
)

// A tail sends new entries to one client. Its fields belong to the goroutine that
// runs it.
type tail struct {
	*read
	last int64 // the client needs only entries with a higher id
	part *partWriter
}

// newTail returns a tail for the client of rd, which has the entries up to last.
func newTail(rd *read, last int64) *tail {
	t := &tail{read: rd, last: last}
	t.client.endless = true
	t.part = newPartWriter(tailFrame{}, rd.account, t.send)
	return t
}

// A tailFrame formats entries as server-sent events.
type tailFrame struct{}

func (tailFrame) begin(dst []byte, id int64) []byte {
	return append(strconv.AppendInt(append(dst, "id: "...), id, 10), "\ndata: "...)
}

func (tailFrame) end(dst []byte) []byte { return append(dst, "\n\n"...) }

// run sends entries until ctx is done or a write fails.
func (t *tail) run(ctx context.Context, notify <-chan struct{}) error {
	if err := t.sendID(); err != nil {
		return err
	}
	heartbeat := time.NewTicker(tailHeartbeat)
	defer heartbeat.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		start := time.Now()
		if err := t.step(ctx, notify, heartbeat.C); err != nil {
			return err
		}
		pace.Reset(tailPace - time.Since(start))
	}
}

// step sends the next batch, or a heartbeat if one is due. It then waits until
// there are entries for another batch.
func (t *tail) step(ctx context.Context, notify <-chan struct{}, heartbeat <-chan time.Time) error {
	sent, err := t.sendBatch(ctx)
	if err != nil {
		return err
	}
	if !sent {
		// Check without waiting: if commits follow closely, step never reaches
		// the wait below.
		select {
		case <-heartbeat:
			if err := t.sendID(); err != nil {
				return err
			}
		default:
		}
	}
	if t.reader.db.newest.Load() > t.last {
		return nil
	}
	select {
	case <-notify:
		return nil
	case <-heartbeat:
		return t.sendID()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendBatch sends the matching entries with an id above t.last, and reports
// whether it sent anything. If there are more than tailBurst, or more than tailWindow
// new ids, it sends the newest entries, after an event named skipped with the range
// of ids that it left out.
func (t *tail) sendBatch(ctx context.Context) (sent bool, err error) {
	newest := t.reader.db.newest.Load()
	if newest <= t.last {
		return false, nil
	}
	q := *t.query
	q.after, q.before, q.limit = max(t.last, newest-tailWindow), newest+1, tailBurst
	defer t.part.close()
	err = t.reader.scanner.run(ctx, t.lease, t.reader.slotTimeout, func(ctx context.Context) error {
		ids, err := t.reader.scanner.newest(ctx, t.lease, &q)
		if err != nil {
			return err
		}
		after := q.after // the batch covers the entries with after < id <= newest
		if len(ids) == tailBurst {
			after = ids[len(ids)-1] - 1
		}
		if skipped := after - t.last; skipped > 0 {
			t.part.buf = appendSkipped(t.part.buf, skipped, t.last, after+1)
		}
		t.last = newest
		slices.Reverse(ids)
		f := &fetcher{db: t.reader.db, large: t.reader.large, lease: t.lease, dst: t.part}
		_, err = f.fetch(ctx, ids, oldestFirst)
		sent = len(ids) > 0 || !t.part.empty()
		return err
	})
	if errors.Is(err, errNoSlot) {
		return false, nil // the next batch will contain the entries
	}
	if err != nil {
		return false, err
	}
	return sent, t.part.flush()
}

// appendSkipped reports that the entries with after < id < before, of which there
// are at most skipped, were not sent.
func appendSkipped(dst []byte, skipped, after, before int64) []byte {
	return fmt.Appendf(dst, "event: skipped\ndata: {\"skipped\":%d,\"after\":%d,\"before\":%d}\n\n",
		skipped, after, before)
}

// sendID sends the id up to which the log was searched, without an event. When the
// client reconnects, it sends this id, so that those entries are not searched
// again.
func (t *tail) sendID() error {
	return t.send(fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", t.last))
}

// send writes events and flushes them to the client.
func (t *tail) send(events []byte) error {
	if _, err := t.client.Write(events); err != nil {
		return err
	}
	if err := t.client.flush(); err != nil {
		return err
	}
	t.client.clearDeadline()
	return nil
}
