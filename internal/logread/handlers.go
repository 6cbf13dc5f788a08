package logread

import (
	"context"
	"math"
	"net/http"
	"time"

	"log-ingester/internal/httpapi"
)

// ServeLogs handles GET /logs: the matching entries, by default the newest first, as a
// JSON array or as NDJSON. It sends a long response while the scan continues. If the
// scan then fails, it aborts the connection, so that the client cannot take a
// part for the whole.
func (r *Reader) ServeLogs(w http.ResponseWriter, req *http.Request) {
	rd, ok := r.startRead(w, req, time.Now(), "before", "after", "around", "order", "limit")
	if !ok {
		return
	}
	defer rd.close()

	resp := newLogsResponse(rd, httpapi.AcceptsNDJSON(req.Header), httpapi.AcceptsGzip(req.Header))
	defer resp.close()
	err := r.scanner.search(rd.ctx, rd.lease, rd.query, resp.partWriter)
	if err == nil {
		err = resp.finish()
	}
	switch {
	case err == nil:
	case !resp.started:
		r.writeReadError(w, req, err)
	default:
		if req.Context().Err() == nil {
			r.log.Info("response of /logs aborted", "err", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// ServeHistogram handles GET /logs/histogram: the number of matching entries by
// time and level.
func (r *Reader) ServeHistogram(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	rd, ok := r.startRead(w, req, now, "before", "after", "buckets")
	if !ok {
		return
	}
	defer rd.close()

	q := rd.query
	h := newHistogram(q, now)
	if err := r.scanner.count(rd.ctx, rd.lease, q, h.count, h.counts); err != nil {
		r.writeReadError(w, req, err)
		return
	}
	httpapi.SetJSON(w)
	w.Write(h.appendJSON(nil, q)) // a write error means that the client has disconnected
}

// ServeTail handles GET /logs/tail: it sends matching entries as server-sent
// events soon after they are committed. It starts after the id in Last-Event-ID,
// or else in the parameter after, or else with the next entry.
func (r *Reader) ServeTail(w http.ResponseWriter, req *http.Request) {
	q, ok := parseRequest(w, req, time.Now(), "after")
	if !ok {
		return
	}
	if last := req.Header.Get("Last-Event-ID"); last != "" {
		var err error
		if q.after, err = parseID("Last-Event-ID", last); err != nil {
			writeBadRequest(w, err)
			return
		}
	}
	rd := &read{reader: r, query: q, account: account{&r.memory, &r.memory.tails}, client: newClientWriter(w)}
	if !rd.open(req, r.openTails, r.tailSteps) {
		writeBusy(w)
		return
	}
	defer rd.close()
	notify, ok := r.hub.join()
	if !ok {
		writeBusy(w)
		return
	}
	defer r.hub.leave(notify)
	newest, err := r.db.readNewest(req.Context())
	if err != nil {
		r.writeReadError(w, req, err)
		return
	}
	r.db.raiseNewest(newest)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would delay events
	if req.Method == http.MethodHead {
		return
	}
	last := q.after
	if q.after == math.MinInt64 || q.after > newest {
		last = newest // no id was given, or one from another database
	}
	r.runTail(newTail(rd, last), notify)
}

// runTail runs t until the client disconnects or the tails are stopped.
func (r *Reader) runTail(t *tail, notify <-chan struct{}) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	defer t.client.stop()
	unregister := context.AfterFunc(r.hub.ctx, func() {
		t.client.stop()
		cancel()
	})
	defer unregister()
	if err := t.run(ctx, notify); err != nil && ctx.Err() == nil {
		r.log.Info("tail aborted", "err", err)
	}
}
