package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/logread"
)

// An unreadBody fails the test if it is read.
type unreadBody struct{ t *testing.T }

func (b unreadBody) Read([]byte) (int, error) {
	b.t.Error("the body was read before the key was checked")
	return 0, errors.New("unexpected read")
}

func TestRoutesRequireKey(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "right"))
	for name, w := range map[string]*httptest.ResponseRecorder{
		"ingest without a key":       s.do("POST", "/ingest", unreadBody{t}),
		"ingest with a wrong key":    s.do("POST", "/ingest", unreadBody{t}, "X-API-Key", "wrong"),
		"ingest with a wrong bearer": s.do("POST", "/ingest", unreadBody{t}, "Authorization", "Bearer wrong"),
		"compressed ingest":          s.do("POST", "/ingest", unreadBody{t}, "Content-Encoding", "gzip"),
		"ingest with another method": s.do("GET", "/ingest", nil),
		"metrics without a key":      s.do("GET", "/metrics", nil),
	} {
		t.Run(name, func(t *testing.T) {
			checkError(t, w, 401)
			if got := w.Header().Get("WWW-Authenticate"); got != "Bearer" {
				t.Errorf("got WWW-Authenticate %q, want Bearer", got)
			}
			if strings.Contains(w.Body.String(), "wrong") || strings.Contains(w.Body.String(), "right") {
				t.Errorf("got body %s, want no key in it", w.Body)
			}
		})
	}
	if w := s.post(smallBody, "Authorization", "Bearer right"); w.Code != 200 {
		t.Errorf("ingest with a key: got %d %s, want 200", w.Code, w.Body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := s.do("GET", path, nil); w.Code != 200 {
			t.Errorf("%s without a key: got %d %s, want 200", path, w.Code, w.Body)
		}
	}
	w := s.do("GET", "/metrics", nil, "X-API-Key", "right")
	if w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("metrics with a key: got %d %v, want 200 and nosniff", w.Code, w.Header())
	}
	if got := storedMessages(t, s.path); got != "a" {
		t.Errorf("got stored messages %q, want a", got)
	}
}

// Without keys, scrapers on other machines can read the metrics.
func TestMetricsWithoutKeys(t *testing.T) {
	w := newTestService(t).do("GET", "http://logs.example/metrics", nil)
	if w.Code != 200 {
		t.Errorf("got %d %s, want 200", w.Code, w.Body)
	}
}

// Without keys, only requests from this machine to a name of the loopback
// interface can read logs. With keys, any request with a key can.
func TestReaderAccess(t *testing.T) {
	serveOK := func(_ *logread.Reader, w http.ResponseWriter, r *http.Request) { okHandler(w, r) }
	open := newTestService(t).read(serveOK)
	keyed := newTestService(t, "-api-keys-file", keysFile(t, "right")).read(serveOK)
	const local = "127.0.0.1:5000"
	for _, c := range []struct {
		name                  string
		remote, host, header  string
		withoutKeys, withKeys int // status
	}{
		{"IPv4", local, "localhost:3002", "", 200, 401},
		{"other loopback address", "127.8.9.1:5000", "127.0.0.1:3002", "", 200, 401},
		{"IPv6", "[::1]:5000", "[::1]:3002", "", 200, 401},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:5000", "LocalHost", "", 200, 401},
		{"subdomain of localhost", local, "logs.localhost.:3002", "", 200, 401},
		{"IPv6 host without port", local, "[::1]", "", 200, 401},
		{"local with key", local, "localhost:3002", "X-API-Key: right", 200, 200},

		{"remote", "203.0.113.7:5000", "localhost:3002", "", 403, 401},
		{"remote with key", "203.0.113.7:5000", "logs.example:3002", "X-API-Key: right", 403, 200},
		{"private address", "10.0.0.1:5000", "127.0.0.1:3002", "", 403, 401},
		{"link-local address", "[fe80::1%eth0]:5000", "localhost:3002", "", 403, 401},
		{"Unix socket", "@", "localhost", "", 403, 401},

		// Names that a page can make resolve to this machine (DNS rebinding).
		{"other host", local, "evil.example:3002", "", 403, 401},
		{"host that starts with localhost", local, "localhost.evil.example:3002", "", 403, 401},
		{"host that ends with localhost", local, "notlocalhost", "", 403, 401},
		{"host that starts with an address", local, "127.0.0.1.evil.example", "", 403, 401},
		{"host with a private address", local, "10.0.0.1:3002", "", 403, 401},
		{"unspecified host address", local, "0.0.0.0:3002", "", 403, 401},
		{"no host", local, "", "", 403, 401},

		{"X-Forwarded-For of a local proxy", local, "localhost:3002", "X-Forwarded-For: 203.0.113.7", 403, 401},
		{"Forwarded of a local proxy", local, "localhost:3002", "Forwarded: for=203.0.113.7", 403, 401},
		{"X-Real-IP of a local proxy", local, "localhost:3002", "X-Real-IP: 203.0.113.7", 403, 401},
		{"Via of a local proxy", local, "localhost:3002", "Via: 1.1 proxy", 403, 401},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(name, value)
		}
		t.Run(c.name+"/without keys", func(t *testing.T) { testReaderAccess(t, open, r, c.withoutKeys) })
		t.Run(c.name+"/with keys", func(t *testing.T) { testReaderAccess(t, keyed, r, c.withKeys) })
	}
}

