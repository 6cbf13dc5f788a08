package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
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
	threshold  entry.Level
	maxBody    int64 // in bytes, both compressed and decompressed
	queue      *queue
	memory     *budget
	accounts   *accounts
	processors *processors
	metrics    *metrics
	clock      func() time.Time // the arrival time; it may go backwards
	keys       *claimTable
	query      rowQuery // reads the file that the writer has open

	// refusalDelay is how long a request that does not fit into the memory budget
	// waits for its response.
	refusalDelay time.Duration
}

// refusalDelay limits the rate at which a client can repeat a request that needs
// memory, because refusing it takes processor time, too. It is the time that
// Retry-After asks for.
const refusalDelay = time.Second

// scratch is the memory that one request works with.
type scratch struct {
	conn     *limitedConn // of the request; nil if unknown
	account  *account
	time     processorTime
	wire     wireReader
	body     []byte
	scanner  levelScanner
	entry    *LogEntry
	arrival  [len("2006-01-02T15:04:05.000000000Z")]byte
	response []byte
	reserved reservation // for the buffers, and for the batch until it is queued
}

var scratchPool = sync.Pool{New: func() any { return &scratch{entry: newLogEntry()} }}

// requestOverhead is the memory of a request besides its buffers, in bytes: the
// scratch, and the part of its goroutine's stack that an idle connection does not
// have.
const requestOverhead = 8 << 10

// begin starts a request of client, which must stay in use until free. It
// reserves memory for the request and for the buffers that the scratch has from
// other requests. It drops the buffers if they do not fit, or if they are large
// for the budget.
func (s *scratch) begin(in *ingester, a *account) *httpapi.Error {
	s.account = a
	s.time = processorTime{processors: in.processors, account: a}
	s.reserved = reservation{budget: in.memory, held: &a.memory}
	if n := s.size(); n <= in.memory.limit/32 && s.reserved.grow(n+requestOverhead) == nil {
		return nil
	}
	s.drop()
	return s.reserved.grow(requestOverhead)
}

// size returns the memory of the buffers, in bytes.
func (s *scratch) size() int64 { return sizeOf(s.body) + sizeOf(s.scanner.kept) + s.entry.size() }

// drop drops all buffers.
func (s *scratch) drop() {
	s.entry.forget()
	recycleBuffer(s.body)
	s.body, s.scanner.kept, s.entry.scratch, s.entry.members = nil, nil, nil, nil
}

// free releases the memory of the request and returns the scratch to the pool.
func (s *scratch) free() {
	s.time.stop()
	s.trim()
	s.reserved.release()
	s.account.put()
	s.account = nil
	s.setInactive()
	scratchPool.Put(s)
}

// setInactive records that the request does not work any more, so that it cannot delay a
// shutdown. Its response may still be written.
func (s *scratch) setInactive() {
	s.conn.addActive(-1)
	s.conn = nil
}

