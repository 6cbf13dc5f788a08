// Package inflate decompresses DEFLATE data (RFC 1951) in the formats gzip (RFC
// 1952) and zlib (RFC 1950).
//
// It is about twice as fast as compress/flate, because it has the whole output in
// one buffer: the caller's. It has no window from which it must copy the output. It
// also reads up to eight bytes of input at once, and removes the bits of a symbol
// and its extra bits together, as libdeflate does.
//
// It guarantees:
//
//   - It accepts and rejects the same data as compress/flate, compress/gzip and
//     compress/zlib, and produces the same output. The package's fuzz target
//     compares them.
//   - It allocates nothing that depends on the data. Its memory is the size of a
//     Reader, and it never writes beyond the capacity of the caller's buffer.
//
// It must not depend on other packages of this module.
package inflate

import (
	"encoding/binary"
	"io"
)

// A blocks reads the blocks of DEFLATE data.
type blocks struct {
	in   input
	base int // where the data starts in the output

	phase     phase
	final     bool // the current block is the last one
	stored    int  // bytes left of a stored block
	length    int  // left of a match that did not fit into the output
	distance  int  // of that match
	current   *codes
	dynamic   codes
	lengths   [maxLiterals + maxDistances]uint8
	codeTable [1 << lengthBits]tableEntry
}

// A phase is what the input has next.
type phase uint8

const (
	phaseHeader phase = iota // of a block
	phaseStored              // bytes of a stored block
	phaseCodes               // symbols
	phaseEnd                 // nothing, or what follows the last block
)

// reset prepares b for the data that follows in the input. Its output will start
// at base in the caller's buffer.
func (b *blocks) reset(base int) {
	b.base = base
	b.phase, b.final, b.stored, b.length = phaseHeader, false, 0, 0
}

// appendTo appends to dst until it is full, or until the end of the data, where
// it returns io.EOF. dst must have everything that was appended since reset.
func (b *blocks) appendTo(dst []byte) ([]byte, error) {
	for {
		var err error
		switch b.phase {
		case phaseHeader:
			err = b.header()
		case phaseStored:
			dst, err = b.copyStored(dst)
		case phaseCodes:
			dst, err = b.decode(dst)
		case phaseEnd:
			return dst, io.EOF
		}
		if err != nil || b.phase != phaseHeader && b.phase != phaseEnd && len(dst) == cap(dst) {
			return dst, err
		}
	}
}

// endBlock ends the current block.
func (b *blocks) endBlock() {
	b.phase = phaseHeader
	if b.final {
		b.phase = phaseEnd
	}
}

// header reads the header of a block.
func (b *blocks) header() error {
	bits, err := b.in.bits(3)
	if err != nil {
		return err
	}
	b.final = bits&1 != 0
	b.phase = phaseCodes
	switch bits >> 1 {
	case 0:
		return b.storedHeader()
	case 1:
		b.current = fixed
	case 2:
		b.current = &b.dynamic
		return b.dynamicHeader()
	default:
		return ErrCorrupt
	}
	return nil
}

func (b *blocks) storedHeader() error {
	b.in.align()
	size, err := b.in.bits(16)
	if err != nil {
		return err
	}
	complement, err := b.in.bits(16)
	if err != nil {
		return err
	}
	if size != complement^0xffff {
		return ErrCorrupt
	}
	b.stored, b.phase = int(size), phaseStored
	return nil
}

func (b *blocks) copyStored(dst []byte) ([]byte, error) {
	for b.stored > 0 && len(dst) < cap(dst) {
		if b.in.pos == b.in.end {
			if err := b.in.fill(); err != nil {
				return dst, err
			}
		}
		n := min(b.stored, cap(dst)-len(dst), b.in.end-b.in.pos)
		dst = append(dst, b.in.buf[b.in.pos:b.in.pos+n]...)
		b.in.pos += n
		b.stored -= n
	}
	if b.stored == 0 {
		b.endBlock()
	}
	return dst, nil
}

