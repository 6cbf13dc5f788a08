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
	"os"
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
	return addWithin(&b.used, n, b.limit)
}

// addWithin adds n to sum, unless that made it more than limit.
func addWithin(sum *atomic.Int64, n, limit int64) bool {
	for {
		old := sum.Load()
		if old+n > limit {
			return false
		}
		if sum.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// The room, in bytes, that a body begins with: so little that clients cannot
// fill the budget by announcing large bodies.
const minFirst, maxFirst = 4 << 10, 16 << 10

// inflaterSize is about what inflating a body takes beside the body, in bytes.
const inflaterSize = 48 << 10

var (
	errTooLarge = errors.New("more bytes on the wire than a body may have")
	errEncoding = errors.New("unknown Content-Encoding")
	errTrailing = errors.New("more bytes after the end of the deflated body")
)

// readBody reads the body of r into s.body, inflated. It returns how much of
// the memory budget the caller has to give back, after a refusal too.
func (in *ingester) readBody(w http.ResponseWriter, r *http.Request, s *scratch) (held int64, refused *refusal) {
	s.body = s.body[:0]
	if r.ContentLength > in.maxBody {
		return 0, in.tooLarge()
	}
	encoding := strings.Join(r.Header["Content-Encoding"], ",")
	// A byte more than may come, so that the end is met without growing.
	expected := in.maxBody + 1
	if encoding != "" {
		held = inflaterSize
	} else if r.ContentLength >= 0 {
		expected = max(r.ContentLength+1, minFirst)
	}
	size := min(expected, maxFirst)
	held += size
	if !in.memory.take(held) {
		return 0, errMemory
	}
	s.wire = wireReader{r: r.Body, w: w, left: in.maxBody, step: bodyStep}
	body, err := inflate(&s.wire, encoding)
	if err != nil {
		return held, in.refuseBody(err)
	}
	defer body.Close() // of an inflater, which has read all it needs
	for {
		if int64(cap(s.body)) < size {
			s.body = append(make([]byte, 0, size), s.body...)
		}
		for int64(len(s.body)) < size {
			n, err := body.Read(s.body[len(s.body):size])
			s.body = s.body[:len(s.body)+n]
			switch {
			case err != nil && err != io.EOF:
				return held, in.refuseBody(err)
			case int64(len(s.body)) > in.maxBody:
				return held, in.tooLarge()
			case err == io.EOF:
				return held, nil
			}
		}
		larger := min(2*size, in.maxBody+1)
		if size < expected && size >= expected/4 { // then one copy is enough
			larger = expected
		}
		if !in.memory.take(larger) { // beside size, until the body is copied
			return held, errMemory
		}
		in.memory.give(size)
		held += larger - size
		size = larger
	}
}

// more takes n bytes of the memory budget for a request that holds some already.
func (in *ingester) more(held, n int64) *refusal {
	if held+n > in.memory.limit {
		return errEntries
	}
	if !in.memory.take(n) {
		return errMemory
	}
	return nil
}

var (
	// errMemory is the answer where the memory budget has no room.
	errMemory = refuse(http.StatusServiceUnavailable, "the memory budget is full")
	// errEntries is the answer where it would have none if it were empty.
	errEntries = refuse(http.StatusRequestEntityTooLarge, "the entries of one body take more than -memory allows; send them in parts")
)

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
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusBadRequest, "the body came too slowly: %d bytes are due every %v", bodyStep, requestTimeout)
	}
	return refuse(http.StatusBadRequest, "reading the body: %v", err)
}

// A wireReader reads a body as it comes over the wire. It fails once more than
// left bytes come, where io.LimitReader would end, and gives a body that goes
// on coming more time.
type wireReader struct {
	r    io.Reader
	w    http.ResponseWriter
	left int64
	step int64 // bytes until the next extension
}

func (wire *wireReader) Read(p []byte) (int, error) {
	n, err := wire.r.Read(p)
	if wire.left -= int64(n); wire.left < 0 {
		return 0, errTooLarge
	}
	// At the end net/http has lifted the deadline already.
	if wire.step -= int64(n); wire.step <= 0 && err == nil {
		wire.step = bodyStep
		extend(wire.w)
	}
	return n, err
}

// Close does nothing: net/http closes the body.
func (wire *wireReader) Close() error { return nil }

var gzipPool sync.Pool // of *gzip.Reader, each some 40 KB

// A pooledGzip gives its reader back when it is closed.
type pooledGzip struct{ *gzip.Reader }

func (g pooledGzip) Close() error {
	gzipPool.Put(g.Reader)
	return nil
}

// inflate undoes the encoding of a body, one of HTTP's content codings.
// https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
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
			z, err := zlib.NewReader(in)
			return deflated{z, in}, err
		}
		return deflated{flate.NewReader(in), in}, nil
	}
	return nil, fmt.Errorf("%w: %q; send identity, gzip or deflate", errEncoding, encoding)
}

// A deflated body ends where its wire does, as a gzip does by itself.
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

// noEOF says of an end that came too early that it did.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
