package main

import (
	"runtime"
	"slices"
	"sync"
)

// Work on a body in memory that is smaller than largeBody takes less than a
// millisecond and needs no permit. Work on a larger body lets other client
// addresses go first after each workStep bytes.
const (
	largeBody = 64 << 10
	workStep  = 256 << 10
)

// processors limits how many goroutines inflate, scan or decode large bodies at
// once, and lets client addresses take turns. Without it, a client with many
// connections would fill the run queue of Go's scheduler, which serves
// goroutines, not clients.
type processors struct {
	mu    sync.Mutex
	free  int
	turns int64
	line  line
}

// newProcessors returns processors with a permit for each processor that Go uses.
func newProcessors() *processors { return &processors{free: runtime.GOMAXPROCS(0)} }

// acquire waits for a permit. A request that continues its work comes before the
// requests of the same client that have not begun. Otherwise a client with many
// requests would have all of them in progress, with their memory.
func (p *processors) acquire(a *account, continues bool) {
	p.mu.Lock()
	if p.free > 0 {
		p.free--
		p.grant(a)
		p.mu.Unlock()
		return
	}
	w := newWaiter(a, 1)
	if continues {
		p.line = slices.Insert(p.line, 0, w)
	} else {
		p.line = append(p.line, w)
	}
	p.mu.Unlock()
	<-w.admitted
}

// grant records that it is a's turn. p.mu must be held.
func (p *processors) grant(a *account) {
	p.turns++
	a.turn = p.turns
}

// release returns a permit, or passes it to the client whose turn is next.
func (p *processors) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
}

// pass is release with p.mu held.
func (p *processors) pass() {
	if len(p.line) == 0 {
		p.free++
		return
	}
	w := p.line.next(func(a *account) int64 { return a.turn })
	p.line.remove(w)
	p.grant(w.account)
	w.admitted <- struct{}{}
}

// yield passes a's permit to another client that waits, if there is one, and
// waits for the next turn.
func (p *processors) yield(a *account) {
	p.mu.Lock()
	if !p.othersWait(a) {
		p.mu.Unlock()
		return
	}
	p.pass()
	w := newWaiter(a, 1)
	p.line = slices.Insert(p.line, 0, w) // as in acquire
	p.mu.Unlock()
	<-w.admitted
}

// othersWait reports whether a client other than a waits. p.mu must be held.
func (p *processors) othersWait(a *account) bool {
	for _, w := range p.line {
		if w.account != a {
			return true
		}
	}
	return false
}

// processorTime is the permit of one request. The zero value needs none.
type processorTime struct {
	processors *processors
	account    *account
	held       bool
	begun      bool  // it has held a permit
	worked     int64 // bytes since the last yield
}

// start waits for a permit unless the request holds one.
func (t *processorTime) start() {
	if !t.held && t.processors != nil {
		t.processors.acquire(t.account, t.begun)
		t.held, t.begun = true, true
	}
}

// stop returns the permit and reports whether the request held one.
func (t *processorTime) stop() (held bool) {
	if held = t.held; held {
		t.held = false
		t.processors.release()
	}
	return held
}

// step counts n bytes of work. After workStep bytes, other clients get their turn.
// Goroutines that need no permit, for small requests and TLS handshakes, also run
// then. Otherwise they would wait up to 10 ms until Go's scheduler interrupts t's.
func (t *processorTime) step(n int) {
	if t.worked += int64(n); t.held && t.worked >= workStep {
		t.worked = 0
		t.processors.yield(t.account)
		runtime.Gosched()
	}
}
