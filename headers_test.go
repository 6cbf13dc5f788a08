package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/pipetest"
)

// fields returns n short header fields.
func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d:\r\n", i)
	}
	return b.String()
}

func TestHeaderFieldLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, okHandler, 10)
		for _, c := range []struct {
			fields int
			want   string
		}{
			{10, "200 ok\n"},
			{maxHeaderFields - 1, "200 ok\n"}, // and Host
			{maxHeaderFields + 1, "431 "},
			{5000, "431 "},
		} {
			client := server.dial()
			client.Send("GET / HTTP/1.1\r\nHost: localhost\r\n"+fields(c.fields)+"\r\n", "", 0, 0)
			if got, err := client.Response(); err != nil || got != c.want {
				t.Errorf("%d fields: got response %q and error %v, want %q", c.fields, got, err, c.want)
			}
			client.Close()
		}
		time.Sleep(time.Minute)
		if used := server.headers.used.Load(); used != 0 {
			t.Errorf("got %d bytes reserved at the end, want 0", used)
		}
	})
}

// A request is refused if its header does not fit into the budget, finished or
// not. Later ones are served again.
func TestHeaderBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, okHandler, 1000)
		large := "GET / HTTP/1.1\r\nHost: localhost\r\nLarge: " + strings.Repeat("a", 30<<10)
		var waiting []*pipetest.Client
		refused := 0
		for range 400 {
			client := server.dial()
			client.Send(large, "", 0, 0)
			client.SetReadDeadline(time.Now().Add(time.Millisecond))
			got, err := client.Response()
			switch {
			case strings.HasPrefix(got, "503 "):
				refused++
			case errors.Is(err, os.ErrDeadlineExceeded) || err != nil && strings.Contains(err.Error(), "timeout"):
				waiting = append(waiting, client)
			default:
				t.Fatalf("got response %q and error %v, want none or 503", got, err)
			}
		}
		if used := server.headers.used.Load(); refused == 0 || used > headerBudget || used < headerBudget/2 {
			t.Errorf("got %d requests refused and %d bytes reserved, want some and at most %d", refused, used, headerBudget)
		}
		for _, client := range waiting {
			client.Close()
		}
		time.Sleep(time.Minute)
		if used := server.headers.used.Load(); used != 0 {
			t.Errorf("got %d bytes reserved after the clients have disconnected, want 0", used)
		}
		client := server.dial()
		for range 3 {
			client.Send(large+"\r\n\r\n", "", 0, 0)
			if got, err := client.Response(); err != nil || got != "200 ok\n" {
				t.Errorf("got response %q and error %v, want 200", got, err)
			}
			synctest.Wait()
			if used := server.headers.used.Load(); used != 0 {
				t.Errorf("got %d bytes reserved between requests, want 0", used)
			}
		}
	})
}

// The names that the field Trailer announces count as fields, because net/http makes
// a map of them.
func TestTrailerNamesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, okHandler, 10)
		for names, want := range map[int]string{10: "200 ok\n", maxHeaderFields + 1: "431 ", 5000: "431 "} {
			var trailer strings.Builder
			for i := range names {
				fmt.Fprintf(&trailer, "%x,", i)
			}
			body := "0\r\n\r\n"
			if want == "431 " {
				body = "5\r\n" // the response does not wait for the rest
			}
			client := server.dial()
			began := time.Now()
			client.Send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: "+trailer.String()+
				"\r\n\r\n"+body, "", 0, 0)
			got, err := client.Response()
			if took := time.Since(began); err != nil || !strings.HasPrefix(got, want) || took > time.Second {
				t.Errorf("%d names: got response %q and error %v after %v, want %q at once", names, got, err, took, want)
			}
			client.Close()
		}
	})
}

// An HTTP/2 stream that announces a trailer reserves the memory for it.
func TestStreamReservesTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		headers := &budget{limit: headerBudget}
		reserved := make(chan int64, 1)
		_, client := serveFrames(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			reserved <- headers.used.Load()
		}), headers)
		r, err := http.NewRequest("POST", "http://localhost/", strings.NewReader("body"))
		must(t, err)
		r.ContentLength = -1
		r.Trailer = http.Header{"A": nil}
		resp, err := client.Do(r)
		must(t, err)
		resp.Body.Close()
		if got, want := receive(t, "the request", reserved), int64(streamOverhead+trailerOverhead); got < want {
			t.Errorf("got %d bytes reserved, want at least %d", got, want)
		}
	})
}

