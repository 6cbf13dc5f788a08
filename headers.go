package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"log-ingester/internal/httpapi"
)

// Limits of the memory that net/http uses for request headers. A parsed header
// can be many times as large as its bytes on the wire.
const (
	maxHeaderFields = 128      // of a request
	headerBudget    = 16 << 20 // in bytes, for all requests together

	// The memory of a header field besides its text, in bytes: the key, the
	// value, and its share of the map.
	fieldOverhead = 100

	// freeHeader is the memory of a header that is not reserved, in bytes. Most
	// headers fit. Together with maxConnections it limits their sum.
	freeHeader = 4 << 10

	// streamOverhead is the memory of an HTTP/2 stream besides its header, in
	// bytes: a piece of its body, whose buffer has 16 KiB, its goroutine, and the
	// response.
	streamOverhead = 32 << 10

	// trailerOverhead is the memory of the fields after the body of an HTTP/2 stream,
	// in bytes. net/http keeps them if the request announces a trailer.
	trailerOverhead = 128 << 10
)

// A headerListener limits the memory for request headers on the connections
// that net/http serves. It counts a header while it arrives, so that unfinished
// headers count, too. If the budget is exhausted, the connection gets 503.
type headerListener struct {
	net.Listener
	budget *budget

	// negotiated reports whether a connection may use HTTP/2. It is nil if none
	// may.
	negotiated func(net.Conn) bool
}

func (l *headerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &headerConn{Conn: conn, budget: l.budget, held: new(atomic.Int64), inHeader: true}
	if l.negotiated != nil {
		c.frames = newFrameGate(l.negotiated)
	}
	if limited, ok := unwrap[*limitedConn](conn); ok {
		c.held = &limited.account.headers
		limited.gate.Store(c.frames)
	}
	return c, nil
}

// A headerConn reserves the memory for the headers that it reads.
type headerConn struct {
	net.Conn
	budget *budget
	held   *atomic.Int64 // what the client of the connection holds of the budget
	frames *frameGate    // limits HTTP/2, or nil

	mu       sync.Mutex // guards the fields below
	closed   bool
	inHeader bool  // Read counts
	bytes    int64 // read of the current header
	lines    int64
	tail     []byte // the last three bytes of it
	reserved int64
}

// NetConn returns the underlying connection.
func (c *headerConn) NetConn() net.Conn { return c.Conn }

func (c *headerConn) Read(p []byte) (int, error) {
	if c.frames.active() {
		return c.frames.read(c.Conn, p)
	}
	n, err := c.Conn.Read(p)
	if c.frames != nil && c.frames.matchPreface(c.Conn, p[:n]) {
		c.parsed(0) // net/http serves HTTP/2 from now on
		return n, err
	}
	if status := c.count(p[:n]); status != 0 {
		return 0, c.refuse(status)
	}
	return n, err
}

func (c *headerConn) Write(p []byte) (int, error) {
	if c.frames.active() {
		return c.frames.write(c.Conn, p)
	}
	return c.Conn.Write(p)
}

// count counts b if it belongs to a header. It returns 0, or the status to
// refuse the request with.
func (c *headerConn) count(b []byte) (status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.inHeader || len(b) == 0 {
		return 0
	}
	if end := headerEnd(c.tail, b); end >= 0 {
		b = b[:end]
		c.inHeader = false
	}
	c.tail = append(c.tail, b[max(0, len(b)-3):]...)
	c.tail = append(c.tail[:0], c.tail[max(0, len(c.tail)-3):]...)
	c.bytes += int64(len(b))
	c.lines += int64(bytes.Count(b, []byte("\n")))
	if c.lines > maxHeaderFields+2 { // the request line and the empty line
		return http.StatusRequestHeaderFieldsTooLarge
	}
	return c.reserve(2*c.bytes + fieldOverhead*c.lines)
}

// headerEnd returns how many bytes of b belong to the header that it ends, or -1
// if it ends none. tail has up to three bytes before b.
func headerEnd(tail, b []byte) int {
	var buf [6]byte
	start := append(append(buf[:0], tail...), b[:min(3, len(b))]...)
	if i := bytes.Index(start, []byte("\r\n\r\n")); i >= 0 {
		return i + 4 - len(tail)
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// reserve changes the reservation to size bytes, of which freeHeader are free.
// It returns 0, or the status to refuse the request with. c.mu must be held.
func (c *headerConn) reserve(size int64) (status int) {
	size = max(0, size-freeHeader)
	if c.closed || size > c.reserved && !c.budget.reserve(c.held, size-c.reserved) {
		return http.StatusServiceUnavailable
	}
	if size < c.reserved {
		c.budget.release(c.held, c.reserved-size)
	}
	c.reserved = size
	return 0
}

// CloseWrite lets net/http half-close the connection, so that a client that is
// still sending can read the error response.
func (c *headerConn) CloseWrite() error { return closeWrite(c.Conn) }

// refuse sends a response with status, because net/http would close the
// connection without one. It returns an error that net/http does not respond to.
func (c *headerConn) refuse(status int) error {
	fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n",
		status, http.StatusText(status)) // a write error means that the client has disconnected
	return &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

// parsed ends a header: the reservation becomes the memory of the parsed one. It
// reports whether the budget allows it.
func (c *headerConn) parsed(size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inHeader = false
	return c.reserve(size) == 0
}

// expectHeader starts to count the next header.
func (c *headerConn) expectHeader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inHeader, c.bytes, c.lines, c.tail = true, 0, 0, c.tail[:0]
	c.reserve(0) // releasing cannot fail
}

func (c *headerConn) Close() error {
	c.mu.Lock()
	c.reserve(0) // releasing cannot fail
	c.closed = true
	c.mu.Unlock()
	return c.frames.closeWhenSent(c.Conn, c.Conn.Close)
}

// headerMemory returns the memory of the parsed header of r, in bytes, and the number
// of its fields. Each name that the field Trailer announces counts as a field.
func headerMemory(r *http.Request) (size int64, fields int) {
	size = int64(len(r.Host) + 2*len(r.RequestURI)) // the path is a copy if it has escapes
	for name, values := range r.Header {
		for _, value := range values {
			size += int64(len(name) + len(value) + fieldOverhead)
			fields++
		}
	}
	for name := range r.Trailer {
		size += int64(len(name) + fieldOverhead)
		fields++
	}
	return size, fields
}

// A chunkedBody is a request body that may have fields after its end. net/http adds
// them to the request. Nothing needs them, and no budget counts them, so Read drops them.
type chunkedBody struct {
	io.ReadCloser
	request *http.Request
}

func (b *chunkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.request.Trailer = nil
	}
	return n, err
}

