package logread

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A slowResponse is a ResponseWriter whose client takes bytes at a rate. Writes
// fail at the write deadline.
type slowResponse struct {
	header   http.Header
	rate     int // bytes per second; 0 means that the client takes nothing
	status   int
	sent     int
	onWrite  func()
	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{} // holds a token after the deadline was set
}

func newSlowResponse(rate int) *slowResponse {
	return &slowResponse{header: make(http.Header), rate: rate, changed: make(chan struct{}, 1)}
}

func (w *slowResponse) Header() http.Header    { return w.header }
func (w *slowResponse) WriteHeader(status int) { w.status = status }
func (w *slowResponse) FlushError() error      { return nil }

func (w *slowResponse) SetWriteDeadline(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = at
	signal(w.changed)
	return nil
}

func (w *slowResponse) Write(p []byte) (int, error) {
	if w.onWrite != nil {
		w.onWrite()
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	done := time.Duration(1<<63 - 1)
	if w.rate > 0 {
		done = time.Duration(len(p)) * time.Second / time.Duration(w.rate)
	}
	start := time.Now()
	for {
		w.mu.Lock()
		deadline := w.deadline
		w.mu.Unlock()
		left, expires := done-time.Since(start), false
		if !deadline.IsZero() && time.Until(deadline) < left {
			left, expires = time.Until(deadline), true
		}
		select {
		case <-time.After(left):
			if expires {
				return 0, os.ErrDeadlineExceeded
			}
			w.sent += len(p)
			return len(p), nil
		case <-w.changed:
		}
	}
}

// serveFrom serves a request of a client, and returns whether the response was
// completed.
func (l *testLog) serveFrom(addr, target string, w http.ResponseWriter, headers ...string) (complete bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, "GET", target, nil)
	req.RemoteAddr = addr + ":1"
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	l.routes().ServeHTTP(w, req)
	return true
}

// However many reads and tails are open, with large entries and slow clients, their
// memory is bounded, and other clients can read.
func TestReadersMemory(t *testing.T) {
	const bound = 40 << 20
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		l.fill(3000)
		l.insert(
			testEntry{"error", strings.Repeat("\x01", 16<<20-100), "", nil},
			testEntry{"error", "m", "", `{"a":"` + strings.Repeat("ü", 8<<20-100) + `"}`},
		)
		var peak int64
		var mu sync.Mutex
		sample := func() {
			reads, tails := l.reader.Memory()
			mu.Lock()
			defer mu.Unlock()
			peak = max(peak, reads+tails)
		}
		var clients sync.WaitGroup
		open := func(i int, target string) {
			clients.Go(func() {
				w := newSlowResponse(100)
				w.onWrite = sample
				encoding := []string{"gzip", "identity"}[i%2]
				l.serveFrom(fmt.Sprintf("10.0.0.%d", i), target, w, "Accept-Encoding", encoding)
			})
		}
		for i := range maxTails {
			open(i, "/logs/tail?after=0")
		}
		for i := range maxReads - 4 {
			open(i, []string{"/logs?limit=3000", "/logs?q=e&limit=3000", "/logs?before=3002", "/logs?limit=2000&before=3000"}[i%4])
		}
		time.Sleep(8 * time.Second) // each client waits for its first part
		for _, target := range []string{"/logs?limit=1&before=3000", "/logs/histogram", "/logs?limit=1", "/logs?q=nowhere"} {
			w := &discardResponse{header: make(http.Header)}
			start := time.Now()
			if !l.serveFrom("10.0.1.1", target, w) || w.status != http.StatusOK {
				t.Errorf("GET %s = %d, want a complete response with 200", target, w.status)
			}
			if got := time.Since(start); got > time.Second {
				t.Errorf("GET %s took %v, want at most 1s", target, got)
			}
			sample()
		}
		reads, tails := l.reader.Memory()
		if want := int64(maxTails * readMemory); tails < want {
			t.Errorf("tails use %d bytes, want at least %d", tails, want)
		}
		if want := int64((maxReads - 4) * readMemory); reads < want {
			t.Errorf("reads use %d bytes, want at least %d", reads, want)
		}
		l.reader.Shutdown()
		clients.Wait()
		if peak > bound {
			t.Errorf("peak memory is %d bytes, want at most %d", peak, bound)
		}
		t.Logf("peak memory: %d KiB", peak>>10)
		time.Sleep(2 * keepLoaded)
		l.checkNoSlotsHeld()
		if reads, _ := l.reader.Memory(); reads != 0 {
			t.Errorf("reads use %d bytes, want the large entry freed", reads)
		}
	})
}

// A client that takes less than minRate gets slowGrace more, and is then cut off.
func TestSlowClients(t *testing.T) {
	for _, test := range []struct {
		rate     int
		complete bool
		atMost   time.Duration
	}{
		{rate: 100 << 10, complete: true, atMost: time.Minute},
		{rate: minRate + 1000, complete: true, atMost: 4 * time.Minute},
		{rate: 10 << 10, complete: false, atMost: 100 * time.Second},
		{rate: 5 << 10, complete: false, atMost: writeTimeout}, // not even one part in time
		{rate: 0, complete: false, atMost: writeTimeout},
	} {
		t.Run(fmt.Sprintf("rate=%d", test.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := openTestLog(t)
				for range 30 {
					l.insert(testEntry{"error", strings.Repeat("x", 60_000), "", nil})
				}
				l.insert(testEntry{"error", strings.Repeat("x", 1<<20), "", nil})
				start := time.Now()
				w := newSlowResponse(test.rate)
				complete := l.serveFrom("10.0.0.1", "/logs", w)
				if got := time.Since(start); complete != test.complete || got > test.atMost {
					t.Errorf("got complete = %v after %v, want %v within %v", complete, got, test.complete, test.atMost)
				}
				l.reader.large.free()
				l.checkNoSlotsHeld()
			})
		})
	}
}

// A shutdown ends reads within a second, whatever they wait for.
func TestReadShutdown(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(l *testLog)
		status  int
	}{
		{name: "client", status: http.StatusOK, prepare: func(*testLog) {}},
		{name: "slot", status: http.StatusServiceUnavailable, prepare: func(l *testLog) {
			for range maxReadSteps {
				l.t.Cleanup(holdSlot(l.t, l.reader.readSteps))
			}
		}},
		{name: "compressor", status: 0, prepare: func(l *testLog) {
			for range maxCompressing {
				l.t.Cleanup(holdSlot(l.t, l.reader.compressors.slots))
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := openTestLog(t)
				l.fill(3000)
				test.prepare(l)
				var start time.Time
				time.AfterFunc(5*time.Second, func() {
					start = time.Now()
					l.reader.Shutdown()
				})
				w := newSlowResponse(1 << 10)
				l.serveFrom("10.0.0.1", "/logs?limit=3000", w, "Accept-Encoding", "gzip")
				if got := time.Since(start); start.IsZero() || got > stopTimeout {
					t.Errorf("response ended %v after Shutdown, want at most %v", got, stopTimeout)
				}
				if w.status != test.status {
					t.Errorf("got status %d, want %d", w.status, test.status)
				}
			})
		})
	}
}

// A client that disconnects ends the validation of a large entry.
func TestCheckDetailsCancellation(t *testing.T) {
	e := &largeEntry{row: row{details: []byte(`{"a":"` + strings.Repeat("x", 4<<20) + `"}`)}}
	w := &work{ctx: &cancelledContext{context.Background(), 2}}
	if err := e.checkDetails(w); err != context.Canceled || e.checked {
		t.Errorf("checkDetails() = %v, checked %v, want %v, false", err, e.checked, context.Canceled)
	}
	if got := w.total(); got > 4*checkEvery {
		t.Errorf("examined %d bytes, want at most %d", got, 4*checkEvery)
	}
	if err := e.checkDetails(newWork()); err != nil || !e.checked || !e.validDetails {
		t.Errorf("checkDetails() = %v, checked %v, valid %v, want nil, true, true", err, e.checked, e.validDetails)
	}
}
