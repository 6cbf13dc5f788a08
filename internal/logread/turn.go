package logread

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// turnPause is how long a turn keeps its slot while its read sends a piece. A
	// client that takes pieces fast gets the next one without loading the entry
	// again; one that does not gives up its turn.
	turnPause = 5 * time.Millisecond

	// maxTurn is how long a turn can keep its slot if another read waits.
	maxTurn = 50 * time.Millisecond
)

// A turn is a read's right to use the loaded large entry. It holds the slot from
// begin until pause, and for turnPause after that.
type turn struct {
	slots *slots
	addr  netip.Addr
	began time.Time // when the slot was acquired

	mu     sync.Mutex
	paused bool // the slot is held, and release may give it back
	timer  *time.Timer
}

// begin waits for the slot unless the turn still holds it.
func (t *turn) begin(ctx context.Context) error {
	t.mu.Lock()
	continues := t.paused
	t.paused = false
	t.mu.Unlock()
	if continues {
		return nil
	}
	_, err := t.slots.acquire(ctx, t.addr)
	t.began = time.Now()
	return err
}

// pause gives the slot back if the turn has lasted long enough, or if begin is not
// called soon.
func (t *turn) pause() {
	t.mu.Lock()
	t.paused = true
	t.mu.Unlock()
	switch {
	case time.Since(t.began) >= maxTurn:
		t.release()
	case t.timer == nil:
		t.timer = time.AfterFunc(turnPause, t.release)
	default:
		t.timer.Reset(turnPause)
	}
}

// release gives the slot back if the turn is paused.
func (t *turn) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused {
		t.paused = false
		t.slots.release(0, t.addr)
	}
}
