//go:build linux

// Package examples tests the clients in this directory. The tests run copies of
// the files, in which they replace only the service's address, the key, the paths
// of other programs' logs, and ports that the client listens on.
package examples

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"log-ingester/internal/testskip"
)

// serviceBinary is the program of the service.
var serviceBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait more than they compute, so run more of them than there are
	// processors.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	serviceBinary = filepath.Join(dir, "log-ingester")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", serviceBinary, "..").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the service: %v\n%s", err, out)
		return 1
	}
	return testskip.Main(m)
}

// A logger is an example for a logging library. It logs "started" as info, each
// line of standard input as an error, and "end of input" as a warning.
type logger struct {
	name    string
	warn    string // the level of a warning
	command func(e *endpoint, key string) *exec.Cmd
}

var loggers = []logger{
	{"go", "warn", goCommand},
	{"python", "warning", pythonCommand},
	{"pino", "warn", nodeCommand("pino")},
	{"winston", "warn", nodeCommand("winston")},
}

func goCommand(e *endpoint, key string) *exec.Cmd {
	dir := e.copyExample("go", key)
	build := exec.Command("go", "build", "-o", "client", "ingest.go", "main.go")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		e.t.Fatalf("building the client: %v\n%s", err, out)
	}
	return exec.Command(filepath.Join(dir, "client"))
}

func pythonCommand(e *endpoint, key string) *exec.Cmd {
	return exec.Command(venvPython(e.t), filepath.Join(e.copyExample("python", key), "main.py"))
}

// venvPython returns the Python that has the packages of requirements.txt and
// requirements-test.txt.
func venvPython(t *testing.T) string {
	t.Helper()
	python, err := filepath.Abs("python/venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	require(t, exists(python), "the virtual environment examples/python/venv")
	return python
}

func nodeCommand(library string) func(e *endpoint, key string) *exec.Cmd {
	return func(e *endpoint, key string) *exec.Cmd {
		require(e.t, installed("node"), "node")
		modules, err := filepath.Abs("node/node_modules")
		if err != nil {
			e.t.Fatal(err)
		}
		require(e.t, exists(filepath.Join(modules, library)), library+" in examples/node/node_modules")
		dir := e.copyExample("node", key)
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			e.t.Fatal(err)
		}
		return exec.Command("node", filepath.Join(dir, library+".mjs"))
	}
}

// testLoggers runs a test with each logger, in parallel. The service does not
// run yet.
func testLoggers(t *testing.T, test func(t *testing.T, l logger, e *endpoint)) {
	t.Parallel()
	for _, l := range loggers {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			test(t, l, newEndpoint(t))
		})
	}
}

// rows returns what the service stores if it gets all lines.
func (l logger) rows(lines ...string) []row {
	rows := []row{{"info", "started"}}
	for _, line := range lines {
		rows = append(rows, row{"error", line})
	}
	return append(rows, row{l.warn, "end of input"})
}

var lostLine = regexp.MustCompile(`^log ingester: (\d+) lines lost: (.+)$`)

// lost returns how many lines a client reports as lost, and the reasons.
func lost(t *testing.T, stderr string) (n int, reasons string) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		m := lostLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Errorf("unexpected line on standard error: %s", line)
			continue
		}
		k, err := strconv.Atoi(m[1])
		if err != nil {
			t.Error(err)
		}
		n += k
		reasons += m[2] + "\n"
	}
	return n, reasons
}

func checkRows(t *testing.T, got, want []row) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("stored rows:\n got %q\nwant %q", got, want)
	}
}

// checkSuccess checks that a client exits with status 0 and reports nothing.
func checkSuccess(t *testing.T, p *process) {
	t.Helper()
	if status := p.finish(); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	if stderr := p.stderr.String(); stderr != "" {
		t.Errorf("standard error: got %q, want nothing", stderr)
	}
}

func TestLoggerSends(t *testing.T) {
	testLoggers(t, func(t *testing.T, l logger, e *endpoint) {
		e.startService()
		lines := []string{"plain", `"quoted" \ {"level":"debug"}`, "Zoé — 注文 ✓ 🚀", "<b>&amp;</b>\t%d"}
		client := startProcess(t, l.command(e, apiKey))
		client.writeLines(lines...)
		checkSuccess(t, client)
		checkRows(t, e.rows(), l.rows(lines...))
	})
}

// A logger sends its lines again while the service is busy, down or restarting,
// and the service stores each line once.
func TestLoggerRetries(t *testing.T) {
	testLoggers(t, func(t *testing.T, l logger, e *endpoint) {
		stop := e.failRequests(busy, closed)
		client := startProcess(t, l.command(e, apiKey))
		client.writeLines("down at the start")
		stop()
		e.startService()
		e.waitForRows(2)

		client.writeLines("up")
		e.waitForRows(3)

		e.stopService()
		stop = e.failRequests(closed, busy)
		client.writeLines("down between")
		stop()
		e.startService()
		e.waitForRows(4)

		checkSuccess(t, client)
		checkRows(t, e.rows(), l.rows("down at the start", "up", "down between"))
	})
}

