package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

// TestJSONCases puts the difficult cases of RFC 8259 in testdata/json/cases.txt
// into entries above and below the threshold. Every implementation of the
// scanner must accept the valid cases only, and the decoder must decode them.
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
			t.Fatalf("cases.txt: line %q: %d fields, %v; want 3 fields with a quoted value", line, len(fields), err)
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
					t.Errorf("%s: %s: scan(%.100q) = %v, want valid = %v", fields[2], impl.name, body, err, valid)
				}
			}
			if _, _, err := programRows([]byte(body), entry.LevelTrace); (err == nil) != valid {
				t.Errorf("%s: rows of %.100q: error %v, want valid = %v", fields[2], body, err, valid)
			}
		}
	}
	if n < 700 {
		t.Errorf("cases.txt has %d cases, want at least 700", n)
	}
}
