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
	keys      *claimTable
	query     rowQuery // reads the file that the writer has open
}

// scratch is the memory that one request works with.
type scratch struct {
	wire     wireReader
	body     []byte
	scanner  levelScanner
	entry    *LogEntry
	arrival  [len("2006-01-02T15:04:05.000000000Z")]byte
	response []byte
	reserved reservation // for the buffers, and for the batch until it is queued
}

var scratchPool = sync.Pool{New: func() any { return &scratch{entry: newLogEntry()} }}

// begin reserves the buffers that the scratch has from other requests, or drops
// them if they do not fit, or if they are large for the budget.
func (s *scratch) begin(memory *budget) {
	s.reserved = reservation{budget: memory}
	if n := s.size(); n > memory.limit/32 || s.reserved.grow(n) != nil {
		s.drop()
	}
}

// size returns the memory of the buffers, in bytes.
func (s *scratch) size() int64 { return sizeOf(s.body) + sizeOf(s.scanner.kept) + s.entry.size() }

// drop drops all buffers.
func (s *scratch) drop() {
	s.entry.forget()
	s.body, s.scanner.kept, s.entry.scratch, s.entry.members = nil, nil, nil, nil
}

// free releases the memory of the request and returns the scratch to the pool.
func (s *scratch) free() {
	s.trim()
	s.reserved.release()
	scratchPool.Put(s)
}

// trim drops buffers that a large body grew. Dropping the whole scratch would
// not free it, because a pooled gzip.Reader still points to s.wire.
func (s *scratch) trim() {
	s.wire = wireReader{}
	s.scanner.kept = reusable(s.scanner.kept)
	s.entry.members = reusable(s.entry.members)
	if cap(s.body) > maxPooled || cap(s.entry.scratch) > maxPooled || s.entry.keys > 0 {
		s.entry.forget() // it refers to these buffers
	}
	s.body = reusable(s.body)
	s.entry.scratch = reusable(s.entry.scratch)
}

// reusable returns s, or nil if it is too large for a pool.
func reusable[T any](s []T) []T {
	if sizeOf(s) > maxPooled {
		return nil
	}
	return s
}

// ServeHTTP handles a request and counts its response.
func (in *ingester) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := scratchPool.Get().(*scratch)
	s.begin(in.memory)
	defer s.free()
	resp, herr := in.ingest(w, r, s)
	if herr != nil {
		in.metrics.countResponse(herr.Status)
		httpapi.WriteError(w, herr)
		return
	}
	in.metrics.countResponse(resp.status)
	s.response = append(s.response[:0], `{"accepted":`...)
	s.response = strconv.AppendInt(s.response, int64(resp.accepted), 10)
	s.response = append(s.response, `,"filtered":`...)
	s.response = strconv.AppendInt(s.response, int64(resp.filtered), 10)
	s.response = append(s.response, "}\n"...)
	if resp.replayed {
		w.Header()["Idempotency-Replayed"] = []string{"true"}
	}
	httpapi.SetJSON(w)
	w.WriteHeader(resp.status)
	w.Write(s.response) // a write error means that the client has disconnected
}

// ingest accepts the request's entries and returns the response.
func (in *ingester) ingest(w http.ResponseWriter, r *http.Request, s *scratch) (resp response, herr *httpapi.Error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return resp, httpapi.Errorf(http.StatusMethodNotAllowed, "method %s is not allowed; send logs with POST", r.Method)
	}
	wait, herr := waitParameter(r)
	if herr != nil {
		return resp, herr
	}
	key, herr := idempotencyKey(r)
	if herr != nil {
		return resp, herr
	}
	if in.queue.stopped.Load() {
		return resp, httpapi.Errorf(http.StatusServiceUnavailable, "%v", errShuttingDown)
	}
	if herr := in.readBody(w, r, s); herr != nil {
		return resp, herr
	}
	beginRequest(r)
	if key == "" {
		return in.accept(s, wait, nil)
	}
	return in.acceptOnce(r, s, wait, key)
}

// acceptOnce accepts the entries of a request with an idempotency key, or
// returns the response to the first request with that key.
func (in *ingester) acceptOnce(r *http.Request, s *scratch, wait bool, key string) (response, *httpapi.Error) {
	if herr := s.reserved.grow(claimSize); herr != nil {
		return response{}, herr
	}
	id := newRequestID(r, key, s.body)
	c, first := in.keys.claim(id)
	if !first {
		// The first request may take long, and the body is not needed any more.
		s.reserved.shrink(s.size())
		s.drop()
		return c.repeat(id)
	}
	previous, herr := findKey(r.Context(), in.query, c)
	switch {
	case herr != nil:
	case previous != nil:
		c.response = *previous
	default:
		_, herr = in.accept(s, wait, c)
	}
	in.keys.done(c, herr)
	return c.response, herr
}

