package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// bomb is a gzip of mebibytes of nothing.
func bomb(mebibytes int) string {
	// A gzip may have members, one after the other.
	return strings.Repeat(gzipped(strings.Repeat(" ", 4<<20)), mebibytes/4)
}

func TestGzipBomb(t *testing.T) {
	p := start(t, filepath.Join(t.TempDir(), "logs.db"))
	before := p.peakMemory()
	if status, err := p.postGzip(bomb(400)); err != nil || status != 413 {
		t.Errorf("a bomb is answered %d %v", status, err)
	}
	if cost := p.peakMemory() - before; cost > 40e6 {
		t.Errorf("a bomb of 400 MiB costs %d bytes", cost)
	}
	if status, err := p.post("?wait=1", smallBody); err != nil || status != 200 {
		t.Errorf("afterwards: %d %v", status, err)
	}
}

// Bodies that take many times their size when they are taken apart are counted
// as what they take.
func TestBodiesThatSwell(t *testing.T) {
	p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-max-body", "16MiB", "-memory", "64MiB")
	before := p.peakMemory()
	for name, body := range map[string]string{
		"a bomb":               strings.Repeat(" ", 17<<20),
		"empty entries":        strings.Repeat("{}", 8<<20-1),
		"small entries":        strings.Repeat(`{"level":"error","a":1}`, 16<<20/23),
		"members":              `{` + strings.Repeat(`"":1,`, 3<<20) + `"":1}`,
		"UTF-8 to be repaired": `{"message":"` + strings.Repeat("\xff", 16<<20-100) + `"}`,
	} {
		text := gzipped(body)
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				if status, err := p.postGzip(text); err != nil || status != 413 && status != 503 {
					t.Errorf("%s: %d %v", name, status, err)
				}
			})
		}
		clients.Wait()
	}
	// The budget, as much again for what is not yet freed, and a little for the
	// rest.
	if cost := p.peakMemory() - before; cost > (64+64+32)<<20 {
		t.Errorf("they cost %d bytes", cost)
	}
	if status, err := p.post("?wait=1", smallBody); err != nil || status != 200 {
		t.Errorf("afterwards: %d %v", status, err)
	}
}

