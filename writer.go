package main

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"time"
)

// commitEvery is the time from the start of one transaction to the next, unless
// a client waits for a commit or the queue fills up. One sync then serves the
// batches of many requests.
const commitEvery = 20 * time.Millisecond

// maintainEvery is how often an idle writer checks the files of the database,
// shrinks the WAL and deletes old entries.
const maintainEvery = time.Second

// A failed transaction is retried after minBackoff. The delay doubles with each
// further failure, up to maxBackoff.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// A writer stores the batches of its queue. Its fields belong to the goroutine
// that executes run, the only one that writes to the database.
type writer struct {
	queue     *queue
	memory    *budget
	db        *database
	retention *retention // nil if nothing is ever deleted
	log       *slog.Logger
	metrics   *metrics
	committed func(lastID int64) // called after each commit
	jobs      chan writerJob     // other work, done between two transactions

	held []*batch // received from the queue and not yet settled

	// txnSize is how many batches of held form the transaction. It stays fixed
	// while the commit is in doubt, because a retry must have the same batches.
	txnSize int

	lastErr      error // why the last transaction failed; nil if it succeeded
	failingSince time.Time
	backoff      time.Duration // delay of the current retry
}

// run stores batches until the queue is stopped and empty.
func (w *writer) run() {
	next := time.NewTimer(0)
	defer next.Stop()
	idle := time.NewTicker(maintainEvery)
	defer idle.Stop()
	for w.gather(next.C, idle.C) {
		began := time.Now()
		entries, err := w.commit()
		w.db.shrinkWAL()
		if err != nil {
			next.Reset(w.failed(err))
			continue
		}
		w.recovered()
		w.retention.step(entries)
		w.workBetween()
		next.Reset(commitEvery - time.Since(began))
	}
}

// gather collects batches until a transaction is due. It returns false once the
// queue is stopped and empty. If the database failed or was moved, there may be
// no batches; commit then only checks the database.
func (w *writer) gather(due, idle <-chan time.Time) bool {
	if w.lastErr == nil {
		w.await(idle)
	}
	w.receive(w.queue.txnTarget())
	if w.lastErr != nil || !w.urgent() {
		w.pause(due)
		w.receive(w.queue.txnTarget())
	}
	return !w.queue.drained()
}

// await waits for the first batch, and maintains the database meanwhile. It
// also returns if the database was moved, or if the queue is stopped and empty.
func (w *writer) await(idle <-chan time.Time) {
	for len(w.held) == 0 && !w.queue.drained() {
		select {
		case b := <-w.queue.batches:
			w.hold(b)
		case <-w.queue.flushNow:
		case job := <-w.jobs:
			w.do(job)
		case <-idle:
			if w.db.checkFiles() != nil {
				return
			}
			w.maintain()
		}
	}
}

// maintain shrinks the WAL, and deletes old entries until there is other work.
func (w *writer) maintain() {
	w.db.shrinkWAL()
	w.db.updateSummaryTables()
	for w.retention.step(0) || w.db.expireKeys() {
		if len(w.queue.batches) > 0 || w.queue.stopped.Load() {
			return
		}
	}
}

// workBetween does the work that may be due even if the writer is never idle.
func (w *writer) workBetween() {
	w.db.updateSummaryTables()
	select {
	case job := <-w.jobs:
		w.do(job)
	default:
	}
}

// do executes a job if the database is open.
func (w *writer) do(job writerJob) {
	err := errNotOpen
	if w.db.conn != nil && !w.db.stale {
		err = w.db.checkFiles()
	}
	if err == nil {
		err = job.do(w.db)
		w.db.markStale(err)
	}
	job.done <- err
}

// hold takes over b, which was received from the queue.
func (w *writer) hold(b *batch) {
	w.held = append(w.held, w.queue.closeToJoins(b))
}

// receive moves queued batches to w.held until that has limit bytes.
func (w *writer) receive(limit int64) {
	size := batchesSize(w.held)
	for size < limit {
		select {
		case b := <-w.queue.batches:
			w.hold(b)
			size += b.size()
		default:
			return
		}
	}
}

// urgent reports whether the transaction should not wait for more batches.
func (w *writer) urgent() bool {
	if w.queue.stopped.Load() || w.queue.overTarget() {
		return true
	}
	return slices.ContainsFunc(w.held, (*batch).awaited)
}

