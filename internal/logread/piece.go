package logread

import (
	"strings"
	"unicode/utf8"
)

// pieceSize is how many bytes of a text the matchers examine before they report to
// work.
const pieceSize = 64 << 10

// containsPiecewise is strings.Contains, but reports to w. It returns false if
// the scan must end.
func containsPiecewise(s, substr string, w *work) bool {
	for len(s) > pieceSize && len(s) > len(substr) {
		// A match that starts in this piece can end in the next one.
		end := min(len(s), pieceSize+len(substr))
		if !w.examine(end) {
			return false
		}
		if strings.Contains(s[:end], substr) {
			return true
		}
		s = s[pieceSize:]
	}
	return w.examine(len(s)) && strings.Contains(s, substr)
}

// runeCut returns the largest index up to n at which s can be cut without cutting
// a rune in two.
func runeCut[T ~string | ~[]byte](s T, n int) int {
	if n >= len(s) {
		return len(s)
	}
	for i := n; i >= 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return i
		}
	}
	return max(n, 0) // the byte at n is not part of a rune
}

// escapeCut returns an index up to n, but at most 16 bytes below it, at which s
// can be cut without cutting a rune or an escape of a JSON string in two. An
// escape includes both halves of a surrogate pair. n must be at least 16. s must
// not start within an escape.
func escapeCut(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	n = runeCut(s, n)
	last, previous := -1, -1 // starts of the last two escapes before n
	for i := 0; i < n; i++ {
		next := strings.IndexByte(s[i:n], '\\')
		if next < 0 {
			break
		}
		i += next
		previous, last = last, i
		if s[i+1] == '\\' {
			i++ // an escaped backslash starts no escape
		}
	}
	const escape = len(`\u0000`)
	switch {
	case last < 0 || last+escape < n:
		return n
	case previous >= 0 && last-previous == escape && isHighSurrogate(s[previous:last]):
		return previous
	default:
		return last
	}
}

// isHighSurrogate reports whether an escape of six bytes can be the first half of
// a surrogate pair.
func isHighSurrogate(escape string) bool {
	return escape[1] == 'u' && escape[2]|0x20 == 'd' && strings.IndexByte("89abAB", escape[3]) >= 0
}
