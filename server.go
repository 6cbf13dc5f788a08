package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Limits of connections and requests.
const (
	maxConnections    = 1024 // open at once
	maxTLSConnections = 512  // the same with TLS, which needs larger buffers

	maxHeader   = 32 << 10        // of a request header, in bytes
	idleTimeout = 2 * time.Minute // between the requests of a connection

	// A request has requestTimeout for its header and the first bodyStep bytes
	// of its body, and again for every further bodyStep bytes: 3.2 KiB/s is
	// fast enough for a body of any size. One timeout for header and body saves
	// net/http a timer for each request.
	requestTimeout = 20 * time.Second
	bodyStep       = 64 << 10
)

// The approximate memory of a connection, in bytes: its buffers, its goroutine,
// and the state of TLS. An HTTP/2 connection has more goroutines, buffers of
// frames, and a header block.
const (
	connectionSize      = 12 << 10
	tlsConnectionSize   = 32 << 10
	http2ConnectionSize = 64 << 10
)

// newServer returns a server that applies these limits to h.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		MaxHeaderBytes: maxHeader,
		ReadTimeout:    requestTimeout,
		IdleTimeout:    idleTimeout,
		ConnContext:    withConn,
		ConnState:      trackState,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 256 << 10,
			MaxReceiveBufferPerStream:     64 << 10,
		},
	}
}

// decryptedProtocols are the protocols that net/http serves on a tlsConn.
func decryptedProtocols() *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return protocols
}

// withConn is an http.Server.ConnContext.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := unwrap[*limitedConn](conn); ok {
		ctx = context.WithValue(ctx, connKey{}, c)
	}
	if c, ok := unwrap[*headerConn](conn); ok {
		ctx = context.WithValue(ctx, headerKey{}, c)
	}
	return ctx
}

// trackState is an http.Server.ConnState. net/http makes a connection idle after
// it has sent all responses.
func trackState(conn net.Conn, state http.ConnState) {
	if state != http.StateIdle {
		return
	}
	if c, ok := unwrap[*limitedConn](conn); ok {
		c.EndRequest()
	}
	if c, ok := unwrap[*headerConn](conn); ok {
		c.expectHeader()
	}
}

// extendReadDeadline gives the client of w another requestTimeout. It ignores an
// error, which means that the connection is closed: the next read reports that.
func extendReadDeadline(w http.ResponseWriter) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTimeout))
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
// loaded last. When many connections use HTTP/2, others get HTTP/1.1.
func (c *certificate) tlsConfig() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
	http1 := config.Clone()
	http1.NextProtos = []string{"http/1.1"}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		conn, ok := unwrap[*limitedConn](hello.Conn)
		if ok && slices.Contains(hello.SupportedProtos, "h2") && !conn.table.allowHTTP2(conn) {
			return http1, nil
		}
		return nil, nil
	}
	return config
}
