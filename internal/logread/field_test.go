package logread

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// matchFields reports whether details have all fields.
func matchFields(details string, fields ...fieldFilter) bool {
	var x fieldWalk
	return x.match(fields, details, newWork())
}

// A field filter agrees with encoding/json on valid JSON, and does not panic on
// anything else.
func FuzzFieldFilter(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"d\u00e9\ud83d\ude00\n"},"e":[1,{"f":2}],"g":""}`, "b.c")
	f.Add(`{"a\"b":"\\","x":null , "a":{"b.c":true}}`, "a.b.c")
	f.Add(`{"a":"x`, "a")
	f.Add(`{"a" 1}`, "a")
	f.Add(`}{`, "")
	f.Add("{\"a\":\"x\xff\"}", "a")
	f.Add("{\"a\":\"\\n\xff\",\"b\":[\"\xfe\"]}", "b")
	f.Add("{\"a\":{\"b\xff\":{}, \"b\ufffd\":{\"c\":[]}}}", "a.b\ufffd.c")
	f.Fuzz(func(t *testing.T, object, name string) {
		values := []string{}
		if json.Valid([]byte(object)) && strings.HasPrefix(strings.TrimLeft(object, " \t\r\n"), "{") {
			values = fieldValues(object, name)
			for _, value := range values {
				if !matchFields(object, fieldFilter{name, []string{value}}) {
					t.Errorf("field %q = %q does not match %q", name, value, object)
				}
			}
		}
		const missing = "no such value"
		got := matchFields(object, fieldFilter{name, []string{missing}})
		if want := slices.Contains(values, missing); got != want {
			t.Errorf("field %q = %q matches %q: %v, want %v", name, missing, object, got, want)
		}
	})
}

// Several field filters, evaluated in one walk, agree with a reference that
// evaluates one after the other and cuts out each nested value, also for text that
// is not JSON.
func FuzzFieldFilters(f *testing.F) {
	f.Add(`{"a":{"b":{"c":1,"d":"x"}},"e":[{"a":2}]}`, "a.b.c", "1", "a.b.d", "x", "e", `[{"a":2}]`)
	f.Add(`{"a":{"b":1},"a.b":2,"a":{"b":3}}`, "a.b", "2", "a", `{"b":3}`, "a.b", "1")
	f.Add(`{"a":{"b":1},"c":{"d":2`, "a.b", "1", "c.d", "2", "a", `{"b":1}`)
	f.Add(`{"a":{"b":1 "c":2},"d":3}`, "a.b", "1", "a.c", "2", "d", "3")
	f.Add(`{"a":{"b" 1},"a":{"b":]},"d":3}`, "a.b", "1", "d", "3", "d", "4")
	f.Add(`{"a":1{"b":2},"c":"\u0064"x}`, "a", `1{"b":2}`, "a.b", "2", "c", "d")
	f.Add("{\"\":{\"a\xff\":\"\\u00fc\xff\",\"b\":{}}}", ".a\ufffd", "ü\ufffd", ".b", "{}", "x", "y")
	f.Add(`{"a\u002eb":{"c":"\ud83d\ude00"},"a":[}`, "a.b.c", "😀", "a", "[}", "a.b", `{"c":"\ud83d\ude00"}`)
	f.Add(deepObject(300, `{"b":"x","c.d":true}`), strings.Repeat("a.", 300)+"b", "x",
		strings.Repeat("a.", 300)+"c.d", "true", strings.Repeat("a.", 200)+"x", "")
	f.Fuzz(func(t *testing.T, object, name1, value1, name2, value2, name3, value3 string) {
		fields := []fieldFilter{
			{name1, []string{value1, value2}},
			{name2, []string{value2}},
			{name3, []string{value3, value1}},
			{name1 + "." + name2, []string{value2}},
		}
		want := make([]bool, len(fields))
		for i := range fields {
			want[i] = referenceMatches(object, &fields[i])
			if got := matchFields(object, fields[i]); got != want[i] {
				t.Errorf("field %q matches %q: %v, want %v", fields[i], object, got, want[i])
			}
		}
		var x fieldWalk
		w := newWork()
		for i := range fields {
			for n := i + 1; n <= len(fields); n++ {
				got := x.match(fields[i:n], object, w)
				if want := !slices.Contains(want[i:n], false); got != want {
					t.Errorf("fields %q match %q: %v, want %v", fields[i:n], object, got, want)
				}
			}
		}
	})
}

// deepObject returns an object in which the value is nested in depth keys "a".
func deepObject(depth int, value string) string {
	return strings.Repeat(`{"a":`, depth) + value + strings.Repeat("}", depth)
}

