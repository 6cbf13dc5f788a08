package main

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const replacement = "\uFFFD"

// sanitizeText replaces NUL and invalid UTF-8, which the type text cannot store.
func sanitizeText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement)
}

func quoteJSON(s string) string {
	quoted, err := json.Marshal(sanitizeText(s))
	if err != nil {
		panic(err) // strings can always be marshaled
	}
	return string(quoted)
}
