package logread

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"log-ingester/internal/httpapi"
)

// parseRequest sets the headers of a data response and parses the query string.
// It accepts the filter parameters and those in extra. If ok is false, it has
// written an error response.
func parseRequest(w http.ResponseWriter, req *http.Request, now time.Time, extra ...string) (q *query, ok bool) {
	httpapi.SetDataHeaders(w)
	q, err := parseQuery(req.URL.RawQuery, now, extra...)
	if err != nil {
		writeBadRequest(w, err)
		return nil, false
	}
	return q, true
}

// startRead is parseRequest for a request that needs one scan. It also acquires a
// slot. If ok is true, the caller must release the slot to r.reads.
func (r *Reader) startRead(
	w http.ResponseWriter, req *http.Request, now time.Time, extra ...string,
) (q *query, slot int, ok bool) {
	if q, ok = parseRequest(w, req, now, extra...); !ok {
		return nil, 0, false
	}
	if slot, ok = r.reads.acquire(req.Context(), r.slotTimeout); !ok {
		writeBusy(w)
	}
	return q, slot, ok
}

func writeBadRequest(w http.ResponseWriter, err error) {
	httpapi.WriteError(w, httpapi.Errorf(http.StatusBadRequest, "%v", err))
}

// writeBusy rejects a request because too many others are in progress.
func writeBusy(w http.ResponseWriter) {
	writeUnavailable(w, "1", "too many concurrent reads; try again shortly")
}

// writeReadError responds to a request whose scan failed before anything was
// sent.
func (r *Reader) writeReadError(w http.ResponseWriter, req *http.Request, err error) {
	switch {
	case req.Context().Err() != nil:
		// The client has disconnected.
	case errors.Is(err, errScanTimeout):
		writeUnavailable(w, "10", fmt.Sprintf("the search took longer than %v; "+
			"narrow it with since, after (an id) or a smaller limit", r.scanner.timeout))
	default:
		r.log.Error("cannot read the database", "err", err)
		writeUnavailable(w, "1", "cannot read the log; try again shortly")
	}
}

// writeUnavailable sends a 503. retryAfter is in seconds.
func writeUnavailable(w http.ResponseWriter, retryAfter, reason string) {
	w.Header().Set("Retry-After", retryAfter)
	httpapi.WriteError(w, httpapi.Errorf(http.StatusServiceUnavailable, "%s", reason))
}
