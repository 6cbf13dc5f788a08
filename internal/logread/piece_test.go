package logread

import (
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

// A text that is cut at an index from escapeCut has the same runes and escapes as
// the whole text.
func FuzzEscapeCut(f *testing.F) {
	f.Add(`abcdefghijklmnop\ud83d\ude00`, 18)
	f.Add(`abcdefghijklmno\ud83d\ud83d\ude00`, 24)
	f.Add(`abcdefghijklm\\ud83d\ude00`, 20)
	f.Add(`abcdefghijklmnop\u\\\\\"\u00`, 19)
	f.Add(strings.Repeat(`\`, 40), 17)
	f.Add("\U0001f600\U0001f600\U0001f600\U0001f600\U0001f600", 18)
	f.Add("\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 17)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 16 || n > 1<<16 {
			return
		}
		cut := escapeCut(s, n)
		if cut > len(s) || cut > n || cut < min(n-16, len(s)) {
			t.Fatalf("escapeCut(%q, %d) = %d", s, n, cut)
		}
		got := string(entry.AppendUnescaped(entry.AppendUnescaped(nil, s[:cut]), s[cut:]))
		if want := string(entry.AppendUnescaped(nil, s)); got != want {
			t.Errorf("cut at %d, %q unescapes to %q, want %q", cut, s, got, want)
		}
		if got, want := string([]rune(s[:cut]))+string([]rune(s[cut:])), string([]rune(s)); got != want {
			t.Errorf("cut at %d, %q has the runes of %q, want those of %q", cut, s, got, want)
		}
	})
}

func TestRuneCutStart(t *testing.T) {
	const s = "\U0001f600x"
	for n, want := range []int{0, 0, 0, 0, 4, 5, 5} {
		if got := runeCut(s, n); got != want {
			t.Errorf("runeCut(%q, %d) = %d, want %d", s, n, got, want)
		}
	}
	if got := runeCut(s, -3); got != 0 {
		t.Errorf("runeCut(%q, -3) = %d, want 0", s, got)
	}
}

func TestContainsPiecewise(t *testing.T) {
	for _, needle := range []string{"n", "needle", strings.Repeat("n", pieceSize), strings.Repeat("n", 2*pieceSize+1)} {
		for _, at := range []int{0, pieceSize - len(needle), pieceSize - 1, pieceSize, 2*pieceSize - 3, 3 * pieceSize} {
			s := strings.Repeat("-", max(at, 0)) + needle
			if !containsPiecewise(s, needle, newWork()) || !containsPiecewise(s+"---", needle, newWork()) {
				t.Errorf("%d bytes at %d are not found", len(needle), at)
			}
			if containsPiecewise(s[:len(s)-1]+"---", needle, newWork()) {
				t.Errorf("%d bytes at %d are found, but the last one is missing", len(needle), at)
			}
		}
	}
}
