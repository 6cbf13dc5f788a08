//go:build unix

package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourceNotModified(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	for _, name := range []string{"logs.db", "lo gs #1%20?.db"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			db := newLogsDB(t, path)
			insert(t, db, makeEntries(25_000, 0)...)
			execSQLite(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
			before := readFile(t, path)
			shipAll(t, path, address, name)
			if n := checkRows(t, path, address, name); n != 25_000 {
				t.Errorf("got %d rows, want 25000", n)
			}
			if !bytes.Equal(before, readFile(t, path)) {
				t.Error("got a modified file, want the same bytes")
			}
			shipAll(t, path, address, name) // there is nothing to ship
			insert(t, db, makeEntries(10, 25_000)...)
			shipAll(t, path, address, name)
			checkRows(t, path, address, name)
		})
	}
}

// The forwarder starts before the file exists, and follows it while it grows.
func TestSourceFollowed(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	f.waitForOutput(t, "waiting for the file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	db := newLogsDB(t, path)
	for i := range 20 {
		insert(t, db, makeEntries(50, 50*i)...)
		waitForRows(t, address, 50*(i+1))
	}
	checkRows(t, path, address, "web1")
	f.terminate(t)
}

// While shipping is blocked with more rows waiting than fit in memory, the WAL
// can be truncated, because no read transaction is open.
func TestWALNotPinned(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(10, 0)...)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 10)

	blocker := dial(t, address)
	exec := func(s string) {
		t.Helper()
		if _, err := blocker.Exec(timeoutContext(t), s); err != nil {
			t.Fatal(err)
		}
	}
	exec("BEGIN")
	exec("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
	insert(t, db, makeEntries(5*batchRows, 10)...)
	waitUntil(t, "forward waits for the table", func() bool {
		return queryValue[bool](t, address, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'logs'::regclass)`)
	})
	waitUntil(t, "the WAL is truncated", func() bool {
		var busy, inLog, checkpointed int
		if err := db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &checkpointed); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return busy == 0 && info.Size() == 0
	})
	exec("COMMIT")
	f.terminate(t)
	shipAll(t, path, address, "web1")
	checkRows(t, path, address, "web1")
}

// A killed ingester leaves rows that are only in the WAL.
func TestSourceWithOnlyWAL(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(100, 0)...)
	crashed := filepath.Join(t.TempDir(), "logs.db")
	for _, suffix := range []string{"", "-wal"} {
		if err := os.WriteFile(crashed+suffix, readFile(t, path+suffix), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shipAll(t, crashed, address, "web1")
	if n := checkRows(t, path, address, "web1"); n != 100 {
		t.Errorf("got %d rows, want 100", n)
	}
}

// Rows that are deleted before they are shipped are counted as lost and logged.
func TestDeletedRowsCounted(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	// ship ships the rows and checks the total of lost rows.
	ship := func(step string, wantLost int) (output string) {
		t.Helper()
		output = shipAll(t, path, address, "web1")
		if got := queryValue[int](t, address, "SELECT lost FROM logs_progress"); got != wantLost {
			t.Errorf("%s: got %d lost rows, want %d:\n%s", step, got, wantLost, output)
		}
		return output
	}

	insert(t, db, makeEntries(100, 0)...)
	ship("nothing deleted", 0)
	execSQLite(t, db, "DELETE FROM logs WHERE id <= 60")
	if out := ship("shipped rows deleted", 0); strings.Contains(out, "deleted") {
		t.Errorf("shipped rows deleted: got a warning, want none:\n%s", out)
	}

	insert(t, db, makeEntries(100, 100)...)
	execSQLite(t, db, "DELETE FROM logs WHERE id <= 150")
	if out := ship("first rows deleted", 50); !strings.Contains(out, "deleted from the file before they were shipped") || !strings.Contains(out, "lost=50") {
		t.Errorf("first rows deleted: got no warning with lost=50:\n%s", out)
	}

	insert(t, db, makeEntries(20, 200)...)
	execSQLite(t, db, "DELETE FROM logs WHERE id IN (205, 207, 208)")
	ship("rows in the middle deleted", 53)

	insert(t, db, makeEntries(10, 220)...)
	execSQLite(t, db, "DELETE FROM logs")
	if out := ship("all rows deleted", 63); !strings.Contains(out, "lost=10") {
		t.Errorf("all rows deleted: got no warning with lost=10:\n%s", out)
	}

	insert(t, db, makeEntries(5, 230)...)
	ship("nothing more deleted", 63)
	if got := queryValue[int](t, address, "SELECT last_id - lost - skipped - (SELECT count(*) FROM logs) FROM logs_progress"); got != 0 {
		t.Errorf("got %d ids that are not accounted for, want 0", got)
	}
}

// A file that does not have the last shipped row is not the one that was
// shipped.
func TestDifferentFileDetected(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	for i, c := range []struct {
		name   string
		change func(tb testing.TB, path string, db *sql.DB) (newPath string)
		want   string // part of the error; empty if the file is accepted
	}{
		{
			name: "same file with more rows",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				insert(tb, db, makeEntries(10, 100)...)
				return path
			},
		},
		{
			name: "copy",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				copied := filepath.Join(tb.TempDir(), "copy.db")
				execSQLite(tb, db, fmt.Sprintf("VACUUM INTO '%s'", copied))
				return copied
			},
		},
		{
			name: "same file, all rows deleted",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				execSQLite(tb, db, "DELETE FROM logs")
				return path
			},
		},
		{
			name: "new file with fewer rows",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				other := filepath.Join(tb.TempDir(), "logs.db")
				insert(tb, newLogsDB(tb, other), makeEntries(99, 0)...)
				return other
			},
			want: "its last row was 99, but row 100 was shipped",
		},
		{
			name: "new file without rows",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				other := filepath.Join(tb.TempDir(), "logs.db")
				newLogsDB(tb, other)
				return other
			},
			want: "its last row was 0, but row 100 was shipped",
		},
		{
			name: "new file with more rows",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				other := filepath.Join(tb.TempDir(), "logs.db")
				insert(tb, newLogsDB(tb, other), makeEntries(200, 1)...)
				return other
			},
			want: "row 100 differs from the one that was shipped",
		},
		{
			name: "file set back, then with new rows",
			change: func(tb testing.TB, path string, db *sql.DB) string {
				execSQLite(tb, db, "DELETE FROM logs WHERE id > 95", "UPDATE sqlite_sequence SET seq = 95")
				insert(tb, db, makeEntries(50, 1000)...)
				return path
			},
			want: "row 100 differs from the one that was shipped",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := fmt.Sprint("web", i)
			path := filepath.Join(t.TempDir(), "logs.db")
			db := newLogsDB(t, path)
			insert(t, db, makeEntries(100, 0)...)
			shipAll(t, path, address, source)
			path = c.change(t, path, db)

			code, out := runForward(t, "-once", "-db", path, "-to", address, "-source", source)
			if c.want == "" {
				if code != 0 {
					t.Errorf("got exit code %d, want 0:\n%s", code, out)
				}
				return
			}
			if code != 1 || !strings.Contains(out, c.want) || !strings.Contains(out, "-source") {
				t.Errorf("got exit code %d, want 1 and output with %q and -source:\n%s", code, c.want, out)
			}
			if n := queryValue[int](t, address, "SELECT count(*) FROM logs WHERE source = $1", source); n != 100 {
				t.Errorf("got %d rows, want the 100 of the first file", n)
			}
			// The error suggests a new source name.
			shipAll(t, path, address, source+"-2")
			checkRows(t, path, address, source+"-2")
		})
	}
}

func TestSourceReplacedWhileFollowing(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "logs.db"), filepath.Join(dir, "copy.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(100, 0)...)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 100)

	copyAndRemove := func(db *sql.DB) {
		t.Helper()
		execSQLite(t, db, fmt.Sprintf("VACUUM INTO '%s'", copied))
		db.Close()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}

	// A copy has the same rows, so forward continues with it.
	copyAndRemove(db)
	f.waitForOutput(t, "was moved or replaced")
	if err := os.Rename(copied, path); err != nil {
		t.Fatal(err)
	}
	db = newLogsDB(t, path)
	insert(t, db, makeEntries(10, 100)...)
	waitForRows(t, address, 110)
	checkRows(t, path, address, "web1")

	// A different file is a permanent error.
	copyAndRemove(db)
	insert(t, newLogsDB(t, path), makeEntries(500, 1000)...)
	if code := f.wait(t); code != 1 || !strings.Contains(f.out.String(), "is not the file that was shipped") {
		t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, "is not the file that was shipped", f.out.String())
	}
	if n := countRows(t, address); n != 110 {
		t.Errorf("got %d rows, want the 110 of the first file", n)
	}
}

func TestInvalidFilesRejected(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	writeText := func(text string) func(testing.TB, string) {
		return func(tb testing.TB, path string) {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				tb.Fatal(err)
			}
		}
	}
	createTables := func(statement string) func(testing.TB, string) {
		return func(tb testing.TB, path string) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				tb.Fatal(err)
			}
			defer db.Close()
			execSQLite(tb, db, statement)
		}
	}
	for _, c := range []struct {
		name   string
		create func(tb testing.TB, path string)
		want   string // part of the error
	}{
		{
			name:   "missing",
			create: func(testing.TB, string) {},
			want:   "no such file",
		},
		{
			name:   "empty",
			create: writeText(""),
			want:   "has no tables yet",
		},
		{
			name:   "not a database",
			create: writeText(strings.Repeat("text", 1000)),
			want:   "not a database",
		},
		{
			name:   "without the table logs",
			create: createTables("CREATE TABLE other (id)"),
			want:   "no table logs",
		},
		{
			name:   "without a column",
			create: createTables("CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, level, message, timestamp)"),
			want:   "has columns id, level, message, timestamp; want",
		},
		{
			name:   "with another column",
			create: createTables(strings.Replace(createTable, "details TEXT", "details TEXT, host TEXT", 1)),
			want:   "has columns",
		},
		{
			name:   "reuses ids",
			create: createTables(strings.Replace(createTable, "AUTOINCREMENT", "", 1)),
			want:   "AUTOINCREMENT",
		},
		{
			name: "directory",
			create: func(tb testing.TB, path string) {
				if err := os.Mkdir(path, 0o755); err != nil {
					tb.Fatal(err)
				}
			},
			want: "is a directory",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "logs.db")
			c.create(t, path)
			code, out := runForward(t, "-once", "-db", path, "-to", address, "-source", c.name)
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, c.want, out)
			}
		})
	}
}

func TestTableDroppedWhileFollowing(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	execSQLite(t, db, "CREATE TABLE other (id)")
	insert(t, db, makeEntries(10, 0)...)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 10)
	execSQLite(t, db, "DROP TABLE logs")
	if code := f.wait(t); code != 1 || !strings.Contains(f.out.String(), "no table logs") {
		t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, "no table logs", f.out.String())
	}
}
