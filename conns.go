package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHTTP2 is how many connections can use HTTP/2 at once, because such a
	// connection has many streams and large buffers.
	maxHTTP2 = 64

	writeTimeout = 30 * time.Second // for a write of a response
)

// A connTable is a listener that limits the number of open connections and
// shares them fairly between client addresses.
//
// When it is full, a new connection replaces another one: the longest unused
// connection of the address with the most connections. Only connections that
// wait for a request, or for the rest of one, are replaced. So one client with
// any number of sockets, idle or with unfinished requests, cannot keep others
// out. A request that has arrived in full always gets its response.
type connTable struct {
	net.Listener
	limit int

	mu    sync.Mutex
	conns map[*limitedConn]struct{}
	http2 int // connections that use HTTP/2

	waiting atomic.Bool   // Accept waits for room
	freed   chan struct{} // holds a token when there may be room
	closed  chan struct{}
	close   func() error
}

func newConnTable(l net.Listener, limit int) *connTable {
	closed := make(chan struct{})
	return &connTable{
		Listener: l,
		limit:    limit,
		conns:    make(map[*limitedConn]struct{}),
		freed:    make(chan struct{}, 1),
		closed:   closed,
		close: sync.OnceValue(func() error {
			close(closed)
			return l.Close()
		}),
	}
}

// Accept accepts a connection and waits until the table has room for it.
func (t *connTable) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: conn, table: t, addr: addrOf(conn)}
	c.lastUsed.Store(time.Now().UnixNano())
	if t.add(c) {
		return c, nil
	}
	t.waiting.Store(true)
	defer t.waiting.Store(false)
	for !t.add(c) { // again, because a signal before waiting was set is lost
		select {
		case <-t.freed:
		case <-t.closed:
			conn.Close() // it has sent no request yet
			return nil, net.ErrClosed
		}
	}
	return c, nil
}

func (t *connTable) Close() error { return t.close() }

// add adds c if there is room, or if it can replace another connection.
func (t *connTable) add(c *limitedConn) bool {
	t.mu.Lock()
	if len(t.conns) < t.limit {
		t.conns[c] = struct{}{}
		t.mu.Unlock()
		return true
	}
	victim := t.victim(c.addr)
	for victim != nil && !victim.replace() { // it has received a request meanwhile
		victim = t.victim(c.addr)
	}
	if victim != nil {
		delete(t.conns, victim)
		t.conns[c] = struct{}{}
	}
	t.mu.Unlock()
	if victim == nil {
		return false
	}
	victim.Conn.Close() // its owner sees a failed read
	return true
}

// victim returns the connection that a new one from addr replaces, or nil if
// none can be replaced. t.mu must be held.
func (t *connTable) victim(addr netip.Addr) *limitedConn {
	counts := map[netip.Addr]int{addr: 1}
	for c := range t.conns {
		counts[c.addr]++
	}
	var victim *limitedConn
	for c := range t.conns {
		if c.state.Load() != connWaiting {
			continue
		}
		if victim == nil || counts[c.addr] > counts[victim.addr] ||
			counts[c.addr] == counts[victim.addr] && c.lastUsed.Load() < victim.lastUsed.Load() {
			victim = c
		}
	}
	return victim
}

// allowHTTP2 reports whether c may use HTTP/2.
func (t *connTable) allowHTTP2(c *limitedConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.http2 >= maxHTTP2 {
		return false
	}
	t.http2++
	c.http2 = true
	return true
}

func (t *connTable) remove(c *limitedConn) {
	t.mu.Lock()
	delete(t.conns, c)
	if c.http2 {
		t.http2--
		c.http2 = false
	}
	t.mu.Unlock()
	t.signal()
}

// signal makes a waiting Accept look for room.
func (t *connTable) signal() {
	if !t.waiting.Load() {
		return
	}
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

// addrOf returns the address of a connection's client. An IPv6 client counts by
// its /64 network, because it can choose any address in it.
func addrOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64) // fails only for more bits than the address has
		addr = prefix.Addr()
	}
	return addr
}

// A limitedConn is a connection in a connTable. It limits each write to
// writeTimeout unless a handler sets another deadline.
type limitedConn struct {
	net.Conn
	table    *connTable
	addr     netip.Addr   // of the client, as addrOf returns it
	lastUsed atomic.Int64 // last write or accept, in Unix nanoseconds
	state    atomic.Int32 // connWaiting, connBusy or connReplaced
	http2    bool         // counted in table.http2; guarded by table.mu

	refreshDeadline time.Time   // when Write must set the write deadline next
	handlerDeadline atomic.Bool // a handler or the TLS handshake set the current write deadline
}

// Write refreshes the deadline at most every writeTimeout/2. Setting it for
// each response, as http.Server.WriteTimeout does, costs more than writing a
// small response.
func (c *limitedConn) Write(p []byte) (int, error) {
	now := time.Now()
	c.lastUsed.Store(now.UnixNano())
	if now.After(c.refreshDeadline) && !c.handlerDeadline.Load() {
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
	defer c.table.remove(c)
	return c.Conn.Close()
}

// CloseWrite lets net/http half-close the connection, so that a client that is
// still sending can read the error response.
func (c *limitedConn) CloseWrite() error { return closeWrite(c.Conn) }

// The states of a limitedConn.
const (
	connWaiting  = iota // for a request, or for the rest of one
	connBusy            // with a request that has arrived in full
	connReplaced        // another connection has taken its place
)

// BeginRequest protects the connection from being replaced, because a request
// has arrived in full. It returns false if the connection has been replaced;
// then the request must not be handled. internal/fastpath calls it, too.
func (c *limitedConn) BeginRequest() bool {
	return c.state.CompareAndSwap(connWaiting, connBusy) || c.state.Load() == connBusy
}

// EndRequest ends the protection after the response.
func (c *limitedConn) EndRequest() {
	if c.state.CompareAndSwap(connBusy, connWaiting) {
		c.table.signal()
	}
}

// replace marks the connection as replaced, and reports whether it was waiting.
func (c *limitedConn) replace() bool { return c.state.CompareAndSwap(connWaiting, connReplaced) }

// unwrap returns the connection of type T that conn is or wraps.
func unwrap[T net.Conn](conn net.Conn) (found T, ok bool) {
	for {
		if found, ok = conn.(T); ok {
			return found, true
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn }) // *tls.Conn and others
		if !ok {
			return found, false
		}
		conn = wrapper.NetConn()
	}
}

// connKey is the context key of a request's *limitedConn.
type connKey struct{}

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

// beginRequest calls BeginRequest for the connection of a request that net/http
// serves. It panics with http.ErrAbortHandler if the connection has been
// replaced.
func beginRequest(r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*limitedConn)
	if ok && !c.BeginRequest() { // internal/fastpath has called it for its requests
		panic(http.ErrAbortHandler)
	}
}

// NetConn returns the underlying connection.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }
