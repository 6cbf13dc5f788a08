package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A testWriter is a queue and its writer, with an empty database.
type testWriter struct {
	*writer
	t    *testing.T
	path string // of the database
	log  *syncBuffer
	done chan struct{} // closed when the writer has exited
}

// newTestWriter returns a writer whose queue is limited to limit bytes.
func newTestWriter(t *testing.T, limit int64) *testWriter {
	path := filepath.Join(t.TempDir(), "logs.db")
	log := new(syncBuffer)
	return &testWriter{
		writer: &writer{
			queue:     newQueue(limit),
			memory:    &budget{limit: 1 << 30},
			db:        mustOpen(t, path),
			log:       slog.New(slog.NewTextHandler(log, nil)),
			metrics:   new(metrics),
			committed: func(int64) {},
		},
		t: t, path: path, log: log, done: make(chan struct{}),
	}
}

// start runs the writer.
func (w *testWriter) start() {
	go func() {
		defer close(w.done)
		w.run()
	}()
}

// stop drains the queue, closes the database, and returns the stored messages.
func (w *testWriter) stop() string {
	w.t.Helper()
	w.queue.stop()
	receive(w.t, "the exit of the writer", w.done)
	if err := w.close(); err != nil {
		w.t.Error(err)
	}
	if bytes, entries := w.queue.bytes.Load(), w.queue.entries.Load(); bytes != 0 || entries != 0 {
		w.t.Errorf("the queue counts %d bytes and %d entries after the writer exited, want 0 and 0", bytes, entries)
	}
	if n := w.memory.used.Load(); n != 0 {
		w.t.Errorf("%d bytes of the memory budget are reserved after the writer exited, want 0", n)
	}
	return storedMessages(w.t, w.path)
}

// put queues one batch, which has an entry for each message.
func (w *testWriter) put(messages ...string) {
	w.t.Helper()
	must(w.t, w.putBatch(newTestBatch(messages...)))
}

func (w *testWriter) putBatch(b *batch) error {
	size := b.size()
	held := &b.account.memory
	w.memory.reserve(held, size)
	queued, err := w.queue.put(b)
	w.memory.release(held, size-queued)
	return err
}

// putAwaited is put for a client that waits for the commit.
func (w *testWriter) putAwaited(messages ...string) (committed chan error) {
	w.t.Helper()
	b := newTestBatch(messages...)
	committed = make(chan error, 1)
	b.committed = committed
	must(w.t, w.putBatch(b))
	return committed
}

// waitReady waits until the queue accepts batches again.
func (w *testWriter) waitReady() {
	w.t.Helper()
	waitFor(w.t, "the queue is ready", func() bool { return w.queue.notReady() == nil })
}

// waitFailures waits until n transactions have failed.
func (w *testWriter) waitFailures(n int64) {
	w.t.Helper()
	waitFor(w.t, "several transactions have failed", func() bool { return w.metrics.failures.Load() >= n })
}

// checkFailureLogged fails the test unless the log reports want failures. The
// writer logs a series of failed attempts once.
func (w *testWriter) checkFailureLogged(want int) {
	w.t.Helper()
	if n := strings.Count(w.log.String(), "cannot write to the database"); n != want {
		w.t.Errorf("the log reports %d failures, want %d:\n%s", n, want, w.log)
	}
}

// A faultyStmt fails its first executions, either before or after it applies
// them.
type faultyStmt struct {
	statement
	failures int
	applied  bool
	err      error // nil for errFault
	runs     int
}

var errFault = errors.New("injected fault")

