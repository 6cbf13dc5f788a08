// Package fastpath serves keep-alive clients that repeat the same request
// header with short bodies, in front of net/http.
//
// For a short request, net/http spends more time on the header, a context and a
// goroutine that watches the connection than the service spends on the logs. A
// Listener parses the first header of a connection with http.ReadRequest and
// keeps its bytes. If the next header is equal byte for byte, except for the
// digits of Content-Length and the value of Idempotency-Key, all its other fields
// have the same meaning, and it is not parsed again. The same handlers run in both
// cases.
//
// # What it accepts
//
// A request is served here only if all of this holds:
//
//   - it starts with "POST " and the configured path, in origin form, and
//     http.ReadRequest accepts its header as HTTP/1.1 with that path;
//   - each line of the header ends with CRLF and otherwise consists of printable
//     ASCII, and no line starts with a space (obs-fold);
//   - the header is at most 2 KiB and 32 lines long;
//   - names of fields contain only letters, digits, '-' and '_', and the value of
//     Host contains only these and '.', ':', '[' and ']';
//   - it has exactly one Content-Length line, whose value is only digits, and
//     http.ReadRequest reads the same number from it;
//   - it has no Transfer-Encoding, Expect or Trailer field, and Connection is
//     absent or keep-alive;
//   - if the value of Idempotency-Key differs from that of the parsed header, both
//     headers have exactly one such line, whose value is 1 to 512 visible ASCII
//     characters;
//   - header and body together are at most 8 KiB, and if they arrive in parts, the
//     last part arrives at most 100 ms after the first.
//
// Everything else is handed to net/http: the connection, with all bytes that have
// not been answered, moves to the http.Server that accepts from the Listener, and
// never comes back. Connections with TLS are decrypted before. HTTP/2 starts with
// other bytes than a POST, so it is handed to net/http, too.
//
// # Why no proxy can disagree about where a request ends
//
// Request smuggling needs two parsers that find different ends for the same
// bytes. Here the end is Content-Length bytes after the first CRLF CRLF. RFC
// 9112 (sections 2.2, 5 and 6.3) gives no other reading to a header that
// satisfies the conditions above. It contains no bare CR or LF, no folded line
// and no unusual character in a name, so parsers cannot split it into different
// fields. It has one Content-Length of only digits and no Transfer-Encoding, so
// they cannot choose between two lengths. The value of Idempotency-Key has no
// meaning for the message, and contains no character that could end its line.
// Every header that leaves a choice goes to net/http, which decides as it does
// without this package.
//
// The tests compare this package with net/http on the same streams, each
// delivered in several pieces: responses must be equal, and so must the number
// of requests that were answered. FuzzFastPath does the same for arbitrary
// streams.
//
// The package must not depend on the rest of the service, except for
// internal/pollconn: it knows one path and one http.Handler.
package fastpath

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

	"log-ingester/internal/pollconn"
)

// Limits of a request; others go to net/http.
const (
	bufferSize     = 8 << 10                // of header and body, in bytes; as large as net/http's buffers of a connection
	maxHeaderSize  = 2 << 10                // in bytes; an idle connection keeps its header
	maxHeaderLines = 32                     // including the request line and the empty line
	maxKeyLength   = 512                    // of a value of Idempotency-Key that may vary, in bytes
	restTimeout    = 100 * time.Millisecond // for the rest of a request that has started to arrive
)

// Config configures a Listener.
type Config struct {
	Path           string        // of requests to serve, for example /ingest; it must need no escaping
	RequestTimeout time.Duration // for the first request of a connection
	IdleTimeout    time.Duration // between requests

	// ConnContext, if not nil, returns the context of the requests of a
	// connection, like that of http.Server.
	ConnContext func(context.Context, net.Conn) context.Context

	Log *slog.Logger // receives panics of the handler
}

// A Listener accepts connections and serves their requests as long as the fast
// path applies. An http.Server uses it as its listener: Accept returns the
// connections that net/http must serve.
type Listener struct {
	net.Listener // the source of connections
	cfg          Config
	handler      http.Handler
	handoffs     chan net.Conn // for net/http
	acceptErrs   chan error
	closed       chan struct{}
	close        func() error

	mu      sync.Mutex
	conns   map[*conn]bool // being served here
	serving sync.WaitGroup // counts conns
}

