package main

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"log-ingester/internal/entry"
)

// metrics holds the counters of the service. Any goroutine may update them.
//
// While no request or transaction is in progress, the counts balance: received =
// accepted + filtered + refused, and accepted = stored + the entries in the
// queue.
type metrics struct {
	received atomic.Int64 // entries found in request bodies, by endpoint in receivedBy
	accepted atomic.Int64 // entries that are or will be stored
	filtered atomic.Int64 // entries below the threshold
	refused  atomic.Int64 // entries of requests that were refused

	receivedBy [len(endpoints)]atomic.Int64
	acceptedBy [entry.LevelUnknown + 1]atomic.Int64 // by level; entry 0 is not used

	stored  atomic.Int64 // entries committed to the database
	deleted atomic.Int64 // entries deleted by retention

	responses [len(countedStatuses)]atomic.Int64
	commits   durationHistogram
	failures  atomic.Int64              // failed transactions
	lastError atomic.Pointer[time.Time] // when the last transaction failed, or nil
}

// An endpoint is a route that accepts entries, as an index of endpoints.
type endpoint int

const (
	endpointIngest endpoint = iota
	endpointOTLP
	endpointBulk
)

var endpoints = [...]string{"/ingest", "/v1/logs", "/elasticsearch/_bulk"}

// countReceived counts n entries in the body of a request.
func (m *metrics) countReceived(e endpoint, n int64) {
	m.received.Add(n)
	m.receivedBy[e].Add(n)
}

// levelCounts are numbers of entries by level.
type levelCounts [entry.LevelUnknown + 1]int64

// countAccepted counts entries as accepted, by level. The writer and store count
// their sum.
func (m *metrics) countAccepted(counts *levelCounts) {
	for l, n := range counts {
		if n > 0 {
			m.acceptedBy[l].Add(n)
		}
	}
}

// gauges are the values that /metrics reads from other parts of the service.
type gauges struct {
	queueEntries, queueBytes, queueLimit int64
	memoryBytes, memoryLimit             int64
	memoryClasses                        []memoryClass
	residentBytes                        int64 // 0 if it is not known
	databaseBytes, walBytes              int64
	keys                                 int64
	goroutines                           int
	version, commit, goVersion           string
}

// countedStatuses are the statuses that the endpoints respond with. 401 and 403 are
// also counted on other routes.
var countedStatuses = [...]int{200, 202, 400, 401, 403, 405, 413, 415, 422, 503}

func (m *metrics) countResponse(status int) {
	for i, s := range countedStatuses {
		if s == status {
			m.responses[i].Add(1)
		}
	}
}

// countFailure counts a failed transaction.
func (m *metrics) countFailure() {
	m.failures.Add(1)
	now := time.Now() // has a monotonic reading, so setting the clock back does not matter
	m.lastError.Store(&now)
}

// A durationHistogram counts durations in fixed buckets.
type durationHistogram struct {
	sum    atomic.Int64 // in nanoseconds
	counts [len(durationBounds) + 1]atomic.Int64
}

// durationBounds are the buckets' inclusive upper bounds.
var durationBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

