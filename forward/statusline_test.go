package main

import (
	"bytes"
	"testing"
)

func TestStatusLineBelowText(t *testing.T) {
	var b bytes.Buffer
	s := &statusWriter{w: &b}
	s.Write([]byte("one\n"))
	s.setStatus("10 rows")
	s.setStatus("10 rows")
	s.setStatus("20 rows")
	s.Write([]byte("two\n"))
	s.setStatus("")
	s.Write([]byte("three\n"))
	const clear = "\r\x1b[K"
	if got, want := b.String(), "one\n"+clear+"10 rows"+clear+"20 rows"+clear+"two\n20 rows"+clear+"three\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
