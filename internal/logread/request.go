package logread

import (
	"context"
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

// A read is an open request that reads the log.
type read struct {
	reader  *Reader
	query   *query
	account account
	client  *clientWriter
	lease   *lease
	ctx     context.Context
	close   func()
}

// startRead is parseRequest for a request that runs a scan. It waits until the
// client may have one more open read. If ok is true, the caller must close the
// read.
func (r *Reader) startRead(
	w http.ResponseWriter, req *http.Request, now time.Time, extra ...string,
) (rd *read, ok bool) {
	q, ok := parseRequest(w, req, now, extra...)
	if !ok {
		return nil, false
	}
	account := account{&r.memory, &r.memory.reads}
	rd = &read{reader: r, query: q, account: account, client: newClientWriter(w)}
	if ok = rd.open(req, r.openReads, r.readSteps); !ok {
		writeBusy(w)
		return nil, false
	}
	ctx, cancel := context.WithCancelCause(rd.ctx)
	rd.ctx = ctx
	unregister := context.AfterFunc(r.shutdown, func() {
		rd.client.stop()
		time.AfterFunc(stopTimeout, func() { cancel(errShutdown) })
	})
	release := rd.close
	rd.close = func() {
		unregister()
		rd.client.finish()
		cancel(nil)
		release()
	}
	return rd, true
}

// startCount is startRead for a request that counts kinds or fields. Such requests
// need more memory, so fewer of them can be open.
func (r *Reader) startCount(
	w http.ResponseWriter, req *http.Request, now time.Time, extra ...string,
) (rd *read, ok bool) {
	if rd, ok = r.startRead(w, req, now, extra...); !ok {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(rd.ctx, r.slotTimeout)
	defer cancel()
	slot, err := r.openCounts.acquire(ctx, rd.lease.addr)
	if err != nil {
		rd.close()
		writeBusy(w)
		return nil, false
	}
	rd.account.add(countMemory)
	closeRead := rd.close
	rd.close = func() {
		rd.account.add(-countMemory)
		r.openCounts.release(slot, rd.lease.addr)
		closeRead()
	}
	return rd, true
}

// open waits until the client may have one more of the open requests. It sets the
// fields lease, ctx and close.
func (rd *read) open(req *http.Request, open, steps *slots) (ok bool) {
	addr := httpapi.ShareAddr(rd.reader.clientAddr(req))
	ctx, cancel := context.WithTimeout(req.Context(), rd.reader.slotTimeout)
	defer cancel()
	slot, err := open.acquire(ctx, addr)
	if err != nil {
		return false
	}
	rd.account.add(readMemory)
	rd.ctx = req.Context()
	rd.lease = &lease{addr: addr, slots: steps, passes: rd.reader.scanner.passes, slot: noSlot}
	rd.close = func() {
		rd.account.add(-readMemory)
		open.release(slot, addr)
	}
	return true
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
	case errors.Is(err, errShutdown):
		writeUnavailable(w, "1", err.Error())
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
