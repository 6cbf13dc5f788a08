package pollconn

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A Conn is a connection with a Poll method. Only one goroutine may read from it.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil if Conn has none

	polling bool // Poll calls its function
	fd      int  // meanwhile
	drained bool // no data has been left since Poll called the function
}

// New returns a Conn for nc. If nc is not a connection of the operating system, Poll
// does nothing.
func New(nc net.Conn) *Conn {
	c := &Conn{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn() // nil after an error
	}
	return c
}

// Poll calls f, and then again whenever data may have arrived, until f returns true.
// During f, reads return ErrAgain instead of waiting for data; f must read until then
// before it returns false. Poll returns an error if the read deadline expires or the
// connection is closed. Close waits until f returns.
//
// If the stream ended when its last data was read, f is not called again. Therefore
// callers must set a deadline and then read without Poll.
func (c *Conn) Poll(f func() (done bool)) error {
	if c.raw == nil {
		return nil
	}
	defer func() { c.polling = false }()
	// RawConn.Read calls its function first, and forgets earlier events only before
	// that. So it notices all data that arrives after the first call.
	return c.raw.Read(func(fd uintptr) (done bool) {
		c.polling, c.fd, c.drained = true, int(fd), false
		return f()
	})
}

func (c *Conn) Read(p []byte) (int, error) {
	if !c.polling {
		return c.Conn.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.drained {
		return 0, ErrAgain
	}
	n, err := syscall.Read(c.fd, p)
	for err == syscall.EINTR {
		n, err = syscall.Read(c.fd, p)
	}
	switch {
	case err == syscall.EAGAIN:
		c.drained = true
		return 0, ErrAgain
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "poll", Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		return 0, io.EOF
	}
	c.drained = n < len(p)
	return n, nil
}
