package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
)

// An ingester handles POST /ingest: it reads a body, filters its entries by
// level, and puts the kept ones into the queue.
type ingester struct {
	threshold entry.Level
	maxBody   int64 // in bytes, both compressed and decompressed
	queue     *queue
	memory    *budget
	metrics   *metrics
	clock     func() time.Time // the arrival time; it may go backwards
}

// scratch is the memory that one request works with.
type scratch struct {
	wire     wireReader
	body     []byte
	scanner  levelScanner
	entry    *LogEntry
	arrival  [len("2006-01-02T15:04:05.000000000Z")]byte
	response []byte
}

var scratchPool = sync.Pool{New: func() any { return &scratch{entry: newLogEntry()} }}

// free returns the scratch to the pool.
func (s *scratch) free() {
	s.trim()
	scratchPool.Put(s)
}

// trim drops buffers that a large body grew. Dropping the whole scratch would
// not free it, because a pooled gzip.Reader still points to s.wire.
func (s *scratch) trim() {
	s.wire = wireReader{}
	s.body = reusable(s.body)
	s.scanner.kept = reusable(s.scanner.kept)
	s.entry.scratch = reusable(s.entry.scratch)
	s.entry.members = reusable(s.entry.members)
}

// reusable returns s, or nil if it is too large for a pool.
func reusable[T any](s []T) []T {
	var element T
	if cap(s) > maxPooled/int(unsafe.Sizeof(element)) {
		return nil
	}
	return s
}

// ServeHTTP handles a request and counts its response.
func (in *ingester) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := scratchPool.Get().(*scratch)
	defer s.free()
	status, herr := in.ingest(w, r, s)
	if herr != nil {
		in.metrics.countResponse(herr.Status)
		httpapi.WriteError(w, herr)
		return
	}
	in.metrics.countResponse(status)
	s.response = append(s.response[:0], `{"accepted":`...)
	s.response = strconv.AppendInt(s.response, int64(len(s.scanner.kept)), 10)
	s.response = append(s.response, `,"filtered":`...)
	s.response = strconv.AppendInt(s.response, int64(s.scanner.dropped), 10)
	s.response = append(s.response, "}\n"...)
	httpapi.SetJSON(w)
	w.WriteHeader(status)
	w.Write(s.response) // a write error means that the client has disconnected
}

// ingest accepts the request's entries and returns the response status.
func (in *ingester) ingest(w http.ResponseWriter, r *http.Request, s *scratch) (status int, herr *httpapi.Error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return 0, httpapi.Errorf(http.StatusMethodNotAllowed, "method %s is not allowed; send logs with POST", r.Method)
	}
	wait, herr := waitParameter(r)
	if herr != nil {
		return 0, herr
	}
	if in.queue.stopped.Load() {
		return 0, httpapi.Errorf(http.StatusServiceUnavailable, "%v", errShuttingDown)
	}
	reserved, herr := in.readBody(w, r, s)
	defer func() { in.memory.release(reserved) }()
	if herr != nil {
		return 0, herr
	}
	beginRequest(r)
	// A body has at most one entry for each opening brace.
	spans := int64(bytes.Count(s.body, []byte("{"))) * int64(unsafe.Sizeof(span{}))
	if herr := in.reserveMore(reserved, spans); herr != nil {
		return 0, herr
	}
	reserved += spans
	if err := s.scanner.scan(s.body, in.threshold); err != nil {
		in.metrics.received.Add(int64(err.entry + 1))
		in.metrics.refused.Add(int64(err.entry + 1))
		return 0, badEntry(err.reason, err.entry, err.offset)
	}
	dropped := int64(s.scanner.dropped)
	in.metrics.received.Add(int64(len(s.scanner.kept)) + dropped)
	if herr := in.store(s, wait, reserved); herr != nil {
		in.metrics.refused.Add(dropped)
		return 0, herr
	}
	in.metrics.filtered.Add(dropped)
	if wait {
		return http.StatusOK, nil
	}
	return http.StatusAccepted, nil
}