// trim drops buffers that a large body grew.
func (s *scratch) trim() {
	s.wire = wireReader{}
	s.scanner.kept = reusable(s.scanner.kept)
	s.entry.members = reusable(s.entry.members)
	if cap(s.body) > maxPooled || cap(s.entry.scratch) > maxPooled || s.entry.keys > 0 {
		s.entry.forget() // it refers to these buffers
	}
	s.body = recycleBuffer(s.body)
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
	s, herr := in.begin(r)
	defer s.free()
	var resp response
	if herr == nil {
		resp, herr = in.ingest(w, r, s)
	}
	if herr != nil {
		in.delayRefusal(r, s, herr)
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

// begin returns a scratch for a request. The caller must free it, also if the
// error is that it has no memory for buffers.
func (in *ingester) begin(r *http.Request) (*scratch, *httpapi.Error) {
	s := scratchPool.Get().(*scratch)
	s.conn = connOf(r)
	s.conn.addActive(1)
	return s, s.begin(in, in.accounts.accountOf(r))
}

// delayRefusal waits before the response herr if that is a lack of memory. The
// request holds nothing meanwhile.
func (in *ingester) delayRefusal(r *http.Request, s *scratch, herr *httpapi.Error) {
	if herr != errMemory {
		return
	}
	s.time.stop()
	s.drop()
	s.reserved.release()
	beginRequest(r) // a replaced connection would not count while it waits
	time.Sleep(in.refusalDelay)
}

// receive checks the request, whose method must be one of methods, and reads its
// body into s.body. wait reports whether the response must follow the commit.
func (in *ingester) receive(
	w http.ResponseWriter, r *http.Request, s *scratch, methods ...string,
) (wait bool, herr *httpapi.Error) {
	if herr := checkMethod(w, r, methods...); herr != nil {
		return false, herr
	}
	if wait, herr = waitParameter(r); herr != nil {
		return false, herr
	}
	if in.queue.stopped.Load() {
		return false, httpapi.Errorf(http.StatusServiceUnavailable, "%v", errShuttingDown)
	}
	if herr := in.readBody(w, r, s); herr != nil {
		return false, herr
	}
	beginRequest(r)
	if len(s.body) >= largeBody {
		s.time.start()
	}
	return wait, nil
}

// checkMethod returns an error and sets the header Allow if the request has another
// method.
func checkMethod(w http.ResponseWriter, r *http.Request, methods ...string) *httpapi.Error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return httpapi.Errorf(http.StatusMethodNotAllowed, "method %s is not allowed; send logs with POST", r.Method)
}

// ingest accepts the request's entries and returns the response.
func (in *ingester) ingest(w http.ResponseWriter, r *http.Request, s *scratch) (resp response, herr *httpapi.Error) {
	key, herr := idempotencyKey(r)
	if herr != nil {
		return resp, herr
	}
	wait, herr := in.receive(w, r, s, http.MethodPost)
	if herr != nil {
		return resp, herr
	}
	defer s.time.stop()
	if key == "" {
		return in.accept(r, s, wait, nil)
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
		s.time.stop()
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
		_, herr = in.accept(r, s, wait, c)
	}
	in.keys.done(c, herr)
	return c.response, herr
}

// accept accepts the entries of a body. c is nil for a request without an
// idempotency key.
func (in *ingester) accept(
	r *http.Request, s *scratch, wait bool, c *claim,
) (resp response, herr *httpapi.Error) {
	// A body has at most one entry for each opening brace.
	if s.scanner.kept, herr = emptied(&s.reserved, s.scanner.kept, bytes.Count(s.body, []byte("{"))); herr != nil {
		return resp, herr
	}
	if err := s.scanner.scan(s.body, in.threshold); err != nil {
		if isProtobuf(r) {
			err.reason = "the body is protobuf; send logs in OTLP's format to POST /v1/logs"
		}
		in.metrics.countReceived(endpointIngest, int64(err.entry+1))
		in.metrics.refused.Add(int64(err.entry + 1))
		return resp, badEntry(err.reason, err.entry, err.offset)
	}
	in.metrics.countReceived(endpointIngest, int64(len(s.scanner.kept)+s.scanner.dropped))
	if resp, herr = in.store(s, wait, c); herr != nil {
		in.metrics.refused.Add(int64(s.scanner.dropped))
		return resp, herr
	}
	in.metrics.filtered.Add(int64(s.scanner.dropped))
	return resp, nil
}

func badEntry(reason string, entry, offset int) *httpapi.Error {
	return &httpapi.Error{
		Status: http.StatusBadRequest,
		Reason: reason,
		At:     &httpapi.Position{Entry: entry, Offset: offset},
	}
}

// store decodes and queues the kept entries, and returns the response. With wait it
// returns after their commit. It counts the entries as accepted or refused, except
// those that are queued with wait, which the writer counts.
func (in *ingester) store(s *scratch, wait bool, c *claim) (resp response, herr *httpapi.Error) {
	var b *batch
	if len(s.scanner.kept) > 0 {
		if b, herr = in.decode(s); herr != nil {
			in.metrics.refused.Add(int64(len(s.scanner.kept)))
			return resp, herr
		}
	}
	resp = response{status: http.StatusAccepted, accepted: len(s.scanner.kept), filtered: s.scanner.dropped}
	if wait {
		resp.status = http.StatusOK
	}
	if c != nil {
		c.response = resp
	}
	if b == nil {
		return resp, nil
	}
	return resp, in.enqueue(s, b, wait, c)
}

// enqueue queues b, whose size is part of the request's reservation. With wait it
// returns after the commit. It counts the rows as store does.
func (in *ingester) enqueue(s *scratch, b *batch, wait bool, c *claim) *httpapi.Error {
	kept := int64(len(b.rows))
	if kept == 0 { // the decoder has filtered all entries
		s.reserved.shrink(b.size())
		b.free()
		return nil
	}
	levels := countLevels(b) // before the writer owns b
	var committed chan error
	if wait {
		committed = make(chan error, 1)
		b.committed = committed
	}
	s.time.stop() // put may wait
	b.account, b.claims = s.account, c
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
		in.metrics.countAccepted(&levels)
		return nil
	}
	// Wait even if the client seems to have disconnected: a client that only
	// half-closed its connection looks the same.
	if err := <-committed; err != nil {
		return httpapi.Errorf(http.StatusServiceUnavailable, "the database cannot accept writes: %v", err)
	}
	in.metrics.countAccepted(&levels)
	return nil
}

