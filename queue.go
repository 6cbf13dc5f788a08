package main

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"log-ingester/internal/httpapi"
)

// A row is one entry as a row of the table. Each field is the offset in the
// batch's text at which that column ends. The first column starts where the
// previous row ends.
type row struct{ level, message, timestamp, details uint32 }

// The columns of a row, in the order of the table's columns after the id.
const (
	colLevel = iota
	colMessage
	colTimestamp
	colDetails
	columnCount
)

// A batch holds the kept entries of one request, or of several small ones, in
// order. It is stored in full or not at all. It owns its bytes, so one entry
// does not pin a large body. It belongs to the request until queued, then to
// the writer.
type batch struct {
	text []byte // all columns of all rows
	rows []row

	// account belongs to the client whose memory and queue space the batch uses.
	account *account

	// committed, if not nil, receives the outcome: nil, or why the batch was
	// abandoned. It has a buffer of one, so the send never blocks.
	committed chan error

	claims *claim // of the requests that have an idempotency key
}

// batchOverhead is the memory of a batch besides its text and rows, in bytes. It
// includes the batch's slot in the queue's channel, and the channel that reports
// the outcome.
const batchOverhead = 1 << 10

// maxJoinedText is the largest text of a batch that other batches have joined,
// in bytes. No batch from newBatch has a smaller capacity.
const maxJoinedText = 4 << 10

// minBatch is the smallest size of a batch from newBatch, in bytes.
const minBatch = batchOverhead + maxJoinedText + maxJoinedText/64*int64(unsafe.Sizeof(row{}))

// maxPooled is the largest buffer that is kept in a pool, in bytes. A few large
// requests must not determine how much memory an idle service uses.
const maxPooled = 256 << 10

// size returns the memory of the batch with its spare capacity, in bytes. It does
// not change while the batch is filled.
func (b *batch) size() int64 { return sizeOf(b.text) + sizeOf(b.rows) + batchOverhead }

// value returns a column of r as a string, or nil if the details are missing.
// start is where r starts in the text. The value is valid until the batch is
// freed.
func (b *batch) value(start uint32, r *row, column int) driver.Value {
	end := r.level
	switch column {
	case colMessage:
		start, end = r.level, r.message
	case colTimestamp:
		start, end = r.message, r.timestamp
	case colDetails:
		start, end = r.timestamp, r.details
		if start == end {
			return nil
		}
	}
	return unsafe.String(unsafe.SliceData(b.text[start:end]), end-start)
}

// values returns the columns of row i.
func (b *batch) values(i int) []driver.Value {
	start := uint32(0)
	if i > 0 {
		start = b.rows[i-1].details
	}
	values := make([]driver.Value, columnCount)
	for column := range values {
		values[column] = b.value(start, &b.rows[i], column)
	}
	return values
}

// batchesSize returns the size of all batches together, in bytes.
func batchesSize(batches []*batch) (size int64) {
	for _, b := range batches {
		size += b.size()
	}
	return size
}

// awaited reports whether a client waits for the commit.
func (b *batch) awaited() bool { return b.committed != nil }

// join appends the rows of next and reports whether it did. It appends nothing if
// a client waits for either batch, or if they are too large together. Neither
// slice may grow, because other goroutines read the size of b.
func (b *batch) join(next *batch) bool {
	if b.awaited() || next.awaited() || len(b.text)+len(next.text) > min(maxJoinedText, cap(b.text)) ||
		len(b.rows)+len(next.rows) > cap(b.rows) {
		return false
	}
	start := uint32(len(b.text))
	b.text = append(b.text, next.text...)
	for _, r := range next.rows {
		b.rows = append(b.rows, row{start + r.level, start + r.message, start + r.timestamp, start + r.details})
	}
	if c := next.claims; c != nil { // next is from one request
		c.next = b.claims
		b.claims = c
	}
	return true
}

// batchPools hold free batches by the capacity of their text: maxJoinedText, and
// each double of it up to maxPooled. A small batch thus never has a large
// buffer.
var batchPools [7]sync.Pool

// textClass returns the index of the first pool whose batches have room for n
// bytes of text, and their capacity. If there is none, it returns
// len(batchPools) and n.
func textClass(n int) (class, capacity int) {
	for class := range batchPools {
		if capacity := maxJoinedText << class; n <= capacity {
			return class, capacity
		}
	}
	return len(batchPools), n
}

