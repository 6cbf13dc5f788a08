package summary

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// gramsOf returns the sorted positions of a text.
func gramsOf(text string) []uint32 {
	positions := appendGrams(nil, appendFolded(nil, text))
	slices.Sort(positions)
	return slices.Compact(positions)
}

// checkGrams checks that the grams of a text include those of a part of it.
func checkGrams(t *testing.T, text, part string) {
	t.Helper()
	all := gramsOf(text)
	for _, p := range gramsOf(part) {
		if _, ok := slices.BinarySearch(all, p); !ok {
			t.Fatalf("a gram of %q is no gram of %q", part, text)
		}
	}
}

func TestGramsOfSubstrings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	alphabets := []string{"0123456789abcdef", "abcxyz019 .:-\"", "aäÄßKſé日本語\xff0", "0", "x"}
	for range 2000 {
		alphabet := []rune(alphabets[r.IntN(len(alphabets))])
		var b strings.Builder
		for range r.IntN(60) {
			b.WriteRune(alphabet[r.IntN(len(alphabet))])
		}
		text := b.String()
		start := r.IntN(len(text) + 1)
		for !utf8.RuneStart(append([]byte(text), 0)[start]) {
			start--
		}
		part := text[start:]
		checkGrams(t, text, part)
		checkGrams(t, strings.ToUpper(text), part)
		checkGrams(t, text, strings.ToLower(part))
	}
}

// Texts of these lengths have a gram, so that a search for them can skip blocks.
func TestGramsExist(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, test := range []struct {
		name, alphabet string
		length         int
	}{
		{"letters", "ghijklmnopqrstuvwxyz", 3},
		{"hexadecimal digits", "0123456789abcdefABCDEF", 8},
		{"addresses", "0123456789.", 8},
		{"other scripts", "日本語", 1},
	} {
		alphabet := []rune(test.alphabet)
		for range 1000 {
			var text []rune
			for range test.length {
				text = append(text, alphabet[r.IntN(len(alphabet))])
			}
			if len(gramsOf(string(text))) == 0 {
				t.Errorf("%s: %q has no gram", test.name, string(text))
			}
		}
	}
}

func FuzzGrams(f *testing.F) {
	f.Add("connection reset by peer 10.0.52.127:5432", 11, 20)
	f.Add("1cfb10f62827688de6a16a3b0d464138", 3, 12)
	f.Add("K\u212a\u017f\xff\xfe", 1, 3)
	f.Fuzz(func(t *testing.T, text string, from, n int) {
		from = max(0, min(from, len(text)))
		n = max(0, min(n, len(text)-from))
		part := text[from : from+n]
		// A search takes a text of whole runes.
		if !utf8.ValidString(part) || from < len(text) && !utf8.RuneStart(text[from]) {
			return
		}
		checkGrams(t, text, part)
	})
}