// New starts to accept connections from l. It serves requests with h, which
// must handle all paths.
func New(l net.Listener, h http.Handler, cfg Config) *Listener {
	f := &Listener{
		Listener:   l,
		cfg:        cfg,
		handler:    h,
		handoffs:   make(chan net.Conn),
		acceptErrs: make(chan error),
		closed:     make(chan struct{}),
		conns:      make(map[*conn]bool),
	}
	f.close = sync.OnceValue(f.closeListener)
	go f.acceptAll()
	return f
}

func (f *Listener) acceptAll() {
	for {
		c, err := f.Listener.Accept()
		if err == nil {
			go f.serve(c)
			continue
		}
		select {
		case f.acceptErrs <- err: // net/http waits before it calls Accept again
		case <-f.closed:
			return
		}
	}
}

// Accept returns the next connection that net/http must serve.
func (f *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-f.handoffs:
		return c, nil
	case err := <-f.acceptErrs:
		return nil, err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close stops accepting connections. The current request of each connection
// becomes its last.
func (f *Listener) Close() error { return f.close() }

func (f *Listener) closeListener() error {
	close(f.closed)
	err := f.Listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.closing.Store(true)
		c.conn.SetReadDeadline(time.Unix(1, 0)) // interrupts a pending read; fails only if the connection is closed
	}
	return err
}

// Shutdown closes f and waits for the requests in progress. If ctx ends first,
// it closes their connections and returns ctx's error.
func (f *Listener) Shutdown(ctx context.Context) error {
	f.Close() // http.Server.Shutdown has closed it before and returned its error
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
	if len(f.conns) == 0 { // the last request ended at the same time
		return nil
	}
	for c := range f.conns {
		go c.conn.Close() // waits for a handler that pollRequests calls; the returned error reports this
	}
	return ctx.Err()
}