func (s *faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.runs++
	if s.runs > s.failures {
		return s.statement.ExecContext(ctx, args)
	}
	if s.applied {
		if _, err := s.statement.ExecContext(ctx, args); err != nil {
			return nil, err
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, errFault
}

// A hookedStmt calls do after its first execution, before its caller gets the
// result.
type hookedStmt struct {
	statement
	do func()
}

func (s *hookedStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	result, err := execute(s.statement)
	if s.do != nil {
		s.do()
		s.do = nil
	}
	return result, err
}

// A faultyConn fails its first queries.
type faultyConn struct {
	driverConn
	failures int
}

func (c *faultyConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	if c.failures > 0 {
		c.failures--
		return nil, errFault
	}
	return c.driverConn.QueryContext(ctx, q, args)
}

// Rows are stored once and in order, whichever statement of their transaction
// fails, and whether or not SQLite had applied it.
func TestWriterRetriesTransactions(t *testing.T) {
	begin := func(db *database) *statement { return &db.begin }
	insert := func(db *database) *statement { return &db.insert }
	commit := func(db *database) *statement { return &db.commit }
	for name, c := range map[string]struct {
		stmt     func(*database) *statement
		failures int
		applied  bool
		logged   int
	}{
		"begin":           {stmt: begin, failures: 3, logged: 1},
		"begin, applied":  {stmt: begin, failures: 3, applied: true, logged: 1},
		"insert":          {stmt: insert, failures: 3, logged: 1},
		"insert, applied": {stmt: insert, failures: 3, applied: true, logged: 1},
		"commit":          {stmt: commit, failures: 3, logged: 1},
		// The lookup finds the rows, so this is not a failure.
		"commit, applied": {stmt: commit, failures: 1, applied: true, logged: 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			stmt := c.stmt(w.db)
			faulty := &faultyStmt{statement: *stmt, failures: c.failures, applied: c.applied}
			*stmt = faulty
			w.put("a", "b")
			w.put("c")
			w.start()
			if got, want := w.stop(), "a,b,c"; got != want {
				t.Errorf("stored %s, want %s", got, want)
			}
			if faulty.runs < faulty.failures {
				t.Errorf("the statement failed %d times, want %d", faulty.runs, faulty.failures)
			}
			w.checkFailureLogged(c.logged)
			if got := w.metrics.stored.Load(); got != 3 {
				t.Errorf("%d entries are counted as stored, want 3", got)
			}
		})
	}
}

// A commit in doubt is resolved even if the first lookups fail. Until then, no
// client gets an outcome, and the retry has the same batches.
func TestInDoubtCommitIsResolved(t *testing.T) {
	for name, c := range map[string]struct {
		applied bool
		stored  string
	}{
		"not applied": {false, "a,later,c"},
		"applied":     {true, "a,b,later,c"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1, applied: c.applied}
			// This batch arrives before the writer knows of the failure.
			w.db.rollback = &hookedStmt{w.db.rollback, func() { w.put("later") }}
			faulty := &faultyConn{driverConn: w.db.conn.driver, failures: 2}
			w.db.conn.driver = faulty
			w.put("a")
			committed := w.putAwaited("b")
			w.start()
			err := receive(t, "the outcome of the commit", committed)
			if (err == nil) != c.applied {
				t.Errorf("the waiting client got the error %v, want an error = %v", err, !c.applied)
			}
			w.waitReady()
			w.put("c")
			if got := w.stop(); got != c.stored {
				t.Errorf("stored %s, want %s", got, c.stored)
			}
			if faulty.failures != 0 {
				t.Errorf("got %d injected faults left, want 0", faulty.failures)
			}
		})
	}
}

// After a commit that failed with an error of SQLite, the database is reopened
// before the lookup. While it cannot be reopened, the commit stays in doubt.
func TestInDoubtCommitReopens(t *testing.T) {
	for name, c := range map[string]struct {
		applied bool
		stored  string
	}{
		"not applied": {false, "a,c"},
		"applied":     {true, "a,b,c"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			_, fault := w.db.conn.query("SELECT * FROM missing")
			if resultCode(fault) == 0 {
				t.Fatalf("got the error %v, want one of SQLite", fault)
			}
			w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1, applied: c.applied, err: fault}
			const failures = 1000
			old := &faultyConn{driverConn: w.db.conn.driver, failures: failures}
			w.db.conn.driver = old
			// The database cannot be reopened while it has another table logs.
			w.db.rollback = &hookedStmt{w.db.rollback, func() {
				runSQL(t, w.path, "ALTER TABLE logs RENAME TO ours", "CREATE TABLE logs(other)")
			}}
			w.put("a")
			committed := w.putAwaited("b")
			w.start()
			w.waitFailures(3)
			select {
			case err := <-committed:
				t.Fatalf("the waiting client got the outcome %v while the commit was in doubt", err)
			default:
			}
			if w.queue.notReady() == nil {
				t.Error("got a ready queue while the database cannot be opened, want an error")
			}
			if got := failures - old.failures; got > 1 {
				t.Errorf("got %d queries of the old connection, want only that of overwriting the commit", got)
			}
			runSQL(t, w.path, "DROP TABLE logs", "ALTER TABLE ours RENAME TO logs")
			err := receive(t, "the outcome of the commit", committed)
			if (err == nil) != c.applied {
				t.Errorf("the waiting client got the error %v, want an error = %v", err, !c.applied)
			}
			w.waitReady()
			w.put("c")
			if got := w.stop(); got != c.stored {
				t.Errorf("stored %s, want %s", got, c.stored)
			}
		})
	}
}

// If the sync of a commit failed, the WAL that SQLite deletes at the reopening has
// the commit, and a power loss can restore the WAL. The writer therefore reports the
// failure to the client only when the database has a new WAL, for which SQLite syncs
// the directory.
func TestInDoubtCommitIsOverwritten(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	_, fault := w.db.conn.query("SELECT * FROM missing")
	w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1, err: fault}
	if _, err := w.db.write([]*batch{newTestBatch("a")}); !errors.Is(err, fault) {
		t.Fatalf("write() = %v, want %v", err, fault)
	}
	if got := size(t, w.path+"-wal"); got == 0 {
		t.Error("got an empty WAL after a failed commit, want a new transaction")
	}
}

// If a commit failed, another process may use the id of its last row. The lookup
// compares the row, not only the id.
func TestInDoubtCommitComparesRow(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1}
	w.db.rollback = &hookedStmt{w.db.rollback, func() {
		runSQL(t, w.path, "INSERT INTO logs(level, message, timestamp) VALUES('error', 'another', '2026-11-22T15:24:00.000000000Z')")
	}}
	w.put("a")
	w.start()
	if got, want := w.stop(), "another,a"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

// If another process drops the table, the writer creates it again and informs
// the readers.
func TestWriterRecreatesTable(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	reopened := 0
	w.db.onReopen = func() { reopened++ }
	w.start()
	runSQL(t, w.path, "DROP TABLE logs")
	w.put("a")
	if got, want := w.stop(), "a"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	if reopened != 1 {
		t.Errorf("onReopen was called %d times, want 1", reopened)
	}
}

