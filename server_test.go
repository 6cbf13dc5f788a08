package main

import (
	"context"
	"errors"
	"io"
	"log-ingester/internal/pipetest"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlowBodies(t *testing.T) {
	large := "[" + strings.Repeat(smallBody+",\n", 40_000) + smallBody + "]" // some 1.2 MB
	small, parts := len(smallBody), len(large)/(8<<10)
	const chunked = "POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name       string
		head, body string
		parts      int
		pause      time.Duration
		want       string
		within     time.Duration
	}{
		{"at once", head("/ingest", small), smallBody, 1, 0, "202 ", 0},
		{"a small body in 19 s", head("/ingest", small), smallBody, 20, time.Second, "202 ", 19 * time.Second},
		{"a small body in 21 s", head("/ingest", small), smallBody, 22, time.Second, "400 ", restTimeout + requestTimeout},
		{"a large body at 4 KiB/s", head("/ingest", len(large)), large, parts, 2 * time.Second, "202 ", 10 * time.Minute},
		{"the same with wait", head("/ingest?wait=1", len(large)), large, parts, 2 * time.Second, "200 ", 10 * time.Minute},
		{"a large body at 3 KiB/s", head("/ingest", len(large)), large, parts, 2800 * time.Millisecond, "400 ", 2 * requestTimeout},
		{"a large body that stops half-way", head("/ingest", len(large)), large[:len(large)/2], 1, 0, "400 ", requestTimeout},
		{"chunks that stop", chunked, "5\r\n{\"a\":\r\n", 1, 0, "400 ", requestTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestService(t)
				client := servePipes(t, s.handler, 1).dial()
				began := time.Now()
				client.Send(c.head, c.body, c.parts, c.pause)
				answer, err := client.Response()
				if took := time.Since(began); err != nil || !strings.HasPrefix(answer, c.want) || took > c.within {
					t.Errorf("%s %v after %v, want %s within %v", answer, err, took, c.want, c.within)
				}
			})
		})
	}
}

func TestSlowHeadersAndIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, newTestService(t).handler, 1)
		for _, pause := range []time.Duration{time.Second, restTimeout / 2} {
			header := head("/ingest?"+strings.Repeat("a", 600), 0)
			slow := server.dial()
			slow.Send("", header, len(header), pause)
			began := time.Now()
			io.ReadAll(slow.Reader) // to the end, whatever the server has to say
			if took := time.Since(began); took < requestTimeout || took > requestTimeout+time.Second {
				t.Errorf("a header of which a byte comes every %v is cut off after %v", pause, took)
			}
		}
		idle := server.dial()
		idle.Send(head("/ingest", len(smallBody)), smallBody, 1, 0)
		if answer, err := idle.Response(); err != nil || !strings.HasPrefix(answer, "202 ") {
			t.Fatalf("%s %v", answer, err)
		}
		began := time.Now()
		if _, err := idle.Reader.ReadByte(); err != io.EOF || time.Since(began) != idleTimeout {
			t.Errorf("an idle connection: %v after %v", err, time.Since(began))
		}
	})
}

// A client that does not read its answer, the first or a later one, gives its
// connection up.
func TestAnswersThatNobodyReads(t *testing.T) {
	for _, target := range []string{"/ingest", "/ingest?wait=1"} {
		for _, heard := range []int{0, 1, 3} {
			testDeafClient(t, target, heard)
		}
	}
}

func testDeafClient(t *testing.T, target string, heard int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, newTestService(t).handler, 1)
		deaf, next := server.dial(), server.dial()
		for i := range heard + 1 {
			deaf.Send(head(target, len(smallBody)), smallBody, 1, 0)
			if i == heard {
				break
			}
			if answer, err := deaf.Response(); err != nil || !strings.HasPrefix(answer, "20") {
				t.Fatalf("%s %v", answer, err)
			}
			time.Sleep(time.Second)
		}
		began := time.Now()
		next.Send(head(target, len(smallBody)), smallBody, 1, 0)
		if answer, err := next.Response(); err != nil || !strings.HasPrefix(answer, "20") || time.Since(began) > writeTimeout {
			t.Errorf("%s, %d read: the next client is answered %s %v after %v", target, heard, answer, err, time.Since(began))
		}
	})
}

