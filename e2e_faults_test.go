package main

import (
	"fmt"
	"io"
	"log-ingester/internal/entry"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The program is killed again and again while clients send, always on the same
// file. What was answered 200 is there, what was answered 202 is there but for
// the end of the queue, nothing is there in part or twice, and each start goes
// on where the last one was killed.
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
		l.life = round
		began := time.Now()
		p := start(t, db)
		started := time.Since(began)
		if status, body := p.get("/readyz"); status != 200 {
			t.Fatalf("round %d: not ready after the start: %s", round, body)
		}
		// While it runs, so that the next recovery is the program's own.
		lost = l.audit(soundMessages(t, db))

		var clients sync.WaitGroup
		answered := make(chan bool)
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
					answered <- true
				}
			})
		}
		go func() {
			clients.Wait()
			close(answered)
		}()
		for n, most := 0, 20+rand.IntN(200); n < most; n++ {
			<-answered
		}
		p.cmd.Process.Kill() // its end is waited for below
		for range answered {
		}
		p.wait()
		t.Logf("round %d: started in %v, %d requests lost so far that were answered 202", round, started, lost)
	}
	l.life = rounds
	p := start(t, db)
	l.mustPost(p, "?wait=1", "last", http.StatusOK)
	p.books()
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	l.audit(soundMessages(t, db))
}

// Another process holds the lock for longer than a transaction waits for it:
// what comes is queued, those who wait for the commit are told, and all goes on
// by itself.
func TestLockedForLong(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	release := holdLock(t, p.db)
	l.mustPost(p, "", "queued", http.StatusAccepted)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if status := l.post(p, "?wait=1", "waiting", 2, 10); status != http.StatusServiceUnavailable {
			t.Errorf("who waits for the commit is answered %d", status)
		}
	})
	p.until("the log tells", func() bool { return p.says("cannot write to the database") > 0 })
	waiting.Wait()
	l.mustPost(p, "", "queued as well", http.StatusAccepted)
	if status, body := p.get("/readyz"); status != 200 {
		t.Errorf("not ready though the queue has room: %s", body)
	}
	if got := query(t, p.db, "SELECT count(*) FROM logs"); got != "3" {
		t.Errorf("a reader sees %s rows, want 3", got)
	}
	release()
	l.untilPosted(p, "after")
	p.books()
	p.saidOnce("cannot write to the database")
	p.saidOnce("writing to the database again")
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	l.auditAll(soundMessages(t, p.db))
}

// SIGTERM while the database is locked: the end waits for the lock, but no
// longer than -drain-timeout or a second signal, and then says what is lost.
func TestTerminateWhileLocked(t *testing.T) {
	for name, c := range map[string]struct {
		timeout string
		release bool // the lock goes in time
		again   bool // a second signal
		status  int
		says    string
	}{
		"in time":       {timeout: "1m", release: true, status: 0, says: "msg=\"shut down\" stored=6"},
		"timeout":       {timeout: "100ms", status: 1, says: "3 accepted entries lost"},
		"second signal": {timeout: "1h", again: true, status: 1, says: "stopped by a second signal: 3 accepted entries lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir()+"/logs.db", "-drain-timeout", c.timeout)
			l := newLedger(t)
			l.mustPost(p, "?wait=1", "before", http.StatusOK)
			release := holdLock(t, p.db)
			l.mustPost(p, "", "queued", http.StatusAccepted)
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.until("the end begins", func() bool { return p.says("msg=\"shutting down\"") > 0 })
			if c.release {
				release()
			}
			if c.again {
				time.Sleep(2 * signalDebounce)
				p.cmd.Process.Signal(syscall.SIGTERM) // that it had come is seen below
			}
			if status := p.wait(); status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			p.saidOnce(c.says)
			release()
			lost := l.audit(soundMessages(t, p.db))
			if want := c.status; lost != want {
				t.Errorf("%d requests are lost, want %d", lost, want)
			}
		})
	}
}

