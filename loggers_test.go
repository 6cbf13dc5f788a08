package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLoggersAreStored posts what real loggers and shippers send and checks the
// stored rows, with the lowest level and with the default one. The files are
// described in testdata/loggers/README.md.
func TestLoggersAreStored(t *testing.T) {
	bodies, err := filepath.Glob("testdata/loggers/*.body")
	if err != nil || len(bodies) < 20 {
		t.Fatalf("got %d fixtures, %v, want at least 20", len(bodies), err)
	}
	for _, path := range bodies {
		name := strings.TrimSuffix(filepath.Base(path), ".body")
		for _, threshold := range []string{"trace", "error"} {
			t.Run(name+"/"+threshold, func(t *testing.T) {
				body, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				s := newTestService(t, "-level", threshold)
				began := time.Now().UTC()
				if w := s.post(string(body)); w.Code != 200 {
					t.Fatalf("status: got %d %s, want 200", w.Code, w.Body)
				}
				ended := time.Now().UTC()
				want := readGolden(t, strings.TrimSuffix(path, "body")+"rows", threshold == "trace")
				got := readRows(t, s.path)
				if len(got) != len(want) {
					t.Fatalf("rows: got %d, want %d", len(got), len(want))
				}
				for i := range want {
					if want[i][2] == "ARRIVAL" {
						arrived, err := time.Parse(time.RFC3339Nano, got[i][2])
						if err != nil || arrived.Before(began) || arrived.After(ended) {
							t.Errorf("row %d: got arrival time %s, want it between %v and %v", i, got[i][2], began, ended)
						}
						got[i][2] = "ARRIVAL"
					}
					if got[i] != want[i] {
						t.Errorf("row %d:\n got %q\nwant %q", i, got[i], want[i])
					}
				}
			})
		}
	}
}

// readGolden reads the expected rows: all of them, or only those that -level
// error keeps.
func readGolden(t *testing.T, path string, all bool) (rows [][4]string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r struct {
			Kept                      bool
			Level, Message, Timestamp string
			Details                   json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if !all && !r.Kept {
			continue
		}
		details := string(r.Details)
		if strings.HasPrefix(details, `"`) {
			if err := json.Unmarshal(r.Details, &details); err != nil {
				t.Fatal(err)
			}
		}
		if details == "null" || details == "" {
			details = "NULL"
		}
		rows = append(rows, [4]string{r.Level, r.Message, r.Timestamp, details})
	}
	return rows
}