func badEntry(reason string, entry, offset int) *httpapi.Error {
	return &httpapi.Error{
		Status: http.StatusBadRequest,
		Reason: reason,
		At:     &httpapi.Position{Entry: entry, Offset: offset},
	}
}

// store decodes and queues the kept entries. With wait it returns after their
// commit. It counts the entries as accepted or refused, except those that are
// queued with wait, which the writer counts. reserved is the request's share of
// the memory budget, in bytes.
func (in *ingester) store(s *scratch, wait bool, reserved int64) *httpapi.Error {
	kept := int64(len(s.scanner.kept))
	if kept == 0 {
		return nil
	}
	b, size, herr := in.decode(s, reserved)
	if herr != nil {
		in.metrics.refused.Add(kept)
		return herr
	}
	var committed chan error
	if wait {
		committed = make(chan error, 1)
		b.committed = committed
	}
	queued, err := in.queue.put(b)
	in.memory.release(size - queued)
	if err != nil {
		b.free()
		in.metrics.refused.Add(kept)
		return httpapi.Errorf(http.StatusServiceUnavailable, "%v", err)
	}
	if !wait {
		in.metrics.accepted.Add(kept)
		return nil
	}
	// Wait even if the client seems to have disconnected: a client that only
	// half-closed its connection looks the same.
	if err := <-committed; err != nil {
		return httpapi.Errorf(http.StatusServiceUnavailable, "the database cannot accept writes: %v", err)
	}
	return nil
}

// decode returns a batch of the kept entries and its size in bytes, which it
// has reserved in the memory budget.
func (in *ingester) decode(s *scratch, reserved int64) (b *batch, size int64, herr *httpapi.Error) {
	estimate := estimateBatch(s)
	if estimate > math.MaxUint32 { // the range of a row's fields
		return nil, 0, errEntries
	}
	if herr := in.reserveMore(reserved, estimate); herr != nil {
		return nil, 0, herr
	}
	b = newBatch()
	now := entry.AppendTime(s.arrival[:0], in.clock().UTC())
	for i, e := range s.scanner.kept {
		if err := s.entry.appendRow(b, s.body[e.start:e.end], now); err != nil {
			in.memory.release(estimate)
			b.free()
			return nil, 0, badEntry(err.Error(), i, int(e.start))
		}
	}
	size = b.size()
	in.memory.used.Add(size - estimate)
	return b, size, nil
}

// estimateBatch estimates the memory for decoding the kept entries, in bytes: the
// batch, and what decoding the largest entry takes in addition.
func estimateBatch(s *scratch) int64 {
	size := int64(batchOverhead + len(s.scanner.kept)*rowEstimate)
	var largest span
	for _, e := range s.scanner.kept {
		size += int64(e.end - e.start)
		if e.end-e.start > largest.end-largest.start {
			largest = e
		}
	}
	return size + decodingSize(s.body[largest.start:largest.end])
}

// decodingSize returns the memory that decoding an entry takes in addition to its
// row, in bytes: the list of its members, and a copy if its UTF-8 must be
// repaired. Each comma may separate two members. The result is doubled, because
// both buffers double their capacity as they grow.
func decodingSize(entry []byte) int64 {
	n := (bytes.Count(entry, []byte(",")) + 1) * int(unsafe.Sizeof(member{}))
	if !utf8.Valid(entry) {
		n += len(entry) * utf8.UTFMax // the row contains the repaired text too
	}
	return 2 * int64(n)
}

// waitParameter returns the value of the query parameter wait.
func waitParameter(r *http.Request) (bool, *httpapi.Error) {
	if r.URL.RawQuery == "" {
		return false, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return false, httpapi.Errorf(http.StatusBadRequest, "invalid query string: %v", err)
	}
	values := query["wait"]
	if len(values) == 0 {
		return false, nil
	}
	wait, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, httpapi.Errorf(http.StatusBadRequest, "wait must be 0 or 1, not %q", strings.Join(values, ","))
	}
	return wait, nil
}

