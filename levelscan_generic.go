package main

import (
	"encoding/binary"
	"fmt"
	"log-ingester/internal/entry"
	"math/bits"
)

// scanGeneric is scan in portable Go. It is also what tells where and why a
// body is refused, whichever implementation found that it must be.
func (s *levelScanner) scanGeneric(body []byte, min entry.Level) *scanError {
	s.kept, s.dropped = s.kept[:0], 0
	const bom = "\ufeff"
	i := 0
	for i < len(bom) && i < len(body) && body[i] == bom[i] {
		i++
	}
	if 0 < i && i < len(bom) && i < len(body) {
		return s.refuse(0, s.unexpected(body, i, "in the byte order mark"))
	}
	if i = skipSpace(body, i); i == len(body) {
		return &scanError{reason: "empty body", offset: i}
	}

	depth := 1 // of an entry
	array := body[i] == '['
	if array {
		depth++
		if i = skipSpace(body, i+1); i < len(body) && body[i] == ']' {
			return s.afterArray(body, i+1, 0)
		}
	}
	for n := 0; ; n++ {
		if i == len(body) {
			return s.refuse(n, s.truncated(body, "body ends inside the array"))
		}
		if body[i] != '{' {
			return s.refuse(n, s.notAnEntry(body, i))
		}
		end, l := s.scanEntry(body, i, depth)
		if end < 0 {
			return s.refuse(n, end)
		}
		if l >= min {
			s.kept = append(s.kept, span{uint32(i), uint32(end)})
		} else {
			s.dropped++
		}
		i = skipSpace(body, end)
		if !array {
			if i == len(body) {
				return nil
			}
			continue
		}
		switch {
		case i == len(body):
			return s.refuse(n+1, s.truncated(body, "body ends inside the array"))
		case body[i] == ']':
			return s.afterArray(body, i+1, n+1)
		case body[i] != ',':
			return s.refuse(n+1, s.unexpected(body, i, "after an entry"))
		}
		i = skipSpace(body, i+1)
	}
}

// afterArray checks what follows the array that held all n entries.
func (s *levelScanner) afterArray(body []byte, i, n int) *scanError {
	if i = skipSpace(body, i); i < len(body) {
		return s.refuse(n, s.unexpected(body, i, "after the array"))
	}
	return nil
}

// The functions below that return an offset return its complement, which is
// negative, where the body must be refused, and leave the reason in s.reason.

func (s *levelScanner) refuse(entry, end int) *scanError {
	return &scanError{reason: s.reason, entry: entry, offset: ^end}
}

func (s *levelScanner) unexpected(body []byte, i int, where string) int {
	if i >= len(body) {
		return s.truncated(body, "body ends inside an entry")
	}
	if c := body[i]; ' ' < c && c < 0x7f {
		s.reason = fmt.Sprintf("invalid character '%c' %s", c, where)
	} else {
		s.reason = fmt.Sprintf("invalid character %#02x %s", c, where)
	}
	return ^i
}

func (s *levelScanner) truncated(body []byte, reason string) int {
	s.reason = reason
	return ^len(body)
}

func (s *levelScanner) tooDeep(i int) int {
	s.reason = fmt.Sprintf("nested deeper than %d", maxDepth)
	return ^i
}

func (s *levelScanner) notAnEntry(body []byte, i int) int {
	switch c := body[i]; {
	case c == '"', c == '[', c == '-', '0' <= c && c <= '9', c == 't', c == 'f', c == 'n':
		s.reason = "an element is not an object"
		return ^i
	}
	return s.unexpected(body, i, "where an entry should begin")
}

// scanEntry validates the entry that begins at body[i], and returns where it
// ends and its level.
func (s *levelScanner) scanEntry(body []byte, i, depth int) (int, entry.Level) {
	var (
		rank = noLevelKey
		at   int // what follows the key of that rank
	)
	i++
	if i < len(body) && body[i] != '"' {
		if i = skipSpace(body, i); i < len(body) && body[i] == '}' {
			return i + 1, entry.LevelUnknown
		}
	}
	for {
		if i >= len(body) || body[i] != '"' {
			return s.unexpected(body, i, "where a key should begin"), 0
		}
		key := i
		end, escaped := s.skipString(body, i+1)
		if end < 0 {
			return end, 0
		}
		r := levelKeyRank(body[key+1 : end-1])
		if escaped {
			r = levelKeyRank(entry.AppendUnquoted(nil, body[key:end]))
		}

		if i = end; i < len(body) && body[i] != ':' {
			i = skipSpace(body, i)
		}
		if i >= len(body) || body[i] != ':' {
			return s.unexpected(body, i, "after a key"), 0
		}
		if i++; i < len(body) && body[i] <= ' ' {
			i = skipSpace(body, i)
		}

		switch {
		case i >= len(body):
			return s.truncated(body, "body ends inside an entry"), 0
		case body[i] == '"':
			i, _ = s.skipString(body, i+1)
		case body[i] == '{' || body[i] == '[':
			i = s.skipNested(body, i, depth+1)
		default:
			i = s.skipScalar(body, i)
		}
		if i < 0 {
			return i, 0
		}
		if r < rank {
			rank, at = r, end
		}

		if i < len(body) && body[i] <= ' ' {
			i = skipSpace(body, i)
		}
		if i >= len(body) {
			return s.truncated(body, "body ends inside an entry"), 0
		}
		if body[i] == '}' {
			break
		}
		if body[i] != ',' {
			return s.unexpected(body, i, "after a value"), 0
		}
		if i++; i < len(body) && body[i] != '"' {
			i = skipSpace(body, i)
		}
	}
	switch rank {
	case noLevelKey:
		return i + 1, entry.LevelUnknown
	case clefTimeKey:
		return i + 1, entry.LevelInfo
	}
	return i + 1, s.levelAfter(body, at)
}