// accept accepts the entries of a body. c is nil for a request without an
// idempotency key.
func (in *ingester) accept(s *scratch, wait bool, c *claim) (resp response, herr *httpapi.Error) {
	// A body has at most one entry for each opening brace.
	if s.scanner.kept, herr = emptied(&s.reserved, s.scanner.kept, bytes.Count(s.body, []byte("{"))); herr != nil {
		return resp, herr
	}
	if err := s.scanner.scan(s.body, in.threshold); err != nil {
		in.metrics.received.Add(int64(err.entry + 1))
		in.metrics.refused.Add(int64(err.entry + 1))
		return resp, badEntry(err.reason, err.entry, err.offset)
	}
	dropped := int64(s.scanner.dropped)
	in.metrics.received.Add(int64(len(s.scanner.kept)) + dropped)
	resp = response{status: http.StatusAccepted, accepted: len(s.scanner.kept), filtered: s.scanner.dropped}
	if wait {
		resp.status = http.StatusOK
	}
	if c != nil {
		c.response = resp
	}
	if herr := in.store(s, wait, c); herr != nil {
		in.metrics.refused.Add(dropped)
		return resp, herr
	}
	in.metrics.filtered.Add(dropped)
	return resp, nil
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
// queued with wait, which the writer counts.
func (in *ingester) store(s *scratch, wait bool, c *claim) *httpapi.Error {
	kept := int64(len(s.scanner.kept))
	if kept == 0 {
		return nil
	}
	b, herr := in.decode(s)
	if herr != nil {
		in.metrics.refused.Add(kept)
		return herr
	}
	var committed chan error
	if wait {
		committed = make(chan error, 1)
		b.committed = committed
	}
	b.claims = c
	size := b.size()
	queued, err := in.queue.put(b)
	s.reserved.handOver(queued) // the writer releases it
	s.reserved.shrink(size - queued)
	if err != nil {
		b.free()
		in.metrics.refused.Add(kept)
		return httpapi.Errorf(http.StatusServiceUnavailable, "%v", err)
	}
	if c != nil {
		c.queued = true
		s.reserved.handOver(claimSize) // the writer releases it too
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

// decode returns a batch of the kept entries, whose size it has added to the
// request's reservation.
func (in *ingester) decode(s *scratch) (*batch, *httpapi.Error) {
	text, valid := s.textSize()
	if int64(text) > math.MaxUint32 { // the range of a row's fields
		return nil, errEntries
	}
	b, herr := newBatch(&s.reserved, text, len(s.scanner.kept))
	if herr != nil {
		return nil, herr
	}
	if herr := in.fillBatch(s, b, valid); herr != nil {
		s.reserved.shrink(b.size())
		b.free()
		return nil, herr
	}
	return b, nil
}

// fillBatch decodes the kept entries into b. valid reports whether all are valid
// UTF-8.
func (in *ingester) fillBatch(s *scratch, b *batch, valid bool) (herr *httpapi.Error) {
	s.entry.keys = 0
	now := entry.AppendTime(s.arrival[:0], in.clock().UTC())
	for i, e := range s.scanner.kept {
		data := s.body[e.start:e.end]
		if !valid {
			if data, herr = s.entry.repair(&s.reserved, data); herr != nil {
				return herr
			}
		}
		if herr := s.entry.makeRoom(&s.reserved, data); herr != nil {
			return herr
		}
		if err := s.entry.appendRow(b, data, now); err != nil {
			return badEntry(err.Error(), i, int(e.start))
		}
	}
	return nil
}

// textSize returns an upper bound of the text of the batch of the kept entries,
// in bytes, and whether all entries are valid UTF-8.
func (s *scratch) textSize() (size int, valid bool) {
	valid = true
	for _, e := range s.scanner.kept {
		data := s.body[e.start:e.end]
		size += len(data) + maxRowExtra + lowerGrowth(data)
		if !utf8.Valid(data) {
			size += repairGrowth(data)
			valid = false
		}
	}
	return size, valid
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

// readBody reads and decompresses the body of r into s.body.
func (in *ingester) readBody(w http.ResponseWriter, r *http.Request, s *scratch) *httpapi.Error {
	s.body = s.body[:0]
	if r.ContentLength > in.maxBody {
		return in.tooLarge()
	}
	encoding := strings.Join(r.Header["Content-Encoding"], ",")
	// The buffer needs one byte more than the body, because a full buffer would
	// grow before the read that returns EOF.
	expected := in.maxBody + 1
	if encoding != "" {
		if herr := s.reserved.grow(inflaterSize); herr != nil {
			return herr
		}
		defer s.reserved.shrink(inflaterSize)
	} else if r.ContentLength >= 0 {
		expected = max(r.ContentLength+1, minBodyBuffer)
	}
	size := min(expected, maxBodyBuffer)
	if herr := s.growBody(size); herr != nil {
		return herr
	}
	s.wire = wireReader{r: r.Body, w: w, left: in.maxBody, step: bodyStep}
	body, err := inflate(&s.wire, encoding)
	if err != nil {
		return in.bodyError(err)
	}
	defer body.Close() // returns a decompressor to its pool
	for {
		done, herr := in.fill(s, body, size)
		if done || herr != nil {
			return herr
		}
		larger := 2 * size
		if larger >= in.maxBody {
			larger = in.maxBody + 1
		}
		if size < expected && size >= expected/4 { // avoid further copies
			larger = expected
		}
		if herr := s.growBody(larger); herr != nil {
			return herr
		}
		size = larger
	}
}

// growBody makes room for size bytes in s.body. Both buffers are reserved until
// it has copied.
func (s *scratch) growBody(size int64) *httpapi.Error {
	old := int64(cap(s.body))
	if size <= old {
		return nil
	}
	if herr := s.reserved.grow(size); herr != nil {
		return herr
	}
	s.body = append(make([]byte, 0, size), s.body...)
	s.reserved.shrink(old)
	return nil
}

// fill reads from body until s.body has size bytes, for which it has room, or
// body ends. done is true if
// body ended.
func (in *ingester) fill(s *scratch, body io.Reader, size int64) (done bool, herr *httpapi.Error) {
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
