package logread

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	maxTails     = 32
	maxTailReads = 2 // scans of tails at a time; each is short

	// A tail looks for new entries when the writer tells of a commit, and at
	// this pace for those that another program has written.
	tailPoll = 150 * time.Millisecond
	// A tail sends no more often than this, so that thousands of commits in a
	// second do not make thousands of reads.
	tailPace = 40 * time.Millisecond

	tailBurst     = 500     // entries sent at a time
	tailBytes     = 1 << 20 // bytes sent at a time, but for a larger last entry
	tailWindow    = 20_000  // ids looked through at a time
	tailHeartbeat = 15 * time.Second
)

// committed tells the tails that the entries up to lastID are in the database.
// It is cheap, never waits, and may be called by any goroutine.
func (r *Reader) Committed(lastID int64) {
	if r.raiseNewest(lastID) {
		select {
		case r.wake <- struct{}{}:
		default: // a token is there
		}
	}
}

// raiseNewest reports whether id is higher than all before.
func (r *Reader) raiseNewest(id int64) bool {
	for {
		newest := r.newest.Load()
		if id <= newest {
			return false
		}
		if r.newest.CompareAndSwap(newest, id) {
			return true
		}
	}
}

// startTail enters a tail, unless there are too many. The channel holds a token
// when there are new entries.
func (r *Reader) startTail() (news chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tails) >= maxTails || r.ctx.Err() != nil {
		return nil, false
	}
	news = make(chan struct{}, 1)
	if len(r.tails) == 0 {
		r.stopWatch = make(chan struct{})
		r.running.Add(1)
		// What is newer than told now, no tail that is yet to come has seen.
		go r.watch(r.stopWatch, r.newest.Load())
	}
	r.tails[news] = struct{}{}
	r.running.Add(1)
	return news, true
}

func (r *Reader) endTail(news chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tails, news)
	if len(r.tails) == 0 {
		close(r.stopWatch)
	}
	r.running.Done()
}

// EndTails ends all tails and lets no new ones begin, so that a server that
// shuts down need not wait for them.
func (r *Reader) EndTails() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel()
}

// watch tells all tails of entries newer than told, until stop is closed.
func (r *Reader) watch(stop chan struct{}, told int64) {
	defer r.running.Done()
	ticker := time.NewTicker(tailPoll)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-stop:
			return
		case <-r.wake:
		case <-ticker.C:
			id, err := r.newestID(r.ctx)
			if err != nil && !failing && r.ctx.Err() == nil {
				r.log.Warn("looking for new entries failed", "err", err)
			}
			failing = err != nil
			r.raiseNewest(id)
		}
		newest := r.newest.Load()
		if newest == told {
			continue
		}
		told = newest
		r.mu.Lock()
		for news := range r.tails {
			select {
			case news <- struct{}{}:
			default: // a token is there
			}
		}
		r.mu.Unlock()
	}
}