// While a reader's transaction lasts, the WAL grows, and the log says so once;
// when it has ended, the WAL shrinks though nothing more comes.
func TestLongReader(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db", "-synchronous", "off")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	size := func() int64 {
		info, err := os.Stat(p.db + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	n := 0
	grow := func(most int64) {
		t.Helper()
		for ; size() <= most; n++ {
			if status := l.post(p, "?wait=1", fmt.Sprint("large", n), 1000, 1000); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			if n > 200 {
				t.Fatalf("the WAL stays at %d bytes", size())
			}
		}
	}
	release := hold(t, p.db, "BEGIN", "SELECT count(*) FROM logs")
	grow(walShrinkSize)
	p.until("the log tells", func() bool { return p.says("WAL is growing") > 0 })
	grow(walShrinkSize + walShrinkSize/4)
	time.Sleep(2*shrinkEvery + shrinkEvery/2) // it is tried again and again
	p.saidOnce("WAL is growing")
	if p.says("WAL truncated") != 0 {
		t.Error("the log says that the WAL is small")
	}
	release()
	p.until("the WAL shrinks", func() bool { return size() <= walLimit })
	p.until("the log tells", func() bool { return p.says("WAL truncated") > 0 })
	l.mustPost(p, "?wait=1", "after", http.StatusOK)
	p.saidOnce("WAL is growing")
	p.saidOnce("WAL truncated")
	p.books()
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	l.auditAll(soundMessages(t, p.db))
}

// Clients stop in the middle of a body, or vanish while they wait for the
// commit: each request is stored whole or not at all, and what it took is given
// back.
func TestVanishingClients(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	open := func(head string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	vanish := func(round int) {
		t.Helper()
		release := holdLock(t, p.db)
		failed := p.says("cannot write to the database")
		var conns []net.Conn
		for i := range 30 {
			name := fmt.Sprintf("vanishing-%d-%d", round, i)
			body := fmt.Sprintf(`[{"level":"error","msg":"%s/0/2"},{"level":"error","msg":"%s/1/2"}]`, name, name)
			l.requests[name] = &request{entries: 2}
			head := fmt.Sprintf("POST /ingest?wait=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(body))
			conns = append(conns, open(head+body), open(head+body[:len(body)/2]))
		}
		// On a slow machine the writer may give the lock up before all of them
		// wait, and refuses them.
		p.until("the whole bodies wait", func() bool {
			return p.metrics()["queue_entries"] == 60 || p.says("cannot write to the database") > failed
		})
		for _, conn := range conns {
			conn.Close() // the program sees that it is gone
		}
		release()
		l.untilPosted(p, fmt.Sprint("after-", round))
	}
	held := func() [2]int {
		open := -1 // where it cannot be known
		if runtime.GOOS == "linux" {
			fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			open = len(fds)
		}
		return [2]int{open, int(p.metrics()["goroutines"])}
	}
	vanish(0) // so that what is made once is there
	p.books()
	before := held()
	for round := range 3 {
		vanish(1 + round)
	}
	var after [2]int
	p.until("descriptors and goroutines are given back", func() bool {
		after = held()
		return after[0] <= before[0] && after[1] <= before[1]
	})
	p.books()
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	messages := soundMessages(t, p.db)
	l.auditAll(messages)
	if p.says("cannot write to the database") == 0 && !strings.Contains(strings.Join(messages, " "), "vanishing") {
		t.Error("no request of a client that vanished is stored")
	}
}

// The clock is set back: entries keep the order they came in, each with the
// time that the clock told.
func TestClockSetBack(t *testing.T) {
	s := newTestService(t)
	now := time.Date(2026, 10, 25, 2, 59, 59, 999_999_999, time.FixedZone("CEST", 7200))
	in := &ingester{
		threshold: entry.LevelError,
		maxBody:   1 << 20,
		queue:     s.queue,
		memory:    s.memory,
		metrics:   s.metrics,
		clock:     func() time.Time { return now },
	}
	var want []string
	for i, back := range []time.Duration{0, time.Nanosecond, time.Hour, -time.Second, 24 * time.Hour} {
		now = now.Add(-back)
		body := fmt.Sprintf(`[{"level":"error","msg":"%d"},{"level":"error","msg":"%d as well"}]`, i, i)
		w := httptest.NewRecorder()
		in.ServeHTTP(w, httptest.NewRequest("POST", "/ingest?wait=1", strings.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Fatalf("status %d %s", w.Code, w.Body)
		}
		stamp := now.UTC().Format("2006-01-02T15:04:05.000000000Z")
		want = append(want, fmt.Sprint(stamp, i), fmt.Sprint(stamp, i, " as well"))
	}
	var got []string
	for _, r := range readRows(t, s.path) {
		got = append(got, r[2]+r[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
}
