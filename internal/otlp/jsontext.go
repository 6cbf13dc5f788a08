package otlp

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"log-ingester/internal/entry"
)

// errType is the error for JSON that is valid, but not OTLP.
var errType = errors.New("a field has a value of the wrong type")

// A members iterates over the members of a valid JSON object. The zero value has
// none.
type members struct {
	rest  []byte // starts before a member, a comma or the closing brace
	key   []byte // unescaped
	value []byte
}

// object returns the members of value, an object. If value is null or nil, there
// are none.
func object(value []byte) (members, error) {
	switch {
	case isNull(value):
		return members{}, nil
	case value[0] == '{':
		return members{rest: value[1:]}, nil
	}
	return members{}, errType
}

func isNull(value []byte) bool { return len(value) == 0 || value[0] == 'n' }

// next reads the next member and reports whether there is one.
func (m *members) next() bool {
	m.rest = trimSeparators(m.rest)
	if len(m.rest) == 0 || m.rest[0] == '}' {
		return false
	}
	n := stringLen(m.rest)
	m.key = fieldName(m.rest[:n])
	m.rest = trimSeparators(m.rest[n:])
	n = valueLen(m.rest)
	m.value, m.rest = m.rest[:n], m.rest[n:]
	return true
}

// An elements iterates over the elements of a valid JSON array. The zero value has
// none.
type elements struct {
	rest  []byte // starts before an element, a comma or the closing bracket
	value []byte
}

// array returns the elements of value, an array. If value is null or nil, there are
// none.
func array(value []byte) (elements, error) {
	switch {
	case isNull(value):
		return elements{}, nil
	case value[0] == '[':
		return elements{rest: value[1:]}, nil
	}
	return elements{}, errType
}

// next reads the next element and reports whether there is one.
func (e *elements) next() bool {
	e.rest = trimSeparators(e.rest)
	if len(e.rest) == 0 || e.rest[0] == ']' {
		return false
	}
	n := valueLen(e.rest)
	e.value, e.rest = e.rest[:n], e.rest[n:]
	return true
}

// trimSeparators removes white space, commas and colons from the start of b.
func trimSeparators(b []byte) []byte {
	for len(b) > 0 && (b[0] <= ' ' || b[0] == ',' || b[0] == ':') {
		b = b[1:]
	}
	return b
}

// maxName is the length of the longest name of a field, in bytes.
const maxName = len("observed_time_unix_nano")

// fieldName returns the text of a key, or nil if it is too long for the name of a
// field.
func fieldName(key []byte) []byte {
	text := key[1 : len(key)-1]
	if bytes.IndexByte(text, '\\') >= 0 && len(text) <= maxName*len(`\u0000`) {
		text = entry.AppendUnquoted(nil, key)
	}
	if len(text) > maxName {
		return nil
	}
	return text
}

// valueLen returns the length of the valid JSON value at the start of b.
func valueLen(b []byte) int {
	switch b[0] {
	case '"':
		return stringLen(b)
	case '{', '[':
		return nestedLen(b)
	}
	i := 1
	for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	return i
}

// nestedLen returns the length of the object or array at the start of b.
func nestedLen(b []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch b[i] {
		case '"':
			i += stringLen(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// stringLen returns the length of the string at the start of b, with its quotes.
func stringLen(b []byte) int {
	for i := 1; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		backslashes := 0
		for b[i-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return i + 1
		}
	}
}

// maxNumber is the length of the longest number that is read, in bytes. Converting
// a number of this length to a string does not allocate.
const maxNumber = 32

// numberText returns the text of a number, or of a string with a number. For null
// it returns 0.
func numberText(value []byte) ([]byte, error) {
	if value[0] == '"' {
		value = value[1 : len(value)-1]
	}
	switch {
	case string(value) == "null":
		return []byte("0"), nil
	case len(value) == 0 || len(value) > maxNumber:
		return nil, errType
	}
	return value, nil
}

// parseInt returns the value of a number or of a string with a number.
func parseInt(value []byte) (int64, error) {
	text, err := numberText(value)
	if err != nil {
		return 0, err
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(text), 64) // 1e9 is an integer too
	if err != nil || f != math.Trunc(f) || f < math.MinInt64 || f >= math.MaxInt64 {
		return 0, errType
	}
	return int64(f), nil
}

// parseUint is parseInt for unsigned numbers.
func parseUint(value []byte) (uint64, error) {
	text, err := numberText(value)
	if err != nil {
		return 0, err
	}
	if n, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f != math.Trunc(f) || f < 0 || f >= math.MaxUint64 {
		return 0, errType
	}
	return uint64(f), nil
}
