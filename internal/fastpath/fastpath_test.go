package fastpath

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/pipetest"
)

const (
	requestTimeout = 20 * time.Second
	idleTimeout    = 2 * time.Minute
)

var testConfig = Config{
	Path:           "/ingest",
	RequestTimeout: requestTimeout,
	IdleTimeout:    idleTimeout,
	Log:            slog.New(slog.DiscardHandler),
}

var okHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })

const smallBody = `{"level":"error","msg":"a"}`

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newServer returns a server with the limits of the service.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		MaxHeaderBytes: 32 << 10,
		ReadTimeout:    requestTimeout,
		IdleTimeout:    idleTimeout,
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
}

// A pipeServer is a server with the fast path whose connections are pipes. It
// must run in a synctest bubble.
type pipeServer struct {
	t     *testing.T
	pipes *pipetest.Listener
	fast  *Listener
}

func servePipes(t *testing.T, h http.Handler) *pipeServer {
	pipes := pipetest.NewListener()
	return servePipesOf(t, pipes, pipes, h)
}

// servePipesOf serves the connections that l accepts from pipes.
func servePipesOf(t *testing.T, pipes *pipetest.Listener, l net.Listener, h http.Handler) *pipeServer {
	s := &pipeServer{t, pipes, New(l, h, testConfig)}
	server := newServer(h)
	go server.Serve(s.fast)
	t.Cleanup(func() {
		must(t, server.Close())
		time.Sleep(time.Second) // net/http sleeps before it closes some connections
	})
	return s
}

func (s *pipeServer) dial() *pipetest.Client { return s.pipes.Dial(s.t) }

// A socketServer serves on a Unix socket, with or without the fast path.
type socketServer struct {
	path     string
	handOffs atomic.Int64 // connections that net/http has accepted
}

func serveSocket(t testing.TB, h http.Handler, fast bool) *socketServer {
	t.Helper()
	s := &socketServer{path: filepath.Join(t.TempDir(), "s")}
	server := newServer(h)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.handOffs.Add(1)
		}
	}
	l, err := net.Listen("unix", s.path)
	must(t, err)
	if fast {
		l = New(pollListener{l}, h, testConfig)
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return s
}

// responses sends the parts of a stream, closes its side of the connection, and
// returns all responses. They do not contain what may differ between the fast
// path and net/http.
func (s *socketServer) responses(t testing.TB, parts ...string) (all []string) {
	t.Helper()
	began := time.Now()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.path, Net: "unix"})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(began.Add(time.Minute)))
	go func() {
		for _, part := range parts {
			io.WriteString(conn, part) // fails if the server stops reading
		}
		conn.CloseWrite()
	}()
	for r := bufio.NewReader(conn); ; {
		if _, err := r.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("timeout after the responses %.300q", all)
			}
			return all
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(all, err.Error())
		}
		body, err := io.ReadAll(resp.Body)
		if errors.Is(err, syscall.ECONNRESET) {
			err = nil // net/http closes a connection without reading the rest of it
		}
		date, dateErr := http.ParseTime(resp.Header.Get("Date"))
		late := date.Before(began.Truncate(time.Second)) || date.After(time.Now())
		if resp.StatusCode != 400 && (dateErr != nil || late) {
			err = errors.Join(err, fmt.Errorf("invalid date %q", resp.Header["Date"]))
		}
		resp.Header.Del("Date")
		resp.Header.Del("Content-Length") // net/http sends long responses in chunks
		all = append(all, fmt.Sprint(resp.Proto, resp.Status, resp.Header, resp.Close, string(body), err))
	}
}

