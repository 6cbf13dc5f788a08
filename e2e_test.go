package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"log-ingester/internal/testskip"
)

// The tests in the files e2e_*_test.go start log-ingester as a process. This file
// contains their helpers.

// runAsProgram is the environment variable that makes the test binary run
// log-ingester instead of the tests. The processes are then built like the
// tests, for example with the race detector.
const runAsProgram = "RUN_TEST_AS_LOG_INGESTER"

func TestMain(m *testing.M) {
	if os.Getenv(runAsProgram) != "" {
		main()
	}
	clearEnvironment()
	os.Exit(testskip.Main(m))
}

// clearEnvironment removes the variables that configure log-ingester, because
// processes inherit them.
func clearEnvironment() {
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "LOG_INGESTER_") || name == "GOGC" || name == "GOMEMLIMIT" {
			os.Unsetenv(name)
		}
	}
}

// Log messages that several tests wait for.
const (
	logShuttingDown = `msg="shutting down"`
	logShutDown     = `msg="shut down"`
	logWriteFailed  = "cannot write to the database"
	logRecovered    = "writing to the database again"
	logReopening    = "reopening the database"
)

// A process is a running log-ingester. Its address and database are unique to
// the test.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string
	db     string
	exited chan struct{} // closed when the process has exited

	mu  sync.Mutex
	log bytes.Buffer
}

// start starts a process on the database db and waits until it accepts logs. The
// process is killed when the test ends.
func start(t testing.TB, db string, args ...string) *process {
	t.Helper()
	p := launch(t, db, args...)
	p.awaitListening()
	return p
}

// launch is like start, but does not wait.
func launch(t testing.TB, db string, args ...string) *process {
	t.Helper()
	p := newProcess(t, db, args...)
	p.launch()
	return p
}

// newProcess returns a process that is not yet running.
func newProcess(t testing.TB, db string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	p := &process{t: t, db: db, exited: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	p.cmd.Env = append(os.Environ(), runAsProgram+"=1")
	return p
}

func (p *process) launch() {
	p.t.Helper()
	stderr, err := p.cmd.StderrPipe()
	must(p.t, err)
	must(p.t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		p.cmd.Wait() // the result is in p.cmd.ProcessState
	}()
	p.t.Cleanup(func() {
		p.cmd.Process.Kill() // fails if the process has exited
		p.wait()
		for line := range strings.Lines(p.logText()) {
			if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "log-ingester: ") {
				p.t.Errorf("got a line in stderr that is not a log line: %s", line)
			}
		}
		if p.t.Failed() {
			p.t.Logf("log of the process:\n%s", p.logText())
		}
	})
}

var listening = regexp.MustCompile(`msg="accepting logs" addr=\S+:(\d+)`)

// awaitListening waits until the process accepts logs, and sets p.url.
func (p *process) awaitListening() {
	p.t.Helper()
	var port []string
	p.waitFor("the process listens", func() bool {
		port = listening.FindStringSubmatch(p.logText())
		return port != nil
	})
	p.url = "http://127.0.0.1:" + port[1]
}

// waitFor is like the function waitFor, but fails as soon as the process exits.
func (p *process) waitFor(what string, cond func() bool) {
	p.t.Helper()
	waitFor(p.t, what, func() bool {
		p.t.Helper()
		exited := p.hasExited() // before cond, which may become true just before the exit
		done := cond()
		if exited && !done {
			p.t.Fatalf("the process exited before %s: %v", what, p.cmd.ProcessState)
		}
		return done
	})
}

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// send sends a signal.
func (p *process) send(sig os.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(sig))
}

// wait waits for the exit of the process and returns its status, which is -1
// after a signal that it does not handle.
func (p *process) wait() int {
	p.t.Helper()
	receive(p.t, "the exit of the process", p.exited)
	return p.cmd.ProcessState.ExitCode()
}

// signal sends a signal, and returns the exit status.
func (p *process) signal(sig os.Signal) int {
	p.t.Helper()
	p.send(sig)
	return p.wait()
}

// interrupt shuts the process down with SIGINT. The exit status must be 0.
func (p *process) interrupt() {
	p.t.Helper()
	if status := p.signal(os.Interrupt); status != 0 {
		p.t.Errorf("after SIGINT: got exit status %d, want 0", status)
	}
}

// logText returns the log so far.
func (p *process) logText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// logged returns how often text is in the log.
func (p *process) logged(text string) int { return strings.Count(p.logText(), text) }

