package main

import (
	"errors"
	"log/slog"
	"math"
	"time"
)

// commitEvery is how long after a transaction the next one begins, unless
// somebody waits for it or the queue fills: it lets one sync serve the batches
// of many requests.
const commitEvery = 20 * time.Millisecond

// A transaction that failed is tried again after retryFirst, then after twice
// as long each time, up to retryMost.
const (
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
)

// A writer stores what its queue holds. Its fields belong to the goroutine
// that is in run, the only one that writes to the database.
type writer struct {
	queue     *queue
	memory    *budget
	db        *database
	retention *retention // nil where all is kept for ever
	log       *slog.Logger
	metrics   *metrics
	committed func(lastID int64) // is told of each commit

	tick    <-chan time.Time // when to look after the database though nothing is written
	taken   []*batch         // those of the transaction at hand
	failing error            // why the last transaction failed, or nil
	since   time.Time
}

// run stores batches until the queue is stopped and empty.
func (w *writer) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	w.tick = ticker.C
	var backoff time.Duration
	for {
		if w.failing == nil && len(w.taken) == 0 && !w.await() {
			return
		}
		w.take(w.queue.txnTarget())
		if w.failing != nil || !w.urgent() {
			w.pause(timer)
			w.take(w.queue.txnTarget())
		}
		if w.queue.stopped.Load() && w.queue.bytes.Load() == 0 {
			return
		}
		began := time.Now()
		entries, err := 0, w.failing
		if w.retention == nil || !isFull(err) || w.retention.makeRoom() {
			entries, err = w.store()
		}
		w.db.shrinkWAL()
		if err != nil {
			w.failed(err)
			backoff = min(max(2*backoff, retryFirst), retryMost)
			timer.Reset(backoff)
			continue
		}
		w.recovered()
		backoff = 0
		if w.retention != nil {
			w.retention.step(entries)
		}
		timer.Reset(commitEvery - time.Since(began))
	}
}

// await waits for a batch, or for a reason to try whether the database takes
// writes, and lets the retention work meanwhile. It returns false when there
// will be none.
func (w *writer) await() bool {
	for {
		if w.queue.stopped.Load() && w.queue.bytes.Load() == 0 {
			return false
		}
		select {
		case b := <-w.queue.batches:
			w.taken = append(w.taken, w.queue.closeToJoins(b))
			return true
		case <-w.queue.flushNow:
		case <-w.tick:
			if w.db.checkFiles() != nil {
				return true
			}
			w.db.shrinkWAL()
			for w.retention != nil && w.retention.step(0) && len(w.queue.batches) == 0 && !w.queue.stopped.Load() {
			}
		}
	}
}

// take takes what waits until it has most bytes, unless the batches taken before
// have to be looked for first.
func (w *writer) take(most int64) {
	var size int64
	for _, b := range w.taken {
		size += b.size()
	}
	for w.db.inDoubt == nil && size < most {
		select {
		case b := <-w.queue.batches:
			w.taken = append(w.taken, w.queue.closeToJoins(b))
			size += b.size()
		default:
			return
		}
	}
}

// portion returns those of the taken batches that go into one transaction. It
// is the same as long as nothing is taken.
func (w *writer) portion() []*batch {
	var size int64
	for i, b := range w.taken {
		if size += b.size(); size >= w.queue.txnTarget() {
			return w.taken[:i+1]
		}
	}
	return w.taken
}

// urgent reports whether the transaction at hand should not wait for more.
func (w *writer) urgent() bool {
	if w.queue.stopped.Load() || w.queue.overTarget() {
		return true
	}
	for _, b := range w.taken {
		if b.committed != nil {
			return true
		}
	}
	return false
}

// pause waits for the timer or, unless the writer is failing, for somebody who
// is in a hurry.
func (w *writer) pause(timer *time.Timer) {
	hurry := w.queue.flushNow
	if w.failing != nil {
		hurry = nil
	}
	select {
	case <-timer.C:
	case <-hurry:
	}
}

// store commits a portion of what is taken, tells who waits for it, and returns
// how many entries it had. With nothing taken, it tries whether the database
// takes writes again.
func (w *writer) store() (entries int, err error) {
	if len(w.taken) == 0 {
		return 0, w.db.probe()
	}
	batches := w.portion()
	began := time.Now()
	last, err := w.db.write(batches)
	if err != nil {
		return 0, err
	}
	w.committed(last)
	w.metrics.commits.observe(time.Since(began))
	for _, b := range batches {
		n := len(b.rows)
		entries += n
		w.metrics.stored.Add(int64(n))
		if b.committed != nil {
			w.metrics.accepted.Add(int64(n))
		}
	}
	stored := len(batches)
	w.drop(func(*batch) bool { stored--; return stored >= 0 }, nil)
	return entries, nil
}

// drop lets go of the taken batches that which is true for, and of their room.
// Then, when the books are right, it answers those who wait for them.
func (w *writer) drop(which func(*batch) bool, answer error) {
	var size int64
	var waiting []chan error
	kept := w.taken[:0]
	for _, b := range w.taken {
		if !which(b) {
			kept = append(kept, b)
			continue
		}
		if b.committed != nil {
			waiting = append(waiting, b.committed)
		}
		size += b.size()
		w.queue.entries.Add(-int64(len(b.rows)))
		b.free()
	}
	clear(w.taken[len(kept):])
	w.taken = kept
	w.memory.release(size)
	w.queue.release(size)
	for _, committed := range waiting {
		committed <- answer
	}
}

// failed keeps what was queued for the next try, but for the batches of those who
// wait: they are told, once it is certain that nothing was stored, and send
// again themselves.
func (w *writer) failed(err error) {
	w.metrics.countFailure()
	if w.failing == nil {
		w.since = time.Now()
		w.log.Error("cannot write to the database, retrying", "err", err, "entries", w.queue.entries.Load())
	}
	w.failing = err
	if !isBusy(err) {
		// A lock passes, and the queue is there to bridge it. What else keeps
		// the database from writing may last: nothing more is accepted then.
		w.queue.broken.Store(&err)
	}
	if w.db.inDoubt != nil {
		return
	}
	w.take(math.MaxInt64) // somebody may wait behind a transaction's share
	w.drop(func(b *batch) bool {
		if b.committed == nil {
			return false
		}
		w.metrics.refused.Add(int64(len(b.rows)))
		return true
	}, err)
}

// recovered ends a failure.
func (w *writer) recovered() {
	if w.failing == nil {
		return
	}
	w.log.Info("writing to the database again", "after", time.Since(w.since).Round(time.Millisecond))
	w.failing = nil
	w.queue.broken.Store(nil)
}

// close closes the database, after run has ended.
func (w *writer) close() error {
	err := w.db.close()
	if w.retention != nil {
		err = errors.Join(err, w.retention.close())
	}
	return err
}
