package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"log-ingester/internal/httpapi"
	"log-ingester/internal/inflate"
)

// inflaterSize is the approximate memory that decompressing a body takes in
// addition to the body, in bytes.
const inflaterSize = 48 << 10

var errTooLarge = errors.New("body too large")

// A wireReader reads a request body before its decompression. If the body is
// longer than left bytes, it fails with errTooLarge, where io.LimitReader would
// return EOF. It extends the read deadline after every bodyStep bytes.
type wireReader struct {
	r    io.Reader
	w    http.ResponseWriter
	left int64
	step int64          // bytes until the next extension
	time *processorTime // not held while a read may wait for the client
	conn *limitedConn   // nil if unknown
}

func (wire *wireReader) Read(p []byte) (int, error) {
	held := wire.time.stop()
	wire.conn.addActive(-1)
	n, err := wire.r.Read(p)
	if held {
		wire.time.start()
	}
	wire.conn.addActive(1)
	wire.conn.addReceived(n)
	if wire.conn.isReplaced() { // while the request waited for the client or a permit
		return 0, net.ErrClosed
	}
	if wire.left -= int64(n); wire.left < 0 {
		return 0, errTooLarge
	}
	// At the end of the body, net/http has already cleared the deadline, and it
	// must stay cleared while the handler runs.
	if wire.step -= int64(n); wire.step <= 0 && err == nil {
		wire.step = bodyStep
		extendReadDeadline(wire.w)
	}
	return n, err
}

// AppendTo reads once, into the spare capacity of dst.
func (wire *wireReader) AppendTo(dst []byte) ([]byte, error) {
	n, err := wire.Read(dst[len(dst):cap(dst)])
	return dst[:len(dst)+n], err
}

// A bodyReader reads a decoded body.
type bodyReader interface {
	// AppendTo appends to dst, but not beyond its capacity. At the end of the
	// body it returns io.EOF. dst must have everything that was appended before.
	AppendTo(dst []byte) ([]byte, error)
}

var inflaterPool = sync.Pool{New: func() any { return new(inflate.Reader) }}

// decodeBody calls read with a reader of the decoded body, for the content codings
// identity, gzip and deflate. https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
func decodeBody(wire *wireReader, encoding string, read func(bodyReader) *httpapi.Error) *httpapi.Error {
	var format inflate.Format
	switch strings.ToLower(encoding) {
	case "", "identity":
		return read(wire)
	case "gzip", "x-gzip":
		format = inflate.Gzip
	case "deflate":
		format = inflate.Deflate
	default:
		return httpapi.Errorf(http.StatusUnsupportedMediaType,
			"unsupported Content-Encoding: %q; send identity, gzip or deflate", encoding)
	}
	z := inflaterPool.Get().(*inflate.Reader)
	z.Reset(wire, format)
	defer func() {
		z.Reset(nil, format) // the request's memory must not stay reachable
		inflaterPool.Put(z)
	}()
	return read(z)
}
