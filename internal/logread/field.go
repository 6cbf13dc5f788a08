package logread

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// A fieldFilter matches entries whose details have a field with the given name and
// one of the values.
type fieldFilter struct {
	name   string
	values []string
}

// mayOccur reports whether one of the values can be in details, which must not
// contain escapes: each value then occurs as it is, or contains a U+FFFD that
// can stand for invalid UTF-8.
func (f *fieldFilter) mayOccur(details string, w *work) bool {
	for _, value := range f.values {
		if strings.ContainsRune(value, utf8.RuneError) || containsPiecewise(details, value, w) {
			return true
		}
	}
	return false
}

// isValue reports whether text is one of the values.
func (f *fieldFilter) isValue(text string) bool {
	for _, value := range f.values {
		if text == value {
			return true
		}
	}
	return false
}

// maxLen returns the length of the longest value.
func (f *fieldFilter) maxLen() int {
	n := 0
	for _, value := range f.values {
		n = max(n, len(value))
	}
	return n
}

// nameCost is the cost of comparing a key with the name of a field, in examined
// bytes.
const nameCost = 8

// A wantedName is the name of a field relative to an object.
type wantedName struct {
	field int // index in fieldWalk.fields
	name  string
}

// A fieldWalk reads the JSON object details once, whatever the number of field
// filters. It can be used for one object after another.
type fieldWalk struct {
	w      *work
	fields []fieldFilter // at most 64

	s        string
	i        int // the next byte to read
	reported int // the bytes before this index were reported to w
	matched  uint64
	stack    []wantedName // the names of all open objects
}

