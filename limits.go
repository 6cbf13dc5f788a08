package main

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// What one client may take, so that none keeps the others out.
const (
	maxConnections = 2048            // at once; more wait in the kernel's backlog
	maxHeader      = 32 << 10        // of a request, in bytes
	idleTimeout    = 2 * time.Minute // between the requests of a connection

	// A request has requestTimeout for its header and the first bodyStep bytes of
	// its body, and again for as many more: 3 KiB/s bring any body through. One
	// timeout for both saves net/http a timer for each request.
	requestTimeout = 20 * time.Second
	bodyStep       = 64 << 10

	answerTimeout = 30 * time.Second // at most, until a write has gone out
)

// newServer returns a server for h under these limits.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		MaxHeaderBytes: maxHeader,
		ReadTimeout:    requestTimeout,
		IdleTimeout:    idleTimeout,
	}
}

// extend gives the request that w answers the time for another bodyStep. An
// error means that the connection is closed, and the next read tells that too.
func extend(w http.ResponseWriter) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTimeout))
}

// A limitedListener accepts no more connections than its slots at once.
type limitedListener struct {
	net.Listener
	slots  chan struct{} // holds one for each open connection
	closed chan struct{}
	close  func() error
}

func limitListener(l net.Listener, connections int) *limitedListener {
	closed := make(chan struct{})
	return &limitedListener{l, make(chan struct{}, connections), closed, sync.OnceValue(func() error {
		close(closed)
		return l.Close()
	})}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limitedListener) Close() error { return l.close() }

// A limitedConn frees its slot when it is closed, and gives no write longer
// than answerTimeout.
type limitedConn struct {
	net.Conn
	free   func()
	extend time.Time   // when the write deadline is due to be set anew
	others atomic.Bool // the write deadline is one that a handler or a handshake set
}

// Write moves the deadline on now and then only: setting it for each answer, as
// http.Server.WriteTimeout does, costs more than a small answer.
func (c *limitedConn) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(c.extend) && !c.others.Load() {
		c.extend = now.Add(answerTimeout / 2)
		c.Conn.SetWriteDeadline(now.Add(answerTimeout)) // a closed connection fails the write too
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline sets a deadline that counts until it is lifted. net/http
// lifts it after each answer, even where none was set: then Write's stays.
func (c *limitedConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		c.others.Store(true)
		return c.Conn.SetWriteDeadline(t)
	}
	if c.others.Swap(false) {
		c.extend = time.Time{} // the next write sets its own
	}
	return nil
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite lets net/http close its side first, so that a client that still
// sends gets to read why it was refused.
func (c *limitedConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
