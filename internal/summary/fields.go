package summary

import (
	"strings"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// fieldPositions is how many positions of the filter a field has. A query for a
// field tests only these, so they must be enough to exclude most blocks.
const fieldPositions = 5

// appendFieldPositions appends the filter positions of a field.
func appendFieldPositions(dst []uint32, hash uint64) []uint32 {
	hash ^= hash >> 32
	for i := range uint64(fieldPositions) {
		hash = (hash + i) * 0xd6e8feb86659fd93
		hash ^= hash >> 32
		dst = append(dst, uint32(hash>>(32-positionBits))&(1<<positionBits-1))
	}
	return dst
}

// maxDepth limits how deep objects in details may nest. Deeper ones are rare, and
// their blocks are never skipped in a search for a field.
const maxDepth = 64

// A fieldHasher finds the fields of JSON objects. A field is the keys that lead to a
// value, joined with dots, and a value that is neither an object nor an array.
// Strings are taken by their text, other values by their JSON text, as in a search.
type fieldHasher struct {
	s      string
	i      int // the next byte to read
	depth  int
	hashes []uint64
	buf    []byte
}

// hash sets h.hashes to the hashes of the fields of details. It returns false if
// that is not possible, for example because details is not valid JSON. Text that does
// not start like an object has no fields.
func (h *fieldHasher) hash(details string) bool {
	h.s, h.i, h.depth, h.hashes = details, 0, 0, h.hashes[:0]
	ok := !h.next('{') || h.object(fnvOffset)
	h.s = "" // the caller owns the memory
	return ok
}

// object reads an object after its opening brace. path is the hash of the keys that
// lead to it, and of a dot after each.
func (h *fieldHasher) object(path uint64) bool {
	if h.next('}') {
		return true
	}
	if h.depth++; h.depth > maxDepth {
		return false
	}
	for {
		h.skipSpace()
		key, ok := h.string()
		if !ok || !h.next(':') || !h.value(fnv(path, h.unescape(key))) {
			return false
		}
		if h.next('}') {
			h.depth--
			return true
		}
		if !h.next(',') {
			return false
		}
	}
}

// value reads the value of the field with the hash path.
func (h *fieldHasher) value(path uint64) bool {
	h.skipSpace()
	if h.i == len(h.s) {
		return false
	}
	text := ""
	switch h.s[h.i] {
	case '{':
		h.i++
		return h.object(fnv(path, "."))
	case '[':
		return h.skipArray()
	case '"':
		raw, ok := h.string()
		if !ok {
			return false
		}
		text = h.unescape(raw)
	default:
		start := h.i
		for h.i < len(h.s) && !isDelimiter(h.s[h.i]) {
			if c := h.s[h.i]; c < '+' || c > 'z' || c == '[' || c == '\\' {
				return false // cannot be in a number, true, false or null
			}
			h.i++
		}
		if text = h.s[start:h.i]; text == "" {
			return false
		}
	}
	h.hashes = append(h.hashes, fieldHash(path, text))
	return true
}

// string reads a JSON string and returns it without its quotes.
func (h *fieldHasher) string() (raw string, ok bool) {
	if h.i == len(h.s) || h.s[h.i] != '"' {
		return "", false
	}
	start := h.i + 1
	for i := start; i < len(h.s); i++ {
		switch h.s[i] {
		case '\\':
			i++
		case '"':
			h.i = i + 1
			return h.s[start:i], true
		}
	}
	return "", false
}

// unescape returns the text of a JSON string without its quotes, in valid UTF-8. The
// result is valid until the next call.
func (h *fieldHasher) unescape(raw string) string {
	if !utf8.ValidString(raw) {
		raw = string(entry.AppendRepaired(nil, []byte(raw)))
	}
	if strings.IndexByte(raw, '\\') >= 0 {
		h.buf = entry.AppendUnescaped(h.buf[:0], raw)
		raw = string(h.buf)
	}
	return raw
}

// skipArray skips an array.
func (h *fieldHasher) skipArray() bool {
	for depth := 0; h.i < len(h.s); {
		switch h.s[h.i] {
		case '"':
			if _, ok := h.string(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		h.i++
		if depth == 0 {
			return true
		}
	}
	return false
}

// next skips white space and the byte c, and reports whether c was there.
func (h *fieldHasher) next(c byte) bool {
	h.skipSpace()
	if h.i == len(h.s) || h.s[h.i] != c {
		return false
	}
	h.i++
	return true
}

func (h *fieldHasher) skipSpace() {
	for h.i < len(h.s) && isSpace(h.s[h.i]) {
		h.i++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func isDelimiter(c byte) bool {
	return isSpace(c) || c == ',' || c == ':' || c == '}' || c == ']'
}

// fieldHash returns the hash of a field. path is the hash of its name.
func fieldHash(path uint64, value string) uint64 {
	return fnv((path^0xff)*fnvPrime, value) // 0xff occurs in no valid UTF-8
}

// FNV-1a. http://www.isthe.com/chongo/tech/comp/fnv/
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// fnv continues the hash h with s.
func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}
