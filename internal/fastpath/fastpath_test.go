package fastpath

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log-ingester/internal/pipetest"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	requestTimeout = 20 * time.Second
	idleTimeout    = 2 * time.Minute
)

var testConfig = Config{Path: "/ingest", RequestTimeout: requestTimeout, IdleTimeout: idleTimeout, Log: slog.New(slog.DiscardHandler)}

var okHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })

const smallBody = `{"level":"error","msg":"a"}`

// A pipeServer serves connections within the test.
type pipeServer struct {
	t        *testing.T
	listener *pipetest.Listener
	fast     *Listener
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
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // net/http lingers before it closes
	})
	return s
}

func (s *pipeServer) dial() *pipetest.Client { return s.listener.Dial(s.t) }

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

// A fastServer serves h on a socket, with or without the fast path.
type fastServer struct {
	server  *http.Server
	address string
	others  atomic.Int64 // connections that net/http got
}

func newFastServer(t testing.TB, h http.Handler, fast bool) *fastServer {
	t.Helper()
	s := &fastServer{server: newServer(h), address: filepath.Join(t.TempDir(), "s")}
	s.server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.others.Add(1)
		}
	}
	l, err := net.Listen("unix", s.address)
	if err != nil {
		t.Fatal(err)
	}
	if fast {
		l = New(l, h, testConfig)
	}
	go s.server.Serve(l)
	t.Cleanup(func() { s.server.Close() })
	return s
}

func (s *fastServer) dial(t testing.TB) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.address, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// answers sends what a client has to say, and returns the answers. Where net/http
// ends early, it may leave something unread, and the last of them gets lost.
func (s *fastServer) answers(t testing.TB, parts ...string) []string {
	t.Helper()
	conn := s.dial(t)
	defer conn.Close()
	go func() {
		for _, part := range parts {
			io.WriteString(conn, part) // the answers tell whether it came
		}
		conn.CloseWrite()
	}()
	var all []string
	for came := bufio.NewReader(conn); ; {
		if _, err := came.Peek(1); err != nil {
			return all
		}
		resp, err := http.ReadResponse(came, nil)
		if err != nil {
			return append(all, err.Error())
		}
		body, err := io.ReadAll(resp.Body)
		if errors.Is(err, syscall.ECONNRESET) {
			err = nil
		}
		if date, dateErr := http.ParseTime(resp.Header.Get("Date")); resp.StatusCode != 400 && (dateErr != nil || time.Since(date).Abs() > time.Minute) {
			err = errors.Join(err, fmt.Errorf("the date is %q", resp.Header["Date"]))
		}
		resp.Header.Del("Date")
		resp.Header.Del("Content-Length") // of long answers net/http does not tell it
		all = append(all, fmt.Sprint(resp.Proto, resp.Status, resp.Header, resp.Close, string(body), err))
	}
}

// describe answers with all that a handler can see of a request, but the field
// of the header that has the length of the body.
func describe(w http.ResponseWriter, r *http.Request) {
	var body []byte
	var err error
	if r.ContentLength%5 != 4 { // what is not read is passed over
		body, err = io.ReadAll(r.Body)
	}
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	switch r.ContentLength % 3 {
	case 1:
		header.Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.WriteHeader(http.StatusOK) // which counts for nothing
	case 2:
		header.Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	}
	if length := strings.TrimSpace(r.Header.Get("Content-Length")); length != "" && strings.TrimLeft(length, "0") != strings.TrimLeft(strconv.FormatInt(r.ContentLength, 10), "0") {
		fmt.Fprintln(w, "not the length of the body:", length)
	}
	if r.ContentLength%7 != 6 { // or there is no body
		fmt.Fprintln(w, r.Method, r.RequestURI, r.URL, r.Proto, r.Host, r.RemoteAddr, r.ContentLength, r.TransferEncoding, r.Close, r.Trailer, r.Form, r.TLS)
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			if name != "Content-Length" {
				fmt.Fprintf(w, "%q: %q\n", name, r.Header[name])
			}
		}
		fmt.Fprintf(w, "%q %v", body, err)
	}
}

// fastPost is a request as clients send it, with more lines in its header.
func fastPost(body string, lines ...string) string {
	return fmt.Sprintf("POST /ingest HTTP/1.1\r\nHost: localhost:3002\r\nUser-Agent: curl/8\r\n%sContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%s",
		strings.Join(append(lines, ""), "\r\n"), len(body), body)
}

// fastStreams are what connections may bring, and whether net/http gets them.
var fastStreams = []struct {
	stream string
	others bool
}{
	{fastPost(smallBody), false},
	{fastPost("") + fastPost("{}") + fastPost("1") + fastPost(strings.Repeat(" ", 1000)) + fastPost(smallBody), false},
	{fastPost("{}", "X-API-Key: a") + fastPost("{}", "X-API-Key: b") + fastPost("{}") + fastPost("{}", "X-API-Key: a", "X-API-Key: c"), false},
	{strings.ReplaceAll(fastPost("{}")+fastPost("[]"), "Content-Length", "content-length"), false},
	{fastPost("{}", "Connection: Keep-Alive", "Accept: */*", "Accept-Encoding: gzip", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), false},
	{fastPost("{}", "Empty:", "Spaces:  a b  ", "lower_case: 1"), false},
	{fastPost("{}", "Tab: a\tb"), true},
	{fastPost("{}", "Folded: a\r\n b"), true},
	{fastPost("{}", "Folded: a\r\n\tb"), true},
	{fastPost("{}", "Folded: a\r\n Content-Length: 3"), true},
	{fastPost("{}", "Bare: a\rb"), true},
	{fastPost("{}", "Bare: a\rContent-Length: 3"), true},
	{strings.Replace(fastPost(strings.Repeat(" ", 100), "Latin: \xe9"), "100", " 100", 1) + fastPost("{}"), true},
	{fastPost("{}", "Content-Encoding: gzip", "Sec-Fetch-Site: cross-site", "Origin: null"), false},
	{fastPost("{}") + "\r\n" + fastPost("{}") + "\n\n" + fastPost("{}") + "\r\n\r\n" + fastPost("{}"), false},
	{fastPost("{}") + "\r\n\r\n\r\n" + fastPost("{}"), true},
	{strings.Replace(fastPost("{}"), "/ingest", "/ingest?wait=1&a=b%20c", 1) + strings.Replace(fastPost("{}"), "/ingest", "/ingest?wait=0", 1), false},
	{strings.Replace(fastPost("{}"), "/ingest", "/ingest?%zz", 1), false},
	{strings.Replace(fastPost(smallBody), "Length: 27", "Length: 0000027", 1), false},
	{fastPost(strings.Repeat("x", 7000)) + fastPost("{}"), false},
	{fastPost(strings.Repeat("x", bufferSize)) + fastPost("{}"), true},
	{fastPost("{}", "Long: "+strings.Repeat("x", bufferSize)), true},
	{fastPost("{}", "Long: "+strings.Repeat("x", maxHeaderSize-150)), false},
	{fastPost("{}", "Long: "+strings.Repeat("x", maxHeaderSize-100)), true},
	{fastPost("{}", strings.Repeat("A:\r\n", maxHeaderLines-7)+"A:"), false},
	{fastPost("{}", strings.Repeat("A:\r\n", maxHeaderLines-6)+"A:"), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length: 2\r\n ", 1), true},
	{fastPost("{}") + "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + fastPost("{}"), true},
	{fastPost("{}") + "POST /ingest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nAfter: 1\r\n\r\n" + fastPost("{}"), true},
	{fastPost("{}", "Transfer-Encoding: chunked"), true},
	{fastPost("{}", "Transfer-Encoding: identity"), true},
	{fastPost("{}", "Transfer-Encoding : chunked"), true},
	{fastPost("{}", "Expect: 100-continue"), true},
	{fastPost("{}", "Expect: something"), true},
	{fastPost("{}", "Trailer: After"), true},
	{fastPost("{}", "Connection: close") + fastPost("{}"), true},
	{fastPost("{}", "Connection: keep-alive, close") + fastPost("{}"), true},
	{fastPost("{}", "Connection: keep-alive", "Connection: close") + fastPost("{}"), true},
	{fastPost("{}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), true},
	{strings.Replace(fastPost("{}"), "1.1", "1.0", 1) + fastPost("{}"), true},
	{strings.Replace(fastPost("{}", "Connection: keep-alive"), "1.1", "1.0", 1) + fastPost("{}"), true},
	{strings.Replace(fastPost("{}"), "1.1", "2.0", 1), true},
	{strings.Replace(fastPost("{}"), "POST", "post", 1), true},
	{strings.Replace(fastPost("{}"), "POST", "PUT", 1), true},
	{strings.Replace(fastPost("{}"), "/ingest", "http://a/ingest", 1), true},
	{strings.Replace(fastPost("{}"), "/ingest", "/ingest/", 1), true},
	{strings.Replace(fastPost("{}"), "/ingest", "/ingest%2f", 1), true},
	{strings.Replace(fastPost("{}"), "/ingest", "/in%67est", 1), true},
	{strings.Replace(fastPost("{}"), "Host: localhost:3002\r\n", "", 1), true},
	{fastPost("{}", "Host: localhost:3002"), true},
	{strings.Replace(fastPost("{}"), "localhost", "local host", 1), true},
	{strings.Replace(fastPost("{}"), "localhost", "[::1]", 1), false},
	{strings.Replace(fastPost("{}"), "localhost:3002", "", 1), true},
	{strings.Replace(fastPost("{}"), "Content-Length: 2\r\n", "", 1), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length: +2", 1), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length: -2", 1), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length: 2 ", 1), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length:", 1), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length: 99999999999999999999", 1), true},
	{strings.Replace(fastPost("{}"), "Length: 2", "Length: 2\r\n 3", 1), true},
	{fastPost("{}") + strings.Replace(fastPost("{}"), "Length: 2", "Length: ", 1), true},
	{fastPost("{}") + strings.Replace(fastPost("{}"), "Length: 2", "Length: 18446744073709551618", 1), true},
	{fastPost("{}") + strings.Replace(fastPost("{}"), "application", "text", 1), false},
	{fastPost("{}") + strings.Replace(fastPost("{}"), "json\r\n", "json\r\nTransfer-Encoding: chunked\r\n", 1), true},
	{fastPost("{}") + strings.Replace(fastPost("{}"), "json\r\n", "json\r\nContent-Length: 3\r\n", 1), true},
	{fastPost("{}", "Content-Length: 2"), true},
	{fastPost("{}", "Content-Length: 3"), true},
	{fastPost("{}", "A: 1\nContent-Length: 3"), true},
	{fastPost("{}", "A: 1\n\nb: 2"), true},
	{fastPost("{}", " A: 1"), true},
	{fastPost("{}", "A B: 1"), true},
	{fastPost("{}", "A\x00: 1"), true},
	{fastPost("{}", "A: \x00"), true},
	{fastPost("{}", "nothing"), true},
	{fastPost("{}", ": 1"), true},
	{strings.ReplaceAll(fastPost("{}"), "\r\n", "\n") + fastPost("{}"), true},
	{"\r\n" + fastPost("{}"), true},
	{"POST /ing", true},
	{"POST /ingest HTTP/1.1\r\nHost: a\r\n", true},
	{fastPost("{}")[:100], true},
	{fastPost("[]") + fastPost(smallBody)[:130], true},
	{"", false},
}

func TestFastPathIsHTTP(t *testing.T) {
	fast, plain := newFastServer(t, http.HandlerFunc(describe), true), newFastServer(t, http.HandlerFunc(describe), false)
	for _, c := range fastStreams {
		before := fast.others.Load()
		sameAnswers(t, fast, plain, c.stream, 0)
		if others := fast.others.Load() > before; others != c.others {
			t.Errorf("%.300q goes to net/http: %t", c.stream, others)
		}
		// In two parts, wherever it is cut.
		for _, cut := range []int{len(c.stream) / 3, len(c.stream) * 2 / 3, max(0, len(c.stream)-1)} {
			sameAnswers(t, fast, plain, c.stream, cut)
		}
	}
}

// What a connection brought stays its own, also once net/http has it.
func TestFastPathHandsOver(t *testing.T) {
	s := newFastServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing shows
		w.Write(body)
	}), true)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for j := range 50 {
				want := strings.Repeat(strconv.Itoa(1e6*i+j), 2000)
				if got := s.answers(t, fastPost(want[:100]), fastPost(want)); len(got) != 2 || !strings.Contains(got[1], want) {
					t.Errorf("%.300q comes back as %.300q", want, got)
					return
				}
			}
		})
	}
	clients.Wait()
}

func sameAnswers(t *testing.T, fast, plain *fastServer, stream string, cut int) {
	t.Helper()
	got, want := fast.answers(t, stream[:cut], stream[cut:]), plain.answers(t, stream)
	// After an answer, net/http passes over less than four bytes before the end;
	// and its refusal is what may get lost.
	refusal := func(answer string) bool { return strings.Contains(answer, "400 Bad Request") }
	if n := min(len(got), len(want)); n > 0 && !slices.ContainsFunc(slices.Concat(got[n:], want[n:]), func(answer string) bool { return !refusal(answer) }) {
		got, want = got[:n], want[:n]
	}
	if !slices.Equal(got, want) {
		t.Errorf("%.300q cut at %d\n%.300q, net/http answers\n%.300q", stream, cut, got, want)
	}
}

func FuzzFastPath(f *testing.F) {
	for _, c := range fastStreams {
		f.Add([]byte(c.stream), uint16(len(c.stream)/2))
	}
	fast, plain := newFastServer(f, http.HandlerFunc(describe), true), newFastServer(f, http.HandlerFunc(describe), false)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		if len(stream) > 4<<10 {
			return // net/http reads no more at once
		}
		sameAnswers(t, fast, plain, string(stream), min(int(cut), len(stream)))
	})
}

// gate lets a handler wait until it is opened.
type gate struct{ entered, opened chan struct{} }

func (g gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.entered <- struct{}{}
	<-g.opened
	okHandler(w, r)
}

func TestFastPathShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{}), make(chan struct{}, 1)}
		s := servePipes(t, g)
		busy, idle, begun, headed := s.dial(), s.dial(), s.dial(), s.dial()
		for _, client := range []*pipetest.Client{idle, headed} {
			client.Send(fastPost("{}"), "", 0, 0)
			<-g.entered
			g.opened <- struct{}{}
			if answer, err := client.Response(); err != nil || answer != "200 ok\n" {
				t.Fatalf("%s %v", answer, err)
			}
		}
		busy.Send(fastPost("{}")+fastPost("{}"), "", 0, 0)
		<-g.entered
		begun.Send(fastPost("{}")[:20], "", 0, 0)
		post := fastPost("{}")
		headed.Send(post[:len(post)-1], "", 0, 0)
		synctest.Wait()
		began := time.Now()
		ended := make(chan error)
		go func() { ended <- s.fast.Shutdown(t.Context()) }()
		for _, client := range []*pipetest.Client{idle, begun} {
			if _, err := client.Reader.ReadByte(); err != io.EOF || time.Since(began) != 0 {
				t.Errorf("a connection without a request is closed with %v after %v", err, time.Since(began))
			}
		}
		// Whose header has come has a request, which net/http would wait for too.
		time.Sleep(requestTimeout - time.Second)
		headed.Send(post[len(post)-1:], "", 0, 0)
		<-g.entered
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it ends before the requests in hand: %v", err)
		default:
		}
		g.opened <- struct{}{}
		g.opened <- struct{}{}
		for _, client := range []*pipetest.Client{busy, headed} {
			resp, err := http.ReadResponse(client.Reader, nil)
			if err != nil || resp.StatusCode != 200 || !resp.Close {
				t.Fatalf("a request in hand: %v %v", resp, err)
			}
			if _, err := io.Copy(io.Discard, client.Reader); err != nil {
				t.Error(err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		select {
		case <-g.entered:
			t.Error("a request begins afterwards")
		default:
		}
	})
}

func TestFastPathIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{}), make(chan struct{})}
		s := servePipes(t, g)
		busy := s.dial()
		busy.Send(fastPost("{}"), "", 0, 0)
		<-g.entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.fast.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that does not end: %v", err)
		}
		if _, err := busy.Reader.ReadByte(); err != io.EOF {
			t.Errorf("its connection is not closed: %v", err)
		}
		close(g.opened)
	})
}

func TestFastPathIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, okHandler)
		silent := s.dial()
		began := time.Now()
		if _, err := silent.Reader.ReadByte(); err != io.EOF || time.Since(began) != requestTimeout {
			t.Errorf("a connection without any request: %v after %v", err, time.Since(began))
		}
		client := s.dial()
		for pause := time.Duration(0); pause < idleTimeout*7/8; pause += 7 * time.Second {
			time.Sleep(pause)
			client.Send(fastPost("{}"), "", 0, 0)
			if answer, err := client.Response(); err != nil || answer != "200 ok\n" {
				t.Fatalf("after %v: %s %v", pause, answer, err)
			}
		}
		began = time.Now()
		if _, err := client.Reader.ReadByte(); err != io.EOF || time.Since(began) < idleTimeout*7/8 || time.Since(began) > idleTimeout {
			t.Errorf("an idle connection: %v after %v", err, time.Since(began))
		}
	})
}

// Each answer has its own time, and empty lines may come before any request but
// the first.
func TestFastPathInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := servePipes(t, okHandler).dial()
		for range 3 {
			client.Send(fastPost("{}"), "", 0, 0)
			resp, err := http.ReadResponse(client.Reader, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			if date, err := http.ParseTime(resp.Header.Get("Date")); err != nil || !date.Equal(time.Now().Truncate(time.Second)) {
				t.Errorf("answered at %v: %v %v", time.Now(), date, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			client.Send("\r\n", "", 0, 0)
			time.Sleep(time.Second)
		}
	})
}

func TestFastPathPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength == 1 {
				panic("at the disco")
			}
			okHandler(w, r)
		}))
		for _, c := range []struct{ body, want string }{{"{}", "200 ok\n"}, {"1", ""}, {"{}", "200 ok\n"}} {
			client := s.dial()
			client.Send(fastPost(c.body), "", 0, 0)
			if answer, err := client.Response(); answer != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%s: %q %v, want %q", c.body, answer, err, c.want)
			}
			client.Close()
		}
	})
}

// A failingListener fails to accept now and then, as where there are too many
// open files.
type failingListener struct {
	net.Listener
	n int
}

type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }
func (temporaryError) Timeout() bool   { return false }

func (l *failingListener) Accept() (net.Conn, error) {
	if l.n++; l.n%3 != 0 {
		return nil, temporaryError{errors.New("too many")}
	}
	return l.Listener.Accept()
}

func TestFastPathGoesOnAccepting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipetest.NewListener()
		s := servePipesOf(t, pipes, &failingListener{Listener: pipes}, okHandler)
		for range 5 {
			client := s.dial()
			client.Send(fastPost("{}"), "", 0, 0)
			if answer, err := client.Response(); err != nil || answer != "200 ok\n" {
				t.Fatalf("%s %v", answer, err)
			}
		}
	})
}

func TestFastPathAllocatesNothing(t *testing.T) {
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
	requests := []string{fastPost(smallBody), fastPost("{}")}
	n := testing.AllocsPerRun(100, func() {
		for _, request := range requests {
			c.n = copy(c.in[:], request)
			header, length, state := c.parse()
			if state != complete || header+length != len(request) || !c.respond(header, length) || c.status != http.StatusAccepted {
				t.Errorf("state %v, %d and %d bytes: %d %s", state, header, length, c.status, c.text)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in %d requests", n, len(requests))
	}
}
