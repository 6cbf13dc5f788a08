package inflate

import (
	"errors"
	"io"
)

// ErrCorrupt means that the data is not in the format.
var ErrCorrupt = errors.New("corrupt compressed data")

const inputSize = 8 << 10 // bytes that a Reader reads at once

// An input reads bits and bytes. Bits come from the lowest bit of each byte on.
type input struct {
	src io.Reader
	err error // of src, after which it is not read any more

	held uint64 // bits that were taken from buf, the next one lowest
	n    uint   // number of bits in held

	pos, end int // buf[pos:end] was read but not taken
	buf      [inputSize]byte
}

func (in *input) reset(src io.Reader) {
	in.src, in.err = src, nil
	in.held, in.n, in.pos, in.end = 0, 0, 0, 0
}

// fill reads more bytes. It keeps the bytes of held in buf, because align can
// return them. At the end of the input, its error is io.ErrUnexpectedEOF.
func (in *input) fill() error {
	if in.err != nil {
		return in.err
	}
	kept := min(in.pos, 8)
	in.end = copy(in.buf[:], in.buf[in.pos-kept:in.end])
	in.pos = kept
	for range 100 {
		n, err := in.src.Read(in.buf[in.end:])
		in.end += n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		in.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// need makes sure that at least n bits are held, of up to 48.
func (in *input) need(n uint) error {
	for in.n < n {
		if in.pos == in.end {
			if err := in.fill(); err != nil {
				return err
			}
		}
		in.held |= uint64(in.buf[in.pos]) << in.n
		in.pos++
		in.n += 8
	}
	return nil
}

// bits reads n bits, up to 16.
func (in *input) bits(n uint) (uint, error) {
	if err := in.need(n); err != nil {
		return 0, err
	}
	v := uint(in.held & (1<<n - 1))
	in.held >>= n
	in.n -= n
	return v, nil
}

// symbol reads the code of a symbol, but not its extra bits. It takes bytes one by
// one, and none beyond the code.
func (in *input) symbol(t table, primary uint) (tableEntry, error) {
	for {
		// Bits that are not held are zero in the index. If the code that is found
		// there is completely held, it is the right one, because no code starts
		// with another.
		e := t[in.held&(1<<primary-1)]
		length := uint(e >> 8 & 15)
		if e&kindLink != 0 {
			e = t.link(e, in.held>>primary)
			length = primary + uint(e>>8&15)
		}
		if length <= in.n {
			if e&(kindSpecial|kindEnd) == kindSpecial {
				return 0, ErrCorrupt
			}
			in.held >>= length
			in.n -= length
			return e, nil
		}
		if err := in.need(in.n + 1); err != nil {
			return 0, err
		}
	}
}

// align drops the bits up to the next byte, and returns all whole bytes to buf.
func (in *input) align() {
	in.pos -= int(in.n / 8)
	in.held, in.n = 0, 0
}

// readByte reads a byte. The input must be aligned. At the end of the input, its
// error is io.ErrUnexpectedEOF.
func (in *input) readByte() (byte, error) {
	if in.pos == in.end {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	b := in.buf[in.pos]
	in.pos++
	return b, nil
}

// readFull reads len(p) bytes. The input must be aligned.
func (in *input) readFull(p []byte) error {
	for i := range p {
		b, err := in.readByte()
		if err != nil {
			return err
		}
		p[i] = b
	}
	return nil
}
