package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of connections and requests.
const (
	maxConnections = 2048            // open at once; others wait in the kernel's backlog
	maxHeader      = 32 << 10        // of a request header, in bytes
	idleTimeout    = 2 * time.Minute // between the requests of a connection

	// A request has requestTimeout for its header and the first bodyStep bytes
	// of its body, and again for every further bodyStep bytes: 3.2 KiB/s is
	// fast enough for a body of any size. One timeout for header and body saves
	// net/http a timer for each request.
	requestTimeout = 20 * time.Second
	bodyStep       = 64 << 10

	writeTimeout = 30 * time.Second // for a write of the response
)

// newServer returns a server that applies these limits to h.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		MaxHeaderBytes: maxHeader,
		ReadTimeout:    requestTimeout,
		IdleTimeout:    idleTimeout,
	}
}

// extendReadDeadline gives the client of w another requestTimeout. It ignores an
// error, which means that the connection is closed: the next read reports that.
func extendReadDeadline(w http.ResponseWriter) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTimeout))
}

// A limitedListener has at most cap(slots) connections open.
type limitedListener struct {
	net.Listener
	slots  chan struct{} // contains one element for each open connection
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

// Accept waits for a free slot, then for a connection.
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
	return &limitedConn{Conn: conn, freeSlot: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limitedListener) Close() error { return l.close() }

// A limitedConn frees its slot when it is closed, and limits each write to
// writeTimeout unless a handler sets another deadline.
type limitedConn struct {
	net.Conn
	freeSlot        func()
	refreshDeadline time.Time   // when Write must set the write deadline next
	handlerDeadline atomic.Bool // a handler or the TLS handshake set the current write deadline
}

// Write refreshes the deadline at most every writeTimeout/2. Setting it for
// each response, as http.Server.WriteTimeout does, costs more than writing a
// small response.
func (c *limitedConn) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(c.refreshDeadline) && !c.handlerDeadline.Load() {
		c.refreshDeadline = now.Add(writeTimeout / 2)
		c.Conn.SetWriteDeadline(now.Add(writeTimeout)) // if this fails, so does the write
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline sets a deadline that replaces Write's own until it is
// cleared with a zero t. net/http clears the deadline after each response even
// if none was set; Write's own deadline then stays.
func (c *limitedConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		c.handlerDeadline.Store(true)
		return c.Conn.SetWriteDeadline(t)
	}
	if c.handlerDeadline.Swap(false) {
		c.refreshDeadline = time.Time{} // the next Write sets its own
	}
	return nil
}

func (c *limitedConn) Close() error {
	defer c.freeSlot()
	return c.Conn.Close()
}

// CloseWrite lets net/http half-close the connection, so that a client that is
// still sending can read the error response.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// A certificate is a TLS certificate and its key, which load can reread after a
// renewal. Any goroutine may use it.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// load reads the files. On error the current certificate stays in use.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read TLS certificate: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// tlsConfig returns a configuration that always uses the certificate that was
// loaded last.
func (c *certificate) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}
