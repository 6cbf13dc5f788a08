package otlp

import (
	"errors"
	"math"
	"strconv"

	"log-ingester/internal/jsoncursor"
)

// errType is the error for JSON that is valid, but not OTLP.
var errType = errors.New("a field has a value of the wrong type")

// A cursor reads OTLP/JSON.
type cursor struct{ jsoncursor.Cursor }

// newCursor returns a cursor before value.
func newCursor(value []byte) *cursor { return &cursor{jsoncursor.Cursor{Rest: value}} }

// enter opens the next value, an object or an array that begins with bracket. It
// skips null and returns false.
func (c *cursor) enter(bracket byte) (bool, error) {
	switch c.Peek() {
	case bracket:
		c.Enter()
		return true, nil
	case 'n':
		c.Skip()
		return false, nil
	}
	return false, errType
}

// string reads a string. It returns the empty string for null.
func (c *cursor) string() (str, error) {
	switch c.Peek() {
	case '"':
		return str{c.Skip(), true}, nil
	case 'n':
		c.Skip()
		return str{}, nil
	}
	return str{}, errType
}

// maxNumber is the length of the longest number that is read, in bytes. Converting
// a number of this length to a string does not allocate.
const maxNumber = 32

// number reads a number, or a string with a number, and returns its text. It
// returns 0 for null.
func (c *cursor) number() ([]byte, error) {
	value := c.Skip()
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