// describe is a handler that responds with all it can see of a request, except
// for the header field Content-Length. It uses the length of the body to vary
// the response.
func describe(w http.ResponseWriter, r *http.Request) {
	var body []byte
	var err error
	if r.ContentLength%5 != 4 { // else the server must skip the body
		body, err = io.ReadAll(r.Body)
	}
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	switch r.ContentLength % 3 {
	case 1:
		header.Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.WriteHeader(http.StatusOK) // has no effect
	case 2:
		header.Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	}
	if field := strings.TrimSpace(r.Header.Get("Content-Length")); field != "" &&
		strings.TrimLeft(field, "0") != strings.TrimLeft(strconv.FormatInt(r.ContentLength, 10), "0") {
		fmt.Fprintln(w, "wrong length of the body:", field)
	}
	if r.ContentLength%7 == 6 {
		return // with an empty response
	}
	fmt.Fprintln(w, r.Method, r.RequestURI, r.URL, r.Proto, r.Host, r.RemoteAddr, r.ContentLength,
		r.TransferEncoding, r.Close, r.Trailer, r.Form, r.TLS)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name != "Content-Length" {
			fmt.Fprintf(w, "%q: %q\n", name, r.Header[name])
		}
	}
	fmt.Fprintf(w, "%q %v", body, err)
}

// post returns a request as clients send it, with more lines in its header.
func post(body string, lines ...string) string {
	return fmt.Sprintf("POST /ingest HTTP/1.1\r\nHost: localhost:3002\r\nUser-Agent: curl/8\r\n"+
		"%sContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%s",
		strings.Join(append(lines, ""), "\r\n"), len(body), body)
}

// keyed returns a request with an idempotency key before its length, and after
// returns one with the key after its length.
func keyed(key string) string { return post("{}", "Idempotency-Key: "+key) }

func after(key string) string { return edited("json\r\n", "json\r\nIdempotency-Key: "+key+"\r\n") }

// keyedAfter returns a request with a key on each side of its length.
func keyedAfter(before, key string) string {
	return strings.Replace(after(key), "Content-Length", "Idempotency-Key: "+before+"\r\nContent-Length", 1)
}

// edited returns post("{}") with one change.
func edited(old, replacement string) string {
	if !strings.Contains(post("{}"), old) {
		panic("the request has no " + old)
	}
	return strings.Replace(post("{}"), old, replacement, 1)
}

// A stream is what a client sends on one connection.
type stream struct{ name, text string }

// fastStreams are served by the fast path.
var fastStreams = []stream{
	{"nothing", ""},
	{"request", post(smallBody)},
	{"bodies of various lengths", post("") + post("{}") + post("1") + post(strings.Repeat(" ", 1000)) + post(smallBody)},
	{"body of 7000 bytes", post(strings.Repeat("x", 7000)) + post("{}")},
	{"changing header", post("{}", "X-API-Key: a") + post("{}", "X-API-Key: b") + post("{}") +
		post("{}", "X-API-Key: a", "X-API-Key: c")},
	{"changing content type", post("{}") + edited("application", "text")},
	{"lower case field name", strings.ReplaceAll(post("{}")+post("[]"), "Content-Length", "content-length")},
	{"keep-alive and other fields", post("{}", "Connection: Keep-Alive", "Accept: */*", "Accept-Encoding: gzip",
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
	{"fields without value, with spaces, with underscore", post("{}", "Empty:", "Spaces:  a b  ", "lower_case: 1")},
	{"encoding and origin", post("{}", "Content-Encoding: gzip", "Sec-Fetch-Site: cross-site", "Origin: null")},
	{"empty lines between requests", post("{}") + "\r\n" + post("{}") + "\n\n" + post("{}") + "\r\n\r\n" + post("{}")},
	{"query", edited("/ingest", "/ingest?wait=1&a=b%20c") + edited("/ingest", "/ingest?wait=0")},
	{"invalid escape in the query", edited("/ingest", "/ingest?%zz")},
	{"IPv6 host", edited("localhost", "[::1]")},
	{"length with leading zeros", strings.Replace(post(smallBody), "Length: 27", "Length: 0000027", 1)},
	{"different idempotency keys", keyed("a") + keyed("b") + keyed(`"a b"`) + keyed(`"c"`) +
		post("{}") + keyed("dd")},
	{"key after the length", after("a") + after("bb") + keyed("a") + after("a")},
	{"key in lower case", strings.ReplaceAll(keyed("a")+keyed("b"), "Idempotency-Key", "idempotency-key")},
	{"key in another field", post("{}", "X-Idempotency-Key: a") + post("{}", "X-Idempotency-Key: b")},
	{"empty key", keyed("a") + keyed("") + keyed("b")},
	{"key between spaces", keyed("a") + keyed("  b") + keyed("c ") + keyed("d")},
	{"two keys", keyed("a") + post("{}", "Idempotency-Key: a", "Idempotency-Key: b") + keyed("b")},
	{"second key in a later line", after("a") + keyedAfter("b", "c") + after("d")},
	{"key that looks like a length", keyed("1") + keyed("Content-Length:7") + after("3")},
	{"longest key", keyed("a") + keyed(strings.Repeat("x", maxKeyLength)) +
		keyed(strings.Repeat("y", maxKeyLength+1)) + keyed("b")},
	{"longest header", post("{}", "Long: "+strings.Repeat("x", maxHeaderSize-150))},
	{"most header lines", post("{}", strings.Repeat("A:\r\n", maxHeaderLines-7)+"A:")},
}

// slowStreams contain a request that the fast path hands to net/http.
var slowStreams = []stream{
	{"start of a request line", "POST /ing"},
	{"start of a header", "POST /ingest HTTP/1.1\r\nHost: a\r\n"},
	{"header without its end", post("{}")[:100]},
	{"body without its end", post("[]") + post(smallBody)[:130]},
	{"body as large as the buffer", post(strings.Repeat("x", bufferSize)) + post("{}")},

	// Lines of the header
	{"header as large as the buffer", post("{}", "Long: "+strings.Repeat("x", bufferSize))},
	{"header too long", post("{}", "Long: "+strings.Repeat("x", maxHeaderSize-100))},
	{"header too long with another key", post("{}", "Idempotency-Key: a", "Long: "+strings.Repeat("x", maxHeaderSize-200)) +
		post("{}", "Idempotency-Key: "+strings.Repeat("a", 200), "Long: "+strings.Repeat("x", maxHeaderSize-200))},
	{"too many header lines", post("{}", strings.Repeat("A:\r\n", maxHeaderLines-6)+"A:")},
	{"key with a tab", keyed("a") + keyed("a\tb")},
	{"key with CR", keyed("a") + keyed("a\rContent-Length: 3")},
	{"key with LF", keyed("a") + keyed("a\nContent-Length: 3")},
	{"key with NUL", keyed("a") + keyed("a\x00")},
	{"key beyond ASCII", keyed("a") + keyed("\xe9")},
	{"length after the key", keyed("a") + keyed("b\r\nContent-Length: 3")},
	{"folded key", keyed("a") + keyed("a\r\n b")},
	{"LF without CR in the whole header", strings.ReplaceAll(post("{}"), "\r\n", "\n") + post("{}")},
	{"LF without CR before a length", post("{}", "A: 1\nContent-Length: 3")},
	{"empty line of LF", post("{}", "A: 1\n\nb: 2")},
	{"CR without LF", post("{}", "Bare: a\rb")},
	{"CR without LF before a length", post("{}", "Bare: a\rContent-Length: 3")},
	{"line folded with a space", post("{}", "Folded: a\r\n b")},
	{"line folded with a tab", post("{}", "Folded: a\r\n\tb")},
	{"length in a folded line", post("{}", "Folded: a\r\n Content-Length: 3")},
	{"empty line before the first request", "\r\n" + post("{}")},
	{"too many empty lines", post("{}") + "\r\n\r\n\r\n" + post("{}")},
	{"tab", post("{}", "Tab: a\tb")},
	{"byte beyond ASCII", strings.Replace(post(strings.Repeat(" ", 100), "Latin: \xe9"), "100", " 100", 1) + post("{}")},
	{"NUL in a name", post("{}", "A\x00: 1")},
	{"NUL in a value", post("{}", "A: \x00")},
	{"space before a name", post("{}", " A: 1")},
	{"space in a name", post("{}", "A B: 1")},
	{"line without colon", post("{}", "nothing")},
	{"empty name", post("{}", ": 1")},

	// The request line
	{"GET", post("{}") + "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + post("{}")},
	{"lower case method", edited("POST", "post")},
	{"PUT", edited("POST", "PUT")},
	{"HTTP/1.0", edited("1.1", "1.0") + post("{}")},
	{"HTTP/1.0 with keep-alive", strings.Replace(post("{}", "Connection: keep-alive"), "1.1", "1.0", 1) + post("{}")},
	{"HTTP/2.0", edited("1.1", "2.0")},
	{"absolute form", edited("/ingest", "http://a/ingest")},
	{"longer path", edited("/ingest", "/ingest/")},
	{"escape after the path", edited("/ingest", "/ingest%2f")},
	{"escape in the path", edited("/ingest", "/in%67est")},

	// Host
	{"no host", edited("Host: localhost:3002\r\n", "")},
	{"two hosts", post("{}", "Host: localhost:3002")},
	{"space in the host", edited("localhost", "local host")},
	{"empty host", edited("localhost:3002", "")},

	// Fields about the connection and the body
	{"chunked body", post("{}") + "POST /ingest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"2\r\n{}\r\n0\r\nAfter: 1\r\n\r\n" + post("{}")},
	{"chunked with length", post("{}", "Transfer-Encoding: chunked")},
	{"chunked in a later request", post("{}") + edited("json\r\n", "json\r\nTransfer-Encoding: chunked\r\n")},
	{"identity", post("{}", "Transfer-Encoding: identity")},
	{"space before the colon", post("{}", "Transfer-Encoding : chunked")},
	{"Expect", post("{}", "Expect: 100-continue")},
	{"unknown Expect", post("{}", "Expect: something")},
	{"Trailer", post("{}", "Trailer: After")},
	{"close", post("{}", "Connection: close") + post("{}")},
	{"close in a list", post("{}", "Connection: keep-alive, close") + post("{}")},
	{"close in a second field", post("{}", "Connection: keep-alive", "Connection: close") + post("{}")},
	{"Upgrade", post("{}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")},

	// Content-Length
	{"no length", edited("Content-Length: 2\r\n", "")},
	{"empty length", edited("Length: 2", "Length:")},
	{"empty length in a later request", post("{}") + edited("Length: 2", "Length: ")},
	{"length with plus", edited("Length: 2", "Length: +2")},
	{"negative length", edited("Length: 2", "Length: -2")},
	{"space after the length", edited("Length: 2", "Length: 2 ")},
	{"length beyond 64 bits", edited("Length: 2", "Length: 99999999999999999999")},
	{"length that overflows to 2", post("{}") + edited("Length: 2", "Length: 18446744073709551618")},
	{"length with an empty folded line", edited("Length: 2", "Length: 2\r\n ")},
	{"folded length", edited("Length: 2", "Length: 2\r\n 3")},
	{"equal lengths", post("{}", "Content-Length: 2")},
	{"different lengths", post("{}", "Content-Length: 3")},
	{"different lengths in a later request", post("{}") + edited("json\r\n", "json\r\nContent-Length: 3\r\n")},
}

// The fast path and net/http send the same responses to the same stream, however
// it is cut into packets.
func TestSameAsNetHTTP(t *testing.T) {
	h := http.HandlerFunc(describe)
	fast, plain := serveSocket(t, h, true), serveSocket(t, h, false)
	test := func(s stream, wantHandOff bool) {
		t.Run(s.name, func(t *testing.T) {
			before := fast.handOffs.Load()
			compareResponses(t, fast, plain, s.text, 0)
			if got := fast.handOffs.Load() > before; got != wantHandOff {
				t.Errorf("got handed to net/http: %v, want %v", got, wantHandOff)
			}
			for _, cut := range []int{len(s.text) / 3, len(s.text) * 2 / 3, max(0, len(s.text)-1)} {
				compareResponses(t, fast, plain, s.text, cut)
			}
		})
	}
	for _, s := range fastStreams {
		test(s, false)
	}
	for _, s := range slowStreams {
		test(s, true)
	}
}

// compareResponses fails the test unless fast, which gets the stream in two
// parts, and plain send the same responses.
func compareResponses(t *testing.T, fast, plain *socketServer, text string, cut int) {
	t.Helper()
	got, want := fast.responses(t, text[:cut], text[cut:]), plain.responses(t, text)
	// Either server may send a 400 at the end that the other one does not send:
	// after a response, net/http ignores up to three bytes before the end of the
	// stream, and a client may not receive a 400 if the server closes the
	// connection before it has read everything.
	n := min(len(got), len(want))
	otherStatus := func(response string) bool { return !strings.Contains(response, "400 Bad Request") }
	if n > 0 && !slices.ContainsFunc(slices.Concat(got[n:], want[n:]), otherStatus) {
		got, want = got[:n], want[:n]
	}
	if !slices.Equal(got, want) {
		t.Errorf("stream %.300q cut at %d:\ngot responses %.300q\nwant %.300q", text, cut, got, want)
	}
}

func FuzzFastPath(f *testing.F) {
	for _, s := range slices.Concat(fastStreams, slowStreams) {
		f.Add([]byte(s.text), uint16(len(s.text)/3))
	}
	h := http.HandlerFunc(describe)
	fast, plain := serveSocket(f, h, true), serveSocket(f, h, false)
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		if len(text) > 4<<10 {
			return // net/http does not read more at once
		}
		compareResponses(t, fast, plain, string(text), min(int(cut), len(text)))
	})
}

// The bytes of a connection that is handed to net/http are not overwritten when
// its buffer is used for another connection.
func TestHandOffKeepsBytes(t *testing.T) {
	s := serveSocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // after an error, the response is too short
		w.Write(body)
	}), true)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for j := range 50 {
				want := strings.Repeat(strconv.Itoa(1e6*i+j), 2000)
				if got := s.responses(t, post(want[:100]), post(want)); len(got) != 2 || !strings.Contains(got[1], want) {
					t.Errorf("got responses %.300q, want one with %.300q", got, want)
					return
				}
			}
		})
	}
	clients.Wait()
}

