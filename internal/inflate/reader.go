package inflate

import (
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// A Format is a format of compressed data.
type Format int

const (
	// Gzip is one or more gzip members. https://www.rfc-editor.org/rfc/rfc1952
	Gzip Format = iota

	// Deflate is HTTP's content coding deflate: the zlib format, or DEFLATE data
	// without a header and a checksum, which some clients send.
	// https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.2
	Deflate
)

// A Reader decompresses data from an io.Reader. It reads no more than the
// compressed data, except that it may have read ahead by up to 8 KiB. Reset makes
// it usable.
type Reader struct {
	blocks
	format   Format
	started  bool // the header of the current member has been read
	raw      bool // without a header and a checksum
	members  int  // of gzip that are complete
	checksum uint32
	size     uint32
}

// Reset makes r decompress what src has, in the given format.
func (r *Reader) Reset(src io.Reader, format Format) {
	r.in.reset(src)
	r.format, r.started, r.raw, r.members = format, false, false, 0
}

// AppendTo appends decompressed data to dst until its capacity is used, or until
// the end of the data, where it returns io.EOF. dst must start with all data that
// was appended since Reset. Data after the end of the compressed data is an error.
func (r *Reader) AppendTo(dst []byte) (_ []byte, err error) {
	for {
		if !r.started {
			if err := r.start(len(dst)); err != nil {
				return dst, err
			}
		}
		old := len(dst)
		dst, err = r.blocks.appendTo(dst)
		r.sum(dst[old:])
		if err != io.EOF {
			return dst, err
		}
		if err := r.end(); err != nil {
			return dst, err
		}
	}
}

// start reads the header of the data, or of a gzip member. Its error is io.EOF if
// there is no other member. The output will start at base.
func (r *Reader) start(base int) error {
	r.reset(base)
	r.started, r.size = true, 0
	if r.format == Deflate {
		r.checksum = 1
		return r.zlibHeader()
	}
	r.checksum = 0
	return r.gzipHeader()
}

func (r *Reader) sum(b []byte) {
	if len(b) == 0 || r.raw {
		return
	}
	r.size += uint32(len(b))
	if r.format == Gzip {
		r.checksum = crc32.Update(r.checksum, crc32.IEEETable, b)
	} else {
		r.checksum = updateAdler32(r.checksum, b)
	}
}

// end checks the checksum. It returns io.EOF after the end of all data.
func (r *Reader) end() error {
	r.in.align()
	r.started = false
	if !r.raw {
		if err := r.trailer(); err != nil {
			return err
		}
	}
	if r.format == Gzip {
		r.members++
		return nil
	}
	switch _, err := r.in.readByte(); err {
	case io.ErrUnexpectedEOF:
		return io.EOF
	case nil:
		return ErrCorrupt // data follows
	default:
		return err
	}
}

// trailer reads and checks the checksum, and gzip's size.
func (r *Reader) trailer() error {
	var b [8]byte
	if r.format == Deflate {
		if err := r.in.readFull(b[:4]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(b[:]) != r.checksum {
			return ErrCorrupt
		}
		return nil
	}
	if err := r.in.readFull(b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b[:]) != r.checksum || binary.LittleEndian.Uint32(b[4:]) != r.size {
		return ErrCorrupt
	}
	return nil
}

// zlibHeader reads the header of the zlib format. If it is not one, the data has
// no header.
func (r *Reader) zlibHeader() error {
	var b [2]byte
	if err := r.in.readFull(b[:]); err != nil {
		return err
	}
	if b[0]&0x0f != 8 || binary.BigEndian.Uint16(b[:])%31 != 0 {
		r.raw = true
		r.in.pos -= len(b) // fill keeps at least eight bytes
		return nil
	}
	const presetDictionary = 0x20
	if b[0]>>4 > 7 || b[1]&presetDictionary != 0 {
		return ErrCorrupt
	}
	return nil
}

// gzipHeader reads the header of a member.
// https://www.rfc-editor.org/rfc/rfc1952#section-2.3
func (r *Reader) gzipHeader() error {
	const (
		flagChecksum = 1 << 1
		flagExtra    = 1 << 2
		flagName     = 1 << 3
		flagComment  = 1 << 4
	)
	var b [10]byte
	var err error
	if b[0], err = r.in.readByte(); err != nil {
		if err == io.ErrUnexpectedEOF && r.members > 0 {
			return io.EOF
		}
		return err
	}
	if err := r.in.readFull(b[1:]); err != nil {
		return err
	}
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return ErrCorrupt
	}
	flags := b[3]
	sum := crc32.ChecksumIEEE(b[:])
	if flags&flagExtra != 0 {
		if sum, err = r.skipExtra(sum); err != nil {
			return err
		}
	}
	for _, flag := range [...]byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		if sum, err = r.skipString(sum); err != nil {
			return err
		}
	}
	if flags&flagChecksum != 0 {
		if err := r.in.readFull(b[:2]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b[:]) != uint16(sum) {
			return ErrCorrupt
		}
	}
	return nil
}

// skipExtra skips the extra field of a header, and updates the checksum of the
// header.
func (r *Reader) skipExtra(sum uint32) (uint32, error) {
	var b [2]byte
	if err := r.in.readFull(b[:]); err != nil {
		return 0, err
	}
	sum = crc32.Update(sum, crc32.IEEETable, b[:])
	for range binary.LittleEndian.Uint16(b[:]) {
		if err := r.in.readFull(b[:1]); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, b[:1])
	}
	return sum, nil
}

// maxHeaderString is the limit of compress/gzip for a name or a comment with its
// final zero, in bytes.
const maxHeaderString = 512

// skipString skips a name or a comment, and updates the checksum of the header.
func (r *Reader) skipString(sum uint32) (uint32, error) {
	for range maxHeaderString {
		c, err := r.in.readByte()
		if err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, []byte{c})
		if c == 0 {
			return sum, nil
		}
	}
	return 0, ErrCorrupt
}

// updateAdler32 adds b to a checksum. hash/adler32 can only start one, but a
// checksum is determined by those of its parts.
func updateAdler32(sum uint32, b []byte) uint32 {
	const modulus = 65521
	part := adler32.Checksum(b)
	a1, b1 := sum&0xffff, sum>>16
	a2, b2 := part&0xffff, part>>16
	n := uint32(len(b) % modulus)
	// a counts from one, so the second part's bytes add a2-1, and each of its n
	// positions adds a1-1 to b.
	a := (a1 + a2 + modulus - 1) % modulus
	high := (uint64(b1) + uint64(b2) + uint64(n)*uint64(a1+modulus-1)) % modulus
	return uint32(high)<<16 | a
}