// The bounds of the body buffer's initial size, in bytes. They are small so that
// clients cannot exhaust the budget by announcing large bodies.
const minBodyBuffer, maxBodyBuffer = 4 << 10, 16 << 10

// readBody reads and decompresses the body of r into s.body. It returns the
// bytes that it reserved in the memory budget; the caller must release them,
// also after an error.
func (in *ingester) readBody(w http.ResponseWriter, r *http.Request, s *scratch) (reserved int64, herr *httpapi.Error) {
	s.body = s.body[:0]
	if r.ContentLength > in.maxBody {
		return 0, in.tooLarge()
	}
	encoding := strings.Join(r.Header["Content-Encoding"], ",")
	// The buffer needs one byte more than the body, because a full buffer would
	// grow before the read that returns EOF.
	expected := in.maxBody + 1
	if encoding != "" {
		reserved = inflaterSize
	} else if r.ContentLength >= 0 {
		expected = max(r.ContentLength+1, minBodyBuffer)
	}
	size := min(expected, maxBodyBuffer)
	reserved += size
	if !in.memory.reserve(reserved) {
		return 0, errMemory
	}
	s.wire = wireReader{r: r.Body, w: w, left: in.maxBody, step: bodyStep}
	body, err := inflate(&s.wire, encoding)
	if err != nil {
		return reserved, in.bodyError(err)
	}
	defer body.Close() // returns a decompressor to its pool
	for {
		done, herr := in.fill(s, body, size)
		if done || herr != nil {
			return reserved, herr
		}
		larger := min(2*size, in.maxBody+1)
		if size < expected && size >= expected/4 { // avoid further copies
			larger = expected
		}
		if !in.memory.reserve(larger) { // both buffers exist until fill has copied
			return reserved, errMemory
		}
		in.memory.release(size)
		reserved += larger - size
		size = larger
	}
}

// fill reads from body until s.body has size bytes or body ends. done is true if
// body ended.
func (in *ingester) fill(s *scratch, body io.Reader, size int64) (done bool, herr *httpapi.Error) {
	if int64(cap(s.body)) < size {
		s.body = append(make([]byte, 0, size), s.body...)
	}
	for int64(len(s.body)) < size {
		n, err := body.Read(s.body[len(s.body):size])
		s.body = s.body[:len(s.body)+n]
		switch {
		case err != nil && err != io.EOF:
			return false, in.bodyError(err)
		case int64(len(s.body)) > in.maxBody:
			return false, in.tooLarge()
		case err == io.EOF:
			return true, nil
		}
	}
	return false, nil
}

// reserveMore reserves n bytes of the memory budget for a request that has
// already reserved some.
func (in *ingester) reserveMore(reserved, n int64) *httpapi.Error {
	if reserved+n > in.memory.limit {
		return errEntries
	}
	if !in.memory.reserve(n) {
		return errMemory
	}
	return nil
}

var (
	errMemory = httpapi.Errorf(http.StatusServiceUnavailable, "the memory budget is full")
	// errEntries rejects a request that would not fit even into an empty budget.
	errEntries = httpapi.Errorf(http.StatusRequestEntityTooLarge, "the entries of one body need more memory than -memory allows; split the body")
)

func (in *ingester) tooLarge() *httpapi.Error {
	return httpapi.Errorf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes (-max-body); split it", in.maxBody)
}

// bodyError returns the response to an error of reading or decompressing a
// body.
func (in *ingester) bodyError(err error) *httpapi.Error {
	switch {
	case errors.Is(err, errTooLarge):
		return in.tooLarge()
	case errors.Is(err, errEncoding):
		return httpapi.Errorf(http.StatusUnsupportedMediaType, "%v", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return httpapi.Errorf(http.StatusBadRequest, "the body arrived too slowly: at least %d bytes are required every %v", bodyStep, requestTimeout)
	}
	return httpapi.Errorf(http.StatusBadRequest, "read body: %v", err)
}
