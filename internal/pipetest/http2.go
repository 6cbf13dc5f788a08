package pipetest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ServeHTTP2 serves HTTP/2 over TLS with server, and returns a client that reaches
// the server as https://example.com. The server accepts the client's connections
// from wrap(l), where l is a Listener.
func ServeHTTP2(t testing.TB, server *http.Server, wrap func(l net.Listener) net.Listener) *http.Client {
	l := NewListener()
	ts := httptest.NewUnstartedServer(nil)
	ts.Listener.Close() // it is not used
	ts.Listener = wrap(l)
	ts.Config = server
	ts.EnableHTTP2 = true
	ts.StartTLS()
	client := ts.Client()
	client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		conn, server := net.Pipe()
		l.backlog <- server
		return conn, nil
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		ts.Close()
	})
	return client
}
