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

func TestShipsAFileAndLeavesItAlone(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	for _, name := range []string{"logs.db", "lo gs #1%20?.db"} {
		path := filepath.Join(t.TempDir(), name)
		db := newFile(t, path)
		write(t, db, entries(25_000, 0)...)
		change(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
		before := readFile(t, path)
		shipAll(t, path, address, name)
		if n := compare(t, path, address, name); n != 25_000 {
			t.Errorf("%d rows", n)
		}
		if !bytes.Equal(before, readFile(t, path)) {
			t.Error("the file was written to")
		}
		shipAll(t, path, address, name) // again, with nothing to do
		write(t, db, entries(10, 25_000)...)
		shipAll(t, path, address, name)
		compare(t, path, address, name)
	}
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestFollowsALiveFile(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	f.waitFor(t, "waiting for the file") // which is not there yet
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	db := newFile(t, path)
	for i := range 20 {
		write(t, db, entries(50, 50*i)...)
		waitForRows(t, address, 50*(i+1))
	}
	compare(t, path, address, "web1")
	f.terminate(t)
}

// While shipping stands still, with more waiting than fits in memory, the WAL
// can be emptied: no read transaction is open.
func TestDoesNotPinTheWAL(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	write(t, db, entries(10, 0)...)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 10)

	blocker := dial(t, address)
	mustExec := func(s string) {
		t.Helper()
		if _, err := blocker.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	mustExec("BEGIN")
	mustExec("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
	write(t, db, entries(5*batchRows, 10)...)
	eventually(t, "the forwarder waits for the table", func() bool {
		return query1[bool](t, address, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'logs'::regclass)`)
	})
	eventually(t, "the WAL is emptied", func() bool {
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
	mustExec("COMMIT")
	f.terminate(t)
	shipAll(t, path, address, "web1")
	compare(t, path, address, "web1")
}

// The files a killed writer leaves: rows that are only in the WAL count.
func TestReadsWhatACrashLeft(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	write(t, db, entries(100, 0)...)
	left := filepath.Join(t.TempDir(), "logs.db")
	for _, suffix := range []string{"", "-wal"} {
		if err := os.WriteFile(left+suffix, readFile(t, path+suffix), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shipAll(t, left, address, "web1")
	if n := compare(t, path, address, "web1"); n != 100 {
		t.Errorf("%d rows", n)
	}
}

func TestRowsDeletedBeforeTheyAreShippedAreCounted(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	lost := func() int { return query1[int](t, address, "SELECT lost FROM logs_progress") }

	write(t, db, entries(100, 0)...)
	shipAll(t, path, address, "web1")
	change(t, db, "DELETE FROM logs WHERE id <= 60")
	if out := shipAll(t, path, address, "web1"); lost() != 0 || strings.Contains(out, "deleted") {
		t.Errorf("lost %d, though all were shipped before:\n%s", lost(), out)
	}

	write(t, db, entries(100, 100)...)
	change(t, db, "DELETE FROM logs WHERE id <= 150")
	if out := shipAll(t, path, address, "web1"); lost() != 50 || !strings.Contains(out, "deleted from the file before they were shipped") || !strings.Contains(out, "lost=50") {
		t.Errorf("lost %d, want 50:\n%s", lost(), out)
	}

	write(t, db, entries(20, 200)...)
	change(t, db, "DELETE FROM logs WHERE id IN (205, 207, 208)")
	shipAll(t, path, address, "web1")
	if lost() != 53 {
		t.Errorf("lost %d, want 53: rows in the middle", lost())
	}

	write(t, db, entries(10, 220)...)
	change(t, db, "DELETE FROM logs")
	if out := shipAll(t, path, address, "web1"); lost() != 63 || !strings.Contains(out, "lost=10") {
		t.Errorf("lost %d, want 63: all rows, with none after them:\n%s", lost(), out)
	}

	write(t, db, entries(5, 230)...)
	shipAll(t, path, address, "web1")
	if got := query1[int](t, address, "SELECT last_id - lost - skipped - (SELECT count(*) FROM logs) FROM logs_progress"); got != 0 || lost() != 63 {
		t.Errorf("%d ids are not accounted for, lost %d", got, lost())
	}
}

// Which files are taken for the one that was shipped, and which are not.
func TestAnotherFileIsNotTakenForTheOneShipped(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	for i, c := range []struct {
		name   string
		change func(tb testing.TB, path string, db *sql.DB) (newPath string)
		want   string // part of the error; empty: the file is taken
	}{
		{"the same, grown", func(tb testing.TB, path string, db *sql.DB) string {
			write(tb, db, entries(10, 100)...)
			return path
		}, ""},
		{"a copy", func(tb testing.TB, path string, db *sql.DB) string {
			copied := filepath.Join(tb.TempDir(), "copy.db")
			change(tb, db, fmt.Sprintf("VACUUM INTO '%s'", copied))
			return copied
		}, ""},
		{"the same, all deleted", func(tb testing.TB, path string, db *sql.DB) string {
			change(tb, db, "DELETE FROM logs")
			return path
		}, ""},
		{"new and shorter", func(tb testing.TB, path string, db *sql.DB) string {
			other := filepath.Join(tb.TempDir(), "logs.db")
			write(tb, newFile(tb, other), entries(99, 0)...)
			return other
		}, "its last row was 99, but row 100 was shipped"},
		{"new and empty", func(tb testing.TB, path string, db *sql.DB) string {
			other := filepath.Join(tb.TempDir(), "logs.db")
			newFile(tb, other)
			return other
		}, "its last row was 0, but row 100 was shipped"},
		{"new and longer", func(tb testing.TB, path string, db *sql.DB) string {
			other := filepath.Join(tb.TempDir(), "logs.db")
			write(tb, newFile(tb, other), entries(200, 1)...)
			return other
		}, "row 100 differs from the one that was shipped"},
		{"set back, and grown again", func(tb testing.TB, path string, db *sql.DB) string {
			change(tb, db, "DELETE FROM logs WHERE id > 95", "UPDATE sqlite_sequence SET seq = 95")
			write(tb, db, entries(50, 1000)...)
			return path
		}, "row 100 differs from the one that was shipped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := fmt.Sprint("web", i)
			path := filepath.Join(t.TempDir(), "logs.db")
			db := newFile(t, path)
			write(t, db, entries(100, 0)...)
			shipAll(t, path, address, source)
			path = c.change(t, path, db)

			code, out := forwardArgs(t, "-once", "-db", path, "-to", address, "-source", source)
			if c.want == "" {
				if code != 0 {
					t.Errorf("exit code %d:\n%s", code, out)
				}
				return
			}
			if code != 1 || !strings.Contains(out, c.want) || !strings.Contains(out, "-source") {
				t.Errorf("exit code %d, want 1 with %q:\n%s", code, c.want, out)
			}
			if n := query1[int](t, address, "SELECT count(*) FROM logs WHERE source = $1", source); n != 100 {
				t.Errorf("%d rows, want the 100 of the first file", n)
			}
			// The way out that the error tells.
			shipAll(t, path, address, source+"-2")
			compare(t, path, address, source+"-2")
		})
	}
}

func TestTheFileIsReplacedWhileItIsFollowed(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	dir := t.TempDir()
	path, old := filepath.Join(dir, "logs.db"), filepath.Join(dir, "old.db")
	db := newFile(t, path)
	write(t, db, entries(100, 0)...)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 100)

	moveAway := func(db *sql.DB) {
		t.Helper()
		change(t, db, fmt.Sprintf("VACUUM INTO '%s'", old))
		db.Close()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}

	// A copy with the same rows: it goes on.
	moveAway(db)
	f.waitFor(t, "was moved or replaced")
	if err := os.Rename(old, path); err != nil {
		t.Fatal(err)
	}
	db = newFile(t, path)
	write(t, db, entries(10, 100)...)
	waitForRows(t, address, 110)
	compare(t, path, address, "web1")

	// Another file: it says so and ends.
	moveAway(db)
	write(t, newFile(t, path), entries(500, 1000)...)
	if code := f.wait(t); code != 1 || !strings.Contains(f.out.String(), "is not the file that was shipped") {
		t.Errorf("exit code %d:\n%s", code, f.out.String())
	}
	if n := query1[int](t, address, "SELECT count(*) FROM logs"); n != 110 {
		t.Errorf("%d rows: some of the other file were shipped", n)
	}
}

func TestFilesThatAreNoneOfOurs(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	for _, c := range []struct {
		name, setup, want string
	}{
		{"missing", "missing", "no such file"},
		{"empty", "", "has no tables yet"},
		{"no database", "text", "not a database"},
		{"another program's", "CREATE TABLE other (id)", "no table logs"},
		{"a column less", "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, level, message, timestamp)", "has columns id, level, message, timestamp; want"},
		{"a column more", strings.Replace(createTable, "details TEXT", "details TEXT, host TEXT", 1), "has columns"},
		{"ids that come again", strings.Replace(createTable, "AUTOINCREMENT", "", 1), "AUTOINCREMENT"},
		{"a directory", "directory", "is a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "logs.db")
			switch c.setup {
			case "missing":
			case "directory":
				if err := os.Mkdir(path, 0o755); err != nil {
					t.Fatal(err)
				}
			case "", "text":
				if err := os.WriteFile(path, []byte(strings.Repeat(c.setup, 1000)), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				db, err := sql.Open("sqlite", path)
				if err != nil {
					t.Fatal(err)
				}
				change(t, db, c.setup)
				db.Close()
			}
			code, out := forwardArgs(t, "-once", "-db", path, "-to", address, "-source", c.name)
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want 1 with %q:\n%s", code, c.want, out)
			}
		})
	}
}

func TestTheTableIsDroppedFromTheFileWhileItIsFollowed(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	change(t, db, "CREATE TABLE other (id)")
	write(t, db, entries(10, 0)...)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 10)
	change(t, db, "DROP TABLE logs")
	if code := f.wait(t); code != 1 || !strings.Contains(f.out.String(), "no table logs") {
		t.Errorf("exit code %d:\n%s", code, f.out.String())
	}
}

// A batch is bounded in bytes as well as in rows, and a value too large for
// any batch stays behind without being loaded.
func TestBatchesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	large := strings.Repeat("x", batchBytes/4)
	for i := range 10 {
		write(t, db, entry{"error", large, "2026-11-22T15:24:00Z", fmt.Sprint(i)})
	}
	change(t, db, fmt.Sprintf("INSERT INTO logs (level, message, timestamp, details) VALUES ('error', zeroblob(%d), '2026-11-22T15:24:00Z', '{}')", valueLimit+1))
	write(t, db, entries(3*batchRows, 0)...)

	src, err := openSource(t.Context(), path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	var pos position
	rows := 0
	for atEnd := false; !atEnd; {
		var b batch
		if b, atEnd, err = src.read(t.Context(), pos); err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, r := range b.rows {
			size += len(r.message) + len(r.details.String)
			if r.id == 11 && r.message != fmt.Sprintf("(%d bytes, too large to ship)", valueLimit+1) {
				t.Errorf("the large message became %.100q", r.message)
			}
		}
		if len(b.rows) > batchRows || size > batchBytes+len(large) {
			t.Errorf("a batch of %d rows, %d bytes", len(b.rows), size)
		}
		rows += len(b.rows)
		pos = b.end
	}
	if want := 11 + 3*batchRows; rows != want {
		t.Errorf("%d rows, want %d", rows, want)
	}
}
