package main

import (
	"database/sql"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSanitizeText(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"plain":                "plain",
		"äöü €😀":               "äöü €😀",
		"a\x00b":               "a\uFFFDb",
		"\x00\x00":             "\uFFFD\uFFFD",
		"a\xffb":               "a\uFFFDb",
		"\xed\xa0\x80":         "\uFFFD", // a surrogate, encoded as if it were a character
		"cut off \xe2\x82":     "cut off \uFFFD",
		"\uFFFD stays":         "\uFFFD stays",
		"line\nbreak\tand\x01": "line\nbreak\tand\x01",
	} {
		if got := sanitizeText(in); got != want {
			t.Errorf("sanitizeText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSanitizeJSON(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for _, c := range []struct {
		in   string
		want string
	}{
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
			t.Errorf("sanitizeJSON(%.80q) = %.80q, which is no JSON", c.in, got)
		}
	}
	for _, in := range []string{
		"", " ", "{", "{}x", "nul", `{"a":}`, `{'a':1}`, "\"\n\"", `"\x"`, `"\u12"`, "NaN", "01", "\xff", "\x00",
		nested(maxDepth + 1), nested(100_000),
		"[1" + strings.Repeat(",1", maxValues-1) + "]",
	} {
		if got, ok := sanitizeJSON(in); ok {
			t.Errorf("sanitizeJSON(%.80q) = %.80q, want it refused", in, got)
		}
	}
}

// encoding/json is the reference for what is JSON, and for what it means.
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
			t.Fatalf("%q: taken %v, valid %v", s, ok, want)
		}
		if !ok {
			return
		}
		if again, ok := sanitizeJSON(got); !ok || again != got {
			t.Errorf("%q became %q, and that %q", s, got, again)
		}
		// Token by token they are the same, apart from what was replaced.
		before, after := json.NewDecoder(strings.NewReader(sanitizeText(s))), json.NewDecoder(strings.NewReader(got))
		before.UseNumber()
		after.UseNumber()
		for {
			a, err := before.Token()
			b, afterErr := after.Token()
			if err != afterErr {
				t.Fatalf("%q became %q: %v, %v", s, got, err, afterErr)
			}
			if err != nil {
				break
			}
			if text, ok := a.(string); ok {
				a = strings.ReplaceAll(text, "\x00", replacement)
			}
			if number, ok := a.(json.Number); ok && b == string(number) {
				continue // as a string of its digits
			}
			if a != b {
				t.Fatalf("%q became %q: %v is %v now", s, got, a, b)
			}
		}
	})
}

func TestSanitizeNotesWhatHasNoPlace(t *testing.T) {
	before := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	const at = "2026-11-22T15:24:00Z"
	for _, c := range []struct {
		timestamp, details, want string // details "NULL" is none
		changed                  bool
	}{
		{at, "NULL", "NULL", false},
		{at, `{"a":1}`, `{"a":1}`, false},
		{at, `[1]`, `[1]`, false},
		{at, `null`, `null`, false},
		{at, `broken`, `{"_forward":{"details":"broken"}}`, true},
		{at, "bro\x00ken", `{"_forward":{"details":"bro` + replacement + `ken"}}`, true},
		{"soon", "NULL", `{"_forward":{"timestamp":"soon"}}`, true},
		{"", "NULL", `{"_forward":{"timestamp":""}}`, true},
		{"soon", `{}`, `{"_forward":{"timestamp":"soon"}}`, true},
		{"soon", " { } ", `{"_forward":{"timestamp":"soon"}}`, true},
		{"soon", `{"a":{}} `, `{"a":{},"_forward":{"timestamp":"soon"}}`, true},
		{"soon", `[1]`, `{"_forward":{"timestamp":"soon","details":[1]}}`, true},
		{"soon", `"x"`, `{"_forward":{"timestamp":"soon","details":"x"}}`, true},
		{"soon", `broken`, `{"_forward":{"timestamp":"soon","details":"broken"}}`, true},
	} {
		raw := rawRow{id: 7, timestamp: text(c.timestamp), details: text(c.details)}
		raw.details.Valid = c.details != "NULL"
		if !raw.details.Valid {
			raw.details.String = ""
		}
		got, changed := sanitize(raw, before)
		details := "NULL"
		if got.details.Valid {
			details = got.details.String
		}
		if details != c.want || changed != c.changed || got.id != 7 {
			t.Errorf("time %q, details %s: %s, %v; want %s, %v", c.timestamp, c.details, details, changed, c.want, c.changed)
		}
		if want, ok := parseTime(c.timestamp); ok && !got.time.Equal(want) || !ok && !got.time.Equal(before) {
			t.Errorf("time %q became %s", c.timestamp, got.time)
		}
	}
}

func TestAnOddTimeWithNothingBeforeIsThePresent(t *testing.T) {
	start := time.Now()
	r, _ := sanitize(rawRow{timestamp: text("soon")}, time.Time{})
	if r.time.Before(start) || r.time.After(time.Now()) {
		t.Errorf("%s", r.time)
	}
}

func TestParseTime(t *testing.T) {
	utc := func(y int, mo time.Month, d, h, mi, s, ns int) time.Time {
		return time.Date(y, mo, d, h, mi, s, ns, time.UTC)
	}
	for in, want := range map[string]time.Time{
		"2026-11-22T15:24:00.123456789Z":      utc(2026, 11, 22, 15, 24, 0, 123456789),
		"2026-11-22T15:24:00Z":                utc(2026, 11, 22, 15, 24, 0, 0),
		"2024-01-02T03:04:05.678+00:00":       utc(2024, 1, 2, 3, 4, 5, 678e6),
		"2024-01-02T03:04:05.678901234+02:00": utc(2024, 1, 2, 1, 4, 5, 678901234),
		"2024-01-02T03:04:05-0530":            utc(2024, 1, 2, 8, 34, 5, 0),
		"2024-01-02 03:04:05.678901234 UTC":   utc(2024, 1, 2, 3, 4, 5, 678901234),
		"2024-01-02 03:04:05.678":             utc(2024, 1, 2, 3, 4, 5, 678e6),
		"2024-01-02 03:04:05+01:00":           utc(2024, 1, 2, 2, 4, 5, 0),
		"2024-01-02 03:04:05 +0100":           utc(2024, 1, 2, 2, 4, 5, 0),
		"2024-01-02T03:04:05":                 utc(2024, 1, 2, 3, 4, 5, 0),
		"2024-01-02":                          utc(2024, 1, 2, 0, 0, 0, 0),
		"0000-01-01T00:00:00Z":                utc(0, 1, 1, 0, 0, 0, 0),
		"9999-12-31T23:59:59.999999999Z":      utc(9999, 12, 31, 23, 59, 59, 999999999),
	} {
		if got, ok := parseTime(in); !ok || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %s, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "now", "yesterday", "1700000000", "2024-13-01T00:00:00Z", "2016-12-31T23:59:60Z", "22/11/2026", "infinity", "\x00", "99999-01-01T00:00:00Z"} {
		if got, ok := parseTime(in); ok {
			t.Errorf("parseTime(%q) = %s, want it refused", in, got)
		}
	}
}

func text(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }
