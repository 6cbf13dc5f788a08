package main

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// What the fast path takes of a request, before it leaves it to net/http.
const (
	fastStart    = "POST /ingest"
	fastRoom     = 8 << 10                // bytes, as many as net/http has for a connection
	fastHeader   = 2 << 10                // bytes of its header, which is kept while the connection is idle
	fastLines    = 32                     // of its header
	fastPatience = 100 * time.Millisecond // for the rest of it to come
)

// A fastPath answers clients that send short bodies of logs one after the other
// on a plain connection, always under the same header: what net/http does anew
// for each takes longer than taking in its logs. The first header is read by
// net/http's parser. One that has the same bytes, but for the digits of its
// Content-Length, means the same and is not parsed again. The handler is the one
// that net/http calls; of the header, it does not see the Content-Length.
//
// With the first request that is anything else, the connection goes to net/http
// with all that is not answered yet, and stays there: a fastPath is the listener
// of an http.Server, and these are the connections that it accepts.
type fastPath struct {
	net.Listener // where connections come from
	handler      http.Handler
	log          *slog.Logger
	others       chan net.Conn // for net/http
	failed       chan error    // of accepting
	closed       chan struct{}
	close        func() error

	mu      sync.Mutex
	conns   map[*fastConn]bool // that are served
	serving sync.WaitGroup     // until there are none, once it is closed
}

// newFastPath begins to accept connections.
func newFastPath(l net.Listener, h http.Handler, log *slog.Logger) *fastPath {
	f := &fastPath{
		Listener: l,
		handler:  h,
		log:      log,
		others:   make(chan net.Conn),
		failed:   make(chan error),
		closed:   make(chan struct{}),
		conns:    make(map[*fastConn]bool),
	}
	f.close = sync.OnceValue(f.end)
	go f.accept()
	return f
}

func (f *fastPath) accept() {
	for {
		conn, err := f.Listener.Accept()
		if err == nil {
			go f.serve(conn)
			continue
		}
		select {
		case f.failed <- err: // which net/http sleeps on before it asks again
		case <-f.closed:
			return
		}
	}
}

// Accept returns the next connection that is for net/http.
func (f *fastPath) Accept() (net.Conn, error) {
	select {
	case conn := <-f.others:
		return conn, nil
	case err := <-f.failed:
		return nil, err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close accepts no more, and lets the requests in hand be the last of their
// connections.
func (f *fastPath) Close() error { return f.close() }

func (f *fastPath) end() error {
	close(f.closed)
	err := f.Listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.ending.Store(true)
		c.conn.SetReadDeadline(time.Unix(1, 0)) // a closed connection waits for nothing
	}
	return err
}

// shutdown closes f and waits for the requests in hand. When ctx ends first, it
// cuts them off and returns why.
func (f *fastPath) shutdown(ctx context.Context) error {
	f.Close() // net/http has closed it before, and told of an error
	served := make(chan struct{})
	go func() {
		defer close(served)
		f.serving.Wait()
	}()
	select {
	case <-served:
		return nil
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.conns) == 0 { // at the same time
		return nil
	}
	for c := range f.conns {
		c.conn.Close() // that it was cut off is told by the context
	}
	return ctx.Err()
}

// track counts c, unless f is closed.
func (f *fastPath) track(c *fastConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return false
	default:
	}
	f.conns[c] = true
	f.serving.Add(1)
	return true
}

func (f *fastPath) forget(c *fastConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	f.serving.Done()
}

// serve answers what a connection brings, until it ends or is for net/http.
func (f *fastPath) serve(conn net.Conn) {
	c := fastConns.Get().(*fastConn)
	defer c.release()
	c.conn, c.handler = conn, f.handler
	if !f.track(c) {
		conn.Close() // before its first request
		return
	}
	defer f.forget(c)
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("a request panicked", "panic", p, "stack", string(debug.Stack()))
			conn.Close() // net/http does the same
		}
	}()
	if c.answerAll() {
		select {
		case f.others <- &replayedConn{conn, bytes.Clone(c.in[:c.n])}:
			return
		case <-f.closed:
		}
	}
	conn.Close() // to a client that has its answers, or has gone
}

