//go:build !purego

package main

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/klauspost/cpuid/v2"

	"log-ingester/internal/entry"
)

// TestLevelScanUsesAVX2 checks that other tests cover the AVX2 implementation
// on a machine with AVX2. Every such machine has the other instruction sets
// that useAVX2 requires.
func TestLevelScanUsesAVX2(t *testing.T) {
	if want := cpuid.CPU.Has(cpuid.AVX2); useAVX2 != want {
		t.Fatalf("useAVX2 = %v, want %v as the processor has AVX2", useAVX2, want)
	}
	if !useAVX2 {
		return
	}
	s := new(levelScanner)
	x := new(avx2Scanner)
	valid := x.tryScan(&s.genericScanner, []byte(`{"level":"error"}`), entry.LevelError)
	if !valid || len(s.kept) != 1 || x.state.offset == 0 {
		t.Errorf("tryScan keeps %v and ends at offset %d, want 1 entry and a later offset", s.kept, x.state.offset)
	}
}

func TestLevelScanGateDisablesAVX2(t *testing.T) {
	defer func(old bool) { useAVX2 = old }(useAVX2)
	useAVX2 = false
	x := new(avx2Scanner)
	avx2Scanners.Put(x) // the next scan would use it
	s := new(levelScanner)
	err := s.scan([]byte(`{"level":"error"}{"level":"info"}`), entry.LevelError)
	if err != nil || len(s.kept) != 1 || s.dropped != 1 {
		t.Errorf("scan = %v, %d kept, %d dropped, want no error, 1 kept, 1 dropped", err, len(s.kept), s.dropped)
	}
	if x.state.offset != 0 {
		t.Error("the AVX2 scanner ran, want it disabled")
	}
}

// TestLevelKeyAtMatchesTable checks the words of levelKeyAt against levelKeys,
// and all texts that differ from a key in one byte.
func TestLevelKeyAtMatchesTable(t *testing.T) {
	check := func(key string) {
		t.Helper()
		body := []byte(`{"` + key + `":"` + strings.Repeat(" ", longestLevelKey))
		wantAfter := len(`{"` + key + `"`)
		want := levelKeyRank([]byte(key))
		if want == noLevelRank {
			wantAfter = 0
		}
		if rank, after := levelKeyAt(body, len(`{"`)); rank != want || after != wantAfter {
			t.Errorf("levelKeyAt(%q) = %d, %d, want %d, %d", key, rank, after, want, wantAfter)
		}
	}
	longest := 0
	for _, key := range levelKeys {
		longest = max(longest, len(key))
		check(key)
		check(key + "x")
		check(key[:len(key)-1])
		for i := range key {
			for c := range 256 {
				if changed := key[:i] + string([]byte{byte(c)}) + key[i+1:]; c != '"' && c != '\\' {
					check(changed)
				}
			}
		}
		escaped := `{"\u0000` + key[1:] + `":"` + strings.Repeat(" ", longestLevelKey)
		if rank, _ := levelKeyAt([]byte(escaped), len(`{"`)); rank != rescanRank {
			t.Errorf("levelKeyAt(%q) = %d, want %d", escaped, rank, rescanRank)
		}
	}
	if longestLevelKey != longest {
		t.Errorf("longestLevelKey = %d, want %d", longestLevelKey, longest)
	}
	if want := binary.LittleEndian.Uint64([]byte(levelKeys[0] + `":"`)); wordLevelString != want {
		t.Errorf("wordLevelString = %#x, want %#x", uint64(wordLevelString), want)
	}
}
