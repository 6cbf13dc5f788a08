package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"
)

// An ingester takes logs over HTTP and puts what is kept of them on the queue.
type ingester struct {
	threshold level
	maxBody   int64 // in bytes, on the wire and inflated
	queue     *queue
	memory    *budget
	metrics   *metrics
	clock     func() time.Time // tells the time of arrival; it may go back
}

// A refusal is an answer that is not 2xx: nothing of the request was taken.
type refusal struct {
	status int
	reason string
	at     *scanError // where the body is wrong, or nil
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

// scratch is what one request works with.
type scratch struct {
	wire    wireReader
	body    []byte
	scanner levelScanner
	entry   *LogEntry
	arrival [len("2006-01-02T15:04:05.000000000Z")]byte
	answer  []byte
}

var scratchPool = sync.Pool{New: func() any { return &scratch{entry: newLogEntry()} }}

// release gives the scratch back.
func (s *scratch) release() {
	s.forget()
	scratchPool.Put(s)
}

// forget drops what a large body made grow. It is not left to the pool to drop
// the whole: an inflater in its own pool points to the wire that it read from.
func (s *scratch) forget() {
	s.wire = wireReader{}
	s.body = pooled(s.body)
	s.scanner.kept = pooled(s.scanner.kept)
	s.entry.scratch = pooled(s.entry.scratch)
	s.entry.members = pooled(s.entry.members)
}

// pooled returns a slice that may go into a pool, or nil where it is too large.
func pooled[T any](s []T) []T {
	var element T
	if cap(s) > maxPooled/int(unsafe.Sizeof(element)) {
		return nil
	}
	return s
}

// ServeHTTP answers POST /ingest.
func (in *ingester) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := scratchPool.Get().(*scratch)
	defer s.release()
	status, refused := in.ingest(w, r, s)
	if refused != nil {
		in.metrics.answered(refused.status)
		writeRefusal(w, refused)
		return
	}
	in.metrics.answered(status)
	s.answer = append(s.answer[:0], `{"accepted":`...)
	s.answer = strconv.AppendInt(s.answer, int64(len(s.scanner.kept)), 10)
	s.answer = append(s.answer, `,"filtered":`...)
	s.answer = strconv.AppendInt(s.answer, int64(s.scanner.dropped), 10)
	s.answer = append(s.answer, '}')
	w.Header()["Content-Type"] = jsonContentType
	w.WriteHeader(status)
	w.Write(s.answer) // a client that has gone away is nobody to report to
}

// jsonContentType is shared by all answers, so that setting it allocates
// nothing.
var jsonContentType = []string{"application/json"}

// ingest takes in what the request brings, and returns the answer's status.
func (in *ingester) ingest(w http.ResponseWriter, r *http.Request, s *scratch) (int, *refusal) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return 0, refuse(http.StatusMethodNotAllowed, "%s is not allowed here; POST logs to this address", r.Method)
	}
	wait, refused := waitParameter(r)
	if refused != nil {
		return 0, refused
	}
	if in.queue.stopped.Load() {
		return 0, refuse(http.StatusServiceUnavailable, "%v", errStopping)
	}
	held, refused := in.readBody(w, r, s)
	defer func() { in.memory.give(held) }()
	if refused != nil {
		return 0, refused
	}
	// There are no more entries than braces.
	spans := int64(bytes.Count(s.body, []byte("{"))) * int64(unsafe.Sizeof(span{}))
	if refused := in.more(held, spans); refused != nil {
		return 0, refused
	}
	held += spans
	if err := s.scanner.scan(s.body, in.threshold); err != nil {
		in.metrics.received.Add(int64(err.entry + 1))
		in.metrics.refused.Add(int64(err.entry + 1))
		return 0, &refusal{http.StatusBadRequest, err.reason, err}
	}
	dropped := int64(s.scanner.dropped)
	in.metrics.received.Add(int64(len(s.scanner.kept)) + dropped)
	if refused := in.enqueue(s, wait, held); refused != nil {
		in.metrics.refused.Add(dropped)
		return 0, refused
	}
	in.metrics.filtered.Add(dropped)
	if wait {
		return http.StatusOK, nil
	}
	return http.StatusAccepted, nil
}

