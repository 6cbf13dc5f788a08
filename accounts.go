package main

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"log-ingester/internal/httpapi"
)

// An account is what the service counts for one client address. Any goroutine may
// use it.
type account struct {
	accounts *accounts
	addr     netip.Addr   // as httpapi.ShareAddr returns it
	refs     atomic.Int64 // uses that have not ended with put

	memory  atomic.Int64 // bytes of the memory budget
	headers atomic.Int64 // bytes of the header budget
	queued  atomic.Int64 // bytes in the queue

	// The connection table guards these fields.
	conns int
	http2 int // connections that use HTTP/2

	turn int64 // number of its last turn; guarded by processors.mu
}

// accounts holds the account of each address that has a connection, a request or
// queued entries.
type accounts struct {
	// trusted are the networks of proxies. For a connection from them, the client
	// is the address in X-Forwarded-For.
	trusted []netip.Prefix

	mu  sync.Mutex
	all map[netip.Addr]*account
}

func newAccounts(trusted []netip.Prefix) *accounts {
	return &accounts{trusted: trusted, all: make(map[netip.Addr]*account)}
}

// get returns the account of an address. The caller must call put once.
func (as *accounts) get(addr netip.Addr) *account {
	addr = httpapi.ShareAddr(addr)
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.all[addr]
	if a == nil {
		a = &account{accounts: as, addr: addr}
		as.all[addr] = a
	}
	a.refs.Add(1)
	return a
}

// put ends a use of a. After the last one, a is forgotten.
func (a *account) put() {
	if a.refs.Add(-1) > 0 {
		return
	}
	a.accounts.mu.Lock()
	defer a.accounts.mu.Unlock()
	if a.refs.Load() == 0 && a.accounts.all[a.addr] == a {
		delete(a.accounts.all, a.addr)
	}
}

// isTrusted reports whether addr belongs to a trusted proxy.
func (as *accounts) isTrusted(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, network := range as.trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// forwardedFor returns the address of the client for which the proxy peer
// forwards a request: the last one in X-Forwarded-For that is not a trusted
// proxy. Each proxy appends the address of its own client, so the addresses
// before that one may be invented. If there is none, or an invalid address
// comes after it, the result is the last proxy that was found, or peer.
func (as *accounts) forwardedFor(peer netip.Addr, h http.Header) netip.Addr {
	lines := h["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, last := lines[i], ""; ; {
			comma := strings.LastIndexByte(rest, ',')
			rest, last = rest[:max(0, comma)], rest[comma+1:]
			addr, ok := parseForwarded(last)
			if !ok {
				return peer
			}
			if peer = addr; !as.isTrusted(addr) {
				return addr
			}
			if comma < 0 {
				break
			}
		}
	}
	return peer
}

// parseForwarded parses an element of X-Forwarded-For. Some proxies add the port
// of the client, and brackets around IPv6 addresses.
func parseForwarded(text string) (addr netip.Addr, ok bool) {
	text = strings.Trim(text, " \t")
	if addrPort, err := netip.ParseAddrPort(text); err == nil {
		return addrPort.Addr(), true
	}
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		text = text[1 : len(text)-1]
	}
	addr, err := netip.ParseAddr(text)
	return addr, err == nil
}