// A handler may set a deadline of its own, for this answer only.
func TestDeadlineOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := servePipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			switch r.URL.Path {
			case "/hour":
				rc.SetWriteDeadline(time.Now().Add(time.Hour))
			case "/second":
				rc.SetWriteDeadline(time.Now().Add(time.Second))
			}
			okHandler(w, r)
		}), 1).dial()
		for _, c := range []struct {
			path string
			wait time.Duration // until the answer is read
			want string
		}{
			{"/", 0, "200 ok\n"}, {"/hour", 50 * time.Minute, "200 ok\n"}, {"/", 29 * time.Second, "200 ok\n"},
			{"/hour", 0, "200 ok\n"}, {"/", 29 * time.Second, "200 ok\n"}, {"/second", 2 * time.Second, ""},
		} {
			client.Send("GET "+c.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 0, 0)
			time.Sleep(c.wait)
			if answer, err := client.Response(); answer != c.want {
				t.Errorf("%s read after %v: %q %v, want %q", c.path, c.wait, answer, err, c.want)
			}
		}
	})
}

// Whoever waits for the commit waits as long as it takes, also where the body
// ends just when it is given more time.
func TestWaitHasNoDeadline(t *testing.T) {
	for _, body := range []string{smallBody, smallBody + strings.Repeat(" ", bodyStep-len(smallBody))} {
		synctest.Test(t, func(t *testing.T) {
			s, finish := newStalledService(t)
			client := servePipes(t, s.routes(), 1).dial()
			client.Send(head("/ingest?wait=1", len(body)), body, 1, 0)
			time.Sleep(time.Hour)
			client.SetReadDeadline(time.Now().Add(time.Nanosecond))
			if c, err := client.Reader.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("before the commit there is an answer: %q %v", c, err)
			}
			client.SetReadDeadline(time.Time{})
			go finish()
			if answer, err := client.Response(); err != nil || answer != `200 {"accepted":1,"filtered":0}` {
				t.Errorf("%s %v", answer, err)
			}
		})
	}
}

// HTTP/2 has timers of its own.
func TestDeadlinesOfHTTP2(t *testing.T) {
	large := strings.Repeat(smallBody, 3*bodyStep/len(smallBody))
	for _, c := range []struct {
		name, target, body string
		parts              int
		pause              time.Duration
		status             int
	}{
		{"a steady body", "/ingest", large, 24, 2 * time.Second, 202},
		{"a body that comes too slowly", "/ingest", large, 24, 3 * time.Second, 400},
		{"a wait for an hour", "/ingest?wait=1", smallBody, 1, 0, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, finish := newStalledService(t)
				client := serveHTTP2(t, s.routes())
				go func() {
					time.Sleep(time.Hour)
					finish()
				}()
				body, sender := io.Pipe()
				go func() {
					for i := range c.parts {
						io.WriteString(sender, c.body[len(c.body)*i/c.parts:len(c.body)*(i+1)/c.parts])
						time.Sleep(c.pause)
					}
					sender.Close()
				}()
				resp, err := client.Post("https://example.com"+c.target, "", body)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if resp.StatusCode != c.status || resp.ProtoMajor != 2 {
					t.Errorf("%s %s, want %d", resp.Proto, resp.Status, c.status)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// A client that closed its side, or is gone, is not told of a commit before
// there is one.
func TestWaitOfAClosedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, finish := newStalledService(t)
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "POST", "/ingest?wait=1", strings.NewReader(smallBody))
		w := httptest.NewRecorder()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			s.routes().ServeHTTP(w, r)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case <-answered:
			t.Fatalf("before the commit, the answer is %d %s", w.Code, w.Body)
		default:
		}
		finish()
		if <-answered; w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestConnectionCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, okHandler, 2)
		const get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
		first, second, third := server.dial(), server.dial(), server.dial()
		for _, client := range []*pipetest.Client{first, second} {
			client.Send(get, "", 0, 0)
			if answer, err := client.Response(); err != nil || answer != "200 ok\n" {
				t.Fatalf("%q %v", answer, err)
			}
		}
		third.Send(get, "", 0, 0)
		third.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := third.Reader.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a third connection is served beside two: %v", err)
		}
		third.SetReadDeadline(time.Time{})
		first.Close()
		if answer, err := third.Response(); err != nil || answer != "200 ok\n" {
			t.Errorf("the third after the first: %q %v", answer, err)
		}
	})
}

// A full listener ends all the same.
func TestFullListenerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limitListener(pipetest.NewListener(), 0)
		ended := make(chan error)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		synctest.Wait()
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
	})
}
