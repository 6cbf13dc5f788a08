package main

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The start of an HTTP/2 connection, and the header of a frame.
// https://www.rfc-editor.org/rfc/rfc9113#section-3.4
const (
	http2Preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderSize = 9
	frameHeaders    = 1 // the type HEADERS
)

// maxStreams is how many streams an HTTP/2 connection can have at once.
const maxStreams = 64

// Limits of the memory of an HTTP/2 connection that no budget counts.
const (
	// startTimeout limits the wait for the start of a stream's handler. After it, the
	// gate assumes that net/http has refused the stream.
	startTimeout = time.Second

	// maxFramesPerWrite is how many frames are read during a write. If a client
	// does not read, net/http queues a response to each of its frames.
	maxFramesPerWrite = 256
)

// A frameGate delays the frames of an HTTP/2 connection, so that the memory for
// streams without a reservation is limited. A frame that opens a stream waits
// until the handler of the stream before it has started, and reserved the memory
// of its header. A new stream also waits while maxStreams handlers run, even if the client
// has reset their streams: net/http would keep the headers of more streams until
// one of the handlers returns.
//
// One goroutine reads, and one writes. Any goroutine may use the other methods. A
// nil gate is never active.
type frameGate struct {
	negotiated func(net.Conn) bool // reports whether a connection may use HTTP/2
	http2      atomic.Bool         // the preface has been read

	// The reading goroutine owns these fields.
	matched int    // bytes of the preface, or -1 if another protocol is used
	header  []byte // of the current frame, as far as it has been read
	payload int    // bytes that remain of the current frame

	mu         sync.Mutex
	changed    sync.Cond // signals a change of the fields below
	closed     bool
	lastStream uint32
	startedAt  time.Time // when the last stream was opened; zero after its handler has started
	handlers   int       // running
	writing    bool
	frames     int // read since the start of the current write
}

func newFrameGate(negotiated func(net.Conn) bool) *frameGate {
	g := &frameGate{negotiated: negotiated}
	g.changed.L = &g.mu
	return g
}

func (g *frameGate) active() bool { return g != nil && g.http2.Load() }

// matchPreface looks at the first bytes of the connection. It returns true when b
// ends the preface. net/http does not read beyond it at first.
func (g *frameGate) matchPreface(conn net.Conn, b []byte) bool {
	for _, c := range b {
		if g.matched < 0 {
			return false
		}
		if c != http2Preface[g.matched] {
			g.matched = -1
			return false
		}
		if g.matched++; g.matched == len(http2Preface) {
			g.matched = -1
			g.http2.Store(g.negotiated(conn))
			if !g.active() {
				conn.Close() // a client must negotiate HTTP/2, because few connections can use it
			}
			return true
		}
	}
	return false
}

// read reads from conn up to the end of a frame's header or payload.
func (g *frameGate) read(conn net.Conn, p []byte) (int, error) {
	if g.payload > 0 {
		n, err := conn.Read(p[:min(len(p), g.payload)])
		g.payload -= n
		return n, err
	}
	n, err := conn.Read(p[:min(len(p), frameHeaderSize-len(g.header))])
	g.header = append(g.header, p[:n]...)
	if len(g.header) < frameHeaderSize {
		return n, err
	}
	g.payload = int(binary.BigEndian.Uint32(g.header) >> 8)
	kind, stream := g.header[3], binary.BigEndian.Uint32(g.header[5:])&^(1<<31)
	g.header = g.header[:0]
	if !g.admit(kind, stream) {
		return 0, net.ErrClosed
	}
	return n, err
}

// admit waits until net/http may read a frame. It returns false if the connection
// is closed.
func (g *frameGate) admit(kind byte, stream uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frames++
	opens := kind == frameHeaders && stream > g.lastStream
	for !g.closed && (g.writing && g.frames > maxFramesPerWrite || opens && g.mustWait()) {
		g.changed.Wait()
	}
	if opens {
		g.lastStream = stream
		g.startedAt = time.Now()
	}
	return !g.closed
}

// mustWait reports whether a new stream must wait. If only startTimeout ends the
// wait, mustWait starts a timer that signals changed. g.mu must be held.
func (g *frameGate) mustWait() bool {
	if g.handlers >= maxStreams {
		return true
	}
	if g.startedAt.IsZero() {
		return false
	}
	rest := startTimeout - time.Since(g.startedAt)
	if rest <= 0 {
		return false
	}
	time.AfterFunc(rest, func() { g.update(func() {}) })
	return true
}

// begin records that the handler of the stream that was opened last has started.
func (g *frameGate) begin() {
	g.update(func() { g.handlers, g.startedAt = g.handlers+1, time.Time{} })
}

// end records that a handler has returned.
func (g *frameGate) end() { g.update(func() { g.handlers-- }) }

// close lets a waiting read return.
func (g *frameGate) close() { g.update(func() { g.closed = true }) }

// update changes the state and wakes the reading goroutine.
func (g *frameGate) update(change func()) {
	if g == nil {
		return
	}
	g.mu.Lock()
	change()
	g.mu.Unlock()
	g.changed.Broadcast()
}

// write writes p to conn.
func (g *frameGate) write(conn net.Conn, p []byte) (int, error) {
	g.update(func() { g.writing, g.frames = true, 0 })
	defer g.update(func() { g.writing = false })
	return conn.Write(p)
}
