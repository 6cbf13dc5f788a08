package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/entry"
)

// insertRows stores n rows with the given message and time.
func insertRows(t *testing.T, path string, n int, message, timestamp string) {
	t.Helper()
	runSQL(t, path, fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < %d)
		INSERT INTO logs(level, message, timestamp, details) SELECT 'error', '%s', '%s', '{"i":'||i||'}' FROM c`, n, message, timestamp))
}

// ago returns the time d before now, as the service stores it.
func ago(d time.Duration) string {
	return string(entry.AppendTime(nil, time.Now().Add(-d).UTC()))
}

// newTestRetention returns the retention of the database at path; args are
// flags.
func newTestRetention(t *testing.T, path string, args ...string) *retention {
	t.Helper()
	cfg, err := parseTest(t, nil, args...)
	must(t, err)
	r := newRetention(mustOpen(t, path), time.Duration(cfg.retain), int64(cfg.maxDB), slog.New(slog.DiscardHandler), new(metrics))
	t.Cleanup(func() {
		if err := errors.Join(r.close(), r.db.close()); err != nil {
			t.Error(err)
		}
		if files, err := filepath.Glob(path + "*"); err != nil || len(files) != 1 {
			t.Errorf("got the files %v and error %v after close, want only %s", files, err, path)
		}
	})
	return r
}

// finish makes steps until there is nothing more to do, and returns how many.
func (r *retention) finish() (steps int) {
	for r.step(0) {
		steps++
	}
	return steps
}

// checkDeleted fails the test unless r has deleted want rows.
func (r *retention) checkDeleted(t *testing.T, want int64) {
	t.Helper()
	if n := r.metrics.deleted.Load(); n != want {
		t.Errorf("deleted %d rows, want %d", n, want)
	}
}

// newFile returns the path of a new, empty database.
func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logs.db")
	must(t, mustOpen(t, path).close())
	return path
}

// Rows older than -retain are deleted, and no others, even if some of the rows
// have a wrong time.
func TestRetentionByAge(t *testing.T) {
	path := newFile(t)
	insertRows(t, path, 1, "2099", "2099-01-01T00:00:00.000000000Z")
	insertRows(t, path, 1, "1970", "1970-01-01T00:00:00.000000000Z")
	insertRows(t, path, 1, "unreadable", "yesterday")
	insertRows(t, path, 3000, "old", ago(2*time.Hour))
	insertRows(t, path, 2*sweepGiveUpAfter, "future", "2099-01-01T00:00:00.000000000Z")
	insertRows(t, path, 500, "old", ago(70*time.Minute))
	insertRows(t, path, 1, "old, of the Rust service", time.Now().Add(-2*time.Hour).UTC().Format("2006-01-02T15:04:05.999999999+00:00"))
	insertRows(t, path, 1, "old, other time zone", time.Now().Add(-2*time.Hour).In(time.FixedZone("", 14*3600)).Format(time.RFC3339))
	insertRows(t, path, 700, "young", ago(50*time.Minute))
	insertRows(t, path, 1, "1970", "1970-01-01T00:00:00.000000000Z")

	r := newTestRetention(t, path, "-retain", "1h")
	// The first sweep is a full one.
	if steps := r.finish(); steps < 20 {
		t.Errorf("the sweep took %d steps, want at least 20 small ones", steps)
	}
	got := query(t, path, "SELECT group_concat(message||' '||n) FROM (SELECT message, count(*) n FROM logs GROUP BY message ORDER BY min(id))")
	if want := fmt.Sprintf("2099 1,unreadable 1,future %d,young 700", 2*sweepGiveUpAfter); got != want {
		t.Errorf("got the rows %s, want %s", got, want)
	}
	r.checkDeleted(t, 3504)

	// The next sweep gives up before it reaches this row; a full one does not.
	insertRows(t, path, 1, "old", ago(2*time.Hour))
	r.nextSweep = time.Time{}
	r.finish()
	r.checkDeleted(t, 3504)
	r.nextSweep, r.nextFull = time.Time{}, time.Time{}
	r.finish()
	r.checkDeleted(t, 3505)
}

// While the database is larger than -max-db, the oldest rows are deleted and the
// file shrinks.
func TestRetentionBySize(t *testing.T) {
	const maxSize = 1 << 20
	path := newFile(t)
	insertRows(t, path, 20_000, strings.Repeat("x", 100), ago(0))
	insertRows(t, path, 100, "newest", ago(0))
	r := newTestRetention(t, path, "-max-db", "1MiB")
	if size, _, err := r.pageBytes(); err != nil || size < 3*maxSize {
		t.Fatalf("before: got %d bytes and error %v, want at least %d bytes", size, err, 3*maxSize)
	}
	r.finish()
	if size, _, err := r.pageBytes(); err != nil || size > maxSize {
		t.Errorf("after: got %d bytes and error %v, want at most %d bytes", size, err, maxSize)
	}
	if got := query(t, path, "SELECT count(*) FROM logs WHERE message='newest'"); got != "100" {
		t.Errorf("got %s of the newest rows, want 100", got)
	}
	if got := query(t, path, "SELECT count(*) > 2000 AND min(id) + count(*) = max(id) + 1 FROM logs"); got != "1" {
		t.Error("got too few rows, or a gap between their ids; want more than 2000 rows without a gap")
	}
	must(t, r.db.conn.checkpoint())
	info, err := os.Stat(path)
	must(t, err)
	if info.Size() > maxSize {
		t.Errorf("got a file of %d bytes, want at most %d", info.Size(), maxSize)
	}
}

// If rows are large, only as many are deleted as necessary.
func TestRetentionOfLargeRows(t *testing.T) {
	s := newTestService(t, "-max-db", "8MiB")
	for i := range 20 {
		body := fmt.Sprintf(`{"level":"error","msg":"%d","large":"%s"}`, i, strings.Repeat("x", 1<<20))
		if w := s.post(body); w.Code != 200 {
			t.Fatalf("post: got %d %s, want 200", w.Code, w.Body)
		}
		// The columns are the newest id, whether only the oldest rows are missing,
		// and whether at least six rows remain.
		got := query(t, s.path, "SELECT max(id) || '|' || (max(id) - min(id) + 1 = count(*)) || '|' || (count(*) >= min(max(id), 6)) FROM logs")
		if want := fmt.Sprintf("%d|1|1", i+1); got != want {
			t.Fatalf("after row %d: got %s, want %s", i+1, got, want)
		}
	}
	if n := s.metrics.deleted.Load(); n < 12 {
		t.Errorf("deleted %d rows, want at least 12", n)
	}
}

// The selected rows have between a half and all of the given size, unless the first row
// is larger, or n or the number of rows limits them.
func TestRetentionOldestRows(t *testing.T) {
	path := newFile(t)
	insertRows(t, path, 1, strings.Repeat("x", 1<<20), ago(time.Hour))
	insertRows(t, path, 5000, "small", ago(time.Hour))
	r := newTestRetention(t, path, "-max-db", "1MiB")
	for _, test := range []struct {
		name        string
		n           int
		size        int64
		first, last int64 // the result must be between them
	}{
		{"less than the first row", 1000, 1000, 1, 1},
		{"the first row and some", 5000, 1<<20 + 10_000, 1, 220},
		{"more than n rows", 3000, 1 << 30, 3000, 3000},
		{"more than all rows", 10_000, 1 << 30, 5001, 5001},
	} {
		last, ok, err := r.oldest(test.n, test.size)
		if err != nil || !ok || last < test.first || test.last < last {
			t.Errorf("%s: got id %d, %t and error %v, want %d to %d", test.name, last, ok, err, test.first, test.last)
		}
	}
	runSQL(t, path, "DELETE FROM logs WHERE id > 1")
	runSQL(t, path, "UPDATE logs SET id = 0")
	if last, ok, err := r.oldest(1000, 1); err != nil || !ok || last != 0 {
		t.Errorf("id 0: got id %d, %t and error %v, want 0", last, ok, err)
	}
	runSQL(t, path, "DELETE FROM logs")
	if _, ok, err := r.oldest(1000, 1); err != nil || ok {
		t.Errorf("no rows: got %t and error %v, want false", ok, err)
	}
}

// A file without auto_vacuum, such as the Rust service's, cannot shrink. Its
// free pages are reused, so they do not count.
func TestRetentionWithoutAutoVacuum(t *testing.T) {
	const maxSize = 1 << 20
	path := filepath.Join(t.TempDir(), "logs.db")
	runSQL(t, path, schema)
	insertRows(t, path, 20_000, strings.Repeat("x", 100), ago(0))
	r := newTestRetention(t, path, "-max-db", "1MiB")
	r.finish()
	size, free, err := r.pageBytes()
	if used := size - free; err != nil || used > maxSize || used < maxSize/2 {
		t.Errorf("got %d bytes in use and error %v, want %d to %d bytes", used, err, maxSize/2, maxSize)
	}
}

// While entries arrive as fast as possible, the file keeps its size, old rows
// are deleted, and the newest rows are kept.
func TestRetentionWhileWriting(t *testing.T) {
	s := newTestService(t, "-max-db", "1MiB", "-retain", "1h")
	runSQL(t, s.path, "INSERT INTO logs(level, message, timestamp) VALUES('error', 'old', '2001-01-01T00:00:00.000000000Z')")
	one := `{"level":"error","msg":"` + strings.Repeat("x", 100) + `"}`
	for i := range 100 {
		body := strings.Repeat(one, 300) + fmt.Sprintf(`{"level":"error","msg":"last of %d"}`, i)
		if w := s.post(body); w.Code != 200 {
			t.Fatalf("post: got %d %s, want 200", w.Code, w.Body)
		}
		if got := query(t, s.path, "SELECT page_count * page_size < 2 * 1024 * 1024 FROM pragma_page_count, pragma_page_size"); got != "1" {
			t.Fatalf("after %d requests, the database is larger than 2 MiB", i+1)
		}
	}
	if got, want := query(t, s.path, "SELECT message FROM logs ORDER BY id DESC LIMIT 1"), "last of 99"; got != want {
		t.Errorf("got the last row %q, want %q", got, want)
	}
	if got := query(t, s.path, "SELECT count(*) FROM logs WHERE message='old'"); got != "0" {
		t.Errorf("got %s expired rows, want 0", got)
	}
	if n := s.metrics.deleted.Load(); n == 0 {
		t.Error("deleted 0 rows, want more")
	}
	if n := s.metrics.stored.Load(); n != 30100 {
		t.Errorf("stored %d rows, want 30100", n)
	}
}

// The reserve file of a killed process is removed even if nothing is deleted
// any more.
func TestRetentionRemovesOldReserve(t *testing.T) {
	path := newFile(t)
	must(t, os.WriteFile(path+"-reserve", make([]byte, 1000), 0o600))
	newTestService(t, "-db", path)
	if _, err := os.Stat(path + "-reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat of the reserve file: got %v, want %v", err, os.ErrNotExist)
	}
}

// A link at the path of the reserve file is replaced, so that another user who can
// write to the directory cannot make the service overwrite the link's target.
func TestReserveReplacesLink(t *testing.T) {
	path := newFile(t)
	target := filepath.Join(t.TempDir(), "target")
	must(t, os.WriteFile(target, []byte("content"), 0o600))
	if err := os.Symlink(target, path+"-reserve"); err != nil {
		skipOrFail(t, fmt.Sprintf("symbolic links: %v", err))
	}
	newTestRetention(t, path, "-retain", "1h")
	if content, err := os.ReadFile(target); err != nil || string(content) != "content" {
		t.Errorf("got %d bytes and error %v in the target, want it unchanged", len(content), err)
	}
	if info, err := os.Lstat(path + "-reserve"); err != nil || !info.Mode().IsRegular() || info.Size() != reserveSize {
		t.Errorf("got reserve file %v and error %v, want a regular file of %d bytes", info, err, reserveSize)
	}
}

// A full disk can prevent the database from being reopened. makeRoom tries that
// first, and deletes rows.
func TestMakeRoomReopensDatabase(t *testing.T) {
	path := newFile(t)
	insertRows(t, path, 1, "old", ago(2*time.Hour))
	r := newTestRetention(t, path, "-retain", "1h")
	must(t, r.db.disconnect())
	if !r.makeRoom() {
		t.Error("makeRoom: got false, want true")
	}
	r.checkDeleted(t, 1)
}
