package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Log messages about the size of the WAL.
const (
	logWALGrows     = "WAL is growing"
	logWALTruncated = "WAL truncated"
)

// The process is killed repeatedly while clients send, and restarted on the same
// file. All requests with status 200 are stored. Of those with status 202, only
// the last ones of the queue are lost. Nothing is stored partially or twice.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	db := t.TempDir() + "/logs.db"
	l := newLedger(t)
	lost := 0
	for round := range rounds {
		l.run = round
		began := time.Now()
		p := start(t, db)
		started := time.Since(began)
		if status, body := p.get("/readyz"); status != 200 {
			t.Fatalf("round %d: /readyz after the start: got %d %s, want 200", round, status, body)
		}
		// Audit while the process runs, so that the audit need not recover the
		// WAL.
		lost = l.audit(readMessages(t, db))

		killUnderLoad(p, l, round)
		t.Logf("round %d: started in %v, %d requests with status 202 lost so far", round, started, lost)
	}
	l.run = rounds
	p := start(t, db)
	l.mustPost(p, "?wait=1", "last", http.StatusOK)
	p.checkBalanced()
	p.interrupt()
	l.audit(readMessages(t, db))
}

// killUnderLoad kills the process after a random number of responses, and waits
// for the clients.
func killUnderLoad(p *process, l *ledger, round int) {
	p.t.Helper()
	var responses atomic.Int64
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(uint64(round), uint64(c)))
			for n := 0; ; n++ {
				wait := ""
				if r.IntN(3) == 0 {
					wait = "?wait=1"
				}
				entries, size := 1+r.IntN(20), r.IntN(2000)
				if l.post(p, wait, fmt.Sprintf("%d-%d-%d", round, c, n), entries, size) == 0 {
					return
				}
				responses.Add(1)
			}
		})
	}
	before := int64(20 + rand.IntN(200))
	p.waitFor("enough requests have responses", func() bool { return responses.Load() >= before })
	must(p.t, p.cmd.Process.Kill())
	clients.Wait()
	p.wait()
}

// Another process holds the write lock for longer than a transaction waits. The
// service queues entries, refuses requests that wait for the commit, and
// recovers when the lock is released.
func TestLongLock(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	release := holdLock(t, p.db)
	l.mustPost(p, "", "queued", http.StatusAccepted)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if status := l.post(p, "?wait=1", "waiting", 2, 10); status != http.StatusServiceUnavailable {
			t.Errorf("request that waits for the commit: got status %d, want 503", status)
		}
	})
	p.waitForLog(logWriteFailed)
	waiting.Wait()
	l.mustPost(p, "", "queued too", http.StatusAccepted)
	if status, body := p.get("/readyz"); status != 200 {
		t.Errorf("/readyz while the queue has space: got %d %s, want 200", status, body)
	}
	if got := query(t, p.db, "SELECT count(*) FROM logs"); got != "3" {
		t.Errorf("got %s rows while the database is locked, want 3", got)
	}
	release()
	l.postUntilStored(p, "after")
	p.checkBalanced()
	p.waitForLog(logRecovered) // the writer logs it after it has responded
	p.checkLogged(logWriteFailed, 1)
	p.checkLogged(logRecovered, 1)
	p.interrupt()
	l.auditAll(readMessages(t, p.db))
}

// A shutdown waits for a locked database until -drain-timeout or a second
// signal, and then logs how many entries are lost.
func TestTerminateWhileLocked(t *testing.T) {
	for name, c := range map[string]struct {
		timeout     string
		release     bool // the lock, during the shutdown
		signalAgain bool
		status      int
		lost        int // requests
		log         string
	}{
		"lock released": {timeout: "1h", release: true, status: 0, lost: 0, log: logShutDown + " stored=6"},
		"timeout":       {timeout: "100ms", status: 1, lost: 1, log: "3 accepted entries lost"},
		"second signal": {
			timeout: "1h", signalAgain: true, status: 1, lost: 1,
			log: "stopped by a second signal: 3 accepted entries lost",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir()+"/logs.db", "-drain-timeout", c.timeout)
			l := newLedger(t)
			l.mustPost(p, "?wait=1", "before", http.StatusOK)
			release := holdLock(t, p.db)
			l.mustPost(p, "", "queued", http.StatusAccepted)
			p.send(syscall.SIGTERM)
			p.waitForLog(logShuttingDown)
			if c.release {
				release()
			}
			if c.signalAgain {
				p.signalUntilExit()
			}
			if status := p.wait(); status != c.status {
				t.Errorf("got exit status %d, want %d", status, c.status)
			}
			p.checkLogged(c.log, 1)
			release()
			if lost := l.audit(readMessages(t, p.db)); lost != c.lost {
				t.Errorf("got %d lost requests, want %d", lost, c.lost)
			}
		})
	}
}