// dynamicHeader reads the codes of a block.
// https://www.rfc-editor.org/rfc/rfc1951#section-3.2.7
func (b *blocks) dynamicHeader() error {
	counts, err := b.in.bits(14)
	if err != nil {
		return err
	}
	literals, distances := int(counts&31)+257, int(counts>>5&31)+1
	if literals > maxLiterals || distances > maxDistances {
		return ErrCorrupt
	}
	var codeLengths [len(codeLengthOrder)]uint8
	for _, symbol := range codeLengthOrder[:counts>>10+4] {
		n, err := b.in.bits(3)
		if err != nil {
			return err
		}
		codeLengths[symbol] = uint8(n)
	}
	if !table(b.codeTable[:]).build(codeLengths[:], codeLengthSymbols, lengthBits) {
		return ErrCorrupt
	}
	if err := b.readLengths(b.lengths[:literals+distances]); err != nil {
		return err
	}
	if !table(b.dynamic.literals[:]).build(b.lengths[:literals], literalSymbols, literalBits) ||
		!table(b.dynamic.distances[:]).build(b.lengths[literals:literals+distances], distanceSymbols, distanceBits) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads the lengths of all codes.
func (b *blocks) readLengths(lengths []uint8) error {
	for i := 0; i < len(lengths); {
		e, err := b.in.symbol(b.codeTable[:], lengthBits)
		if err != nil {
			return err
		}
		n := uint8(e >> 16)
		if n < 16 {
			lengths[i] = n
			i++
			continue
		}
		repeated, extra, least := uint8(0), uint(3), 3
		switch n {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			repeated, extra = lengths[i-1], 2
		case 18:
			extra, least = 7, 11
		}
		more, err := b.in.bits(extra)
		if err != nil {
			return err
		}
		count := least + int(more)
		if count > len(lengths)-i {
			return ErrCorrupt
		}
		for range count {
			lengths[i] = repeated
			i++
		}
	}
	return nil
}

// decode appends the symbols of a block until dst is full or the block ends.
func (b *blocks) decode(dst []byte) ([]byte, error) {
	if b.length > 0 {
		dst = b.copyMatch(dst)
	}
	for b.phase == phaseCodes && len(dst) < cap(dst) {
		var err error
		if cap(dst)-len(dst) >= fastOutput && b.in.end-b.in.pos >= fastInput {
			if dst, err = b.decodeFast(dst); err != nil {
				return dst, err
			}
			continue
		}
		if dst, err = b.decodeSymbol(dst); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// decodeSymbol appends one literal or match.
func (b *blocks) decodeSymbol(dst []byte) ([]byte, error) {
	e, err := b.in.symbol(b.current.literals[:], literalBits)
	switch {
	case err != nil:
		return dst, err
	case e&kindLiteral != 0:
		return append(dst, byte(e>>16)), nil
	case e&kindEnd != 0:
		b.endBlock()
		return dst, nil
	}
	b.length = int(e >> 16)
	more, err := b.in.bits(e.length() - uint(e>>8&15))
	if err != nil {
		return dst, err
	}
	b.length += int(more)
	e, err = b.in.symbol(b.current.distances[:], distanceBits)
	if err != nil {
		return dst, err
	}
	more, err = b.in.bits(e.length() - uint(e>>8&15))
	if err != nil {
		return dst, err
	}
	b.distance = int(e>>16) + int(more)
	if b.distance > len(dst)-b.base {
		return dst, ErrCorrupt
	}
	return b.copyMatch(dst), nil
}

// copyMatch appends the current match, or as much of it as fits.
func (b *blocks) copyMatch(dst []byte) []byte {
	start := len(dst) - b.distance
	for b.length > 0 && len(dst) < cap(dst) {
		// If the match overlaps its copy, the copy is repeated.
		n := min(b.length, cap(dst)-len(dst), len(dst)-start)
		dst = append(dst, dst[start:start+n]...)
		b.length -= n
	}
	return dst
}

// While the input has fastInput bytes and the output has room for fastOutput,
// decodeFast needs no other checks of them. In one round, it reads eight
// bytes of input at most twice. It appends up to three literals, or up to two
// literals and a match, which it copies in steps of eight bytes.
const (
	fastInput  = 16
	fastOutput = 2 + maxMatch + 8
)

// decodeFast appends symbols until the block ends, or until the input or the
// output is nearly exhausted.
func (b *blocks) decodeFast(dst []byte) ([]byte, error) {
	in, pos := b.in.buf[:b.in.end], b.in.pos
	held, n := b.in.held, b.in.n // the bits that are not decoded
	out, at := dst[:cap(dst)], len(dst)
	literals, distances := &b.current.literals, &b.current.distances
	var err error
	for len(in)-pos >= fastInput && len(out)-at >= fastOutput {
		held |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		e := literals[held&(1<<literalBits-1)]
		if e&kindLiteral != 0 {
			held >>= e & 63
			n -= e.length()
			out[at] = byte(e >> 16)
			at++
			if e = literals[held&(1<<literalBits-1)]; e&kindLiteral != 0 {
				held >>= e & 63
				n -= e.length()
				out[at] = byte(e >> 16)
				at++
				if e = literals[held&(1<<literalBits-1)]; e&kindLiteral != 0 {
					held >>= e & 63
					n -= e.length()
					out[at] = byte(e >> 16)
					at++
					continue
				}
			}
		}
		if e&kindSpecial != 0 {
			if e&kindLink != 0 {
				held >>= e & 63
				n -= e.length()
				e = table(literals[:]).link(e, held)
			}
			if e&kindLiteral != 0 {
				held >>= e & 63
				n -= e.length()
				out[at] = byte(e >> 16)
				at++
				continue
			}
			if e&kindSpecial != 0 {
				if e&kindEnd == 0 {
					err = ErrCorrupt
					break
				}
				held >>= e & 63
				n -= e.length()
				b.endBlock()
				break
			}
		}
		length := e.value(held)
		held >>= e & 63
		n -= e.length()

		held |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		e = distances[held&(1<<distanceBits-1)]
		if e&kindSpecial != 0 {
			if e&kindLink != 0 {
				held >>= e & 63
				n -= e.length()
				e = table(distances[:]).link(e, held)
			}
			if e&kindSpecial != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := e.value(held)
		held >>= e & 63
		n -= e.length()
		if distance > at-b.base {
			err = ErrCorrupt
			break
		}
		at = copyFast(out, at, distance, length)
	}
	b.in.pos, b.in.held, b.in.n = pos, held&(1<<n-1), n
	return out[:at], err
}

// copyFast copies a match to out[at:], and returns its end. It may write up to
// seven bytes more.
func copyFast(out []byte, at, distance, length int) int {
	end := at + length
	from := at - distance
	switch {
	case distance >= 8:
		for at < end {
			binary.LittleEndian.PutUint64(out[at:], binary.LittleEndian.Uint64(out[from:]))
			at += 8
			from += 8
		}
	case distance == 1:
		repeated := uint64(out[from]) * 0x0101010101010101
		for at < end {
			binary.LittleEndian.PutUint64(out[at:], repeated)
			at += 8
		}
	default:
		for ; at < end; at++ {
			out[at] = out[from]
			from++
		}
	}
	return end
}
