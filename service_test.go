package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	s := newTestService(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := s.do("GET", path, nil); w.Code != 200 {
			t.Errorf("%s: got %d %s, want 200", path, w.Code, w.Body)
		}
	}
}

// During a shutdown, the service is alive but not ready.
func TestHealthDuringShutdown(t *testing.T) {
	s := newTestService(t)
	s.queue.stop()
	for path, w := range map[string]*httptest.ResponseRecorder{
		"/readyz": s.do("GET", "/readyz", nil),
		"/ingest": s.post(`{}`),
	} {
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: got %d %v, want 503 and Retry-After", path, w.Code, w.Header())
		}
	}
	if w := s.do("GET", "/healthz", nil); w.Code != 200 {
		t.Errorf("/healthz: got %d %s, want 200", w.Code, w.Body)
	}
}

// No request makes the service respond with another server error than 503, and
// it serves the next request.
func FuzzHandler(f *testing.F) {
	s := newTestService(f, "-max-body", "64KiB", "-memory", "1MiB", "-synchronous", "off")
	for _, method := range []string{"POST", "GET", "", "P\x00ST"} {
		f.Add(method, "/ingest", "", []byte(smallBody))
	}
	for _, target := range []string{
		"/ingest?wait=1", "/ingest?wait=%zz", "/ingest?wait", "/ingest/", "//ingest",
		"/healthz", "/readyz", "/metrics", "/logs", "/", "",
	} {
		f.Add("POST", target, "", []byte(smallBody))
		f.Add("GET", target, "", []byte(nil))
	}
	for _, header := range []string{
		"Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br", "Content-Encoding: identity",
		"Content-Encoding: gzip\nContent-Encoding: deflate",
		"Content-Length: 5", "Content-Length: 999999999", "Content-Length: -1",
		"Sec-Fetch-Site: cross-site", "Origin: null", "Authorization: Bearer x", "X-API-Key: x",
		"Host: [::1", "X-Forwarded-For: x", "Expect: 100-continue", "Accept: application/x-ndjson", "Last-Event-ID: 9",
	} {
		f.Add("POST", "/ingest", header, []byte(smallBody))
		f.Add("POST", "/ingest?wait=1", header, []byte(gzipped("["+smallBody+","+smallBody+"]")))
		f.Add("GET", "/logs", header, []byte(nil))
	}
	f.Add("POST", "/v1/logs", "Content-Type: application/json", []byte(otlpJSON(9, 17)))
	f.Add("POST", "/v1/logs?wait=1", "Content-Type: application/x-protobuf", []byte(otlpProto(9, 17)))
	f.Fuzz(func(t *testing.T, method, target, header string, body []byte) {
		r := fuzzRequest(method, target, header, body)
		if r == nil {
			return // net/http rejects it
		}
		// A tail ends when its client disconnects.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r.WithContext(ctx))
		if w.Code >= 500 && w.Code != 503 {
			t.Errorf("got %d %s, want no server error except 503", w.Code, w.Body)
		}
		if w := s.post(smallBody); w.Code != 200 {
			t.Errorf("next request: got %d %s, want 200", w.Code, w.Body)
		}
		if w := s.do("GET", "/healthz", nil); w.Code != 200 {
			t.Errorf("/healthz: got %d %s, want 200", w.Code, w.Body)
		}
	})
}

// fuzzRequest returns a request as net/http makes it, except that its body need
// not have ContentLength bytes. It returns nil if the target is invalid.
func fuzzRequest(method, target, header string, body []byte) *http.Request {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := &http.Request{
		Method: method, URL: u, RequestURI: target, Host: "localhost", RemoteAddr: "127.0.0.1:5000",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Content-Length":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= -1 {
				r.ContentLength = n
			}
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}

// A wrong path or method gets a JSON error that names the right one.
func TestUnknownRoutes(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"POST", "/", 405, "GET, HEAD"},
		{"POST", "/logs", 405, "GET, HEAD"},
		{"PUT", "/metrics", 405, "GET, HEAD"},
		{"DELETE", "/healthz", 405, "GET, HEAD"},
		{"GET", "/ingest", 405, "POST"},
		{"POST", "/ingest/x", 404, ""},
		{"POST", "/v2/logs", 404, ""},
		{"GET", "/logs/x", 404, ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			w := s.do(c.method, c.path, strings.NewReader("{}"))
			checkError(t, w, c.status)
			if got := w.Header().Get("Allow"); got != c.allow {
				t.Errorf("got Allow %q, want %q", got, c.allow)
			}
			if !strings.Contains(w.Body.String(), "POST") {
				t.Errorf("got body %s, want a hint to POST /ingest", w.Body)
			}
		})
	}
	if w := s.do("POST", "/ingest/", strings.NewReader(smallBody)); w.Code != 202 {
		t.Errorf("POST /ingest/: got %d %s, want 202", w.Code, w.Body)
	}
}