// The fields after a chunked body are dropped, because no budget counts them.
func TestTrailerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trailers := make(chan int, 1)
		server := servePipes(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			clone := r.WithContext(t.Context()) // as the authorizer makes
			io.Copy(io.Discard, r.Body)
			trailers <- len(r.Trailer) + len(clone.Trailer)
		}), 10)
		client := server.dial()
		client.Send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: a0\r\n\r\n0\r\n"+
			fields(100)+"\r\n", "", 0, 0)
		if got := receive(t, "the request", trailers); got != 0 {
			t.Errorf("got %d fields of the trailer, want 0", got)
		}
	})
}

// The request target and the host, which are not in the map of the header, count as
// parts of it until the response, over HTTP/1.1 and HTTP/2.
func TestTargetAndHostAreReserved(t *testing.T) {
	const length = 20 << 10
	for name, url := range map[string]string{
		"target over HTTP/1.1": "http://localhost/?" + strings.Repeat("a", length),
		"target over HTTP/2":   "http://localhost/?" + strings.Repeat("a", length),
		"host over HTTP/1.1":   "http://" + strings.Repeat("a", length) + "/",
		"host over HTTP/2":     "http://" + strings.Repeat("a", length) + "/",
	} {
		http2 := strings.HasSuffix(name, "/2")
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				headers := &budget{limit: headerBudget}
				reserved := make(chan int64, 1)
				h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reserved <- headers.used.Load() })
				if http2 {
					_, client := serveFrames(t, h, headers)
					resp, err := client.Get(url)
					must(t, err)
					resp.Body.Close()
				} else {
					client := servePipesWithin(t, h, 10, headers).dial()
					r, err := http.NewRequest("GET", url, nil)
					must(t, err)
					client.Send(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", r.URL.RequestURI(), r.Host), "", 0, 0)
				}
				want := int64(length - freeHeader)
				if http2 {
					want = length + streamOverhead
				}
				if got := receive(t, "the request", reserved); got < want {
					t.Errorf("got %d bytes reserved, want at least %d", got, want)
				}
			})
		})
	}
}

// The end of a header is found however it is split.
func TestHeaderEnd(t *testing.T) {
	const text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for i := range len(text) {
		for j := i; j <= len(text); j++ {
			c := &headerConn{budget: &budget{limit: headerBudget}, held: new(atomic.Int64), inHeader: true}
			for _, part := range []string{text[:i], text[i:j], text[j:] + "body\n"} {
				if status := c.count([]byte(part)); status != 0 {
					t.Fatalf("got status %d, want none", status)
				}
			}
			if c.inHeader || c.bytes != int64(len(text)) || c.lines != 3 {
				t.Errorf("split at %d and %d: got %d bytes, %d lines, in header %v; want %d, 3, false",
					i, j, c.bytes, c.lines, c.inHeader, len(text))
			}
		}
	}
}

// Each stream of an HTTP/2 connection reserves memory until its response.
func TestHTTP2StreamBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := &budget{limit: 3 * streamOverhead}
		release := make(chan struct{})
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				<-release
			}
			okHandler(w, r)
		})
		_, client := serveFrames(t, h, budget)
		get := func(path string) int {
			resp, err := client.Get("http://example.com" + path)
			must(t, err)
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
			return resp.StatusCode
		}
		if got := get("/"); got != 200 { // opens the connection
			t.Fatalf("got status %d, want 200", got)
		}
		statuses := make(chan int, 2)
		for range 2 {
			go func() { statuses <- get("/wait") }()
		}
		synctest.Wait()
		if got := get("/"); got != 503 {
			t.Errorf("got status %d while two streams are open, want 503", got)
		}
		close(release)
		for range 2 {
			if got := <-statuses; got != 200 {
				t.Errorf("got status %d, want 200", got)
			}
		}
		if got := get("/"); got != 200 {
			t.Errorf("got status %d after the streams have ended, want 200", got)
		}
		synctest.Wait()
		if used := budget.used.Load(); used != 0 {
			t.Errorf("got %d bytes reserved at the end, want 0", used)
		}
	})
}