// A fastConn is a connection on the fast path, and the http.ResponseWriter of
// the request at hand, for handlers that answer at once, leave their request as
// it is, and have no need of 1xx or 204. It belongs to the goroutine that serves
// it, but for ending.
type fastConn struct {
	conn    net.Conn
	handler http.Handler
	ending  atomic.Bool // the request at hand is the last

	in       [fastRoom]byte
	n        int       // how much of it is filled
	deadline time.Time // for more of it

	// The last header, around the digits of its Content-Length, and what it means.
	before, after []byte
	meaning       http.Request

	request http.Request // as its handler has it
	body    fastBody

	header http.Header
	status int
	text   []byte

	out  bytes.Buffer
	at   time.Time // of the last answer
	date []byte    // the same, as HTTP writes it
}

var fastConns = sync.Pool{New: func() any { return &fastConn{header: make(http.Header)} }}

// release gives back c, which nobody knows any more.
func (c *fastConn) release() {
	c.conn, c.handler = nil, nil
	c.n, c.deadline = 0, time.Time{}
	c.date = c.date[:0]
	c.ending.Store(false)
	c.before, c.after = c.before[:0], c.after[:0]
	c.meaning, c.request = http.Request{}, http.Request{}
	fastConns.Put(c)
}

// A fastBody is the body of a request in memory.
type fastBody struct{ bytes.Reader }

func (*fastBody) Close() error { return nil }

// answerAll answers requests until the connection ends, or returns true: what
// there is of the next one is for net/http.
func (c *fastConn) answerAll() bool {
	c.at = time.Now()
	answered, woken := false, false
	for {
		if answered {
			c.skipEmptyLines()
		}
		header, body := c.next()
		size := header + body
		if header < 0 || size > len(c.in) || header == 0 && c.n == len(c.in) {
			return true
		}
		if header > 0 && size <= c.n {
			if !c.answer(header, body) {
				return false
			}
			c.n = copy(c.in[:], c.in[size:c.n])
			answered = true
			continue
		}
		c.setDeadline(answered)
		// Whoever says that c is ending sets a deadline then, after the one above.
		if header == 0 && c.ending.Load() {
			return false
		}
		n, err := c.conn.Read(c.in[c.n:])
		c.n += n
		if err != nil && c.ending.Load() && !woken {
			// The rest of a request whose header has come is waited for, as net/http does.
			woken = true
			c.conn.SetReadDeadline(time.Now().Add(requestTimeout)) // a closed connection fails the read
			continue
		}
		if err != nil {
			return c.n > 0
		}
	}
}

// setDeadline bounds the wait for the rest of a request or, where nothing of one
// has come, for the next or the first one. Setting it for each would take longer
// than reading them: an idle connection may wait an eighth less.
func (c *fastConn) setDeadline(answered bool) {
	until, idle := c.deadline, requestTimeout
	if answered {
		idle = idleTimeout
	}
	if c.n == 0 {
		if next := c.at.Add(idle); next.Sub(until) > idle/8 {
			until = next
		}
	} else if rest := time.Now().Add(fastPatience); until.After(rest) {
		until = rest
	}
	if until != c.deadline {
		c.deadline = until
		c.conn.SetReadDeadline(until) // a closed connection fails the read
	}
}

// skipEmptyLines passes over what old clients send after the body of a POST, and
// net/http allows.
func (c *fastConn) skipEmptyLines() {
	n := 0
	for n < min(4, c.n) && (c.in[n] == '\r' || c.in[n] == '\n') {
		n++
	}
	c.n = copy(c.in[:], c.in[n:c.n])
}

// next returns how many bytes the header and the body of the next request have:
// no header as long as it is not there, less than none where it is for net/http.
func (c *fastConn) next() (header, body int) {
	in := c.in[:c.n]
	if header, body, ok := c.again(in); ok {
		return header, body
	}
	if n := min(len(in), len(fastStart)); string(in[:n]) != fastStart[:n] {
		return -1, 0
	}
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0
	}
	if !c.learn(in[:end+4]) {
		return -1, 0
	}
	header, body, _ = c.again(in)
	return header, body
}

// again reports whether in begins with the last header again, and returns how
// many bytes it and its body have.
func (c *fastConn) again(in []byte) (header, body int, ok bool) {
	if len(c.before) == 0 || !bytes.HasPrefix(in, c.before) {
		return 0, 0, false
	}
	i := len(c.before)
	for ; i < len(in) && isDigit(in[i]) && body < fastRoom; i++ {
		body = 10*body + int(in[i]-'0')
	}
	if i == len(c.before) || !bytes.HasPrefix(in[i:], c.after) {
		return 0, 0, false
	}
	return i + len(c.after), body, true
}

