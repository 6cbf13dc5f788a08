//go:build !purego

package main

import (
	"log-ingester/internal/entry"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// Every machine with AVX2 has the other instruction sets that the gate asks
// for, so a machine with AVX2 must have tested it.
func TestLevelScanUsesAVX2(t *testing.T) {
	if has := cpuid.CPU.Has(cpuid.AVX2); useAVX2 != has {
		t.Fatalf("useAVX2 is %v on a processor where AVX2 is %v", useAVX2, has)
	}
	if !useAVX2 {
		return
	}
	body := []byte(`{"level":"error"}`)
	s := new(levelScanner)
	if !s.indexer.accept(s, body, entry.LevelError) || len(s.kept) != 1 || s.indexer.state.offset == 0 {
		t.Error("the AVX2 scanner does not accept an entry")
	}
}

func TestLevelScanGate(t *testing.T) {
	defer func(old bool) { useAVX2 = old }(useAVX2)
	useAVX2 = false
	body := []byte(`{"level":"error"}{"level":"info"}`)
	s := new(levelScanner)
	if s.indexer.accept(s, body, entry.LevelError) || s.indexer.state.offset != 0 {
		t.Error("the AVX2 scanner runs though the gate is closed")
	}
	if err := s.scan(body, entry.LevelError); err != nil || len(s.kept) != 1 || s.dropped != 1 {
		t.Errorf("scan = %v, keeps %v and drops %d", err, s.kept, s.dropped)
	}
}
