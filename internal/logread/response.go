package logread

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"log-ingester/internal/entry"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	writeTimeout = 10 * time.Second // for each part of an answer
	flushSize    = 64 << 10         // an answer is sent in parts of about this size
)

// gzipWriters are kept from answer to answer; each is larger than most answers.
var gzipWriters = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
	return z
}}

// A logAnswer writes entries as the answer of /logs.
type logAnswer struct {
	w       http.ResponseWriter
	gzip    bool
	ndjson  bool
	rows    int
	buf     []byte
	started bool // the status has been sent
	z       *gzip.Writer
}

func (a *logAnswer) add(row *logRow) bool {
	switch {
	case a.ndjson:
	case a.rows == 0:
		a.buf = append(a.buf, "[\n"...)
	default:
		a.buf = append(a.buf, ",\n"...)
	}
	a.rows++
	a.buf = appendLogRow(a.buf, row)
	if a.ndjson {
		a.buf = append(a.buf, '\n')
	}
	return len(a.buf) >= flushSize
}

func (a *logAnswer) end() error {
	switch {
	case a.ndjson:
	case a.rows == 0:
		a.buf = append(a.buf, "[]\n"...)
	default:
		a.buf = append(a.buf, "\n]\n"...)
	}
	if !a.started && len(a.buf) < 1024 {
		a.gzip = false // would hardly fit into fewer packets
	}
	err := a.write()
	if a.z != nil {
		err = errors.Join(err, a.z.Close())
		gzipWriters.Put(a.z)
	}
	return err
}

// flush sends what there is, and gives the search for more its time.
func (a *logAnswer) flush() error {
	err := a.write()
	// HTTP/2 resets a stream at its deadline, though nothing waits to be written.
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Time{}) // as in write
	return err
}

// write writes what there is, and leaves the deadline to what may follow.
func (a *logAnswer) write() error {
	if !a.started {
		a.started = true
		h := a.w.Header()
		h.Set("Content-Type", "application/json")
		if a.ndjson {
			h.Set("Content-Type", "application/x-ndjson")
		}
		h.Set("Vary", "Accept, Accept-Encoding")
		if a.gzip {
			h.Set("Content-Encoding", "gzip")
			a.z = gzipWriters.Get().(*gzip.Writer)
			a.z.Reset(a.w)
		}
	}
	// Not every ResponseWriter can have a deadline, and it may go without.
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(writeTimeout))
	var err error
	if a.z != nil {
		_, err = a.z.Write(a.buf)
	} else {
		_, err = a.w.Write(a.buf)
	}
	a.buf = a.buf[:0]
	if cap(a.buf) > 4*flushSize {
		a.buf = nil // an entry can be large
	}
	return err
}

// appendLogRow appends an entry as a JSON object on one line. Details stay as
// they are stored, but that white space becomes a space; what is not JSON
// becomes a string.
func appendLogRow(dst []byte, row *logRow) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, row.id, 10)
	dst = entry.AppendQuoted(append(dst, `,"level":`...), row.level)
	dst = entry.AppendQuoted(append(dst, `,"message":`...), row.message)
	dst = entry.AppendQuoted(append(dst, `,"timestamp":`...), row.timestamp)
	dst = append(dst, `,"details":`...)
	switch {
	case row.details == nil:
		dst = append(dst, "null"...)
	case !json.Valid(row.details):
		dst = entry.AppendQuoted(dst, row.details)
	default:
		start := len(dst)
		if utf8.Valid(row.details) {
			dst = append(dst, row.details...)
		} else {
			dst = entry.AppendRepaired(dst, row.details)
		}
		// A line break in valid JSON stands between values.
		for i, c := range dst[start:] {
			if c == '\n' || c == '\r' {
				dst[start+i] = ' '
			}
		}
	}
	return append(dst, '}')
}
