package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/logread"
	"log-ingester/internal/summary"
)

// openSummarized opens the database at path for writing, and checks that summaries can
// be stored.
func openSummarized(t *testing.T, path string) *database {
	t.Helper()
	db := mustOpen(t, path)
	t.Cleanup(func() { must(t, db.close()) })
	if !db.summaries.installed {
		t.Fatal("the tables of the summaries are not installed")
	}
	return db
}

// summarizeAll stores all missing summaries.
func summarizeAll(t *testing.T, db *database) {
	t.Helper()
	jobs := make(chan writerJob)
	s := newSummarizer(db.path, jobs, func() bool { return false }, slog.New(slog.DiscardHandler))
	done := make(chan error)
	go func() {
		err := s.summarizeNew(s.ctx)
		s.close()
		done <- err
	}()
	w := &writer{db: db}
	for {
		select {
		case job := <-jobs:
			w.do(job)
		case err := <-done:
			must(t, err)
			return
		}
	}
}

// fillSummarized returns the path of a database with two and a half segments, all of
// whose complete blocks have a summary.
func fillSummarized(t *testing.T) string {
	t.Helper()
	path := newFile(t)
	runSQL(t, path, `WITH RECURSIVE ids(id) AS (VALUES (1) UNION ALL SELECT id + 10 FROM ids WHERE id < 160000)
		INSERT INTO logs SELECT id, 'error', 'user ' || id, strftime('%Y-%m-%dT%H:%M:%SZ', 1793491200 + id, 'unixepoch'),
		'{"user_id":' || id || '}' FROM ids`)
	db := mustOpen(t, path)
	summarizeAll(t, db)
	must(t, db.close())
	if got := query(t, path, "SELECT sum(counts IS NOT NULL AND filter IS NOT NULL) FROM logs_segments"); got != "3" {
		t.Fatalf("got %s summaries, want 3", got)
	}
	return path
}

