package main

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"log-ingester/internal/pollconn"
)

const (
	// maxHTTP2 is how many connections can use HTTP/2 at once, because such a
	// connection has many streams and large buffers.
	maxHTTP2 = 32

	writeTimeout = 30 * time.Second // for a write of a response
)

// A connTable is a listener that limits the number of open connections and
// shares them fairly between client addresses.
//
// An address can have shareFactor times as many connections as remain free, as in
// a budget. A further one replaces the longest unused connection of its address.
// When the table is full, a new connection replaces the longest unused connection
// of the address with the most connections. Only connections that wait for a
// request, or for the rest of one, are replaced. So one client with any number of
// sockets, idle or with unfinished requests, cannot keep others out. A request
// that has arrived in full always gets its response.
//
// Each connection of a trusted proxy counts as an address of its own, because it
// carries requests of many clients.
type connTable struct {
	net.Listener
	limit    int
	accounts *accounts

	mu    sync.Mutex
	conns map[*limitedConn]struct{}
	http2 int // connections that use HTTP/2

	waiting atomic.Bool   // Accept waits for room
	freed   chan struct{} // holds a token when there may be room
	closed  chan struct{}
	close   func() error
}

func newConnTable(l net.Listener, limit int, as *accounts) *connTable {
	closed := make(chan struct{})
	return &connTable{
		Listener: l,
		limit:    limit,
		accounts: as,
		conns:    make(map[*limitedConn]struct{}),
		freed:    make(chan struct{}, 1),
		closed:   closed,
		close: sync.OnceValue(func() error {
			close(closed)
			return l.Close()
		}),
	}
}

// Accept accepts a connection and waits until the table has room for it. It
// closes connections of addresses whose share is in use.
func (t *connTable) Accept() (net.Conn, error) {
	for {
		conn, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := t.newConn(conn)
		switch t.add(c) {
		case connAdded:
			return c, nil
		case connRefused:
			c.Close() // it has sent no request yet
			continue
		}
		return t.await(c)
	}
}

// newConn returns a connection that is not yet in the table.
func (t *connTable) newConn(conn net.Conn) *limitedConn {
	c := &limitedConn{Conn: pollconn.New(conn), table: t}
	c.lastUsed.Store(time.Now().UnixNano())
	peer := peerOf(conn)
	if c.trusted = t.accounts.isTrusted(peer); c.trusted {
		c.account = &account{accounts: t.accounts}
		c.account.refs.Add(1)
	} else {
		c.account = t.accounts.get(peer)
	}
	return c
}

// await waits until the table has room for c.
func (t *connTable) await(c *limitedConn) (net.Conn, error) {
	t.waiting.Store(true)
	defer t.waiting.Store(false)
	for t.add(c) != connAdded { // again, because a signal before waiting was set is lost
		select {
		case <-t.freed:
		case <-t.closed:
			c.Close() // it has sent no request yet
			return nil, net.ErrClosed
		}
	}
	return c, nil
}

func (t *connTable) Close() error { return t.close() }

// The results of connTable.add.
const (
	connAdded = iota
	connRefused
	connMustWait
)

// add adds c if there is room, or if it can replace another connection.
func (t *connTable) add(c *limitedConn) (result int) {
	t.mu.Lock()
	free := t.limit - len(t.conns) - 1
	full := free < 0
	if !full && inShare(int64(c.account.conns+1), int64(free)) {
		t.insert(c)
		t.mu.Unlock()
		return connAdded
	}
	victim := t.victim(c.account, !full)
	for victim != nil && !victim.replace() { // it has received a request meanwhile
		victim = t.victim(c.account, !full)
	}
	if victim != nil {
		t.delete(victim)
		t.insert(c)
	}
	t.mu.Unlock()
	switch {
	case victim != nil:
		victim.abort()
		return connAdded
	case full:
		return connMustWait
	}
	return connRefused
}

// insert adds c. t.mu must be held.
func (t *connTable) insert(c *limitedConn) {
	t.conns[c] = struct{}{}
	c.account.conns++
}

// delete removes c, if it is in the table. t.mu must be held.
func (t *connTable) delete(c *limitedConn) {
	if _, found := t.conns[c]; found {
		delete(t.conns, c)
		c.account.conns--
	}
}

// maxCandidates is how many connections victim compares. If a client has a large
// part of all connections, some of its connections are among them.
const maxCandidates = 32

