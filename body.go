package main

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// inflaterSize is the approximate memory that decompressing a body takes in
// addition to the body, in bytes.
const inflaterSize = 48 << 10

var (
	errTooLarge = errors.New("body too large")
	errEncoding = errors.New("unsupported Content-Encoding")
	errTrailing = errors.New("data after the end of the deflated body")
)

// A wireReader reads a request body before its decompression. If the body is
// longer than left bytes, it fails with errTooLarge, where io.LimitReader would
// return EOF. It extends the read deadline after every bodyStep bytes.
type wireReader struct {
	r    io.Reader
	w    http.ResponseWriter
	left int64
	step int64          // bytes until the next extension
	time *processorTime // not held while a read may wait for the client
}

func (wire *wireReader) Read(p []byte) (int, error) {
	held := wire.time.stop()
	n, err := wire.r.Read(p)
	if held {
		wire.time.start()
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

// Close does nothing, because net/http closes the body.
func (wire *wireReader) Close() error { return nil }

var gzipPool sync.Pool // of *gzip.Reader, about 40 KB each

// A pooledGzip returns its reader to the pool when it is closed.
type pooledGzip struct{ *gzip.Reader }

func (g pooledGzip) Close() error {
	gzipPool.Put(g.Reader)
	return nil
}

// inflate returns a reader of the decoded body, for the content codings
// identity, gzip and deflate. https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
func inflate(wire *wireReader, encoding string) (io.ReadCloser, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return wire, nil
	case "gzip", "x-gzip":
		z, _ := gzipPool.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		if err := z.Reset(wire); err != nil {
			gzipPool.Put(z)
			return nil, unexpectedEOF(err)
		}
		return pooledGzip{z}, nil
	case "deflate":
		// HTTP's deflate is the zlib format, but some clients omit its two-byte
		// header. https://www.rfc-editor.org/rfc/rfc1950#section-2.2
		in := bufio.NewReader(wire)
		header, err := in.Peek(2)
		if err != nil {
			return nil, unexpectedEOF(err)
		}
		if header[0]&0x0f == 8 && (int(header[0])<<8|int(header[1]))%31 == 0 {
			z, err := zlib.NewReader(in)
			return deflated{z, in}, err
		}
		return deflated{flate.NewReader(in), in}, nil
	}
	return nil, fmt.Errorf("%w: %q; send identity, gzip or deflate", errEncoding, encoding)
}

// A deflated reader fails if the request body has data after the end of the
// compressed data. gzip.Reader does that itself.
type deflated struct {
	io.ReadCloser
	wire *bufio.Reader
}

func (d deflated) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err == io.EOF {
		if _, err = d.wire.ReadByte(); err == nil {
			err = errTrailing
		}
	}
	return n, err
}

// unexpectedEOF turns io.EOF into io.ErrUnexpectedEOF.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
