package entry

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// unquoted returns the text of a JSON string according to encoding/json.
func unquoted(t *testing.T, quoted string) string {
	t.Helper()
	var text string
	if err := json.Unmarshal([]byte(quoted), &text); err != nil {
		t.Fatalf("%s: %v", quoted, err)
	}
	return text
}

func TestAppendUnquoted(t *testing.T) {
	for _, quoted := range []string{
		`""`, `"a"`, `"\""`, `"\\"`, `"\/"`, `"\b\f\n\r\t"`, `"a\nb"`, `"\u0041"`, `"\u00e9x"`, `"\u00E9"`, `"\u0000"`, `"é€😀"`,
		`"\ud83d\ude00"`, `"\uD83D\uDE00x"`, `"\ud800"`, `"\ud800x"`, `"\ud800\n"`, `"\udc00"`, `"\udc00\ud800"`,
		`"\ud800\ud800\udc00"`, `"\ud800\u0041"`, `"\\u0041"`, `"\\\u0041"`, `"\\\\"`,
	} {
		want := ">" + unquoted(t, quoted)
		if got := string(AppendUnquoted([]byte(">"), []byte(quoted))); got != want {
			t.Errorf("AppendUnquoted(%s) = %q, want %q", quoted, got, want)
		}
	}
}

func TestAppendUnescapedCopiesInvalidEscapes(t *testing.T) {
	for text, want := range map[string]string{
		``:                ``,
		`\`:               `\`,
		`a\`:              `a\`,
		`\x`:              `\x`,
		`\u`:              `\u`,
		`\u12`:            `\u12`,
		`\u12g4`:          `\u12g4`,
		`\u+123`:          `\u+123`,
		`\x\n`:            "\\x\n",
		`\ud800\u12`:      "\ufffd\\u12",
		`"\""`:            `"""`,
		"\xff\\n\xfe":     "\xff\n\xfe",
		`\u0041\`:         `A\`,
		"a\nb\x00" + `\t`: "a\nb\x00\t",
	} {
		if got := string(AppendUnescaped(nil, text)); got != want {
			t.Errorf("AppendUnescaped(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"":                            `""`,
		"a":                           `"a"`,
		`"\/`:                         `"\"\\/"`,
		"\b\f\n\r\t":                  `"\b\f\n\r\t"`,
		"\x00\x01\x1f\x7f":            `"\u0000\u0001\u001f` + "\x7f" + `"`,
		"<é€😀\u2028>":                 "\"<é€😀\u2028>\"",
		"\xff":                        "\"\ufffd\"",
		"a\xff\xfeb":                  "\"a\ufffd\ufffdb\"",
		"\xe2\x82":                    "\"\ufffd\ufffd\"",
		"\xe2\x82x\xed\xa0\x80\ufffd": "\"\ufffd\ufffdx\ufffd\ufffd\ufffd\ufffd\"",
	} {
		if got := string(AppendQuoted([]byte(">"), text)); got != ">"+want {
			t.Errorf("AppendQuoted(%q) = %q, want %q", text, got, ">"+want)
		}
		if got := string(AppendQuoted(nil, []byte(text))); got != want {
			t.Errorf("AppendQuoted of bytes (%q) = %q, want %q", text, got, want)
		}
	}
}

func TestAppendRepaired(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		"aé€😀\ufffd":           "aé€😀\ufffd",
		"\xff":                 "\ufffd",
		"a\xff\xfeb":           "a\ufffd\ufffdb",
		"\xe2\x82":             "\ufffd\ufffd",
		"\xed\xa0\x80":         "\ufffd\ufffd\ufffd",
		"\xf0\x9f\x98\x80\x80": "😀\ufffd",
	} {
		if got := string(AppendRepaired([]byte(">"), []byte(text))); got != ">"+want {
			t.Errorf("AppendRepaired(%q) = %q, want %q", text, got, ">"+want)
		}
	}
}

// FuzzJSONText checks that quoting and unquoting agree with encoding/json.
func FuzzJSONText(f *testing.F) {
	for _, text := range []string{"", "a\"\\\n\x00", `\ud800\udc00`, "\xff", `\u00`, "é😀"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := AppendQuoted(nil, text)
		repaired := string(AppendRepaired(nil, []byte(text)))
		if got := unquoted(t, string(quoted)); got != repaired {
			t.Errorf("AppendQuoted(%q) = %s, which encoding/json reads as %q, want %q", text, quoted, got, repaired)
		}
		if got := string(AppendUnquoted(nil, quoted)); got != repaired {
			t.Errorf("AppendUnquoted(%s) = %q, want %q", quoted, got, repaired)
		}
		if !utf8.ValidString(repaired) || !utf8.Valid(quoted) {
			t.Errorf("AppendRepaired(%q) = %q and AppendQuoted = %q, want valid UTF-8", text, repaired, quoted)
		}
		// If text makes a valid JSON string, it may contain escapes.
		if inside := []byte(`"` + text + `"`); json.Valid(inside) {
			want := unquoted(t, string(inside))
			if got := string(AppendRepaired(nil, AppendUnquoted(nil, inside))); got != want {
				t.Errorf("AppendUnquoted(%s) = %q, want %q", inside, got, want)
			}
		}
	})
}
