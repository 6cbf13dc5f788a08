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
	"sync/atomic"
)

// A budget bounds the memory of bodies in hand and batches in the queue
// together.
type budget struct {
	limit int64 // in bytes
	used  atomic.Int64
}

// take reports whether n more bytes fit, and counts them if so.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) <= b.limit {
		return true
	}
	b.used.Add(-n)
	return false
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// minBody is the buffer, in bytes, that a body of unknown length begins with.
const minBody = 4 << 10

var (
	errTooLarge = errors.New("more bytes on the wire than a body may have")
	errEncoding = errors.New("unknown Content-Encoding")
)

// readBody reads the body of r into s.body, inflated. It returns how much of
// the memory budget the caller has to give back, after a refusal too.
func (in *ingester) readBody(r *http.Request, s *scratch) (held int64, refused *refusal) {
	s.body = s.body[:0]
	if r.ContentLength > in.maxBody {
		return 0, in.tooLarge()
	}
	wire := &limitedReader{r: r.Body, left: in.maxBody}
	body, err := inflate(wire, r.Header.Get("Content-Encoding"))
	if err != nil {
		return 0, in.refuseBody(err)
	}
	defer body.Close() // of an inflater, which has read all it needs
	// A byte more than is expected, so that the end is met without growing.
	size := max(r.ContentLength+1, minBody)
	for {
		size = min(size, in.maxBody+1)
		if !in.memory.take(size - held) {
			return held, refuse(http.StatusServiceUnavailable, "the memory budget is full")
		}
		held = size
		if int64(cap(s.body)) < size {
			s.body = append(make([]byte, 0, size), s.body...)
		}
		for int64(len(s.body)) < size {
			n, err := body.Read(s.body[len(s.body):size])
			s.body = s.body[:len(s.body)+n]
			if err == io.EOF {
				return held, nil
			}
			if err != nil {
				return held, in.refuseBody(err)
			}
		}
		if size > in.maxBody {
			return held, in.tooLarge()
		}
		size *= 2
	}
}

func (in *ingester) tooLarge() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes (-max-body); send it in parts", in.maxBody)
}

// refuseBody answers an error of reading or inflating a body.
func (in *ingester) refuseBody(err error) *refusal {
	switch {
	case errors.Is(err, errTooLarge):
		return in.tooLarge()
	case errors.Is(err, errEncoding):
		return refuse(http.StatusUnsupportedMediaType, "%v", err)
	}
	return refuse(http.StatusBadRequest, "reading the body: %v", err)
}

// A limitedReader fails once more than left bytes come, where io.LimitReader
// would end.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

var gzipPool sync.Pool // of *gzip.Reader, each some 40 KB

// A pooledGzip gives its reader back when it is closed.
type pooledGzip struct{ *gzip.Reader }

func (g pooledGzip) Close() error {
	gzipPool.Put(g.Reader)
	return nil
}

// inflate undoes the encoding of a body, one of HTTP's content codings.
// https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
func inflate(wire io.Reader, encoding string) (io.ReadCloser, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return io.NopCloser(wire), nil
	case "gzip", "x-gzip":
		z, _ := gzipPool.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		if err := z.Reset(wire); err != nil {
			gzipPool.Put(z)
			return nil, noEOF(err)
		}
		return pooledGzip{z}, nil
	case "deflate":
		// HTTP's deflate is the zlib format, but some senders leave its two
		// bytes of header out. https://www.rfc-editor.org/rfc/rfc1950#section-2.2
		in := bufio.NewReader(wire)
		head, err := in.Peek(2)
		if err != nil {
			return nil, noEOF(err)
		}
		if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
			return zlib.NewReader(in)
		}
		return flate.NewReader(in), nil
	}
	return nil, fmt.Errorf("%w: %q; send identity, gzip or deflate", errEncoding, encoding)
}

// noEOF says of an end that came too early that it did.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
