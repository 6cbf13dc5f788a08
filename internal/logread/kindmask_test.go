package logread

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct{ message, want string }{
		{"", ""},
		{"payment failed", "payment failed"},
		{"timeout after 120 ms", "timeout after # ms"},
		{"took 1.5s, retry 3/5", "took #.#s, retry #/#"},
		{"user_17 not found in db-04.internal:5432", "user_# not found in db-#.internal:#"},
		{"reset by 10.0.3.4:5432", "reset by #"},
		{"reset by 10.0.3.4.", "reset by #."},
		{"version 1.2.3", "version #.#.#"},
		{strings.Repeat("x", maxAddress) + "@db.example failed", "# failed"},
		{strings.Repeat("x", maxAddress+1) + "@db.example", strings.Repeat("x", maxAddress+1) + "@db.example"},
		{strings.Repeat("a:", maxAddress/2-1) + "1 failed", "# failed"},
		{strings.Repeat("a:", maxAddress/2) + "1", "a:#"},
		{"dial [fe80::1ff:fe23:4567:890a]:80: refused", "dial [#]:#: refused"},
		{"dial ::1 refused", "dial # refused"},
		{"at 12:34:56 failed", "at # failed"},
		{"trace 5358bb688db27d0b failed", "trace # failed"},
		{"pointer 0x7ffe at", "pointer # at"},
		{"facade decade", "facade decade"},
		{"id 6fa459ea-ee8a-3ca4-894e-db77e160355e gone", "id # gone"},
		{"mail to jane.doe+x@mail.example.org.", "mail to #."},
		{`cannot read properties of undefined (reading 'id')`, `cannot read properties of undefined (reading #)`},
		{`key "a b" and "c"`, `key # and #`},
		{"can't open it's file", "can't open it's file"},
		{`no end "quote`, `no end "quote`},
		{"Ошибка 42: файл", "Ошибка #: файл"},
		{"a: b:: c", "a: b:: c"},
		{strings.Repeat("ж", 150), strings.Repeat("ж", 100)},
	} {
		if got := string(appendPattern(nil, test.message)); got != test.want {
			t.Errorf("pattern of %q = %q, want %q", test.message, got, test.want)
		}
	}
}

// Patterns are bounded, valid UTF-8 if the message is, and depend only on the start of
// the message.
func FuzzPattern(f *testing.F) {
	f.Add("user 17 at 10.0.0.1:80")
	f.Add(`"a' 0x1f ::1 a@b`)
	f.Fuzz(func(t *testing.T, message string) {
		pattern := appendPattern(nil, message)
		if len(pattern) > maxPattern {
			t.Errorf("pattern of %q has %d bytes, want at most %d", message, len(pattern), maxPattern)
		}
		if utf8.ValidString(message) && !utf8.Valid(pattern) {
			t.Errorf("pattern of %q is %q, want valid UTF-8", message, pattern)
		}
		if strings.ContainsFunc(string(pattern), func(r rune) bool { return '0' <= r && r <= '9' }) {
			t.Errorf("pattern of %q is %q, want no digits", message, pattern)
		}
	})
}