func testReaderAccess(t *testing.T, h http.Handler, r *http.Request, status int) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != status {
		t.Errorf("got %d %s, want %d", w.Code, w.Body, status)
	}
	if w.Code == 403 && !strings.Contains(w.Body.String(), "LOG_INGESTER_API_KEYS") {
		t.Errorf("got body %s, want instructions to set a key", w.Body)
	}
	if w.Code != 200 {
		return
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("got %s %q, want %s", name, got, want)
		}
	}
}

// A page of another site cannot send logs.
func TestCrossOriginPosts(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct {
		name   string
		header []string
		status int
	}{
		{name: "no browser", status: 202},
		{name: "same origin", header: []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1"}, status: 202},
		{name: "no site", header: []string{"Sec-Fetch-Site", "none"}, status: 202},
		{name: "same origin in an old browser", header: []string{"Origin", "http://127.0.0.1"}, status: 202},
		{name: "other site", header: []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"}, status: 403},
		{name: "same site", header: []string{"Sec-Fetch-Site", "same-site", "Origin", "http://evil.example.com"}, status: 403},
		{name: "other origin in an old browser", header: []string{"Origin", "http://evil.example"}, status: 403},
		{name: "null origin", header: []string{"Origin", "null"}, status: 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := s.do("POST", "http://127.0.0.1/ingest", strings.NewReader(smallBody), c.header...)
			if c.status != 202 {
				checkError(t, w, c.status)
			} else if want := `{"accepted":1,"filtered":0}` + "\n"; w.Code != 202 || w.Body.String() != want {
				t.Errorf("got %d %s, want 202 %s", w.Code, w.Body, want)
			}
		})
	}
}

func TestAuthorizerDoesNotAllocate(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "right"))
	h := s.auth.sameOrigin(s.auth.sender(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	r := httptest.NewRequest("POST", "/ingest", nil)
	r.Header.Set("Authorization", "Bearer right")
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(nil, r) }); n != 0 {
		t.Errorf("got %v allocations per request, want 0", n)
	}
}

