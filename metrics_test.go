package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each entry and response is counted once.
func TestMetrics(t *testing.T) {
	s := newTestService(t, "-max-body", "1KiB")
	s.post(`[{"level":"error"},{"level":"info"},{"level":"debug"}]`)
	s.do("POST", "/ingest", strings.NewReader(`{"level":"info"}`))
	s.post(`[{"level":"error"},{"level":"error"},]`)
	s.post(strings.Repeat(" ", 2000))
	s.do("GET", "/ingest", nil)
	s.postOTLP("/v1/logs?wait=1", otlpProtoType, otlpProto(9, 21, 0))
	s.bulk("/elasticsearch/_bulk?wait=1", `{"create":{}}`+"\n"+`{"log":{"level":"err"}}`+"\n"+`{"create":{}}`+"\n"+`{"PRIORITY":"7"}`)
	w := s.do("GET", "/metrics", nil)
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("got %d %v, want 200 and the content type of the text format", w.Code, w.Header())
	}
	if path := os.Getenv("METRICS_FILE"); path != "" { // testdata/metricslint reads it
		must(t, os.WriteFile(path, w.Body.Bytes(), 0o644))
	}
	got := parseMetrics(t, w.Body.String())
	for name, want := range map[string]float64{
		`entries_received_total`:                                  12,
		`entries_total{result="accepted"}`:                        4,
		`entries_total{result="filtered"}`:                        5,
		`entries_total{result="refused"}`:                         3,
		`endpoint_entries_total{endpoint="/ingest"}`:              7,
		`endpoint_entries_total{endpoint="/v1/logs"}`:             3,
		`endpoint_entries_total{endpoint="/elasticsearch/_bulk"}`: 2,
		`level_entries_total{level="error"}`:                      2,
		`level_entries_total{level="fatal"}`:                      1,
		`level_entries_total{level="unknown"}`:                    1,
		`level_entries_total{level="info"}`:                       0,
		`entries_stored_total`:                                    4,
		`entries_deleted_total`:                                   0,
		`requests_total{code="200"}`:                              3,
		`requests_total{code="202"}`:                              1,
		`requests_total{code="400"}`:                              1,
		`requests_total{code="405"}`:                              1,
		`requests_total{code="413"}`:                              1,
		`requests_total{code="503"}`:                              0,
		`queue_entries`:                                           0,
		`queue_bytes`:                                             0,
		`queue_limit_bytes`:                                       8 << 20,
		`memory_bytes`:                                            0,
		`memory_limit_bytes`:                                      64 << 20,
		`commit_duration_seconds_count`:                           3,
		`commit_duration_seconds_bucket{le="+Inf"}`:               3,
		`write_failures_total`:                                    0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: got %v, want %v", name, v, want)
		}
	}
	for _, name := range []string{"database_bytes", "wal_bytes", "goroutines", "commit_duration_seconds_sum"} {
		if got[name] <= 0 {
			t.Errorf("%s: got %v, want more than 0", name, got[name])
		}
	}
	if age, ok := got["last_error_age_seconds"]; ok {
		t.Errorf("last_error_age_seconds before an error: got %v, want none", age)
	}

	s.metrics.countFailure()
	got = parseMetrics(t, s.do("GET", "/metrics", nil).Body.String())
	if age, ok := got["last_error_age_seconds"]; !ok || age < 0 {
		t.Errorf("last_error_age_seconds after an error: got %v, want at least 0", age)
	}
	if n := got["write_failures_total"]; n != 1 {
		t.Errorf("write_failures_total after an error: got %v, want 1", n)
	}
}

// An accepted entry is counted as queued or stored at any moment.
func TestMetricsDuringWrites(t *testing.T) {
	s := newTestService(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 300 {
			s.do("POST", []string{"/ingest", "/ingest?wait=1"}[n%3/2], strings.NewReader(smallBody))
		}
	}()
	deadline := time.After(waitTimeout)
	for {
		select {
		case <-done:
			return
		case <-deadline:
			t.Fatal("timeout waiting for the last response")
		default:
		}
		m := parseMetrics(t, s.do("GET", "/metrics", nil).Body.String())
		accepted, queued, stored := m[`entries_total{result="accepted"}`], m["queue_entries"], m["entries_stored_total"]
		if accepted > queued+stored {
			t.Errorf("got %v entries accepted, but %v queued and %v stored", accepted, queued, stored)
		}
	}
}

// The dashboard uses only metrics and label values that exist.
func TestDashboardMetrics(t *testing.T) {
	text, err := os.ReadFile("deploy/grafana-dashboard.json")
	must(t, err)
	queries := dashboardQueries(t, text)
	if len(queries) < 10 {
		t.Fatalf("got %d queries, want at least 10", len(queries))
	}
	exposed := newTestService(t).do("GET", "/metrics", nil).Body.String()
	metric := regexp.MustCompile(`[a-z][a-z_]*_[a-z_]+`)
	label := regexp.MustCompile(`(\w+)="(\w+)"`)
	const functions = " histogram_quantile label_values "
	for _, query := range queries {
		found := 0
		for _, name := range metric.FindAllString(strings.ReplaceAll(query, "$__rate_interval", ""), -1) {
			if strings.Contains(functions, " "+name+" ") {
				continue
			}
			found++
			if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(exposed) {
				t.Errorf("query %s: metric %s does not exist", query, name)
			}
		}
		if found == 0 {
			t.Errorf("query %s: got no metric, want at least one", query)
		}
		for _, pair := range label.FindAllString(query, -1) {
			if !strings.Contains(exposed, pair) {
				t.Errorf("query %s: label %s does not exist", query, pair)
			}
		}
	}
}

// dashboardQueries returns the queries of all variables and panels.
func dashboardQueries(t *testing.T, text []byte) (queries []string) {
	t.Helper()
	var dashboard struct {
		Templating struct{ List []struct{ Query string } }
		Panels     []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(text, &dashboard))
	for _, variable := range dashboard.Templating.List {
		if strings.HasPrefix(variable.Query, "label_values") {
			queries = append(queries, variable.Query)
		}
	}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q has no queries", panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	return queries
}
