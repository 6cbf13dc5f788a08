package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// parseMetrics reads Prometheus's text format.
func parseMetrics(t testing.TB, text string) map[string]float64 {
	t.Helper()
	sample := regexp.MustCompile(`^([a-z_]+(?:\{[^}]*\})?) ([-+0-9.e]+)$`)
	values := map[string]float64{}
	typed := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if kind, found := strings.CutPrefix(line, "# TYPE "); found {
			name, _, _ := strings.Cut(kind, " ")
			typed[name] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a sample: %q", line)
			continue
		}
		name, _, _ := strings.Cut(m[1], "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if family := strings.TrimSuffix(name, suffix); typed[family] {
				name = family
			}
		}
		if !typed[name] {
			t.Errorf("%s has no TYPE", name)
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Error(err)
		}
		values[strings.TrimPrefix(m[1], "log_ingester_")] = v
	}
	return values
}

func TestMetrics(t *testing.T) {
	s := newTestService(t, "-max-body", "1KiB")
	s.post(`[{"level":"error"},{"level":"info"},{"level":"debug"}]`)
	s.do("POST", "/ingest", strings.NewReader(`{"level":"info"}`))
	s.post(`[{"level":"error"},{"level":"error"},]`)
	s.post(strings.Repeat(" ", 2000))
	s.do("GET", "/ingest", nil)
	w := s.do("GET", "/metrics", nil)
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if path := os.Getenv("METRICS_FILE"); path != "" { // for Prometheus's own check
		if err := os.WriteFile(path, w.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := parseMetrics(t, w.Body.String())
	for name, want := range map[string]float64{
		`entries_received_total`:                    7,
		`entries_total{result="accepted"}`:          1,
		`entries_total{result="filtered"}`:          3,
		`entries_total{result="refused"}`:           3,
		`entries_stored_total`:                      1,
		`entries_deleted_total`:                     0,
		`requests_total{code="200"}`:                1,
		`requests_total{code="202"}`:                1,
		`requests_total{code="400"}`:                1,
		`requests_total{code="405"}`:                1,
		`requests_total{code="413"}`:                1,
		`requests_total{code="503"}`:                0,
		`queue_entries`:                             0,
		`queue_bytes`:                               0,
		`queue_limit_bytes`:                         8 << 20,
		`memory_bytes`:                              0,
		`memory_limit_bytes`:                        64 << 20,
		`commit_duration_seconds_count`:             1,
		`commit_duration_seconds_bucket{le="+Inf"}`: 1,
		`write_failures_total`:                      0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	for _, name := range []string{"database_bytes", "wal_bytes", "goroutines", "commit_duration_seconds_sum"} {
		if got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if _, ok := got["last_error_age_seconds"]; ok {
		t.Error("there is an age of an error that never was")
	}
	s.metrics.countFailure()
	got = parseMetrics(t, s.do("GET", "/metrics", nil).Body.String())
	if age, ok := got["last_error_age_seconds"]; !ok || age < 0 || got["write_failures_total"] != 1 {
		t.Errorf("after a failure: age %v, %v failures", age, got["write_failures_total"])
	}
}

// What was accepted is in the queue or stored at any moment that metrics are
// read.
func TestMetricsWhileWriting(t *testing.T) {
	s := newTestService(t)
	var client sync.WaitGroup
	done := make(chan struct{})
	client.Go(func() {
		defer close(done)
		for n := range 300 {
			s.do("POST", []string{"/ingest", "/ingest?wait=1"}[n%3/2], strings.NewReader(`{"level":"error"}`))
		}
	})
	defer client.Wait()
	for {
		select {
		case <-done:
			return
		default:
		}
		m := parseMetrics(t, s.do("GET", "/metrics", nil).Body.String())
		if accepted, waiting, stored := m[`entries_total{result="accepted"}`], m["queue_entries"], m["entries_stored_total"]; accepted > waiting+stored {
			t.Errorf("%v entries were accepted, %v wait and %v are stored", accepted, waiting, stored)
		}
	}
}