// If any one reservation for a header fails, over HTTP/1.1 or HTTP/2, the request
// is refused or its connection closed, and all memory is released.
func TestEachHeaderReservationFails(t *testing.T) {
	large := strings.Repeat("a", 20<<10)
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			for k := 1; ; k++ {
				var calls atomic.Int64
				headers := &budget{limit: headerBudget}
				headers.refuse = func(int64) bool { return calls.Add(1) == int64(k) }
				status := 0
				if http2 {
					_, client := serveFrames(t, okHandler, headers)
					r, err := http.NewRequest("GET", "http://example.com/", nil)
					must(t, err)
					r.Header.Set("Large", large)
					if resp, err := client.Do(r); err == nil {
						resp.Body.Close()
						status = resp.StatusCode
					}
				} else {
					server := servePipesWithin(t, okHandler, 10, headers)
					client := server.dial()
					client.Send("GET / HTTP/1.1\r\nHost: localhost\r\nLarge: "+large+"\r\n\r\n", "", 0, 0)
					text, err := client.Response()
					must(t, err)
					fmt.Sscan(text, &status)
					client.Close()
				}
				want, last := 503, calls.Load() < int64(k)
				if last {
					want = 200
				}
				if status != want {
					t.Errorf("HTTP/2 %v, reservation %d fails: got status %d, want %d", http2, k, status, want)
				}
				time.Sleep(time.Minute)
				if n := headers.used.Load(); n != 0 {
					t.Errorf("HTTP/2 %v, reservation %d fails: got %d bytes reserved at the end, want 0", http2, k, n)
				}
				if last {
					if k == 1 {
						t.Errorf("HTTP/2 %v: got no reservations, want some", http2)
					}
					return
				}
			}
		})
	}
}

// The stream of a client that never opens its flow-control window is reset after
// writeTimeout. Until then the memory of a large header stays reserved.
func TestStreamWithoutWindow(t *testing.T) {
	for name, header := range map[string][]byte{
		"while the handler writes": slices.Concat(
			literal(":method", "GET"), literal(":scheme", "https"), literal(":path", "/"), literal(":authority", "localhost"),
		),
		"while the handler writes to a stream writer": postHeader(0),
		"after the handler":                           postHeader(100),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				headers := &budget{limit: headerBudget}
				response := make([]byte, 100<<10)
				pipes, _ := serveFrames(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.Method == http.MethodGet:
						w.Write(response)
					case len(r.Header) < 100:
						newStreamWriter(w).Write(response)
					default:
						w.Write(response[:100])
					}
				}), headers)
				conn := pipes.Dial(t).Conn
				defer conn.Close()
				reset := make(chan time.Time, 1)
				var sent frameScanner
				go func() {
					buf := make([]byte, 4096)
					for {
						n, err := conn.Read(buf)
						sent.scan(buf[:n], func(kind byte, stream uint32) {
							if kind == frameRSTStream && stream == 1 {
								reset <- time.Now()
							}
						})
						if err != nil {
							return
						}
					}
				}()
				began := time.Now()
				noWindow := frame(4, 0, 0, []byte{0, 4, 0, 0, 0, 0}) // SETTINGS_INITIAL_WINDOW_SIZE=0
				for _, b := range [][]byte{[]byte(http2Preface), noWindow, frame(frameHeaders, endHeaders|1, 1, header)} {
					_, err := conn.Write(b)
					must(t, err)
				}
				time.Sleep(writeTimeout / 2)
				if headers.used.Load() == 0 {
					t.Error("got no memory reserved while the response waits, want some")
				}
				if got := receive(t, "the reset", reset).Sub(began); got > writeTimeout+time.Second {
					t.Errorf("got the stream reset after %v, want %v", got, writeTimeout)
				}
				synctest.Wait()
				if got := headers.used.Load(); got != 0 {
					t.Errorf("got %d bytes reserved after the reset, want 0", got)
				}
			})
		})
	}
}

// A client must take a long response at minResponseRate, after writeTimeout. Otherwise a
// slow client would keep the memory of its request.
func TestSlowReaderOfStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		server := servePipes(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for stream := newStreamWriter(w); err == nil; {
				_, err = stream.Write(make([]byte, 4<<10))
			}
			ended <- err
		}), 10)
		client := server.dial()
		began := time.Now()
		client.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 0, 0)
		go func() {
			for { // an eighth of the rate
				if _, err := io.CopyN(io.Discard, client, minResponseRate/8); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		err := receive(t, "the end of the response", ended)
		if got, most := time.Since(began), writeTimeout*8/7+time.Second; !errors.Is(err, os.ErrDeadlineExceeded) || got > most {
			t.Errorf("got the response ended after %v with error %v, want a timeout after at most %v", got, err, most)
		}
	})
}

// The refusal of a header over HTTP/2 has no body, which would wait for the client.
func TestRefusedStreamHasNoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client := serveFrames(t, http.NotFoundHandler(), &budget{limit: headerBudget})
		request, err := http.NewRequest("GET", "http://localhost/", nil)
		must(t, err)
		for i := range maxHeaderFields {
			request.Header.Set(fmt.Sprintf("a%d", i), "")
		}
		resp, err := client.Do(request)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge || len(body) > 0 {
			t.Errorf("got status %d and body %q, want 431 and no body", resp.StatusCode, body)
		}
	})
}