// Responses get lost and the service is killed, again and again. Each line is
// stored once, in its order.
func TestLoggerSendsOnce(t *testing.T) {
	testLoggers(t, func(t *testing.T, l logger, e *endpoint) {
		service := newEndpoint(t)
		service.startService()
		proxy := e.loseResponses(service)
		client := startProcess(t, l.command(e, apiKey))
		var lines []string
		for i := range 12 {
			before := proxy.lost.Load()
			for range 5 {
				lines = append(lines, "line "+strconv.Itoa(len(lines)))
				client.writeLines(lines[len(lines)-1])
			}
			eventually(t, "a response is lost", func() bool { return proxy.lost.Load() > before })
			if i%3 == 2 {
				service.killService()
				service.startService()
			}
		}
		checkSuccess(t, client)
		checkRows(t, service.rows(), l.rows(lines...))
		if n := proxy.repeated.Load(); n == 0 {
			t.Error("got no response with Idempotency-Replayed")
		}
	})
}

// A logger whose service is down when the program ends waits for a limited time
// and reports the lost lines. A full buffer does not block the program.
func TestLoggerGivesUp(t *testing.T) {
	testLoggers(t, func(t *testing.T, l logger, e *endpoint) {
		e.startService()
		client := startProcess(t, l.command(e, apiKey))
		client.writeLines("up")
		e.waitForRows(2)
		e.stopService()

		lines := make([]string, 40_000) // more than a buffer and a request hold
		for i := range lines {
			lines[i] = "down " + strconv.Itoa(i)
		}
		client.writeLines(lines...)
		if status := client.finish(); status != 0 {
			t.Errorf("exit status: got %d, want 0", status)
		}
		n, reasons := lost(t, client.stderr.String())
		if want := len(lines) + 1; n != want { // and "end of input"
			t.Errorf("lost lines: got %d, want %d", n, want)
		}
		for _, want := range []string{"buffer full", "not sent within"} {
			if !strings.Contains(reasons, want) {
				t.Errorf("reasons: got %q, want %q", reasons, want)
			}
		}
		e.startService()
		checkRows(t, e.rows(), []row{{"info", "started"}, {"error", "up"}})
	})
}

// A logger whose service does not respond behaves as if it were down, also if
// the program ends during the first request.
func TestLoggerGivesUpWithoutResponse(t *testing.T) {
	testLoggers(t, func(t *testing.T, l logger, e *endpoint) {
		e.ignoreRequests()
		client := startProcess(t, l.command(e, apiKey))
		lines := make([]string, 40_000)
		for i := range lines {
			lines[i] = "line " + strconv.Itoa(i)
		}
		client.writeLines(lines...)
		if status := client.finish(); status != 0 {
			t.Errorf("exit status: got %d, want 0", status)
		}
		n, reasons := lost(t, client.stderr.String())
		if want := len(lines) + 2; n != want { // and "started" and "end of input"
			t.Errorf("lost lines: got %d, want %d", n, want)
		}
		for _, want := range []string{"buffer full", "not sent within"} {
			if !strings.Contains(reasons, want) {
				t.Errorf("reasons: got %q, want %q", reasons, want)
			}
		}
	})
}

// A logger does not send again what the service refuses.
func TestLoggerReportsRefusal(t *testing.T) {
	testLoggers(t, func(t *testing.T, l logger, e *endpoint) {
		e.startService()
		client := startProcess(t, l.command(e, "wrong-"+apiKey))
		client.writeLines("refused")
		if status := client.finish(); status != 0 {
			t.Errorf("exit status: got %d, want 0", status)
		}
		n, reasons := lost(t, client.stderr.String())
		if n != 3 || !strings.Contains(reasons, "401") {
			t.Errorf("lost lines: got %d, %q, want 3 and a 401", n, reasons)
		}
		checkRows(t, e.rows(), nil)
	})
}

// send-file.sh sends a large file in parts, and each part again while the
// service is busy or down. When it runs again, the service stores nothing twice.
func TestCurlSendsFile(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"curl", "split", "gzip"} {
		require(t, installed(program), program)
	}
	e := newEndpoint(t)
	script := filepath.Join(e.copyExample("curl", apiKey), "send-file.sh")
	file := filepath.Join(t.TempDir(), "app.log")
	var text strings.Builder
	var want []row
	for i := range 9000 { // 9 MB, so two parts
		message := fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000))
		fmt.Fprintf(&text, `{"level":"error","message":"%s"}`+"\n", message)
		want = append(want, row{"error", message})
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := e.failRequests(busy)
	client := startProcess(t, exec.Command(script, file))
	stop()
	e.startService()
	if status := client.wait(); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	if status := startProcess(t, exec.Command(script, file)).wait(); status != 0 {
		t.Errorf("second run: got exit status %d, want 0", status)
	}
	if got := e.rows(); !slices.Equal(got, want) {
		t.Errorf("stored rows: got %d, want the %d of the file", len(got), len(want))
	}
}

func TestCurlReportsRefusal(t *testing.T) {
	t.Parallel()
	require(t, installed("curl"), "curl")
	e := newEndpoint(t)
	e.startService()
	file := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := startProcess(t, exec.Command(filepath.Join(e.copyExample("curl", "wrong-"+apiKey), "send-file.sh"), file))
	status := client.wait()
	if stderr := client.stderr.String(); status == 0 || !strings.Contains(stderr, "401") {
		t.Errorf("got exit status %d and %q, want an error and a 401", status, stderr)
	}
	checkRows(t, e.rows(), nil)
}