// A gate is a handler that reports on entered that a request has arrived, and
// responds when it receives from opened.
type gate struct{ entered, opened chan struct{} }

func (g gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.entered <- struct{}{}
	<-g.opened
	okHandler(w, r)
}

// Shutdown closes connections without a request at once, and the others after
// the response to their current request.
func TestShutdownFinishesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{}), make(chan struct{}, 1)}
		s := servePipes(t, g)
		busy, idle, started, waiting := s.dial(), s.dial(), s.dial(), s.dial()
		for _, client := range []*pipetest.Client{idle, waiting} {
			client.Send(post("{}"), "", 0, 0)
			<-g.entered
			g.opened <- struct{}{}
			checkOK(t, client)
		}
		busy.Send(post("{}")+post("{}"), "", 0, 0)
		<-g.entered
		started.Send(post("{}")[:20], "", 0, 0)
		request := post("{}")
		waiting.Send(request[:len(request)-1], "", 0, 0)
		synctest.Wait()
		began := time.Now()
		result := make(chan error)
		go func() { result <- s.fast.Shutdown(t.Context()) }()
		for name, client := range map[string]*pipetest.Client{"idle": idle, "start of a header": started} {
			_, err := client.Reader.ReadByte()
			if took := time.Since(began); err != io.EOF || took != 0 {
				t.Errorf("%s: got error %v after %v, want EOF at once", name, err, took)
			}
		}
		// A request whose header has arrived is in progress, as for net/http.
		time.Sleep(requestTimeout - time.Second)
		waiting.Send(request[len(request)-1:], "", 0, 0)
		<-g.entered
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("got error %v from Shutdown, want it to wait for the requests in progress", err)
		default:
		}
		g.opened <- struct{}{}
		g.opened <- struct{}{}
		for name, client := range map[string]*pipetest.Client{"busy": busy, "header without body": waiting} {
			resp, err := http.ReadResponse(client.Reader, nil)
			if err != nil || resp.StatusCode != 200 || !resp.Close {
				t.Fatalf("%s: got response %v and error %v, want 200 and Connection: close", name, resp, err)
			}
			if _, err := io.Copy(io.Discard, client.Reader); err != nil {
				t.Errorf("%s: got error %v after the response, want none", name, err)
			}
		}
		if err := <-result; err != nil {
			t.Errorf("got error %v from Shutdown, want none", err)
		}
		select {
		case <-g.entered:
			t.Error("got another request after Shutdown, want none")
		default:
		}
	})
}

// Shutdown closes the connections of requests that do not end in time.
func TestShutdownTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{}), make(chan struct{})}
		s := servePipes(t, g)
		busy := s.dial()
		busy.Send(post("{}"), "", 0, 0)
		<-g.entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.fast.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v from Shutdown, want %v", err, context.DeadlineExceeded)
		}
		if _, err := busy.Reader.ReadByte(); err != io.EOF {
			t.Errorf("got error %v from the connection, want EOF", err)
		}
		close(g.opened)
	})
}

// checkOK fails the test unless the client receives a response of okHandler.
func checkOK(t *testing.T, client *pipetest.Client) {
	t.Helper()
	if got, err := client.Response(); err != nil || got != "200 ok\n" {
		t.Fatalf("got response %q and error %v, want 200", got, err)
	}
}

// A connection is closed if its first request does not arrive within
// RequestTimeout, or a later one within IdleTimeout, minus an eighth.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, okHandler)
		began := time.Now()
		_, err := s.dial().Reader.ReadByte()
		if took := time.Since(began); err != io.EOF || took != requestTimeout {
			t.Errorf("without a request: got error %v after %v, want EOF after %v", err, took, requestTimeout)
		}
		client := s.dial()
		for pause := time.Duration(0); pause < idleTimeout*7/8; pause += 7 * time.Second {
			time.Sleep(pause)
			client.Send(post("{}"), "", 0, 0)
			checkOK(t, client)
		}
		began = time.Now()
		_, err = client.Reader.ReadByte()
		if took := time.Since(began); err != io.EOF || took < idleTimeout*7/8 || took > idleTimeout {
			t.Errorf("after a request: got error %v after %v, want EOF after %v or up to an eighth less", err, took, idleTimeout)
		}
	})
}

