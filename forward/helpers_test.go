//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// testTimeout limits every wait in the tests. It only decides when to give up:
// no test checks how fast something is.
const testTimeout = 2 * time.Minute

// timeoutContext returns a context for one step of a test or of its cleanup.
func timeoutContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	tb.Cleanup(cancel)
	return ctx
}

// waitUntil polls the condition, which description describes.
func waitUntil(tb testing.TB, description string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("timed out waiting until %s", description)
		}
	}
}

// Helpers for logs.db.

// createTable is the statement of the ingester.
const createTable = `CREATE TABLE IF NOT EXISTS logs (
	id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
	timestamp TEXT NOT NULL, details TEXT)`

// newLogsDB creates a logs.db as the ingester does, or opens an existing one. It
// returns the database open for writing.
func newLogsDB(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	db, err := sql.Open("sqlite", "file:"+escaped+"?_pragma=journal_mode(wal)&_pragma=synchronous(off)&_pragma=busy_timeout(10000)")
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { db.Close() })
	execSQLite(tb, db, createTable)
	return db
}

func execSQLite(tb testing.TB, db *sql.DB, statements ...string) {
	tb.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
}

// An entry is a row to insert into a logs.db.
type entry struct {
	level, message, timestamp, details any
}

// insert inserts the entries in one transaction.
func insert(tb testing.TB, db *sql.DB, entries ...entry) {
	tb.Helper()
	if err := tryInsert(db, entries...); err != nil {
		tb.Fatal(err)
	}
}