func (h *durationHistogram) observe(d time.Duration) {
	i := 0
	for i < len(durationBounds) && d > durationBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// text returns all metrics in Prometheus's text format.
// https://prometheus.io/docs/instrumenting/exposition_formats/
//
// It loads accepted, then calls readGauges for the queue, then loads stored. An
// entry that the writer stores meanwhile is then counted both as queued and as
// stored, rather than as neither.
func (m *metrics) text(readGauges func() gauges) []byte {
	accepted := m.accepted.Load()
	g := readGauges()
	stored := m.stored.Load()

	var e exposition
	e.family("entries_received_total", "counter", "Entries found in request bodies.")
	e.value("", float64(m.received.Load()))
	e.family("entries_total", "counter", "Entries by result: accepted, filtered by -level, or refused with their request.")
	e.value(`result="accepted"`, float64(accepted))
	e.value(`result="filtered"`, float64(m.filtered.Load()))
	e.value(`result="refused"`, float64(m.refused.Load()))
	e.family("endpoint_entries_total", "counter", "Entries found in request bodies, by the route that received them.")
	for i, name := range endpoints {
		e.value(`endpoint="`+name+`"`, float64(m.receivedBy[i].Load()))
	}
	e.family("level_entries_total", "counter", "Accepted entries by level.")
	for l := entry.LevelTrace; l <= entry.LevelUnknown; l++ {
		e.value(`level="`+l.String()+`"`, float64(m.acceptedBy[l].Load()))
	}
	e.family("entries_stored_total", "counter", "Entries committed to the database.")
	e.value("", float64(stored))
	e.family("entries_deleted_total", "counter", "Entries deleted by -retain or -max-db.")
	e.value("", float64(m.deleted.Load()))
	e.family("requests_total", "counter",
		"Responses of the routes that accept entries, by status; 401 and 403 of all routes.")
	for i, status := range countedStatuses {
		e.value(`code="`+strconv.Itoa(status)+`"`, float64(m.responses[i].Load()))
	}
	e.family("queue_entries", "gauge", "Entries waiting for their commit.")
	e.value("", float64(g.queueEntries))
	e.family("queue_bytes", "gauge", "Bytes waiting for their commit.")
	e.value("", float64(g.queueBytes))
	e.family("queue_limit_bytes", "gauge", "Limit of queue_bytes, set by -queue.")
	e.value("", float64(g.queueLimit))
	e.family("memory_bytes", "gauge", "Bytes of request bodies in progress and the queue.")
	e.value("", float64(g.memoryBytes))
	e.family("memory_limit_bytes", "gauge", "Limit of memory_bytes, set by -memory.")
	e.value("", float64(g.memoryLimit))
	e.family("memory_class_bytes", "gauge", "Resident memory of the process by class.")
	for _, c := range g.memoryClasses {
		e.value(fmt.Sprintf("class=%q", c.name), float64(c.bytes))
	}
	e.family("resident_bytes", "gauge", "Resident memory of the process; absent on systems other than Linux.")
	if g.residentBytes > 0 {
		e.value("", float64(g.residentBytes))
	}
	e.family("commit_duration_seconds", "histogram", "Duration of transactions, from BEGIN to the end of COMMIT.")
	e.histogram(&m.commits)
	e.family("write_failures_total", "counter", "Failed transactions; each is retried.")
	e.value("", float64(m.failures.Load()))
	e.family("last_error_age_seconds", "gauge", "Time since the last failed transaction; absent if none failed.")
	if last := m.lastError.Load(); last != nil {
		e.value("", time.Since(*last).Seconds())
	}
	e.family("database_bytes", "gauge", "Size of the database file.")
	e.value("", float64(g.databaseBytes))
	e.family("wal_bytes", "gauge", "Size of the database's write-ahead log.")
	e.value("", float64(g.walBytes))
	e.family("idempotency_keys", "gauge", "Requests with an Idempotency-Key that are recognized if they are repeated.")
	e.value("", float64(g.keys))
	e.family("goroutines", "gauge", "Current number of goroutines.")
	e.value("", float64(g.goroutines))
	e.family("build_info", "gauge", "Version, commit and Go version of the binary; always 1.")
	e.value(fmt.Sprintf("version=%q,commit=%q,goversion=%q", g.version, g.commit, g.goVersion), 1)
	return e.text.Bytes()
}

// An exposition builds a text in Prometheus's format.
type exposition struct {
	text bytes.Buffer
	name string // of the current family
}

// family starts the metric with the given name after the prefix log_ingester_.
func (e *exposition) family(name, kind, help string) {
	e.name = "log_ingester_" + name
	fmt.Fprintf(&e.text, "# HELP %s %s\n# TYPE %s %s\n", e.name, help, e.name, kind)
}

// value adds a sample of the current family; labels may be empty.
func (e *exposition) value(labels string, v float64) { e.sample("", labels, v) }

func (e *exposition) sample(suffix, labels string, v float64) {
	e.text.WriteString(e.name + suffix)
	if labels != "" {
		e.text.WriteString("{" + labels + "}")
	}
	e.text.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

func (e *exposition) histogram(h *durationHistogram) {
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
