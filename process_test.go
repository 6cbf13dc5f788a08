package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram is the environment variable that makes the test binary run as the
// program itself, so that tests start the real thing without building it.
const asProgram = "LOG_INGESTER_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A process is the program, running.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	db   string
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer
}

var listening = regexp.MustCompile(`msg="taking logs" addr=(\S+)`)

// start runs the program on a free port, on the database db, until the test
// ends. It waits until the program takes logs.
func start(t *testing.T, db string, args ...string) *process {
	t.Helper()
	p := launch(t, db, args...)
	deadline := time.After(30 * time.Second)
	for {
		if m := listening.FindStringSubmatch(p.logged()); m != nil {
			p.url = "http://127.0.0.1" + m[1][strings.LastIndexByte(m[1], ':'):]
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("the program ended: %v\n%s", p.cmd.ProcessState, p.logged())
		case <-deadline:
			t.Fatalf("the program does not listen\n%s", p.logged())
		case <-time.After(time.Millisecond):
		}
	}
}

// launch runs the program and does not wait for it.
func launch(t *testing.T, db string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, db: db, done: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
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
	t.Cleanup(func() {
		p.cmd.Process.Kill() // it may have ended already
		<-p.done
		if t.Failed() {
			t.Logf("its log:\n%s", p.logged())
		}
	})
	return p
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

// post sends a body to /ingest and returns the answer.
func (p *process) post(query, body string) (status int, answer string, err error) {
	resp, err := http.Post(p.url+"/ingest"+query, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// mustPost is post for an answer that has to be status.
func (p *process) mustPost(status int, query, body string) string {
	p.t.Helper()
	got, answer, err := p.post(query, body)
	if err != nil || got != status {
		p.t.Fatalf("POST /ingest%s %.100q: %d %s %v, want %d", query, body, got, answer, err, status)
	}
	return answer
}