func tryInsert(db *sql.DB, entries ...entry) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	stmt, err := tx.Prepare(`INSERT INTO logs (level, message, timestamp, details) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := stmt.Exec(e.level, e.message, e.timestamp, e.details); err != nil {
			return err
		}
	}
	return tx.Commit()
}

var firstTime = time.Date(2026, 11, 22, 15, 24, 0, 123456789, time.UTC)

// makeEntries returns count typical entries, numbered from first. All are
// different.
func makeEntries(count, first int) []entry {
	entries := make([]entry, count)
	for i := range entries {
		n := first + i
		entries[i] = entry{
			level:     []string{"error", "fatal", "warn"}[n%3],
			message:   fmt.Sprintf("connection to upstream failed, attempt %d", n),
			timestamp: firstTime.Add(time.Duration(n) * 1234567 * time.Nanosecond).Format("2006-01-02T15:04:05.000000000Z"),
			details:   fmt.Sprintf(`{"service": "checkout", "host": "web-%d", "status": 502, "request": {"id": "%032x", "ms": %d.5}}`, n%7, n, n%1000),
		}
		if n%10 == 9 {
			entries[i].details = nil
		}
	}
	return entries
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Helpers for PostgreSQL.

func dial(tb testing.TB, address string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(timeoutContext(tb), address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(timeoutContext(tb)) })
	return conn
}

// execPostgres executes the statements, each in its own transaction.
func execPostgres(tb testing.TB, address string, statements ...string) {
	tb.Helper()
	conn := dial(tb, address)
	defer conn.Close(timeoutContext(tb))
	for _, s := range statements {
		if _, err := conn.Exec(timeoutContext(tb), s); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
}

// queryValue returns the only value of the query's only row.
func queryValue[T any](tb testing.TB, address, query string, args ...any) T {
	tb.Helper()
	conn := dial(tb, address)
	defer conn.Close(timeoutContext(tb))
	var v T
	if err := conn.QueryRow(timeoutContext(tb), query, args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return v
}

func countRows(tb testing.TB, address string) int {
	tb.Helper()
	return queryValue[int](tb, address, "SELECT count(*) FROM logs")
}

// waitForRows waits until the table exists and has n rows.
func waitForRows(tb testing.TB, address string, n int) {
	tb.Helper()
	waitUntil(tb, fmt.Sprintf("%d rows arrive", n), func() bool {
		return queryValue[bool](tb, address, "SELECT to_regclass('logs') IS NOT NULL") && countRows(tb, address) == n
	})
}

// checkRows checks that PostgreSQL has each row of the file once and unchanged.
func checkRows(tb testing.TB, path, address, source string) (rows int) {
	tb.Helper()
	file, err := openReadOnly(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	want, err := file.Query(`SELECT id, level, message, timestamp, details FROM logs ORDER BY id`)
	if err != nil {
		tb.Fatal(err)
	}
	defer want.Close()
	got, err := dial(tb, address).Query(timeoutContext(tb), `
		SELECT id, level, message, timestamp, details::text FROM logs WHERE source = $1 ORDER BY id`, source)
	if err != nil {
		tb.Fatal(err)
	}
	defer got.Close()

	for want.Next() {
		rows++
		var w, g struct {
			id             int64
			level, message string
			details        *string
		}
		var text string
		var at time.Time
		if err := want.Scan(&w.id, &w.level, &w.message, &text, &w.details); err != nil {
			tb.Fatal(err)
		}
		if !got.Next() {
			tb.Fatalf("source %s: no row %d in PostgreSQL: %v", source, w.id, got.Err())
		}
		if err := got.Scan(&g.id, &g.level, &g.message, &at, &g.details); err != nil {
			tb.Fatal(err)
		}
		wantTime, err := time.Parse(time.RFC3339, text)
		if err != nil {
			tb.Fatal(err)
		}
		if g.id != w.id || g.level != w.level || g.message != w.message || !at.Equal(wantTime.Truncate(time.Microsecond)) || !sameJSON(tb, w.details, g.details) {
			tb.Fatalf("source %s: got row %+v %s, want %+v %s", source, g, at, w, text)
		}
	}
	if err := want.Err(); err != nil {
		tb.Fatal(err)
	}
	if got.Next() {
		tb.Fatalf("source %s: got more than %d rows in PostgreSQL", source, rows)
	}
	return rows
}

func sameJSON(tb testing.TB, a, b *string) bool {
	tb.Helper()
	if a == nil || b == nil {
		return a == b
	}
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(*a), &x), json.Unmarshal([]byte(*b), &y)); err != nil {
		tb.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// Helpers that run forward.

// runForward calls run in this process.
func runForward(tb testing.TB, args ...string) (code int, output string) {
	tb.Helper()
	f, err := os.CreateTemp(tb.TempDir(), "output")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	codes := make(chan int, 1)
	go func() { codes <- run(args, f, f) }()
	select {
	case code = <-codes:
	case <-time.After(testTimeout):
		tb.Fatalf("forward did not return:\n%s", readFile(tb, f.Name()))
	}
	return code, string(readFile(tb, f.Name()))
}

// shipAll ships the rows of the file with -once.
func shipAll(tb testing.TB, db, address, source string) (output string) {
	tb.Helper()
	code, output := runForward(tb, "-once", "-db", db, "-to", address, "-source", source)
	if code != 0 {
		tb.Fatalf("got exit code %d, want 0:\n%s", code, output)
	}
	return output
}

// runAsProgram is the environment variable that makes the test binary run
// forward instead of the tests. Tests use it to start real processes, built like
// the test itself, for example with the race detector.
const runAsProgram = "FORWARD_TEST_RUN"

// A process is a program that runs in its own process: a forwarder, or another
// program of a test.
type process struct {
	cmd    *exec.Cmd
	out    syncBuffer
	exited chan struct{}
}

func startProcess(tb testing.TB, args ...string) *process {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), runAsProgram+"=1")
	return startCommand(tb, cmd)
}

func startCommand(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // the exit code is in ProcessState
		close(p.exited)
	}()
	tb.Cleanup(func() {
		p.kill(tb)
		// A killed process has no exit code that would reveal a race.
		if out := p.out.String(); strings.Contains(out, "DATA RACE") {
			tb.Error(out)
		}
	})
	return p
}

func (p *process) kill(tb testing.TB) {
	tb.Helper()
	p.cmd.Process.Kill() // fails if the process has exited already
	p.wait(tb)
}

func (p *process) wait(tb testing.TB) (exitCode int) {
	tb.Helper()
	select {
	case <-p.exited:
	case <-time.After(testTimeout):
		tb.Fatalf("%s did not exit:\n%s", p.cmd.Path, p.out.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// terminate sends SIGTERM and checks that the process exits with code 0.
func (p *process) terminate(tb testing.TB) {
	tb.Helper()
	p.waitForOutput(tb, "forwarding") // logged after the signal handler is installed
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	if code := p.wait(tb); code != 0 {
		tb.Fatalf("after SIGTERM: got exit code %d, want 0:\n%s", code, p.out.String())
	}
}

func (p *process) waitForOutput(tb testing.TB, text string) {
	tb.Helper()
	waitUntil(tb, fmt.Sprintf("forward prints %q", text), func() bool {
		exited := p.hasExited() // before reading the output, which is then complete
		if strings.Contains(p.out.String(), text) {
			return true
		}
		if exited {
			tb.Fatalf("forward exited without printing %q:\n%s", text, p.out.String())
		}
		return false
	})
}

// A syncBuffer is a buffer that several goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
