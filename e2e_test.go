package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io"
	"log-ingester/internal/testskip"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	for _, e := range os.Environ() {
		// What would make the program another one than the tests mean.
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "LOG_INGESTER_") || name == "GOGC" || name == "GOMEMLIMIT" {
			os.Unsetenv(name)
		}
	}
	os.Exit(testskip.Main(m))
}

// A process is the program, running.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	url  string
	db   string
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer
}

var listening = regexp.MustCompile(`msg="accepting logs" addr=(\S+)`)

// start runs the program on a free port, on the database db, until the test
// ends. It waits until the program takes logs.
func start(t testing.TB, db string, args ...string) *process {
	t.Helper()
	p := launch(t, db, args...)
	p.awaitListening()
	return p
}

func (p *process) awaitListening() {
	p.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if m := listening.FindStringSubmatch(p.logged()); m != nil {
			p.url = "http://127.0.0.1" + m[1][strings.LastIndexByte(m[1], ':'):]
			return
		}
		select {
		case <-p.done:
			p.t.Fatalf("the program ended: %v\n%s", p.cmd.ProcessState, p.logged())
		case <-deadline:
			p.t.Fatalf("the program does not listen\n%s", p.logged())
		case <-time.After(time.Millisecond):
		}
	}
}

// launch runs the program and does not wait for it.
func launch(t testing.TB, db string, args ...string) *process {
	t.Helper()
	p := command(t, db, args...)
	p.run()
	return p
}

// command returns the program as it will run.
func command(t testing.TB, db string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, db: db, done: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	return p
}

