//go:build linux

package hostile

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// checkDatabase compares the database of a service that has exited with the
// responses that the clients got.
func checkDatabase(t *testing.T, path string, s *sender, attacks ...map[string]map[string]int64) {
	t.Helper()
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("got a WAL of %d bytes, want none", info.Size())
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	must(t, err)
	defer db.Close()
	var result string
	must(t, db.QueryRow("PRAGMA integrity_check").Scan(&result))
	if result != "ok" {
		t.Errorf("got integrity_check %.200q, want ok", result)
	}
	checkSent(t, db, s)
	checkCount(t, db, "seed", seeds, seeds)
	checkCount(t, db, "rebound", 0, 0)
	for attack, message := range map[string]string{"small entries": "flood", "queue bursts": "burst"} {
		var accepted, unknown int64
		for _, counts := range attacks {
			accepted += counts[attack]["accepted"]
			unknown += counts[attack]["unknown"]
		}
		checkCount(t, db, message, accepted, accepted+unknown)
	}
}

// checkCount checks how many rows have a message.
func checkCount(t *testing.T, db *sql.DB, message string, least, most int64) {
	t.Helper()
	var n int64
	must(t, db.QueryRow("SELECT count(*) FROM logs WHERE message = ?", message).Scan(&n))
	if n < least || n > most {
		t.Errorf("got %d rows with the message %q, want %d to %d", n, message, least, most)
	}
}

// checkSent compares the entries of the honest client with the responses. Each
// request must be stored once and in full, or not at all: it must be stored if
// it got 200 or 202, and must not if it got an error.
func checkSent(t *testing.T, db *sql.DB, s *sender) {
	t.Helper()
	stored, problems := readSent(t, db, len(s.requests))
	for number, r := range s.requests {
		rows := stored[number]
		good := r.status == http.StatusOK || r.status == http.StatusAccepted
		switch {
		case good && rows != r.entries,
			!good && r.status != 0 && rows != 0,
			r.status == 0 && rows != 0 && rows != r.entries:
			problems = append(problems, fmt.Sprintf("request %d with %d entries and status %d: got %d rows",
				number, r.entries, r.status, rows))
		}
	}
	if len(problems) > 0 {
		t.Errorf("got %d differences between responses and database: %s",
			len(problems), strings.Join(problems[:min(5, len(problems))], "; "))
	}
}

// readSent returns how many rows each request of the honest client has.
func readSent(t *testing.T, db *sql.DB, requests int) (stored []int, problems []string) {
	t.Helper()
	rows, err := db.Query("SELECT message FROM logs WHERE message GLOB 'honest/*'")
	must(t, err)
	defer rows.Close()
	stored = make([]int, requests)
	seen := make([][maxEntries]bool, requests)
	for rows.Next() {
		var message string
		must(t, rows.Scan(&message))
		var number, index int
		_, err := fmt.Sscanf(message, "honest/%d/%d", &number, &index)
		if err != nil || number >= requests || index >= maxEntries {
			problems = append(problems, fmt.Sprintf("unknown message %q", message))
			continue
		}
		if seen[number][index] {
			problems = append(problems, message+" is stored twice")
		}
		seen[number][index] = true
		stored[number]++
	}
	must(t, rows.Err())
	return stored, problems
}
