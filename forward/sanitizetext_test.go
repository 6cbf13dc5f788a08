package main

import "testing"

func TestSanitizeText(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"plain":                "plain",
		"äöü €😀":               "äöü €😀",
		"a\x00b":               "a\uFFFDb",
		"\x00\x00":             "\uFFFD\uFFFD",
		"a\xffb":               "a\uFFFDb",
		"\xed\xa0\x80":         "\uFFFD", // a surrogate encoded as UTF-8
		"cut off \xe2\x82":     "cut off \uFFFD",
		"\uFFFD stays":         "\uFFFD stays",
		"line\nbreak\tand\x01": "line\nbreak\tand\x01",
	} {
		if got := sanitizeText(in); got != want {
			t.Errorf("sanitizeText(%q) = %q, want %q", in, got, want)
		}
	}
}
