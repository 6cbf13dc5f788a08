package logread

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"log-ingester/internal/logtest"
	"log-ingester/internal/pipetest"
)

type testEntry = logtest.Entry

// A testLog is a log database with a reader.
type testLog struct {
	t      testing.TB
	db     *logtest.DB
	reader *Reader
	server *httptest.Server // nil if not served over HTTP
}

// openTestLog returns an empty testLog without a server.
func openTestLog(t testing.TB) *testLog {
	t.Helper()
	db := logtest.New(t)
	r, err := Open(db.Path, Config{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return &testLog{t: t, db: db, reader: r}
}

// newTestLog returns an empty testLog that is served over HTTP.
func newTestLog(t testing.TB) *testLog {
	t.Helper()
	l := openTestLog(t)
	l.server = httptest.NewServer(l.routes())
	t.Cleanup(func() {
		l.reader.Shutdown()
		l.server.Close()
	})
	return l
}

func (l *testLog) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", l.reader.ServeLogs)
	mux.HandleFunc("GET /logs/histogram", l.reader.ServeHistogram)
	mux.HandleFunc("GET /logs/kinds", l.reader.ServeKinds)
	mux.HandleFunc("GET /logs/fields", l.reader.ServeFields)
	mux.HandleFunc("GET /logs/tail", l.reader.ServeTail)
	return mux
}

func (l *testLog) insert(entries ...testEntry) int64 { return l.db.Insert(entries...) }
func (l *testLog) fill(n int) int64                  { return l.db.Fill(n) }

// get sends a request to the server. headers are pairs of name and value.
func (l *testLog) get(target string, headers ...string) (*http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequest("GET", l.server.URL+target, nil)
	must(l.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(l.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(l.t, err)
	return resp, string(body)
}

// serve handles a request without the server.
func (l *testLog) serve(target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	l.routes().ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w
}

// A jsonEntry is an entry of a /logs response.
type jsonEntry struct {
	ID        int64
	Level     string
	Message   string
	Timestamp string
	Details   json.RawMessage
}

// logs returns the entries in the response to GET /logs?query.
func (l *testLog) logs(query string) []jsonEntry {
	l.t.Helper()
	resp, body := l.get("/logs?" + query)
	if resp.StatusCode != http.StatusOK {
		l.t.Fatalf("GET /logs?%s = %d %s, want 200", query, resp.StatusCode, body)
	}
	return decodeEntries(l.t, body)
}

func decodeEntries(t testing.TB, body string) []jsonEntry {
	t.Helper()
	var entries []jsonEntry
	if err := json.Unmarshal([]byte(body), &entries); err != nil {
		t.Fatalf("response is not an array of entries: %v in %s", err, body)
	}
	return entries
}

// checkError checks that a response is a JSON error that contains text. A 503
// must have a Retry-After.
func checkError(t *testing.T, w *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	var response struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &response); err != nil {
		t.Errorf("response is not JSON: %v in %s", err, w.Body)
	}
	if w.Code != status || !strings.Contains(response.Error, text) {
		t.Errorf("response = %d %q, want %d with %s", w.Code, response.Error, status, text)
	}
	if status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		t.Error("Retry-After is missing")
	}
}

// ids returns the ids of entries. It is never nil.
func ids(entries []jsonEntry) []int64 {
	ids := []int64{}
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// serveHTTP2 serves h over HTTP/2 and returns a client whose host is
// https://example.com.
func serveHTTP2(t *testing.T, h http.Handler) *http.Client {
	return pipetest.ServeHTTP2(t, &http.Server{Handler: h}, func(l net.Listener) net.Listener { return l })
}

// A hookedRecorder calls a function before each write.
type hookedRecorder struct {
	*httptest.ResponseRecorder
	beforeWrite func()
}

func (w *hookedRecorder) Write(p []byte) (int, error) {
	w.beforeWrite()
	return w.ResponseRecorder.Write(p)
}

// addressCount makes the addresses of holdSlot different.
var addressCount atomic.Uint32

// holdSlot takes a slot as a client with an address of its own, and returns a
// function that releases it.
func holdSlot(t testing.TB, s *slots) (release func()) {
	t.Helper()
	n := addressCount.Add(1)
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	slot, err := s.acquire(context.Background(), addr)
	must(t, err)
	return func() { s.release(slot, addr) }
}

// checkNoSlotsHeld checks that all slots are free and all memory is given back, except
// that of the large entry.
func (l *testLog) checkNoSlotsHeld() {
	l.t.Helper()
	r := l.reader
	for name, s := range map[string]*slots{
		"open reads": r.openReads, "open tails": r.openTails, "read steps": r.readSteps,
		"tail steps": r.tailSteps, "large entries": r.large.slots, "compressors": r.compressors.slots,
	} {
		s.mu.Lock()
		if len(s.held) != 0 || s.total != 0 {
			l.t.Errorf("%s: %d slots are held, want none", name, s.total)
		}
		s.mu.Unlock()
	}
	defer holdSlot(l.t, r.large.slots)()
	reads, tails := r.Memory()
	if large := int64(cap(r.large.entry.text)); reads != large || tails != 0 || r.memory.growth.Load() != 0 {
		l.t.Errorf("Memory() = %d, %d, want %d, 0", reads, tails, large)
	}
}

// newLease returns a lease for a scan.
func (l *testLog) newLease() *lease {
	return &lease{slots: l.reader.readSteps, passes: l.reader.scanner.passes, slot: noSlot}
}

// newWork returns the work of a scan that is never cancelled.
func newWork() *work { return &work{ctx: context.Background()} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