// readFile returns the response to a read of the database.
func readFile(t *testing.T, path, target string) string {
	t.Helper()
	r, err := logread.Open(path, logread.Config{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer r.Close()
	w := httptest.NewRecorder()
	serve := r.ServeLogs
	if strings.HasPrefix(target, "/logs/histogram") {
		serve = r.ServeHistogram
	}
	serve(w, httptest.NewRequest("GET", target, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s = %d %s, want 200", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// checkReads compares reads with those of a copy without summaries.
func checkReads(t *testing.T, path string) {
	t.Helper()
	duplicate := filepath.Join(t.TempDir(), "copy.db")
	runSQL(t, path, "VACUUM INTO '"+duplicate+"'")
	runSQL(t, duplicate, "PRAGMA journal_mode=WAL", "DROP TABLE logs_segments")
	for _, target := range []string{"/logs/histogram", "/logs/histogram?buckets=500&since=2026-11-01T03:00:30Z",
		"/logs/histogram?q=9", "/logs?q=zanzibar", "/logs?q=user+15551", "/logs?details.user_id=70001", "/logs?level=fatal"} {
		if got, want := readFile(t, path, target), readFile(t, duplicate, target); got != want {
			t.Errorf("GET %s = %.2000s\nwithout summaries: %.2000s", target, got, want)
		}
	}
}

// The running service makes summaries without a request.
func TestSummariesAreMade(t *testing.T) {
	s := newTestService(t)
	s.summary.start()
	defer s.summary.stop()
	body := strings.Repeat(`{"level":"error","message":"m"}`+"\n", 3*summary.BlockSize)
	if w := s.post(body); w.Code != http.StatusOK {
		t.Fatalf("POST /ingest = %d, want 200", w.Code)
	}
	waitFor(t, "a summary", func() bool {
		return query(t, s.path, "SELECT count(filter) FROM logs_segments") == "1"
	})
	checkReads(t, s.path)
}

// The writer's connection does not execute the triggers, but others do, even after
// another program has changed the schema.
func TestSummaryTriggersAreHidden(t *testing.T) {
	path := newFile(t)
	db := openSummarized(t, path)
	const insert = "INSERT INTO logs(level, message, timestamp) VALUES ('error', '', '')"
	check := func() {
		t.Helper()
		must(t, db.summaries.begin(db.conn, summary.Task{Segment: 0, Blocks: 64}))
		must(t, db.conn.exec(insert))
		if got := query(t, path, "SELECT count(*) FROM logs_segments"); got != "1" {
			t.Errorf("after the writer's insert, got %s segments, want 1", got)
		}
		runSQL(t, path, insert)
		if got := query(t, path, "SELECT count(*) FROM logs_segments"); got != "0" {
			t.Errorf("after another program's insert, got %s segments, want 0", got)
		}
	}
	check()
	runSQL(t, path, "CREATE INDEX logs_level ON logs(level)")
	db.summaries.nextCheck = time.Time{}
	must(t, db.summaries.ensure(db.conn))
	check()
	if got := query(t, path, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("PRAGMA integrity_check = %s, want ok", got)
	}
}

// A summary is not stored if another program has changed its entries since begin.
func TestSummaryOfChangedEntries(t *testing.T) {
	for statement, want := range map[string]error{
		"UPDATE logs SET message = 'zanzibar' WHERE id = 11":                                 errChanged,
		"DELETE FROM logs WHERE id = 11":                                                     errChanged,
		"REPLACE INTO logs VALUES (11, 'fatal', 'zanzibar', '', NULL)":                       errChanged,
		"INSERT INTO logs VALUES (12, 'fatal', 'zanzibar', '', NULL)":                        errChanged,
		"INSERT INTO logs(level, message, timestamp) VALUES ('fatal', 'zanzibar', '')":       nil,
		"UPDATE logs SET message = 'zanzibar' WHERE id = (SELECT max(id) FROM logs)":         nil,
		"DELETE FROM logs WHERE id = (SELECT max(id) FROM logs)":                             nil,
		"REPLACE INTO logs VALUES ((SELECT max(id) FROM logs), 'fatal', 'zanzibar', '', '')": nil,
	} {
		path := fillSummarized(t)
		db := openSummarized(t, path)
		task := summary.Task{Segment: 0, Blocks: 64}
		must(t, db.summaries.begin(db.conn, task))
		source, err := summary.OpenSource(path)
		must(t, err)
		sum, err := source.Build(context.Background(), task, func(time.Duration) error { return nil })
		must(t, errors.Join(err, source.Close()))
		runSQL(t, path, statement)
		if err := db.summaries.store(db.conn, task, sum); !errors.Is(err, want) {
			t.Errorf("store after %s = %v, want %v", statement, err, want)
		}
		checkReads(t, path)
	}
}

// If ids restart, the writer removes the summaries in the transaction that inserts.
func TestSummariesWhenIDsRestart(t *testing.T) {
	path := fillSummarized(t)
	db := openSummarized(t, path)
	runSQL(t, path, "DELETE FROM logs")
	summarizeAll(t, db)
	runSQL(t, path, "DELETE FROM logs", "DELETE FROM sqlite_sequence WHERE name = 'logs'")
	_, err := db.write([]*batch{newTestBatch("zanzibar")})
	must(t, err)
	checkReads(t, path)
	if got := readFile(t, path, "/logs?q=zanzibar"); !strings.Contains(got, "zanzibar") {
		t.Errorf("GET /logs?q=zanzibar = %s, want the new entry", got)
	}
}

// Retention removes summaries together with their entries. Those of a segment that
// loses a part of its entries remain, except for its counts.
func TestRetentionRemovesSummaries(t *testing.T) {
	for _, r := range []struct {
		name          string
		args, prepare string // a flag, and a statement
	}{
		{"age", "-retain=1h", "UPDATE logs SET timestamp = '2020-01-01T00:00:00Z' WHERE id < 70000"},
		{"size", "-max-db=2MiB", "UPDATE logs SET message = message || hex(zeroblob(100)) WHERE id < 70000"},
	} {
		t.Run(r.name, func(t *testing.T) {
			path := fillSummarized(t)
			runSQL(t, path, "UPDATE logs SET timestamp = '2099-01-01T00:00:00Z'", r.prepare)
			ret := newTestRetention(t, path, r.args)
			summarizeAll(t, ret.db)
			ret.finish()
			if ret.metrics.deleted.Load() == 0 {
				t.Fatal("retention has deleted nothing")
			}
			const older = "SELECT count(*) FROM logs_segments WHERE segment < (SELECT min(id) >> 16 FROM logs)"
			if got := query(t, path, older); got != "0" {
				t.Errorf("got %s summaries of deleted segments, want 0", got)
			}
			const partly = "SELECT min(segment) = (SELECT min(id) >> 16 FROM logs)" +
				" AND counts IS NULL AND filter IS NOT NULL FROM logs_segments"
			if got := query(t, path, partly); got != "1" {
				t.Errorf("the oldest segment has no filter, or still has its counts")
			}
			if got := query(t, path, "SELECT count(*) - (SELECT sum(pages) FROM logs_segments) FROM logs_filters"); got != "0" {
				t.Errorf("got %s filter pages of no segment, want 0", got)
			}
			checkReads(t, path)
		})
	}
}

// Whenever the process is killed, the summaries are correct, also if other programs
// change entries while it runs or not.
func TestSummariesAfterKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	r := rand.New(rand.NewPCG(11, 12))
	for round := range 4 {
		p := start(t, path, "-level", "info")
		for range 6 {
			postRandom(t, p, r)
		}
		waitFor(t, "a summary", func() bool {
			return query(t, path, "SELECT count(filter) FROM logs_segments") != "0"
		})
		deadline := time.Now().Add(time.Duration(r.IntN(1500)) * time.Millisecond)
		for time.Now().Before(deadline) {
			changeRows(t, path, r)
			postRandom(t, p, r)
			time.Sleep(20 * time.Millisecond)
		}
		must(t, p.cmd.Process.Kill())
		p.wait()
		if round%2 == 1 {
			changeRows(t, path, r)
		}
		checkReads(t, path)
		if got := query(t, path, "PRAGMA integrity_check"); got != "ok" {
			t.Fatalf("PRAGMA integrity_check = %s, want ok", got)
		}
	}
}

// postRandom sends random entries.
func postRandom(t *testing.T, p *process, r *rand.Rand) {
	t.Helper()
	var body strings.Builder
	for i := range 500 {
		level := []string{"error", "fatal"}[i&1]
		fmt.Fprintf(&body, `{"level":"%s","message":"user %d","user_id":%d}`, level, r.IntN(20000), 70000+i)
	}
	resp, err := http.Post(p.url+"/ingest?wait=1", "", strings.NewReader(body.String()))
	must(t, err)
	resp.Body.Close()
}

// changeRows changes a few rows.
func changeRows(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	const anyRow = "(SELECT ifnull(abs(random()) % max(id), 0) FROM logs)"
	runSQL(t, path, []string{
		"UPDATE logs SET message = 'zanzibar' WHERE id = " + anyRow,
		"DELETE FROM logs WHERE id = " + anyRow,
		"REPLACE INTO logs VALUES (" + anyRow + ", 'info', 'zanzibar', '2026-11-01T00:00:00Z', NULL)",
	}[r.IntN(3)])
}

// The summarizer stops while the writer executes one of its jobs.
func TestSummarizerStopsDuringJob(t *testing.T) {
	jobs := make(chan writerJob)
	s := newSummarizer(newFile(t), jobs, func() bool { return false }, slog.New(slog.DiscardHandler))
	stopped := make(chan error, 1)
	go func() { stopped <- s.summarizeNew(s.ctx) }()
	<-jobs // the job is never done
	s.cancel()
	if err := receive(t, "the end of summarizeNew", stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("summarizeNew() = %v, want %v", err, context.Canceled)
	}
}
