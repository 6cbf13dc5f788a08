package main

import "log-ingester/internal/entry"

// A genericScanner is the portable implementation of levelScanner. It is also the
// only one that reports where and why a body is invalid.
type genericScanner struct {
	validator
	scanResult
}

// scan implements levelScanner.scan.
func (s *genericScanner) scan(body []byte, min entry.Level) *scanError {
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

// afterArray checks the rest of the body after an array of n entries.
func (s *genericScanner) afterArray(body []byte, i, n int) *scanError {
	if i = skipSpace(body, i); i < len(body) {
		return s.refuse(n, s.unexpected(body, i, "after the array"))
	}
	return nil
}

// refuse returns the error that a method of the validator found in entry n. end
// is what the method returned: the complement of the error's offset.
func (s *genericScanner) refuse(n, end int) *scanError {
	return &scanError{reason: s.reason, entry: n, offset: ^end}
}

// notAnEntry refuses body[i], which does not start an object.
func (s *genericScanner) notAnEntry(body []byte, i int) int {
	switch c := body[i]; {
	case c == '-', '0' <= c && c <= '9', c == 't', c == 'f', c == 'n':
		if s.skipScalar(body, i) < 0 { // "not found", for example
			s.reason = "the body is not JSON"
			return ^i
		}
		fallthrough
	case c == '"', c == '[':
		s.reason = "an element is not an object"
		return ^i
	}
	return s.unexpected(body, i, "where an entry should begin")
}

// maxEscapedKey is the length of the longest level key with its quotes if each
// character is an escape, such as \u0061. Longer keys are not unescaped.
const maxEscapedKey = len(`"log.level"`) * len(`\u0061`)

// scanEntry checks the entry at body[i] and returns its end and its level. If
// the entry is invalid, end is negative as in validator.
func (s *genericScanner) scanEntry(body []byte, i, depth int) (end int, l entry.Level) {
	var (
		rank     = noLevelRank // of the best level key so far
		afterKey int           // the offset after that key
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
		if escaped && end-key <= maxEscapedKey {
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
			rank, afterKey = r, end
		}

		if i < len(body) && body[i] <= ' ' {
			i = skipSpace(body, i)
		}
		if i >= len(body) {
			return s.truncated(body, "body ends inside an entry"), 0
		}
		if body[i] == '}' {
			return i + 1, levelByKey(&s.validator, body, rank, afterKey)
		}
		if body[i] != ',' {
			return s.unexpected(body, i, "after a value"), 0
		}
		if i++; i < len(body) && body[i] != '"' {
			i = skipSpace(body, i)
		}
	}
}
