package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// maxDepth limits how deep the values of a record may nest.
const maxDepth = 100

// errTooDeep rejects a record.
var errTooDeep = errors.New("a value nests deeper than 100 arrays and maps")

// A mode is what a rowText does with the text that is passed to it.
type mode uint8

const (
	discard  mode = iota
	estimate      // no text is passed to it; sizes are estimated
	measure       // add up its size
	write         // append it
)

// A rowText builds the text of rows, or measures it.
type rowText struct {
	mode mode
	text []byte
	size int // upper bound in bytes
}

// length returns the length of the text so far, in bytes. It does not change in
// mode discard.
func (t *rowText) length() int {
	if t.mode == write {
		return len(t.text)
	}
	return t.size
}

// truncate removes the text after the first length bytes.
func (t *rowText) truncate(length int) {
	if t.mode == write {
		t.text = t.text[:length]
	} else {
		t.size = length
	}
}

// literal adds s as it is.
func (t *rowText) literal(s string) {
	switch t.mode {
	case measure:
		t.size += len(s)
	case write:
		t.text = append(t.text, s...)
	}
}

// raw adds s as it is.
func (t *rowText) raw(s []byte) {
	switch t.mode {
	case measure:
		t.size += len(s)
	case write:
		t.text = append(t.text, s...)
	}
}

// plain adds s with its UTF-8 repaired.
func (t *rowText) plain(s []byte) {
	switch t.mode {
	case measure:
		t.size += repairedSize(s)
	case write:
		if isASCII(s) || utf8.Valid(s) {
			t.text = append(t.text, s...)
		} else {
			t.text = entry.AppendRepaired(t.text, s)
		}
	}
}

// quoted adds s as a JSON string.
func (t *rowText) quoted(s []byte) {
	switch t.mode {
	case measure:
		t.size += quotedSize(s)
	case write:
		if isPlain(s) {
			t.text = append(append(append(t.text, '"'), s...), '"')
		} else {
			t.text = entry.AppendQuoted(t.text, s)
		}
	}
}

// unquoted adds the text of s, a valid JSON string in valid UTF-8.
func (t *rowText) unquoted(s []byte) {
	switch t.mode {
	case measure:
		t.size += len(s) // an escape is longer than what it stands for
	case write:
		t.text = entry.AppendUnquoted(t.text, s)
	}
}

// integer adds n.
func (t *rowText) integer(n int64) {
	if t.mode != discard {
		var b [20]byte
		t.raw(strconv.AppendInt(b[:0], n, 10))
	}
}

// number adds f as a JSON number, in the format of encoding/json. JSON has no
// NaN and no infinities. They become the strings that protobuf's JSON format
// uses.
func (t *rowText) number(f float64) {
	switch {
	case t.mode == discard:
	case math.IsNaN(f):
		t.literal(`"NaN"`)
	case math.IsInf(f, 1):
		t.literal(`"Infinity"`)
	case math.IsInf(f, -1):
		t.literal(`"-Infinity"`)
	default:
		format := byte('f')
		if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
			format = 'e'
		}
		var b [32]byte
		t.raw(strconv.AppendFloat(b[:0], f, format, -1, 64))
	}
}

// hex adds b as hexadecimal digits.
func (t *rowText) hex(b []byte) {
	switch t.mode {
	case measure:
		t.size += hex.EncodedLen(len(b))
	case write:
		t.text = hex.AppendEncode(t.text, b)
	}
}

// base64 adds b in base64, as protobuf's JSON format does.
func (t *rowText) base64(b []byte) {
	switch t.mode {
	case measure:
		t.size += base64.StdEncoding.EncodedLen(len(b))
	case write:
		t.text = base64.StdEncoding.AppendEncode(t.text, b)
	}
}

// close ends the object or array that began at start, of which each element
// begins with a comma. It replaces the first comma by the first byte of
// brackets, and adds the second.
func (t *rowText) close(start int, brackets string) {
	if t.length() == start {
		t.literal(brackets)
		return
	}
	t.literal(brackets[1:])
	if t.mode == write {
		t.text[start] = brackets[0]
	}
}

// isPlain reports whether s is ASCII without characters that JSON escapes.
func isPlain(s []byte) bool {
	const lowBits, highBits = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := binary.LittleEndian.Uint64(s)
		quote, backslash := w^'"'*lowBits, w^'\\'*lowBits
		if (w|(w-' '*lowBits)|(quote-lowBits)|(backslash-lowBits))&highBits != 0 {
			return false
		}
	}
	for _, c := range s {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func isASCII(s []byte) bool {
	for ; len(s) >= 8; s = s[8:] {
		if binary.LittleEndian.Uint64(s)&0x8080808080808080 != 0 {
			return false
		}
	}
	for _, c := range s {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// quotedSize returns the length of s as a JSON string, in bytes.
func quotedSize(s []byte) int {
	n := len(s) + len(`""`)
	if isPlain(s) {
		return n
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && size == 1 {
				n += len("\ufffd") - 1
			}
			i += size - 1
		case c < ' ':
			n += len(`\u0000`) - 1
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}

// repairedSize returns the length of s with its UTF-8 repaired, in bytes.
func repairedSize(s []byte) int {
	if isASCII(s) || utf8.Valid(s) {
		return len(s)
	}
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		n += utf8.RuneLen(r)
		i += size
	}
	return n
}
