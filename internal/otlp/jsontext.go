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

// A cursor reads valid JSON from the start to the end. The caller must know what
// comes next: a value, or a member or an element of an open object or array.
type cursor struct{ rest []byte }

// value returns the first byte of the next value.
func (c *cursor) value() byte {
	for c.rest[0] <= ' ' || c.rest[0] == ':' {
		c.rest = c.rest[1:]
	}
	return c.rest[0]
}

// skip skips the next value and returns it.
func (c *cursor) skip() []byte {
	c.value()
	n := valueLen(c.rest)
	value := c.rest[:n]
	c.rest = c.rest[n:]
	return value
}

// enter opens the next value, an object or an array that begins with bracket. It
// skips null and returns false.
func (c *cursor) enter(bracket byte) (bool, error) {
	switch c.value() {
	case bracket:
		c.rest = c.rest[1:]
		return true, nil
	case 'n':
		c.skip()
		return false, nil
	}
	return false, errType
}

// more reports whether the open object or array has another member or element. If
// not, it closes it.
func (c *cursor) more() bool {
	for c.rest[0] <= ' ' || c.rest[0] == ',' {
		c.rest = c.rest[1:]
	}
	if c.rest[0] == '}' || c.rest[0] == ']' {
		c.rest = c.rest[1:]
		return false
	}
	return true
}

// key reads the key of the next member, and returns it as fieldName does.
func (c *cursor) key() []byte { return fieldName(c.skip()) }

// string reads a string. It returns the empty string for null.
func (c *cursor) string() (str, error) {
	switch c.value() {
	case '"':
		return str{c.skip(), true}, nil
	case 'n':
		c.skip()
		return str{}, nil
	}
	return str{}, errType
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

// number reads a number, or a string with a number, and returns its text. It
// returns 0 for null.
func (c *cursor) number() ([]byte, error) {
	value := c.skip()
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

// int reads a number, or a string with a number.
func (c *cursor) int() (int64, error) {
	text, err := c.number()
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

// uint is int for unsigned numbers.
func (c *cursor) uint() (uint64, error) {
	text, err := c.number()
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
