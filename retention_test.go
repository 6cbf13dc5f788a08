package main

import (
	"errors"
	"fmt"
	"log-ingester/internal/entry"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// insertRows stores n rows with the given message and time.
func insertRows(t *testing.T, path string, n int, message, timestamp string) {
	t.Helper()
	runSQL(t, path, fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < %d)
		INSERT INTO logs(level, message, timestamp, details) SELECT 'error', '%s', '%s', '{"i":'||i||'}' FROM c`, n, message, timestamp))
}

func ago(d time.Duration) string {
	return string(entry.AppendTime(nil, time.Now().Add(-d).UTC()))
}

func newTestRetention(t *testing.T, path string, args ...string) *retention {
	t.Helper()
	cfg, err := parseTest(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	r := newRetention(mustOpen(t, path), cfg.retain, int64(cfg.maxDB), slog.New(slog.DiscardHandler), new(metrics))
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
		if err := r.db.close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
			t.Errorf("files are left behind: %v", left)
		}
	})
	return r
}

func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logs.db")
	if err := mustOpen(t, path).close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Rows older than -retain go, however the clocks of others were wrong, and no
// other does.
func TestRetainByAge(t *testing.T) {
	path := newFile(t)
	insertRows(t, path, 1, "2099", "2099-01-01T00:00:00.000000000Z")
	insertRows(t, path, 1, "1970", "1970-01-01T00:00:00.000000000Z")
	insertRows(t, path, 1, "unreadable", "yesterday")
	insertRows(t, path, 3000, "old", ago(2*time.Hour))
	insertRows(t, path, 2*sweepGiveUpAfter, "future", "2099-01-01T00:00:00.000000000Z")
	insertRows(t, path, 500, "old", ago(70*time.Minute))
	insertRows(t, path, 1, "old, of the Rust service", time.Now().Add(-2*time.Hour).UTC().Format("2006-01-02T15:04:05.999999999+00:00"))
	insertRows(t, path, 1, "old, elsewhere", time.Now().Add(-2*time.Hour).In(time.FixedZone("", 14*3600)).Format(time.RFC3339))
	insertRows(t, path, 700, "young", ago(50*time.Minute))
	insertRows(t, path, 1, "1970", "1970-01-01T00:00:00.000000000Z")

	r := newTestRetention(t, path, "-retain", "1h")
	steps := 0
	for r.step(0) {
		steps++
	}
	got := query(t, path, "SELECT group_concat(message||' '||n) FROM (SELECT message, count(*) n FROM logs GROUP BY message ORDER BY min(id))")
	want := fmt.Sprintf("2099 1,unreadable 1,future %d,young 700", 2*sweepGiveUpAfter)
	if got != want {
		t.Errorf("left %s\nwant %s", got, want)
	}
	if n := r.metrics.deleted.Load(); n != 3504 {
		t.Errorf("%d rows are counted as deleted, want 3504", n)
	}
	if steps < 20 {
		t.Errorf("it took only %d steps, which were too large", steps)
	}
	// The next sweep finds what has expired since, and ends early.
	insertRows(t, path, 1, "old", ago(2*time.Hour))
	r.nextSweep = time.Time{}
	for r.step(0) {
	}
	if n := r.metrics.deleted.Load(); n != 3504 {
		t.Errorf("behind %d rows of the future, the short sweep found a row", 2*sweepGiveUpAfter)
	}
	r.nextSweep = time.Time{}
	r.nextFull = time.Time{}
	for r.step(0) {
	}
	if n := r.metrics.deleted.Load(); n != 3505 {
		t.Errorf("the full sweep did not find the row that had expired")
	}
}

// The oldest rows go while the database is larger than -max-db, and the file
// shrinks to it.
func TestRetainBySize(t *testing.T) {
	path := newFile(t)
	insertRows(t, path, 20_000, strings.Repeat("x", 100), ago(0))
	insertRows(t, path, 100, "newest", ago(0))
	r := newTestRetention(t, path, "-max-db", "1MiB")
	if size, _, err := r.pageBytes(); err != nil || size < 3<<20 {
		t.Fatalf("the test's database has %d bytes, %v", size, err)
	}
	for r.step(0) {
	}
	if size, _, err := r.pageBytes(); err != nil || size > 1<<20 {
		t.Errorf("the database has %d bytes, %v", size, err)
	}
	if got := query(t, path, "SELECT count(*) FROM logs WHERE message='newest'"); got != "100" {
		t.Errorf("%s of the newest rows are left", got)
	}
	if got := query(t, path, "SELECT count(*) > 2000 AND min(id) + count(*) = max(id) + 1 FROM logs"); got != "1" {
		t.Error("more than the oldest rows went")
	}
	if err := r.db.conn.checkpoint(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

// Of large rows only as many go as the database has to lose.
func TestRetainBySizeOfLargeRows(t *testing.T) {
	s := newTestService(t, "-max-db", "8MiB")
	for i := range 20 {
		body := fmt.Sprintf(`{"level":"error","msg":"%d","large":"%s"}`, i, strings.Repeat("x", 1<<20))
		if w := s.post(body); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		got := query(t, s.path, "SELECT max(id) || '|' || (max(id) - min(id) + 1 = count(*)) || '|' || (count(*) >= min(max(id), 6)) FROM logs")
		if want := fmt.Sprintf("%d|1|1", i+1); got != want {
			t.Fatalf("after row %d: %s, want %s", i+1, got, want)
		}
	}
	if n := s.metrics.deleted.Load(); n < 12 {
		t.Errorf("only %d rows are deleted", n)
	}
}

// A file without auto_vacuum, such as the Rust service's, cannot shrink; its
// free pages are used again, and not all rows are deleted for it.
func TestRetainBySizeWithoutVacuum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	runSQL(t, path, schema)
	insertRows(t, path, 20_000, strings.Repeat("x", 100), ago(0))
	r := newTestRetention(t, path, "-max-db", "1MiB")
	for r.step(0) {
	}
	size, free, err := r.pageBytes()
	if err != nil || size-free > 1<<20 || size-free < 1<<19 {
		t.Errorf("%d of %d bytes are used, %v", size-free, size, err)
	}
}

// While entries come as fast as they can, the file keeps to its size, the
// newest entries are there, and nobody waits long.
func TestRetainWhileWriting(t *testing.T) {
	s := newTestService(t, "-max-db", "1MiB", "-retain", "1h")
	runSQL(t, s.path, "INSERT INTO logs(level, message, timestamp) VALUES('error', 'old', '2001-01-01T00:00:00.000000000Z')")
	one := `{"level":"error","msg":"` + strings.Repeat("x", 100) + `"}`
	for i := range 100 {
		body := strings.Repeat(one, 300) + fmt.Sprintf(`{"level":"error","msg":"last of %d"}`, i)
		if w := s.post(body); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		size := query(t, s.path, "SELECT page_count * page_size < 2 * 1024 * 1024 FROM pragma_page_count, pragma_page_size")
		if size != "1" {
			t.Fatalf("after %d requests the database has more than twice its size", i)
		}
	}
	if got := query(t, s.path, "SELECT message FROM logs ORDER BY id DESC LIMIT 1"); got != "last of 99" {
		t.Errorf("the last row is %q", got)
	}
	if got := query(t, s.path, "SELECT count(*) FROM logs WHERE message='old'"); got != "0" {
		t.Error("the expired row is still there")
	}
	if s.metrics.deleted.Load() == 0 || s.metrics.stored.Load() != 30100 {
		t.Errorf("%d deleted, %d stored", s.metrics.deleted.Load(), s.metrics.stored.Load())
	}
}

// The reserve of a program that was killed does not stay when nothing is
// deleted any more.
func TestReserveOfAnotherRun(t *testing.T) {
	path := newFile(t)
	if err := os.WriteFile(path+"-reserve", make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	newTestService(t, "-db", path)
	if _, err := os.Stat(path + "-reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there, %v", err)
	}
}

// A full disk may have kept the database from being opened anew: room is made
// all the same.
func TestMakeRoomReopens(t *testing.T) {
	path := newFile(t)
	insertRows(t, path, 1, "old", ago(2*time.Hour))
	r := newTestRetention(t, path, "-retain", "1h")
	if err := r.db.disconnect(); err != nil {
		t.Fatal(err)
	}
	if !r.makeRoom() {
		t.Error("there is no room")
	}
	if n := r.metrics.deleted.Load(); n != 1 {
		t.Errorf("%d rows are deleted, want 1", n)
	}
}