// signalUntilExit sends SIGTERM to a process that is shutting down until it
// exits. The process ignores those that come within signalDebounce of the first.
func (p *process) signalUntilExit() {
	p.t.Helper()
	waitFor(p.t, "the process exits", func() bool {
		p.cmd.Process.Signal(syscall.SIGTERM) // fails if the process has exited
		return p.hasExited()
	})
}

// While a read transaction is open, the WAL grows, which is logged once. When
// the transaction ends, the WAL is truncated although no more entries arrive.
func TestLongReader(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db", "-synchronous", "off")
	l := newLedger(t)
	requests := 0
	post := func() {
		t.Helper()
		requests++
		if status := l.post(p, "?wait=1", fmt.Sprint("request", requests), 1000, 1000); status != http.StatusOK {
			t.Fatalf("got status %d, want 200", status)
		}
	}
	post()
	release := holdSnapshot(t, p.db)
	for size(t, p.db+"-wal") <= walShrinkSize+walShrinkSize/4 {
		post()
		if requests > 200 {
			t.Fatalf("got a WAL of %d bytes after %d requests, want a larger one", size(t, p.db+"-wal"), requests)
		}
	}
	p.waitForLog(logWALGrows)

	// Checkpoints now fail. Each moves the rows before the oldest snapshot into
	// the file, which therefore grows after the snapshot moves. Without commits,
	// only attempts to truncate the WAL make checkpoints.
	for range 2 {
		post()
		before := size(t, p.db)
		next := holdSnapshot(t, p.db)
		release()
		release = next
		p.waitFor("a checkpoint is attempted", func() bool { return size(t, p.db) > before })
	}
	p.checkLogged(logWALGrows, 1)
	p.checkLogged(logWALTruncated, 0)

	release()
	p.waitFor("the WAL is truncated", func() bool { return size(t, p.db+"-wal") <= walLimit })
	p.waitForLog(logWALTruncated)
	post()
	p.checkLogged(logWALGrows, 1)
	p.checkLogged(logWALTruncated, 1)
	p.checkBalanced()
	p.interrupt()
	l.auditAll(readMessages(t, p.db))
}

// size returns the size of a file in bytes.
func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	return info.Size()
}

// Clients disconnect in the middle of a body, or while they wait for the commit.
// Each request is stored completely or not at all, and its connection, goroutine
// and memory are released.
func TestVanishingClients(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	vanish(p, l, 0) // opens connections that stay open, such as the reader's
	p.checkBalanced()
	descriptors, goroutines := countResources(p)
	for round := range 3 {
		vanish(p, l, 1+round)
	}
	p.waitFor("descriptors and goroutines are released", func() bool {
		d, g := countResources(p)
		return d <= descriptors && g <= goroutines
	})
	p.checkBalanced()
	p.interrupt()
	messages := readMessages(t, p.db)
	l.auditAll(messages)
	if p.logged(logWriteFailed) == 0 && !strings.Contains(strings.Join(messages, " "), "vanishing") {
		t.Error("got no stored request of a client that disconnected, want some")
	}
}

// vanish sends 30 requests whose clients disconnect while they wait for the
// commit, and 30 whose clients disconnect after half of the body.
func vanish(p *process, l *ledger, round int) {
	l.t.Helper()
	release := holdLock(l.t, p.db)
	failures := p.logged(logWriteFailed)
	var conns []net.Conn
	send := func(request string) {
		l.t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		must(l.t, err)
		_, err = io.WriteString(conn, request)
		must(l.t, err)
		conns = append(conns, conn)
	}
	for i := range 30 {
		name := fmt.Sprintf("vanishing-%d-%d", round, i)
		l.requests[name] = &request{entries: 2}
		body := fmt.Sprintf(`[{"level":"error","msg":"%s/0/2"},{"level":"error","msg":"%s/1/2"}]`, name, name)
		request := head("/ingest?wait=1", len(body)) + body
		send(request)
		send(request[:len(request)-len(body)/2])
	}
	// On a slow machine, the writer may give up on the lock before all requests
	// are queued, and then refuses them.
	p.waitFor("the complete requests are queued", func() bool {
		return p.metrics()["queue_entries"] == 60 || p.logged(logWriteFailed) > failures
	})
	for _, conn := range conns {
		conn.Close() // the service notices, whatever this returns
	}
	release()
	l.postUntilStored(p, fmt.Sprint("after-", round))
}

// countResources returns how many descriptors, or 0 on systems other than Linux,
// and goroutines the process has.
func countResources(p *process) (descriptors, goroutines int) {
	p.t.Helper()
	if runtime.GOOS == "linux" {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		must(p.t, err)
		descriptors = len(fds)
	}
	return descriptors, int(p.metrics()["goroutines"])
}
