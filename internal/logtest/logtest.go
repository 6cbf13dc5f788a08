// Package logtest provides databases for tests of code that reads the log. It
// writes rows itself, so those tests do not depend on the writer.
package logtest

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// A DB is a database with the table logs, in a temporary directory. Its path
// contains characters that URIs must escape.
type DB struct {
	*sql.DB
	Path string
	t    testing.TB
}

// New creates a database. It is closed when the test ends.
func New(t testing.TB) *DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a dir?", "lögs #1%.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=page_size(8192)&_pragma=journal_mode(wal)&_pragma=synchronous(off)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`CREATE TABLE logs (
      id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
      timestamp TEXT NOT NULL, details TEXT)`)
	if err != nil {
		t.Fatal(err)
	}
	return &DB{DB: db, Path: path, t: t}
}

// An Entry is a row without its id: level, message, timestamp, details.
type Entry [4]any

// Insert commits entries in one transaction and returns the last id.
func (db *DB) Insert(entries ...Entry) int64 {
	db.t.Helper()
	tx, err := db.Begin()
	if err != nil {
		db.t.Fatal(err)
	}
	defer tx.Rollback() // has no effect after Commit
	insert, err := tx.Prepare("INSERT INTO logs (level, message, timestamp, details) VALUES (?, ?, ?, ?)")
	if err != nil {
		db.t.Fatal(err)
	}
	defer insert.Close()
	var id int64
	for _, e := range entries {
		result, err := insert.Exec(e[0], e[1], e[2], e[3])
		if err != nil {
			db.t.Fatal(err)
		}
		if id, err = result.LastInsertId(); err != nil {
			db.t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		db.t.Fatal(err)
	}
	return id
}

// Fill commits n entries, one second apart.
func (db *DB) Fill(n int) int64 {
	db.t.Helper()
	entries := make([]Entry, n)
	for i := range entries {
		at := time.Date(2026, 11, 22, 0, 0, i, 0, time.UTC)
		entries[i] = Entry{
			"error",
			fmt.Sprintf("entry %d", i),
			at.Format("2006-01-02T15:04:05.000000000Z"),
			fmt.Sprintf(`{"n":%d}`, i),
		}
	}
	return db.Insert(entries...)
}
