package main

import "net"

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

// closeWrite half-closes conn if it can.
func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
