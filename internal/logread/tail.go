package logread

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// tailPace is the shortest time between two batches, so that thousands of
	// commits per second do not cause thousands of scans.
	tailPace = 40 * time.Millisecond

	tailWindow    = 20_000 // ids searched for one batch
	tailHeartbeat = 15 * time.Second
	stopTimeout   = time.Second // for pending writes after a tail was stopped
)

// A tail sends new entries to one client. Its fields belong to the goroutine that
// runs it, except the write deadline.
type tail struct {
	reader *Reader
	query  *query
	last   int64 // the client needs only entries with a higher id
	w      http.ResponseWriter
	rc     *http.ResponseController
	batch  tailBatch

	mu      sync.Mutex // guards the write deadline
	stopped bool       // the deadline must not change any more
}

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
// whether it sent anything. If there are more than fit into a batch, or more than
// tailWindow new ids, it sends the newest entries, after an event named skipped
// with the range of ids that it left out.
func (t *tail) sendBatch(ctx context.Context) (sent bool, err error) {
	newest := t.reader.db.newest.Load()
	if newest <= t.last {
		return false, nil
	}
	slot, ok := t.reader.tailReads.acquire(ctx, t.reader.slotTimeout)
	if !ok {
		return false, nil // the next batch will contain the entries
	}
	q := *t.query
	q.after, q.before, q.limit = max(t.last, newest-tailWindow), newest+1, tailBurst+1
	defer t.batch.reset()
	err = t.reader.scanner.search(ctx, slot, &q, &t.batch)
	t.reader.tailReads.release(slot)

	after := q.after // the batch covers the entries with after < id <= newest
	if errors.Is(err, errBatchFull) {
		after = t.batch.lastID - 1
	} else if err != nil {
		return false, err
	}
	events := t.batch.oldestFirst()
	if skipped := after - t.last; skipped > 0 {
		events = append([][]byte{skippedEvent(skipped, t.last, after+1)}, events...)
	}
	t.last = newest
	return len(events) > 0, t.send(events...)
}

// skippedEvent reports that the entries with after < id < before, of which there
// are at most skipped, were not sent.
func skippedEvent(skipped, after, before int64) []byte {
	return fmt.Appendf(nil, "event: skipped\ndata: {\"skipped\":%d,\"after\":%d,\"before\":%d}\n\n",
		skipped, after, before)
}

// sendID sends the id up to which the log was searched, without an event. When the
// client reconnects, it sends this id, so that those entries are not searched
// again.
func (t *tail) sendID() error {
	return t.send(fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", t.last))
}

// send writes events and flushes them to the client.
func (t *tail) send(events ...[]byte) error {
	if len(events) == 0 {
		return nil
	}
	t.setDeadline(time.Now().Add(writeTimeout))
	for _, event := range events {
		if _, err := t.w.Write(event); err != nil {
			return err
		}
	}
	if err := t.rc.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream at its deadline, even if nothing is being written.
	t.setDeadline(time.Time{})
	return nil
}

// setDeadline sets the write deadline, unless the tail is stopped. The zero time
// means no deadline.
func (t *tail) setDeadline(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		_ = t.rc.SetWriteDeadline(at) // not supported by every ResponseWriter
	}
}

// stop gives pending writes one more second, so that a stalled client cannot
// delay shutdown. After stop, no deadline may be set, because the handler may have
// returned. Any goroutine may call stop.
func (t *tail) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.stopped = true
		_ = t.rc.SetWriteDeadline(time.Now().Add(stopTimeout)) // not supported by every ResponseWriter
	}
}