// Keys are separated by commas in the environment, where # has no meaning, and
// by line breaks in the file, where lines that start with # are comments. One of
// the two headers must have a key.
func TestAuthHeaders(t *testing.T) {
	const file = "# of the web servers\r\n\r\n  gamma#1\t\r\n#delta\nepsilon"
	keys, err := loadAPIKeys(" alpha , beta,,#zeta", keysFile(t, file))
	must(t, err)
	if keys.String() != "5" {
		t.Errorf("got %v keys, want 5", keys)
	}
	for _, c := range []struct {
		authorization, xAPIKey string
		want                   bool
	}{
		{authorization: "Bearer alpha", want: true},
		{authorization: "bearer beta", want: true},
		{authorization: "BEARER  gamma#1", want: true},
		{authorization: "Bearer #zeta", want: true},
		{xAPIKey: "epsilon", want: true},
		{authorization: "Basic YWxwaGE6", xAPIKey: "alpha", want: true},
		{authorization: "Bearer alpha", xAPIKey: "wrong", want: true},
		{authorization: "Bearer wrong", xAPIKey: "alpha", want: true},

		{want: false},
		{authorization: "Bearer", want: false},
		{authorization: "Bearer ", want: false},
		{authorization: "alpha", want: false},
		{authorization: "Basic alpha", want: false},
		{authorization: "Bearer Alpha", want: false},
		{authorization: "Bearer alph", want: false},
		{authorization: "Bearer alphaa", want: false},
		{authorization: "Bearer alpha,beta", want: false},
		{authorization: "Bearer delta", want: false},
		{authorization: "Bearer wrong", xAPIKey: "wrong", want: false},
		{xAPIKey: "#delta", want: false},
		{xAPIKey: "gamma", want: false},
		{xAPIKey: strings.Repeat("alpha", 1000), want: false},
	} {
		t.Run(fmt.Sprintf("%q and %.20q", c.authorization, c.xAPIKey), func(t *testing.T) {
			r := httptest.NewRequest("POST", "/ingest", nil)
			for name, value := range map[string]string{"Authorization": c.authorization, "X-API-Key": c.xAPIKey} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if _, got := keys.lookup(r); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Keys that cannot be read or used are an error, which does not contain them.
func TestInvalidKeyFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, c := range map[string]struct{ env, file string }{
		"only a comma":          {env: ","},
		"only a space":          {env: " "},
		"space in a key":        {env: "s3cret with a space"},
		"letter outside ASCII":  {env: "s3crét"},
		"control character":     {env: "s3cret\x00"},
		"missing file":          {file: missing},
		"missing file and key":  {env: "good", file: missing},
		"directory":             {file: t.TempDir()},
		"empty file":            {file: keysFile(t, "")},
		"only a comment":        {env: "good", file: keysFile(t, "\n# s3cret\n")},
		"comment after the key": {file: keysFile(t, "good\ns3cret # ours\n")},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := loadAPIKeys(c.env, c.file)
			if err == nil || keys != nil {
				t.Fatalf("got keys %v and error %v, want an error", keys, err)
			}
			if strings.Contains(err.Error(), "s3cr") {
				t.Errorf("got error %v, want no key in it", err)
			}
		})
	}
}

func TestNoKeys(t *testing.T) {
	if keys, err := loadAPIKeys("", ""); keys != nil || err != nil {
		t.Errorf("got keys %v and error %v, want neither", keys, err)
	}
}

func TestKeysReload(t *testing.T) {
	file := keysFile(t, "old\n")
	keys, err := loadAPIKeys("constant", file)
	must(t, err)
	allowed := func() string {
		var all []string
		for _, key := range []string{"constant", "old", "new"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-API-Key", key)
			if _, ok := keys.lookup(r); ok {
				all = append(all, key)
			}
		}
		return strings.Join(all, " ")
	}
	write := func(text string) func() error {
		return func() error { return os.WriteFile(file, []byte(text), 0o600) }
	}
	for _, step := range []struct {
		name   string
		change func() error // of the file
		fails  bool
		want   string // allowed keys
	}{
		{name: "new key", change: write("new\n"), want: "constant new"},
		{name: "no keys", change: write("# none\n"), fails: true, want: "constant new"},
		{name: "no file", change: func() error { return os.Remove(file) }, fails: true, want: "constant new"},
		{name: "new file", change: write("old\nnew"), want: "constant old new"},
	} {
		must(t, step.change())
		if err := keys.load(); (err != nil) != step.fails {
			t.Errorf("%s: got error %v, want one: %v", step.name, err, step.fails)
		}
		if got := allowed(); got != step.want {
			t.Errorf("%s: got allowed keys %q, want %q", step.name, got, step.want)
		}
	}
}

func TestKeysDoNotAllocate(t *testing.T) {
	keys, err := loadAPIKeys("one,two", "")
	must(t, err)
	for name, header := range map[string]http.Header{
		"Bearer":    {"Authorization": {"Bearer " + strings.Repeat("k", 128)}},
		"X-API-Key": {"X-Api-Key": {"two"}},
	} {
		r := httptest.NewRequest("POST", "/ingest", nil)
		r.Header = header
		if n := testing.AllocsPerRun(100, func() { keys.lookup(r) }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, n)
		}
	}
}

