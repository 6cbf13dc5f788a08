package logread

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzJSONValidator compares a jsonValidator with json.Valid, for any cut.
func FuzzJSONValidator(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-0.5e+10,true,false,null,"\u00e4\n"],"b":{}}`, ` [ ] `, `{"a" : 1 , "b":[ ]}`, `"text"`, `12`, `-`, `01`,
		`1.`, `1.e1`, `1e`, `1e+`, `-0`, `0.0`, `[1,]`, `{"a":1,}`, `{"a"}`, `{1:2}`, `[1}`, `{"a":1]`, `tru`, `trues`,
		`"\x"`, `"\u12g4"`, `"\u12`, "\"\x01\"", "\"\xff\"", `[[[]]]`, `1 2`, `{} {}`, ``, ` `, `]`, `[-]`, `[1.5E-3]`,
		"[1\n,\r2\t]", `{"a":"b" "c"}`, `[0x1]`, `[.5]`, `[+1]`, `[1 2]`, "\ufeff{}",
	} {
		f.Add([]byte(s), 0)
		f.Add([]byte(s), len(s)/2)
	}
	f.Fuzz(func(t *testing.T, s []byte, cut int) {
		if cut < 0 || cut > len(s) {
			return
		}
		var v jsonValidator
		got := v.write(s[:cut]) && v.write(s[cut:]) && v.valid()
		if want := json.Valid(s); got != want {
			t.Errorf("%q cut at %d: got %v, want %v", s, cut, got, want)
		}
	})
}

func TestJSONValidatorNesting(t *testing.T) {
	for _, depth := range []int{1, 63, 64, 65, maxNesting - 1, maxNesting, maxNesting + 1, 3 * maxNesting} {
		for _, pair := range [][2]string{{"[", "]"}, {`{"":`, "}"}, {`[{"":`, "}]"}} {
			s := []byte(strings.Repeat(pair[0], depth) + "1" + strings.Repeat(pair[1], depth))
			for _, s := range [][]byte{s, s[:len(s)-1], append(s, ']')} {
				var v jsonValidator
				if got, want := v.write(s) && v.valid(), json.Valid(s); got != want {
					t.Errorf("%d times %s: got %v, want %v", depth, pair[0], got, want)
				}
			}
		}
	}
}

func BenchmarkJSONValidator(b *testing.B) {
	const element = `{"service":"checkout","order":17,"retry":true,"user":{"id":7,"name":"J\u00fcrgen"}},`
	s := []byte(`[` + strings.Repeat(element, 10_000) + `1]`)
	b.Run("impl=piecewise", func(b *testing.B) {
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			var v jsonValidator
			if !v.write(s) || !v.valid() {
				b.Fatal("got invalid, want valid")
			}
		}
	})
	b.Run("impl=json", func(b *testing.B) {
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			if !json.Valid(s) {
				b.Fatal("got invalid, want valid")
			}
		}
	})
}