// learn parses a header. It returns false where that is wrong, or asks for more
// than an answer.
func (c *fastConn) learn(header []byte) bool {
	c.before, c.after = c.before[:0], c.after[:0]
	// Where it ends is certain with these ends of lines alone, and lower case has
	// the same length in ASCII alone.
	lines := bytes.Count(header, []byte("\r\n"))
	if len(header) > fastHeader || lines > fastLines || lines != bytes.Count(header, []byte("\n")) || !isASCII(header) {
		return false
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(header), 512))
	if err != nil || r.URL.Path != "/ingest" || r.Proto != "HTTP/1.1" || !isToken(r.Host, ".:[]") {
		return false
	}
	for name, values := range r.Header {
		switch {
		case !isToken(name, ""), name == "Expect", name == "Trailer":
			return false
		case name == "Connection" && !strings.EqualFold(strings.Join(values, ","), "keep-alive"):
			return false
		}
	}
	const name = "\r\ncontent-length:"
	lower := bytes.ToLower(header)
	i := bytes.Index(lower, []byte(name))
	if i < 0 || i != bytes.LastIndex(lower, []byte(name)) {
		return false
	}
	i += len(name)
	for header[i] == ' ' {
		i++
	}
	digits := i
	for isDigit(header[i]) {
		i++
	}
	if i == digits || header[i] != '\r' {
		return false
	}
	c.before = append(c.before, header[:digits]...)
	c.after = append(c.after, header[i:]...)
	// That of chunks, for one, is not known.
	if _, body, _ := c.again(header); int64(body) != r.ContentLength {
		return false
	}
	r.Header.Del("Content-Length") // the next one may have another
	r.RemoteAddr = c.conn.RemoteAddr().String()
	r.Body = &c.body
	c.meaning = *r
	return true
}

func isASCII(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf })
}

// isToken reports whether s has letters and digits of ASCII, '-' and '_' alone,
// or one of others: less than a name in HTTP may have.
func isToken(s, others string) bool {
	for _, b := range []byte(s) {
		if !isDigit(b) && (b|0x20 < 'a' || 'z' < b|0x20) && b != '-' && b != '_' && strings.IndexByte(others, b) < 0 {
			return false
		}
	}
	return s != ""
}

// answer answers a request, and returns false if that was the last.
func (c *fastConn) answer(header, body int) bool {
	c.body.Reset(c.in[header : header+body])
	c.request = c.meaning
	c.request.ContentLength = int64(body)
	clear(c.header)
	c.status, c.text = 0, c.text[:0]
	c.handler.ServeHTTP(c, &c.request)
	c.WriteHeader(http.StatusOK) // unless the handler did

	last := c.ending.Load()
	if last {
		c.header.Set("Connection", "close")
	}
	now := time.Now()
	if now.Unix() != c.at.Unix() || len(c.date) == 0 {
		c.date = now.UTC().AppendFormat(c.date[:0], http.TimeFormat)
	}
	c.at = now
	c.out.Reset()
	c.out.WriteString("HTTP/1.1 ")
	c.out.Write(strconv.AppendInt(c.out.AvailableBuffer(), int64(c.status), 10))
	c.out.WriteString(" ")
	c.out.WriteString(http.StatusText(c.status))
	c.out.WriteString("\r\nDate: ")
	c.out.Write(c.date)
	c.out.WriteString("\r\nContent-Length: ")
	c.out.Write(strconv.AppendInt(c.out.AvailableBuffer(), int64(len(c.text)), 10))
	c.out.WriteString("\r\n")
	c.header.Write(&c.out) // which never fails
	c.out.WriteString("\r\n")
	c.out.Write(c.text)
	_, err := c.conn.Write(c.out.Bytes()) // an error means that the client has gone
	return err == nil && !last
}

func (c *fastConn) Header() http.Header { return c.header }

func (c *fastConn) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *fastConn) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	c.text = append(c.text, p...)
	return len(p), nil
}

// A replayedConn brings once more what was read of it.
type replayedConn struct {
	net.Conn
	unread []byte
}

func (c *replayedConn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil // with what it is part of
	}
	return n, nil
}

// CloseWrite is for net/http, as that of a limitedConn is.
func (c *replayedConn) CloseWrite() error { return closeWrite(c.Conn) }