// pause waits until the transaction is due. A wake of the queue ends it early,
// but does not shorten a back-off.
func (w *writer) pause(due <-chan time.Time) {
	flushNow := w.queue.flushNow
	if w.lastErr != nil {
		flushNow = nil
	}
	select {
	case <-due:
	case <-flushNow:
	}
}

// commit stores the batches of one transaction and returns how many entries
// they have. If the disk was full, it first tries to free space. With no
// batches, it checks whether the database accepts writes.
func (w *writer) commit() (entries int, err error) {
	if isFull(w.lastErr) && !w.retention.makeRoom() {
		return 0, w.lastErr
	}
	if len(w.held) == 0 {
		return 0, w.db.probe()
	}
	if w.db.inDoubt == nil {
		w.txnSize = w.nextTxnSize()
	}
	batches := w.held[:w.txnSize]
	began := time.Now()
	lastID, err := w.db.write(batches)
	if err != nil {
		return 0, err
	}
	w.committed(lastID)
	w.metrics.commits.observe(time.Since(began))
	for _, b := range batches {
		n := len(b.rows)
		entries += n
		w.metrics.stored.Add(int64(n))
		if b.awaited() {
			w.metrics.accepted.Add(int64(n))
		}
	}
	w.settle(batches, nil)
	w.held = slices.Delete(w.held, 0, len(batches))
	return entries, nil
}

// nextTxnSize returns how many of the held batches form a transaction of the
// target size.
func (w *writer) nextTxnSize() int {
	var size int64
	for i, b := range w.held {
		if size += b.size(); size >= w.queue.txnTarget() {
			return i + 1
		}
	}
	return len(w.held)
}

// settle releases batches and their queue space. Once the counters are up to
// date, it sends err to the waiting clients.
func (w *writer) settle(batches []*batch, err error) {
	var waiting []chan error
	for _, b := range batches {
		if b.awaited() {
			waiting = append(waiting, b.committed)
		}
		a, size := b.account, b.size()
		w.queue.entries.Add(-int64(len(b.rows)))
		if b.claims != nil {
			w.memory.release(&a.memory, b.claims.size())
			w.db.keys.settle(b.claims, err == nil)
		}
		b.free()
		w.memory.release(&a.memory, size)
		w.queue.release(a, size)
		a.put()
	}
	for _, committed := range waiting {
		committed <- err
	}
}

// failed records that a transaction failed, and returns the delay before the
// next attempt. Batches with a waiting client are abandoned as soon as it is
// certain that nothing was stored: the client gets the error and can retry.
// Other batches are kept.
func (w *writer) failed(err error) time.Duration {
	w.metrics.countFailure()
	if w.lastErr == nil {
		w.failingSince = time.Now()
		w.log.Error("cannot write to the database, retrying", "err", err, "entries", w.queue.entries.Load())
	}
	w.lastErr = err
	w.backoff = min(max(2*w.backoff, minBackoff), maxBackoff)
	if !isBusy(err) {
		// Other connections hold locks only briefly, and meanwhile the queue has
		// space for new batches. Other failures may last, so the queue refuses
		// new batches.
		w.queue.broken.Store(&err)
	}
	if w.db.inDoubt == nil {
		w.abandonAwaited(err)
	}
	return w.backoff
}

// abandonAwaited settles all batches with a waiting client. It empties the queue
// first, because held contains only about as many batches as one transaction.
func (w *writer) abandonAwaited(err error) {
	w.receive(math.MaxInt64)
	var kept, awaited []*batch
	for _, b := range w.held {
		if !b.awaited() {
			kept = append(kept, b)
			continue
		}
		awaited = append(awaited, b)
		w.metrics.refused.Add(int64(len(b.rows)))
	}
	w.held = kept
	w.settle(awaited, err)
}

// recovered ends a series of failures.
func (w *writer) recovered() {
	if w.lastErr == nil {
		return
	}
	w.log.Info("writing to the database again", "after", time.Since(w.failingSince).Round(time.Millisecond))
	w.lastErr, w.backoff = nil, 0
	w.queue.broken.Store(nil)
}

// close closes the database after run has returned.
func (w *writer) close() error {
	return errors.Join(w.db.close(), w.retention.close())
}
