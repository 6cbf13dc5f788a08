package logread

import (
	"slices"
	"strings"
	"testing"
)

func TestFoldedTextContains(t *testing.T) {
	for _, test := range []struct {
		name, text, s string
		want          bool
	}{
		{name: "ASCII", text: "REFUSED", s: "connection refused", want: true},
		{name: "umlaut", text: "ä", s: "Ä", want: true},
		{name: "Kelvin sign", text: "k", s: "\u212a", want: true},
		{name: "long s", text: "\u017f", s: "S", want: true},
		{name: "sharp s", text: "ss", s: "ß", want: false},
		{name: "offset unknown after k", text: "kx", s: "\u212aX", want: true},
		{name: "invalid UTF-8", text: "\ufffdx", s: "\xffX", want: true},
		{name: "end missing", text: "abc", s: "ab", want: false},
	} {
		t.Run(test.name, func(t *testing.T) {
			folded := newFoldedText(test.text)
			if got := folded.contains(test.s, folded.firstBytes, newWork()); got != test.want {
				t.Errorf("%q in %q = %v, want %v", test.text, test.s, got, test.want)
			}
		})
	}
}

// The work is linear in the lengths, even if the text nearly matches at every
// place. The naive algorithm would need 28,000 comparisons at each of 700,000
// places.
func TestFoldedTextLinearWork(t *testing.T) {
	text, long := strings.Repeat("a", 28_000), strings.Repeat("a", 700_000)
	for _, test := range []struct {
		name, text, s string
		want          bool
	}{
		{name: "ASCII", text: text + "e", s: long},
		{name: "U+FFFD near the end", text: text + "\ufffde", s: long},
		{name: "U+FFFD at the start", text: "\ufffd" + text + "e", s: "\xff" + long},
		{name: "found at the end", text: text + "ü", s: long + text + "ÜB", want: true},
		{name: "two anchors", text: "ü" + text + "e", s: strings.Repeat("Ü", 10_000) + long},
	} {
		t.Run(test.name, func(t *testing.T) {
			folded := newFoldedText(test.text)
			found, compared := folded.search(test.s, folded.firstBytes)
			if found != test.want {
				t.Errorf("found = %v, want %v", found, test.want)
			}
			if limit := 3*len(test.s) + len(test.text); compared > limit {
				t.Errorf("search compared %d runes, want at most %d", compared, limit)
			}
		})
	}
}

// What a page does not contain is not searched for, and the result stays the same.
func TestPageBytes(t *testing.T) {
	fl := &filter{texts: []*foldedText{newFoldedText("zoo"), newFoldedText("\ufffd"), newFoldedText("ü")},
		notTexts: []*foldedText{newFoldedText("Q")}}
	var b pageBytes
	for _, test := range []struct {
		page  string
		first []string
	}{
		{"no match", []string{"", "", "", ""}},
		{"Zoo", []string{"Z", "", "", ""}},
		{"zooZOO Über q", []string{"zZ", "", "\xc3", "q"}},
	} {
		b.set([]byte(test.page), fl)
		for i, want := range test.first {
			got := slices.Sorted(slices.Values(b.first[i]))
			if want := slices.Sorted(slices.Values([]byte(want))); !slices.Equal(got, want) {
				t.Errorf("%q: got %q for text %d, want %q", test.page, got, i, want)
			}
		}
		if b.hasEscapes {
			t.Errorf("%q: hasEscapes = true, want false", test.page)
		}
	}
	if b.set([]byte(`\n`), fl); !b.hasEscapes {
		t.Error("hasEscapes = false, want true")
	}
}

// The text is found where strings.EqualFold finds it.
func FuzzFoldedText(f *testing.F) {
	f.Add("Connection refused", "REFUSED")
	f.Add("Straße ſ K ǅ", "s")
	f.Add("ΑΣΑΣ", "ας")
	f.Add("\xff\xfe", "\ufffd")
	f.Add("AaAbaaabAaabaaaab", "aaaab")
	f.Add("abcabcabdabcabcabcabd", "ABCABCABCABD")
	f.Add("ſsſsſKſsſſK", "ssſk")
	f.Fuzz(func(t *testing.T, s, text string) {
		if text == "" {
			return
		}
		want := false
		runes, wanted := []rune(s), []rune(text)
		for i := 0; i+len(wanted) <= len(runes); i++ {
			want = want || strings.EqualFold(string(runes[i:i+len(wanted)]), string(wanted))
		}
		folded := newFoldedText(text)
		found, compared := folded.search(s, folded.firstBytes)
		if found != want {
			t.Errorf("search for %q in %q = %v, want %v", text, s, found, want)
		}
		if limit := 3*len(s) + len(text); compared > limit {
			t.Errorf("search for %q in %q compared %d runes, want at most %d", text, s, compared, limit)
		}
		if found, _ := folded.searchKMP(s); found != want {
			t.Errorf("searchKMP for %q in %q = %v, want %v", text, s, found, want)
		}
	})
}

// A text is found wherever it starts and ends in a text of several pieces, and
// nothing is found that is not there.
func TestFoldedTextPieces(t *testing.T) {
	for _, test := range []struct{ name, text, stored string }{
		{name: "ASCII", text: "disk FULL", stored: "Disk full"},
		{name: "escaped", text: "ü\n😀ü", stored: `\u00fc\n\ud83d\ude00Ü`},
		{name: "Kelvin signs", text: strings.Repeat("k", 2000), stored: strings.Repeat("\u212a", 2000)},
		{name: "U+FFFD", text: "\ufffd!", stored: "\xff!"},
	} {
		folded := newFoldedText(test.text)
		for _, filler := range []string{"-", "😀", `\\`, `\ud83d\ude00`} {
			for offset := range 13 {
				start := 2*pieceSize - len(test.stored) - 6 + offset
				before := strings.Repeat(filler, start/len(filler))
				before = strings.Repeat(" ", start-len(before)) + before
				after := strings.Repeat(filler, pieceSize/len(filler))
				if !folded.containsJSON(before+test.stored+after, folded.firstBytes, true, newWork()) {
					t.Errorf("%s: the text at %d is not found between %q", test.name, start, filler)
				}
				if folded.containsJSON(before+after, folded.firstBytes, true, newWork()) {
					t.Errorf("%s: the text is found in %q", test.name, filler)
				}
			}
		}
	}
}
