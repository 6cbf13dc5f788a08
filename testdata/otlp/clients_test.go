package otlptest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"log-ingester/internal/testskip"
)

func TestMain(m *testing.M) { os.Exit(testskip.Main(m)) }

// A service is the real program, behind a proxy that can fail.
type service struct {
	db       string
	endpoint string // of the proxy
	fault    atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64 // that the service has received
	faults   atomic.Int64
}

// startService builds and starts the service with -level warn.
func startService(t *testing.T) *service {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "log-ingester")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &service{db: filepath.Join(dir, "logs.db")}
	cmd := exec.Command(program, "-addr", "127.0.0.1:0", "-level", "warn", "-db", s.db)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	addr := ""
	for addr == "" && lines.Scan() {
		_, after, _ := strings.Cut(lines.Text(), "addr=")
		addr, _, _ = strings.Cut(after, " ")
	}
	if addr == "" {
		t.Fatal("the service did not start")
	}
	go func() {
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service exited with %v", err)
		}
	})

	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := s.fault.Load(); fault != nil {
			s.faults.Add(1)
			(*fault)(w, r)
			return
		}
		s.requests.Add(1)
		proxy.ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	s.endpoint = "http://" + listener.Addr().String()
	return s
}

// unavailable and disconnect are faults of the proxy.
func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
}

func disconnect(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// outages makes the proxy respond with each fault for some time, after the first
// request.
func (s *service) outages(ctx context.Context, faults ...http.HandlerFunc) {
	pause := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	for s.requests.Load() == 0 && ctx.Err() == nil {
		pause(10 * time.Millisecond)
	}
	for _, fault := range faults {
		s.fault.Store(&fault)
		pause(1500 * time.Millisecond)
		s.fault.Store(nil)
		pause(time.Second)
	}
}

// records is the number of records that each client sends, of alternating level.
const records = 2000

// TestClients runs the default exporters of SDKs, and a client of Elasticsearch,
// through outages. scripts/install-tools installs their packages.
func TestClients(t *testing.T) {
	dir := t.TempDir()
	goClient := filepath.Join(dir, "client")
	if out, err := exec.Command("go", "build", "-o", goClient, "./clients/go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const python = "clients/python/venv/bin/python"
	all := []http.HandlerFunc{unavailable, disconnect}
	for _, c := range []struct {
		name, service string
		command       []string
		needs         []string // a command that fails if the client is not installed
		args          []string
		faults        []http.HandlerFunc
	}{
		// The exporters for Go and Java, and the client of Elasticsearch, do not
		// repeat a request whose connection breaks.
		{"go", "go", []string{goClient}, nil, nil, all[:1]},
		{"python", "python", []string{python, "clients/python/client.py"}, []string{python, "-c",
			"import opentelemetry.exporter.otlp.proto.http"}, nil, all},
		{"elasticsearch", "elastic", []string{python, "clients/python/elastic.py"},
			[]string{python, "-c", "import elasticsearch"}, nil, all[:1]},
		{"node-json", "node", []string{"node", "clients/node/client.mjs"}, []string{"test", "-d",
			"clients/node/node_modules"}, []string{"json"}, all},
		{"node-proto", "node", []string{"node", "clients/node/client.mjs"}, []string{"test", "-d",
			"clients/node/node_modules"}, []string{"proto"}, all},
		{"java", "java", []string{"java", "-cp", "clients/java/target/classes:clients/java/target/dependency/*", "App"},
			[]string{"test", "-d", "clients/java/target/dependency"}, nil, all[:1]},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.needs != nil && exec.Command(c.needs[0], c.needs[1:]...).Run() != nil {
				testskip.SkipOrFail(t, "the packages of the client "+c.name+" (scripts/install-tools)")
			}
			t.Parallel()
			s := startService(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			go s.outages(ctx, c.faults...)
			path := "/v1/logs"
			if c.service == "elastic" {
				path = "/elasticsearch"
			}
			args := append(append(c.command[1:], s.endpoint+path, fmt.Sprint(records)), c.args...)
			began := time.Now()
			out, err := exec.CommandContext(ctx, c.command[0], args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Logf("%d requests accepted, %d failed; the client wrote %.500s", s.requests.Load(), s.faults.Load(), out)
			s.check(t, c.service, began)
		})
	}
}

// TestCollector runs the Collector with examples/otel-collector through outages.
// scripts/install-tools builds the Collector.
func TestCollector(t *testing.T) {
	program, err := filepath.Abs("clients/collector/out/otelcol")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		testskip.SkipOrFail(t, "the Collector (scripts/install-tools)")
	}
	example, err := os.ReadFile("../../examples/otel-collector/collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"proto", "json"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			dir := t.TempDir()
			config := strings.NewReplacer("http://localhost:3002", s.endpoint, "localhost:4318", "127.0.0.1:0",
				"encoding: proto", "encoding: "+encoding).
				Replace(string(example))
			if err := os.WriteFile(filepath.Join(dir, "collector.yaml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			go s.outages(ctx, unavailable, disconnect)
			began := time.Now()
			var out strings.Builder
			cmd := exec.CommandContext(ctx, program, "--config", "collector.yaml")
			cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := writeLines(filepath.Join(dir, "app.log")); err != nil {
				t.Error(err)
			}
			s.check(t, "collector", began)
			cancel()
			if err := cmd.Wait(); err != nil && ctx.Err() == nil {
				t.Errorf("%v: %s", err, &out)
			}
			t.Logf("%d requests accepted, %d failed", s.requests.Load(), s.faults.Load())
			if t.Failed() {
				t.Logf("the Collector wrote %s", &out)
			}
		})
	}
}

// writeLines writes the records that the Collector follows.
func writeLines(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range records {
		_, err := fmt.Fprintf(
			f,
			`{"time":%q,"level":%q,"message":"collector %d","order":%d,"user":"bob","service.name":"collector-demo"}`+"\n",
			time.Now().Format(time.RFC3339Nano),
			[...]string{"error", "warn"}[i%2],
			i,
			i,
		)
		if err != nil {
			return err
		}
		time.Sleep(4 * time.Millisecond)
	}
	return nil
}

// check compares the rows with what a client has sent.
func (s *service) check(t *testing.T, name string, began time.Time) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.db+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if s.faults.Load() == 0 {
		t.Error("no request failed, want some")
	}
	count := func() (stored int) {
		if err := db.QueryRow("SELECT count(*) FROM logs").Scan(&stored); err != nil {
			t.Fatal(err)
		}
		return stored
	}
	for deadline := time.Now().Add(30 * time.Second); count() < records && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	rows, err := db.Query(
		`SELECT level, message, timestamp, details ->> '$.order', details ->> '$.user',
		details ->> '$."service.name"' FROM logs`,
	)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := make(map[string]int)
	for rows.Next() {
		var level, message, timestamp, user, service string
		var order int
		if err := rows.Scan(&level, &message, &timestamp, &order, &user, &service); err != nil {
			t.Fatal(err)
		}
		seen[message]++
		wantLevel := [...]string{"error", "warn"}[order%2]
		when, err := time.Parse(time.RFC3339Nano, timestamp)
		if level != wantLevel || message != fmt.Sprintf("%s %d", name, order) || user != "bob" || service != name+"-demo" ||
			err != nil ||
			when.Before(began) ||
			when.After(time.Now()) {
			t.Fatalf("got a row %q %q %q %d %q %q", level, message, timestamp, order, user, service)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if got := seen[fmt.Sprintf("%s %d", name, i)]; got != 1 {
			t.Fatalf("got record %d %d times, want once", i, got)
		}
	}
}
