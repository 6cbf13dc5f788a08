package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// The queue is limited in bytes, except that an empty queue accepts a batch of
// any size. A put that waits for space gets it as soon as it is freed.
func TestQueueEnforcesLimit(t *testing.T) {
	for name, size := range map[string]int{"joining batches": 1, "other batches": maxJoinedText} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkQueueLimit(t, size) })
		})
	}
}

// checkQueueLimit fills a queue with batches of size bytes.
func checkQueueLimit(t *testing.T, size int) {
	q := newQueue(8 * batchOverhead)
	put := func(size int) error {
		_, err := q.put(newTestBatch(strings.Repeat("x", size)))
		return err
	}
	take := func() {
		b := q.closeToJoins(receive(t, "a batch", q.batches))
		q.release(b.account, b.size())
	}
	if err := put(16 * batchOverhead); err != nil {
		t.Errorf("put a batch larger than the queue into the empty queue: got %v, want no error", err)
	}
	if err := put(1); !errors.Is(err, errQueueFull) {
		t.Errorf("put a batch into the full queue: got %v, want %v", err, errQueueFull)
	}
	take()
	n := 0
	for put(size) == nil {
		n++
	}
	if used := q.bytes.Load(); n == 0 || used > q.limit {
		t.Errorf("the queue accepted %d batches with %d bytes, want at least one batch and at most %d bytes", n, used, q.limit)
	}
	done := make(chan error)
	go func() { done <- put(size) }()
	synctest.Wait() // put waits for space
	take()
	if err := receive(t, "the result of put", done); err != nil {
		t.Errorf("put a batch when space is freed: got %v, want no error", err)
	}
	if err := q.notReady(); err != nil && !errors.Is(err, errQueueFull) {
		t.Errorf("notReady: got %v, want no error or %v", err, errQueueFull)
	}
	for q.bytes.Load() > 0 {
		take()
	}
}

// Small batches join the batch before them, unless a client waits for one of the
// two or the writer has received it. The order is kept.
func TestQueueJoinsBatches(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	large := strings.Repeat("x", maxJoinedText)
	w.put("a", "b")
	w.put("c")
	w.put(large)
	w.put("d")
	committed := w.putAwaited("e")
	w.put("f")
	w.put("g")
	const batches = 5 // a to c, the large one, d, e, f to g
	if n := len(w.queue.batches); n != batches {
		t.Fatalf("the queue has %d batches, want %d", n, batches)
	}
	const minBytes, maxBytes = batches * (batchOverhead + maxJoinedText), (batches + 2) * (batchOverhead + maxJoinedText)
	bytes, reserved := w.queue.bytes.Load(), w.memory.used.Load()
	if bytes < minBytes || bytes > maxBytes {
		t.Errorf("the queue has %d bytes, want %d to %d", bytes, minBytes, maxBytes)
	}
	if reserved != bytes {
		t.Errorf("the memory budget has %d bytes reserved, want %d", reserved, bytes)
	}
	for range batches {
		w.hold(<-w.queue.batches)
	}
	w.put("h")
	w.put("i")
	if n := len(w.held[batches-1].rows); n != 2 {
		t.Errorf("the last received batch has %d rows, want 2", n)
	}
	w.start()
	if err := receive(t, "the outcome of the commit", committed); err != nil {
		t.Error(err)
	}
	if got, want := w.stop(), "a,b,c,"+large+",d,e,f,g,h,i"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

// While the queue is stopped, each put either stores its batch or returns
// errShuttingDown.
func TestQueueStopWhilePutting(t *testing.T) {
	const putters = 8
	for range 20 {
		w := newTestWriter(t, 1<<20)
		w.start()
		var running sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		begun := make(chan struct{}, putters)
		for i := range putters {
			running.Go(func() {
				for j := 0; ; j++ {
					b := newTestBatch(fmt.Sprint(i, j))
					err := w.putBatch(b)
					for errors.Is(err, errQueueFull) { // the disk may be slow
						err = w.putBatch(b)
					}
					if err != nil {
						if !errors.Is(err, errShuttingDown) {
							t.Errorf("put: got %v, want %v", err, errShuttingDown)
						}
						return
					}
					mu.Lock()
					accepted++
					mu.Unlock()
					if j == 0 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range putters {
			receive(t, "the first batch of each goroutine", begun)
		}
		w.queue.stop()
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			running.Wait()
		}()
		receive(t, "the end of the goroutines", finished)
		stored := w.stop()
		if n := strings.Count(stored, ",") + 1; n != accepted {
			t.Fatalf("stored %d batches, but accepted %d", n, accepted)
		}
	}
}