// countLevels returns the numbers of the rows of b by level.
func countLevels(b *batch) (counts levelCounts) {
	start := uint32(0)
	for i := range b.rows {
		counts[entry.LevelByName(b.text[start:b.rows[i].level])]++
		start = b.rows[i].details
	}
	return counts
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
func (in *ingester) fillBatch(s *scratch, b *batch, valid bool) *httpapi.Error {
	s.entry.start(in.threshold)
	now := entry.AppendTime(s.arrival[:0], in.clock().UTC())
	for i, e := range s.scanner.kept {
		s.time.step(int(e.end - e.start))
		herr := in.appendEntry(s, b, s.body[e.start:e.end], valid, now)
		if herr != nil && herr != errMemory && herr != errEntries { // it is about this entry
			herr.At = &httpapi.Position{Entry: i, Offset: int(e.start)}
		}
		if herr != nil {
			return herr
		}
	}
	s.scanner.drop(s.entry.filtered)
	return nil
}

// appendEntry decodes data, an entry that the scanner has validated, into b. valid
// reports whether data is valid UTF-8.
func (in *ingester) appendEntry(s *scratch, b *batch, data []byte, valid bool, now []byte) (herr *httpapi.Error) {
	if !valid {
		if int64(3*len(data)) > in.maxBody && int64(len(data)+repairGrowth(data)) > in.maxBody {
			return httpapi.Errorf(http.StatusRequestEntityTooLarge,
				"with U+FFFD for its invalid UTF-8, the entry is larger than %d bytes (-max-body)", in.maxBody)
		}
		if data, herr = s.entry.repair(&s.reserved, data); herr != nil {
			return herr
		}
	}
	if herr := s.entry.makeRoom(&s.reserved, data); herr != nil {
		return herr
	}
	if err := s.entry.appendRow(b, data, now); err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return nil
}

// textSize returns an upper bound of the text of the batch of the kept entries,
// in bytes, and whether all entries are valid UTF-8.
func (s *scratch) textSize() (size int, valid bool) {
	valid = true
	for _, e := range s.scanner.kept {
		n, ok := rowSize(s.body[e.start:e.end])
		size += n
		valid = valid && ok
	}
	return size, valid
}

// rowSize returns an upper bound of the text of the row of an entry, in bytes, and
// whether the entry is valid UTF-8.
func rowSize(data []byte) (size int, valid bool) {
	size = len(data) + maxRowExtra + entry.LowerGrowth(data)
	if utf8.Valid(data) {
		return size, true
	}
	return size + repairGrowth(data), false
}

// isProtobuf reports whether the client declares the body as protobuf.
func isProtobuf(r *http.Request) bool {
	return strings.HasSuffix(r.Header.Get("Content-Type"), "/x-protobuf")
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
		s.conn.addActive(-1)
		s.time.start()
		s.conn.addActive(1)
		defer s.time.stop()
	} else if r.ContentLength >= 0 {
		expected = max(r.ContentLength+1, minBodyBuffer)
	}
	size := min(expected, maxBodyBuffer)
	if herr := s.growBody(size); herr != nil {
		return herr
	}
	s.wire = wireReader{r: r.Body, w: w, left: in.maxBody, step: bodyStep, time: &s.time, conn: s.conn}
	return decodeBody(&s.wire, encoding, func(body bodyReader) *httpapi.Error {
		return in.readAll(s, body, size, expected)
	})
}

// readAll reads body into s.body, which has room for size bytes and grows.
// expected is the largest size it can have, in bytes.
func (in *ingester) readAll(s *scratch, body bodyReader, size, expected int64) *httpapi.Error {
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
	larger := append(newBuffer(size), s.body...)
	recycleBuffer(s.body)
	s.body = larger
	s.reserved.shrink(old)
	return nil
}

// fill reads from body until s.body has size bytes, for which it has room, or
// body ends. done is true if body ended.
func (in *ingester) fill(s *scratch, body bodyReader, size int64) (done bool, herr *httpapi.Error) {
	for int64(len(s.body)) < size {
		n := len(s.body)
		step := min(size, int64(n)+workStep)
		longer, err := body.AppendTo(s.body[:n:step])
		s.body = s.body[:len(longer)]
		s.time.step(len(longer) - n)
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
	return httpapi.Errorf(
		http.StatusRequestEntityTooLarge,
		"the body is larger than %d bytes (-max-body); split it",
		in.maxBody,
	)
}

// bodyError returns the response to an error of reading or decompressing a
// body.
func (in *ingester) bodyError(err error) *httpapi.Error {
	switch {
	case errors.Is(err, errTooLarge):
		return in.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return httpapi.Errorf(
			http.StatusBadRequest,
			"the body arrived too slowly: at least %d bytes are required every %v",
			bodyStep,
			requestTimeout,
		)
	}
	return httpapi.Errorf(http.StatusBadRequest, "read body: %v", err)
}
