package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// metrics counts what the service does. Any goroutine may count.
//
// Its books balance whenever no request is in hand: received = accepted +
// filtered + refused, and accepted = stored + those in the queue.
type metrics struct {
	received atomic.Int64 // entries that were found in bodies
	accepted atomic.Int64 // of these, entries that are stored or will be
	filtered atomic.Int64 // entries below the threshold
	refused  atomic.Int64 // entries of requests that were refused

	stored  atomic.Int64 // entries that were committed
	deleted atomic.Int64 // entries that retention deleted

	answers   [len(statuses)]atomic.Int64 // answers of /ingest
	commits   durations
	failures  atomic.Int64              // transactions that failed
	lastError atomic.Pointer[time.Time] // when the last one did, or nil
}

// statuses are those that /ingest answers with.
var statuses = [...]int{200, 202, 400, 401, 403, 405, 413, 415, 503}

// answered counts an answer of /ingest.
func (m *metrics) answered(status int) {
	for i, s := range statuses {
		if s == status {
			m.answers[i].Add(1)
		}
	}
}

// failed counts a failed transaction.
func (m *metrics) failed() {
	m.failures.Add(1)
	now := time.Now() // with its monotonic reading: clocks are set back
	m.lastError.Store(&now)
}

// A durations is a histogram of how long something took.
type durations struct {
	sum    atomic.Int64 // in nanoseconds
	counts [len(durationBounds) + 1]atomic.Int64
}

// durationBounds are the upper ends of its buckets.
var durationBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

func (h *durations) observe(d time.Duration) {
	i := 0
	for i < len(durationBounds) && d > durationBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// serveMetrics answers GET /metrics in Prometheus's text format.
// https://prometheus.io/docs/instrumenting/exposition_formats/
func (s *service) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	var e exposition
	m := s.metrics
	// In the order of an entry's way, so that one that goes on meanwhile is
	// counted in both places rather than in none.
	accepted := m.accepted.Load()
	queueEntries, queueBytes, memoryBytes := s.queue.entries.Load(), s.queue.bytes.Load(), s.memory.used.Load()
	stored := m.stored.Load()
	e.family("entries_received_total", "counter", "Entries found in the bodies of requests.")
	e.value("", float64(m.received.Load()))
	e.family("entries_total", "counter", "Entries by what became of them: accepted, filtered by -level, or refused with their request.")
	e.value(`result="accepted"`, float64(accepted))
	e.value(`result="filtered"`, float64(m.filtered.Load()))
	e.value(`result="refused"`, float64(m.refused.Load()))
	e.family("entries_stored_total", "counter", "Entries committed to the database.")
	e.value("", float64(stored))
	e.family("entries_deleted_total", "counter", "Entries deleted by -retain or -max-db.")
	e.value("", float64(m.deleted.Load()))
	e.family("requests_total", "counter", "Answers of /ingest by status; 401 and 403 of any address.")
	for i, status := range statuses {
		e.value(`code="`+strconv.Itoa(status)+`"`, float64(m.answers[i].Load()))
	}
	e.family("queue_entries", "gauge", "Entries that wait for their commit.")
	e.value("", float64(queueEntries))
	e.family("queue_bytes", "gauge", "Bytes that wait for their commit.")
	e.value("", float64(queueBytes))
	e.family("queue_limit_bytes", "gauge", "Most bytes that may wait, -queue.")
	e.value("", float64(s.queue.limit))
	e.family("memory_bytes", "gauge", "Bytes of bodies in hand and the queue.")
	e.value("", float64(memoryBytes))
	e.family("memory_limit_bytes", "gauge", "Most bytes of bodies in hand and the queue, -memory.")
	e.value("", float64(s.memory.limit))
	e.family("commit_duration_seconds", "histogram", "How long transactions took, from their begin to the end of their commit.")
	e.histogram(&m.commits)
	e.family("write_failures_total", "counter", "Transactions that failed; each is tried again.")
	e.value("", float64(m.failures.Load()))
	e.family("last_error_age_seconds", "gauge", "Time since a transaction failed; absent where none has.")
	if last := m.lastError.Load(); last != nil {
		e.value("", time.Since(*last).Seconds())
	}
	e.family("database_bytes", "gauge", "Size of the database file.")
	e.value("", fileSize(s.cfg.db))
	e.family("wal_bytes", "gauge", "Size of the database's write-ahead log.")
	e.value("", fileSize(beside(s.cfg.db, "-wal")))
	e.family("goroutines", "gauge", "Goroutines that exist.")
	e.value("", float64(runtime.NumGoroutine()))
	e.family("build_info", "gauge", "What the program was built from; always 1.")
	built, from := buildVersion()
	e.value(fmt.Sprintf("version=%q,commit=%q,goversion=%q", built, from, runtime.Version()), 1)

	setDataHeaders(w)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(e.text.Bytes()) // a client that has gone away is nobody to report to
}

// fileSize returns the size of a file in bytes, 0 where it is missing.
func fileSize(path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}

// An exposition is metrics in Prometheus's text format, as it grows.
type exposition struct {
	text bytes.Buffer
	name string // of the family at hand
}

// family begins the metric log_ingester_name.
func (e *exposition) family(name, kind, help string) {
	e.name = "log_ingester_" + name
	fmt.Fprintf(&e.text, "# HELP %s %s\n# TYPE %s %s\n", e.name, help, e.name, kind)
}

// value adds a sample with its labels, if any.
func (e *exposition) value(labels string, v float64) { e.sample("", labels, v) }

func (e *exposition) sample(suffix, labels string, v float64) {
	e.text.WriteString(e.name + suffix)
	if labels != "" {
		e.text.WriteString("{" + labels + "}")
	}
	e.text.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

func (e *exposition) histogram(h *durations) {
	sum, n := h.sum.Load(), int64(0)
	for i, bound := range durationBounds {
		n += h.counts[i].Load()
		e.sample("_bucket", fmt.Sprintf("le=%q", strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)), float64(n))
	}
	n += h.counts[len(durationBounds)].Load()
	e.sample("_bucket", `le="+Inf"`, float64(n))
	e.sample("_sum", "", time.Duration(sum).Seconds())
	e.sample("_count", "", float64(n))
}