// Each response has the current date, also if an empty line arrived before its
// request.
func TestResponseDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := servePipes(t, okHandler).dial()
		for range 3 {
			client.Send(post("{}"), "", 0, 0)
			resp, err := http.ReadResponse(client.Reader, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got response %v and error %v, want 200", resp, err)
			}
			want := time.Now().UTC().Truncate(time.Second).Format(http.TimeFormat)
			if got := resp.Header.Get("Date"); got != want {
				t.Errorf("got date %q, want %q", got, want)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			must(t, err)
			time.Sleep(time.Second)
			client.Send("\r\n", "", 0, 0)
			time.Sleep(time.Second)
		}
	})
}

// A handler that panics closes its connection, and does not affect others.
func TestHandlerPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength == 1 {
				panic("test")
			}
			okHandler(w, r)
		}))
		for range 2 {
			panicking, other := s.dial(), s.dial()
			panicking.Send(post("1"), "", 0, 0)
			if got, err := panicking.Response(); err == nil {
				t.Errorf("got response %q after a panic, want a closed connection", got)
			}
			other.Send(post("{}"), "", 0, 0)
			checkOK(t, other)
			other.Close()
		}
	})
}

// A failingListener returns an error from two of three calls of Accept, as if
// there were too many open files.
type failingListener struct {
	net.Listener
	calls int
}

