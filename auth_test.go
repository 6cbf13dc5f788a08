package main

import (
	"encoding/json"
	"errors"
	"log-ingester/internal/logread"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// untouched is a body that must not be read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was read before the key")
	return 0, errors.New("this is not to be read")
}

func TestRoutesThatNeedAKey(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "right"))
	refused := []*httptest.ResponseRecorder{
		s.do("POST", "/ingest", untouched{t}),
		s.do("POST", "/ingest", untouched{t}, "X-API-Key", "wrong"),
		s.do("POST", "/ingest", untouched{t}, "Authorization", "Bearer wrong", "Content-Encoding", "gzip"),
		s.do("GET", "/ingest", nil),
		s.do("GET", "/metrics", nil),
	}
	for i, w := range refused {
		var answer struct{ Error string }
		err := json.Unmarshal(w.Body.Bytes(), &answer)
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" || err != nil || answer.Error == "" {
			t.Errorf("%d: %d %v %s", i, w.Code, w.Header(), w.Body)
		}
		if strings.Contains(w.Body.String(), "wrong") || strings.Contains(w.Body.String(), "right") {
			t.Errorf("%d: the answer tells a key: %s", i, w.Body)
		}
	}
	if w := s.post(`{"level":"error","msg":"a"}`, "Authorization", "Bearer right"); w.Code != 200 {
		t.Errorf("with a key: %d %s", w.Code, w.Body)
	}
	for _, open := range []string{"/healthz", "/readyz"} {
		if w := s.do("GET", open, nil); w.Code != 200 {
			t.Errorf("%s without a key: %d %s", open, w.Code, w.Body)
		}
	}
	if got := storedMessages(t, s.path); got != "a" {
		t.Errorf("stored %q, want a", got)
	}
	// A scraper elsewhere needs a key only where keys are set.
	if w := s.do("GET", "/metrics", nil, "X-API-Key", "right"); w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("/metrics with a key: %d %v", w.Code, w.Header())
	}
	if w := newTestService(t).do("GET", "http://logs.example/metrics", nil); w.Code != 200 {
		t.Errorf("/metrics without keys: %d %s", w.Code, w.Body)
	}
}

func serveOK(_ *logread.Reader, w http.ResponseWriter, r *http.Request) { okHandler(w, r) }

func TestWhoMayRead(t *testing.T) {
	open := newTestService(t).read(serveOK)
	keyed := newTestService(t, "-api-keys-file", keysFile(t, "right")).read(serveOK)
	const forwarded = "X-Forwarded-For: 203.0.113.7"
	for _, c := range []struct {
		remote, host, header  string
		withoutKeys, withKeys int
	}{
		{"127.0.0.1:5000", "localhost:3002", "", 200, 401},
		{"127.8.9.1:5000", "127.0.0.1:3002", "", 200, 401},
		{"[::1]:5000", "[::1]:3002", "", 200, 401},
		{"[::ffff:127.0.0.1]:5000", "LocalHost", "", 200, 401},
		{"127.0.0.1:5000", "logs.localhost.:3002", "", 200, 401},
		{"127.0.0.1:5000", "[::1]", "", 200, 401},
		{"127.0.0.1:5000", "localhost:3002", "X-API-Key: right", 200, 200},
		{"203.0.113.7:5000", "localhost:3002", "", 403, 401},
		{"203.0.113.7:5000", "logs.example:3002", "X-API-Key: right", 403, 200},
		{"10.0.0.1:5000", "127.0.0.1:3002", "", 403, 401},
		{"[fe80::1%eth0]:5000", "localhost:3002", "", 403, 401},
		{"@", "localhost", "", 403, 401},
		// A page of evil.example whose name was made to lead here.
		{"127.0.0.1:5000", "evil.example:3002", "", 403, 401},
		{"127.0.0.1:5000", "localhost.evil.example:3002", "", 403, 401},
		{"127.0.0.1:5000", "notlocalhost", "", 403, 401},
		{"127.0.0.1:5000", "127.0.0.1.evil.example", "", 403, 401},
		{"127.0.0.1:5000", "10.0.0.1:3002", "", 403, 401},
		{"127.0.0.1:5000", "0.0.0.0:3002", "", 403, 401},
		{"127.0.0.1:5000", "", "", 403, 401},
		// A proxy on this machine.
		{"127.0.0.1:5000", "localhost:3002", forwarded, 403, 401},
		{"127.0.0.1:5000", "localhost:3002", "Forwarded: for=203.0.113.7", 403, 401},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(name, value)
		}
		for want, h := range map[*int]http.Handler{&c.withoutKeys: open, &c.withKeys: keyed} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != *want {
				t.Errorf("%s asks %q %s: %d %s, want %d", c.remote, c.host, c.header, w.Code, w.Body, *want)
			}
			if w.Code == 200 && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer") {
				t.Errorf("data comes with %v", w.Header())
			}
			if w.Code == 403 && !strings.Contains(w.Body.String(), "LOG_INGESTER_API_KEYS") {
				t.Errorf("the answer does not say how to set a key: %s", w.Body)
			}
		}
	}
}

