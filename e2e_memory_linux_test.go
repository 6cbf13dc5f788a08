//go:build !race

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"log-ingester/internal/proctest"
)

// Builds with the race detector exclude these tests, because the detector itself
// uses memory. The bounds do not depend on the machine: the process sets GOGC and a
// memory limit.

// memoryBeyondBudget is the memory that a process may have besides -memory, in
// bytes.
const memoryBeyondBudget = 128 << 20

// peakMemory returns the largest resident memory of the process, in bytes.
func (p *process) peakMemory() int {
	p.t.Helper()
	peak, err := proctest.PeakMemory(p.cmd.Process.Pid)
	must(p.t, err)
	return int(peak)
}

// The ballast of the heap with TLS takes no memory.
func TestBallastIsNotResident(t *testing.T) {
	t.Parallel()
	c := newTestCertificate(t, "first")
	plain := start(t, filepath.Join(t.TempDir(), "logs.db"))
	secure := start(t, filepath.Join(t.TempDir(), "logs.db"), "-tls-cert", c.certFile, "-tls-key", c.keyFile)
	if got := secure.peakMemory() - plain.peakMemory(); got > ballastSize/2 {
		t.Errorf("got %d bytes more peak memory with TLS, want at most %d", got, ballastSize/2)
	}
}

// compressedSpaces returns a gzip of n MiB of spaces; n must be a multiple of 4.
func compressedSpaces(n int) string {
	// A gzip may consist of several members.
	return strings.Repeat(gzipped(strings.Repeat(" ", 4<<20)), n/4)
}

// A compressed body that exceeds -max-body is refused before more of it is
// decompressed.
func TestGzipBomb(t *testing.T) {
	t.Parallel()
	p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-max-body", "16MiB")
	before := p.peakMemory()
	if status, err := p.post("", compressedSpaces(400), "Content-Encoding", "gzip"); err != nil || status != 413 {
		t.Errorf("400 MiB: got status %d and error %v, want 413", status, err)
	}
	// While the body's buffer grows to 16 MiB, the previous one exists too. The
	// rest is garbage: GOGC is 50.
	const limit = (16 + 8) << 20 * 3 / 2
	if cost := p.peakMemory() - before; cost > limit {
		t.Errorf("400 MiB: got %d bytes more memory in use, want at most %d", cost, limit)
	}
	if status, err := p.post("?wait=1", smallBody); err != nil || status != 200 {
		t.Errorf("next request: got status %d and error %v, want 200", status, err)
	}
}

// The memory budget counts the decompressed and decoded size of a body, which
// may be many times the size on the wire.
func TestBodyExpansionIsBudgeted(t *testing.T) {
	t.Parallel()
	const budget = 64 << 20
	p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-max-body", "16MiB", "-memory", "64MiB")
	before := p.peakMemory()
	for name, body := range map[string]string{
		"spaces":        strings.Repeat(" ", 17<<20),
		"empty entries": strings.Repeat("{}", 8<<20-1),
		"small entries": strings.Repeat(`{"level":"error","a":1}`, 16<<20/23),
		"members":       `{` + strings.Repeat(`"":1,`, 3<<20) + `"":1}`,
		"invalid UTF-8": `{"message":"` + strings.Repeat("\xff", 16<<20-100) + `"}`,
	} {
		text := gzipped(body)
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				status, err := p.post("", text, "Content-Encoding", "gzip")
				if err != nil || status != 413 && status != 503 {
					t.Errorf("%s: got status %d and error %v, want 413 or 503", name, status, err)
				}
			})
		}
		clients.Wait()
	}
	// The budget, as much again for garbage, and 32 MiB for connections and
	// pools.
	if cost := p.peakMemory() - before; cost > 2*budget+32<<20 {
		t.Errorf("got %d bytes more memory in use, want at most %d", cost, 2*budget+32<<20)
	}
	if peak := p.peakMemory(); peak > budget+memoryBeyondBudget {
		t.Errorf("got peak memory of %d bytes, want at most %d", peak, budget+memoryBeyondBudget)
	}
	if status, err := p.post("?wait=1", smallBody); err != nil || status != 200 {
		t.Errorf("next request: got status %d and error %v, want 200", status, err)
	}
}

// The memory for request headers is limited, however many connections send
// large ones, finished or not.
func TestHeaderMemory(t *testing.T) {
	short := strings.Repeat("aaa:\r\n", 6000)
	long := "Long: " + strings.Repeat("a", 36_000) + "\r\n"
	var names strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&names, "%x,", i)
	}
	for name, text := range map[string]string{
		"short fields":          "POST /ingest HTTP/1.1\r\nHost: localhost\r\n" + short,
		"short fields complete": "GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + short + "\r\n",
		"few short fields":      "GET / HTTP/1.1\r\nHost: localhost\r\n" + short[:6*(maxHeaderFields-2)],
		"long field":            "GET / HTTP/1.1\r\nHost: localhost\r\n" + long,
		"names of a trailer": "POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: " +
			names.String() + "\r\n\r\n5\r\n",
		"long target": head("/ingest?"+strings.Repeat("a", 30_000), 9),
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir()+"/logs.db")
			openHostile(t, p, "127.0.0.1", maxConnections, text)
			p.postFrom("127.0.0.2")
			t.Logf("peak memory: %d MiB", p.peakMemory()>>20)
			if got := p.peakMemory(); got > memoryBeyondBudget {
				t.Errorf("got %d bytes peak memory, want at most %d", got, memoryBeyondBudget)
			}
		})
	}
}
