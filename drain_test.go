package main

import (
	"errors"
	"net"
	"strings"
	"testing"

	"log-ingester/internal/pipetest"
)

// A shutdown does not wait for clients that send little, unless a request of
// theirs is active.
func TestDrainTakesSlow(t *testing.T) {
	table := newConnTable(pipetest.NewListener(), 10, newAccounts(nil))
	for _, c := range []struct {
		name     string
		received int
		active   int32
		slow     bool
	}{
		{"nothing received", 0, 0, true},
		{"little received", drainBytes - 1, 0, true},
		{"enough received", drainBytes, 0, false},
		{"active request", 0, 1, false},
	} {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		conn := table.newConn(server)
		if table.add(conn) != connAdded {
			t.Fatal("got no room in the table")
		}
		conn.addReceived(c.received)
		conn.addActive(c.active)
		if slow := len(table.takeSlow()) > 0; slow != c.slow {
			t.Errorf("%s: got slow %t, want %t", c.name, slow, c.slow)
		}
		conn.addActive(-c.active)
		if slow := table.takeSlow(); len(slow) != 1 {
			t.Errorf("%s, a step later: got %d slow connections, want 1", c.name, len(slow))
		}
		must(t, conn.Close())
	}
}

// If the service closes a connection while a body on it waits for a permit, the rest
// of the body is not read.
func TestReplacedConnectionEndsBody(t *testing.T) {
	for _, state := range []int32{connWaiting, connReplaced} {
		var conn limitedConn
		conn.state.Store(state)
		wire := wireReader{r: strings.NewReader("body"), left: 100, step: bodyStep, time: new(processorTime), conn: &conn}
		n, err := wire.Read(make([]byte, 100))
		if closed := errors.Is(err, net.ErrClosed); closed != (state == connReplaced) || closed && n > 0 {
			t.Errorf("state %d: got %d bytes and error %v, want ErrClosed only after the replacement", state, n, err)
		}
		if n := conn.active.Load(); n != 0 {
			t.Errorf("state %d: got %d active requests after the read, want 0", state, n)
		}
	}
}
