package pipetest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ServeHTTP2 serves HTTP/2 over TLS with server, on the connections of l that
// wrap accepts, and returns a client whose host is https://example.com.
func ServeHTTP2(t testing.TB, server *http.Server, wrap func(net.Listener) net.Listener) *http.Client {
	l := NewListener()
	ts := httptest.NewUnstartedServer(nil)
	ts.Listener.Close()
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
