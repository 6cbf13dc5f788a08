package logread

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

// errClosed is the error of acquiring a slot of closed slots.
var errClosed = errors.New("reader is closed")

// slots hands out a number of slots fairly between client addresses. A free slot
// goes to the waiting address that holds the fewest, and among those to the first
// that came.
type slots struct {
	shared bool // an address may hold at most as many slots as are still free

	mu      sync.Mutex
	free    []int // numbers of the free slots
	held    map[netip.Addr]int
	total   int // slots that are held
	waiting []*waiter
	closed  bool
	idle    chan struct{} // closed when slots are closed and none is held
}

// A waiter waits for a slot.
type waiter struct {
	addr    netip.Addr
	granted chan int // has a buffer of one; receives the number of the slot, or noSlot
}

// noSlot is what a waiter gets when the slots are closed.
const noSlot = -1

// newSlots returns n free slots, numbered from first.
func newSlots(first, n int, shared bool) *slots {
	s := &slots{shared: shared, held: make(map[netip.Addr]int), idle: make(chan struct{})}
	for i := range n {
		s.free = append(s.free, first+n-1-i)
	}
	return s
}

// acquire waits for a free slot until ctx is done. The caller must release the
// slot.
func (s *slots) acquire(ctx context.Context, addr netip.Addr) (slot int, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return noSlot, errClosed
	}
	if s.mayHold(addr) {
		slot = s.take(addr)
		s.mu.Unlock()
		return slot, nil
	}
	w := &waiter{addr, make(chan int, 1)}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()

	select {
	case slot = <-w.granted:
	case <-ctx.Done():
		slot = s.cancel(w)
	}
	switch {
	case slot == noSlot && ctx.Err() == nil:
		return noSlot, errClosed
	case ctx.Err() == nil:
		return slot, nil
	case slot != noSlot:
		s.release(slot, addr)
	}
	return noSlot, context.Cause(ctx)
}

// cancel removes w from the waiting ones. It returns the slot that w has got
// meanwhile, or noSlot.
func (s *slots) cancel(w *waiter) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return noSlot
	}
	return <-w.granted
}

// release makes a slot free, and gives it to a waiting address.
func (s *slots) release(slot int, addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, slot)
	s.total--
	if s.held[addr]--; s.held[addr] == 0 {
		delete(s.held, addr)
	}
	for {
		w := s.nextWaiter()
		if w == nil || !s.mayHold(w.addr) {
			break
		}
		s.waiting = slices.DeleteFunc(s.waiting, func(other *waiter) bool { return other == w })
		w.granted <- s.take(w.addr)
	}
	if s.closed && s.total == 0 {
		close(s.idle)
	}
}

// inUse reports whether a slot is held.
func (s *slots) inUse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total > 0
}

// shouldYield reports whether a waiting address would get the slot if an address
// released it.
func (s *slots) shouldYield(addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.nextWaiter()
	return w != nil && (w.addr == addr || s.held[w.addr] < s.held[addr])
}

// mayHold reports whether addr may take a slot now. s.mu must be held.
func (s *slots) mayHold(addr netip.Addr) bool {
	return len(s.free) > 0 && (!s.shared || s.held[addr] < len(s.free))
}

// take takes a free slot. s.mu must be held.
func (s *slots) take(addr netip.Addr) int {
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.held[addr]++
	s.total++
	return slot
}

// nextWaiter returns the waiter that gets the next slot, or nil. s.mu must be
// held.
func (s *slots) nextWaiter() *waiter {
	var next *waiter
	for _, w := range s.waiting {
		if next == nil || s.held[w.addr] < s.held[next.addr] {
			next = w
		}
	}
	return next
}

// close rejects all that wait and that come later. Held slots stay valid.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, w := range s.waiting {
		w.granted <- noSlot
	}
	s.waiting = nil
	if s.total == 0 {
		close(s.idle)
	}
}

// wait waits until no slot is held. The slots must be closed.
func (s *slots) wait() { <-s.idle }

// remoteAddr is the default of Config.ClientAddr.
func remoteAddr(req *http.Request) netip.Addr {
	addr, _ := netip.ParseAddrPort(req.RemoteAddr) // the zero Addr for another kind of connection
	return addr.Addr()
}