// victim returns the connection that a new one of a client replaces, or nil if
// none can be replaced. With own, it must be one of the same client. t.mu must be
// held.
func (t *connTable) victim(newcomer *account, own bool) *limitedConn {
	newcomer.conns++
	defer func() { newcomer.conns-- }()
	var victim *limitedConn
	candidates := 0
	for c := range t.conns { // in random order
		if candidates == maxCandidates {
			break
		}
		if c.state.Load() != connWaiting || own && c.account != newcomer {
			continue
		}
		candidates++
		if victim == nil || c.account.conns > victim.account.conns ||
			c.account.conns == victim.account.conns && c.lastUsed.Load() < victim.lastUsed.Load() {
			victim = c
		}
	}
	return victim
}

// allowHTTP2 reports whether c may use HTTP/2.
func (t *connTable) allowHTTP2(c *limitedConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if free := maxHTTP2 - t.http2 - 1; free < 0 || !inShare(int64(c.account.http2+1), int64(free)) {
		return false
	}
	t.http2++
	c.account.http2++
	c.http2 = true
	return true
}

func (t *connTable) remove(c *limitedConn) {
	t.mu.Lock()
	t.delete(c)
	if c.http2 {
		t.http2--
		c.account.http2--
		c.http2 = false
	}
	t.mu.Unlock()
	t.signal()
}

// counts returns how many connections are open, and how many of them use HTTP/2.
func (t *connTable) counts() (conns, http2 int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns), t.http2
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

// peerOf returns the address of the other end of a connection.
func peerOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr()
}

// A limitedConn is a connection in a connTable. It limits each write to
// writeTimeout unless a handler sets another deadline.
type limitedConn struct {
	net.Conn
	table    *connTable
	account  *account
	trusted  bool                      // the peer is a trusted proxy
	lastUsed atomic.Int64              // last write or accept, in Unix nanoseconds
	state    atomic.Int32              // connWaiting, connBusy or connReplaced
	active   atomic.Int32              // ingest requests that wait neither for the client nor for a permit
	received atomic.Int64              // bytes of bodies since the last takeSlow
	gate     atomic.Pointer[frameGate] // delays HTTP/2 frames; nil if HTTP/2 is not possible
	http2    bool                      // counted in table.http2; guarded by table.mu
	closed   atomic.Bool

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

// abort closes the underlying connection, over HTTP/2 after the responses that net/http has
// written. The owner of c sees a failed read or write.
func (c *limitedConn) abort() {
	c.gate.Load().closeWhenSent(c, c.Conn.Close) // fails only if it is already closed
}

func (c *limitedConn) Close() error {
	if !c.closed.Swap(true) {
		defer c.account.put()
		defer c.table.remove(c)
	}
	return c.Conn.Close()
}

// CloseWrite lets net/http half-close the connection, so that a client that is
// still sending can read the error response.
func (c *limitedConn) CloseWrite() error { return closeWrite(c.Conn) }

// The states of a limitedConn.
const (
	connWaiting  = iota // for a request, or for the rest of one
	connBusy            // with a request that has arrived in full
	connReplaced        // closed: another connection has taken its place, or the service shuts down
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

// connKey is the context key of a request's *limitedConn.
type connKey struct{}

// beginRequest calls BeginRequest for the connection of a request that net/http
// serves. It panics with http.ErrAbortHandler if the connection has been
// replaced.
func beginRequest(r *http.Request) {
	if c := connOf(r); c != nil && !c.BeginRequest() { // internal/fastpath has called it for its requests
		panic(http.ErrAbortHandler)
	}
}

// NetConn returns the underlying connection.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }

// connOf returns the connection of a request, or nil if it is unknown.
func connOf(r *http.Request) *limitedConn {
	c, _ := r.Context().Value(connKey{}).(*limitedConn)
	return c
}

// addActive adds n to the active requests of c, which may be nil.
func (c *limitedConn) addActive(n int32) {
	if c != nil {
		c.active.Add(n)
	}
}

// isReplaced reports whether the service has closed c, which may be nil.
func (c *limitedConn) isReplaced() bool { return c != nil && c.state.Load() == connReplaced }

// addReceived adds n bytes of a body. c may be nil.
func (c *limitedConn) addReceived(n int) {
	if c != nil {
		c.received.Add(int64(n))
	}
}

// accountOf returns the account of the client that sent a request. The caller must call put once.
func (as *accounts) accountOf(r *http.Request) *account {
	if c := connOf(r); c != nil && !c.trusted {
		c.account.refs.Add(1)
		return c.account
	}
	return as.get(as.addressOf(r))
}

// addressOf returns the address of the client that sent a request.
func (as *accounts) addressOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !as.isTrusted(peer.Addr()) {
		return peer.Addr()
	}
	return as.forwardedFor(peer.Addr(), r.Header)
}
