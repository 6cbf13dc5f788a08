//go:build unix

package logread

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"
)

// findDB names an existing database for BenchmarkFind. It should have summaries.
const findDB = "LOGREAD_FIND_DB"

// processorTime returns the processor time of the process.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkFind measures requests on a log of many entries, also in processor time, which
// depends less on other work of the machine. Without the environment
// variable LOGREAD_FIND_DB, it makes one of a million entries.
func BenchmarkFind(b *testing.B) {
	path := os.Getenv(findDB)
	if path == "" {
		l := openTestLog(b)
		l.installSummaries()
		fillBenchmark(l.db, 1_000_000)
		l.insert(testEntry{"warn", "zanzibar", "2026-11-22T00:00:00Z", `{"user_id":999999}`})
		fillBenchmark(l.db, 10_000)
		l.summarize()
		path = l.db.Path
	}
	reader, err := Open(path, Config{Log: slog.New(slog.DiscardHandler)})
	must(b, err)
	defer reader.Close()
	routes := (&testLog{reader: reader}).routes()
	var newest string
	must(b, reader.db.QueryRow("SELECT timestamp FROM logs ORDER BY id DESC LIMIT 1").Scan(&newest))
	last, err := time.Parse(time.RFC3339, newest)
	must(b, err)
	for _, bench := range []struct{ name, target string }{
		{"word-rare", "/logs?q=zanzibar"},
		{"word-absent", "/logs?q=kubernetes"},
		{"id-absent", "/logs?q=0123456789abcdef0123456789abcdef"},
		{"field-rare", "/logs?details.user_id=170125"},
		{"field-absent", "/logs?details.user_id=999998"},
		{"level-rare", "/logs?level=fatal"},
		{"level-absent", "/logs?level=debug"},
		{"since", "/logs?since=" + last.Add(-time.Minute).Format(time.RFC3339Nano)},
		{"histogram", "/logs/histogram"},
		{"histogram-day", fmt.Sprintf("/logs/histogram?since=%s&until=%s",
			last.Add(-30*time.Hour).Format(time.RFC3339Nano), last.Add(-6*time.Hour).Format(time.RFC3339Nano))},
		{"histogram-word", "/logs/histogram?q=declined"},
		{"histogram-digits", "/logs/histogram?q=97228"},
		{"oldest", "/logs?order=asc"},
		{"oldest-level", "/logs?order=asc&level=fatal"},
		{"oldest-word", "/logs?order=asc&q=declined"},
		{"around", "/logs?around=500000&limit=51"},
		{"kinds", "/logs/kinds"},
		{"kinds-level", "/logs/kinds?level=fatal"},
		{"fields", "/logs/fields"},
	} {
		b.Run("request="+bench.name, func(b *testing.B) {
			start := processorTime(b)
			for b.Loop() {
				w := &discardResponse{header: make(http.Header)}
				routes.ServeHTTP(w, httptest.NewRequest("GET", bench.target, nil))
				if w.status != http.StatusOK {
					b.Fatalf("GET %s = %d, want 200", bench.target, w.status)
				}
			}
			b.ReportMetric(float64(processorTime(b)-start)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}
