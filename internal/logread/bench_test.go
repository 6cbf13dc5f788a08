package logread

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"log-ingester/internal/logtest"
)

// BenchmarkScan measures requests on a log of 200,000 entries. The searches find
// nothing, so they visit every entry; the two pages stop after 10,000 found.
func BenchmarkScan(b *testing.B) {
	l := openTestLog(b)
	fillBenchmark(l.db, 200_000)
	handler := l.routes()
	for _, bench := range []struct{ name, target string }{
		{"text", "/logs?q=deadlock+detected"},
		{"text-common", "/logs?q=error+in+retry"},
		{"text-unicode", "/logs?q=%C3%BCberlauf"},
		{"field", "/logs?details.user.id=none"},
		{"field-present", "/logs?details.service=none"},
		{"level", "/logs?level=warn"},
		{"time", "/logs?since=2030-01-01T00:00:00Z"},
		{"histogram", "/logs/histogram"},
		{"histogram-field", "/logs/histogram?details.service=checkout"},
		{"page", "/logs?limit=10000"},
		{"page-found", "/logs?limit=10000&details.service=checkout"},
	} {
		b.Run("request="+bench.name, func(b *testing.B) {
			for b.Loop() {
				clear(l.reader.scanner.times.spans) // later runs must not skip blocks
				w := &discardResponse{header: make(http.Header)}
				handler.ServeHTTP(w, httptest.NewRequest("GET", bench.target, nil))
				if w.status != http.StatusOK {
					b.Fatalf("GET %s = %d, want 200", bench.target, w.status)
				}
			}
		})
	}
}

// BenchmarkFoldedText measures the text search on one message.
func BenchmarkFoldedText(b *testing.B) {
	s := "upstream request failed: connection to db-17.internal:5432 refused after 3 retries, giving up"
	for _, text := range []string{"deadlock", "error in retry", "überlauf", "aaaaaa"} {
		b.Run("text="+text, func(b *testing.B) {
			folded := newFoldedText(text)
			w := newWork()
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				if folded.contains(s, folded.firstBytes, w) {
					b.Fatal("contains() = true, want false")
				}
			}
		})
	}
}

// fillBenchmark commits n entries with details of about 170 bytes.
func fillBenchmark(db *logtest.DB, n int) {
	const chunk = 10_000
	services := []string{"checkout", "search", "login", "mail"}
	entries := make([]logtest.Entry, 0, chunk)
	for i := range n {
		at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 250 * time.Millisecond)
		level := "error"
		if i%50 == 0 {
			level = "fatal"
		}
		details := fmt.Sprintf(`{"service":%q,"host":"node-%d","order":%d,"retry":%v,"user":{"id":%d,"name":"J\u00fcrgen"},`+
			`"path":"/api/v1/orders/%d","duration_ms":%d.5}`,
			services[i%len(services)], i%16, i, i%3 == 0, i*7919%100_000, i, i%5000)
		entries = append(entries, logtest.Entry{
			level,
			fmt.Sprintf("upstream request %d failed: connection to db-%d refused", i, i%32),
			at.Format("2006-01-02T15:04:05.000000000Z"),
			details,
		})
		if len(entries) == chunk || i == n-1 {
			db.Insert(entries...)
			entries = entries[:0]
		}
	}
}

// A discardResponse discards a response body.
type discardResponse struct {
	header http.Header
	status int
}

func (w *discardResponse) Header() http.Header    { return w.header }
func (w *discardResponse) WriteHeader(status int) { w.status = status }

func (w *discardResponse) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Discard.Write(p)
}