// The fast path does not assume that a connection keeps its key.
func TestFastPathChecksKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := loadAPIKeys("right", "")
		must(t, err)
		auth := &authorizer{keys: keys, metrics: new(metrics), writeError: writeRouteError}
		client := servePipes(t, auth.sender(okHandler), 1).dial()
		var got []string
		for _, header := range []string{"X-API-Key: right\r\n", "X-API-Key: wrong\r\n", "", "X-API-Key: right\r\n"} {
			client.Send("POST /ingest HTTP/1.1\r\nHost: localhost\r\n"+header+"Content-Length: 2\r\n\r\n{}", "", 0, 0)
			response, err := client.Response()
			must(t, err)
			got = append(got, response[:3])
		}
		if want := []string{"200", "401", "401", "200"}; !slices.Equal(got, want) {
			t.Errorf("got statuses %v, want %v", got, want)
		}
	})
}

// A key that is followed by "send" cannot read.
func TestSendOnlyKeys(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "both\nsender send\n"))
	for _, c := range []struct {
		method, path, key string
		status            int
	}{
		{"POST", "/ingest", "both", 202},
		{"POST", "/ingest", "sender", 202},
		{"GET", "/logs", "both", 200},
		{"GET", "/logs", "sender", 403},
		{"GET", "/logs/histogram", "sender", 403},
		{"GET", "/logs/tail", "sender", 403},
		{"GET", "/metrics", "both", 200},
		{"GET", "/metrics", "sender", 403},
	} {
		t.Run(c.path+" with "+c.key, func(t *testing.T) {
			w := s.do(c.method, c.path, strings.NewReader("{}"), "X-API-Key", c.key)
			if w.Code != c.status {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.status)
			}
		})
	}
	for _, text := range []string{"key read", "key send now", "key sends"} {
		if _, err := loadAPIKeys(text, ""); err == nil {
			t.Errorf("%q: got no error, want one", text)
		}
	}
}

// Removing a key, or its right to read, ends the tails that use it.
func TestRemovedKeyEndsTail(t *testing.T) {
	for name, text := range map[string]string{"removed": "other\n", "send-only": "key send\nother\n"} {
		t.Run(name, func(t *testing.T) {
			file := keysFile(t, "key\nother\n")
			s := newTestService(t, "-api-keys-file", file)
			server := httptest.NewServer(s.handler)
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tail := func(key string) *bufio.Reader {
				r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/logs/tail", nil)
				must(t, err)
				r.Header.Set("X-API-Key", key)
				resp, err := http.DefaultClient.Do(r)
				must(t, err)
				t.Cleanup(func() { resp.Body.Close() })
				if resp.StatusCode != 200 {
					t.Fatalf("got status %d, want 200", resp.StatusCode)
				}
				return bufio.NewReader(resp.Body)
			}
			ended, kept := tail("key"), tail("other")
			must(t, os.WriteFile(file, []byte(text), 0o600))
			must(t, s.cfg.keys.load())
			if _, err := io.Copy(io.Discard, ended); err != nil {
				t.Errorf("got error %v at the end of the tail, want none", err)
			}
			s.post(smallBody, "X-API-Key", "other")
			for {
				line, err := kept.ReadString('\n')
				must(t, err)
				if strings.HasPrefix(line, "data: ") {
					break
				}
			}
			cancel()
		})
	}
}

