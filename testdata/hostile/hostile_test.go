//go:build linux

// Package hostile tests the service under hostile clients.
//
// It starts the real program with its default flags. Attackers from another
// address try to exhaust its memory, connections, readers and processor time,
// all at once, while an honest client sends and reads logs and a monitor probes
// the service.
//
//	go test -count=1 -timeout 20m .                              # a minute for each configuration
//	go test -count=1 -timeout 2h -run Clients/TLS . -duration 1h # an hour
//
// All connections are on the loopback interface.
package hostile

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	duration    = flag.Duration("duration", time.Minute, "duration of the attacks in each configuration")
	source      = flag.String("source", "../..", "directory of the service's source")
	only        = flag.String("attacks", "", "attacks to run, separated by commas; empty for all")
	disturbance = flag.Float64("disturbance", 0.2,
		"latencies do not count while other programs use more than this share of the processors")
	cgroup = flag.String("cgroup", "", "directory of a cgroup for the service, which limits its memory")
)

const (
	memoryLimit = 192 << 20 // of a container with the default configuration

	shutdownLimit = 4 * time.Second // from SIGTERM to the exit

	// lateDescriptors are those of connections to the database that a reader
	// opens only when it needs them.
	lateDescriptors = 16
)

func TestMain(m *testing.M) {
	if text := os.Getenv(planVariable); text != "" {
		if err := runAttacks(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

func TestHostileClients(t *testing.T) {
	program := buildService(t)
	for _, m := range []*mode{
		{name: "one address"},
		{name: "many addresses with keys", spread: true, keys: true},
		{name: "TLS", tls: true},
	} {
		t.Run(m.name, func(t *testing.T) { testMode(t, program, m) })
	}
}

func testMode(t *testing.T, program string, m *mode) {
	args := m.prepare(t)
	db := filepath.Join(t.TempDir(), "logs.db")
	s := startService(t, program, db, args...)
	s.seed(m)
	idle := s.load(m)
	honest := &sender{client: s.newClient(m, honestAddress, m.key(honestKey), true, 10*time.Second)}
	runFor(5*time.Second, func(ctx context.Context) {
		calm := &processors{pids: []int{s.cmd.Process.Pid, os.Getpid()}}
		go calm.run(ctx)
		honest.run(ctx, false)
		t.Logf("before the attacks: %v; %v", honest.latency(false, calm), calm)
	})

	p := plan{
		Addr: s.addr, TLS: m.tls, Spread: m.spread, Key: m.key(attackerKey), Only: *only,
		Interval: max(10*time.Second, *duration/20),
	}
	attackers := startAttackers(t, p)
	s.watch(m, honest, attackers.cmd.Process.Pid)
	counts := attackers.stop()
	attackers.log(counts)
	s.closeIdle()
	s.checkIdle(m, idle)

	more := startAttackers(t, p)
	var running sync.WaitGroup
	running.Go(func() { runFor(8*time.Second, func(ctx context.Context) { honest.run(ctx, false) }) })
	time.Sleep(7 * time.Second)
	t.Logf("exit under attack %v after SIGTERM", s.terminate(shutdownLimit))
	running.Wait()
	moreCounts := more.stop()
	checkDatabase(t, db, honest, counts, moreCounts)

	s = startService(t, program, db, args...)
	s.checkDeepSearchEnds(m)
	checkDatabase(t, db, honest, counts, moreCounts)
}

// runFor calls f with a context that ends after d.
func runFor(d time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	f(ctx)
}

// seed stores the rows that the attacks read.
func (s *service) seed(m *mode) {
	s.t.Helper()
	c := s.newClient(m, honestAddress, m.key(honestKey), false, waitTimeout)
	post := func(body string) {
		s.t.Helper()
		status, text, err := c.do(context.Background(), http.MethodPost, "/ingest?wait=1", body)
		if err != nil || status != http.StatusOK {
			s.t.Fatalf("store the first entries: got status %d and error %v: %s", status, err, text)
		}
	}
	entry := `{"level":"error","message":"seed","filler":"` + strings.Repeat("a", 600) + `"}` + "\n"
	for range 10 {
		post(strings.Repeat(entry, seeds/10))
	}
	post(deepEntry())
}

// A load is what an idle service uses.
type load struct{ goroutines, descriptors int }

// load reads some pages at once, which opens the reader's connections, and
// returns what the service uses afterwards.
func (s *service) load(m *mode) load {
	s.t.Helper()
	c := s.newClient(m, honestAddress, m.key(honestKey), false, waitTimeout)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			c.do(context.Background(), http.MethodGet, fmt.Sprintf("/logs?before=%d&limit=5000", seeds+1), "")
		})
	}
	running.Wait()
	time.Sleep(time.Second)
	return load{int(s.metrics(m)["goroutines"]), s.descriptors()}
}

func (s *service) metrics(m *mode) map[string]float64 {
	s.t.Helper()
	c := s.newClient(m, honestAddress, m.key(honestKey), false, waitTimeout)
	status, text, err := c.do(context.Background(), http.MethodGet, "/metrics", "")
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("/metrics: got status %d and error %v", status, err)
	}
	return parseMetrics(text)
}