// maxUnsentStream is the largest reservation of a stream, in bytes, that may be released
// before the response is sent.
const maxUnsentStream = streamOverhead + 2<<10

// headerKey is the context key of a request's *headerConn.
type headerKey struct{}

// limitHeaders refuses requests with too many header fields, and holds the
// memory of the others' headers until h returns. HTTP/2 streams reserve for
// themselves, because a connection has many. Requests of internal/fastpath have
// small headers and need no reservation.
func limitHeaders(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(headerKey{}).(*headerConn)
		if c == nil {
			h.ServeHTTP(w, r)
			return
		}
		if r.ProtoMajor >= 2 {
			growStack(0)
			c.frames.begin()
			defer c.frames.end()
		}
		size, fields := headerMemory(r)
		if fields > maxHeaderFields {
			refuseHeader(w, r, httpapi.Errorf(http.StatusRequestHeaderFieldsTooLarge,
				"the request has more than %d header fields", maxHeaderFields))
			return
		}
		if r.ProtoMajor < 2 {
			if !c.parsed(size) {
				refuseHeader(w, r, errHeaderMemory)
				return
			}
			if r.ContentLength < 0 {
				r.Trailer = nil // copies of r would share the map, to which net/http adds fields
				r.Body = &chunkedBody{r.Body, r}
			}
			h.ServeHTTP(w, r)
			return
		}
		size += streamOverhead
		if len(r.Trailer) > 0 {
			size += trailerOverhead
		}
		if !c.budget.reserve(c.held, size) {
			refuseHeader(w, r, errHeaderMemory)
			return
		}
		defer c.budget.release(c.held, size)
		serveStream(h, w, r, size)
	})
}

// growStack lets the stack of a new goroutine, which begins with about 2 KiB, grow to 8
// KiB. net/http starts a goroutine for each HTTP/2 stream. Its stack would otherwise grow
// when more functions use it, whose frames must all be adjusted then.
//
//go:noinline
func growStack(i int) byte {
	var unused [4 << 10]byte
	return unused[i]
}

// refuseHeader sends e. Over HTTP/2 it sends no body: a body waits for the flow-control
// window of the client, and the header, which is not reserved, would stay in memory.
// Over HTTP/1.1 it closes the connection, because net/http would wait for the body of
// the request before it sends the response.
func refuseHeader(w http.ResponseWriter, r *http.Request, e *httpapi.Error) {
	r.Trailer = nil // net/http keeps r for some time
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
		httpapi.WriteError(w, e)
		return
	}
	httpapi.SetRetryAfter(w, e)
	w.WriteHeader(e.Status)
}

// serveStream serves a request over HTTP/2 with h, and limits how long the response waits
// for the client. Without the limit, a client that never opens its flow-control window
// would keep the stream. size is the reservation of the stream, in bytes.
func serveStream(h http.Handler, w http.ResponseWriter, r *http.Request, size int64) {
	rc := http.NewResponseController(w)
	// Handlers of /logs set deadlines themselves. Those of POST can take longer before
	// they write, and use a streamWriter for responses that do not fit into a buffer.
	if r.Method != http.MethodPost && !strings.HasPrefix(r.URL.Path, "/logs") {
		limitWrite(rc)
	}
	h.ServeHTTP(w, r)
	limitWrite(rc)
	if size > maxUnsentStream {
		rc.Flush() // waits until the response is sent, because net/http keeps the header until then
	}
}

// limitWrite gives the client of a response writeTimeout to take what is written next.
func limitWrite(rc *http.ResponseController) {
	rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only if the stream has ended
}

// minResponseRate is how fast a client must take a long response after writeTimeout, in
// bytes per second.
const minResponseRate = 16 << 10

// newStreamWriter returns a writer of a response that is larger than the buffers of
// net/http. It limits the time that the client has for the whole response.
func newStreamWriter(w http.ResponseWriter) io.Writer {
	return &streamWriter{w, http.NewResponseController(w), time.Now().Add(writeTimeout)}
}

type streamWriter struct {
	w        io.Writer
	rc       *http.ResponseController
	deadline time.Time
}

func (s *streamWriter) Write(p []byte) (int, error) {
	s.rc.SetWriteDeadline(s.deadline) // fails only if the stream has ended
	s.deadline = s.deadline.Add(time.Duration(len(p)) * time.Second / minResponseRate)
	return s.w.Write(p)
}

var errHeaderMemory = httpapi.Errorf(http.StatusServiceUnavailable, "the memory for request headers is full")
