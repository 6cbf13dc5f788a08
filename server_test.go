package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The tests in this file run in synctest bubbles. Their clock is simulated, so
// measured times are exact and waiting for minutes takes no time.

// A body may take requestTimeout for each bodyStep bytes.
func TestBodyDeadlines(t *testing.T) {
	large := "[" + strings.Repeat(smallBody+",\n", 40_000) + smallBody + "]" // about 1.2 MB
	small := len(smallBody)
	parts := len(large) / (8 << 10) // of 8 KiB
	const chunked = "POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name       string
		head, body string
		parts      int           // of the body
		pause      time.Duration // after each part
		want       string        // status
		within     time.Duration
	}{
		{name: "at once", head: head("/ingest", small), body: smallBody, parts: 1, want: "202", within: 0},
		{
			name: "small body in 19 s", head: head("/ingest", small), body: smallBody,
			parts: 20, pause: time.Second, want: "202", within: 19 * time.Second,
		},
		{
			name: "small body in 21 s", head: head("/ingest", small), body: smallBody,
			parts: 22, pause: time.Second, want: "400", within: restTimeout + requestTimeout,
		},
		{
			name: "large body at 4 KiB/s", head: head("/ingest", len(large)), body: large,
			parts: parts, pause: 2 * time.Second, want: "202", within: 10 * time.Minute,
		},
		{
			name: "large body at 4 KiB/s with wait", head: head("/ingest?wait=1", len(large)), body: large,
			parts: parts, pause: 2 * time.Second, want: "200", within: 10 * time.Minute,
		},
		{
			name: "large body at 3 KiB/s", head: head("/ingest", len(large)), body: large,
			parts: parts, pause: 2800 * time.Millisecond, want: "400", within: 2 * requestTimeout,
		},
		{
			name: "half of a large body", head: head("/ingest", len(large)), body: large[:len(large)/2],
			parts: 1, want: "400", within: requestTimeout,
		},
		{
			name: "first chunk only", head: chunked, body: "5\r\n{\"a\":\r\n",
			parts: 1, want: "400", within: requestTimeout,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestService(t)
				client := servePipes(t, s.handler, 1).dial()
				began := time.Now()
				client.Send(c.head, c.body, c.parts, c.pause)
				got, err := client.Response()
				if took := time.Since(began); err != nil || !strings.HasPrefix(got, c.want+" ") || took > c.within {
					t.Errorf("got response %q and error %v after %v, want %s within %v", got, err, took, c.want, c.within)
				}
			})
		})
	}
}

// A header may take requestTimeout, regardless of whether its bytes arrive so
// fast that the fast path waits for them.
func TestHeaderDeadline(t *testing.T) {
	for _, pause := range []time.Duration{time.Second, restTimeout / 2} {
		t.Run(fmt.Sprintf("a byte every %v", pause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := servePipes(t, newTestService(t).handler, 1).dial()
				header := head("/ingest?"+strings.Repeat("a", 600), 0)
				began := time.Now()
				client.Send("", header, len(header), pause)
				io.ReadAll(client.Reader) // net/http may send a response or not
				if took := time.Since(began); took < requestTimeout || took > requestTimeout+time.Second {
					t.Errorf("connection closed after %v, want %v", took, requestTimeout)
				}
			})
		})
	}
}

// A connection without a request is closed after idleTimeout.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := servePipes(t, newTestService(t).handler, 1).dial()
		client.Send(head("/ingest", len(smallBody)), smallBody, 1, 0)
		if got, err := client.Response(); err != nil || !strings.HasPrefix(got, "202 ") {
			t.Fatalf("got response %q and error %v, want 202", got, err)
		}
		began := time.Now()
		_, err := client.Reader.ReadByte()
		if took := time.Since(began); err != io.EOF || took != idleTimeout {
			t.Errorf("got error %v after %v, want EOF after %v", err, took, idleTimeout)
		}
	})
}

// A connection whose client does not read the response, be it the first or a
// later one, is closed after writeTimeout. That frees its slot for the next one.
func TestWriteDeadline(t *testing.T) {
	for _, target := range []string{"/ingest", "/ingest?wait=1"} {
		for _, read := range []int{0, 1, 3} {
			t.Run(fmt.Sprintf("%s after %d responses", target, read), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testWriteDeadline(t, target, read) })
			})
		}
	}
}

