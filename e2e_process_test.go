package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The example in the README of the Rust service works unchanged: a single
// object, then a look at the table.
func TestRustExample(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	const body = `{"level": "error", "message": "Database connection failed", "user_id": 12345, "service": "auth"}`
	status, err := p.post("", body)
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("got status %d and error %v, want 202", status, err)
	}
	p.interrupt()
	got := query(t, p.db, "SELECT id||'|'||level||'|'||message||'|'||details FROM logs")
	want := `1|error|Database connection failed|{"user_id":12345,"service":"auth"}`
	if got != want {
		t.Errorf("got row %s\nwant %s", got, want)
	}
}

// SIGTERM arrives while fifty clients send. All entries of requests with status
// 202 are stored, no others are, and the WAL is truncated.
func TestTerminateUnderLoad(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	const clients = 50
	const half = 20                  // requests of each client before the signal
	accepted := make([]int, clients) // requests of each client with status 202
	var running, halfway sync.WaitGroup
	halfway.Add(clients)
	for c := range clients {
		running.Go(func() {
			accepted[c] = postUntilShutdown(p, c, half, halfway.Done)
			if accepted[c] < half {
				t.Errorf("client %d: got status 202 for %d requests, want at least %d", c, accepted[c], half)
				halfway.Done()
			}
		})
	}
	halfway.Wait()
	if status := p.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	running.Wait()

	stored := map[string]int{} // number of rows by message
	for _, r := range readRows(t, p.db) {
		stored[r[1]]++
	}
	for c, n := range accepted {
		// If the response to the last request was lost, it may be stored.
		if stored[fmt.Sprintf("%d/%d/0", c, n)] > 0 {
			n++
		}
		for i := range n {
			for j := range 2 {
				message := fmt.Sprintf("%d/%d/%d", c, i, j)
				if stored[message] != 1 {
					t.Errorf("got %s stored %d times, want 1", message, stored[message])
				}
				delete(stored, message)
			}
		}
	}
	if len(stored) > 0 {
		t.Errorf("got entries stored without status 202: %v", stored)
	}
	if info, err := os.Stat(p.db + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("got a WAL of %d bytes, want none", info.Size())
	}
	p.checkLogged(logShutDown, 1)
}

// postUntilShutdown sends requests as client c until one does not get status
// 202, and returns how many did. It calls halfway when that number is half.
func postUntilShutdown(p *process, c, half int, halfway func()) (accepted int) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: waitTimeout}
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		if n == half {
			halfway()
		}
		body := fmt.Sprintf(`[{"level":"error","msg":"%d/%d/0"},{"level":"info"},{"level":"error","msg":"%d/%d/1"}]`, c, n, c, n)
		resp, err := client.Post(p.url+"/ingest", "application/json", strings.NewReader(body))
		if err != nil {
			return n
		}
		io.Copy(io.Discard, resp.Body) // the status counts even if the body is cut off
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			return n
		}
	}
}

// A second signal ends a shutdown although a request is in progress.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db", "-drain-timeout", "1h")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(waitTimeout)))
	// Sending the body takes longer than the test, so the first signal only starts the
	// shutdown.
	io.WriteString(conn, "POST /ingest HTTP/1.1\r\nHost: localhost\r\n"+
		"Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "100") {
		t.Fatalf("got response %q and error %v, want 100 Continue", line, err)
	}
	go func() {
		for err := error(nil); err == nil; time.Sleep(drainStep / 10) {
			_, err = conn.Write(make([]byte, drainBytes))
		}
	}()
	p.send(syscall.SIGTERM)
	p.waitForLog(logShuttingDown)
	p.signalUntilExit()
	if status := p.wait(); status != 1 {
		t.Errorf("got exit status %d, want 1", status)
	}
	p.checkLogged("stopped by a second signal: 0 accepted entries lost", 1)
}

// A start that fails logs the reason in one line.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	must(t, os.WriteFile(text, []byte("this file is not a database"), 0o644))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	for name, c := range map[string]struct {
		db   string
		args []string
		log  string
	}{
		"not a database":    {db: text, log: "not a SQLite database"},
		"missing directory": {db: filepath.Join(dir, "missing", "logs.db"), log: "missing"},
		"address in use": {
			db:   filepath.Join(dir, "logs.db"),
			args: []string{"-addr", listener.Addr().String()},
			log:  "address already in use",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, c.db, c.args...)
			if status := p.wait(); status != 1 {
				t.Errorf("got exit status %d, want 1", status)
			}
			if log := p.logText(); !strings.Contains(log, c.log) || strings.Count(log, "\n") != 1 {
				t.Errorf("got log %q, want one line with %q", log, c.log)
			}
		})
	}
}

// -healthcheck finds the service by its environment, whether the service listens
// on one address or on all.
func TestHealthcheck(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	addr := strings.TrimPrefix(p.url, "http://")
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	for _, addr := range []string{addr, ":" + port, "0.0.0.0:" + port} {
		if status, stderr := runHealthcheck(t, map[string]string{"LOG_INGESTER_ADDR": addr}); status != 0 || stderr != "" {
			t.Errorf("%s: got exit status %d and stderr %q, want 0 and none", addr, status, stderr)
		}
	}
	p.interrupt()
	status, stderr := runHealthcheck(t, map[string]string{"LOG_INGESTER_ADDR": addr})
	if status != 1 || !strings.Contains(stderr, "connection refused") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("after the exit: got exit status %d and stderr %q, want 1 and one line", status, stderr)
	}
}

// The linker sets the version of a release. It does not report variables that do
// not exist.
func TestReleaseVersion(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "log-ingester")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "-ldflags=-X main.version=v1.2.3 -X main.commit=c0ffee", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), bin, "-version").Output()
	must(t, err)
	want := `^log-ingester v1\.2\.3 commit c0ffee ` + regexp.QuoteMeta(runtime.Version()) + ` SQLite 3\.\d+\.\d+\n$`
	if !regexp.MustCompile(want).Match(out) {
		t.Errorf("got %q, want a match of %s", out, want)
	}
}

// A second process on the same database does not start. It can as soon as the
// first has exited, however that happened.
func TestSecondInstance(t *testing.T) {
	db := t.TempDir() + "/logs.db"
	first := start(t, db)
	second := launch(t, db)
	if status := second.wait(); status != 1 {
		t.Errorf("got exit status %d, want 1", status)
	}
	second.checkLogged("already used by another log-ingester", 1)
	must(t, first.cmd.Process.Kill())
	first.wait()
	third := start(t, db)
	third.interrupt()
}

// The log names environment variables that have no effect.
func TestUnknownVariableWarning(t *testing.T) {
	p := newProcess(t, t.TempDir()+"/logs.db")
	p.cmd.Env = append(p.cmd.Env, "LOG_INGESTER_MAXBODY=1")
	p.launch()
	p.awaitListening()
	p.interrupt()
	p.checkLogged("LOG_INGESTER_MAXBODY", 1)
}