// enqueue decodes the kept entries and queues them; with wait, it returns
// after the commit. held is what the request has of the memory budget.
func (in *ingester) enqueue(s *scratch, wait bool, held int64) (refused *refusal) {
	kept := int64(len(s.scanner.kept))
	if kept == 0 {
		return nil
	}
	queued := false
	defer func() {
		// Of a batch that waits, the writer knows what becomes.
		if !queued {
			in.metrics.refused.Add(kept)
		} else if !wait {
			in.metrics.accepted.Add(kept)
		}
	}()
	// What the batch will take is known within a little before it is made.
	size := int64(batchOverhead + len(s.scanner.kept)*rowEstimate)
	var largest span
	for _, e := range s.scanner.kept {
		size += int64(e.end - e.start)
		if e.end-e.start > largest.end-largest.start {
			largest = e
		}
	}
	size += decodingSize(s.body[largest.start:largest.end])
	if size > math.MaxUint32 { // as far as a row reaches
		return errEntries
	}
	if refused := in.more(held, size); refused != nil {
		return refused
	}
	b := newBatch()
	now := appendTime(s.arrival[:0], in.clock().UTC())
	for i, e := range s.scanner.kept {
		if err := s.entry.appendRow(b, s.body[e.start:e.end], now); err != nil {
			in.memory.give(size)
			b.release()
			return &refusal{http.StatusBadRequest, err.Error(), &scanError{entry: i, offset: int(e.start)}}
		}
	}
	in.memory.used.Add(b.size() - size)
	size = b.size()
	var committed chan error
	if wait {
		committed = make(chan error, 1)
		b.committed = committed
	}
	queuedSize, err := in.queue.put(b)
	in.memory.give(size - queuedSize)
	if err != nil {
		b.release()
		return refuse(http.StatusServiceUnavailable, "%v", err)
	}
	queued = true
	if !wait {
		return nil
	}
	// A client that is gone cannot be told from one that only closed its side,
	// and who still listens must not hear of a commit before there is one.
	if err := <-committed; err != nil {
		return refuse(http.StatusServiceUnavailable, "the database cannot take writes: %v", err)
	}
	return nil
}

// decodingSize returns what decoding an entry may take beside its row, in
// bytes: the list of its members, and a copy where its UTF-8 has to be repaired,
// both of which double as they grow.
func decodingSize(entry []byte) int64 {
	n := (bytes.Count(entry, []byte(",")) + 1) * int(unsafe.Sizeof(member{}))
	if !utf8.Valid(entry) {
		n += len(entry) * utf8.UTFMax // the row has the repaired text too
	}
	return 2 * int64(n)
}

// waitParameter reads the parameter wait of the address.
func waitParameter(r *http.Request) (bool, *refusal) {
	if r.URL.RawQuery == "" {
		return false, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return false, refuse(http.StatusBadRequest, "the address is not well formed: %v", err)
	}
	values := query["wait"]
	if len(values) == 0 {
		return false, nil
	}
	wait, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, refuse(http.StatusBadRequest, "wait is 0 or 1, not %q", strings.Join(values, ","))
	}
	return wait, nil
}

// writeRefusal answers with what was wrong.
func writeRefusal(w http.ResponseWriter, r *refusal) {
	answer := struct {
		Error  string `json:"error"`
		Entry  *int   `json:"entry,omitempty"`
		Offset *int   `json:"offset,omitempty"`
	}{Error: r.reason}
	if r.at != nil {
		answer.Entry, answer.Offset = &r.at.entry, &r.at.offset
	}
	if r.status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
	w.Header()["Content-Type"] = jsonContentType
	w.WriteHeader(r.status)
	json.NewEncoder(w).Encode(answer) // as above: only the client could hear of an error
}
