package logread

import (
	"context"
	"time"
)

// slots bounds how many scans run concurrently. It holds the numbers of the
// free slots; the goroutine that holds a slot owns the pass of that number.
type slots chan int

// newSlots returns n free slots, numbered from first.
func newSlots(first, n int) slots {
	s := make(slots, n)
	for i := range n {
		s <- first + i
	}
	return s
}

// acquire waits for a free slot until the timeout expires or ctx is done. The
// caller must release the slot.
func (s slots) acquire(ctx context.Context, timeout time.Duration) (slot int, ok bool) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case slot := <-s:
		return slot, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0, false
}

// tryAcquire returns a free slot if there is one.
func (s slots) tryAcquire() (slot int, ok bool) {
	select {
	case slot := <-s:
		return slot, true
	default:
		return 0, false
	}
}

func (s slots) release(slot int) { s <- slot }