// An entry with many levels and many conditions costs as many bytes as its size
// times the number of conditions, and each further condition on its depth costs
// nothing.
func TestFieldFiltersLinearWork(t *testing.T) {
	const depth, conditions = 240, 60
	leaf := `{"leaf":"` + strings.Repeat(`x\n`, 1<<20) + `","last":"found"}`
	details := deepObject(depth, leaf)
	var fields []fieldFilter
	for i := range conditions {
		name := strings.Repeat("a.", depth-i)
		fields = append(fields, fieldFilter{name + "last", []string{"found"}})
	}
	var x fieldWalk
	w := newWork()
	if got := x.match(fields[:1], details, w); !got {
		t.Error("the deepest field does not match")
	}
	if x.match(fields, details, w) {
		t.Error("fields that do not exist match")
	}
	// Two searches for a backslash, which is near the start, and two walks.
	if got, limit := w.total(), int64(2*len(details)+4*pieceSize+2*depth*conditions*nameCost); got > limit {
		t.Errorf("examined %d bytes of an entry of %d bytes, want at most %d", got, len(details), limit)
	}

	plain := strings.ReplaceAll(details, `\n`, "yy")
	w = newWork()
	if x.match(fields, plain, w) {
		t.Error("fields that do not exist match")
	}
	if got, limit := w.total(), int64((conditions+3)*len(plain)); got > limit {
		t.Errorf("examined %d bytes of an entry of %d bytes, want at most %d", got, len(plain), limit)
	}
}

// Values larger than a piece are found.
func TestFieldFilterLargeValues(t *testing.T) {
	for _, n := range []int{pieceSize - 1, pieceSize, pieceSize + 1, 3*pieceSize + 7} {
		for _, filler := range []string{"x", `\n`, "ü", `\\`, `\"`} {
			for offset := range 3 {
				long := strings.Repeat("z", offset) + strings.Repeat(filler, n/len(filler))
				details := fmt.Sprintf(`{"a":{"long":"%s","b":"v"},"%s":1,"c":[%s],"d":2}`, long, long, strings.Repeat("1,", n/2)+"1")
				if !json.Valid([]byte(details)) {
					t.Fatal("the details are not valid JSON")
				}
				want := string(entry.AppendUnescaped(nil, long))
				for _, field := range []fieldFilter{
					{"a.long", []string{want}},
					{want, []string{"1"}},
					{"a.b", []string{"v"}},
					{"d", []string{"2"}},
				} {
					if !matchFields(details, field) {
						t.Errorf("field %.20q does not match an entry with %d bytes of %q", field.name, n, filler)
					}
				}
				if matchFields(details, fieldFilter{"a.long", []string{want[1:]}}) {
					t.Errorf("a part of the value matches an entry with %d bytes of %q", n, filler)
				}
			}
		}
	}
}

// referenceMatches reports whether details match f. It cuts out each nested value
// and reads it again.
func referenceMatches(details string, f *fieldFilter) bool {
	if !utf8.ValidString(details) {
		details = string(entry.AppendRepaired(nil, []byte(details)))
	}
	return referenceHasField(details, f.name, f.values)
}

func referenceHasField(object, name string, values []string) bool {
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
		key = jsonText(key)
		if key == name {
			if slices.Contains(values, jsonText(value)) {
				return true
			}
		} else if rest, nested := strings.CutPrefix(name, key); nested && rest[0] == '.' && value[0] == '{' {
			if referenceHasField(value, rest[1:], values) {
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
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if i >= len(s) {
				return "", "", false
			}
			if depth == 0 {
				return s[:i+1], s[i+1:], true
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return "", "", false
			}
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:], true
			}
		}
		if depth == 0 && (i+1 == len(s) || strings.IndexByte(",:}] \t\r\n", s[i+1]) >= 0) {
			return s[:i+1], s[i+1:], true
		}
	}
	return "", "", false
}

// jsonText returns the unescaped text of a JSON string, and any other value
// unchanged.
func jsonText(value string) string {
	if value[0] != '"' {
		return value
	}
	return string(entry.AppendUnescaped(nil, value[1:len(value)-1]))
}

// fieldValues returns all values that a filter with the name compares, decoded
// by encoding/json.
func fieldValues(object, name string) []string {
	d := json.NewDecoder(strings.NewReader(object))
	var values []string
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil
		}
		key := token.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil
		}
		if key == name {
			var text string
			if json.Unmarshal(value, &text) != nil || value[0] != '"' {
				text = string([]rune(string(value))) // invalid UTF-8 becomes U+FFFD
			}
			values = append(values, text)
		} else if rest, ok := strings.CutPrefix(name, key+"."); ok && value[0] == '{' {
			values = append(values, fieldValues(string(value), rest)...)
		}
	}
	return values
}
