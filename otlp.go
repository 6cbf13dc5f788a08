package main

import (
	"bytes"
	"math"
	"mime"
	"net/http"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
	"log-ingester/internal/otlp"
)

// An otlpHandler handles POST /v1/logs, logs by OTLP/HTTP.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
type otlpHandler struct{ *ingester }

// ServeHTTP handles a request and counts its response. A response has the encoding
// of its request. Without ?wait=1, status 200 means that the records are queued,
// because OTLP defines no other success status.
func (h otlpHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, herr := h.begin(r)
	defer s.free()
	var result otlp.Result
	if herr == nil {
		result, herr = h.accept(w, r, s)
	}
	if herr != nil {
		h.delayRefusal(r, s, herr)
		h.metrics.countResponse(herr.Status)
		writeOTLPError(w, r, herr)
		return
	}
	h.metrics.countResponse(http.StatusOK)
	contentType := otlpType(r)
	isJSON := contentType == otlp.ContentTypeJSON
	s.response = otlp.AppendResponse(s.response[:0], isJSON, result.Rejected, result.Reason)
	w.Header().Set("Content-Type", contentType)
	w.Write(s.response) // a write error means that the client has disconnected
}

// writeOTLPError sends e in the encoding of the request. JSON is the default.
func writeOTLPError(w http.ResponseWriter, r *http.Request, e *httpapi.Error) {
	contentType := otlpType(r)
	if contentType != otlp.ContentTypeProto {
		contentType = otlp.ContentTypeJSON
	}
	httpapi.SetRetryAfter(w, e)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(e.Status)
	w.Write(otlp.AppendStatus(nil, contentType == otlp.ContentTypeJSON, e.Reason)) // as above
}

// otlpType returns the content type of a request without its parameters.
func otlpType(r *http.Request) string {
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return contentType
}

// accept accepts the request's records.
func (h otlpHandler) accept(
	w http.ResponseWriter,
	r *http.Request,
	s *scratch,
) (result otlp.Result, herr *httpapi.Error) {
	if herr := checkMethod(w, r, http.MethodPost); herr != nil {
		return result, herr
	}
	contentType := otlpType(r)
	if contentType != otlp.ContentTypeProto && contentType != otlp.ContentTypeJSON {
		return result, httpapi.Errorf(http.StatusUnsupportedMediaType,
			"unsupported Content-Type %q; send %s or %s", contentType, otlp.ContentTypeProto, otlp.ContentTypeJSON)
	}
	wait, herr := h.receive(w, r, s, http.MethodPost)
	if herr != nil {
		return result, herr
	}
	q, herr := h.request(s, contentType == otlp.ContentTypeJSON)
	if herr != nil {
		return result, herr
	}
	var b *batch
	result, err := q.Estimate()
	if err == nil && result.Kept > 0 {
		b, result, err = h.tryBatch(s, q, result)
	}
	if err == otlp.ErrNoRoom {
		result, err = q.Measure()
	}
	if err == nil && q.JSON && result.Kept+result.Filtered+result.Rejected == 0 {
		err = checkRequest(q.Body)
	}
	if err != nil {
		return result, httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return result, h.store(s, q, b, result, wait)
}

// tryBatch returns a batch of the kept records, whose size it has added to the request's
// reservation, or nil if there are none. It returns otlp.ErrNoRoom if the memory does not
// suffice for the estimate, or the estimate for the records.
func (h otlpHandler) tryBatch(s *scratch, q *otlp.Request, estimated otlp.Result) (*batch, otlp.Result, error) {
	if int64(estimated.TextSize) > math.MaxUint32 { // the range of a row's fields
		return nil, estimated, otlp.ErrNoRoom
	}
	b, herr := newBatch(&s.reserved, estimated.TextSize, estimated.Kept)
	if herr != nil {
		return nil, estimated, otlp.ErrNoRoom
	}
	text, result, err := q.TryAppendRows(estimated, b.text, h.now(s), b.add)
	if err != nil || result.Kept == 0 {
		s.reserved.shrink(b.size())
		b.free()
		return nil, result, err
	}
	b.text = text
	return b, result, nil
}

// now returns the text of the current time.
func (h otlpHandler) now(s *scratch) []byte { return entry.AppendTime(s.arrival[:0], h.clock().UTC()) }

// add appends a row whose text is in b.
func (b *batch) add(r otlp.Row) {
	b.rows = append(b.rows, row{uint32(r.Level), uint32(r.Message), uint32(r.Timestamp), uint32(r.Details)})
}

// checkRequest returns an error if object, a JSON request without records, has members
// but no list of records: it has another format, and a success would hide that its data
// is lost.
func checkRequest(object []byte) error {
	err := error(nil)
	for c := enterObject(object); c.More(); c.Skip() {
		switch string(c.Key()) {
		case "resourceLogs", "resource_logs":
			return nil
		case "resourceSpans", "resourceMetrics":
			return errIsOther
		case "scopeLogs":
			return errIsResource
		default:
			err = errNoRecords
		}
	}
	return err
}

// request returns the request in s.body. It validates and repairs JSON as
// otlp.Request requires.
func (h otlpHandler) request(s *scratch, isJSON bool) (*otlp.Request, *httpapi.Error) {
	q := &otlp.Request{Body: s.body, JSON: isJSON, Level: h.threshold, Step: s.time.step}
	if !isJSON {
		return q, nil
	}
	// The threshold is above all levels, so the scanner validates but keeps nothing.
	var herr *httpapi.Error
	if s.scanner.kept, herr = emptied(&s.reserved, s.scanner.kept, 1); herr != nil {
		return nil, herr
	}
	if err := s.scanner.scan(s.body, entry.LevelUnknown+1); err != nil {
		return nil, badEntry(err.reason, err.entry, err.offset)
	}
	start := bytes.IndexAny(s.body, "{[")
	if s.body[start] == '[' || s.scanner.dropped != 1 {
		return nil, httpapi.Errorf(http.StatusBadRequest, "the body is not one JSON object")
	}
	q.Body, herr = s.entry.repair(&s.reserved, s.body[start:])
	return q, herr
}

// store queues the kept records, and counts all records. b has the kept records, or is
// nil. If wait is set, store returns after the commit.
func (h otlpHandler) store(s *scratch, q *otlp.Request, b *batch, result otlp.Result, wait bool) (herr *httpapi.Error) {
	kept, filtered, rejected := int64(result.Kept), int64(result.Filtered), int64(result.Rejected)
	h.metrics.countReceived(endpointOTLP, kept+filtered+rejected)
	h.metrics.refused.Add(rejected)
	if kept > 0 {
		if b == nil {
			if b, herr = h.batch(s, q, result); herr != nil {
				h.metrics.refused.Add(kept + filtered)
				return herr
			}
		}
		if herr := h.enqueue(s, b, wait, nil); herr != nil { // it has counted the kept records
			h.metrics.refused.Add(filtered)
			return herr
		}
	}
	h.metrics.filtered.Add(filtered)
	return nil
}

// batch returns a batch of the kept records, whose size it has added to the
// request's reservation.
func (h otlpHandler) batch(s *scratch, q *otlp.Request, result otlp.Result) (*batch, *httpapi.Error) {
	if int64(result.TextSize) > math.MaxUint32 { // the range of a row's fields
		return nil, errEntries
	}
	b, herr := newBatch(&s.reserved, result.TextSize, result.Kept)
	if herr != nil {
		return nil, herr
	}
	b.text = q.AppendRows(b.text, h.now(s), b.add)
	return b, nil
}
