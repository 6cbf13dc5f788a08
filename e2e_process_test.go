package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The Rust service's own example works as it stands there: one object, then a
// look at the table.
func TestRustExample(t *testing.T) {
	p := start(t, t.TempDir()+"/logs.db")
	status, err := p.post("", `{"level": "error", "message": "Database connection failed", "user_id": 12345, "service": "auth"}`)
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("status %d, %v, want 202", status, err)
	}
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	got := query(t, p.db, "SELECT id||'|'||level||'|'||message||'|'||details FROM logs")
	want := `1|error|Database connection failed|{"user_id":12345,"service":"auth"}`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// Fifty clients send, and SIGTERM comes in the middle: all that was answered
// 202 is stored, nothing else is, and the WAL is gone.
func TestTerminateUnderLoad(t *testing.T) {
	p := start(t, t.TempDir()+"/logs.db")
	const clients = 50
	const half = 20                      // requests of each, before the signal
	acknowledged := make([]int, clients) // requests answered 202, which come first
	var senders, halfway sync.WaitGroup
	halfway.Add(clients)
	for c := range clients {
		senders.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			n := 0
			defer func() {
				if n < half {
					t.Errorf("client %d ends at its request %d", c, n)
					halfway.Done()
				}
			}()
			for ; ; n++ {
				if n == half {
					halfway.Done()
				}
				body := fmt.Sprintf(`[{"level":"error","msg":"%d/%d/0"},{"level":"info"},{"level":"error","msg":"%d/%d/1"}]`, c, n, c, n)
				resp, err := client.Post(p.url+"/ingest", "application/json", strings.NewReader(body))
				if err != nil {
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusAccepted {
					return
				}
				acknowledged[c] = n + 1
			}
		})
	}
	halfway.Wait()
	if status := p.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	senders.Wait()

	stored := map[string]int{}
	for _, r := range readRows(t, p.db) {
		stored[r[1]]++
	}
	for c, n := range acknowledged {
		// A request whose answer was cut off may be stored or not, but whole.
		unanswered := stored[fmt.Sprintf("%d/%d/0", c, n)] > 0
		if unanswered {
			n++
		}
		for i := range n {
			for j := range 2 {
				key := fmt.Sprintf("%d/%d/%d", c, i, j)
				if stored[key] != 1 {
					t.Errorf("%s is stored %d times", key, stored[key])
				}
				delete(stored, key)
			}
		}
	}
	if len(stored) > 0 {
		t.Errorf("%d rows were never acknowledged", len(stored))
	}
	if info, err := os.Stat(p.db + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("the WAL holds %d bytes", info.Size())
	}
	if !strings.Contains(p.logged(), "msg=\"shut down\"") {
		t.Error("the log does not say that it ended")
	}
}

// A second signal ends the program at once, though a request is in hand.
func TestSecondSignal(t *testing.T) {
	p := start(t, t.TempDir()+"/logs.db")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The body never ends, so that the first signal has somebody to wait for.
	io.WriteString(conn, "POST /ingest HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "100") {
		t.Fatal(line, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.logged(), "msg=\"shutting down\"") {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * signalDebounce)
	if status := p.signal(syscall.SIGTERM); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
}

// A signal that comes twice at once is one.
func TestSignalEcho(t *testing.T) {
	cfg, err := parseTest(t, nil, "-addr", "127.0.0.1:0", "-db", t.TempDir()+"/logs.db")
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	if err := serve(cfg, slog.New(slog.DiscardHandler), signals); err != nil {
		t.Error(err)
	}
}

// A start that fails says why in one line.
func TestFailedStart(t *testing.T) {
	text := t.TempDir() + "/text.db"
	if err := os.WriteFile(text, []byte("this is no database at all"), 0o644); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		db   string
		args []string
		says string
	}{
		{text, nil, "not a SQLite database"},
		{t.TempDir() + "/missing/logs.db", nil, "missing"},
		{t.TempDir() + "/logs.db", []string{"-addr", taken.Addr().String()}, "address already in use"},
	} {
		p := launch(t, c.db, c.args...)
		if status := p.wait(); status != 1 {
			t.Errorf("%s: status %d", c.db, status)
		}
		if log := p.logged(); !strings.Contains(log, c.says) || strings.Count(log, "\n") != 1 {
			t.Errorf("%s: the log is\n%s", c.db, log)
		}
	}
}

func TestHealth(t *testing.T) {
	s := newTestService(t)
	for _, route := range []string{"/healthz", "/readyz"} {
		if w := s.do("GET", route, nil); w.Code != 200 {
			t.Errorf("%s: %d %s", route, w.Code, w.Body)
		}
	}
	s.queue.stop()
	if w := s.do("GET", "/readyz", nil); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("/readyz while stopping: %d %v", w.Code, w.Header())
	}
	if w := s.post(`{}`); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("/ingest while stopping: %d %v", w.Code, w.Header())
	}
	if w := s.do("GET", "/healthz", nil); w.Code != 200 {
		t.Errorf("/healthz while stopping: %d", w.Code)
	}
}
