// Package pipetest connects HTTP clients and servers in one process by pipes.
// Unlike sockets, pipes work in the bubbles of testing/synctest, where time is
// simulated.
//
// Only tests may import this package.
package pipetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A Listener is a net.Listener that accepts the connections made with Dial.
type Listener struct {
	backlog chan net.Conn
	closed  chan struct{}
	close   func()
}

// NewListener returns a listener. Up to 100 connections can wait for Accept.
func NewListener() *Listener {
	closed := make(chan struct{})
	return &Listener{make(chan net.Conn, 100), closed, sync.OnceFunc(func() { close(closed) })}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.backlog:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.close()
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// readTimeout limits how long a client waits. Without it, a test that waits in
// vain would never end, because other timers of the bubble keep its clock running.
const readTimeout = 24 * time.Hour

// Dial connects a client, which is closed when the test ends. The client's reads
// fail after a day.
func (l *Listener) Dial(t testing.TB) *Client {
	client, server := net.Pipe()
	client.SetReadDeadline(time.Now().Add(readTimeout)) // fails only if the pipe is closed
	l.backlog <- server
	t.Cleanup(func() { client.Close() })
	return &Client{client, bufio.NewReader(client), t}
}

// A Client is the client's end of a connection.
type Client struct {
	net.Conn
	Reader *bufio.Reader // buffers what was read from Conn
	t      testing.TB
}

// Send writes head, and then body in n parts with a pause after each. It does so
// in the background, and stops if the server closes the connection.
func (c *Client) Send(head, body string, n int, pause time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.WriteString(c, head)
		for i := 0; i < n && err == nil; i++ {
			_, err = io.WriteString(c, body[len(body)*i/n:len(body)*(i+1)/n])
			time.Sleep(pause)
		}
	}()
	c.t.Cleanup(func() {
		c.Close()
		<-done
	})
}

// Response reads a response and returns its status and body, separated by a
// space.
func (c *Client) Response() (string, error) {
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, body), err
}
