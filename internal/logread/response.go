package logread

import (
	"compress/gzip"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	writeTimeout = 10 * time.Second // for each part of a response
	flushSize    = 64 << 10         // approximate size of a part in bytes
	minGzipSize  = 1024             // compression hardly saves a packet below this size
)

// gzipWriters are reused, because each is larger than most responses.
var gzipWriters = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for an invalid level
	return z
}}

// A logsResponse is a sink that writes entries as the response of /logs. The
// response is complete only after finish.
type logsResponse struct {
	w       http.ResponseWriter
	gzip    bool
	ndjson  bool
	rows    int
	buf     []byte
	started bool // the status has been sent
	z       *gzip.Writer
}

func (resp *logsResponse) add(r *row) (full bool) {
	switch {
	case resp.ndjson:
	case resp.rows == 0:
		resp.buf = append(resp.buf, "[\n"...)
	default:
		resp.buf = append(resp.buf, ",\n"...)
	}
	resp.rows++
	resp.buf = r.appendJSON(resp.buf)
	if resp.ndjson {
		resp.buf = append(resp.buf, '\n')
	}
	return len(resp.buf) >= flushSize
}

// flush sends the entries added since the last flush. It then removes the write
// deadline until the next part: HTTP/2 resets a stream at its deadline, even if
// nothing is being written.
func (resp *logsResponse) flush() error {
	err := resp.write()
	_ = http.NewResponseController(resp.w).SetWriteDeadline(time.Time{}) // not supported by every ResponseWriter
	return err
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
	if !resp.started && len(resp.buf) < minGzipSize {
		resp.gzip = false
	}
	err := resp.write()
	if resp.z != nil {
		err = errors.Join(err, resp.z.Close())
		gzipWriters.Put(resp.z)
	}
	return err
}

// start sets the headers. The first write sends them.
func (resp *logsResponse) start() {
	resp.started = true
	h := resp.w.Header()
	h.Set("Content-Type", "application/json")
	if resp.ndjson {
		h.Set("Content-Type", "application/x-ndjson")
	}
	h.Set("Vary", "Accept, Accept-Encoding")
	if resp.gzip {
		h.Set("Content-Encoding", "gzip")
		resp.z = gzipWriters.Get().(*gzip.Writer)
		resp.z.Reset(resp.w)
	}
}

// write writes the buffer under a new write deadline, which stays set.
func (resp *logsResponse) write() error {
	if !resp.started {
		resp.start()
	}
	// Not every ResponseWriter supports deadlines. Without one, it may block.
	_ = http.NewResponseController(resp.w).SetWriteDeadline(time.Now().Add(writeTimeout))
	var err error
	if resp.z != nil {
		_, err = resp.z.Write(resp.buf)
	} else {
		_, err = resp.w.Write(resp.buf)
	}
	resp.buf = resp.buf[:0]
	if cap(resp.buf) > 4*flushSize {
		resp.buf = nil // grown by a large entry
	}
	return err
}
