package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// maxDepth limits how deep brackets may nest in a body. The entry and an
// enclosing array count.
const maxDepth = 1000

// A validator checks JSON text. Its skip methods check the value or token that
// starts at an offset in body, and return the offset after it. If the text is
// invalid, they set reason and return a negative number: the bitwise complement
// of the offset of the first invalid byte. The other methods that return an int
// set reason and return such a complement too.
type validator struct {
	reason   string
	isObject [maxDepth + 1]bool // by depth: whether the open bracket is a brace
}

// unexpected refuses the byte at body[i], or the end of body. where describes
// the place.
func (v *validator) unexpected(body []byte, i int, where string) int {
	if i >= len(body) {
		return v.truncated(body, "body ends inside an entry")
	}
	if c := body[i]; ' ' < c && c < 0x7f {
		v.reason = fmt.Sprintf("invalid character '%c' %s", c, where)
	} else {
		v.reason = fmt.Sprintf("invalid character %#02x %s", c, where)
	}
	return ^i
}

// truncated refuses a body that ends too early.
func (v *validator) truncated(body []byte, reason string) int {
	v.reason = reason
	return ^len(body)
}

// tooDeep refuses the bracket at offset i.
func (v *validator) tooDeep(i int) int {
	v.reason = fmt.Sprintf("nested deeper than %d", maxDepth)
	return ^i
}

// skipNested skips the object or array at body[i]. depth is the depth of its
// bracket.
func (v *validator) skipNested(body []byte, i, depth int) int {
	outermost := depth
	object := false

value:
	if i = skipSpace(body, i); i >= len(body) {
		return v.truncated(body, "body ends inside an entry")
	}
	switch body[i] {
	case '{':
		if depth > maxDepth {
			return v.tooDeep(i)
		}
		v.isObject[depth], object = true, true
		depth++
		if i = skipSpace(body, i+1); i < len(body) && body[i] == '}' {
			goto close
		}
		goto key
	case '[':
		if depth > maxDepth {
			return v.tooDeep(i)
		}
		v.isObject[depth], object = false, false
		depth++
		if i = skipSpace(body, i+1); i < len(body) && body[i] == ']' {
			goto close
		}
		goto value
	case '"':
		i, _ = v.skipString(body, i+1)
	default:
		i = v.skipScalar(body, i)
	}
	if i < 0 {
		return i
	}

afterValue:
	if i = skipSpace(body, i); i >= len(body) {
		return v.truncated(body, "body ends inside an entry")
	}
	switch c := body[i]; {
	case c == ',' && object:
		i = skipSpace(body, i+1)
		goto key
	case c == ',':
		i++
		goto value
	case c == '}' && object, c == ']' && !object:
		goto close
	}
	return v.unexpected(body, i, "after a value")

key:
	if i >= len(body) || body[i] != '"' {
		return v.unexpected(body, i, "where a key should begin")
	}
	if i, _ = v.skipString(body, i+1); i < 0 {
		return i
	}
	if i = skipSpace(body, i); i >= len(body) || body[i] != ':' {
		return v.unexpected(body, i, "after a key")
	}
	i++
	goto value

close:
	i++
	if depth--; depth == outermost {
		return i
	}
	object = v.isObject[depth-1]
	goto afterValue
}

// skipString skips the string whose opening quote is before body[i]. It also
// reports whether the string contains escapes.
func (v *validator) skipString(body []byte, i int) (end int, escaped bool) {
	const (
		lowBits  = 0x0101010101010101 // the lowest bit of each byte
		highBits = 0x8080808080808080 // the highest bit of each byte
	)
	for {
		for len(body)-i >= 8 {
			// Check eight bytes at once. The lowest set bit of special marks the
			// first quote, backslash or control character. The bits above it may
			// be wrong, because a subtraction borrows from the next byte.
			w := binary.LittleEndian.Uint64(body[i:])
			quote, backslash := w^'"'*lowBits, w^'\\'*lowBits
			special := ((quote-lowBits)&^quote | (backslash-lowBits)&^backslash | (w-' '*lowBits)&^w) & highBits
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(body) {
			return v.truncated(body, "body ends inside a string"), false
		}
		switch c := body[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = v.skipEscape(body, i+1); i < 0 {
				return i, false
			}
		case c < ' ':
			return v.unexpected(body, i, "in a string"), false
		default:
			i++
		}
	}
}

// skipEscape skips the escape whose backslash is before body[i].
func (v *validator) skipEscape(body []byte, i int) int {
	if i >= len(body) {
		return v.truncated(body, "body ends inside a string")
	}
	switch body[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for range 4 {
			if i++; i >= len(body) {
				return v.truncated(body, "body ends inside a string")
			}
			if c := body[i]; !(c-'0' < 10 || c|0x20-'a' < 6) {
				return v.unexpected(body, i, "in string escape")
			}
		}
		return i + 1
	}
	return v.unexpected(body, i, "in string escape")
}

// skipScalar skips the number or literal at body[i].
func (v *validator) skipScalar(body []byte, i int) int {
	literal := ""
	switch body[i] {
	case 't':
		literal = "true"
	case 'f':
		literal = "false"
	case 'n':
		literal = "null"
	default:
		return v.skipNumber(body, i)
	}
	for j := range len(literal) {
		if i+j >= len(body) || body[i+j] != literal[j] {
			return v.unexpected(body, i+j, "in literal "+literal)
		}
	}
	return i + len(literal)
}

// skipNumber skips the number at body[i]. Its caller has ruled out all other
// values, so if no number starts there, it reports that a value is missing.
func (v *validator) skipNumber(body []byte, i int) int {
	c := byteAt(body, i)
	negative := c == '-'
	if negative {
		i++
		c = byteAt(body, i)
	}
	switch {
	case c == '0':
		i++
	case c-'1' < 9:
		i = skipDigits(body, i+1)
	case negative:
		return v.unexpected(body, i, "in a number")
	default:
		return v.unexpected(body, i, "where a value should begin")
	}
	if byteAt(body, i) == '.' {
		i++
		if byteAt(body, i)-'0' >= 10 {
			return v.unexpected(body, i, "in a number")
		}
		i = skipDigits(body, i+1)
	}
	if byteAt(body, i)|0x20 == 'e' {
		i++
		if c = byteAt(body, i); c == '+' || c == '-' {
			i++
		}
		if byteAt(body, i)-'0' >= 10 {
			return v.unexpected(body, i, "in a number")
		}
		i = skipDigits(body, i+1)
	}
	return i
}

func skipDigits(body []byte, i int) int {
	for i < len(body) && body[i]-'0' < 10 {
		i++
	}
	return i
}

// skipSpace returns the offset of the first byte at or after i that is not white
// space.
func skipSpace(body []byte, i int) int {
	if i < len(body) && body[i] <= ' ' {
		return skipSpaces(body, i)
	}
	return i // the compiler inlines this case
}

// skipSpaces is skipSpace if body[i] may be white space. A small gzip body can
// contain megabytes of it.
func skipSpaces(body []byte, i int) int {
	const (
		short = 16
		chunk = 1 << 20 // the runtime cannot preempt assembly
	)
	for n := 0; i < len(body) && isSpace(body[i]); n++ {
		if i++; n == short && useAVX2 {
			i, n = skipSpaceBlocks(body[:min(len(body), i+chunk)], i), 0
		}
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// byteAt returns body[i], or 0 if body is too short. A valid body does not
// contain 0.
func byteAt(body []byte, i int) byte {
	if i < len(body) {
		return body[i]
	}
	return 0
}
