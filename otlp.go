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
	contentType, result := otlp.ContentTypeJSON, otlp.Result{}
	if herr == nil {
		contentType, result, herr = h.accept(w, r, s)
	}
	isJSON := contentType == otlp.ContentTypeJSON
	status := http.StatusOK
	if herr != nil {
		h.delayRefusal(r, s, herr)
		status = herr.Status
		httpapi.SetRetryAfter(w, herr)
		s.response = otlp.AppendStatus(s.response[:0], isJSON, herr.Reason)
	} else {
		s.response = otlp.AppendResponse(s.response[:0], isJSON, result.Rejected, result.Reason)
	}
	h.metrics.countResponse(status)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(s.response) // a write error means that the client has disconnected
}

// accept accepts the request's records. It also returns the content type of the
// response.
func (h otlpHandler) accept(
	w http.ResponseWriter,
	r *http.Request,
	s *scratch,
) (contentType string, result otlp.Result, herr *httpapi.Error) {
	contentType, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if contentType != otlp.ContentTypeProto && contentType != otlp.ContentTypeJSON {
		return otlp.ContentTypeJSON, result, httpapi.Errorf(http.StatusUnsupportedMediaType,
			"unsupported Content-Type %q; send %s or %s", contentType, otlp.ContentTypeProto, otlp.ContentTypeJSON)
	}
	wait, herr := h.receive(w, r, s, http.MethodPost)
	if herr != nil {
		return contentType, result, herr
	}
	q, herr := h.request(s, contentType == otlp.ContentTypeJSON)
	if herr != nil {
		return contentType, result, herr
	}
	result, err := q.Measure()
	if err != nil {
		return contentType, result, httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return contentType, result, h.store(s, q, result, wait)
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

// store queues the kept records, and counts all records. If wait is set, it returns
// after the commit.
func (h otlpHandler) store(s *scratch, q *otlp.Request, result otlp.Result, wait bool) *httpapi.Error {
	kept, filtered, rejected := int64(result.Kept), int64(result.Filtered), int64(result.Rejected)
	h.metrics.countReceived(endpointOTLP, kept+filtered+rejected)
	h.metrics.refused.Add(rejected)
	if kept > 0 {
		b, herr := h.batch(s, q, result)
		if herr != nil {
			h.metrics.refused.Add(kept + filtered)
			return herr
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
	now := entry.AppendTime(s.arrival[:0], h.clock().UTC())
	b.text = q.AppendRows(b.text, now, func(r otlp.Row) {
		b.rows = append(b.rows, row{uint32(r.Level), uint32(r.Message), uint32(r.Timestamp), uint32(r.Details)})
	})
	return b, nil
}
