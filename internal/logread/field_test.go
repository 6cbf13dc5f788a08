package logread

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// hasField agrees with encoding/json on valid JSON, and does not panic on
// anything else.
func FuzzHasField(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"d\u00e9\ud83d\ude00\n"},"e":[1,{"f":2}],"g":""}`, "b.c")
	f.Add(`{"a\"b":"\\","x":null , "a":{"b.c":true}}`, "a.b.c")
	f.Add(`{"a":"x`, "a")
	f.Add(`{"a" 1}`, "a")
	f.Add(`}{`, "")
	f.Add("{\"a\":\"x\xff\"}", "a")
	f.Add("{\"a\":\"\\n\xff\",\"b\":[\"\xfe\"]}", "b")
	f.Fuzz(func(t *testing.T, object, name string) {
		var scratch []byte
		values := []string{}
		if json.Valid([]byte(object)) && strings.HasPrefix(strings.TrimLeft(object, " \t\r\n"), "{") {
			values = fieldValues(object, name)
			for _, value := range values {
				filter := fieldFilter{name: name, values: []string{value}}
				if !filter.matches(object, &scratch) {
					t.Errorf("field %q = %q does not match %q", name, value, object)
				}
			}
		}
		const missing = "no such value"
		got := hasField(object, name, []string{missing}, &scratch)
		if want := slices.Contains(values, missing); got != want {
			t.Errorf("hasField(%q, %q, %q) = %v, want %v", object, name, missing, got, want)
		}
	})
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
