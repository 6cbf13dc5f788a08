package logread

import (
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

// matches reports whether the JSON object details has the field with one of the
// values. A string is compared by its unescaped text, any other value by its
// JSON text. Invalid UTF-8, which only other programs store, is compared as
// U+FFFD, as responses show it.
func (f *fieldFilter) matches(details string, scratch *[]byte) bool {
	if strings.IndexByte(details, '\\') < 0 && !f.mayOccur(details) {
		return false
	}
	if !utf8.ValidString(details) {
		details = string(entry.AppendRepaired(nil, []byte(details)))
	}
	return hasField(details, f.name, f.values, scratch)
}

// mayOccur reports whether one of the values can be in details, which must not
// contain escapes: each value then occurs as it is, or contains a U+FFFD that
// can stand for invalid UTF-8.
func (f *fieldFilter) mayOccur(details string) bool {
	for _, value := range f.values {
		if strings.Contains(details, value) || strings.ContainsRune(value, utf8.RuneError) {
			return true
		}
	}
	return false
}

// hasField reports whether a JSON object has the key name with one of the values.
// If name starts with a key and a dot, hasField also looks for the rest of name
// in that key's object: a.b is the key "a.b" as well as the key "b" in the object
// "a". It stops at the first syntax error that it notices.
func hasField(object, name string, values []string, scratch *[]byte) bool {
	s, ok := strings.CutPrefix(trimJSONSpace(object), "{")
	for ok {
		var key, value string
		if key, s, ok = cutJSONValue(s); !ok || key[0] != '"' {
			return false
		}
		if s, ok = strings.CutPrefix(trimJSONSpace(s), ":"); !ok {
			return false
		}
		if value, s, ok = cutJSONValue(s); !ok {
			return false
		}
		key = jsonText(key, scratch)
		if key == name {
			text := jsonText(value, scratch)
			for _, want := range values {
				if text == want {
					return true
				}
			}
		} else if rest, nested := strings.CutPrefix(name, key); nested && rest[0] == '.' && value[0] == '{' {
			if hasField(value, rest[1:], values, scratch) {
				return true
			}
		}
		s, ok = strings.CutPrefix(trimJSONSpace(s), ",")
	}
	return false
}

func trimJSONSpace(s string) string {
	return strings.TrimLeft(s, " \t\r\n")
}

// cutJSONValue splits s after its first JSON value, and reports whether there is
// one. It finds where the value ends, but does not check that it is valid.
func cutJSONValue(s string) (value, rest string, ok bool) {
	s = trimJSONSpace(s)
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i = stringEnd(s, i); i >= len(s) {
				return "", "", false
			}
			if depth == 0 {
				return s[:i+1], s[i+1:], true
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:], true
			}
		}
		// A number, true, false or null ends before the next delimiter.
		if depth <= 0 && (i+1 == len(s) || strings.IndexByte(",:}] \t\r\n", s[i+1]) >= 0) {
			return s[:i+1], s[i+1:], depth == 0
		}
	}
	return "", "", false
}

// stringEnd returns the index of the closing quote of the JSON string that starts
// at s[i], or at least len(s) if there is none.
func stringEnd(s string, i int) int {
	for i++; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' {
			i++
		}
	}
	return i
}

// jsonText returns the unescaped text of a JSON string, and any other value
// unchanged.
func jsonText(value string, scratch *[]byte) string {
	if value[0] != '"' {
		return value
	}
	value = value[1 : len(value)-1]
	if strings.IndexByte(value, '\\') < 0 {
		return value
	}
	*scratch = entry.AppendUnescaped((*scratch)[:0], value)
	return string(*scratch)
}
