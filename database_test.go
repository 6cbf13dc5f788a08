package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Before 3.51.3, a checkpoint that ran beside a WAL reset could corrupt the
// database. https://www.sqlite.org/wal.html#walresetbug
func TestSQLiteVersion(t *testing.T) {
	var got [3]int
	for i, part := range strings.SplitN(sqliteVersion(), ".", 3) {
		got[i], _ = strconv.Atoi(part)
	}
	if n := got[0]*1e6 + got[1]*1e3 + got[2]; n < 3_051_003 {
		t.Errorf("SQLite is %s, want 3.51.3 or newer", sqliteVersion())
	}
}

func TestNewDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20é.db")
	db := mustOpen(t, path)
	if _, err := db.write([]*batch{newTestBatch("a", "b")}); err != nil {
		t.Fatal(err)
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the file has another name:", err)
	}
	plain := filepath.Join(t.TempDir(), "plain.db")
	if err := os.Rename(path, plain); err != nil {
		t.Fatal(err)
	}
	for statement, want := range map[string]string{
		"SELECT sql FROM sqlite_master WHERE name='logs'":              strings.Replace(schema, "IF NOT EXISTS ", "", 1),
		"PRAGMA journal_mode":                                          "wal",
		"PRAGMA page_size":                                             "8192",
		"PRAGMA auto_vacuum":                                           "2",
		"PRAGMA integrity_check":                                       "ok",
		"SELECT group_concat(id || message) FROM logs":                 "1a,2b",
		"SELECT typeof(message)||typeof(details) FROM logs WHERE id=1": "textnull",
	} {
		if got := query(t, plain, statement); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
}

// The Rust service's file goes on being used, with its page size and rows.
func TestRustDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	runSQL(t, path,
		`CREATE TABLE IF NOT EXISTS logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    details TEXT
)`,
		`INSERT INTO logs(level,message,timestamp,details) VALUES('error','old','2024-01-02T03:04:05.678+00:00','{"user_id":42}')`)
	db := mustOpen(t, path)
	last, err := db.write([]*batch{newTestBatch("new")})
	if err != nil || last != 2 {
		t.Fatalf("id %d, %v", last, err)
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	if got := storedMessages(t, path); got != "old,new" {
		t.Errorf("rows %s", got)
	}
}

// A file that is not ours is refused, and stays as it is to the byte.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := filepath.Join(dir, "other.db")
	runSQL(t, other, "CREATE TABLE logs(id INTEGER PRIMARY KEY, text)", "INSERT INTO logs VALUES(1,'x')")
	more := filepath.Join(dir, "more.db")
	runSQL(t, more, strings.Replace(schema, "details TEXT", "details TEXT, host TEXT NOT NULL", 1))
	noKey := filepath.Join(dir, "nokey.db")
	runSQL(t, noKey, "CREATE TABLE logs(id TEXT, level TEXT, message TEXT, timestamp TEXT, details TEXT)")
	needed := filepath.Join(dir, "needed.db")
	runSQL(t, needed, strings.Replace(schema, "details TEXT", "details TEXT NOT NULL", 1))
	view := filepath.Join(dir, "view.db")
	runSQL(t, view, "CREATE VIEW logs AS SELECT 1 id, 2 level, 3 message, 4 timestamp, 5 details")
	for path, want := range map[string]string{
		write("text.db", "hello, I am a text of more than sixteen bytes"): "not a SQLite database",
		write("short.db", "short"):                                        "not a SQLite database",
		other:                                                             "table logs has the columns id INTEGER PRIMARY KEY, text",
		more:                                                              "table logs has the columns id INTEGER PRIMARY KEY, level, message, timestamp, details, host",
		noKey:                                                             "table logs has the columns id, level",
		needed:                                                            "details NOT NULL",
		view:                                                              "logs is a view",
	} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		db, err := openDatabase(path, "full", slog.New(slog.DiscardHandler))
		if err == nil {
			db.close()
			t.Errorf("%s was opened", path)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q does not say %q in one line", path, err, want)
		}
		after, _ := os.ReadFile(path)
		if !bytes.Equal(before, after) {
			t.Errorf("%s was changed", path)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 7 {
		t.Errorf("files were left behind: %v", entries)
	}
	if _, err := openDatabase(filepath.Join(dir, "no", "logs.db"), "full", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a database in a directory that is missing was opened")
	}
	if _, err := openDatabase(dir, "full", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := openDatabase(os.DevNull, "full", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%s: %v", os.DevNull, err)
	}
}

// A path is a path, whatever SQLite makes of such names.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{":memory:", "a?b=c#d%20 e", "//" + filepath.Join(dir, "slashes")} {
		db, err := openDatabase(name, "full", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := db.write([]*batch{newTestBatch("a")}); err != nil {
			t.Error(err)
		}
		if err := db.close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s is empty, %v", name, err)
		}
	}
}

// What stands beside the database stands beside the file that a link leads to.
func TestLinkedDatabase(t *testing.T) {
	file, link := filepath.Join(t.TempDir(), "file.db"), filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	s := newTestService(t, "-db", link, "-max-db", "1MiB")
	s.post(`{"level":"error"}`)
	if got := parseMetrics(t, s.do("GET", "/metrics", nil).Body.String())["wal_bytes"]; got == 0 {
		t.Error("the WAL has no bytes")
	}
	if _, err := os.Stat(file + "-reserve"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(link + "*"); len(left) != 1 {
		t.Errorf("beside the link: %v", left)
	}
}

// Another's lock does not keep the program from starting.
func TestStartWhileLocked(t *testing.T) {
	path := newFile(t)
	other := openSQL(t, path)
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, path)
	rows, err := d.conn.query("PRAGMA busy_timeout")
	if err != nil || rows[0][0] != busyTimeout.Milliseconds() {
		t.Errorf("a lock is waited for for %v ms, %v", rows, err)
	}
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}

// No id is used again, though its row was deleted and the file was closed.
func TestIDsAreUsedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	for want := int64(2); want <= 6; want += 2 {
		db := mustOpen(t, path)
		if last, err := db.write([]*batch{newTestBatch("a", "b")}); err != nil || last != want {
			t.Errorf("the last id is %d, %v; want %d", last, err, want)
		}
		if err := db.conn.exec("DELETE FROM logs"); err != nil {
			t.Fatal(err)
		}
		if err := db.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Rows of one batch stay together and in order, whatever else is in the
// transaction, at sizes around those of the pages.
func TestWriteManyBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	db := mustOpen(t, path)
	var want []string
	for _, n := range []int{1, 2, 39, 40, 41, 1000} {
		var batches []*batch
		for i := range n {
			m := []string{strings.Repeat("x", i*37%9000), "y", strings.Repeat("z", i%3)}
			want = append(want, m...)
			batches = append(batches, newTestBatch(m...))
		}
		last, err := db.write(batches)
		if err != nil || last != int64(len(want)) {
			t.Fatalf("last id %d, %v; want %d", last, err, len(want))
		}
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	rows := readRows(t, path)
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i, r := range rows {
		if r[1] != want[i] {
			t.Fatalf("row %d is %.20q, want %.20q", i, r[1], want[i])
		}
	}
}