// track registers c and reports whether f is still open.
func (f *Listener) track(c *conn) bool {
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

func (f *Listener) untrack(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	f.serving.Done()
}

// serve serves a connection until it ends or net/http takes it.
func (f *Listener) serve(nc net.Conn) {
	c := connPool.Get().(*conn)
	defer c.free()
	c.conn, c.handler, c.cfg = nc, f.handler, &f.cfg
	c.tracker, _ = nc.(requestTracker)
	c.poller = pollerOf(nc)
	if !f.track(c) {
		nc.Close() // it has sent no request yet
		return
	}
	defer f.untrack(c)
	defer func() {
		if p := recover(); p != nil {
			f.cfg.Log.Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
			nc.Close() // as net/http does
		}
	}()
	if c.serveRequests() {
		select {
		case f.handoffs <- &replayedConn{nc, bytes.Clone(c.in[:c.n])}:
			return
		case <-f.closed:
		}
	}
	nc.Close() // all responses are written, or the client has disconnected
}

// A requestTracker is a net.Conn that is informed of complete requests. If
// BeginRequest returns false, the connection was closed before the request was
// complete, and the request must not be handled.
type requestTracker interface {
	BeginRequest() bool
	EndRequest()
}

// A conn is a connection on the fast path, and the http.ResponseWriter of its
// current request. Handlers must respond before they return, must not modify
// their request, and must not send 1xx or 204 responses. Only the goroutine
// that serves the connection may use the fields, except conn and closing.
type conn struct {
	conn    net.Conn
	tracker requestTracker // conn, or nil if it is none
	poller  poller         // below conn, or nil if there is none
	handler http.Handler
	cfg     *Config
	closing atomic.Bool // the current request is the last one

	in           [bufferSize]byte
	n            int       // bytes in the buffer
	headerRead   bool      // they have a complete header
	readDeadline time.Time // the one set on conn
	answered     bool      // a response was written
	skipped      int       // bytes of line breaks skipped since then
	extended     bool      // the deadline was extended after closing

	// The template is the last header that was parsed: the bytes around the
	// digits of its Content-Length and the value of its Idempotency-Key, and the
	// parsed request.
	parts    [][]byte
	keyPart  int // index of the part before the key, or -1
	template http.Request
	key      [1]string // the value of the field Idempotency-Key in the template

	request http.Request // for the handler
	body    body

	header http.Header
	status int
	text   []byte

	out          bytes.Buffer
	lastResponse time.Time
	date         []byte // lastResponse as an HTTP date
}

var connPool = sync.Pool{New: func() any { return &conn{header: make(http.Header)} }}

// free resets c and returns it to the pool. Nothing may use c afterwards.
func (c *conn) free() {
	c.conn, c.tracker, c.poller, c.handler, c.cfg = nil, nil, nil, nil, nil
	c.n, c.headerRead, c.readDeadline = 0, false, time.Time{}
	c.answered, c.skipped, c.extended = false, 0, false
	c.date = c.date[:0]
	c.closing.Store(false)
	clear(c.parts)
	c.parts, c.key[0] = c.parts[:0], ""
	c.template, c.request = http.Request{}, http.Request{}
	connPool.Put(c)
}

// A body is a request body in memory.
type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// A parseState says what the buffer contains.
type parseState int

const (
	incomplete parseState = iota // the start of a request that may fit the fast path
	complete                     // a request
	other                        // a request for net/http
)

// An outcome says what must follow after the requests in the buffer were served.
type outcome int

const (
	readOn  outcome = iota // read more of the next request
	handOff                // net/http must handle the bytes in the buffer and the rest of the connection
	end                    // close the connection
)

// serveRequests responds to requests until the connection ends. It returns true
// if net/http must handle the bytes in the buffer and the rest of the
// connection.
func (c *conn) serveRequests() (handedOff bool) {
	c.lastResponse = time.Now()
	for {
		next := c.serveBuffered()
		if next == readOn && c.n == 0 && c.answered && c.poller != nil {
			next = c.pollRequests()
		}
		if next == readOn {
			next = c.readMore()
		}
		if next != readOn {
			return next == handOff
		}
	}
}

// serveBuffered responds to the requests in the buffer.
func (c *conn) serveBuffered() outcome {
	for {
		if c.answered {
			c.skipEmptyLines()
		}
		m, state := c.parse()
		switch state {
		case other:
			return handOff
		case incomplete:
			c.headerRead = m.header > 0
			return readOn
		}
		if !c.respond(m) {
			return end
		}
		c.answered, c.skipped = true, 0
		c.n = copy(c.in[:], c.in[m.header+m.length:c.n])
	}
}

// readMore reads into the buffer.
func (c *conn) readMore() outcome {
	c.setReadDeadline()
	// closeListener sets closing before it sets its deadline. So either this
	// check sees closing, or its deadline replaces ours and the Read fails.
	if !c.headerRead && c.closing.Load() {
		return end
	}
	n, err := c.conn.Read(c.in[c.n:])
	c.n += n
	switch {
	case err == nil:
		return readOn
	case c.closing.Load() && !c.extended:
		// Wait for the body of a request whose header has arrived, as net/http
		// does on shutdown.
		c.extended = true
		c.conn.SetReadDeadline(time.Now().Add(c.cfg.RequestTimeout)) // if this fails, so does the read
		return readOn
	case c.n > 0:
		return handOff
	}
	return end
}

// A poller is the method of *pollconn.Conn that pollRequests uses.
type poller interface {
	Poll(f func() (done bool)) error
}

// pollerOf returns the poller that nc is or wraps, or nil.
func pollerOf(nc net.Conn) poller {
	for {
		if p, ok := nc.(poller); ok {
			return p
		}
		wrapper, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = wrapper.NetConn()
	}
}

// pollTimeout is about how long pollRequests waits for a request.
const pollTimeout = 2 * time.Second

// pollRequests responds to requests as long as each arrives in full, and about
// pollTimeout after the last response at the latest. It costs less than readMore.
func (c *conn) pollRequests() outcome {
	next := readOn
	c.poller.Poll(func() (done bool) {
		for {
			n, err := c.conn.Read(c.in[:])
			if err == pollconn.ErrAgain {
				return !c.expectRequest()
			}
			if c.n = n; err != nil {
				return true
			}
			if next = c.serveBuffered(); next != readOn || c.n > 0 {
				return true
			}
		}
	}) // after an error of Read or Poll, readMore gets the same
	return next
}

// expectRequest sets the deadline for the next request. It returns false if the
// connection must be closed.
func (c *conn) expectRequest() bool {
	timeout := min(pollTimeout, c.cfg.IdleTimeout/2)
	if until := c.lastResponse.Add(timeout); until.Sub(c.readDeadline).Abs() > timeout/2 {
		c.readDeadline = until
		c.conn.SetReadDeadline(until) // if this fails, so does the wait
	}
	return !c.closing.Load() // in this order, as in readMore
}

// setReadDeadline limits the wait for the rest of a request if one has started
// to arrive, and otherwise for the next request. Setting a deadline for each
// request would cost more than reading it, so an idle connection may be closed
// up to an eighth of its timeout early.
func (c *conn) setReadDeadline() {
	until, idle := c.readDeadline, c.cfg.RequestTimeout
	if c.answered {
		idle = c.cfg.IdleTimeout
	}
	if c.n == 0 {
		if next := c.lastResponse.Add(idle); next.Sub(until) > idle/8 {
			until = next
		}
	} else if rest := time.Now().Add(restTimeout); until.After(rest) {
		until = rest
	}
	if until != c.readDeadline {
		c.readDeadline = until
		c.conn.SetReadDeadline(until) // if this fails, so does the read
	}
}

// skipEmptyLines skips the line breaks that old clients send after a body, up to
// four bytes, as net/http does.
func (c *conn) skipEmptyLines() {
	n := 0
	for n < min(4-c.skipped, c.n) && (c.in[n] == '\r' || c.in[n] == '\n') {
		n++
	}
	c.n = copy(c.in[:], c.in[n:c.n])
	c.skipped += n
}

// A match is a request whose header equals the template.
type match struct {
	header, length int    // sizes of header and body, in bytes
	key            []byte // the value of Idempotency-Key if it may vary, or nil
}

// parse looks at the buffer. The match's header is 0 as long as the header is
// incomplete.
func (c *conn) parse() (m match, state parseState) {
	in := c.in[:c.n]
	m, ok := c.matchTemplate(in)
	if !ok {
		start := "POST " + c.cfg.Path
		if n := min(len(in), len(start)); string(in[:n]) != start[:n] {
			return match{}, other
		}
		end := bytes.Index(in, []byte("\r\n\r\n"))
		switch {
		case end < 0 && c.n == len(c.in):
			return match{}, other
		case end < 0:
			return match{}, incomplete
		case !c.setTemplate(in[:end+4]):
			return match{}, other
		}
		m, _ = c.matchTemplate(in)
	}
	switch size := m.header + m.length; {
	case size > len(c.in):
		return m, other
	case size > c.n:
		return m, incomplete
	}
	return m, complete
}

// matchTemplate reports whether in starts with the template, with any
// Content-Length and any value of Idempotency-Key.
func (c *conn) matchTemplate(in []byte) (m match, ok bool) {
	i := 0
	for n, part := range c.parts {
		if !bytes.HasPrefix(in[i:], part) {
			return m, false
		}
		i += len(part)
		start := i
		switch {
		case n == len(c.parts)-1:
			m.header = i
			return m, i <= maxHeaderSize
		case n == c.keyPart:
			for i < len(in) && isVisible(in[i]) && i-start < maxKeyLength {
				i++
			}
			m.key = in[start:i]
		default:
			for ; i < len(in) && isDigit(in[i]) && m.length < bufferSize; i++ {
				m.length = 10*m.length + int(in[i]-'0')
			}
		}
		if i == start {
			return m, false
		}
	}
	return m, false
}

// setTemplate parses a header and makes it the template. It returns false if
// the header is invalid or net/http must handle it.
func (c *conn) setTemplate(header []byte) bool {
	c.parts = c.parts[:0]
	if len(header) > maxHeaderSize || bytes.Count(header, []byte("\n")) > maxHeaderLines || !isPlain(header) {
		return false
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(header), 512))
	if err != nil || r.URL.Path != c.cfg.Path || r.Proto != "HTTP/1.1" || !isToken(r.Host, ".:[]") {
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
	if !c.cutTemplate(header) {
		return false
	}
	// A chunked body has ContentLength -1, for example.
	if m, ok := c.matchTemplate(header); !ok || int64(m.length) != r.ContentLength {
		c.parts = c.parts[:0]
		return false
	}
	r.Header.Del("Content-Length") // it differs between requests; ContentLength has the number
	if c.keyPart >= 0 {
		r.Header["Idempotency-Key"] = c.key[:]
	}
	r.RemoteAddr = c.conn.RemoteAddr().String()
	r.Body = &c.body
	c.template = *r
	if c.cfg.ConnContext != nil {
		c.template = *r.WithContext(c.cfg.ConnContext(context.Background(), c.conn))
	}
	return true
}

// cutTemplate cuts a header into the parts of the template. It returns false if
// the header has not exactly one Content-Length line of digits.
func (c *conn) cutTemplate(header []byte) bool {
	lower := bytes.ToLower(header)
	length, ok := fieldValue(lower, "content-length", isDigit)
	if !ok {
		return false
	}
	key, ok := fieldValue(lower, "idempotency-key", isVisible)
	c.keyPart = -1
	cuts := []span{length}
	switch {
	case !ok || key.end-key.start > maxKeyLength: // the key may not vary
	case key.start < length.start:
		cuts, c.keyPart = []span{key, length}, 0
	default:
		cuts, c.keyPart = []span{length, key}, 1
	}
	header = bytes.Clone(header)
	start := 0
	for _, cut := range cuts {
		c.parts = append(c.parts, header[start:cut.start])
		start = cut.end
	}
	c.parts = append(c.parts, header[start:])
	return true
}

// A span is a part of a header.
type span struct{ start, end int }

// fieldValue returns where the value of the header's only line with this name
// is. ok is false if there is no such line, more than one, an empty value, or a
// byte in it that is not valid. header and name are in lower case.
func fieldValue(header []byte, name string, valid func(byte) bool) (value span, ok bool) {
	line := []byte("\r\n" + name + ":")
	i := bytes.Index(header, line)
	if i < 0 || i != bytes.LastIndex(header, line) {
		return span{}, false
	}
	i += len(line)
	for header[i] == ' ' {
		i++
	}
	value.start = i
	for valid(header[i]) {
		i++
	}
	value.end = i
	return value, i > value.start && header[i] == '\r'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isVisible reports whether c is a visible ASCII character.
func isVisible(c byte) bool { return ' ' < c && c <= '~' }

// isPlain reports whether a header consists of lines of printable ASCII that end
// with CRLF and do not start with a space. All parsers split such a header into
// the same lines, and lowercasing it preserves offsets.
func isPlain(header []byte) bool {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(header, []byte("\r\n")), []byte("\r\n")) {
		if len(line) > 0 && line[0] == ' ' {
			return false
		}
		for _, b := range line {
			if b < ' ' || b > '~' {
				return false
			}
		}
	}
	return true
}

// isToken reports whether s is non-empty and consists of ASCII letters, digits,
// '-', '_' and bytes from extra. This is stricter than an HTTP token.
// https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
func isToken(s, extra string) bool {
	for _, b := range []byte(s) {
		if !isDigit(b) && (b|0x20 < 'a' || 'z' < b|0x20) && b != '-' && b != '_' && strings.IndexByte(extra, b) < 0 {
			return false
		}
	}
	return s != ""
}

// respond calls the handler and writes its response. It returns false if the
// connection must be closed.
func (c *conn) respond(m match) bool {
	if c.tracker != nil {
		if !c.tracker.BeginRequest() {
			return false
		}
		defer c.tracker.EndRequest()
	}
	c.body.Reset(c.in[m.header : m.header+m.length])
	c.key[0] = string(m.key)
	c.request = c.template
	c.request.ContentLength = int64(m.length)
	clear(c.header)
	c.status, c.text = 0, c.text[:0]
	c.handler.ServeHTTP(c, &c.request)
	c.WriteHeader(http.StatusOK) // has no effect if the handler set a status

	last := c.closing.Load()
	if last {
		c.header.Set("Connection", "close")
	}
	now := time.Now()
	if now.Unix() != c.lastResponse.Unix() || len(c.date) == 0 {
		c.date = now.UTC().AppendFormat(c.date[:0], http.TimeFormat)
	}
	c.lastResponse = now
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
	c.header.Write(&c.out) // a bytes.Buffer returns no errors
	c.out.WriteString("\r\n")
	c.out.Write(c.text)
	_, err := c.conn.Write(c.out.Bytes()) // an error means that the client has disconnected
	return err == nil && !last
}

// Header implements http.ResponseWriter.
func (c *conn) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter. The first status counts.
func (c *conn) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

// Write implements http.ResponseWriter.
func (c *conn) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	c.text = append(c.text, p...)
	return len(p), nil
}

// A replayedConn is a net.Conn whose first reads return the bytes already
// consumed from it.
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
		c.unread = nil // frees the buffer
	}
	return n, nil
}

// NetConn returns the underlying connection.
func (c *replayedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http half-close the connection, so that a client that is
// still sending can read the error response.
func (c *replayedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
