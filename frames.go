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

	// Types of frames.
	frameHeaders   = 1
	frameRSTStream = 3
)

// maxStreams is how many streams an HTTP/2 connection can have at once.
const maxStreams = 64

// Limits of the memory of an HTTP/2 connection that no budget counts.
const (
	// startTimeout limits the wait for the start of a stream's handler. After it, the
	// gate assumes that net/http ignores the stream.
	startTimeout = time.Second

	// maxFramesPerWrite is how many frames are read during a write. If a client
	// does not read, net/http queues a response to each of its frames.
	maxFramesPerWrite = 256
)

// A frameGate delays the frames of an HTTP/2 connection, so that the memory for
// streams without a reservation is limited. A frame that opens a stream waits
// until the handler of the stream before it has started, and reserved the memory
// of its header, or net/http has refused that stream. While maxStreams handlers
// run, net/http starts no other, even if the client has reset their streams. One
// more stream can then wait for its handler.
//
// One goroutine reads, and one writes. Any goroutine may use the other methods. A
// nil gate is never active.
type frameGate struct {
	negotiated func(net.Conn) bool // reports whether a connection may use HTTP/2
	http2      atomic.Bool         // the preface has been read

	// The reading goroutine owns these fields.
	matched  int // bytes of the preface, or -1 if another protocol is used
	incoming frameScanner

	outgoing frameScanner // the writing goroutine owns it

	mu         sync.Mutex
	changed    sync.Cond // signals a change of the fields below
	closed     bool
	lastStream uint32
	openedAt   time.Time // of the last stream; zero after its handler has started or it was refused
	timed      bool      // a timer will signal changed
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

// A frameScanner finds the frames in one direction of a connection.
type frameScanner struct {
	header  []byte // of the current frame, as far as it has been scanned
	payload int    // bytes that remain of the current frame
}

// missing returns how many bytes remain of the current header or payload.
func (s *frameScanner) missing() int {
	if s.payload > 0 {
		return s.payload
	}
	return frameHeaderSize - len(s.header)
}

// scan scans the next bytes, and calls found at the end of each frame header.
func (s *frameScanner) scan(b []byte, found func(kind byte, stream uint32)) {
	for len(b) > 0 {
		n := min(len(b), s.missing())
		if s.payload > 0 {
			s.payload -= n
		} else if s.header = append(s.header, b[:n]...); len(s.header) == frameHeaderSize {
			s.payload = int(binary.BigEndian.Uint32(s.header) >> 8)
			kind, stream := s.header[3], binary.BigEndian.Uint32(s.header[5:])&^(1<<31)
			s.header = s.header[:0]
			found(kind, stream)
		}
		b = b[n:]
	}
}

// read reads from conn up to the end of a frame's header or payload.
func (g *frameGate) read(conn net.Conn, p []byte) (int, error) {
	n, err := conn.Read(p[:min(len(p), g.incoming.missing())])
	admitted := true
	g.incoming.scan(p[:n], func(kind byte, stream uint32) { admitted = g.admit(kind, stream) })
	if !admitted {
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
		g.openedAt = time.Now()
	}
	return !g.closed
}

// mustWait reports whether a new stream must wait. If startTimeout may end the
// wait, mustWait starts a timer that signals changed. g.mu must be held.
func (g *frameGate) mustWait() bool {
	if g.openedAt.IsZero() {
		return false
	}
	if g.handlers >= maxStreams {
		return true // net/http starts the next handler when one returns
	}
	rest := startTimeout - time.Since(g.openedAt)
	if rest <= 0 {
		return false
	}
	if !g.timed { // else each change during the wait would start another timer
		g.timed = true
		time.AfterFunc(rest, func() { g.update(func() { g.timed = false }) })
	}
	return true
}

// begin records that the handler of the stream that was opened last has started.
func (g *frameGate) begin() {
	g.update(func() { g.handlers, g.openedAt = g.handlers+1, time.Time{} })
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
	n, err := conn.Write(p)
	g.outgoing.scan(p[:n], g.wrote)
	return n, err
}

// wrote records a frame that was written. net/http refuses a stream by resetting
// it, or with a response of its own, for example if the client does not know
// maxStreams yet.
func (g *frameGate) wrote(kind byte, stream uint32) {
	if kind != frameRSTStream && kind != frameHeaders {
		return
	}
	g.update(func() {
		if stream == g.lastStream {
			g.openedAt = time.Time{}
		}
	})
}
