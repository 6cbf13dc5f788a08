//go:build linux

package examples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"log-ingester/internal/testskip"
)

// timeout limits each wait. It is far longer than any wait should take.
const timeout = time.Minute

const apiKey = "key-of-the-test"

var client = &http.Client{Timeout: timeout}

// require skips the test unless ok.
func require(t *testing.T, ok bool, what string) {
	t.Helper()
	if !ok {
		testskip.SkipOrFail(t, what)
	}
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// eventually waits until done reports true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// An endpoint is the address that a client sends to. The test decides what
// answers there: the service, a server that fails, or nothing.
type endpoint struct {
	t       *testing.T
	host    string
	port    string
	db      string
	service *process // nil if it does not run
}

// lookAtService looks at each file of the service, because go test reuses the
// result of an earlier run unless a file that a test looked at has changed.
var lookAtService = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || path == "../examples" || path == "../forward") {
			return filepath.SkipDir
		}
		if slices.Contains([]string{".go", ".s", ".mod", ".html", ".css", ".js"}, filepath.Ext(path)) {
			_, err = os.Stat(path)
		}
		return err
	})
})

// newEndpoint returns an endpoint where connections are refused. It binds the
// port without listening, which keeps the port free for the test: the listeners
// of the service and of the test may bind it too, because of SO_REUSEADDR.
func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	if err := lookAtService(); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := addr.(*syscall.SockaddrInet4).Port
	return &endpoint{t: t, host: "127.0.0.1", port: fmt.Sprint(port), db: filepath.Join(t.TempDir(), "logs.db")}
}

func (e *endpoint) addr() string { return net.JoinHostPort(e.host, e.port) }

// startService starts the service and waits until it takes logs.
func (e *endpoint) startService() {
	e.t.Helper()
	start := func() {
		cmd := exec.Command(serviceBinary, "-addr", e.addr(), "-db", e.db, "-level", "trace")
		cmd.Env = []string{"LOG_INGESTER_API_KEYS=" + apiKey}
		e.service = startProcess(e.t, cmd)
	}
	start()
	eventually(e.t, "the service gets ready", func() bool {
		if e.service.exited() {
			// A process that another test is starting has a copy of the listener
			// that was closed before, until it executes its program.
			if strings.Contains(e.service.stderr.String(), "address already in use") {
				start()
				return false
			}
			e.t.Fatalf("the service exited: %s", e.service.stderr.String())
		}
		res, err := client.Get("http://" + e.addr() + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// stopService stops the service. Until something else is started, connections
// are refused.
func (e *endpoint) stopService() {
	e.t.Helper()
	if status := e.service.terminate(); status != 0 {
		e.t.Fatalf("the service's exit status is %d, want 0", status)
	}
	e.service = nil
}

// killService kills the service with SIGKILL.
func (e *endpoint) killService() {
	e.t.Helper()
	if err := e.service.cmd.Process.Kill(); err != nil {
		e.t.Fatal(err)
	}
	e.service.wait()
	e.service = nil
}

// A lossyProxy counts the responses of a service.
type lossyProxy struct{ lost, repeated atomic.Int64 }

// loseResponses starts a proxy that passes requests to the service at another
// endpoint. It closes the connection instead of every second response, which the
// service has sent then.
func (e *endpoint) loseResponses(service *endpoint) *lossyProxy {
	e.t.Helper()
	listener, err := net.Listen("tcp", e.addr())
	if err != nil {
		e.t.Fatal(err)
	}
	p := new(lossyProxy)
	var responses atomic.Int64
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", service.addr() },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ModifyResponse: func(res *http.Response) error {
			if res.Header.Get("Idempotency-Replayed") == "true" {
				p.repeated.Add(1)
			}
			if responses.Add(1)%2 == 0 {
				return nil
			}
			p.lost.Add(1)
			return errors.New("lost")
		},
	}}
	go server.Serve(listener) // until Close
	e.t.Cleanup(func() { server.Close() })
	return p
}

// failRequests starts a server that fails the requests of a client in each of
// the given ways, one after another, and then in the last way: with a 503, or
// by closing the connection. The returned function waits until each way was
// used, and stops the server.
func (e *endpoint) failRequests(ways ...failure) (stop func()) {
	e.t.Helper()
	listener, err := net.Listen("tcp", e.addr())
	if err != nil {
		e.t.Fatal(err)
	}
	var mu sync.Mutex
	requests := 0
	all := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // if it fails, the client has gone
		mu.Lock()
		requests++
		n := requests
		mu.Unlock()
		if n == len(ways) {
			defer close(all)
		}
		if ways[min(n, len(ways))-1] == closed {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		http.NewResponseController(w).Flush() // before stop closes the connection
	})}
	go server.Serve(listener) // until Close
	e.t.Cleanup(func() { server.Close() })
	return func() {
		e.t.Helper()
		select {
		case <-all:
		case <-time.After(timeout):
			e.t.Fatal("timeout: the client sends its requests again")
		}
		server.Close()
	}
}