// newBatch returns an empty batch with room for text bytes and for rows, whose
// size it has added to r.
func newBatch(r *reservation, text, rows int) (*batch, *httpapi.Error) {
	class, text := textClass(text)
	var b *batch
	if class < len(batchPools) {
		b, _ = batchPools[class].Get().(*batch)
		rows = max(rows, text/64)
	}
	if b == nil {
		b = new(batch)
	}
	size := b.size()
	if herr := r.grow(size); herr != nil {
		b.free()
		return nil, herr
	}
	var herr *httpapi.Error
	if b.text, herr = emptied(r, b.text, text); herr == nil {
		b.rows, herr = emptied(r, b.rows, rows)
	}
	if herr != nil {
		r.shrink(b.size())
		b.free()
		return nil, herr
	}
	return b, nil
}

// free returns the batch to its pool. Nothing may use it afterwards.
func (b *batch) free() {
	class, capacity := textClass(cap(b.text))
	if class == len(batchPools) || capacity != cap(b.text) || sizeOf(b.rows) > sizeOf(b.text) {
		return
	}
	b.text, b.rows, b.account, b.committed, b.claims = b.text[:0], b.rows[:0], nil, nil, nil
	batchPools[class].Put(b)
}

var (
	errQueueFull    = errors.New("the queue is full")
	errShuttingDown = errors.New("shutting down")
)

// queueTimeout is how long a request waits for space in a full queue before it
// is refused. A busy machine commits part of the queue in that time, so waiting
// clients are slowed down rather than refused.
const queueTimeout = time.Second

// A queue holds batches for the writer, limited in bytes. Any goroutine may
// put; only the writer takes.
type queue struct {
	limit   int64 // in bytes
	batches chan *batch
	bytes   atomic.Int64 // of all batches that are not committed, including the writer's
	entries atomic.Int64 // in the same batches

	sending sync.Mutex
	last    *batch // the batch sent last, while it is in the channel; else nil

	// flushNow wakes the writer before its next commit is due. It holds one
	// token, so that wake never blocks.
	flushNow chan struct{}

	stopped atomic.Bool
	broken  atomic.Pointer[error] // why the database cannot accept writes, or nil

	// oversize is how many bytes the batch that is larger than the queue exceeds
	// the limit by, or 0. There is at most one.
	oversize atomic.Int64

	mu      sync.Mutex
	line    line         // puts that wait for space
	waiting atomic.Int64 // len(line)
}

func newQueue(limit int64) *queue {
	return &queue{
		limit: limit,
		// Room for as many batches as can fit by size, so that a send never
		// blocks, and for one batch larger than the queue.
		batches:  make(chan *batch, (limit+extraSpace(limit))/batchOverhead+1),
		flushNow: make(chan struct{}, 1),
	}
}

// put gives b to the writer and returns the bytes that it counts for in the
// queue: its size, or 0 if it joined another batch. The error is errShuttingDown,
// errQueueFull if there is no space in time, or why the database cannot accept
// writes; the caller then still owns b.
func (q *queue) put(b *batch) (reserved int64, err error) {
	if err := q.brokenError(); err != nil {
		return 0, err
	}
	reserved = b.size()
	if !q.reserve(b.account, reserved) {
		return 0, errQueueFull
	}
	// This check must follow the reservation. The writer does not exit while
	// bytes are reserved, so if stopped is not set yet, it will still write b.
	a := b.account
	if q.stopped.Load() {
		q.release(a, reserved)
		q.wake()
		return 0, errShuttingDown
	}
	q.entries.Add(int64(len(b.rows)))
	urgent := b.awaited() || q.overTarget()
	a.refs.Add(1) // until the batch is settled
	if q.send(b) {
		q.release(a, reserved) // the other batch had room
		a.put()
		reserved = 0
	}
	if urgent {
		q.wake()
	}
	return reserved, nil
}

// send puts b into the channel, or appends its rows to the batch sent last and
// reports that they joined. Small batches take less memory together.
func (q *queue) send(b *batch) (joined bool) {
	q.sending.Lock()
	defer q.sending.Unlock()
	if q.last != nil && q.last.join(b) {
		b.free()
		return true
	}
	q.last = b
	q.batches <- b
	return false
}

// closeToJoins prevents other batches from joining b, which was received from
// the channel, and returns b.
func (q *queue) closeToJoins(b *batch) *batch {
	q.sending.Lock()
	defer q.sending.Unlock()
	if q.last == b {
		q.last = nil
	}
	return b
}

