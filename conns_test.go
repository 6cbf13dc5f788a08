package main

import (
	"errors"
	"fmt"
	"io"
	"log-ingester/internal/pipetest"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A new connection replaces the longest unused one.
func TestFullTableReplacesIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := servePipes(t, okHandler, 2)
		get := func(c *pipetest.Client) {
			t.Helper()
			c.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 0, 0)
			if got, err := c.Response(); err != nil || got != "200 ok\n" {
				t.Errorf("got response %q and error %v, want 200", got, err)
			}
			time.Sleep(time.Second)
		}
		first, second := server.dial(), server.dial()
		get(first)
		get(second)
		get(first)
		third := server.dial()
		get(third)
		if _, err := second.Reader.ReadByte(); err != io.EOF {
			t.Errorf("got error %v from the longest unused connection, want EOF", err)
		}
		get(first)
	})
}

// An unfinished request does not protect a connection from being replaced.
func TestFullTableReplacesUnfinished(t *testing.T) {
	for name, text := range map[string]string{
		"header":          "POST /ingest HTTP/1.1\r\nHost: localhost\r\n",
		"other header":    "GET / HTTP/1.1\r\nHost: localhost\r\n",
		"body":            head("/ingest", 100) + "{",
		"large body":      head("/ingest", 1<<20) + "{",
		"chunked request": "POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStalledService(t)
				server := servePipes(t, s.routes(), 1)
				unfinished := server.dial()
				unfinished.Send(text, "", 0, 0)
				time.Sleep(time.Second)
				client := server.dial()
				client.Send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 0, 0)
				if got, err := client.Response(); err != nil || got != "200 ok\n" {
					t.Errorf("got response %q and error %v, want 200", got, err)
				}
				s.startWriter()
			})
		})
	}
}

// A request that has arrived in full gets its response, however full the table
// is. The new connection waits.
func TestFullTableKeepsBusy(t *testing.T) {
	for name, header := range map[string]string{"fast path": "", "net/http": "Connection: TE\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStalledService(t)
				server := servePipes(t, s.routes(), 1)
				busy := server.dial()
				busy.Send(fmt.Sprintf("POST /ingest?wait=1 HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s",
					header, len(smallBody), smallBody), "", 0, 0)
				synctest.Wait()
				next := server.dial()
				next.Send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 0, 0)
				next.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := next.Reader.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got error %v while the other connection is busy, want %v", err, os.ErrDeadlineExceeded)
				}
				next.SetReadDeadline(time.Time{})
				s.startWriter()
				if got, err := busy.Response(); err != nil || !strings.HasPrefix(got, "200 ") {
					t.Errorf("busy connection: got response %q and error %v, want 200", got, err)
				}
				if got, err := next.Response(); err != nil || got != "200 ok\n" {
					t.Errorf("next connection: got response %q and error %v, want 200", got, err)
				}
			})
		})
	}
}

// An addressConn is a connection from an address.
type addressConn struct {
	net.Conn
	addr string
}

func (c addressConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.addr))
}

