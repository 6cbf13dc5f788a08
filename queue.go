package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errQueueFull = errors.New("the queue is full")
	errStopping  = errors.New("shutting down")
)

// queueWait is how long a request waits for room in a full queue before it is
// refused: long enough for a busy machine to commit some of it, so that clients
// who wait for their answers are slowed down rather than turned away.
const queueWait = time.Second

// A queue holds batches on their way to the writer, bounded in bytes. Any
// goroutine may put; only the writer takes.
type queue struct {
	limit   int64 // in bytes
	batches chan *batch
	bytes   atomic.Int64 // of the batches not yet committed, the writer's included
	entries atomic.Int64 // in the same batches

	sending sync.Mutex
	newest  *batch // the last one sent, while it is in the channel; else nil

	// hurry wakes the writer before its time. It holds one token, so that
	// asking never blocks.
	hurry chan struct{}

	stopped atomic.Bool
	broken  atomic.Pointer[error] // why the database takes no writes, or nil

	waiting atomic.Int64  // how many wait for room
	turn    chan struct{} // holds a token while somebody is the first of them
	freed   chan struct{} // holds a token when bytes have left
}

func newQueue(limit int64) *queue {
	return &queue{
		limit: limit,
		// No more batches than fit by their size, so that sending never blocks:
		// one beyond is the batch larger than the queue.
		batches: make(chan *batch, limit/batchOverhead+1),
		hurry:   make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		freed:   make(chan struct{}, 1),
	}
}

// put hands b over to the writer, and returns how many bytes it counts for in
// the queue. The error is errStopping, errQueueFull where b found no room in
// time, or why the database takes no writes; b is then still the caller's.
func (q *queue) put(b *batch) (held int64, err error) {
	if err := q.brokenError(); err != nil {
		return 0, err
	}
	held = b.size()
	if !q.reserve(held) {
		return 0, errQueueFull
	}
	// The writer ends when it is stopped and bytes is 0, so that whoever saw
	// it not stopped after having reserved is still served.
	if q.stopped.Load() {
		q.release(held)
		q.wake()
		return 0, errStopping
	}
	q.entries.Add(int64(len(b.rows)))
	urgent := b.committed != nil || q.filling()
	if q.send(b) {
		q.release(batchOverhead)
		held -= batchOverhead
	}
	if urgent {
		q.wake()
	}
	return held, nil
}

// send puts b into the channel, or its rows into the batch that was sent last,
// and reports whether it joined them: small batches take less memory together.
func (q *queue) send(b *batch) (joined bool) {
	q.sending.Lock()
	defer q.sending.Unlock()
	if q.newest != nil && q.newest.join(b) {
		b.release()
		return true
	}
	q.newest = b
	q.batches <- b
	return false
}

// received closes b, which came out of the channel, to others that would join.
func (q *queue) received(b *batch) *batch {
	q.sending.Lock()
	defer q.sending.Unlock()
	if q.newest == b {
		q.newest = nil
	}
	return b
}

func (q *queue) brokenError() error {
	if err := q.broken.Load(); err != nil {
		return fmt.Errorf("the database cannot take writes: %w", *err)
	}
	return nil
}

// unready returns why put would refuse, or nil.
func (q *queue) unready() error {
	switch err := q.brokenError(); {
	case err != nil:
		return err
	case q.stopped.Load():
		return errStopping
	case q.bytes.Load() >= q.limit:
		return errQueueFull
	}
	return nil
}

// share is how much goes into one transaction, in bytes, and how much has to
// wait for the writer to begin one early: a part of the queue, so that room
// becomes free again and again.
func (q *queue) share() int64 { return q.limit / 4 }

// filling reports whether so much waits that the writer should not let it
// grow.
func (q *queue) filling() bool { return q.bytes.Load() > q.share() }

// wake makes the writer begin the next transaction now.
func (q *queue) wake() {
	select {
	case q.hurry <- struct{}{}:
	default:
	}
}

// stop refuses what comes from now on, and wakes the writer to end.
func (q *queue) stop() {
	q.stopped.Store(true)
	q.wake()
}

// reserve makes room for size bytes, and waits for it as long as queueWait, in
// the order of arrival. A batch larger than the whole queue is let in when it
// is empty.
func (q *queue) reserve(size int64) bool {
	if q.waiting.Load() == 0 && q.tryReserve(size) {
		return true
	}
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	timeout := time.NewTimer(queueWait)
	defer timeout.Stop()
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-timeout.C:
		return false
	}
	for !q.tryReserve(size) {
		select {
		case <-q.freed:
		case <-timeout.C:
			return false
		}
	}
	return true
}

func (q *queue) tryReserve(size int64) bool {
	return q.bytes.CompareAndSwap(0, size) || addWithin(&q.bytes, size, q.limit)
}

// release gives back the room of size bytes.
func (q *queue) release(size int64) {
	q.bytes.Add(-size)
	select {
	case q.freed <- struct{}{}:
	default:
	}
}