// waitForLog waits until text is in the log.
func (p *process) waitForLog(text string) {
	p.t.Helper()
	p.waitFor(fmt.Sprintf("the log has %q", text), func() bool { return p.logged(text) > 0 })
}

// checkLogged fails the test unless text is in the log n times.
func (p *process) checkLogged(text string, n int) {
	p.t.Helper()
	if got := p.logged(text); got != n {
		p.t.Errorf("got %q in the log %d times, want %d", text, got, n)
	}
}

// client does not keep connections, so that tests can count the descriptors of a
// process, and never use a connection to one that was restarted.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: waitTimeout}

// post sends a body to /ingest and returns the status of the response.
func (p *process) post(query, body string, header ...string) (status int, err error) {
	status, _, err = p.postTo("/ingest"+query, strings.NewReader(body), header...)
	return status, err
}

// postTo sends a body to a path and returns the status and the body of the response.
func (p *process) postTo(path string, body io.Reader, header ...string) (status int, text string, err error) {
	r, err := http.NewRequest("POST", p.url+path, body)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	received, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(received), err
}

// get returns the status and body of the response.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	resp, err := client.Get(p.url + path)
	must(p.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(p.t, err)
	return resp.StatusCode, string(body)
}

func (p *process) metrics() map[string]float64 {
	p.t.Helper()
	_, text := p.get("/metrics")
	return parseMetrics(p.t, text)
}

// checkBalanced waits until the queue is empty, and fails the test unless each
// received entry is counted once.
func (p *process) checkBalanced() {
	p.t.Helper()
	var m map[string]float64
	p.waitFor("the queue is empty", func() bool {
		m = p.metrics()
		return m["queue_entries"] == 0 && m["queue_bytes"] == 0 && m["memory_bytes"] == 0
	})
	result := func(name string) float64 { return m[`entries_total{result="`+name+`"}`] }
	received := m["entries_received_total"]
	accepted, filtered, refused := result("accepted"), result("filtered"), result("refused")
	if received != accepted+filtered+refused {
		p.t.Errorf("got %v entries received, but %v accepted, %v filtered and %v refused", received, accepted, filtered, refused)
	}
	if stored := m["entries_stored_total"]; accepted != stored {
		p.t.Errorf("got %v entries accepted, but %v stored", accepted, stored)
	}
}

// A ledger records requests and their responses, to compare them with the
// database afterwards. The entries of a request have the messages NAME/i/n,
// where n is their number.
type ledger struct {
	t *testing.T

	mu       sync.Mutex
	run      int // how often the process was restarted
	clock    int // counts the starts and ends of requests
	requests map[string]*request
}

// A request is one that a client sent.
type request struct {
	entries    int
	run        int
	status     int // 0 if there was no response
	start, end int // on the ledger's clock
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, requests: map[string]*request{}}
}

