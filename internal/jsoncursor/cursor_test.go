package jsoncursor

import (
	"encoding/json"
	"strings"
	"testing"
)

// decode reads the next value with a cursor into what encoding/json decodes it to.
func decode(c *Cursor) any {
	switch c.Peek() {
	case '{':
		object := map[string]any{}
		for c.Enter(); c.More(); {
			key := string(c.Key())
			object[key] = decode(c)
		}
		return object
	case '[':
		list := []any{}
		for c.Enter(); c.More(); {
			list = append(list, decode(c))
		}
		return list
	}
	var v any
	if err := json.Unmarshal(c.Skip(), &v); err != nil {
		panic(err)
	}
	return v
}

func FuzzCursor(f *testing.F) {
	for _, text := range []string{
		`{}`, `[]`, `1`, `"a"`, `{"a":1,"b":[true,false,null,-1.5e3,""],"c":{"d":{}}}`,
		` { "a" : [ 1 , "x" ] , "b" : "\\" } `,
		`["\"","\\","\\\"","a\\\\","{[","\u0041"]`, `{"\u0061":{"b\"":"}"}}`, "[\r\n1,\t2\n]", `[[[]],{"a":[{}]}]`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want any
		text = strings.ToValidUTF8(text, "")
		if json.Unmarshal([]byte(text), &want) != nil || hasLongKey(want) {
			return
		}
		c := Cursor{[]byte(text)}
		wantJSON, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		gotJSON, err := json.Marshal(decode(&c))
		if err != nil {
			t.Fatal(err)
		}
		if string(gotJSON) != string(wantJSON) {
			t.Errorf("%s: got %s, want %s", text, gotJSON, wantJSON)
		}
		if rest := strings.TrimSpace(string(c.Rest)); rest != "" {
			t.Errorf("%s: got the rest %q, want none", text, rest)
		}
	})
}

// hasLongKey reports whether v has a key that Key does not return.
func hasLongKey(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if len(key) > MaxKey || hasLongKey(value) {
				return true
			}
		}
	case []any:
		for _, value := range v {
			if hasLongKey(value) {
				return true
			}
		}
	}
	return false
}

func TestLongKeys(t *testing.T) {
	for key, want := range map[string]bool{
		strings.Repeat("k", MaxKey):            true,
		strings.Repeat("k", MaxKey+1):          false,
		strings.Repeat(`\u006b`, MaxKey):       true,
		strings.Repeat(`\u006b`, MaxKey+1):     false,
		strings.Repeat(`\n`, MaxKey+1):         false,
		strings.Repeat(`\n`, 3*MaxKey) + "key": false,
	} {
		c := Cursor{[]byte(`{"` + key + `":1}`)}
		c.Enter()
		c.More()
		if got := c.Key() != nil; got != want {
			t.Errorf("a key of %d bytes: got a text %v, want %v", len(key), got, want)
		}
		if got := string(c.Skip()); got != "1" {
			t.Errorf("got the value %s, want 1", got)
		}
	}
}
