package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// What one client may take, so that none keeps the others out.
const (
	maxConnections = 2048             // at once; more wait in the kernel's backlog
	maxHeader      = 32 << 10         // of a request, in bytes
	headerTimeout  = 10 * time.Second // for a TLS handshake, and for a request's header
	idleTimeout    = 2 * time.Minute  // between the requests of a connection

	// A body has bodyTimeout for its first bodyStep bytes, and again for as
	// many more: 3 KiB/s bring a body of any size through.
	bodyTimeout = 20 * time.Second
	bodyStep    = 64 << 10

	// An answer has answerTimeout from the header or the last bodyStep on.
	answerTimeout = bodyTimeout + 10*time.Second
)

// newServer returns a server for h under these limits.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
	}
}

// extend gives the request that w answers the time for another bodyStep. An
// error means that the connection is closed, and the next read tells that too.
func extend(w http.ResponseWriter) {
	rc, now := http.NewResponseController(w), time.Now()
	rc.SetReadDeadline(now.Add(bodyTimeout))
	rc.SetWriteDeadline(now.Add(answerTimeout))
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

// A limitedConn frees its slot when it is closed.
type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite lets net/http close its side first, so that a client that still
// sends gets to read why it was refused.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
