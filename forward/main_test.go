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
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProgram is the environment variable that makes the test binary run as the
// program itself, so that tests start the real thing, built as they are.
const asProgram = "FORWARD_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "FORWARD_") && name != "FORWARD_TEST_POSTGRES" || strings.HasPrefix(name, "PG") {
			os.Unsetenv(name)
		}
	}
	code := m.Run()
	if sharedServer != nil {
		sharedServer.remove()
	}
	reportSkips(code)
	os.Exit(code)
}

// patience is how long a test waits for what must come. It says when to give
// up, not how fast anything has to be.
const patience = 2 * time.Minute

func eventually(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// waitForRows waits until the table has been made and has so many rows.
func waitForRows(tb testing.TB, address string, n int) {
	tb.Helper()
	eventually(tb, fmt.Sprintf("%d rows arrive", n), func() bool {
		return query1[bool](tb, address, "SELECT to_regclass('logs') IS NOT NULL") &&
			query1[int](tb, address, "SELECT count(*) FROM logs") == n
	})
}

// An entry is a row to write to a logs.db.
type entry struct {
	level, message, timestamp, details any
}

const createTable = `CREATE TABLE IF NOT EXISTS logs (
	id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
	timestamp TEXT NOT NULL, details TEXT)`

// newFile makes a logs.db as the ingester does, and returns it open for writing.
func newFile(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)+"?_pragma=journal_mode(wal)&_pragma=synchronous(off)&_pragma=busy_timeout(10000)")
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { db.Close() })
	change(tb, db, createTable)
	return db
}

func change(tb testing.TB, db *sql.DB, statements ...string) {
	tb.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
}

// write commits the entries in one transaction.
func write(tb testing.TB, db *sql.DB, entries ...entry) {
	tb.Helper()
	if err := tryWrite(db, entries...); err != nil {
		tb.Fatal(err)
	}
}

