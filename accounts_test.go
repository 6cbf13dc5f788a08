package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// The client of a request is the peer, or the last address in X-Forwarded-For
// that is not a trusted proxy. A client cannot choose it.
func TestClientAddress(t *testing.T) {
	for _, c := range []struct {
		name      string
		trusted   string // -trusted-proxies
		peer      string
		forwarded []string // lines of X-Forwarded-For
		want      string
	}{
		{"no proxy", "", "192.0.2.1:5", nil, "192.0.2.1"},
		{"untrusted peer", "10.0.0.0/8", "192.0.2.1:5", []string{"198.51.100.1"}, "192.0.2.1"},
		{"none trusted", "", "10.0.0.1:5", []string{"198.51.100.1"}, "10.0.0.1"},
		{"trusted proxy", "10.0.0.0/8", "10.0.0.1:5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"trusted proxy without the field", "10.0.0.0/8", "10.0.0.1:5", nil, "10.0.0.1"},
		{"empty field", "10.0.0.0/8", "10.0.0.1:5", []string{""}, "10.0.0.1"},
		{"invented address", "10.0.0.1", "10.0.0.1:5", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"invented line", "10.0.0.1", "10.0.0.1:5", []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.0/8", "10.0.0.1:5", []string{"203.0.113.9,198.51.100.1 ,\t10.0.0.2"}, "198.51.100.1"},
		{"two proxies in two lines", "10.0.0.0/8", "10.0.0.1:5", []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"only proxies", "10.0.0.0/8", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage last", "10.0.0.0/8", "10.0.0.1:5", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		{"garbage before a proxy", "10.0.0.0/8", "10.0.0.1:5", []string{"198.51.100.1, ?, 10.0.0.2"}, "10.0.0.2"},
		{"port", "10.0.0.1", "10.0.0.1:5", []string{"198.51.100.1:80"}, "198.51.100.1"},
		{"IPv6", "::1", "[::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 with brackets", "::1", "[::1]:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", "::1", "[::1]:5", []string{"[2001:db8::1]:80"}, "2001:db8::1"},
		{"IPv4 in IPv6", "10.0.0.0/8", "[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.1"}, "::ffff:198.51.100.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var trusted networksFlag
			if c.trusted != "" {
				must(t, trusted.Set(c.trusted))
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			if got := newAccounts(trusted).addressOf(r); got != netip.MustParseAddr(c.want) {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestTrustedProxiesInvalid(t *testing.T) {
	for _, text := range []string{"", ",", "10.0.0.0/33", "10.0.0.1,", "localhost", "10.0.0.1/", "::1/200", "1.2.3.4:80"} {
		if err := new(networksFlag).Set(text); err == nil {
			t.Errorf("%q: got no error, want one", text)
		}
	}
}

// The addresses of an IPv6 /64 network share an account, and so do an IPv4
// address and its form in IPv6. An account is forgotten after its last use.
func TestAccountOfAddress(t *testing.T) {
	as := newAccounts(nil)
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"fe80::1%a", "fe80::2%b", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		a, b := as.get(netip.MustParseAddr(c.a)), as.get(netip.MustParseAddr(c.b))
		if same := a == b; same != c.same {
			t.Errorf("%s and %s: got the same account %v, want %v", c.a, c.b, same, c.same)
		}
		a.put()
		if n := len(as.all); n != 1 {
			t.Errorf("%s and %s: got %d accounts while one is in use, want 1", c.a, c.b, n)
		}
		b.put()
		if n := len(as.all); n != 0 {
			t.Errorf("%s and %s: got %d accounts after the last use, want none", c.a, c.b, n)
		}
	}
}

// With several clients at their limit, another client still has space.
func TestSharesLeaveSpace(t *testing.T) {
	const limit = 64 << 20
	b := &budget{limit: limit}
	var hostile []*account
	for n := range 10 {
		a := testAccount()
		for b.reserve(&a.memory, 16<<10) {
		}
		hostile = append(hostile, a)
		if got, want := a.memory.Load(), maxShare(limit); n == 0 && (got > want || got < want-16<<10) {
			t.Errorf("got %d bytes for one client, want about %d", got, want)
		}
	}
	other := testAccount()
	if !b.reserve(&other.memory, guaranteedSpace(limit)) {
		t.Errorf("got no space for another client with %d bytes free", limit-b.used.Load())
	}
	b.release(&other.memory, other.memory.Load())
	for _, a := range hostile {
		b.release(&a.memory, a.memory.Load())
	}
	if n := b.used.Load(); n != 0 {
		t.Errorf("got %d bytes in use at the end, want 0", n)
	}
}

// A client that fills the queue does not delay the entries of others.
func TestQueueShares(t *testing.T) {
	s := newStalledService(t, "-max-body", "1MiB")
	body := `{"level":"error","msg":"` + strings.Repeat("x", 100_000) + `"}`
	for post(s, "192.0.2.1:1", body) == http.StatusAccepted {
	}
	if got := post(s, "192.0.2.2:1", body); got != http.StatusAccepted {
		t.Errorf("got status %d for another client, want 202", got)
	}
	if err := s.queue.notReady(); err != nil {
		t.Errorf("got not ready with the error %v, want ready", err)
	}
}

// Nor does a client with a batch that is larger than the queue.
func TestQueueOversizeBatch(t *testing.T) {
	s := newStalledService(t, "-queue", "1MiB")
	large := `{"level":"error","msg":"` + strings.Repeat("x", 2<<20) + `"}`
	if got := post(s, "192.0.2.1:1", large); got != http.StatusAccepted {
		t.Errorf("got status %d for the first batch, want 202", got)
	}
	waited := make(chan int)
	go func() { waited <- post(s, "192.0.2.3:1", large) }()
	waitFor(t, "the second large batch waits", func() bool { return s.queue.waiting.Load() == 1 })
	if got := post(s, "192.0.2.2:1", smallBody); got != http.StatusAccepted || s.queue.waiting.Load() != 1 {
		t.Errorf("got status %d for a small batch with %d waiting, want 202 and 1", got, s.queue.waiting.Load())
	}
	if got := receive(t, "the response", waited); got != http.StatusServiceUnavailable {
		t.Errorf("got status %d for the second large batch, want 503", got)
	}
	if excess := s.queue.oversize.Load(); excess <= 0 {
		t.Errorf("got %d bytes above the limit, want more than 0", excess)
	}
	s.stop()
	if excess := s.queue.oversize.Load(); excess != 0 {
		t.Errorf("got %d bytes above the limit at the end, want 0", excess)
	}
}

// The service is ready as long as clients with few queued bytes are served, also
// if another client has put a batch larger than the queue.
func TestQueueReadiness(t *testing.T) {
	s := newStalledService(t, "-queue", "1MiB")
	large := `{"level":"error","msg":"` + strings.Repeat("x", 2<<20) + `"}`
	if got := post(s, "192.0.2.1:1", large); got != http.StatusAccepted {
		t.Fatalf("got status %d for the first batch, want 202", got)
	}
	body := `{"level":"error","msg":"` + strings.Repeat("x", maxJoinedText/2) + `"}` // two do not join
	for n := range 1000 {
		if err := s.queue.notReady(); err != nil {
			if n == 0 || !errors.Is(err, errQueueFull) {
				t.Errorf("got not ready after %d small batches with the error %v, want more and %v", n, err, errQueueFull)
			}
			return
		}
		if got := post(s, fmt.Sprintf("198.51.%d.%d:1", n/256, n%256), body); got != http.StatusAccepted {
			t.Fatalf("got status %d for small batch %d of a ready service, want 202", got, n)
		}
	}
	t.Error("got a ready service after 1,000 small batches, want not ready")
}

// post sends body to s from an address, and returns the status of the response.
func post(s *testService, addr, body string) int {
	r := httptest.NewRequest("POST", "/ingest", strings.NewReader(body))
	r.RemoteAddr = addr
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code
}