type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }
func (temporaryError) Timeout() bool   { return false }

func (l *failingListener) Accept() (net.Conn, error) {
	if l.calls++; l.calls%3 != 0 {
		return nil, temporaryError{errors.New("too many open files")}
	}
	return l.Listener.Accept()
}

func TestTemporaryAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipetest.NewListener()
		s := servePipesOf(t, pipes, &failingListener{Listener: pipes}, okHandler)
		for range 5 {
			client := s.dial()
			client.Send(post("{}"), "", 0, 0)
			checkOK(t, client)
		}
	})
}

// raceDetected reports whether the tests were built with the race detector.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestRequestsDoNotAllocate(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go io.Copy(io.Discard, client)
	c := connPool.Get().(*conn)
	defer c.free()
	contentType, text := []string{"application/json"}, []byte(`{"accepted":1,"filtered":0}`)
	c.conn, c.cfg = server, &testConfig
	c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = contentType
		w.WriteHeader(http.StatusAccepted)
		w.Write(text)
	})
	requests := []string{post(smallBody), post("{}")}
	n := testing.AllocsPerRun(100, func() {
		for _, request := range requests {
			c.n = copy(c.in[:], request)
			m, state := c.parse()
			if state != complete || m.header+m.length != len(request) {
				t.Fatalf("got state %v and %d+%d bytes, want a complete request of %d", state, m.header, m.length, len(request))
			}
			if !c.respond(m) || c.status != http.StatusAccepted {
				t.Errorf("got response %d %s, want 202", c.status, c.text)
			}
		}
	})
	// With the race detector, net/http's sync.Pool drops a quarter of its items.
	if n != 0 && !raceDetected() {
		t.Errorf("got %v allocations for %d requests, want 0", n, len(requests))
	}
}

// A header that differs only in its idempotency key and its length is not parsed
// again.
func TestKeyMayVary(t *testing.T) {
	c := connPool.Get().(*conn)
	defer c.free()
	client, server := net.Pipe()
	defer client.Close()
	c.cfg, c.conn = &testConfig, server
	for _, request := range []func(string) string{keyed, after} {
		if !c.setTemplate([]byte(strings.TrimSuffix(request("first"), "{}"))) {
			t.Fatal("the header does not become a template")
		}
		for _, key := range []string{"b", `"quoted"`, strings.Repeat("x", maxKeyLength)} {
			text := request(key)
			m, ok := c.matchTemplate([]byte(text))
			if !ok || string(m.key) != key || m.header != len(text)-2 || m.length != 2 {
				t.Errorf("key %s: got match %v, %+v", key, ok, m)
			}
		}
		for _, key := range []string{"", "a b", "a\tb", "\x7f", strings.Repeat("x", maxKeyLength+1)} {
			if m, ok := c.matchTemplate([]byte(request(key))); ok {
				t.Errorf("key %q: got match %+v, want none", key, m)
			}
		}
	}
}

// The limit for line breaks between requests does not depend on how they are cut
// into packets.
func TestEmptyLinesInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := servePipes(t, okHandler).dial()
		client.Send(post("{}"), "", 0, 0)
		checkOK(t, client)
		client.Send("\r\n\r\n", "", 0, 0)
		synctest.Wait()
		client.Send("\r\n"+post("{}"), "", 0, 0)
		if got, err := client.Response(); err != nil || !strings.HasPrefix(got, "400 ") {
			t.Errorf("got response %q and error %v, want 400", got, err)
		}
	})
}
