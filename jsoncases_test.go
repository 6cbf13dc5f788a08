package main

import (
	"log-ingester/internal/entry"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The hard cases of RFC 8259, as values inside entries that are kept and
// inside entries that are dropped, have the verdict of testdata/json/cases.txt
// from every implementation of the scanner; what is kept can be decoded.
func TestJSONCases(t *testing.T) {
	text, err := os.ReadFile("testdata/json/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		value, err := strconv.Unquote(fields[1])
		if err != nil || len(fields) != 3 {
			t.Fatalf("%q: %v", line, err)
		}
		n++
		valid := fields[0] == "y"
		for _, body := range []string{
			`{"level":"error","v":` + value + `}`,
			`{"level":"info","v":` + value + `}`,
			`{"v":` + value + `,"level":"info"}`,
			`[{"level":"info"},{"v":[` + value + `],"level":"error"}]`,
		} {
			if strings.HasPrefix(body, "[") && strings.TrimSpace(value) == "" {
				continue // an empty array is valid
			}
			for _, impl := range implementations() {
				s := new(levelScanner)
				if err := impl.scan(s, []byte(body), entry.LevelError); (err == nil) != valid {
					t.Errorf("%s, %s: %.100q: %v, want valid=%v", fields[2], impl.name, body, err, valid)
				}
			}
			if _, _, err := programRows([]byte(body), entry.LevelTrace); (err == nil) != valid {
				t.Errorf("%s: %.100q as rows: %v, want valid=%v", fields[2], body, err, valid)
			}
		}
	}
	if n < 700 {
		t.Errorf("only %d cases", n)
	}
}