// ignoreRequests starts a server that accepts connections and never responds.
func (e *endpoint) ignoreRequests() {
	e.t.Helper()
	listener, err := net.Listen("tcp", e.addr())
	if err != nil {
		e.t.Fatal(err)
	}
	ended := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-ended })}
	go server.Serve(listener) // until Close
	e.t.Cleanup(func() {
		close(ended)
		server.Close()
	})
}

// A failure is how a request fails.
type failure int

const (
	busy   failure = iota // a 503
	closed                // the connection is closed without a response
)

// A row is an entry that the service stored.
type row struct{ Level, Message string }

// rows returns all entries that the service accepted until now, in their order.
func (e *endpoint) rows() (rows []row) {
	e.t.Helper()
	const last = "last of the test"
	e.request("POST", "/ingest?wait=1", `{"message":"`+last+`"}`) // commits all entries before it
	body := e.request("GET", "/logs?limit=10000", "")
	if err := json.Unmarshal(body, &rows); err != nil {
		e.t.Fatal(err)
	}
	slices.Reverse(rows) // the newest comes first
	return slices.DeleteFunc(rows, func(r row) bool { return r.Message == last })
}

func (e *endpoint) request(method, path, body string) []byte {
	e.t.Helper()
	req, err := http.NewRequest(method, "http://"+e.addr()+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	res, err := client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		e.t.Fatalf("%s %s: got %d %s, %v, want 200", method, path, res.StatusCode, text, err)
	}
	return text
}

// waitForRows waits until the service has stored n entries.
func (e *endpoint) waitForRows(n int) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("%d entries are stored", n), func() bool { return len(e.rows()) >= n })
}

// copyExample copies the files of a directory to a temporary one. In the copies
// it replaces the service's address and the key.
func (e *endpoint) copyExample(dir, key string) (copied string) {
	e.t.Helper()
	copied = e.t.TempDir()
	replace := strings.NewReplacer("localhost", e.host, "3002", e.port, "KEY", key)
	entries, err := os.ReadDir(dir)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			e.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, entry.Name()), []byte(replace.Replace(string(text))), 0o700); err != nil {
			e.t.Fatal(err)
		}
	}
	return copied
}

// A process is a program that runs until it exits or the test ends.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  *os.File
	stderr buffer
	done   chan struct{} // closed when it has exited
}

func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	stdin, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	p.stdin = writer
	t.Cleanup(func() { writer.Close() }) // finish may have closed it
	cmd.Stdin = stdin
	cmd.Stderr = &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait() // wait reads the exit status from cmd.ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails if the group has exited
		<-p.done
		if t.Failed() {
			t.Logf("%s wrote to standard error:\n%s", filepath.Base(cmd.Path), p.stderr.String())
		}
	})
	return p
}

// writeLines writes lines to the standard input of the process.
func (p *process) writeLines(lines ...string) {
	p.t.Helper()
	if err := p.stdin.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.WriteString(p.stdin, strings.Join(lines, "\n")+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// finish closes the standard input, which ends a client, and returns the exit
// status.
func (p *process) finish() int {
	p.t.Helper()
	if err := p.stdin.Close(); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// terminate sends SIGTERM and returns the exit status.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(timeout):
		p.t.Fatalf("timeout: %s exits", p.cmd.Path)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// A buffer is a bytes.Buffer that one goroutine writes and others read.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}