// match reports whether the JSON object details matches all field filters. A
// filter matches if the object has the key name with one of the values. If name
// starts with a key and a dot, match also looks for the rest of name in that
// key's object: a.b is the key "a.b" as well as the key "b" in the object "a".
//
// A string is compared by its unescaped text, any other value by its JSON text.
// Invalid UTF-8, which only other programs store, is compared as U+FFFD, as
// responses show it. match stops at the first syntax error that it notices.
func (x *fieldWalk) match(fields []fieldFilter, details string, w *work) bool {
	if !containsPiecewise(details, `\`, w) {
		for i := range fields {
			if !fields[i].mayOccur(details, w) {
				return false
			}
		}
	}
	all := uint64(1)<<len(fields) - 1
	return x.walk(fields, details, w, func(matched uint64) bool { return matched == all }) == all
}

// matchAny reports whether the JSON object details matches one of the field filters.
func (x *fieldWalk) matchAny(fields []fieldFilter, details string, w *work) bool {
	if !containsPiecewise(details, `\`, w) {
		mayOccur := func(f fieldFilter) bool { return f.mayOccur(details, w) }
		if !slices.ContainsFunc(fields, mayOccur) {
			return false
		}
	}
	return x.walk(fields, details, w, func(matched uint64) bool { return matched != 0 }) != 0
}

// walk reads details until it has found enough of the fields, and returns which, as
// bits 1<<index.
func (x *fieldWalk) walk(fields []fieldFilter, details string, w *work, enough func(uint64) bool) uint64 {
	x.w, x.fields, x.s, x.i, x.reported, x.matched = w, fields, details, 0, 0, 0
	x.stack = x.stack[:0]
	for i := range fields {
		x.stack = append(x.stack, wantedName{i, fields[i].name})
	}
	if x.next('{') {
		for x.member(x.stack) && !enough(x.matched) && x.next(',') {
		}
	}
	x.s = "" // SQLite owns the memory
	return x.matched
}

// member reads the next member of an object in which names are wanted. If it
// returns false, there is no complete member, and nothing in it matched.
func (x *fieldWalk) member(wanted []wantedName) bool {
	x.skipSpace()
	start := x.i
	if !x.skip(0) || x.s[start] != '"' {
		return false
	}
	rawKey := x.s[start:x.i]
	if !x.next(':') {
		return false
	}
	x.skipSpace()
	start = x.i
	isObject := x.i < len(x.s) && x.s[x.i] == '{'

	// Find the names that the key has, and those that continue in the value.
	found, outer := uint64(0), len(x.stack)
	if key, ok := x.text(rawKey, longest(wanted)); ok {
		for _, want := range wanted {
			if want.name == key {
				found |= 1 << want.field
			} else if rest, ok := strings.CutPrefix(want.name, key); ok && rest[0] == '.' && isObject {
				x.stack = append(x.stack, wantedName{want.field, rest[1:]})
			}
		}
	}
	before := x.matched
	if len(x.stack) == outer {
		if !x.skip(0) {
			return false
		}
	} else if !x.object(outer) {
		x.matched = before
		return false
	}
	for ; found != 0; found &= found - 1 {
		i := bits.TrailingZeros64(found)
		if text, ok := x.text(x.s[start:x.i], x.fields[i].maxLen()); ok && x.fields[i].isValue(text) {
			x.matched |= 1 << i
		}
	}
	return x.report(nameCost * (len(wanted) - 1))
}

// object reads an object in which the names from index outer of the stack are
// wanted, and removes them. It reports whether the object ends.
func (x *fieldWalk) object(outer int) bool {
	wanted := x.stack[outer:]
	x.i++
	for x.member(wanted) && x.next(',') {
	}
	x.stack = x.stack[:outer]
	// Only the closing brace is left, unless there was a syntax error.
	return x.w.err == nil && x.skip(1)
}

// longest returns the length of the longest name.
func longest(wanted []wantedName) int {
	n := 0
	for i := range wanted {
		n = max(n, len(wanted[i].name))
	}
	return n
}

// text returns the unescaped text of a JSON string, or the JSON text of any other
// value, in valid UTF-8. ok is false if it is longer than maxLen.
func (x *fieldWalk) text(value string, maxLen int) (text string, ok bool) {
	isString := value[0] == '"'
	if isString {
		value = value[1 : len(value)-1]
	}
	if len(value) > len(`\u0000`)*maxLen { // each byte of text is at most one escape
		return "", false
	}
	if !utf8.ValidString(value) {
		value = string(entry.AppendRepaired(nil, []byte(value)))
	}
	if isString && strings.IndexByte(value, '\\') >= 0 {
		x.w.buf = entry.AppendUnescaped(x.w.buf[:0], value)
		value = string(x.w.buf)
	}
	return value, len(value) <= maxLen
}

// next skips white space and the byte c, and reports whether c was there.
func (x *fieldWalk) next(c byte) bool {
	x.skipSpace()
	if x.i == len(x.s) || x.s[x.i] != c {
		return false
	}
	x.i++
	return true
}

func (x *fieldWalk) skipSpace() {
	for x.i < len(x.s) && isSpace(x.s[x.i]) {
		x.i++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// skip skips a value if depth is 0, or else the rest of as many nested objects and
// arrays. It finds where the value ends, but does not check that it is valid. It
// returns false if there is no value or no end, or if the scan must end.
func (x *fieldWalk) skip(depth int) bool {
	s, i := x.s, x.i
	for i < len(s) {
		for end := min(len(s), i+pieceSize); i < end; {
			c := s[i]
			i++
			switch c {
			case '"':
				var ok bool
				if i, ok = x.skipString(i); !ok || depth == 0 {
					x.i = i
					return ok
				}
			case '{', '[':
				depth++
			case '}', ']':
				if depth == 0 {
					x.i = i - 1 // the end of the enclosing object, not a value
					return false
				}
				if depth--; depth == 0 {
					x.i = i
					return true
				}
			}
			// A number, true, false or null ends before the next delimiter.
			if depth == 0 && (i == len(s) || isDelimiter(s[i])) {
				x.i = i
				return true
			}
		}
		if x.i = i; !x.report(0) {
			return false
		}
	}
	x.i = i
	return false
}

func isDelimiter(c byte) bool {
	return isSpace(c) || c == ',' || c == ':' || c == '}' || c == ']'
}

// skipString returns the index after the JSON string in which i is. ok is false if
// the string does not end, or if the scan must end.
func (x *fieldWalk) skipString(i int) (next int, ok bool) {
	s := x.s
	for i < len(s) {
		end := min(len(s), i+pieceSize)
		for i < end && s[i] != '"' {
			if s[i] == '\\' {
				i++
			}
			i++
		}
		if i < end {
			return i + 1, true
		}
		if x.i = min(i, len(s)); !x.report(0) {
			return x.i, false
		}
	}
	return len(s), false
}

// report reports the bytes before x.i, and extra bytes, to the scan's work.
func (x *fieldWalk) report(extra int) bool {
	n := x.i - x.reported
	x.reported = x.i
	return x.w.examine(n + extra)
}
