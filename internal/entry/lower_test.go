package entry

import (
	"strings"
	"testing"
	"unicode"
)

// LowerGrowth must find each character that becomes longer in lower case.
func TestLowerGrowth(t *testing.T) {
	for r := range rune(unicode.MaxRune + 1) {
		text := string(r)
		lower := strings.ToLower(text)
		growth := len(lower) - len(text)
		if growth > LowerGrowth([]byte(text)) {
			t.Errorf("%q becomes %d bytes longer in lower case, want at most %d", text, growth, LowerGrowth([]byte(text)))
		}
		mixed := "A" + text + "İⱥȺ" + text
		if got, want := string(AppendLower([]byte("X"+mixed), 1)), "X"+strings.ToLower(mixed); got != want {
			t.Fatalf("AppendLower(%q): got %q, want %q", mixed, got, want)
		}
	}
}
