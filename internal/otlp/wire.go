package otlp

import (
	"encoding/binary"
	"errors"
)

// errMalformed is the error for a body that is not a valid protobuf message.
var errMalformed = errors.New("the body is not a valid protobuf message")

// The wire types. https://protobuf.dev/programming-guides/encoding/
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3
	wireEnd     = 4 // of a group
	wireFixed32 = 5
)

// maxFieldNumber is the largest number of a field.
const maxFieldNumber = 1<<29 - 1

// A fields iterates over the fields of a message.
type fields struct {
	rest  []byte
	tag   uint64 // field number << 3 | wire type
	value uint64 // of a varint or fixed-size field
	data  []byte // of a field of type wireBytes
	err   error  // why next stopped before the end of the message, or nil
}

// next reads the next field and reports whether there is one.
func (f *fields) next() bool {
	if len(f.rest) == 0 {
		return false
	}
	if !f.readTag() || !f.readValue() {
		f.err = errMalformed
		return false
	}
	return true
}

func (f *fields) readTag() bool {
	var ok bool
	f.tag, ok = f.varint()
	number := f.tag >> 3
	return ok && 0 < number && number <= maxFieldNumber
}

func (f *fields) readValue() (ok bool) {
	switch f.tag & 7 {
	case wireVarint:
		f.value, ok = f.varint()
	case wireFixed64:
		if ok = len(f.rest) >= 8; ok {
			f.value = binary.LittleEndian.Uint64(f.rest)
			f.rest = f.rest[8:]
		}
	case wireFixed32:
		if ok = len(f.rest) >= 4; ok {
			f.value = uint64(binary.LittleEndian.Uint32(f.rest))
			f.rest = f.rest[4:]
		}
	case wireBytes:
		var n uint64
		if n, ok = f.varint(); ok {
			if ok = n <= uint64(len(f.rest)); ok {
				f.data, f.rest = f.rest[:n], f.rest[n:]
			}
		}
	case wireGroup:
		ok = f.skipGroup()
	}
	return ok
}

// skipGroup skips the fields up to the end of the group that f.tag starts. No
// message of OTLP has groups, but unknown fields may be some.
func (f *fields) skipGroup() bool {
	var open [maxDepth]uint64 // the numbers of the groups around the current field
	start := f.tag
	open[0] = f.tag >> 3
	depth := 1
	for depth > 0 {
		if !f.readTag() {
			return false
		}
		switch f.tag & 7 {
		case wireGroup:
			if depth == len(open) {
				return false
			}
			open[depth] = f.tag >> 3
			depth++
		case wireEnd:
			depth--
			if open[depth] != f.tag>>3 {
				return false
			}
		default:
			if !f.readValue() {
				return false
			}
		}
	}
	f.tag = start
	return true
}

// varint reads a number of at most 64 bits.
func (f *fields) varint() (uint64, bool) {
	if len(f.rest) > 0 && f.rest[0] < 0x80 {
		n := f.rest[0]
		f.rest = f.rest[1:]
		return uint64(n), true
	}
	n, size := binary.Uvarint(f.rest)
	if size <= 0 {
		return 0, false
	}
	f.rest = f.rest[size:]
	return n, true
}
