//go:build linux || darwin

package main

import (
	"strings"
	"syscall"
	"testing"

	"log-ingester/internal/entry"
)

// guardedMemory returns n bytes between two pages that cannot be read. n must be
// a multiple of the page size.
func guardedMemory(t *testing.T, n int) []byte {
	t.Helper()
	page := syscall.Getpagesize()
	m, err := syscall.Mmap(-1, 0, n+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	protect(t, m[:page], syscall.PROT_NONE)
	protect(t, m[page+n:], syscall.PROT_NONE)
	return m[page : page+n : page+n]
}

// protect sets the protection of pages.
func protect(t *testing.T, pages []byte, how int) {
	t.Helper()
	if err := syscall.Mprotect(pages, how); err != nil {
		t.Fatal(err)
	}
}

// TestLevelScanStaysInsideBody scans bodies in read-only memory with unreadable
// pages before and after it. Any access outside of the body, and any write to
// it, crashes the test.
func TestLevelScanStaysInsideBody(t *testing.T) {
	const longest = 4096 + 2*64 + 10 // more than a chunk of the AVX2 scanner
	fill := func(s string) string { return strings.Repeat(s, longest/len(s)+1) }
	contents := []string{
		fill(`{"level":"info","a":[1.5,true,"\u00e9"]}`),
		`{"a":"` + fill("x"),
		`{"a":"` + fill(`\\`),
		`{"a":"` + fill(`\u12ab`),
		`{` + fill(`"level":"info",`),
		`{` + fill(`"l`),
		`{"a":` + fill("1"),
		`{"a":` + fill("true"),
		`{"a":` + fill(`[`),
		"{}" + fill(" "),
		fill("\xff"),
	}
	page := syscall.Getpagesize()
	memory := guardedMemory(t, (longest+page-1)/page*page)
	s := new(levelScanner)
	scan := func(at int, content string) {
		protect(t, memory, syscall.PROT_READ|syscall.PROT_WRITE)
		body := memory[at : at+len(content) : at+len(content)]
		copy(body, content)
		protect(t, memory, syscall.PROT_READ)
		compare(t, s, body, entry.LevelError)
	}
	for n := range longest + 1 {
		if 4*64+10 < n && n < 4096-10 {
			continue
		}
		for _, content := range contents {
			scan(0, content[:n])
			scan(len(memory)-n, content[:n])
		}
		if n >= 20 {
			scan(0, filler(n))
			scan(len(memory)-n, filler(n))
		}
	}
}
