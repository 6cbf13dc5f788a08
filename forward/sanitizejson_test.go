package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSanitizeJSON(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for _, c := range []struct{ in, want string }{
		{`{}`, `{}`},
		{`{"a": [1, -2.5e3, "x", true, null, {"b": ""}]}`, `{"a": [1, -2.5e3, "x", true, null, {"b": ""}]}`},
		{`{"a":"\u0000"}`, `{"a":"` + replacement + `"}`},
		{`{"a\u0000b":1}`, `{"a` + replacement + `b":1}`},
		{`"\\u0000"`, `"\\u0000"`},
		{`"\\\u0000"`, `"\\` + replacement + `"`},
		{`"\ud83d\ude00"`, `"\ud83d\ude00"`},
		{`"\uD83D\uDE00"`, `"\uD83D\uDE00"`},
		{`"\ud83d"`, `"` + replacement + `"`},
		{`"\ude00"`, `"` + replacement + `"`},
		{`"\ud83d\ud83d\ude00"`, `"` + replacement + `\ud83d\ude00"`},
		{`"\ude00\ud83d"`, `"` + replacement + replacement + `"`},
		{`"\ud83d\n\ude00"`, `"` + replacement + `\n` + replacement + `"`},
		{`"\ud83dxude00"`, `"` + replacement + `xude00"`},
		{`"\ud83d\u0041"`, `"` + replacement + `\u0041"`},
		{`"\u00e9\"\u20ac"`, `"\u00e9\"\u20ac"`},
		{"{\"a\":\"\xff\"}", `{"a":"` + replacement + `"}`},
		{"{\"a\":\"\x00\"}", `{"a":"` + replacement + `"}`},
		{`1e400`, `1e400`},
		{`[1e131000,1]`, `[1e131000,1]`},
		{`[1e200000,1]`, `["1e200000",1]`},
		{`{"a":-1e-20000}`, `{"a":"-1e-20000"}`},
		{`1E99999999999999999999`, `"1E99999999999999999999"`},
		{strings.Repeat("9", 131_072), `"` + strings.Repeat("9", 131_072) + `"`},
		{`0.` + strings.Repeat("1", 16_384), `"0.` + strings.Repeat("1", 16_384) + `"`},
		{`"1e200000"`, `"1e200000"`},
		{nested(maxDepth), nested(maxDepth)},
		{`"` + nested(maxDepth+1) + `,,,"`, `"` + nested(maxDepth+1) + `,,,"`},
	} {
		got, ok := sanitizeJSON(c.in)
		if !ok || got != c.want {
			t.Errorf("sanitizeJSON(%.80q) = %.80q, %v; want %.80q", c.in, got, ok, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("sanitizeJSON(%.80q) = %.80q, want valid JSON", c.in, got)
		}
	}
	for _, in := range []string{
		"", " ", "{", "{}x", "nul", `{"a":}`, `{'a':1}`, "\"\n\"", `"\x"`, `"\u12"`, "NaN", "01", "\xff", "\x00",
		nested(maxDepth + 1), nested(100_000),
		"[1" + strings.Repeat(",1", maxValues-1) + "]",
	} {
		if got, ok := sanitizeJSON(in); ok {
			t.Errorf("sanitizeJSON(%.80q) = %.80q, want it rejected", in, got)
		}
	}
}

// sanitizeJSON must accept the same texts as encoding/json, and the tokens of the
// result must be those of the text except for what is replaced.
func FuzzSanitizeJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e+3,"\u00e9\ud83d\ude00\ud83d",true,null,{}],"b":{"c":[]}} `, `1e200000`, `-0.0E-99999`, `"\u0000"`,
		`{"a":1,}`, `[1 2]`, `tru`, `"\ud83d\u12"`, "\"\xff\x00\"", `01`, `1.`, `-`, `1e`, `"\`, `{"a"`, `{1:2}`, "\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Count(s, "[")+strings.Count(s, "{") > maxDepth {
			return // may be too deep
		}
		got, ok := sanitizeJSON(s)
		if want := json.Valid([]byte(sanitizeText(s))); ok != want {
			t.Fatalf("sanitizeJSON(%q): got valid %v, want %v", s, ok, want)
		}
		if !ok {
			return
		}
		if again, ok := sanitizeJSON(got); !ok || again != got {
			t.Errorf("sanitizeJSON(%q) = %q, %v; want no change", got, again, ok)
		}
		before, after := json.NewDecoder(strings.NewReader(sanitizeText(s))), json.NewDecoder(strings.NewReader(got))
		before.UseNumber()
		after.UseNumber()
		for {
			want, wantErr := before.Token()
			token, err := after.Token()
			if err != wantErr {
				t.Fatalf("sanitizeJSON(%q) = %q: got error %v, want %v", s, got, err, wantErr)
			}
			if err != nil {
				break
			}
			if text, ok := want.(string); ok {
				want = strings.ReplaceAll(text, "\x00", replacement)
			}
			if number, ok := want.(json.Number); ok && token == string(number) {
				continue // quoted because it is out of range
			}
			if token != want {
				t.Fatalf("sanitizeJSON(%q) = %q: got token %v, want %v", s, got, token, want)
			}
		}
	})
}
