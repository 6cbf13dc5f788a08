package logread

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// errNoSlot is the error of a read that got no slot in time.
var errNoSlot = errors.New("no free slot")

// A lease is the right of one read to use the database and the processor. It holds
// a slot only during the steps of the read, and none while the read waits for its
// client. Only one goroutine may use a lease.
//
// While it holds a slot, the read's timer runs.
type lease struct {
	addr   netip.Addr
	slots  *slots
	passes passes
	timer  *pausableTimer

	pass *pass // gets the rows of log_visit; nil if the read runs no scan
	slot int   // noSlot if none is held
}

// acquire waits for a slot until ctx is done.
func (l *lease) acquire(ctx context.Context) error {
	slot, err := l.slots.acquire(ctx, l.addr)
	if err != nil {
		return err
	}
	l.slot = slot
	l.passes[slot] = l.pass
	l.timer.resume()
	return nil
}

// acquireFirst is acquire, but returns errNoSlot if no slot is free for patience,
// unless patience is 0.
func (l *lease) acquireFirst(ctx context.Context, patience time.Duration) error {
	if patience == 0 {
		return l.acquire(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNoSlot)
	defer cancel()
	return l.acquire(ctx)
}

// release gives the slot back, if one is held.
func (l *lease) release() {
	if l.slot == noSlot {
		return
	}
	l.timer.pause()
	if l.pass != nil {
		l.pass.trim()
	}
	l.passes[l.slot] = nil
	l.slots.release(l.slot, l.addr)
	l.slot = noSlot
}

// yield lets another read have the slot if that read's turn has come.
func (l *lease) yield(ctx context.Context) error {
	if !l.slots.shouldYield(l.addr) {
		return nil
	}
	return l.without(ctx, func() error { return nil })
}

// without calls f without a slot.
func (l *lease) without(ctx context.Context, f func() error) error {
	l.release()
	if err := f(); err != nil {
		return err
	}
	return l.acquire(ctx)
}

// scan makes p the pass that gets the rows of log_visit, until the returned
// function is called. The lease must hold a slot.
func (l *lease) scan(p *pass) (done func()) {
	l.pass = p
	l.passes[l.slot] = p
	return func() {
		l.pass = nil
		if l.slot != noSlot {
			l.passes[l.slot] = nil
		}
	}
}
