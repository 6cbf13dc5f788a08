package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strings"

	"log-ingester/internal/entry"
	"log-ingester/internal/esbulk"
	"log-ingester/internal/httpapi"
)

// An elasticHandler handles the requests of Elasticsearch's clients below
// /elasticsearch/.
type elasticHandler struct{ *ingester }

// ServeHTTP handles a request. It counts the responses of bulk requests only.
func (h elasticHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/elasticsearch"), "/")
	index, isBulk := strings.CutSuffix(path, "_bulk")
	if index, ok := strings.CutSuffix(index, "/"); isBulk && (index == "" || ok && !strings.Contains(index, "/")) {
		h.serveBulk(w, r, index)
		return
	}
	beginRequest(r)
	body, ok := esbulk.Handshake(r.Method, path)
	if !ok {
		writeElasticError(
			w,
			httpapi.Errorf(http.StatusNotFound, "no route %s; send logs to POST /elasticsearch/_bulk", r.URL.Path),
		)
		return
	}
	httpapi.SetJSON(w)
	fmt.Fprintln(w, body) // a write error means that the client has disconnected
}

// writeElasticError sends e as Elasticsearch does.
func writeElasticError(w http.ResponseWriter, e *httpapi.Error) {
	httpapi.SetRetryAfter(w, e)
	httpapi.SetJSON(w)
	w.WriteHeader(e.Status)
	w.Write(esbulk.AppendError(nil, e.Status, e.Reason)) // as above
}

// elasticKey copies the API key of a request to the header X-API-Key and calls h.
// Elasticsearch's clients send the key as the password of a user, or after the id in
// an Elasticsearch API key.
func elasticKey(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Elastic-Product"] = []string{"Elasticsearch"} // clients require it, also with errors
		scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "ApiKey") {
			if text, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				if _, key, ok := strings.Cut(string(text), ":"); ok {
					r.Header.Set("X-Api-Key", key)
				}
			}
		}
		h.ServeHTTP(w, r)
	})
}

// A bulkRequest is a bulk request whose body is in s.body.
type bulkRequest struct {
	s         *scratch
	threshold entry.Level
	index     []byte // JSON string: the index of items that name none
}

// A bulkResult is the result of the items of a bulk request.
type bulkResult struct {
	kept, filtered, failed int
	textSize               int // upper bound of the text of the rows, in bytes
}

// maxIndexName is Elasticsearch's limit of the name of an index, in bytes. No budget
// counts the copies of the name from the path.
const maxIndexName = 255

// serveBulk handles a bulk request and counts its response.
func (h elasticHandler) serveBulk(w http.ResponseWriter, r *http.Request, index string) {
	s, herr := h.begin(r)
	defer s.free()
	q := &bulkRequest{s: s, threshold: h.threshold}
	var result bulkResult
	switch {
	case herr != nil:
	case len(index) > maxIndexName:
		herr = httpapi.Errorf(http.StatusBadRequest, "the name of the index is longer than %d bytes", maxIndexName)
	default:
		q.index = entry.AppendQuoted(nil, index)
		result, herr = h.acceptBulk(w, r, q)
	}
	if herr != nil {
		h.delayRefusal(r, s, herr)
		h.metrics.countResponse(herr.Status)
		writeElasticError(w, herr)
		return
	}
	h.metrics.countResponse(http.StatusOK)
	s.time.stop() // writing may wait for the client
	s.setInactive()
	httpapi.SetJSON(w)
	filter := esbulk.NewFilter(r.URL.Query().Get("filter_path"))
	rw := esbulk.NewResponseWriter(newStreamWriter(w), q.index, filter, result.failed > 0)
	if rw.HasItems(result.failed > 0) {
		// acceptBulk has found no error.
		q.each(func(it *esbulk.Item, _ bool, failure *esbulk.Failure) *httpapi.Error {
			rw.Item(it, failure)
			return nil
		})
	}
	rw.Close()
}

// acceptBulk accepts the documents of a request.
func (h elasticHandler) acceptBulk(
	w http.ResponseWriter,
	r *http.Request,
	q *bulkRequest,
) (bulkResult, *httpapi.Error) {
	wait, herr := h.receive(w, r, q.s, http.MethodPost, http.MethodPut)
	if herr != nil {
		return bulkResult{}, herr
	}
	result, herr := q.measure()
	if herr != nil {
		return result, herr
	}
	filtered, failed := int64(result.filtered), int64(result.failed)
	h.metrics.countReceived(endpointBulk, int64(result.kept)+filtered+failed)
	h.metrics.refused.Add(failed)
	if result.kept > 0 {
		b, herr := h.bulkBatch(q, result)
		if herr != nil {
			h.metrics.refused.Add(int64(result.kept) + filtered)
			return result, herr
		}
		filtered += int64(q.s.entry.filtered)
		if herr := h.enqueue(q.s, b, wait, nil); herr != nil { // it has counted the kept entries
			h.metrics.refused.Add(filtered)
			return result, herr
		}
	}
	h.metrics.filtered.Add(filtered)
	return result, nil
}