// ServeTail answers GET /logs/tail: the entries that the filters find, as they
// come, as server-sent events. It begins after the entry that Last-Event-ID or
// the parameter after names, or else with the next one to come.
//
// Where there is more than can be sent in time, the newest are sent, and before
// them an event named skipped says which ids were passed over.
func (r *Reader) ServeTail(w http.ResponseWriter, req *http.Request) {
	q, ok := parseRequest(w, req, time.Now(), "after")
	if !ok {
		return
	}
	if last := req.Header.Get("Last-Event-ID"); last != "" {
		var err error
		if q.after, err = parseIDParameter("Last-Event-ID", last); err != nil {
			writeError(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	news, ok := r.startTail()
	if !ok {
		refuseBusy(w)
		return
	}
	defer r.endTail(news)
	newest, err := r.newestID(req.Context())
	if err != nil {
		r.refuseFailed(w, req, err)
		return
	}
	r.raiseNewest(newest)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx would hold events back
	if req.Method == http.MethodHead {
		return
	}
	t := &tail{reader: r, query: q, last: q.after, w: w, rc: http.NewResponseController(w)}
	if q.after == math.MinInt64 || q.after > newest {
		t.last = newest // an id that is yet to come is one of another database
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer t.end()
	defer context.AfterFunc(r.ctx, func() {
		t.end()
		cancel()
	})()
	if err := t.run(ctx, news); err != nil && ctx.Err() == nil {
		r.log.Info("a tail was cut off", "err", err)
	}
}

// A tail is one client's. Its goroutine alone uses it, but for the deadlines.
type tail struct {
	reader *Reader
	query  *logQuery
	last   int64 // the client needs no entry up to this one
	w      http.ResponseWriter
	rc     *http.ResponseController
	events []byte // of a round, the newest first
	ends   []int  // of each event

	mu    sync.Mutex // guards the write deadline
	ended bool       // it has been set for the last time
}

// errTailFull ends a scan that has found as much as is sent at a time.
var errTailFull = errors.New("enough for one round")

// run sends what comes until ctx is done.
func (t *tail) run(ctx context.Context, news chan struct{}) error {
	if err := t.sendID(); err != nil {
		return err
	}
	heartbeat := time.NewTicker(tailHeartbeat)
	defer heartbeat.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return nil
		}
		begin := time.Now()
		sent, err := t.round(ctx)
		if err != nil {
			return err
		}
		if !sent {
			// Commits may follow so closely that no round ends in a wait.
			select {
			case <-heartbeat.C:
				if err := t.sendID(); err != nil {
					return err
				}
			default:
			}
		}
		if t.reader.newest.Load() <= t.last {
			select {
			case <-news:
			case <-heartbeat.C:
				if err := t.sendID(); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
		pace.Reset(tailPace - time.Since(begin))
	}
}

// round sends the entries that have come since the last one, and reports whether
// there was anything to send.
func (t *tail) round(ctx context.Context) (sent bool, err error) {
	newest := t.reader.newest.Load()
	if newest <= t.last {
		return false, nil
	}
	number, ok := t.reader.acquire(ctx, t.reader.tailReads)
	if !ok {
		return false, nil // the next round will have them
	}
	q := *t.query
	q.after, q.before, q.limit = max(t.last, newest-tailWindow), newest+1, tailBurst+1
	seen := q.after // no entry up to this one was looked at
	t.events, t.ends = t.events[:0], t.ends[:0]
	err = t.reader.scan(ctx, number, &q, logSink{
		add: func(row *logRow) bool {
			t.events = append(strconv.AppendInt(append(t.events, "id: "...), row.id, 10), "\ndata: "...)
			t.events = append(appendLogRow(t.events, row), "\n\n"...)
			t.ends = append(t.ends, len(t.events))
			seen = row.id - 1
			return len(t.ends) >= tailBurst || len(t.events) >= tailBytes
		},
		flush: func() error { return errTailFull },
	})
	t.reader.tailReads <- number
	if err == nil {
		seen = q.after
	} else if !errors.Is(err, errTailFull) {
		return false, err
	}

	var parts [][]byte
	if skipped := seen - t.last; skipped > 0 {
		parts = append(parts, fmt.Appendf(nil, "event: skipped\ndata: {\"skipped\":%d,\"after\":%d,\"before\":%d}\n\n",
			skipped, t.last, seen+1))
	}
	for i, end := range slices.Backward(t.ends) {
		start := 0
		if i > 0 {
			start = t.ends[i-1]
		}
		parts = append(parts, t.events[start:end])
	}
	t.last = newest
	err = t.send(parts...)
	if cap(t.events) > 4*flushSize {
		t.events = nil
	}
	return len(parts) > 0, err
}

// sendID tells the client, without an event, where it stands: what was looked
// through for nothing need not be looked through again when it comes back.
func (t *tail) sendID() error {
	return t.send(fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", t.last))
}

// setDeadline says until when what is written must be taken; zero is any time.
func (t *tail) setDeadline(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		_ = t.rc.SetWriteDeadline(at) // not every ResponseWriter can have one, and it may go without
	}
}

// end gives what is still to be written a second, so that a client that takes
// nothing does not hold up the end. No deadline is set after it: when the
// handler has returned, net/http has none to set.
func (t *tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		_ = t.rc.SetWriteDeadline(time.Now().Add(time.Second)) // as in setDeadline
	}
}

// send writes events and sees to it that they go out.
func (t *tail) send(parts ...[]byte) error {
	if len(parts) == 0 {
		return nil
	}
	t.setDeadline(time.Now().Add(writeTimeout))
	for _, part := range parts {
		if _, err := t.w.Write(part); err != nil {
			return err
		}
	}
	if err := t.rc.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream at its deadline, though nothing waits to be written.
	t.setDeadline(time.Time{})
	return nil
}