// A page of another origin cannot read logs or metrics, not even to measure how
// long a search takes. It can link to the page.
func TestCrossOriginReads(t *testing.T) {
	open := newTestService(t)
	keyed := newTestService(t, "-api-keys-file", keysFile(t, "right"))
	for _, c := range []struct {
		name    string
		header  []string
		allowed bool
	}{
		{"no browser", nil, true},
		{"same origin", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"typed address", []string{"Sec-Fetch-Site", "none"}, true},
		{"old browser, same origin", []string{"Referer", "http://localhost:3002/?q=a"}, true},
		{"other site", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"other subdomain", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"old browser, other origin", []string{"Referer", "http://evil.example/"}, false},
		{"old browser, other port", []string{"Origin", "http://localhost:4000"}, false},
		{"null origin", []string{"Origin", "null"}, false},
	} {
		for name, s := range map[string]*testService{"without keys": open, "with keys": keyed} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				for _, path := range []string{"/logs?q=a", "/logs/histogram", "/metrics", "/"} {
					r := httptest.NewRequest("GET", "http://localhost:3002"+path, nil)
					r.RemoteAddr = "127.0.0.1:5000"
					r.Header.Set("X-API-Key", "right")
					for i := 0; i < len(c.header); i += 2 {
						r.Header.Set(c.header[i], c.header[i+1])
					}
					want := 403
					if c.allowed || path == "/" {
						want = 200
					}
					w := httptest.NewRecorder()
					s.handler.ServeHTTP(w, r)
					if w.Code != want {
						t.Errorf("%s: got %d %s, want %d", path, w.Code, w.Body, want)
					}
				}
			})
		}
	}
}

// Without keys, a browser can send logs and read metrics only under a name that
// cannot be rebound.
func TestRebinding(t *testing.T) {
	open := newTestService(t)
	keyed := newTestService(t, "-api-keys-file", keysFile(t, "right"))
	for _, c := range []struct {
		host, header, value string
		allowed             bool
	}{
		{"logs.example:3002", "", "", true},
		{"logs.example:3002", "User-Agent", "Fluent-Bit", true},
		{"localhost:3002", "Sec-Fetch-Site", "same-origin", true},
		{"192.0.2.1:3002", "Sec-Fetch-Site", "same-origin", true},
		{"[2001:db8::1]", "Origin", "http://[2001:db8::1]", true},
		{"evil.example:3002", "Sec-Fetch-Site", "same-origin", false},
		{"evil.example:3002", "Origin", "http://evil.example:3002", false},
		{"evil.example:3002", "Referer", "http://evil.example:3002/", false},
		{"evil.example:3002", "Accept-Language", "en", false},
		{"evil.example:3002", "User-Agent", "Mozilla/5.0", false},
	} {
		t.Run(c.host+" "+c.header, func(t *testing.T) {
			for method, path := range map[string]string{"POST": "/ingest", "GET": "/metrics"} {
				r := httptest.NewRequest(method, "http://"+c.host+path, strings.NewReader("{}"))
				r.Header.Set("X-API-Key", "right")
				if c.header != "" {
					r.Header.Set(c.header, c.value)
				}
				w := httptest.NewRecorder()
				open.handler.ServeHTTP(w, r)
				if got := w.Code != 403; got != c.allowed {
					t.Errorf("%s: got %d %s, want allowed: %v", path, w.Code, w.Body, c.allowed)
				}
				w = httptest.NewRecorder()
				keyed.handler.ServeHTTP(w, r)
				if w.Code == 403 {
					t.Errorf("%s with a key: got %s, want no 403", path, w.Body)
				}
			}
		})
	}
}
