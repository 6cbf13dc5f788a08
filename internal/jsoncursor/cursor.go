// Package jsoncursor reads JSON that is known to be valid, in one pass and without
// allocating memory. It panics if the JSON is invalid.
package jsoncursor

import (
	"bytes"

	"log-ingester/internal/entry"
)

// A Cursor reads valid JSON from the start to the end. The caller must know what
// comes next: a value, or a member or an element of an open object or array.
type Cursor struct{ Rest []byte }

// Peek returns the first byte of the next value.
func (c *Cursor) Peek() byte {
	for c.Rest[0] <= ' ' || c.Rest[0] == ':' {
		c.Rest = c.Rest[1:]
	}
	return c.Rest[0]
}

// Skip skips the next value and returns it.
func (c *Cursor) Skip() []byte {
	c.Peek()
	n := valueLen(c.Rest)
	value := c.Rest[:n]
	c.Rest = c.Rest[n:]
	return value
}

// Enter opens the next value, which must be an object or an array.
func (c *Cursor) Enter() {
	c.Peek()
	c.Rest = c.Rest[1:]
}

// More reports whether the open object or array has another member or element. If
// not, it closes it.
func (c *Cursor) More() bool {
	for c.Rest[0] <= ' ' || c.Rest[0] == ',' {
		c.Rest = c.Rest[1:]
	}
	if c.Rest[0] == '}' || c.Rest[0] == ']' {
		c.Rest = c.Rest[1:]
		return false
	}
	return true
}

// Key reads the key of the next member and returns its text, or nil if it is longer
// than MaxKey.
func (c *Cursor) Key() []byte { return keyText(c.Skip()) }

// MaxKey is the length of the longest key that Key returns, in bytes.
const MaxKey = 32

// keyText returns the text of a key, a JSON string, or nil if it is longer than
// MaxKey.
func keyText(key []byte) []byte {
	text := key[1 : len(key)-1]
	if bytes.IndexByte(text, '\\') >= 0 && len(text) <= MaxKey*len(`\u0000`) {
		text = entry.AppendUnquoted(nil, key)
	}
	if len(text) > MaxKey {
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
