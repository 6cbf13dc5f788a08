package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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

func TestWhoMayRead(t *testing.T) {
	open := newTestService(t).reading(serveHealth)
	keyed := newTestService(t, "-api-keys-file", keysFile(t, "right")).reading(serveHealth)
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
	h := s.sameOrigin(s.withKey(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	r := httptest.NewRequest("POST", "/ingest", nil)
	r.Header.Set("Authorization", "Bearer right")
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(nil, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
