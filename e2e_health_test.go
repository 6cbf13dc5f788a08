package main

import (
	"bytes"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// healthcheck runs the program as a container's health check does, told by the
// environment alone.
func healthcheck(t *testing.T, env map[string]string) (status int, says string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	getenv := func(name string) string { return env[name] }
	status = run([]string{"-healthcheck"}, getenv, &stdout, &stderr)
	if stdout.Len() > 0 {
		t.Errorf("stdout: %s", stdout.String())
	}
	return status, stderr.String()
}

func TestHealthcheck(t *testing.T) {
	p := start(t, t.TempDir()+"/logs.db")
	addr := strings.TrimPrefix(p.url, "http://")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	// ":port" and "0.0.0.0:port" are where a service listens on all addresses.
	for _, addr := range []string{addr, ":" + port, "0.0.0.0:" + port} {
		if status, says := healthcheck(t, map[string]string{"LOG_INGESTER_ADDR": addr}); status != 0 || says != "" {
			t.Errorf("%s: status %d, %s", addr, status, says)
		}
	}
	if status := p.signal(os.Interrupt); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	status, says := healthcheck(t, map[string]string{"LOG_INGESTER_ADDR": addr})
	if status != 1 || !strings.Contains(says, "connection refused") || strings.Count(says, "\n") != 1 {
		t.Errorf("after the end: status %d, %q", status, says)
	}
}

func TestHealthcheckOfUnready(t *testing.T) {
	s := newTestService(t)
	server := httptest.NewServer(s.routes())
	defer server.Close()
	s.queue.stop()
	status, says := healthcheck(t, map[string]string{"LOG_INGESTER_ADDR": server.Listener.Addr().String()})
	if status != 1 || !strings.Contains(says, "503") || !strings.Contains(says, s.queue.notReady().Error()) {
		t.Errorf("status %d, %q", status, says)
	}
}

// The certificate is nobody's the check knows, as one for the service's public
// name would be.
func TestHealthcheckTLS(t *testing.T) {
	s := newTestService(t)
	server := httptest.NewTLSServer(s.routes())
	defer server.Close()
	env := map[string]string{
		"LOG_INGESTER_ADDR":     server.Listener.Addr().String(),
		"LOG_INGESTER_TLS_CERT": "cert.pem",
		"LOG_INGESTER_TLS_KEY":  "key.pem",
	}
	if status, says := healthcheck(t, env); status != 0 {
		t.Errorf("status %d, %s", status, says)
	}
}

// A build for a release is told its version by the linker, which says nothing
// when it finds no variable of the name.
func TestVersion(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "log-ingester")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	build := exec.Command("go", "build", "-o", bin, "-ldflags=-X main.version=v1.2.3 -X main.commit=c0ffee", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "-version").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^log-ingester v1\.2\.3 commit c0ffee ` + regexp.QuoteMeta(runtime.Version()) + ` SQLite 3\.\d+\.\d+\n$`)
	if !want.Match(out) {
		t.Errorf("got %q", out)
	}

	var own bytes.Buffer // this test binary, which nobody told
	printVersion(&own)
	if !regexp.MustCompile(`^log-ingester \S+ commit \S+ go\S+ .*SQLite 3\.`).Match(own.Bytes()) {
		t.Errorf("got %q", own.String())
	}
}
