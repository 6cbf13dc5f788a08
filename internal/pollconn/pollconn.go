// Package pollconn serves a connection with a system call less for each request.
//
// A server that waits for the next request calls net.Conn.Read, which first tries to
// read, finds that there is no data yet, and then waits. On a connection with one request
// at a time, every other read fails in this way. Conn.Poll only waits if the last read has
// not filled its buffer, because then there was no more data.
//
// This works on Linux. On other systems, Poll does nothing.
package pollconn

import "net"

// ErrAgain is returned by Conn.Read during Conn.Poll if there is no data. It is
// temporary, so a *tls.Conn can read again after it.
var ErrAgain net.Error = againError{}

type againError struct{}

func (againError) Error() string   { return "no data has arrived" }
func (againError) Timeout() bool   { return false }
func (againError) Temporary() bool { return true }