func TestEncodingsThatEndWrong(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct{ encoding, whole string }{
		{"gzip", gzipped(smallBody)}, {"deflate", zlibbed(smallBody)}, {"deflate", rawDeflated(smallBody)},
	} {
		for n := range len(c.whole) {
			if w := s.post(c.whole[:n], "Content-Encoding", c.encoding); w.Code != 400 {
				t.Errorf("%d of %d bytes of %s: %d %s", n, len(c.whole), c.encoding, w.Code, w.Body)
			}
		}
		for _, garbage := range []string{"\x00", "garbage", c.whole[:len(c.whole)-1]} {
			if w := s.post(c.whole+garbage, "Content-Encoding", c.encoding); w.Code != 400 {
				t.Errorf("%q after %s: %d %s", garbage, c.encoding, w.Code, w.Body)
			}
		}
		if w := s.post(c.whole, "Content-Encoding", c.encoding); w.Code != 200 {
			t.Errorf("%s: %d %s", c.encoding, w.Code, w.Body)
		}
	}
	flipped := []byte(zlibbed(smallBody))
	flipped[len(flipped)-1] ^= 1
	if w := s.post(string(flipped), "Content-Encoding", "deflate"); w.Code != 400 {
		t.Errorf("a wrong checksum: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("POST", "/ingest", strings.NewReader(gzipped(smallBody)))
	r.Header["Content-Encoding"] = []string{"gzip", "gzip"}
	w := httptest.NewRecorder()
	if s.handler.ServeHTTP(w, r); w.Code != 415 {
		t.Errorf("two headers of encodings: %d %s", w.Code, w.Body)
	}
}

func TestMemoryBudget(t *testing.T) {
	s := newTestService(t, "-max-body", "1MiB", "-memory", "4MiB")
	body := "[" + strings.Repeat(smallBody+",", 20_000) + smallBody + "]"
	for _, c := range []struct {
		name   string
		free   int64
		body   string
		header []string
		status int
	}{
		{"room for nothing", 0, smallBody, nil, 503},
		{"room for the beginning", 32 << 10, body, nil, 503},
		{"room for half", 300 << 10, body, nil, 503},
		{"room for the body only", 900 << 10, body, nil, 503},
		{"room for the body, but not for inflating it", 16 << 10, gzipped(smallBody), []string{"Content-Encoding", "gzip"}, 503},
		{"room for a part of what it inflates to", 200 << 10, gzipped(body), []string{"Content-Encoding", "gzip"}, 503},
		{"room for a small one", 16 << 10, smallBody, nil, 200},
	} {
		taken := s.memory.limit - c.free
		if !s.memory.reserve(taken) {
			t.Fatal("the budget is not empty")
		}
		w := s.post(c.body, c.header...)
		s.memory.release(taken)
		if w.Code != c.status || (w.Header().Get("Retry-After") == "") != (c.status == 200) {
			t.Errorf("%s: %d %v %s, want %d", c.name, w.Code, w.Header(), w.Body, c.status)
		}
		if c.status == 503 && s.memory.used.Load() != 0 {
			t.Fatalf("%s: %d bytes were not given back", c.name, s.memory.used.Load())
		}
	}
	if w := s.post(body); w.Code != 200 {
		t.Errorf("room for all: %d %s", w.Code, w.Body)
	}
}

// However requests end, what they took of the budget is given back: the test
// service sees to that at its end.
func TestBudgetAfterAllKindsOfRequests(t *testing.T) {
	s := newTestService(t, "-max-body", "64KiB", "-memory", "256KiB", "-queue", "16KiB", "-synchronous", "off")
	server := httptest.NewServer(s.handler)
	defer server.Close()
	answers := make(chan int, 10_000)
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(0, uint64(client)))
			for range 100 {
				body := "[" + strings.Repeat(smallBody+",", r.IntN(1<<r.IntN(13))) + smallBody + "]"
				request, _ := http.NewRequest("POST", server.URL+"/ingest"+[]string{"", "?wait=1"}[r.IntN(2)], nil)
				if r.IntN(3) == 0 {
					body = gzipped(body)
					request.Header.Set("Content-Encoding", "gzip")
				}
				if r.IntN(4) == 0 {
					body = body[:r.IntN(len(body))]
				}
				ctx, cancel := context.WithCancel(context.Background())
				request.Body = io.NopCloser(strings.NewReader(body))
				if r.IntN(3) == 0 {
					request.ContentLength = int64(len(body))
				}
				if r.IntN(4) == 0 {
					// The client goes away in the middle of its body.
					request.Body = &vanishing{strings.NewReader(body), r.IntN(len(body) + 1), cancel}
				}
				if resp, err := http.DefaultClient.Do(request.WithContext(ctx)); err == nil {
					answers <- resp.StatusCode
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	clients.Wait()
	close(answers)
	got := make(map[int]int)
	for status := range answers {
		got[status]++
	}
	for _, status := range []int{200, 202, 400, 413, 503} {
		if got[status] == 0 {
			t.Errorf("no answer %d among %v", status, got)
		}
	}
}

// A vanishing body calls cancel after a number of bytes.
type vanishing struct {
	io.Reader
	left   int
	cancel func()
}

func (v *vanishing) Read(p []byte) (int, error) {
	if v.left == 0 {
		v.cancel()
	}
	n, err := v.Reader.Read(p[:min(len(p), max(v.left, 1))])
	v.left -= min(n, v.left)
	return n, err
}

func (v *vanishing) Close() error { return nil }

// Logs are not for everyone on the machine.
func TestFileModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	s := newTestService(t)
	s.post(smallBody)
	for _, name := range []string{s.path, s.path + "-wal", s.path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&^0o640 != 0 || mode&0o600 != 0o600 {
			t.Errorf("%s has the mode %v", filepath.Base(name), mode)
		}
	}
}

// Whatever comes, the answer is no 5xx but 503, and the service goes on.
func FuzzHandler(f *testing.F) {
	s := newTestService(f, "-max-body", "64KiB", "-memory", "1MiB", "-synchronous", "off")
	for _, method := range []string{"POST", "GET", "", "P\x00ST"} {
		f.Add(method, "/ingest", "", []byte(smallBody))
	}
	for _, target := range []string{"/ingest?wait=1", "/ingest?wait=%zz", "/ingest?wait", "/ingest/", "//ingest", "/healthz", "/readyz", "/metrics", "/logs", "/", ""} {
		f.Add("POST", target, "", []byte(smallBody))
		f.Add("GET", target, "", []byte(nil))
	}
	for _, header := range []string{
		"Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br", "Content-Encoding: identity",
		"Content-Encoding: gzip\nContent-Encoding: deflate", "Content-Length: 5", "Content-Length: 999999999", "Content-Length: -1",
		"Sec-Fetch-Site: cross-site", "Origin: null", "Authorization: Bearer x", "X-API-Key: x", "Host: [::1", "X-Forwarded-For: x",
		"Expect: 100-continue", "Accept: application/x-ndjson", "Last-Event-ID: 9",
	} {
		f.Add("POST", "/ingest", header, []byte(smallBody))
		f.Add("POST", "/ingest?wait=1", header, []byte(gzipped("["+smallBody+","+smallBody+"]")))
		f.Add("GET", "/logs", header, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, method, target, header string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http refuses it
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
			case "Content-Length": // which the body need not keep to
				if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= -1 {
					r.ContentLength = n
				}
			default:
				r.Header.Add(name, value)
			}
		}
		// A live tail ends with its client.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r.WithContext(ctx))
		if w.Code >= 500 && w.Code != 503 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := s.post(smallBody); w.Code != 200 {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
		if w := s.do("GET", "/healthz", nil); w.Code != 200 {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}
