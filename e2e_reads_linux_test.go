//go:build !race

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// openReader sends a GET request from a loopback address, and returns the connection
// after the first line of the response. Its receive buffer is small, so that the
// service notices that nothing is read.
func openReader(t *testing.T, p *process, address, target string) *bufio.Reader {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: waitTimeout}
	conn, err := dialer.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.(*net.TCPConn).SetReadBuffer(32<<10))
	must(t, conn.SetDeadline(time.Now().Add(waitTimeout)))
	io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n\r\n") // reading reports errors
	r := bufio.NewReaderSize(conn, 4<<10)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("GET %s: got response %q and error %v, want 200", target, line, err)
	}
	return r
}

// Tails and readers that take nothing of large entries share the memory for them,
// and do not keep others from reading.
func TestReadMemory(t *testing.T) {
	p := start(t, t.TempDir()+"/logs.db")
	for i := range 32 {
		openReader(t, p, fmt.Sprintf("127.0.1.%d", i+1), "/logs/tail")
	}
	// Another program writes the entries, so that the memory for receiving them does
	// not count.
	for range 4 {
		query(t, p.db, "INSERT INTO logs (level, message, timestamp, details) VALUES"+
			" ('error', 'large', '2026-11-22T00:00:00Z', '{\"a\":\"' || hex(randomblob((8<<20) - 100)) || '\"}'),"+
			" ('error', 'small', '2026-11-22T00:00:00Z', NULL) RETURNING id")
	}
	var slow []*bufio.Reader
	for i := range 4 {
		slow = append(slow, openReader(t, p, "127.0.2.1", fmt.Sprintf("/logs?before=%d", 2*i+2)))
	}
	fast := clientFrom("127.0.3.1")
	for i := range 6 {
		for _, r := range slow {
			_, err := io.CopyN(io.Discard, r, 4<<10)
			must(t, err)
		}
		for _, target := range []string{
			"/logs?limit=1", "/logs/histogram", "/logs?q=nowhere", fmt.Sprintf("/logs?limit=1&before=%d", 2*(i%4)+2),
		} {
			resp, err := fast.Get(p.url + target)
			must(t, err)
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 {
				t.Errorf("GET %s: got status %d and error %v after %d bytes, want 200", target, resp.StatusCode, err, n)
			}
		}
	}
	const limit = 128 << 20
	if got := p.peakMemory(); got > limit {
		t.Errorf("got %d bytes peak memory, want at most %d", got, limit)
	} else {
		t.Logf("peak memory: %d MiB", got>>20)
	}
}
