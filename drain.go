package main

import (
	"context"
	"time"
)

// During a shutdown, a client must send drainBytes of its request body in each
// drainStep.
const (
	drainStep  = time.Second
	drainBytes = 16 << 10
)

// drain closes connections whose clients delay a shutdown, until ctx is done, and
// returns how many it closed.
func (t *connTable) drain(ctx context.Context) (closed int) {
	t.takeSlow() // resets the counts
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return closed
		}
		for _, c := range t.takeSlow() {
			if c.state.Swap(connReplaced) != connReplaced { // else it is already aborted, but not yet closed by its owner
				c.abort()
				closed++
			}
		}
	}
}

// takeSlow returns the connections that have no active request, and on which less
// than drainBytes of bodies have arrived since the last call.
func (t *connTable) takeSlow() (slow []*limitedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		if c.received.Swap(0) < drainBytes && c.active.Load() == 0 {
			slow = append(slow, c)
		}
	}
	return slow
}