// run starts the program; it ends when the test does.
func (p *process) run() {
	p.t.Helper()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		p.cmd.Wait() // the state is in p.cmd.ProcessState
	}()
	p.t.Cleanup(func() {
		p.cmd.Process.Kill() // it may have ended already
		<-p.done
		for line := range strings.Lines(p.logged()) {
			if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "log-ingester: ") {
				p.t.Errorf("this is not of its log: %s", line)
			}
		}
		if p.t.Failed() {
			p.t.Logf("its log:\n%s", p.logged())
		}
	})
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// signal sends sig and returns the exit status.
func (p *process) signal(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// wait returns the exit status, -1 for the end by a signal.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Fatal("the program does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// post sends a body to /ingest and returns the answer's status.
func (p *process) post(query, body string) (status int, err error) {
	resp, err := http.Post(p.url+"/ingest"+query, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// A ledger is what clients remember of their requests, to be held against the
// database afterwards. Each entry of a request has the message NAME/i/of.
type ledger struct {
	t      *testing.T
	client *http.Client

	mu       sync.Mutex
	life     int // of the program, which is killed and started again
	events   int // requests begun and answered, to order them by
	requests map[string]*request
}

// A request is one that a client sent.
type request struct {
	entries      int
	life         int
	status       int // 0 where no answer came
	begun, ended int // when, in events of the ledger
}

func newLedger(t *testing.T) *ledger {
	// Connections are not kept, so that those of a program that ended are not
	// met again, and the program's descriptors can be counted.
	transport := &http.Transport{DisableKeepAlives: true}
	return &ledger{t: t, client: &http.Client{Transport: transport}, requests: map[string]*request{}}
}

// post sends entries under a name that no other request has, with one below the
// threshold among them. It returns the answer's status, 0 where none came.
func (l *ledger) post(p *process, query, name string, entries, size int) int {
	l.mu.Lock()
	r := &request{entries: entries, life: l.life, begun: l.events}
	l.events++
	l.requests[name] = r
	l.mu.Unlock()

	var body strings.Builder
	filler := strings.Repeat("x", size)
	for i := range entries {
		fmt.Fprintf(&body, `{"level":"error","msg":"%s/%d/%d","filler":"%s"}`+"\n", name, i, entries, filler)
	}
	body.WriteString(`{"level":"info"}`)
	resp, err := l.client.Post(p.url+"/ingest"+query, "", strings.NewReader(body.String()))
	if err != nil {
		return 0
	}
	// The answer counts though its end may be cut off.
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		l.t.Errorf("%s: 503 without Retry-After", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.status, r.ended = resp.StatusCode, l.events
	l.events++
	return r.status
}

// mustPost is post where the answer has to be want.
func (l *ledger) mustPost(p *process, query, name string, want int) {
	l.t.Helper()
	if status := l.post(p, query, name, 3, 10); status != want {
		l.t.Fatalf("%s: status %d, want %d", name, status, want)
	}
}

// untilPosted posts until it is answered 200, and leaves out the tries in
// between, which are in the ledger as well.
func (l *ledger) untilPosted(p *process, name string) {
	l.t.Helper()
	for i := 0; ; i++ {
		switch status := l.post(p, "?wait=1", fmt.Sprintf("%s-%d", name, i), 1, 10); status {
		case http.StatusOK:
			return
		case http.StatusServiceUnavailable:
			time.Sleep(10 * time.Millisecond)
		default:
			l.t.Fatalf("%s: status %d", name, status)
		}
		l.alive(p)
	}
}

func (l *ledger) alive(p *process) {
	l.t.Helper()
	select {
	case <-p.done:
		l.t.Fatal("the program has ended")
	default:
	}
}

// audit holds the messages of the database, in the order of their ids, against
// what was answered: each request is stored whole, once, or not at all; with
// 200 it is stored, and with another answer but 202 it is not. It returns how
// many requests were answered 202 and are lost. None is that was answered
// before the begin of one that is stored, in the same life of the program: only
// the end of its queue is lost.
func (l *ledger) audit(messages []string) (lost int) {
	l.t.Helper()
	stored := map[string]bool{}
	for i := 0; i < len(messages); {
		parts := strings.Split(messages[i], "/")
		name := parts[0]
		r := l.requests[name]
		if r == nil {
			l.t.Errorf("%q was never sent", messages[i])
			i++
			continue
		}
		if stored[name] {
			l.t.Errorf("%s is stored twice", name)
		}
		stored[name] = true
		for part := range r.entries {
			want := fmt.Sprintf("%s/%d/%d", name, part, r.entries)
			if i == len(messages) || messages[i] != want {
				l.t.Errorf("%s is stored in part: %s is missing", name, want)
				break
			}
			i++
		}
	}
	last := map[int]int{} // in each life, when the last that is stored was begun
	for name := range stored {
		r := l.requests[name]
		last[r.life] = max(last[r.life], r.begun)
	}
	for name, r := range l.requests {
		switch {
		case r.status == http.StatusOK && !stored[name]:
			l.t.Errorf("%s was answered 200 and is lost", name)
		case r.status == http.StatusAccepted && !stored[name]:
			lost++
			if r.ended < last[r.life] {
				l.t.Errorf("%s was answered 202 and is lost, though a later request is stored", name)
			}
		case r.status >= 300 && stored[name]:
			l.t.Errorf("%s was answered %d and is stored", name, r.status)
		}
	}
	return lost
}

// auditAll is audit where nothing may be lost.
func (l *ledger) auditAll(messages []string) {
	l.t.Helper()
	if lost := l.audit(messages); lost != 0 {
		l.t.Errorf("%d requests were answered 202 and are lost", lost)
	}
}

// soundMessages returns the messages of databases, by id, and checks that the
// databases are sound.
func soundMessages(t *testing.T, paths ...string) (messages []string) {
	t.Helper()
	for _, path := range paths {
		if got := query(t, path, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("%s: %s", path, got)
		}
		for _, r := range readRows(t, path) {
			messages = append(messages, r[1])
		}
	}
	return messages
}

// get returns the answer's status and body.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequest("GET", p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Close = true // so that descriptors can be counted
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// metrics returns the program's metrics.
func (p *process) metrics() map[string]float64 {
	p.t.Helper()
	_, text := p.get("/metrics")
	return parseMetrics(p.t, text)
}

// books fails the test unless the books of the program balance, with nothing
// left in the queue.
func (p *process) books() {
	p.t.Helper()
	var m map[string]float64
	p.until("the queue is empty", func() bool {
		m = p.metrics()
		return m["queue_entries"] == 0 && m["queue_bytes"] == 0 && m["memory_bytes"] == 0
	})
	accepted := m[`entries_total{result="accepted"}`]
	if sum := accepted + m[`entries_total{result="filtered"}`] + m[`entries_total{result="refused"}`]; sum != m["entries_received_total"] {
		p.t.Errorf("%v entries were received, and %v accepted, filtered or refused", m["entries_received_total"], sum)
	}
	if accepted != m["entries_stored_total"] {
		p.t.Errorf("%v entries were accepted, and %v stored", accepted, m["entries_stored_total"])
	}
}

// until waits for a condition.
func (p *process) until(what string, condition func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.done:
			p.t.Fatalf("the program ended before %s", what)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("it did not happen that %s", what)
		}
	}
}

// says reports how often the log says something.
func (p *process) says(text string) int { return strings.Count(p.logged(), text) }

// saidOnce fails the test unless the log says something once.
func (p *process) saidOnce(text string) {
	p.t.Helper()
	if n := p.says(text); n != 1 {
		p.t.Errorf("the log says %q %d times", text, n)
	}
}

// holdLock takes the lock for writing, as another process would, and returns
// what ends it.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	return hold(t, path, "BEGIN IMMEDIATE")
}

// hold begins a transaction of another connection and returns what ends it.
func hold(t *testing.T, path string, begin ...string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append([]string{"PRAGMA busy_timeout=10000"}, begin...) {
		if _, err := conn.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	release = sync.OnceFunc(func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		conn.Close()
		db.Close()
	})
	t.Cleanup(release)
	return release
}

// post sends p a body as name and returns the answer's protocol and status.
func (c *testCertificate) post(p *process, name, body string) (string, error) {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: c.roots, ServerName: name},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Post("https"+strings.TrimPrefix(p.url, "http")+"/ingest?wait=1", "", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return resp.Proto + " " + resp.Status, resp.Body.Close()
}

// hangUp sends SIGHUP and waits until the log says so.
func (p *process) hangUp(says string) {
	p.t.Helper()
	before := strings.Count(p.logged(), says)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); strings.Count(p.logged(), says) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the log does not say %q", says)
		}
	}
}

// peakMemory is the same for a test, which it skips where memory tells nothing.
func (p *process) peakMemory() int {
	p.t.Helper()
	switch peak, ok := peakMemory(p.cmd.Process.Pid); {
	case raceDetected():
		p.t.Skip("the race detector takes memory of its own")
	case ok:
		return peak
	case runtime.GOOS == "linux":
		p.t.Fatal("Linux does not tell the peak memory of the process")
	}
	p.t.Skip("only Linux tells the peak memory of a process")
	return 0
}

// postGzip returns the status of the answer to a gzipped body.
func (p *process) postGzip(body string) (int, error) {
	r, err := http.NewRequest("POST", p.url+"/ingest", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// asProgram is the environment variable that makes the test binary run as the
// program itself, so that tests start the real thing without building it.
const asProgram = "LOG_INGESTER_TEST_RUN"
