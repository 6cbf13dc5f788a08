package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The command sqlite3 of the system, often an older version of SQLite, reads and
// changes the file while the service runs. Searches find the changed rows, although
// the summaries were made before the changes.
func TestSQLiteShell(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sqlite3"); err != nil {
		skipOrFail(t, "the command sqlite3 (Debian package sqlite3)")
	}
	p := start(t, t.TempDir()+"/logs.db")
	const requests, size = 4, 1000 // more than the 2,048 entries of two blocks
	for i := range requests {
		var body strings.Builder
		for j := range size {
			fmt.Fprintf(&body, `{"level":"error","message":"entry %d","n":%[1]d}`+"\n", i*size+j+1)
		}
		if status, err := p.post("?wait=1", body.String()); err != nil || status != http.StatusOK {
			t.Fatalf("got status %d and error %v, want 200", status, err)
		}
	}
	p.waitFor("a summary of the first two blocks", func() bool {
		return query(t, p.db, "SELECT count(*) FROM logs_segments WHERE filter IS NOT NULL AND upto >= 2048") == "1"
	})
	shell(t, p.db, `
		UPDATE logs SET message = 'xylophone' WHERE id = 7;
		UPDATE logs SET id = 9000 WHERE message = 'entry 8';
		DELETE FROM logs WHERE id = 9;
		INSERT INTO logs(level, message, timestamp) VALUES ('fatal', 'xylophone', '2026-01-01T00:00:00Z');`)
	for _, search := range []struct {
		query string
		ids   []string
	}{
		{"q=xylophone", []string{"9001", "7"}},
		{"level=fatal", []string{"9001"}},
		{"details.n=8", []string{"9000"}},
		{"details.n=9", []string{}},
	} {
		_, body := p.get("/logs?" + search.query)
		got := []string{}
		for line := range strings.Lines(body) {
			if rest, ok := strings.CutPrefix(line, `{"id":`); ok {
				got = append(got, rest[:strings.IndexByte(rest, ',')])
			}
		}
		if !slices.Equal(got, search.ids) {
			t.Errorf("GET /logs?%s: got ids %v, want %v", search.query, got, search.ids)
		}
	}
	copied := t.TempDir() + "/copy.db"
	shell(t, copied, shell(t, p.db, ".dump"))
	want := fmt.Sprintf("ok\n%d\n", requests*size)
	for _, db := range []string{p.db, copied} {
		if got := shell(t, db, "PRAGMA integrity_check; SELECT count(*) FROM logs"); got != want {
			t.Errorf("%s: got %q, want %q", db, got, want)
		}
	}
}

// shell runs statements with the command sqlite3 and returns its output.
func shell(t *testing.T, db, statements string) string {
	t.Helper()
	command := exec.Command("sqlite3", "-bail", "-cmd", ".timeout 10000", db)
	command.Stdin = strings.NewReader(statements)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %s: %v\n%s", db, err, output)
	}
	return string(output)
}
