package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
)

// A tlsListener accepts TLS connections. http.Server must not decrypt them
// itself, because then no code between TLS and net/http could limit the memory
// for headers and HTTP/2 streams.
type tlsListener struct {
	net.Listener
	config *tls.Config
	log    *slog.Logger
}

func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: tls.Server(conn, l.config), log: l.log}, nil
}

// A tlsConn is a TLS connection whose first Read performs the handshake. It hides
// the methods of *tls.Conn from net/http, which serves HTTP/2 on it like on an
// unencrypted connection. Only one goroutine may read.
type tlsConn struct {
	net.Conn // a *tls.Conn
	log      *slog.Logger
	ready    bool // the handshake is complete
}

// NetConn returns the underlying *tls.Conn.
func (c *tlsConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http half-close the connection.
func (c *tlsConn) CloseWrite() error { return closeWrite(c.Conn) }

// BeginRequest and EndRequest protect the connection from being replaced during a
// request, for internal/fastpath.
func (c *tlsConn) BeginRequest() bool {
	limited, ok := unwrap[*limitedConn](c.Conn)
	return !ok || limited.BeginRequest()
}

func (c *tlsConn) EndRequest() {
	if limited, ok := unwrap[*limitedConn](c.Conn); ok {
		limited.EndRequest()
	}
}

func (c *tlsConn) Read(p []byte) (int, error) {
	if !c.ready {
		if err := c.handshake(); err != nil {
			c.log.Warn("TLS handshake failed", "client", c.RemoteAddr().String(), "err", err)
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: err} // net/http does not respond to it
		}
		c.ready = true
	}
	return c.Conn.Read(p)
}

// handshake performs the handshake. The reader has set a deadline, which applies to
// the handshake and the first request together.
func (c *tlsConn) handshake() error {
	err := c.Conn.(*tls.Conn).HandshakeContext(context.Background())
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil && startsLikeHTTP(plain.RecordHeader) {
		// A write error means that the client has disconnected.
		io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nthis port requires https\n")
	}
	return err
}

// startsLikeHTTP reports whether the first bytes of a connection are the start of
// an unencrypted request.
func startsLikeHTTP(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// negotiatedHTTP2 reports whether conn wraps a TLS connection whose handshake
// selected HTTP/2.
func negotiatedHTTP2(conn net.Conn) bool {
	c, ok := unwrap[*tls.Conn](conn)
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}
