package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/logpages"
)

// Before 3.51.3, a checkpoint that ran concurrently with a WAL reset could
// corrupt the database. https://www.sqlite.org/wal.html#walresetbug
func TestSQLiteVersionIsSafe(t *testing.T) {
	var version [3]int
	for i, part := range strings.SplitN(sqliteVersion(), ".", 3) {
		n, err := strconv.Atoi(part)
		must(t, err)
		version[i] = n
	}
	if n := version[0]*1e6 + version[1]*1e3 + version[2]; n < 3_051_003 {
		t.Errorf("got SQLite %s, want 3.51.3 or newer", sqliteVersion())
	}
}

func TestDatabaseCreatesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20é.db")
	db := mustOpen(t, path)
	_, err := db.write([]*batch{newTestBatch("a", "b")})
	must(t, err)
	must(t, db.close())
	// The helper query does not escape paths, so it cannot open this one. If the
	// database has another name, the rename fails.
	plain := filepath.Join(t.TempDir(), "plain.db")
	must(t, os.Rename(path, plain))
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
			t.Errorf("%s: got %q, want %q", statement, got, want)
		}
	}
}

// The Rust service's file keeps working, with its page size and rows.
func TestDatabaseOpensRustFile(t *testing.T) {
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
	pages := query(t, path, "PRAGMA page_size")
	db := mustOpen(t, path)
	lastID, err := db.write([]*batch{newTestBatch("new")})
	if err != nil || lastID != 2 {
		t.Fatalf("write: got id %d and error %v, want id 2 and no error", lastID, err)
	}
	must(t, db.close())
	if got, want := storedMessages(t, path), "old,new"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	if got := query(t, path, "PRAGMA page_size"); got != pages {
		t.Errorf("got page size %s, want %s", got, pages)
	}
}

// Searches read the pages of the table that the service creates. If its definition were
// not the one that internal/logpages expects, they would read rows, which is slower.
func TestTableIsReadFromPages(t *testing.T) {
	var walk logpages.Walk
	if _, err := walk.Table(2, query(t, newFile(t), "SELECT sql FROM sqlite_schema WHERE name = 'logs'")); err != nil {
		t.Errorf("Table() = %v, want no error", err)
	}
}

// A file that does not belong to the service is rejected, and no byte of it
// changes.
func TestDatabaseRejectsForeignFiles(t *testing.T) {
	createTable := func(sql string) func(*testing.T, string) {
		return func(t *testing.T, path string) { runSQL(t, path, sql) }
	}
	text := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(text), 0o644)) }
	}
	for name, c := range map[string]struct {
		create func(t *testing.T, path string)
		err    string // contained in the error
	}{
		"text":          {text("hello, I am a text of more than sixteen bytes"), "not a SQLite database"},
		"short text":    {text("short"), "not a SQLite database"},
		"other columns": {createTable("CREATE TABLE logs(id INTEGER PRIMARY KEY, text)"), "table logs has the columns id INTEGER PRIMARY KEY, text, not"},
		"one more column": {createTable(strings.Replace(schema, "details TEXT", "details TEXT, host TEXT NOT NULL", 1)),
			"table logs has the columns id INTEGER PRIMARY KEY, level, message, timestamp, details, host, not"},
		"no primary key": {createTable("CREATE TABLE logs(id TEXT, level TEXT, message TEXT, timestamp TEXT, details TEXT)"),
			"table logs has the columns id, level"},
		"text primary key": {createTable("CREATE TABLE logs(id TEXT PRIMARY KEY, level TEXT, message TEXT, timestamp TEXT, details TEXT)"),
			"table logs has the columns id TEXT PRIMARY KEY, level"},
		"two primary keys": {createTable("CREATE TABLE logs(id INTEGER, level TEXT, message TEXT, timestamp TEXT, details TEXT, PRIMARY KEY(id, level))"),
			"table logs has the columns id INTEGER PRIMARY KEY, level TEXT PRIMARY KEY"},
		"required details": {createTable(strings.Replace(schema, "details TEXT", "details TEXT NOT NULL", 1)), "details NOT NULL"},
		"view":             {createTable("CREATE VIEW logs AS SELECT 1 id, 2 level, 3 message, 4 timestamp, 5 details"), "logs is a view"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "logs.db")
			c.create(t, path)
			before, err := os.ReadFile(path)
			must(t, err)
			checkRejected(t, path, c.err)
			after, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			if files, err := filepath.Glob(path + "*"); err != nil || len(files) != 1 {
				t.Errorf("got the files %v and error %v, want only %s", files, err, path)
			}
		})
	}
}

// A path that is not a regular file, and cannot become one, is rejected.
func TestDatabaseRejectsPaths(t *testing.T) {
	dir := t.TempDir()
	checkRejected(t, filepath.Join(dir, "missing", "logs.db"), "missing")
	checkRejected(t, dir, "not a regular file")
	checkRejected(t, os.DevNull, "not a regular file")
}

// checkRejected fails the test unless path cannot be opened, with a one-line
// error that contains want.
func checkRejected(t *testing.T, path, want string) {
	t.Helper()
	db, err := openDatabase(path, "full", slog.New(slog.DiscardHandler))
	if err == nil {
		db.close()
		t.Errorf("open %s: got no error, want one that contains %q", path, want)
		return
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("open %s: got error %q, want one line that contains %q", path, err, want)
	}
}

