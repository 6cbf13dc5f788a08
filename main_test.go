package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/pipetest"
)

// runHealthcheck runs -healthcheck, which is configured by the environment in a
// container.
func runHealthcheck(t *testing.T, env map[string]string) (status int, stderr string) {
	t.Helper()
	var stdout, errs bytes.Buffer
	status = run([]string{"-healthcheck"}, func(name string) string { return env[name] }, &stdout, &errs)
	if stdout.Len() > 0 {
		t.Errorf("got stdout %q, want none", stdout.String())
	}
	return status, errs.String()
}

func TestHealthcheckNotReady(t *testing.T) {
	s := newTestService(t)
	server := httptest.NewServer(s.handler)
	defer server.Close()
	s.queue.stop()
	status, stderr := runHealthcheck(t, map[string]string{"LOG_INGESTER_ADDR": server.Listener.Addr().String()})
	reason := s.queue.notReady().Error()
	if status != 1 || !strings.Contains(stderr, "503") || !strings.Contains(stderr, reason) {
		t.Errorf("got exit status %d and stderr %q, want 1, 503 and %q", status, stderr, reason)
	}
}

// The certificate need not be valid for the address, because it is usually for
// the public name of the service.
func TestHealthcheckTLS(t *testing.T) {
	s := newTestService(t)
	server := httptest.NewTLSServer(s.handler)
	defer server.Close()
	env := map[string]string{
		"LOG_INGESTER_ADDR":     server.Listener.Addr().String(),
		"LOG_INGESTER_TLS_CERT": "cert.pem",
		"LOG_INGESTER_TLS_KEY":  "key.pem",
	}
	if status, stderr := runHealthcheck(t, env); status != 0 {
		t.Errorf("got exit status %d and stderr %q, want 0", status, stderr)
	}
}

// With TLS the heap has ballast, which does not count for the memory limit. GOGC and
// GOMEMLIMIT override the settings.
func TestTuneGC(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	for _, c := range []struct {
		cert, gogc, limit string
		wantPercent       int
		wantLimit         int64
		wantBallast       int
	}{
		{"", "", "", 50, 128 << 20, 0},
		{"cert.pem", "", "", 50, 144 << 20, 16 << 20},
		{"cert.pem", "100", "", 100, 128 << 20, 0},
		{"cert.pem", "", "1GiB", 50, limit, 16 << 20},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(limit)
		env := map[string]string{"GOGC": c.gogc, "GOMEMLIMIT": c.limit}
		ballast := tuneGC(&config{memory: 64 << 20, tlsCert: c.cert}, func(name string) string { return env[name] })
		gotLimit, gotPercent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
		if gotPercent != c.wantPercent || gotLimit != c.wantLimit || len(ballast) != c.wantBallast {
			t.Errorf("%+v: got GOGC=%d, limit %d and %d bytes of ballast", c, gotPercent, gotLimit, len(ballast))
		}
	}
}

// A signal within signalDebounce of the first has no effect; a later one aborts
// the shutdown.
func TestSignalDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStalledService(t)                            // a shutdown waits for the writer
		t.Cleanup(func() { time.Sleep(s.cfg.drainTimeout) }) // until the shutdown gives up
		s.conns = newConnTable(pipetest.NewListener(), 1, s.accounts)
		signals := make(chan os.Signal, 2)
		result := make(chan error, 1)
		go func() { result <- shutdownOrAbort(s.service, signals) }()

		signals <- syscall.SIGTERM
		time.Sleep(signalDebounce)
		signals <- syscall.SIGTERM
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("after %v: got error %v, want the shutdown to continue", signalDebounce, err)
		default:
		}

		time.Sleep(time.Millisecond)
		signals <- syscall.SIGTERM
		if err := <-result; err == nil || !strings.Contains(err.Error(), "second signal") {
			t.Errorf("after %v: got error %v, want one about a second signal", signalDebounce+time.Millisecond, err)
		}
	})
}
