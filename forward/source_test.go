//go:build unix

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A batch is limited in rows and in bytes. A value that is too large for any
// batch is replaced by a note of its size.
func TestBatchLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	large := strings.Repeat("x", batchBytes/4)
	for i := range 10 {
		insert(t, db, entry{"error", large, "2026-11-22T15:24:00Z", fmt.Sprint(i)})
	}
	execSQLite(t, db, fmt.Sprintf("INSERT INTO logs (level, message, timestamp, details) VALUES ('error', zeroblob(%d), '2026-11-22T15:24:00Z', '{}')", valueLimit+1))
	insert(t, db, makeEntries(3*batchRows, 0)...)

	src, err := openSource(timeoutContext(t), path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	var pos position
	rows := 0
	for atEnd := false; !atEnd; {
		var b batch
		if b, atEnd, err = src.read(timeoutContext(t), pos); err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, r := range b.rows {
			size += len(r.message) + len(r.details.String)
			if want := fmt.Sprintf("(%d bytes, too large to ship)", valueLimit+1); r.id == 11 && r.message != want {
				t.Errorf("large message: got %.100q, want %q", r.message, want)
			}
		}
		if maxSize := batchBytes + len(large); len(b.rows) > batchRows || size > maxSize {
			t.Errorf("got a batch of %d rows and %d bytes, want at most %d and %d", len(b.rows), size, batchRows, maxSize)
		}
		rows += len(b.rows)
		pos = b.end
	}
	if want := 11 + 3*batchRows; rows != want {
		t.Errorf("got %d rows, want %d", rows, want)
	}
}