// skipNested validates the object or array that begins at body[i], depth
// levels deep, and returns where it ends.
func (s *levelScanner) skipNested(body []byte, i, depth int) int {
	outermost := depth
	object := false

value:
	if i = skipSpace(body, i); i >= len(body) {
		return s.truncated(body, "body ends inside an entry")
	}
	switch body[i] {
	case '{':
		if depth > maxDepth {
			return s.tooDeep(i)
		}
		s.isObject[depth], object = true, true
		depth++
		if i = skipSpace(body, i+1); i < len(body) && body[i] == '}' {
			goto close
		}
		goto key
	case '[':
		if depth > maxDepth {
			return s.tooDeep(i)
		}
		s.isObject[depth], object = false, false
		depth++
		if i = skipSpace(body, i+1); i < len(body) && body[i] == ']' {
			goto close
		}
		goto value
	case '"':
		i, _ = s.skipString(body, i+1)
	default:
		i = s.skipScalar(body, i)
	}
	if i < 0 {
		return i
	}

afterValue:
	if i = skipSpace(body, i); i >= len(body) {
		return s.truncated(body, "body ends inside an entry")
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
	return s.unexpected(body, i, "after a value")

key:
	if i >= len(body) || body[i] != '"' {
		return s.unexpected(body, i, "where a key should begin")
	}
	if i, _ = s.skipString(body, i+1); i < 0 {
		return i
	}
	if i = skipSpace(body, i); i >= len(body) || body[i] != ':' {
		return s.unexpected(body, i, "after a key")
	}
	i++
	goto value

close:
	i++
	if depth--; depth == outermost {
		return i
	}
	object = s.isObject[depth-1]
	goto afterValue
}

func skipSpace(body []byte, i int) int {
	for i < len(body) && (body[i] == ' ' || body[i] == '\n' || body[i] == '\r' || body[i] == '\t') {
		i++
	}
	return i
}

const (
	lowBits  = 0x0101010101010101 // the lowest bit of each byte of a word
	highBits = 0x8080808080808080 // the highest
)

// skipString validates the string whose content begins at body[i], and returns
// where it ends, after the closing quote, and whether it holds escapes.
func (s *levelScanner) skipString(body []byte, i int) (end int, escaped bool) {
	for {
		for len(body)-i >= 8 {
			// Eight bytes at once: the lowest high bit of special is at the first
			// quote, backslash or control character. Higher ones may be wrong,
			// since a subtraction borrows from the byte above.
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
			return s.truncated(body, "body ends inside a string"), false
		}
		switch c := body[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = s.skipEscape(body, i+1); i < 0 {
				return i, false
			}
		case c < ' ':
			return s.unexpected(body, i, "in a string"), false
		default:
			i++
		}
	}
}

// skipEscape validates the escape whose backslash stands before body[i].
func (s *levelScanner) skipEscape(body []byte, i int) int {
	if i >= len(body) {
		return s.truncated(body, "body ends inside a string")
	}
	switch body[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for range 4 {
			if i++; i >= len(body) {
				return s.truncated(body, "body ends inside a string")
			}
			if c := body[i]; !(c-'0' < 10 || c|0x20-'a' < 6) {
				return s.unexpected(body, i, "in string escape")
			}
		}
		return i + 1
	}
	return s.unexpected(body, i, "in string escape")
}

// skipScalar validates the number or literal that begins at body[i].
func (s *levelScanner) skipScalar(body []byte, i int) int {
	literal := ""
	switch body[i] {
	case 't':
		literal = "true"
	case 'f':
		literal = "false"
	case 'n':
		literal = "null"
	default:
		return s.skipNumber(body, i)
	}
	for j := range len(literal) {
		if i+j >= len(body) || body[i+j] != literal[j] {
			return s.unexpected(body, i+j, "in literal "+literal)
		}
	}
	return i + len(literal)
}

func (s *levelScanner) skipNumber(body []byte, i int) int {
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
		return s.unexpected(body, i, "in a number")
	default:
		return s.unexpected(body, i, "where a value should begin")
	}
	if byteAt(body, i) == '.' {
		i++
		if byteAt(body, i)-'0' >= 10 {
			return s.unexpected(body, i, "in a number")
		}
		i = skipDigits(body, i+1)
	}
	if byteAt(body, i)|0x20 == 'e' {
		i++
		if c = byteAt(body, i); c == '+' || c == '-' {
			i++
		}
		if byteAt(body, i)-'0' >= 10 {
			return s.unexpected(body, i, "in a number")
		}
		i = skipDigits(body, i+1)
	}
	return i
}

// byteAt returns body[i], and 0, which stands in no valid body, after its end.
func byteAt(body []byte, i int) byte {
	if i < len(body) {
		return body[i]
	}
	return 0
}

func skipDigits(body []byte, i int) int {
	for i < len(body) && body[i]-'0' < 10 {
		i++
	}
	return i
}
