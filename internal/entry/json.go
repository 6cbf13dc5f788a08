package entry

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// AppendUnquoted appends the text of s, a valid JSON string with its quotes. A
// lone surrogate becomes U+FFFD, as in encoding/json.
func AppendUnquoted(dst, s []byte) []byte {
	s = s[1 : len(s)-1]
	return AppendUnescaped(dst, unsafe.String(unsafe.SliceData(s), len(s)))
}

// AppendUnescaped appends s with the escapes of JSON strings replaced by what
// they stand for. s may be any text: an invalid escape is copied as it is.
func AppendUnescaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		s = s[i:]
		if c := strings.IndexByte(`"\/bfnrt`, s[1]); c >= 0 {
			dst = append(dst, "\"\\/\b\f\n\r\t"[c])
			s = s[2:]
		} else if r, ok := unicodeEscape(s); ok {
			s = s[6:]
			if utf16.IsSurrogate(r) {
				low, _ := unicodeEscape(s)
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					r, s = pair, s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		} else {
			dst = append(dst, s[0])
			s = s[1:]
		}
	}
}

// unicodeEscape parses a \u escape at the start of s.
func unicodeEscape(s string) (rune, bool) {
	if len(s) < 6 || s[:2] != `\u` {
		return 0, false
	}
	r, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(r), err == nil
}

// shortEscapes maps a control character to the letter of its escape, or to 0.
var shortEscapes = [' ']byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// AppendQuoted appends s as a JSON string. Each byte of invalid UTF-8 becomes
// U+FFFD.
func AppendQuoted[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(AppendEscaped(append(dst, '"'), s), '"')
}

// AppendEscaped is AppendQuoted without the quotes.
func AppendEscaped[T ~string | ~[]byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	done := 0 // the length of the part of s that is in dst
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r != utf8.RuneError || n > 1 {
				i += n - 1
				continue
			}
			dst = append(append(dst, s[done:i]...), "\ufffd"...)
		case c == '"' || c == '\\':
			dst = append(append(dst, s[done:i]...), '\\', c)
		case c >= ' ':
			continue
		case shortEscapes[c] != 0:
			dst = append(append(dst, s[done:i]...), '\\', shortEscapes[c])
		default:
			dst = append(append(dst, s[done:i]...), '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		done = i + 1
	}
	return append(dst, s[done:]...)
}

// AppendRepaired appends s with each byte of invalid UTF-8 replaced by U+FFFD,
// as encoding/json does.
func AppendRepaired(dst, s []byte) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		dst = utf8.AppendRune(dst, r)
		s = s[n:]
	}
	return dst
}