func TestPostsOfOtherSites(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct {
		header []string
		status int
	}{
		{nil, 202},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, 202},
		{[]string{"Sec-Fetch-Site", "none"}, 202},
		{[]string{"Origin", "http://example.com"}, 202},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://evil.example.com"}, 403},
		{[]string{"Origin", "http://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
	} {
		w := s.do("POST", "http://example.com/ingest", strings.NewReader(`{"level":"error"}`), c.header...)
		var answer struct{ Error string }
		err := json.Unmarshal(w.Body.Bytes(), &answer)
		if w.Code != c.status || err != nil || (answer.Error == "") != (c.status == 202) {
			t.Errorf("%q: %d %s, want %d", c.header, w.Code, w.Body, c.status)
		}
	}
}

func TestAccessAllocatesNothing(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "right"))
	h := s.auth.sameOrigin(s.auth.requireKey(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	r := httptest.NewRequest("POST", "/ingest", nil)
	r.Header.Set("Authorization", "Bearer right")
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(nil, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWhatAdmits(t *testing.T) {
	keys, err := loadAPIKeys(" alpha , beta,,#zeta", keysFile(t, "# of the web servers\r\n\r\n  gamma#1\t\r\n#delta\nepsilon"))
	if err != nil {
		t.Fatal(err)
	}
	if keys.String() != "5" {
		t.Errorf("%v keys, want 5", keys)
	}
	for _, c := range []struct {
		authorization, xAPIKey string
		want                   bool
	}{
		{"Bearer alpha", "", true}, {"bearer beta", "", true}, {"BEARER  gamma#1", "", true}, {"", "epsilon", true},
		{"Basic YWxwaGE6", "alpha", true}, {"Bearer alpha", "wrong", true}, {"Bearer wrong", "alpha", true}, {"Bearer #zeta", "", true},
		{"", "", false}, {"Bearer", "", false}, {"Bearer ", "", false}, {"alpha", "", false}, {"Basic alpha", "", false},
		{"Bearer Alpha", "", false}, {"Bearer alph", "", false}, {"Bearer alphaa", "", false}, {"Bearer alpha,beta", "", false},
		{"Bearer delta", "", false}, {"", "#delta", false}, {"", "gamma", false}, {"Bearer wrong", "wrong", false},
		{"", strings.Repeat("alpha", 1000), false},
	} {
		r := httptest.NewRequest("POST", "/ingest", nil)
		for name, value := range map[string]string{"Authorization": c.authorization, "X-API-Key": c.xAPIKey} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if got := keys.allow(r); got != c.want {
			t.Errorf("Authorization %q, X-API-Key %.20q: %v, want %v", c.authorization, c.xAPIKey, got, c.want)
		}
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	for _, c := range []struct{ env, file string }{
		{",", ""}, {" ", ""}, {"s3cret with a space", ""}, {"s3crét", ""}, {"s3cret\x00", ""},
		{"", filepath.Join(t.TempDir(), "missing")}, {"good", filepath.Join(t.TempDir(), "missing")}, {"", t.TempDir()},
		{"", keysFile(t, "")}, {"good", keysFile(t, "\n# s3cret\n")}, {"", keysFile(t, "good\ns3cret # ours\n")},
	} {
		keys, err := loadAPIKeys(c.env, c.file)
		if err == nil || keys != nil {
			t.Errorf("%q and %q are taken for keys", c.env, c.file)
		} else if strings.Contains(err.Error(), "s3cr") {
			t.Errorf("the error tells a key: %v", err)
		}
	}
	if keys, err := loadAPIKeys("", ""); keys != nil || err != nil {
		t.Errorf("without keys: %v %v", keys, err)
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	file := keysFile(t, "old\n")
	keys, err := loadAPIKeys("constant", file)
	if err != nil {
		t.Fatal(err)
	}
	admitted := func() string {
		var all []string
		for _, key := range []string{"constant", "old", "new"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-API-Key", key)
			if keys.allow(r) {
				all = append(all, key)
			}
		}
		return strings.Join(all, " ")
	}
	for _, step := range []struct {
		name   string
		change func() error
		fails  bool
		admits string
	}{
		{"a new key", func() error { return os.WriteFile(file, []byte("new\n"), 0o600) }, false, "constant new"},
		{"no key", func() error { return os.WriteFile(file, []byte("# none\n"), 0o600) }, true, "constant new"},
		{"no file", func() error { return os.Remove(file) }, true, "constant new"},
		{"a file again", func() error { return os.WriteFile(file, []byte("old\nnew"), 0o600) }, false, "constant old new"},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if err := keys.load(); (err != nil) != step.fails {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := admitted(); got != step.admits {
			t.Errorf("%s: admits %s, want %s", step.name, got, step.admits)
		}
	}
}

func TestAdmitAllocatesNothing(t *testing.T) {
	keys, err := loadAPIKeys("one,two", "")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/ingest", nil)
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("k", 128))
	if n := testing.AllocsPerRun(100, func() { keys.allow(r) }); n != 0 {
		t.Errorf("a Bearer key takes %v allocations", n)
	}
	r.Header = http.Header{"X-Api-Key": {"two"}}
	if n := testing.AllocsPerRun(100, func() { keys.allow(r) }); n != 0 {
		t.Errorf("an X-API-Key takes %v allocations", n)
	}
}

// A key is checked in each request of a connection.
func TestFastPathChecksKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := loadAPIKeys("right", "")
		if err != nil {
			t.Fatal(err)
		}
		auth := &authorizer{keys: keys, metrics: new(metrics)}
		client := servePipes(t, auth.requireKey(okHandler), 1).dial()
		var got []string
		for _, header := range []string{"X-API-Key: right\r\n", "X-API-Key: wrong\r\n", "", "X-API-Key: right\r\n"} {
			client.Send("POST /ingest HTTP/1.1\r\nHost: localhost\r\n"+header+"Content-Length: 2\r\n\r\n{}", "", 0, 0)
			response, err := client.Response()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, response[:3])
		}
		if want := []string{"200", "401", "401", "200"}; !slices.Equal(got, want) {
			t.Errorf("statuses are %v, want %v", got, want)
		}
	})
}
