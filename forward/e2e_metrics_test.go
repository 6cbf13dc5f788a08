//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestMetricsValues(t *testing.T) {
	p := startPostgres(t)
	address := p.newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1", "-metrics", "127.0.0.1:0")
	f.waitForOutput(t, "/metrics")
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(f.out.String())

	waitForValue := func(name string, check func(v float64) bool) {
		t.Helper()
		waitUntil(t, name+" has the wanted value", func() bool {
			v, ok := scrape(t, url)[name]
			return ok && check(v)
		})
	}
	equals := func(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

	insert(t, db, makeEntries(100, 0)...)
	insert(t, db, entry{"error", "m", "soon", nil})
	waitForValue("forward_rows_shipped_total", equals(101))
	waitForValue("forward_rows_fitted_total", equals(1))
	waitForValue("forward_lag_rows", equals(0))
	waitForValue("forward_lag_seconds", equals(0))
	if v, ok := scrape(t, url)["forward_last_error_age_seconds"]; ok {
		t.Errorf("before any error: got forward_last_error_age_seconds %v, want none", v)
	}

	// The lag grows while the database is down.
	p.crash(t)
	insert(t, db, entry{"error", "m", "2020-01-01T00:00:00Z", nil})
	insert(t, db, makeEntries(6, 0)...)
	waitForValue("forward_lag_rows", equals(7))
	waitForValue("forward_lag_seconds", func(v float64) bool { return v > 365*24*3600 })
	waitForValue("forward_errors_total", func(v float64) bool { return v > 0 })
	waitForValue("forward_last_error_age_seconds", func(v float64) bool { return v >= 0 && v < testTimeout.Seconds() })
	execSQLite(t, db, "DELETE FROM logs WHERE id = 105")
	p.start(t)
	waitForValue("forward_lag_rows", equals(0))
	waitForValue("forward_lag_seconds", equals(0))
	waitForValue("forward_rows_shipped_total", equals(107))
	waitForValue("forward_rows_lost_total", equals(1))
	waitForValue("forward_rows_skipped_total", equals(0))
	waitForValue("forward_position", equals(108))
	f.terminate(t)
}

func TestMetricsInvalidAddress(t *testing.T) {
	code, out := runForward(t, "-to", "postgres://h/d", "-metrics", "nowhere:port")
	if code != 1 || !strings.Contains(out, "cannot serve metrics") {
		t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, "cannot serve metrics", out)
	}
}

// scrape returns the values, and checks that each has its HELP and TYPE lines.
func scrape(tb testing.TB, url string) map[string]float64 {
	tb.Helper()
	client := http.Client{Timeout: testTimeout}
	res, err := client.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		tb.Fatalf("got %s and Content-Type %q, want 200 and text/plain; version=0.0.4", res.Status, res.Header.Get("Content-Type"))
	}
	values := map[string]float64{}
	var comments []string
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			comments = append(comments, line)
			continue
		}
		name, value, _ := strings.Cut(line, " ")
		v, err := strconv.ParseFloat(value, 64)
		typeLine := regexp.MustCompile(fmt.Sprintf("^# TYPE %s (counter|gauge)$", name))
		if err != nil || len(comments) != 2 || !strings.HasPrefix(comments[0], "# HELP "+name+" ") || !typeLine.MatchString(comments[1]) {
			tb.Fatalf("got line %q after %q, want a number after a HELP and a TYPE line: %v", line, comments, err)
		}
		values[name], comments = v, nil
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return values
}
