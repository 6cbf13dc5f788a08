package logread

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	writeTimeout = 10 * time.Second // for each write of at most partSize

	// A client may spend slowGrace in total, and in addition the time that its
	// response takes at minRate, in bytes per second.
	slowGrace = 30 * time.Second
	minRate   = 16 << 10

	stopTimeout = time.Second // for pending writes after a shutdown began
)

// errSlowClient is the error of a response that its client takes too slowly.
var errSlowClient = errors.New("client reads the response too slowly")

// A clientWriter writes a response with deadlines. Its methods other than stop
// belong to the goroutine that handles the request.
type clientWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	endless bool          // minRate does not apply
	sent    int64         // bytes
	spent   time.Duration // in writes

	mu      sync.Mutex // guards the write deadline
	stopped bool       // the deadline must not change any more
}

func newClientWriter(w http.ResponseWriter) *clientWriter {
	return &clientWriter{w: w, rc: http.NewResponseController(w)}
}

// Write writes p. The deadline of the last write stays set.
func (c *clientWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var written int
		written, err = c.writePart(p[:min(len(p), partSize)])
		n += written
		p = p[written:]
	}
	return n, err
}

func (c *clientWriter) writePart(p []byte) (n int, err error) {
	timeout := writeTimeout
	if !c.endless {
		atMinRate := time.Duration(c.sent+int64(len(p))) * time.Second / minRate
		timeout = min(timeout, slowGrace+atMinRate-c.spent)
	}
	if timeout <= 0 {
		return 0, errSlowClient
	}
	start := time.Now()
	c.setDeadline(start.Add(timeout))
	n, err = c.w.Write(p)
	c.spent += time.Since(start)
	c.sent += int64(n)
	return n, err
}

// flush sends what the server has buffered.
func (c *clientWriter) flush() error { return c.rc.Flush() }

// clearDeadline removes the deadline until the next write: HTTP/2 resets a stream
// at its deadline, even if nothing is being written.
func (c *clientWriter) clearDeadline() { c.setDeadline(time.Time{}) }

func (c *clientWriter) setDeadline(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		_ = c.rc.SetWriteDeadline(at) // not supported by every ResponseWriter
	}
}

// stop gives pending writes one more second, so that a slow client cannot delay
// shutdown. Any goroutine may call it.
func (c *clientWriter) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.stopped = true
		_ = c.rc.SetWriteDeadline(time.Now().Add(stopTimeout)) // not supported by every ResponseWriter
	}
}

// finish makes stop have no effect. It must be called before the handler returns: in
// HTTP/2 the stream then no longer exists.
func (c *clientWriter) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}
