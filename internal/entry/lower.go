package entry

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// LowerGrowth returns how many bytes longer text can become in lower case. Only
// two characters become longer, by one byte. Both begin with the same byte, as
// TestLowerGrowth checks.
func LowerGrowth(text []byte) int { return bytes.Count(text, []byte{growingLead}) }

const growingLead = 0xc8

// AppendLower converts dst[start:] to lower case, and returns the extended slice.
func AppendLower(dst []byte, start int) []byte {
	for i, c := range dst[start:] {
		if c >= utf8.RuneSelf {
			return appendLowerRunes(dst, start)
		}
		if 'A' <= c && c <= 'Z' {
			dst[start+i] = c + 'a' - 'A'
		}
	}
	return dst
}

// appendLowerRunes converts dst[start:], which may have any characters, to lower
// case without a copy, as strings.ToLower does with one.
func appendLowerRunes(dst []byte, start int) []byte {
	growth := LowerGrowth(dst[start:])
	end := len(dst)
	for range growth {
		dst = append(dst, 0)
	}
	// Move the text to the end. The result then never reaches what is left of it.
	copy(dst[start+growth:], dst[start:end])
	text := dst[start+growth:]
	dst = dst[:start]
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		dst = utf8.AppendRune(dst, unicode.ToLower(r))
	}
	return dst
}
