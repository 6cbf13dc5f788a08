package main

import (
	"strconv"
	"strings"
)

const (
	// maxDepth limits nesting. The parser of jsonb recurses within
	// max_stack_depth, whose default of 2 MB allows about 6,000 levels.
	maxDepth = 1000
	// maxValues limits the number of values. Each takes about 50 bytes of the
	// server's memory.
	maxValues = 1_000_000
	// maxExponent exceeds the range of numeric. A number with a larger exponent,
	// of either sign, is quoted regardless of its digits.
	maxExponent = 200_000
)

// sanitizeJSON replaces what jsonb cannot store. It returns false if text is
// not JSON as defined by RFC 8259 or exceeds maxDepth or maxValues.
func sanitizeJSON(text string) (string, bool) {
	s := jsonSanitizer{in: sanitizeText(text)}
	if !s.value(0) {
		return "", false
	}
	if s.space(); s.pos < len(s.in) {
		return "", false
	}
	if s.copied == 0 {
		return s.in, true
	}
	s.replace(s.pos, s.pos, "")
	return string(s.out), true
}

// A jsonSanitizer validates JSON in one pass. It copies the text only once
// there is something to replace. Its parsing methods read from pos on and
// report whether the text is valid there.
type jsonSanitizer struct {
	in     string
	pos    int
	values int
	out    []byte
	copied int // length of the prefix of in that is in out
}

// replace copies the text up to from, then with in place of in[from:to].
func (s *jsonSanitizer) replace(from, to int, with string) {
	s.out = append(s.out, s.in[s.copied:from]...)
	s.out = append(s.out, with...)
	s.copied = to
}

func (s *jsonSanitizer) space() {
	for s.pos < len(s.in) && (s.in[s.pos] == ' ' || s.in[s.pos] == '\n' || s.in[s.pos] == '\t' || s.in[s.pos] == '\r') {
		s.pos++
	}
}

// peek returns the next byte, or 0 at the end.
func (s *jsonSanitizer) peek() byte {
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

// skip skips white space and then c. It reports whether c was there.
func (s *jsonSanitizer) skip(c byte) bool {
	s.space()
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *jsonSanitizer) value(depth int) bool {
	if s.values++; s.values > maxValues {
		return false
	}
	s.space()
	switch c := s.peek(); {
	case c == '"':
		return s.stringLiteral()
	case c == '-', '0' <= c && c <= '9':
		return s.number()
	case c == '{':
		return s.container('}', depth)
	case c == '[':
		return s.container(']', depth)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.in[s.pos:], word) {
			s.pos += len(word)
			return true
		}
	}
	return false
}

// container reads an object or an array, which end identifies, inside depth
// containers.
func (s *jsonSanitizer) container(end byte, depth int) bool {
	if depth == maxDepth {
		return false
	}
	s.pos++
	if s.skip(end) {
		return true
	}
	for {
		if end == '}' {
			if s.space(); s.peek() != '"' || !s.stringLiteral() || !s.skip(':') {
				return false
			}
		}
		if !s.value(depth + 1) {
			return false
		}
		if s.skip(end) {
			return true
		}
		if !s.skip(',') {
			return false
		}
	}
}

func (s *jsonSanitizer) stringLiteral() bool {
	for s.pos++; s.pos < len(s.in); s.pos++ {
		switch c := s.in[s.pos]; {
		case c == '"':
			s.pos++
			return true
		case c == '\\':
			if s.pos++; s.peek() == 'u' {
				if !s.unicodeEscape() {
					return false
				}
			} else if c := s.peek(); c == 0 || strings.IndexByte(`"\/bfnrt`, c) < 0 {
				return false
			}
		case c < ' ':
			return false
		}
	}
	return false
}

// unicodeEscape reads uXXXX and, after a leading surrogate, the trailing
// surrogate \uXXXX. It stops at the last digit. It replaces \u0000 and lone
// surrogates.
func (s *jsonSanitizer) unicodeEscape() bool {
	first, ok := hex4(s.in[s.pos+1:])
	if !ok {
		return false
	}
	s.pos += 4
	if first != 0 && !isLead(first) && !isTrail(first) {
		return true
	}
	if rest := s.in[s.pos+1:]; isLead(first) && strings.HasPrefix(rest, `\u`) {
		if second, ok := hex4(rest[2:]); ok && isTrail(second) {
			s.pos += 6
			return true
		}
	}
	s.replace(s.pos-5, s.pos+1, replacement)
	return true
}

func hex4(s string) (uint64, bool) {
	if len(s) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:4], 16, 16)
	return v, err == nil
}

func isLead(v uint64) bool  { return 0xD800 <= v && v < 0xDC00 }
func isTrail(v uint64) bool { return 0xDC00 <= v && v < 0xE000 }

// number reads a number and quotes it if numeric cannot store it. The type
// numeric stores up to 131,072 digits before the decimal point and 16,383 after
// it, in groups of four. The limits here are a little lower because of the
// groups.
func (s *jsonSanitizer) number() bool {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	first := s.peek()
	whole := s.digits()
	if whole == 0 || whole > 1 && first == '0' {
		return false
	}
	fraction, exponent := 0, 0
	if s.peek() == '.' {
		s.pos++
		if fraction = s.digits(); fraction == 0 {
			return false
		}
	}
	if s.peek()|0x20 == 'e' {
		s.pos++
		sign := s.pos
		if c := s.peek(); c == '-' || c == '+' {
			s.pos++
		}
		if s.digits() == 0 {
			return false
		}
		var err error
		exponent, err = strconv.Atoi(s.in[sign:s.pos])
		if err != nil || exponent < -maxExponent || exponent > maxExponent {
			exponent = maxExponent
		}
	}
	if whole+exponent > 131_064 || fraction-exponent > 16_376 {
		s.replace(start, s.pos, `"`+s.in[start:s.pos]+`"`)
	}
	return true
}

// digits skips digits and returns their number.
func (s *jsonSanitizer) digits() int {
	start := s.pos
	for s.pos < len(s.in) && '0' <= s.in[s.pos] && s.in[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}