func (q *queue) brokenError() error {
	if err := q.broken.Load(); err != nil {
		return fmt.Errorf("the database cannot accept writes: %w", *err)
	}
	return nil
}

// notReady returns why the queue does not accept batches, or nil. Clients with few
// queued bytes are served until the extra space is used, so a client that fills the
// queue, or that has put a batch larger than the queue, does not make it unready.
func (q *queue) notReady() error {
	switch err := q.brokenError(); {
	case err != nil:
		return err
	case q.stopped.Load():
		return errShuttingDown
	case q.bytes.Load()-q.oversize.Load()+minBatch > q.limit+extraSpace(q.limit):
		return errQueueFull
	}
	return nil
}

// txnTarget is the target size of a transaction in bytes, and the backlog at
// which the writer stops waiting for more. It is a fraction of the queue so
// that space frees up steadily.
func (q *queue) txnTarget() int64 { return q.limit / 4 }

// overTarget reports whether the backlog exceeds the target size.
func (q *queue) overTarget() bool { return q.bytes.Load() > q.txnTarget() }

// wake makes the writer start the next transaction now.
func (q *queue) wake() {
	select {
	case q.flushNow <- struct{}{}:
	default:
	}
}

// stop makes put refuse all batches from now on, and wakes the writer so that
// it can exit.
func (q *queue) stop() {
	q.stopped.Store(true)
	q.wake()
}

// drained reports whether the queue is stopped and all its batches are settled,
// so that the writer can exit. The order of the two loads matters: see put.
func (q *queue) drained() bool { return q.stopped.Load() && q.bytes.Load() == 0 }

// reserve reserves size bytes for a, and waits up to queueTimeout for them. Of
// the waiting calls, those of the client with the fewest queued bytes are served
// first, and those of one client in order of arrival.
func (q *queue) reserve(a *account, size int64) bool {
	if q.waiting.Load() == 0 && q.tryReserve(a, size) || q.tryExtra(a, size) {
		return true
	}
	w := newWaiter(a, size)
	q.mu.Lock()
	q.line = append(q.line, w)
	q.waiting.Add(1)
	q.admit() // space may have been freed meanwhile
	q.mu.Unlock()
	timeout := time.NewTimer(queueTimeout)
	defer timeout.Stop()
	select {
	case <-w.admitted:
		return true
	case <-timeout.C:
		return !q.leave(w)
	}
}

// admit serves waiting calls while there is space. q.mu must be held.
func (q *queue) admit() {
	for len(q.line) > 0 {
		w := q.line.next(func(a *account) int64 { return a.queued.Load() })
		if !q.tryReserve(w.account, w.size) && !q.tryExtra(w.account, w.size) {
			return
		}
		q.line.remove(w)
		q.waiting.Add(-1)
		w.admitted <- struct{}{}
	}
}

// leave removes a waiting call whose time is over. It returns false if the call
// has been served meanwhile.
func (q *queue) leave(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.line.remove(w) {
		return false
	}
	q.waiting.Add(-1)
	q.admit() // the others may need less space
	return true
}

// tryReserve reserves size bytes if they fit into the queue and into a's share
// of it. An empty queue accepts a batch larger than its limit.
func (q *queue) tryReserve(a *account, size int64) bool {
	empty := q.bytes.CompareAndSwap(0, size)
	if empty && size > q.limit {
		q.oversize.Store(size - q.limit)
	}
	ok := empty || inShare(a.queued.Load()+size, q.limit-q.bytes.Load()-size) && addWithin(&q.bytes, size, q.limit)
	if ok {
		a.queued.Add(size)
	}
	return ok
}

// tryExtra reserves size bytes for a client with few queued bytes. It can use
// extraSpace above the limit, and does not count what a batch exceeds the limit
// by. So it does not wait for clients that fill the queue, or for a large batch.
func (q *queue) tryExtra(a *account, size int64) bool {
	ok := a.queued.Load()+size <= guaranteedSpace(q.limit) &&
		addWithin(&q.bytes, size, q.limit+extraSpace(q.limit)+q.oversize.Load())
	if ok {
		a.queued.Add(size)
	}
	return ok
}

// release releases size bytes of a, and serves waiting puts.
func (q *queue) release(a *account, size int64) {
	a.queued.Add(-size)
	if size > q.limit {
		q.oversize.Store(0)
	}
	q.bytes.Add(-size)
	if q.waiting.Load() > 0 {
		q.mu.Lock()
		q.admit()
		q.mu.Unlock()
	}
}
