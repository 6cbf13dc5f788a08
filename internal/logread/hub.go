package logread

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// tailPoll is how often a hub looks for entries that other processes wrote. The
// writer's commits are reported immediately.
const tailPoll = 150 * time.Millisecond

// A hub notifies tails of new entries. While there are tails, a goroutine waits
// for commits of the writer, and polls the database for those of other processes.
type hub struct {
	db   *database
	log  *slog.Logger
	wake chan struct{} // holds a token after db.newest was raised

	ctx     context.Context // done when the tails must stop
	cancel  context.CancelFunc
	running sync.WaitGroup // tails, and the goroutine that polls

	mu          sync.Mutex
	tails       map[chan struct{}]struct{}
	stopPolling chan struct{} // closed when the last tail leaves
}

func newHub(db *database, log *slog.Logger) *hub {
	h := &hub{
		db:    db,
		log:   log,
		wake:  make(chan struct{}, 1),
		tails: make(map[chan struct{}]struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// committed reports that the entries up to lastID are committed. It never
// blocks.
func (h *hub) committed(lastID int64) {
	if h.db.raiseNewest(lastID) {
		signal(h.wake)
	}
}

// signal puts a token into c unless it already holds one. c has a buffer of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// join adds a tail, unless the hub is stopped. The channel holds a token when there
// are new entries.
func (h *hub) join() (notify chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, false
	}
	if len(h.tails) == 0 {
		h.stopPolling = make(chan struct{})
		h.running.Add(1)
		// Load newest before any tail starts: each tail must be notified of
		// entries above it.
		go h.poll(h.stopPolling, h.db.newest.Load())
	}
	notify = make(chan struct{}, 1)
	h.tails[notify] = struct{}{}
	h.running.Add(1)
	return notify, true
}

// leave removes a tail.
func (h *hub) leave(notify chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tails, notify)
	if len(h.tails) == 0 {
		close(h.stopPolling)
	}
	h.running.Done()
}

// stop stops all tails and rejects new ones.
func (h *hub) stop() {
	h.mu.Lock() // no tail may join after stop has returned
	defer h.mu.Unlock()
	h.cancel()
}

// wait waits until all tails have left. The hub must be stopped.
func (h *hub) wait() { h.running.Wait() }

// poll notifies the tails of entries with an id above lastSeen, until stop is
// closed.
func (h *hub) poll(stop chan struct{}, lastSeen int64) {
	defer h.running.Done()
	ticker := time.NewTicker(tailPoll)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-stop:
			return
		case <-h.wake:
		case <-ticker.C:
			id, err := h.db.readNewest(h.ctx)
			if err != nil && !failing && h.ctx.Err() == nil {
				h.log.Warn("cannot look for new entries", "err", err)
			}
			failing = err != nil
			h.db.raiseNewest(id)
		}
		if newest := h.db.newest.Load(); newest != lastSeen {
			lastSeen = newest
			h.notifyAll()
		}
	}
}

func (h *hub) notifyAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for notify := range h.tails {
		signal(notify)
	}
}
