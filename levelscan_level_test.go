package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

func TestLevelKeysMatchReference(t *testing.T) {
	if got, want := levelKeys[:clefTimeRank], referenceLevelKeys; !slices.Equal(got, want) {
		t.Errorf("levelKeys = %q, want %q", got, want)
	}
	if got, want := levelKeys[clefTimeRank:], []string{"@t"}; !slices.Equal(got, want) {
		t.Errorf("levelKeys from clefTimeRank on = %q, want %q", got, want)
	}
}

func TestLevelNamesMatchReference(t *testing.T) {
	for l := entry.LevelTrace; l < entry.LevelUnknown; l++ {
		if got, want := entry.LevelNames(l), strings.Fields(referenceLevelNames[l]); !slices.Equal(got, want) {
			t.Errorf("LevelNames(%v) = %q, want %q", l, got, want)
		}
	}
}

// TestLevelKeyRankMatchesTable checks each key in levelKeys, and all texts that
// differ from a key in one byte.
func TestLevelKeyRankMatchesTable(t *testing.T) {
	check := func(key string) {
		t.Helper()
		want := slices.Index(levelKeys[:], key)
		if want < 0 {
			want = noLevelRank
		}
		if got := levelKeyRank([]byte(key)); got != want {
			t.Errorf("levelKeyRank(%q) = %d, want %d", key, got, want)
		}
	}
	for _, key := range levelKeys {
		check(key)
		check(key + "x")
		check(key[:len(key)-1])
		for i := range key {
			for c := range 256 {
				check(key[:i] + string([]byte{byte(c)}) + key[i+1:])
			}
		}
	}
}

// TestLevelScanFindsKeys scans entries with each key in levelKeys, without
// escapes and with any character escaped, at every offset in a block.
func TestLevelScanFindsKeys(t *testing.T) {
	s := new(levelScanner)
	check := func(key string) {
		t.Helper()
		for _, format := range []string{`{"%s":"info"}`, `{"a":1,"%s" : "info"}`} {
			e := fmt.Sprintf(format, key)
			for _, n := range shifts() {
				v := compare(t, s, []byte(filler(n)+e), entry.LevelError)
				if v.refused || v.dropped != 2 {
					t.Fatalf("scan(%s) = %v, want 2 dropped", e, v)
				}
			}
		}
	}
	for _, key := range levelKeys {
		check(key)
		for i, c := range key {
			check(fmt.Sprintf(`%s\u%04x%s`, key[:i], c, key[i+1:]))
		}
	}
}