// post sends a request with a unique name, and returns the status of the
// response, or 0 if there is none. The body also contains an entry below the
// threshold.
func (l *ledger) post(p *process, query, name string, entries, size int) int {
	l.mu.Lock()
	r := &request{entries: entries, run: l.run, start: l.clock}
	l.clock++
	l.requests[name] = r
	l.mu.Unlock()

	var body strings.Builder
	filler := strings.Repeat("x", size)
	for i := range entries {
		fmt.Fprintf(&body, `{"level":"error","msg":"%s/%d/%d","filler":"%s"}`+"\n", name, i, entries, filler)
	}
	body.WriteString(`{"level":"info"}`)
	resp, err := client.Post(p.url+"/ingest"+query, "", strings.NewReader(body.String()))
	if err != nil {
		return 0
	}
	io.Copy(io.Discard, resp.Body) // the status counts even if the body is cut off
	resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		l.t.Errorf("%s: got 503 without Retry-After", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.status, r.end = resp.StatusCode, l.clock
	l.clock++
	return r.status
}

// mustPost sends a small request, whose response must have the status want.
func (l *ledger) mustPost(p *process, query, name string, want int) {
	l.t.Helper()
	if got := l.post(p, query, name, 3, 10); got != want {
		l.t.Fatalf("%s: got status %d, want %d", name, got, want)
	}
}

// postUntil sends requests until one gets the status want. Each other one must
// get the status meanwhile.
func (l *ledger) postUntil(p *process, query, name string, want, meanwhile int) {
	l.t.Helper()
	n := 0
	p.waitFor(fmt.Sprintf("%s gets status %d", name, want), func() bool {
		l.t.Helper()
		n++
		switch got := l.post(p, query, fmt.Sprintf("%s-%d", name, n), 2, 10); got {
		case want:
			return true
		case meanwhile:
		default:
			l.t.Fatalf("%s: got status %d, want %d or %d", name, got, want, meanwhile)
		}
		return false
	})
}

// postUntilStored sends requests until the database can be written to again.
func (l *ledger) postUntilStored(p *process, name string) {
	l.t.Helper()
	l.postUntil(p, "?wait=1", name, http.StatusOK, http.StatusServiceUnavailable)
}

// postUntilRefused sends requests until the service knows that the database
// cannot be written to.
func (l *ledger) postUntilRefused(p *process, name string) {
	l.t.Helper()
	l.postUntil(p, "", name, http.StatusServiceUnavailable, http.StatusAccepted)
}

// audit compares the messages of the database, in the order of their ids, with
// the responses. Each request must be stored once and completely, or not at all:
// it must be stored if the status was 200, and must not if it was an error.
//
// Requests with status 202 may be lost if the process was killed, and audit
// returns how many were. Only the last requests of the queue may be lost: no lost
// request may have ended before a stored request of the same run started.
func (l *ledger) audit(messages []string) (lost int) {
	l.t.Helper()
	stored := l.storedRequests(messages)
	lastStart := map[int]int{} // of the stored requests in each run
	for name := range stored {
		r := l.requests[name]
		lastStart[r.run] = max(lastStart[r.run], r.start)
	}
	for name, r := range l.requests {
		switch {
		case r.status == http.StatusOK && !stored[name]:
			l.t.Errorf("%s got status 200, but is not stored", name)
		case r.status == http.StatusAccepted && !stored[name]:
			lost++
			if r.end < lastStart[r.run] {
				l.t.Errorf("%s got status 202 and is not stored, but a later request is", name)
			}
		case r.status >= 300 && stored[name]:
			l.t.Errorf("%s got status %d, but is stored", name, r.status)
		}
	}
	return lost
}

// storedRequests returns the names of the requests that messages belong to, and
// fails the test unless each one is there once and completely.
func (l *ledger) storedRequests(messages []string) map[string]bool {
	l.t.Helper()
	stored := map[string]bool{}
	for i := 0; i < len(messages); {
		name, _, _ := strings.Cut(messages[i], "/")
		r := l.requests[name]
		if r == nil {
			l.t.Errorf("%q is stored, but was not sent", messages[i])
			i++
			continue
		}
		if stored[name] {
			l.t.Errorf("%s is stored twice", name)
		}
		stored[name] = true
		for n := range r.entries {
			want := fmt.Sprintf("%s/%d/%d", name, n, r.entries)
			if i == len(messages) || messages[i] != want {
				l.t.Errorf("%s is not stored completely: %s is missing", name, want)
				break
			}
			i++
		}
	}
	return stored
}

// auditAll is like audit, but no request may be lost.
func (l *ledger) auditAll(messages []string) {
	l.t.Helper()
	if lost := l.audit(messages); lost != 0 {
		l.t.Errorf("got %d lost requests with status 202, want 0", lost)
	}
}

// readMessages returns the messages of databases, ordered by id, and checks the
// integrity of the files.
func readMessages(t *testing.T, paths ...string) (messages []string) {
	t.Helper()
	for _, path := range paths {
		if got := query(t, path, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("%s: got integrity check %q, want ok", path, got)
		}
		for _, r := range readRows(t, path) {
			messages = append(messages, r[1])
		}
	}
	return messages
}

// holdLock takes the database's write lock until release is called or the test
// ends.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	return hold(t, path, "BEGIN IMMEDIATE")
}

// holdSnapshot keeps a read transaction open until release is called or the test
// ends.
func holdSnapshot(t *testing.T, path string) (release func()) {
	t.Helper()
	return hold(t, path, "BEGIN", "SELECT id FROM logs LIMIT 1")
}

func hold(t *testing.T, path string, begin ...string) (release func()) {
	t.Helper()
	db := openSQL(t, path)
	conn, err := db.Conn(context.Background())
	must(t, err)
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.ExecContext(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for _, s := range begin {
		exec(s)
	}
	release = sync.OnceFunc(func() {
		exec("ROLLBACK")
		conn.Close()
		db.Close()
	})
	t.Cleanup(release)
	return release
}
