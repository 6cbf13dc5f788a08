//go:build !linux

package pollconn

import "net"

// A Conn is a connection. Its Poll method does nothing.
type Conn struct{ net.Conn }

func New(nc net.Conn) *Conn { return &Conn{nc} }

func (c *Conn) Poll(func() (done bool)) error { return nil }
