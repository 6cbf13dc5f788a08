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

func TestMetrics(t *testing.T) {
	p := startPostgres(t)
	address := p.newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1", "-metrics", "127.0.0.1:0")
	f.waitFor(t, "/metrics")
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(f.out.String())

	want := func(name string, check func(v float64) bool) {
		t.Helper()
		eventually(t, name, func() bool {
			v, ok := scrape(t, url)[name]
			return ok && check(v)
		})
	}
	is := func(n float64) func(float64) bool { return func(v float64) bool { return v == n } }

	write(t, db, entries(100, 0)...)
	write(t, db, entry{"error", "m", "soon", nil})
	want("forward_rows_shipped_total", is(101))
	want("forward_rows_fitted_total", is(1))
	want("forward_lag_rows", is(0))
	want("forward_lag_seconds", is(0))
	if _, ok := scrape(t, url)["forward_last_error_age_seconds"]; ok {
		t.Error("an error is told of before there was one")
	}

	// The lag grows while the database is down.
	p.crash(t)
	write(t, db, entry{"error", "m", "2020-01-01T00:00:00Z", nil})
	write(t, db, entries(6, 0)...)
	want("forward_lag_rows", is(7))
	want("forward_lag_seconds", func(v float64) bool { return v > 365*24*3600 })
	want("forward_errors_total", func(v float64) bool { return v > 0 })
	want("forward_last_error_age_seconds", func(v float64) bool { return v >= 0 && v < patience.Seconds() })
	change(t, db, "DELETE FROM logs WHERE id = 105")
	p.start(t)
	want("forward_lag_rows", is(0))
	want("forward_lag_seconds", is(0))
	want("forward_rows_shipped_total", is(107))
	want("forward_rows_lost_total", is(1))
	want("forward_rows_skipped_total", is(0))
	want("forward_position", is(108))
	f.terminate(t)

	if code, out := forwardArgs(t, "-to", address, "-metrics", "nowhere:port"); code != 1 || !strings.Contains(out, "cannot serve metrics") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// scrape reads the figures, and checks the form of what it reads.
func scrape(tb testing.TB, url string) map[string]float64 {
	tb.Helper()
	res, err := http.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		tb.Fatalf("%s, %s", res.Status, res.Header.Get("Content-Type"))
	}
	values := map[string]float64{}
	var header []string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "#") {
			header = append(header, line)
			continue
		}
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || len(header) != 2 || !strings.HasPrefix(header[0], "# HELP "+name+" ") || !regexp.MustCompile(fmt.Sprintf("^# TYPE %s (counter|gauge)$", name)).MatchString(header[1]) {
			tb.Fatalf("%q %q %v", header, lines.Text(), err)
		}
		values[name], header = v, nil
	}
	return values
}
