package httpapi

import "net/netip"

// ShareAddr returns the address by which a client counts for limits. An IPv6 client
// counts by its /64 network, because it can choose any address in it.
func ShareAddr(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64) // fails only for more bits than the address has
		addr = prefix.Addr()
	}
	return addr
}
