package logread

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// A foldedText is a search text matched under Unicode simple case folding: Ä
// matches ä, K matches k and U+212A (the Kelvin sign), ß does not match ss.
type foldedText struct {
	runes []rune // folded

	// failure is the failure function of Knuth, Morris and Pratt: failure[i] is
	// the length of the longest proper prefix of runes[:i+1] that is also a
	// suffix of it.
	failure []int

	// To find the text in a string, search looks for the first byte of the
	// anchor, which is one of the text's runes. The anchor starts offset bytes
	// after the start of the text.
	offset     int
	firstBytes []byte // of all case variants of the anchor; nil if the anchor is U+FFFD
}

func newFoldedText(text string) *foldedText {
	t := &foldedText{}
	for _, r := range text {
		t.runes = append(t.runes, entry.FoldRune(r))
	}
	t.failure = failureFunction(t.runes)
	t.setAnchor()
	return t
}

// failureFunction returns the failure function of runes, as described at
// foldedText.
func failureFunction(runes []rune) []int {
	failure := make([]int, len(runes))
	n := 0
	for i, r := range runes[1:] {
		for n > 0 && r != runes[n] {
			n = failure[n-1]
		}
		if r == runes[n] {
			n++
		}
		failure[i+1] = n
	}
	return failure
}

// commonRunes are the most frequent runes in log messages and JSON, folded, roughly by
// descending frequency. Ids make hexadecimal digits frequent.
const commonRunes = "\"ETSADRI:C0U 12,N3O4567_89FBMPL{}VHYG./K-WXJQZ"

// setAnchor chooses the anchor: the rarest rune whose offset is known.
func (t *foldedText) setAnchor() {
	anchor, rarest := rune(0), -1
	for i, r := range t.runes {
		rank := strings.IndexRune(commonRunes, r)
		if rank < 0 {
			rank = len(commonRunes)
		}
		if rank > rarest {
			anchor, rarest, t.offset = r, rank, i
		}
		// The case variants of a rune that is not ASCII can differ in length,
		// so the offsets after it are unknown. The same holds for K and S,
		// because U+212A and U+017F (the long s) are variants of them.
		if r >= utf8.RuneSelf || r == 'K' || r == 'S' {
			break
		}
	}
	if anchor == utf8.RuneError {
		return // any invalid byte matches U+FFFD
	}
	for r := anchor; ; {
		if first := string(r)[0]; !slices.Contains(t.firstBytes, first) {
			t.firstBytes = append(t.firstBytes, first)
		}
		if r = unicode.SimpleFold(r); r == anchor {
			return
		}
	}
}

// contains reports whether s contains the text. first has the elements of t.firstBytes
// that can occur in s. contains returns false if the scan must end.
func (t *foldedText) contains(s string, first []byte, w *work) bool {
	if len(first) == 0 && t.firstBytes != nil {
		return false
	}
	for len(s) > pieceSize+t.maxLen() {
		if !w.examine(pieceSize) {
			return false
		}
		// A match that starts in this piece can end in the next one.
		if found, _ := t.search(s[:runeCut(s, pieceSize+t.maxLen())], first); found {
			return true
		}
		s = s[runeCut(s, pieceSize):]
	}
	if !w.examine(len(s)) {
		return false
	}
	found, _ := t.search(s, first)
	return found
}

// maxLen is an upper bound of the bytes of a match, plus one rune.
func (t *foldedText) maxLen() int { return utf8.UTFMax * (len(t.runes) + 1) }

// containsJSON reports whether the JSON text s contains the text, either as
// written or after unescaping: many loggers write ü as \u00fc, and JSON always
// writes C:\ as C:\\. If hasEscapes is false, s contains no escapes. It returns false if
// the scan must end.
func (t *foldedText) containsJSON(s string, first []byte, hasEscapes bool, w *work) bool {
	return t.contains(s, first, w) || hasEscapes && containsPiecewise(s, `\`, w) && t.containsUnescaped(s, w)
}

// containsUnescaped reports whether the text is in s after unescaping. It unescapes
// one piece at a time, so it needs little memory.
func (t *foldedText) containsUnescaped(s string, w *work) bool {
	w.buf = w.buf[:0]
	for w.examine(min(len(s), pieceSize)) {
		n := escapeCut(s, pieceSize)
		w.buf = entry.AppendUnescaped(w.buf, s[:n])
		found, _ := t.search(string(w.buf), t.firstBytes)
		if found || n == len(s) {
			return found
		}
		s = s[n:]
		// A match that starts in this piece can end in the next one.
		w.buf = append(w.buf[:0], w.buf[runeCut(w.buf, len(w.buf)-t.maxLen()):]...)
	}
	return false
}

// search reports whether s contains the text. first is as for contains. It also returns
// a measure of its work: the runes that were equal at places where the whole text did
// not match, plus all comparisons of searchKMP. It is at most proportional to
// len(s)+len(t.runes).
func (t *foldedText) search(s string, first []byte) (found bool, compared int) {
	if t.firstBytes == nil {
		return t.searchKMP(s)
	}
	for _, c := range first {
		for from := t.offset; from < len(s); from++ {
			i := strings.IndexByte(s[from:], c)
			if i < 0 {
				break
			}
			from += i
			n := t.matchLen(s[from-t.offset:])
			if n == len(t.runes) {
				return true, compared
			}
			if compared += n; compared > len(s) {
				// Bound the work: without this, each candidate could cost the
				// length of the text.
				found, more := t.searchKMP(s)
				return found, compared + more
			}
		}
	}
	return false, compared
}

// searchKMP is search by the algorithm of Knuth, Morris and Pratt, which works
// for any text in one pass over s. It is slower than search if few places in s
// start like the text. It also returns the number of comparisons.
func (t *foldedText) searchKMP(s string) (found bool, compared int) {
	n := 0 // length of the longest prefix of the text that ends here
	for _, r := range s {
		r = entry.FoldRune(r)
		for n > 0 && r != t.runes[n] {
			n = t.failure[n-1]
			compared++
		}
		if r == t.runes[n] {
			n++
		}
		compared++
		if n == len(t.runes) {
			return true, compared
		}
	}
	return false, compared
}

// matchLen returns how many runes of the text s starts with.
func (t *foldedText) matchLen(s string) int {
	for i, want := range t.runes {
		if s == "" {
			return i
		}
		r, size := rune(s[0]), 1
		if r < utf8.RuneSelf {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
		} else {
			r, size = utf8.DecodeRuneInString(s)
			r = entry.FoldRune(r)
		}
		if r != want {
			return i
		}
		s = s[size:]
	}
	return len(t.runes)
}
