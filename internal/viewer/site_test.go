package viewer

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"log-ingester/internal/logread"
	"log-ingester/internal/logtest"
)

// A testEntry is a row of the log. Empty details are NULL.
type testEntry struct{ level, message, timestamp, details string }

// errorEntry returns an entry of level error at the current time.
func errorEntry(message string) testEntry {
	return testEntry{level: "error", message: message, timestamp: timestamp(time.Now())}
}

// timestamp formats a time as the service stores it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// A site is a log and the page that shows it, served over HTTP.
type site struct {
	db      *logtest.DB
	reader  *logread.Reader
	handler http.Handler
	server  *httptest.Server
	url     string // without a slash at the end
}

// newSite returns a site with an empty log.
func newSite(t testing.TB) *site {
	t.Helper()
	return newSiteBehind(t, func(next http.Handler) http.Handler { return next })
}

// newSiteBehind returns a site whose requests pass through a middleware.
func newSiteBehind(t testing.TB, middleware func(next http.Handler) http.Handler) *site {
	t.Helper()
	db := logtest.New(t)
	reader, err := logread.Open(db.Path, logread.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{db: db, reader: reader}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", reader.ServeLogs)
	mux.HandleFunc("GET /logs/histogram", reader.ServeHistogram)
	mux.HandleFunc("GET /logs/kinds", reader.ServeKinds)
	mux.HandleFunc("GET /logs/fields", reader.ServeFields)
	mux.HandleFunc("GET /logs/tail", reader.ServeTail)
	Register(mux)
	s.handler = mux
	s.server = httptest.NewServer(middleware(mux))
	s.url = s.server.URL
	t.Cleanup(func() {
		s.endTails() // otherwise Close waits for them
		s.server.Close()
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// insert stores entries without notifying tails, and returns the id of the last.
func (s *site) insert(entries ...testEntry) int64 {
	rows := make([]logtest.Entry, len(entries))
	for i, e := range entries {
		rows[i] = logtest.Entry{e.level, e.message, e.timestamp, nil}
		if e.details != "" {
			rows[i][3] = e.details
		}
	}
	return s.db.Insert(rows...)
}

// fill stores n entries "entry 0", "entry 1", …, one for each second from
// midnight of 22 November 2026, without notifying tails.
func (s *site) fill(n int) { s.db.Fill(n) }

// deliver stores entries and notifies tails.
func (s *site) deliver(entries ...testEntry) { s.reader.Committed(s.insert(entries...)) }

// endTails ends all tails.
func (s *site) endTails() { s.reader.Shutdown() }

// closeConnections closes all connections of the server.
func (s *site) closeConnections() { s.server.CloseClientConnections() }

// A tailGate is a middleware that can refuse and end requests for the tail.
type tailGate struct {
	mu      sync.Mutex
	refuses bool
	cancels map[*http.Request]context.CancelFunc
}

func (g *tailGate) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/logs/tail" {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if !g.enter(r, cancel) {
			http.Error(w, `{"error":"busy"}`, http.StatusServiceUnavailable)
			return
		}
		defer g.leave(r)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (g *tailGate) enter(r *http.Request, cancel context.CancelFunc) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuses {
		return false
	}
	if g.cancels == nil {
		g.cancels = make(map[*http.Request]context.CancelFunc)
	}
	g.cancels[r] = cancel
	return true
}

func (g *tailGate) leave(r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.cancels, r)
}

// refuse makes the gate answer requests for the tail with 503, or stops that.
func (g *tailGate) refuse(refuses bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuses = refuses
}

// end ends all tails.
func (g *tailGate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, cancel := range g.cancels {
		cancel()
	}
}

// awaitTails waits until n tails are connected.
func (g *tailGate) awaitTails(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(10 * time.Millisecond) {
		g.mu.Lock()
		got := len(g.cancels)
		g.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tails are connected after %v, want %d", got, waitTimeout, n)
		}
	}
}
