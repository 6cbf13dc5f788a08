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

// A fields iterates over the fields of a message. It has offsets instead of slices
// because each store of a pointer costs a write barrier while garbage is collected.
type fields struct {
	msg       []byte
	pos       int    // of the next field in msg
	tag       uint64 // field number << 3 | wire type
	value     uint64 // of a varint or fixed-size field; the length of a field of type wireBytes
	malformed bool
}

// data returns the data of a field of type wireBytes.
func (f *fields) data() []byte { return f.msg[f.pos-int(f.value) : f.pos] }

// err returns why next stopped before the end of the message, or nil.
func (f *fields) err() error {
	if f.malformed {
		return errMalformed
	}
	return nil
}

// next reads the next field and reports whether there is one.
func (f *fields) next() bool {
	if f.pos >= len(f.msg) {
		return false
	}
	// Most fields have a tag and a length of one byte each.
	if msg, i := f.msg, f.pos; i+1 < len(msg) && msg[i]&0x87 == wireBytes && msg[i] > 7 && msg[i+1] < 0x80 {
		if n := int(msg[i+1]); n <= len(msg)-i-2 {
			f.tag, f.value, f.pos = uint64(msg[i]), uint64(n), i+2+n
			return true
		}
	}
	f.malformed = !f.readTag() || !f.readValue()
	return !f.malformed
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
		return ok
	case wireFixed64:
		if len(f.msg)-f.pos < 8 {
			return false
		}
		f.value = binary.LittleEndian.Uint64(f.msg[f.pos:])
		f.pos += 8
		return true
	case wireFixed32:
		if len(f.msg)-f.pos < 4 {
			return false
		}
		f.value = uint64(binary.LittleEndian.Uint32(f.msg[f.pos:]))
		f.pos += 4
		return true
	case wireBytes:
		f.value, ok = f.varint()
		if !ok || f.value > uint64(len(f.msg)-f.pos) {
			return false
		}
		f.pos += int(f.value)
		return true
	case wireGroup:
		return f.skipGroup()
	}
	return false
}

// varint reads a number of at most 64 bits.
func (f *fields) varint() (uint64, bool) {
	if f.pos < len(f.msg) && f.msg[f.pos] < 0x80 {
		f.pos++
		return uint64(f.msg[f.pos-1]), true
	}
	return f.longVarint()
}

func (f *fields) longVarint() (uint64, bool) {
	n, size := binary.Uvarint(f.msg[f.pos:])
	if size <= 0 {
		return 0, false
	}
	f.pos += size
	return n, true
}

// skipGroup skips the fields up to the end of the group that f.tag starts. No
// message of OTLP has groups, but unknown fields may be groups.
func (f *fields) skipGroup() bool {
	var open [maxDepth]uint64 // the numbers of the groups around the current field
	start := f.tag
	open[0] = f.tag >> 3
	for depth := 1; depth > 0; {
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