// SQLite gives these names a special meaning. Here they are ordinary paths.
func TestDatabaseOpensSpecialNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{":memory:", "a?b=c#d%20 e", "//" + filepath.Join(dir, "slashes")} {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, name)
			_, err := db.write([]*batch{newTestBatch("a")})
			must(t, err)
			must(t, db.close())
			info, err := os.Stat(name)
			must(t, err)
			if info.Size() == 0 {
				t.Error("got an empty file, want the database")
			}
		})
	}
}

// If the path is a symbolic link, the WAL and the reserve file are next to its
// target.
func TestDatabaseFollowsSymlink(t *testing.T) {
	file, link := filepath.Join(t.TempDir(), "file.db"), filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(file, link); err != nil {
		skipOrFail(t, "needs permission to create symbolic links")
	}
	s := newTestService(t, "-db", link, "-max-db", "1MiB")
	s.post(`{"level":"error"}`)
	if got := parseMetrics(t, s.do("GET", "/metrics", nil).Body.String())["wal_bytes"]; got == 0 {
		t.Error("got wal_bytes 0, want the size of the WAL")
	}
	if _, err := os.Stat(file + "-reserve"); err != nil {
		t.Error(err)
	}
	if files, err := filepath.Glob(link + "*"); err != nil || len(files) != 1 {
		t.Errorf("got the files %v and error %v next to the link, want only the link", files, err)
	}
}

// The service starts while another process holds the lock.
func TestDatabaseOpensWhileLocked(t *testing.T) {
	path := newFile(t)
	other := openSQL(t, path)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err := other.Exec("BEGIN IMMEDIATE")
	must(t, err)
	db := mustOpen(t, path)
	rows, err := db.conn.query("PRAGMA busy_timeout")
	must(t, err)
	if got, want := rows[0][0], busyTimeout.Milliseconds(); got != want {
		t.Errorf("got a busy timeout of %v ms, want %d ms", got, want)
	}
	_, err = other.Exec("ROLLBACK")
	must(t, err)
	must(t, db.close())
}

// If the file is replaced by another database while a reader keeps rows in the
// WAL, that WAL is not applied to the new file. It still belongs to the old one.
func TestDatabaseQuarantinesWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	db := mustOpen(t, path)
	must(t, db.conn.setBusyTimeout(time.Millisecond)) // for the checkpoint, which the reader blocks
	_, err := db.write([]*batch{newTestBatch("a")})
	must(t, err)
	reader := openSQL(t, path)
	defer reader.Close()
	reader.SetMaxOpenConns(1)
	_, err = reader.Exec("BEGIN; SELECT * FROM logs")
	must(t, err)
	_, err = db.write([]*batch{newTestBatch("b")})
	must(t, err)

	old, other := path+".old", path+".other"
	runSQL(t, other, schema, "INSERT INTO logs(level, message, timestamp) VALUES('error', 'other', '2026-11-22T15:24:00.000000000Z')")
	must(t, os.Link(path, old))
	must(t, os.Rename(other, path))
	_, err = db.write([]*batch{newTestBatch("c")})
	must(t, err)
	must(t, db.close())
	must(t, reader.Close())
	if got, want := storedMessages(t, path), "other,c"; got != want {
		t.Errorf("stored %s in the new file, want %s", got, want)
	}
	wals, err := filepath.Glob(path + "-wal.*")
	if err != nil || len(wals) != 1 {
		t.Fatalf("got the quarantined WALs %v and error %v, want one WAL", wals, err)
	}
	must(t, os.Rename(wals[0], old+"-wal"))
	if got, want := storedMessages(t, old), "a,b"; got != want {
		t.Errorf("got %s in the old file, want %s", got, want)
	}
}

// No id is reused, even if its row was deleted and the file was closed.
// TestCheckpointerCopiesWAL writes less than makes a commit run a checkpoint.
func TestCheckpointerCopiesWAL(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "logs.db"))
	defer db.close()
	message := strings.Repeat("a", checkpointEvery)
	_, err := db.write([]*batch{newTestBatch(message)})
	must(t, err)
	waitFor(t, "the row is in the database file", func() bool {
		return size(t, db.path) > int64(len(message))
	})
	if wal := size(t, db.path+"-wal"); wal > walCheckpoint {
		t.Errorf("got a WAL of %d bytes, want at most %d, so that the commit runs no checkpoint", wal, walCheckpoint)
	}
}

func TestDatabaseNeverReusesIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	for want := int64(2); want <= 6; want += 2 {
		db := mustOpen(t, path)
		if lastID, err := db.write([]*batch{newTestBatch("a", "b")}); err != nil || lastID != want {
			t.Errorf("write: got id %d and error %v, want id %d and no error", lastID, err, want)
		}
		must(t, db.conn.exec("DELETE FROM logs"))
		must(t, db.close())
	}
}

// Rows of many batches are stored in order, at sizes around those of the pages.
func TestDatabaseWritesInOrder(t *testing.T) {
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
		lastID, err := db.write(batches)
		if err != nil || lastID != int64(len(want)) {
			t.Fatalf("write: got id %d and error %v, want id %d and no error", lastID, err, len(want))
		}
	}
	must(t, db.close())
	rows := readRows(t, path)
	if len(rows) != len(want) {
		t.Fatalf("stored %d rows, want %d", len(rows), len(want))
	}
	for i, r := range rows {
		if r[1] != want[i] {
			t.Fatalf("row %d: got message %.20q, want %.20q", i, r[1], want[i])
		}
	}
}
