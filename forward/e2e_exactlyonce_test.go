//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Programs log lines with the Go client of the examples. Meanwhile the service,
// the forwarder and PostgreSQL are killed, and proxies on both connections lose
// requests and responses. Each line arrives in PostgreSQL once.
func TestExactlyOnce(t *testing.T) {
	const clients, failures = 3, 20
	p := startPostgres(t)
	address := p.newDatabase(t, "")
	database := startProxy(t, filepath.Join(p.dir, ".s.PGSQL.5432"))
	proxied := strings.Replace(address, "host="+p.dir,
		fmt.Sprintf("host=127.0.0.1&port=%d&sslmode=disable", database.port), 1)
	s := newTestService(t)
	network := startLossyProxy(t, s)
	client := buildClient(t, network.address)

	forwarder := startProcess(t, "-db", s.db, "-to", proxied, "-source", "web1")
	var programs []*clientProgram
	for i := range clients {
		programs = append(programs, startClient(t, client, fmt.Sprint("client ", i)))
	}
	kills := []func(){
		func() { s.kill(); s.start() },
		func() {
			forwarder.kill(t)
			forwarder = startProcess(t, "-db", s.db, "-to", proxied, "-source", "web1")
		},
		func() { p.crash(t); p.start(t) },
		func() { s.kill(); p.crash(t); forwarder.kill(t); s.start() },
		func() {
			p.start(t)
			forwarder = startProcess(t, "-db", s.db, "-to", proxied, "-source", "web1")
		},
	}
	for i := range failures {
		before := network.responses.Load()
		waitUntil(t, "requests arrive", func() bool { return network.responses.Load() > before+10 })
		time.Sleep(rand.N(20 * time.Millisecond)) // to fail at a random point of a request
		kills[i%len(kills)]()
	}
	network.lose.Store(false)

	want := map[string]int{"started": clients, "end of input": clients} // by message
	for _, c := range programs {
		for _, line := range c.finish() {
			want[line] = 1
		}
	}
	s.kill()
	forwarder.kill(t)
	shipAll(t, s.db, address, "web1")
	checkRows(t, s.db, address, "web1")
	rows, err := dial(t, address).Query(timeoutContext(t), "SELECT message, count(*) FROM logs GROUP BY message")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var message string
		var count int
		if err := rows.Scan(&message, &count); err != nil {
			t.Fatal(err)
		}
		if count != want[message] {
			t.Errorf("got line %q %d times, want %d", message, count, want[message])
		}
		delete(want, message)
	}
	if err := rows.Err(); err != nil || len(want) > 0 {
		t.Errorf("%d lines did not arrive, error %v", len(want), err)
	}
	if a, b := network.lostRequests.Load(), network.lostResponses.Load(); a < 20 || b < 20 || network.repeated.Load() == 0 {
		t.Errorf("got %d lost requests, %d lost responses and %d repeated ones, want at least 20, 20 and 1",
			a, b, network.repeated.Load())
	}
	t.Logf("%d requests, %d lost before and %d after the service stored them; %d responses were repeated",
		network.responses.Load(), network.lostRequests.Load(), network.lostResponses.Load(), network.repeated.Load())
}

// A testService is the ingester, in its own process.
type testService struct {
	t          *testing.T
	binary, db string
	process    *process
	address    atomic.Pointer[string]
}

func newTestService(t *testing.T) *testService {
	t.Helper()
	dir := t.TempDir()
	s := &testService{t: t, binary: filepath.Join(dir, "log-ingester"), db: filepath.Join(dir, "logs.db")}
	build(t, "..", s.binary)
	s.start()
	return s
}

var listening = regexp.MustCompile(`msg="accepting logs" addr=(\S+)`)

func (s *testService) start() {
	s.t.Helper()
	s.process = startCommand(s.t, exec.Command(s.binary, "-addr", "127.0.0.1:0", "-db", s.db, "-level", "trace"))
	s.process.waitForOutput(s.t, "accepting logs")
	waitUntil(s.t, "the service logs its address", func() bool {
		m := listening.FindStringSubmatch(s.process.out.String())
		if m != nil {
			s.address.Store(&m[1])
		}
		return m != nil
	})
}

func (s *testService) kill() { s.process.kill(s.t) }

func build(t *testing.T, dir, binary string, files ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", binary}, files...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
}

// buildClient builds the Go client of the examples for a service at address.
func buildClient(t *testing.T, address string) (binary string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"ingest.go", "main.go"} {
		text := readFile(t, filepath.Join("../examples/go", name))
		text = []byte(strings.ReplaceAll(string(text), "http://localhost:3002", address))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary = filepath.Join(dir, "client")
	build(t, dir, binary, "ingest.go", "main.go")
	return binary
}

// A clientProgram logs lines until it is finished.
type clientProgram struct {
	t       *testing.T
	process *process
	stop    chan struct{}
	lines   []string
	writer  sync.WaitGroup
}

func startClient(t *testing.T, binary, name string) *clientProgram {
	t.Helper()
	cmd := exec.Command(binary)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &clientProgram{t: t, process: startCommand(t, cmd), stop: make(chan struct{})}
	c.writer.Go(func() {
		defer stdin.Close() // ends the program
		for {
			select {
			case <-c.stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			line := fmt.Sprintf("%s line %d", name, len(c.lines))
			if _, err := io.WriteString(stdin, line+"\n"); err != nil {
				t.Error(err)
				return
			}
			c.lines = append(c.lines, line)
		}
	})
	return c
}

// finish ends the program and returns the messages that it logged.
func (c *clientProgram) finish() []string {
	c.t.Helper()
	close(c.stop)
	c.writer.Wait()
	if code := c.process.wait(c.t); code != 0 || c.process.out.String() != "" {
		c.t.Errorf("client: got exit code %d and output %q, want 0 and none", code, c.process.out.String())
	}
	return c.lines
}

// A lossyProxy passes requests to a service. While lose is true, it loses a
// quarter of them, and a quarter of the responses.
type lossyProxy struct {
	address                                          string
	lose                                             atomic.Bool
	responses, lostRequests, lostResponses, repeated atomic.Int64
}

func startLossyProxy(t *testing.T, s *testService) *lossyProxy {
	t.Helper()
	p := new(lossyProxy)
	p.lose.Store(true)
	errLost := errors.New("lost")
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", *s.address.Load()
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ModifyResponse: func(res *http.Response) error {
			p.responses.Add(1)
			if res.Header.Get("Idempotency-Replayed") == "true" {
				p.repeated.Add(1)
			}
			if p.lose.Load() && rand.N(4) == 0 {
				p.lostResponses.Add(1)
				return errLost
			}
			return nil
		},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.lose.Load() && rand.N(4) == 0 {
			p.lostRequests.Add(1)
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	p.address = server.URL
	return p
}
