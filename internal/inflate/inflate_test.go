package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// compress returns data in the given format: gzip, zlib or raw.
func compress(t testing.TB, data []byte, format string, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case "gzip":
		w, err = gzip.NewWriterLevel(&b, level)
	case "zlib":
		w, err = zlib.NewWriterLevel(&b, level)
	default:
		w, err = flate.NewWriter(&b, level)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll decompresses src into buffers that grow by step bytes.
func readAll(r *Reader, src io.Reader, format Format, step int) ([]byte, error) {
	r.Reset(src, format)
	var dst []byte
	for {
		larger := make([]byte, len(dst), cap(dst)+step)
		copy(larger, dst)
		var err error
		if dst, err = r.AppendTo(larger); err == io.EOF {
			return dst, nil
		} else if err != nil {
			return dst, err
		}
	}
}

// reference decompresses data with the standard library.
func reference(data []byte, format Format) ([]byte, error) {
	var r io.Reader
	in := bytes.NewReader(data)
	var err error
	switch {
	case format == Gzip:
		if len(data) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		r, err = gzip.NewReader(in)
	case len(data) < 2:
		return nil, io.ErrUnexpectedEOF
	case data[0]&0x0f == 8 && (int(data[0])<<8|int(data[1]))%31 == 0:
		r, err = zlib.NewReader(in)
	default:
		r = flate.NewReader(in)
	}
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(r)
	if err == nil && in.Len() > 0 {
		err = errors.New("data follows")
	}
	return out, err
}

func samples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var logs bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&logs, `{"level":"error","message":"connection to upstream lost","id":"%016x","n":%d}`+"\n", r.Uint64(), i)
	}
	return map[string][]byte{
		"empty":   nil,
		"byte":    []byte("x"),
		"zeros":   make([]byte, 300_000),
		"period3": []byte(strings.Repeat("abc", 50_000)),
		"period7": []byte(strings.Repeat("abcdefg", 50_000)),
		"noise":   noise,
		"logs":    logs.Bytes(),
	}
}

func TestReaderDecompresses(t *testing.T) {
	r := new(Reader)
	for name, want := range samples() {
		for _, format := range []string{"gzip", "zlib", "raw"} {
			for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
				data := compress(t, want, format, level)
				for _, step := range []int{1000, 1 << 20} {
					got, err := readAll(r, bytes.NewReader(data), formatOf(format), step)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%s, %s, level %d, step %d: got %d bytes and error %v, want %d bytes",
							name, format, level, step, len(got), err, len(want))
					}
				}
			}
		}
	}
}

func formatOf(name string) Format {
	if name == "gzip" {
		return Gzip
	}
	return Deflate
}

func TestReaderAcceptsSmallReads(t *testing.T) {
	want := samples()["logs"]
	data := compress(t, want, "gzip", 6)
	data = append(data, data...) // two members
	got, err := readAll(new(Reader), iotest.OneByteReader(bytes.NewReader(data)), Gzip, 777)
	if err != nil || !bytes.Equal(got, append(want[:len(want):len(want)], want...)) {
		t.Fatalf("got %d bytes and error %v, want %d bytes", len(got), err, 2*len(want))
	}
}

// TestReaderRejectsCorruptData changes each byte of compressed data and cuts the
// data at each byte. The standard library must agree with each result.
func TestReaderRejectsCorruptData(t *testing.T) {
	text := samples()["logs"][:2000]
	for _, format := range []string{"gzip", "zlib", "raw"} {
		data := compress(t, text, format, 6)
		for i := range data {
			compare(t, data[:i], formatOf(format))
			for bit := range 8 {
				changed := bytes.Clone(data)
				changed[i] ^= 1 << bit
				compare(t, changed, formatOf(format))
			}
		}
		compare(t, append(bytes.Clone(data), 0), formatOf(format))
	}
}

// compare fails if a Reader and the standard library disagree about data.
func compare(t *testing.T, data []byte, format Format) {
	t.Helper()
	want, wantErr := reference(data, format)
	for _, step := range []int{512, len(want) + 1000} {
		got, err := readAll(new(Reader), bytes.NewReader(data), format, step)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, want %v, for %x", err, wantErr, data)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q, for %x", got, want, data)
		}
	}
}

func TestReaderReturnsReadErrors(t *testing.T) {
	want := errors.New("connection reset")
	data := compress(t, samples()["logs"], "gzip", 6)
	for n := range 200 {
		src := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(want))
		if _, err := readAll(new(Reader), src, Gzip, 4096); err != want {
			t.Fatalf("after %d bytes: got error %v, want %v", n, err, want)
		}
	}
}

func TestReaderKeepsToTheCapacity(t *testing.T) {
	want := samples()["logs"]
	data := compress(t, want, "gzip", 6)
	for size := 1; size < 3000; size += 7 {
		buf := bytes.Repeat([]byte{0xa5}, size+64)
		r := new(Reader)
		r.Reset(bytes.NewReader(data), Gzip)
		got, err := r.AppendTo(buf[:0:size])
		if err != nil || !bytes.Equal(got, want[:size]) {
			t.Fatalf("size %d: got %d bytes and error %v", size, len(got), err)
		}
		for _, c := range buf[size:] {
			if c != 0xa5 {
				t.Fatalf("size %d: wrote beyond the capacity", size)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, sample := range samples() {
		if len(sample) > 4000 {
			sample = sample[:4000]
		}
		for i, format := range []string{"gzip", "zlib", "raw"} {
			f.Add(compress(f, sample, format, 1+4*i), i == 0)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, isGzip bool) {
		if isGzip {
			compare(t, data, Gzip)
		} else {
			compare(t, data, Deflate)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	data := samples()["logs"]
	compressed := compress(b, data, "gzip", 6)
	b.Run("inflate", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		r, dst := new(Reader), make([]byte, 0, len(data)+1)
		for b.Loop() {
			r.Reset(bytes.NewReader(compressed), Gzip)
			if got, err := r.AppendTo(dst); err != io.EOF || len(got) != len(data) {
				b.Fatal(err)
			}
		}
	})
	b.Run("compress-gzip", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		z, dst := new(gzip.Reader), make([]byte, len(data)+1)
		for b.Loop() {
			if err := z.Reset(bytes.NewReader(compressed)); err != nil {
				b.Fatal(err)
			}
			if n, err := io.ReadFull(z, dst); err != io.ErrUnexpectedEOF || n != len(data) {
				b.Fatal(err)
			}
		}
	})
}
