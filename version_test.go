package main

import (
	"bytes"
	"regexp"
	"testing"
)

// A build that does not set the version reports one too.
func TestDevelopmentVersion(t *testing.T) {
	var out bytes.Buffer
	printVersion(&out)
	want := `^log-ingester \S+ commit \S+ go\S+ .*SQLite 3\.\d+\.\d+\n$`
	if !regexp.MustCompile(want).Match(out.Bytes()) {
		t.Errorf("got %q, want a match of %s", out.String(), want)
	}
}