// measure validates the items and adds up what storing them needs.
func (q *bulkRequest) measure() (result bulkResult, herr *httpapi.Error) {
	s := q.s
	// A document has at most one entry for each opening brace.
	if s.scanner.kept, herr = emptied(&s.reserved, s.scanner.kept, bytes.Count(s.body, []byte("{"))+1); herr != nil {
		return result, herr
	}
	herr = q.each(func(it *esbulk.Item, kept bool, failure *esbulk.Failure) *httpapi.Error {
		switch {
		case failure != nil:
			result.failed++
		case !kept:
			result.filtered++
		default:
			result.kept++
			size, _ := rowSize(it.Source)
			result.textSize += size + len(`{"_index":,"_id":,}`) + max(len(it.Index), len(q.index)) + len(it.ID)
		}
		return nil
	})
	return result, herr
}

// bulkBatch returns a batch of the kept documents, whose size it has added to the
// request's reservation.
func (h elasticHandler) bulkBatch(q *bulkRequest, result bulkResult) (*batch, *httpapi.Error) {
	if int64(result.textSize) > math.MaxUint32 { // the range of a row's fields
		return nil, errEntries
	}
	s := q.s
	b, herr := newBatch(&s.reserved, result.textSize, result.kept)
	if herr != nil {
		return nil, herr
	}
	s.entry.start(h.threshold)
	now := entry.AppendTime(s.arrival[:0], h.clock().UTC())
	herr = q.each(func(it *esbulk.Item, kept bool, failure *esbulk.Failure) *httpapi.Error {
		if !kept || failure != nil {
			return nil
		}
		s.entry.extra = q.members(s.entry.extra[:0], it)
		return h.appendEntry(s, b, it.Source, false, now)
	})
	clear(s.entry.extra[:cap(s.entry.extra)]) // it refers to the body
	s.entry.extra = s.entry.extra[:0]
	if herr != nil {
		s.reserved.shrink(b.size())
		b.free()
		return nil, herr
	}
	return b, nil
}

// members appends the parts of an item's action that go to the details.
func (q *bulkRequest) members(dst []member, it *esbulk.Item) []member {
	index := it.Index
	if index == nil {
		index = q.index
	}
	if len(index) > len(`""`) {
		dst = append(dst, member{"_index", index})
	}
	if it.ID != nil {
		dst = append(dst, member{"_id", it.ID})
	}
	return dst
}

// each calls visit for each item. kept reports whether the document is at or above
// the threshold, and failure is not nil if it cannot be stored.
func (q *bulkRequest) each(
	visit func(it *esbulk.Item, kept bool, failure *esbulk.Failure) *httpapi.Error,
) *httpapi.Error {
	r := esbulk.Reader{Rest: q.s.body, IsObject: func(text []byte) bool {
		kept, reason := q.scan(text, entry.LevelUnknown+1)
		return !kept && reason == ""
	}}
	for {
		it, ok, err := r.Next()
		if err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "%v", err)
		}
		if !ok {
			return nil
		}
		kept, failure := q.check(&it)
		if herr := visit(&it, kept, failure); herr != nil {
			return herr
		}
		q.s.time.step(len(it.Source))
	}
}

// check returns whether an item is kept, or why it cannot be stored.
func (q *bulkRequest) check(it *esbulk.Item) (kept bool, failure *esbulk.Failure) {
	if !it.Stores() {
		reason := it.Action + " is not supported; send create or index"
		return false, &esbulk.Failure{Type: "illegal_argument_exception", Reason: reason}
	}
	kept, reason := q.scan(it.Source, q.threshold)
	if reason != "" {
		return false, &esbulk.Failure{Type: "document_parsing_exception", Reason: reason}
	}
	return kept, nil
}

// scan validates text as one object. kept reports whether its level is at or above
// min, and reason is not empty if text is not one object.
func (q *bulkRequest) scan(text []byte, min entry.Level) (kept bool, reason string) {
	scanner := &q.s.scanner
	if err := scanner.scan(text, min); err != nil {
		return false, err.reason
	}
	if len(scanner.kept)+scanner.dropped != 1 || bytes.TrimLeft(text, " \t\r\n\ufeff")[0] != '{' {
		return false, "the document is not one JSON object"
	}
	return len(scanner.kept) == 1, ""
}
