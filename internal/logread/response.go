package logread

import (
	"context"
	"net/netip"
)

// minGzipSize is the size from which a response is compressed, in bytes. Below it,
// compression hardly saves a packet.
const minGzipSize = 1024

// A logsResponse is the response of /logs. It is complete only after finish.
type logsResponse struct {
	*partWriter
	client      *clientWriter
	ctx         context.Context // of the request
	addr        netip.Addr
	ndjson      bool
	gzip        *gzipStream // nil if the response is not compressed
	compressors *compressors

	rows    int
	started bool // the status has been sent
	last    bool // the next part is the last one
}

// newLogsResponse returns an empty response to rd.
func newLogsResponse(rd *read, ndjson, gzip bool) *logsResponse {
	resp := &logsResponse{
		client:      rd.client,
		ctx:         rd.ctx,
		addr:        rd.lease.addr,
		ndjson:      ndjson,
		compressors: rd.reader.compressors,
	}
	if gzip {
		resp.gzip = new(gzipStream)
	}
	resp.partWriter = newPartWriter(resp, rd.account, resp.write)
	return resp
}

// begin is part of the interface frame.
func (resp *logsResponse) begin(dst []byte, _ int64) []byte {
	resp.rows++
	switch {
	case resp.ndjson:
		return dst
	case resp.rows == 1:
		return append(dst, "[\n"...)
	default:
		return append(dst, ",\n"...)
	}
}

// end is part of the interface frame.
func (resp *logsResponse) end(dst []byte) []byte {
	if resp.ndjson {
		return append(dst, '\n')
	}
	return dst
}

// finish sends the rest and the end of the response.
func (resp *logsResponse) finish() error {
	switch {
	case resp.ndjson:
	case resp.rows == 0:
		resp.buf = append(resp.buf, "[]\n"...)
	default:
		resp.buf = append(resp.buf, "\n]\n"...)
	}
	resp.last = true
	err := resp.send(resp.buf)
	resp.reset()
	return err
}

// start sets the headers. The first write sends them.
func (resp *logsResponse) start() {
	resp.started = true
	h := resp.client.w.Header()
	h.Set("Content-Type", "application/json")
	if resp.ndjson {
		h.Set("Content-Type", "application/x-ndjson")
	}
	h.Set("Vary", "Accept, Accept-Encoding")
	if resp.gzip != nil {
		h.Set("Content-Encoding", "gzip")
	}
}

// write sends a part.
func (resp *logsResponse) write(part []byte) error {
	if !resp.started {
		if resp.last && len(part) < minGzipSize {
			resp.gzip = nil
		}
		resp.start()
	}
	if resp.gzip != nil {
		var err error
		if part, err = resp.gzip.compress(resp.ctx, resp.compressors, resp.addr, part, resp.last); err != nil {
			return err
		}
	}
	_, err := resp.client.Write(part)
	if !resp.last {
		resp.client.clearDeadline()
	}
	return err
}