// After a failed transaction, the waiting clients get the error and their
// entries are not stored. Other entries are kept.
func TestWriterAbandonsAwaited(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	w.db.insert = &faultyStmt{statement: w.db.insert, failures: 1}
	w.put("a")
	b, c := w.putAwaited("b"), w.putAwaited("c")
	w.put("d")
	w.start()
	for _, committed := range []chan error{b, c} {
		if err := receive(t, "the outcome of the commit", committed); !errors.Is(err, errFault) {
			t.Errorf("the waiting client got the error %v, want %v", err, errFault)
		}
	}
	if got, want := w.stop(), "a,d"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

// Waiting clients get the error even if their batches are behind a full
// transaction. The retries are no larger than other transactions.
func TestWriterAbandonsAwaitedBacklog(t *testing.T) {
	w := newTestWriter(t, 64<<10)
	insert := &faultyStmt{statement: w.db.insert, failures: 1}
	w.db.insert = insert
	var want []string
	for _, m := range []string{"a", "b", "c"} {
		want = append(want, strings.Repeat(m, 10<<10))
		w.put(want[len(want)-1])
	}
	committed := w.putAwaited("d")
	w.start()
	if err := receive(t, "the outcome of the commit", committed); !errors.Is(err, errFault) {
		t.Errorf("the waiting client got the error %v, want %v", err, errFault)
	}
	if got, want := w.stop(), strings.Join(want, ","); got != want {
		t.Errorf("stored %.40q (%d bytes), want %.40q (%d bytes)", got, len(got), want, len(want))
	}
	if insert.runs != 3 {
		t.Errorf("got %d transactions, want 3: one that failed and two that succeeded", insert.runs)
	}
}

// When a waiting client gets the outcome, the counters and the queue's space are
// up to date.
func TestWriterCountsBeforeOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		failures                  int
		stored, accepted, refused int64
	}{
		"committed": {failures: 0, stored: 1, accepted: 1},
		"abandoned": {failures: 1, refused: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			w.db.insert = &faultyStmt{statement: w.db.insert, failures: c.failures}
			b := newTestBatch("a")
			b.committed = make(chan error) // without a buffer, the writer stops at the send
			committed := b.committed
			must(t, w.putBatch(b))
			w.start()
			// The writer is still in settle when this returns.
			waitFor(t, "the queue is empty", func() bool { return w.queue.bytes.Load() == 0 })
			m := w.metrics
			if stored, accepted, refused := m.stored.Load(), m.accepted.Load(), m.refused.Load(); stored != c.stored || accepted != c.accepted || refused != c.refused {
				t.Errorf("before the outcome, %d entries are counted as stored, %d as accepted and %d as refused; want %d, %d and %d",
					stored, accepted, refused, c.stored, c.accepted, c.refused)
			}
			receive(t, "the outcome of the commit", committed)
			w.stop()
		})
	}
}

// After a failure, the writer checks the database until it accepts writes, even
// if no batch is left. The queue is then ready again.
func TestWriterProbesAfterFailure(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	must(t, w.db.conn.exec("PRAGMA max_page_count=10"))
	w.start()
	committed := w.putAwaited(strings.Repeat("x", 200_000))
	if err := receive(t, "the outcome of the commit", committed); err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("the waiting client got the error %v, want one that contains %q", err, "full")
	}
	// The probe needs no new page, so it succeeds.
	w.waitReady()
	w.put("small")
	if got, want := w.stop(), "small"; got != want {
		t.Errorf("stored %.40q, want %q", got, want)
	}
}

// While another process holds the lock, the queue accepts entries. They are
// stored once the lock is released.
func TestWriterRetriesWhileLocked(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	must(t, w.db.conn.exec("PRAGMA busy_timeout=1"))
	other := openSQL(t, w.path)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err := other.Exec("BEGIN IMMEDIATE")
	must(t, err)
	w.start()
	w.put("a")
	w.waitFailures(3)
	w.put("b")
	_, err = other.Exec("ROLLBACK")
	must(t, err)
	if got, want := w.stop(), "a,b"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	w.checkFailureLogged(1)
}

// The delay between retries doubles up to a maximum, and starts from the minimum
// after a success.
func TestWriterBackoff(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	for round := range 2 {
		for _, want := range []time.Duration{minBackoff, 2 * minBackoff, 4 * minBackoff} {
			if got := w.failed(errFault); got != want {
				t.Errorf("round %d: got a delay of %v, want %v", round, got, want)
			}
		}
		for range 100 {
			w.failed(errFault)
		}
		if got := w.failed(errFault); got != maxBackoff {
			t.Errorf("round %d: got a delay of %v, want %v", round, got, maxBackoff)
		}
		w.recovered()
	}
	must(t, w.close())
}

// A transaction starts without a delay if a client waits for it, if the queue
// fills up, or if it is stopped.
func TestWriterUrgent(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(*testWriter)
		want bool
	}{
		"small batch":    {func(w *testWriter) { w.put("a") }, false},
		"awaited batch":  {func(w *testWriter) { w.put("a"); w.putAwaited("b") }, true},
		"large backlog":  {func(w *testWriter) { w.put(strings.Repeat("x", 20<<10)) }, true},
		"stopping queue": {func(w *testWriter) { w.put("a"); w.queue.stop() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 64<<10)
			c.put(w)
			w.receive(w.queue.limit)
			if got := w.urgent(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			w.start()
			w.stop()
		})
	}
}