func tryWrite(db *sql.DB, entries ...entry) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.Prepare(`INSERT INTO logs (level, message, timestamp, details) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := insert.Exec(e.level, e.message, e.timestamp, e.details); err != nil {
			return err
		}
	}
	return tx.Commit()
}

var epoch = time.Date(2026, 11, 22, 15, 24, 0, 123456789, time.UTC)

// entries are n ordinary entries, all different.
func entries(n, from int) []entry {
	all := make([]entry, n)
	for i := range all {
		n := from + i
		all[i] = entry{
			level:     []string{"error", "fatal", "warn"}[n%3],
			message:   fmt.Sprintf("connection to upstream failed, attempt %d", n),
			timestamp: epoch.Add(time.Duration(n) * 1234567 * time.Nanosecond).Format("2006-01-02T15:04:05.000000000Z"),
			details:   fmt.Sprintf(`{"service": "checkout", "host": "web-%d", "status": 502, "request": {"id": "%032x", "ms": %d.5}}`, n%7, n, n%1000),
		}
		if n%10 == 9 {
			all[i].details = nil
		}
	}
	return all
}

// forwardArgs runs the program's run in this process, and returns its exit code and output.
func forwardArgs(tb testing.TB, args ...string) (code int, output string) {
	tb.Helper()
	f, err := os.CreateTemp(tb.TempDir(), "output")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	code = run(args, f, f)
	out, err := os.ReadFile(f.Name())
	if err != nil {
		tb.Fatal(err)
	}
	return code, string(out)
}

// shipAll ships what is in the file, and fails the test when that does not work.
func shipAll(tb testing.TB, db, address, source string) (output string) {
	tb.Helper()
	code, output := forwardArgs(tb, "-once", "-db", db, "-to", address, "-source", source)
	if code != 0 {
		tb.Fatalf("exit code %d:\n%s", code, output)
	}
	return output
}

// compare checks that PostgreSQL has the file's rows, every one once and as it was.
func compare(tb testing.TB, path, address, source string) (rows int) {
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
	conn := dial(tb, address)
	got, err := conn.Query(context.Background(), `SELECT id, level, message, timestamp, details::text FROM logs WHERE source = $1 ORDER BY id`, source)
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
			tb.Fatalf("source %s: PostgreSQL ends before row %d: %v", source, w.id, got.Err())
		}
		if err := got.Scan(&g.id, &g.level, &g.message, &at, &g.details); err != nil {
			tb.Fatal(err)
		}
		wantTime, err := time.Parse(time.RFC3339, text)
		if err != nil {
			tb.Fatal(err)
		}
		if g.id != w.id || g.level != w.level || g.message != w.message || !at.Equal(wantTime.Truncate(time.Microsecond)) || !sameJSON(tb, w.details, g.details) {
			tb.Fatalf("source %s: PostgreSQL has %+v %s, the file %+v %s", source, g, at, w, text)
		}
	}
	if err := want.Err(); err != nil {
		tb.Fatal(err)
	}
	if got.Next() {
		tb.Fatalf("source %s: PostgreSQL has more than the file's %d rows", source, rows)
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

// A process is a forwarder started as such.
type process struct {
	cmd   *exec.Cmd
	out   syncBuffer
	ended chan struct{}
}

func startProcess(tb testing.TB, args ...string) *process {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{cmd: exec.Command(self, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // the exit code is in ProcessState
		close(p.ended)
	}()
	tb.Cleanup(func() {
		p.kill()
		if out := p.out.String(); strings.Contains(out, "DATA RACE") { // its exit code is lost where it is killed
			tb.Error(out)
		}
	})
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

func (p *process) wait(tb testing.TB) (exitCode int) {
	tb.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		tb.Fatalf("the forwarder does not end:\n%s", p.out.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// terminate asks it to end, and wants a clean end.
func (p *process) terminate(tb testing.TB) {
	tb.Helper()
	p.waitFor(tb, "forwarding") // before, it may not have got to listening for signals
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	if code := p.wait(tb); code != 0 {
		tb.Fatalf("exit code %d after SIGTERM:\n%s", code, p.out.String())
	}
}

func (p *process) waitFor(tb testing.TB, text string) {
	tb.Helper()
	eventually(tb, text, func() bool {
		select {
		case <-p.ended:
			if !strings.Contains(p.out.String(), text) {
				tb.Fatalf("the forwarder ended, without %q:\n%s", text, p.out.String())
			}
		default:
		}
		return strings.Contains(p.out.String(), text)
	})
}

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

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "-once"},
		{[]string{"-version"}, 0, "SQLite 3."},
		{nil, 2, "FORWARD_TO"},
		{[]string{"-nonsense"}, 2, "nonsense"},
		{[]string{"-to", "postgres://h/d", "more"}, 2, "unexpected argument"},
		{[]string{"-to", "postgres://h/d", "-source", "a\xffb"}, 2, "UTF-8"},
		{[]string{"-to", "postgres://h/d", "-source", strings.Repeat("x", 256)}, 2, "255"},
	} {
		if code, out := forwardArgs(t, c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("forward %q: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, out)
		}
	}
}

func TestEnvironmentStandsInForFlags(t *testing.T) {
	t.Setenv("FORWARD_VERSION", "1.2.3") // as images are fond of
	for name, value := range map[string]string{
		"FORWARD_TO": "postgres://u@h:1234/d", "FORWARD_DB": "other.db", "FORWARD_SOURCE": "web1",
		"FORWARD_ONCE": "true", "FORWARD_METRICS": "127.0.0.1:9",
	} {
		t.Setenv(name, value)
	}
	cfg, err := parseConfig(nil, nil)
	if err != nil || cfg.to.Host != "h" || cfg.to.Port != 1234 || cfg.db != "other.db" || cfg.source != "web1" || !cfg.once || cfg.metrics != "127.0.0.1:9" {
		t.Errorf("from the environment: %+v, %v", cfg, err)
	}
	cfg, err = parseConfig([]string{"-db", "this.db", "-once=false"}, nil)
	if err != nil || cfg.db != "this.db" || cfg.once || cfg.source != "web1" {
		t.Errorf("a flag goes before the environment: %+v, %v", cfg, err)
	}
	t.Setenv("FORWARD_ONCE", "perhaps")
	if _, err = parseConfig(nil, nil); err == nil || !strings.Contains(err.Error(), "FORWARD_ONCE") {
		t.Errorf("FORWARD_ONCE=perhaps: %v", err)
	}
}

func TestSourceDefaultsToTheHostName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		skipOrFail(t, "needs a host name")
	}
	cfg, err := parseConfig([]string{"-to", "postgres://h/d"}, nil)
	if err != nil || cfg.source != host {
		t.Errorf("source %q, %v; want %q", cfg.source, err, host)
	}
}

func TestThePasswordIsNeverTold(t *testing.T) {
	const password = "hunter2secret"
	p := sharedPostgres(t)
	execute(t, p.address("postgres"), "CREATE ROLE outsider LOGIN PASSWORD 'another'")
	path := filepath.Join(t.TempDir(), "logs.db")
	newFile(t, path)
	for name, address := range map[string]string{
		"wrong password":      "postgres:///postgres?host=" + p.dir + "&user=outsider&password=" + password,
		"wrong password, DSN": "host=" + p.dir + " dbname=postgres user=outsider password=" + password,
		"no such database":    "postgres:///nowhere?host=" + p.dir + "&user=postgres&password=" + password,
		"wrong port":          "postgres://u:" + password + "@h:port/d",
		"bad escape":          "postgres://u:" + password + "%zz@h/d",
		"slash in password":   "postgres://u:" + password + "/x@h/d",
		"space":               "postgres://u:" + password + " x@h/d",
		"bad option":          "postgres://u:" + password + "@h/d?sslmode=maybe",
		"bad DSN":             "user=u password='" + password,
		"no address at all":   password,
	} {
		t.Run(name, func(t *testing.T) {
			for _, inEnvironment := range []bool{false, true} {
				args := []string{"-once", "-db", path, "-to", address}
				if inEnvironment {
					t.Setenv("FORWARD_TO", address)
					args = args[:3]
				}
				code, out := forwardArgs(t, args...)
				if code == 0 || strings.Contains(out, password) || out == "" {
					t.Errorf("exit code %d:\n%s", code, out)
				}
			}
			if _, out := forwardArgs(t, "-once", address); strings.Contains(out, password) {
				t.Errorf("without -to before it, it is told:\n%s", out)
			}
			if _, out := forwardArgs(t, "-h"); strings.Contains(out, password) {
				t.Errorf("-h tells it:\n%s", out)
			}
		})
	}
	t.Run("unreachable", func(t *testing.T) {
		f := startProcess(t, "-db", path, "-to", "postgres://u:"+password+"@/d?host="+t.TempDir())
		f.waitFor(t, "retrying")
		f.terminate(t)
		if out := f.out.String(); strings.Contains(out, password) {
			t.Errorf("it is told:\n%s", out)
		}
	})
}