// watch runs the honest client and the checks for the duration of the attacks,
// and reports their results.
func (s *service) watch(m *mode, honest *sender, attackers int) {
	t := s.t
	t.Helper()
	deadline := time.Now().Add(*duration)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	w := &monitor{failures: newFailures(), s: s, m: m}
	var running sync.WaitGroup
	used := &processors{pids: []int{s.cmd.Process.Pid, os.Getpid(), attackers}}
	running.Go(func() { used.run(ctx) })
	running.Go(func() { honest.run(ctx, true) })
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		running.Go(func() { w.probe(ctx, path) })
	}
	running.Go(func() { w.readSlowly(ctx, deadline) })
	running.Go(func() { w.follow(ctx) })
	running.Go(func() { w.checkBrowsers(ctx) })
	w.readPages(ctx)
	running.Wait()
	if s.hasExited() {
		t.Fatalf("the service exited during the attacks: %v", s.cmd.ProcessState)
	}

	w.checkMemory()
	all, failed := w.report()
	t.Logf("checks:\n%s", strings.Join(all, "\n"))
	if len(failed) > 0 {
		t.Errorf("failed checks:\n%s", strings.Join(failed, "\n"))
	}
	l := honest.latency(true, used)
	t.Logf("under attack: %v; %v %q", l, used, l.errors)
	if l.accepted < honestShare {
		t.Errorf("got 202 for %.2f%% of the honest client's requests, want %.0f%%", 100*l.accepted, 100*honestShare)
	}
	switch {
	case l.requests-l.disturbed < leastMeasured:
		t.Logf("the latency is not checked: other programs used the processors")
	case l.withinLimit < honestShare:
		t.Errorf("got 202 within %v for %.2f%% of the honest client's requests, want %.0f%%",
			honestLatency, 100*l.withinLimit, 100*honestShare)
	}
}

// checkMemory reports the largest values that the monitor has seen, and checks
// the resident memory.
func (m *monitor) checkMemory() {
	m.s.t.Helper()
	const mebibyte = 1 << 20
	peak := m.s.status("VmHWM")
	m.s.t.Logf("peak memory %d MiB, memory_bytes at most %.0f MiB, wal_bytes at most %.0f MiB, goroutines at most %.0f, "+
		"memory classes at most %+.0f%% off in %d samples (%.1f MiB)",
		peak/mebibyte, m.budget/mebibyte, m.wal/mebibyte, m.goroutines,
		100*m.classOff, m.classSamples, m.classSum/mebibyte)
	if peak > memoryLimit {
		m.s.t.Errorf("got peak memory of %d MiB, want at most %d", peak/mebibyte, memoryLimit/mebibyte)
	}
}

// checkIdle waits until the service uses no more than before the attacks. Its
// counters must balance.
func (s *service) checkIdle(m *mode, before load) {
	s.t.Helper()
	var values map[string]float64
	var now load
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		values = s.metrics(m)
		now = load{int(values["goroutines"]), s.descriptors()}
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors+lateDescriptors &&
			values["queue_entries"] == 0 && values["memory_bytes"] == 0 {
			break
		}
	}
	if now.goroutines > before.goroutines || now.descriptors > before.descriptors+lateDescriptors {
		s.t.Errorf("got %d goroutines and %d descriptors after the attacks, want at most %d and %d",
			now.goroutines, now.descriptors, before.goroutines, before.descriptors+lateDescriptors)
	}
	if values["queue_entries"] != 0 || values["queue_bytes"] != 0 || values["memory_bytes"] != 0 {
		s.t.Errorf("got %v entries and %v bytes in the queue and %v bytes reserved after the attacks, want none",
			values["queue_entries"], values["queue_bytes"], values["memory_bytes"])
	}
	result := func(name string) float64 { return values[`entries_total{result="`+name+`"}`] }
	received := values["entries_received_total"]
	if sum := result("accepted") + result("filtered") + result("refused"); received != sum {
		s.t.Errorf("got %.0f entries received, but %.0f accepted, filtered or refused", received, sum)
	}
	if stored := values["entries_stored_total"]; stored != result("accepted") {
		s.t.Errorf("got %.0f entries accepted, but %.0f stored", result("accepted"), stored)
	}
}

// checkDeepSearchEnds terminates the service during searches that read a deeply
// nested entry. They must not delay the exit.
func (s *service) checkDeepSearchEnds(m *mode) {
	s.t.Helper()
	c := s.newClient(m, honestAddress, m.key(honestKey), false, waitTimeout)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 100 {
				if _, _, err := c.do(context.Background(), http.MethodGet, deepQuery(), ""); err != nil {
					return
				}
			}
		})
	}
	time.Sleep(time.Second)
	s.t.Logf("exit during searches %v after SIGTERM", s.terminate(shutdownLimit))
	running.Wait()
}