// The address with the most connections loses one, even if another address has
// an older connection. The addresses of an IPv6 network count as one.
func TestFullTableIsFair(t *testing.T) {
	for _, c := range []struct {
		name string
		open []string // addresses of the open connections, the oldest first
		new  string
		want int // index of the replaced one
	}{
		{"many of one address", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:2"}, "192.0.2.3:1", 1},
		{"new one of the same", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:2"}, "192.0.2.2:3", 1},
		{"new one makes the most", []string{"192.0.2.1:1", "192.0.2.2:1"}, "192.0.2.2:3", 1},
		{"all different", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.4:1"}, "192.0.2.3:1", 0},
		{"IPv6 network", []string{"[2001:db8::1]:1", "[2001:db8:1::1]:1", "[2001:db8:1::2]:1"}, "[2001:db8:2::1]:1", 1},
		{"IPv4 in IPv6", []string{"192.0.2.9:1", "[::ffff:192.0.2.1]:1", "192.0.2.1:2"}, "192.0.2.3:1", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := newConnTable(pipetest.NewListener(), len(c.open), newAccounts(nil))
			add := func(addr string, lastUsed int64) *limitedConn {
				client, server := net.Pipe()
				t.Cleanup(func() { client.Close() })
				conn := table.newConn(addressConn{server, addr})
				conn.lastUsed.Store(lastUsed)
				if table.add(conn) != connAdded {
					t.Fatalf("%s: got no room", addr)
				}
				return conn
			}
			var open []*limitedConn
			for i, addr := range c.open {
				open = append(open, add(addr, int64(i)))
			}
			add(c.new, int64(len(open)))
			for i, conn := range open {
				if got := conn.state.Load() == connReplaced; got != (i == c.want) {
					t.Errorf("%s replaced: got %v, want %v", c.open[i], got, i == c.want)
				}
			}
		})
	}
}

// One address cannot use all connections, even if none can be replaced.
func TestConnectionShare(t *testing.T) {
	table := newConnTable(pipetest.NewListener(), 100, newAccounts([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}))
	add := func(addr string) (*limitedConn, int) {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		c := table.newConn(addressConn{server, addr})
		return c, table.add(c)
	}
	n := 0
	c, result := add("192.0.2.1:1")
	for ; result == connAdded; c, result = add("192.0.2.1:1") {
		c.BeginRequest()
		n++
	}
	if want := 100 * shareFactor / (shareFactor + 1); result != connRefused || n < want-1 || n > want+shareFactor {
		t.Errorf("got %d connections and result %d for one address, want about %d and %d", n, result, want, connRefused)
	}
	for i := range 3 { // each counts as another address
		if _, result := add("10.0.0.1:1"); result != connAdded {
			t.Errorf("connection %d of a trusted proxy: got result %d, want %d", i, result, connAdded)
		}
	}
	if c, result := add("192.0.2.2:1"); result != connAdded || c.Close() != nil {
		t.Errorf("another address: got result %d, want %d", result, connAdded)
	}
	if n := table.accounts.get(netip.MustParseAddr("192.0.2.2")).conns; n != 0 {
		t.Errorf("got %d connections after Close, want 0", n)
	}
}

func TestHTTP2ConnectionLimit(t *testing.T) {
	table := newConnTable(pipetest.NewListener(), 2*maxHTTP2, newAccounts(nil))
	allow := func(addr string) *limitedConn {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		if c := table.newConn(addressConn{server, addr}); table.allowHTTP2(c) {
			return c
		}
		return nil
	}
	var first *limitedConn
	n := 0
	for c := allow("192.0.2.1:1"); c != nil; c = allow("192.0.2.1:1") {
		first = c
		n++
	}
	if n < maxHTTP2*3/4 || n >= maxHTTP2 {
		t.Errorf("got HTTP/2 allowed for %d connections of one address, want most of %d but not all", n, maxHTTP2)
	}
	for i := n; i <= maxHTTP2; i++ {
		if got, want := allow(fmt.Sprintf("192.0.2.2%d:1", i)) != nil, i < maxHTTP2; got != want {
			t.Errorf("connection %d, of another address: got allowed %v, want %v", i, got, want)
		}
	}
	must(t, first.Close())
	must(t, first.Close()) // has no effect
	for i, want := range []bool{true, false} {
		if got := allow(fmt.Sprintf("192.0.2.10%d:1", i)) != nil; got != want {
			t.Errorf("connection %d after one is closed: got allowed %v, want %v", i, got, want)
		}
	}
}

// Accept returns when the listener is closed, even if it waits for room.
func TestFullTableCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipetest.NewListener()
		table := newConnTable(pipes, 0, newAccounts(nil))
		client := pipes.Dial(t)
		result := make(chan error)
		go func() {
			_, err := table.Accept()
			result <- err
		}()
		synctest.Wait()
		must(t, errors.Join(table.Close(), table.Close()))
		if err := <-result; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got error %v from Accept, want %v", err, net.ErrClosed)
		}
		if _, err := client.Reader.ReadByte(); err != io.EOF {
			t.Errorf("got error %v from the waiting connection, want EOF", err)
		}
	})
}