// testWriteDeadline stalls a client after it has read the given number of
// responses.
func testWriteDeadline(t *testing.T, target string, read int) {
	server := servePipes(t, newTestService(t).handler, 1)
	stalled := server.dial()
	for range read {
		stalled.Send(head(target, len(smallBody)), smallBody, 1, 0)
		if got, err := stalled.Response(); err != nil || !strings.HasPrefix(got, "20") {
			t.Fatalf("got response %q and error %v, want 200 or 202", got, err)
		}
		time.Sleep(time.Second)
	}
	stalled.Send(head(target, len(smallBody)), smallBody, 1, 0)
	began := time.Now()
	synctest.Wait() // the request has arrived in full
	next := server.dial()
	next.Send(head(target, len(smallBody)), smallBody, 1, 0)
	got, err := next.Response()
	if took := time.Since(began); err != nil || !strings.HasPrefix(got, "20") || took > writeTimeout {
		t.Errorf("next client: got response %q and error %v after %v, want 200 or 202 within %v", got, err, took, writeTimeout)
	}
}

// A handler can set another write deadline, for its own response only.
func TestHandlerDeadline(t *testing.T) {
	type request struct {
		path string
		wait time.Duration // before the client reads
		want string        // no response if empty
	}
	const ok = "200 ok\n"
	for name, requests := range map[string][]request{
		"later":              {{"/hour", 50 * time.Minute, ok}},
		"earlier":            {{"/second", 2 * time.Second, ""}},
		"default":            {{"/", 29 * time.Second, ok}, {"/", 31 * time.Second, ""}},
		"default after hour": {{"/hour", 0, ok}, {"/", 29 * time.Second, ok}, {"/", 31 * time.Second, ""}},
		"default after second": {
			{"/second", 0, ok}, {"/", 29 * time.Second, ok}, {"/", 31 * time.Second, ""},
		},
		"hour after default": {{"/", 0, ok}, {"/hour", 50 * time.Minute, ok}, {"/", 29 * time.Second, ok}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := servePipes(t, http.HandlerFunc(setDeadline), 1).dial()
				for i, c := range requests {
					client.Send("GET "+c.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 0, 0)
					time.Sleep(c.wait)
					if got, err := client.Response(); got != c.want {
						t.Errorf("request %d, read after %v: got response %q and error %v, want %q", i, c.wait, got, err, c.want)
					}
				}
			})
		})
	}
}

// setDeadline is a handler that sets the write deadline in its path.
func setDeadline(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	switch r.URL.Path {
	case "/hour":
		rc.SetWriteDeadline(time.Now().Add(time.Hour))
	case "/second":
		rc.SetWriteDeadline(time.Now().Add(time.Second))
	}
	okHandler(w, r)
}

// A request with wait=1 has no deadline after its body has arrived. One of the
// bodies ends exactly where the service extends the read deadline.
func TestWaitHasNoDeadline(t *testing.T) {
	for name, body := range map[string]string{
		"small body":       smallBody,
		"body of one step": smallBody + strings.Repeat(" ", bodyStep-len(smallBody)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStalledService(t)
				client := servePipes(t, s.handler, 1).dial()
				client.Send(head("/ingest?wait=1", len(body)), body, 1, 0)
				time.Sleep(time.Hour)
				client.SetReadDeadline(time.Now().Add(time.Nanosecond))
				if b, err := client.Reader.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("before the commit: got byte %q and error %v, want %v", b, err, os.ErrDeadlineExceeded)
				}
				client.SetReadDeadline(time.Now().Add(waitTimeout))
				s.startWriter()
				const want = `200 {"accepted":1,"filtered":0}` + "\n"
				if got, err := client.Response(); err != nil || got != want {
					t.Errorf("after the commit: got response %q and error %v, want %q", got, err, want)
				}
			})
		})
	}
}

// The deadlines apply to HTTP/2 too, which implements them separately.
func TestHTTP2Deadlines(t *testing.T) {
	large := strings.Repeat(smallBody, 3*bodyStep/len(smallBody))
	for _, c := range []struct {
		name   string
		target string
		body   string
		parts  int
		pause  time.Duration // after each part
		want   int           // status
	}{
		{name: "steady body", target: "/ingest", body: large, parts: 24, pause: 2 * time.Second, want: 202},
		{name: "slow body", target: "/ingest", body: large, parts: 24, pause: 3 * time.Second, want: 400},
		{name: "wait for an hour", target: "/ingest?wait=1", body: smallBody, parts: 1, want: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStalledService(t)
				time.AfterFunc(time.Hour, s.startWriter)
				client := serveHTTP2(t, s.handler)
				body, sender := io.Pipe()
				go func() {
					for i := range c.parts {
						io.WriteString(sender, c.body[len(c.body)*i/c.parts:len(c.body)*(i+1)/c.parts])
						time.Sleep(c.pause)
					}
					sender.Close()
				}()
				resp, err := client.Post("https://example.com"+c.target, "", body)
				must(t, err)
				defer resp.Body.Close()
				if resp.StatusCode != c.want || resp.ProtoMajor != 2 {
					t.Errorf("got response %s %s, want HTTP/2.0 %d", resp.Proto, resp.Status, c.want)
				}
				time.Sleep(2 * time.Hour) // until all timers have fired
			})
		})
	}
}
