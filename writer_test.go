package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A testWriter is a queue and its writer, on a database of its own.
type testWriter struct {
	*writer
	t    *testing.T
	path string
	log  *syncBuffer
	done chan struct{}
}

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

// stop drains the queue and returns the messages stored.
func (w *testWriter) stop() string {
	w.t.Helper()
	w.queue.stop()
	select {
	case <-w.done:
	case <-time.After(time.Minute):
		w.t.Fatal("the writer does not end")
	}
	if err := w.db.close(); err != nil {
		w.t.Error(err)
	}
	if b, e := w.queue.bytes.Load(), w.queue.entries.Load(); b != 0 || e != 0 {
		w.t.Errorf("%d bytes and %d entries are left in the books of the queue", b, e)
	}
	return storedMessages(w.t, w.path)
}

func (w *testWriter) put(messages ...string) {
	w.t.Helper()
	if err := w.putBatch(newTestBatch(messages...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *testWriter) putBatch(b *batch) error {
	size := b.size()
	w.memory.reserve(size)
	held, err := w.queue.put(b)
	w.memory.release(size - held)
	return err
}

// putWaiting puts a batch that somebody waits for.
func (w *testWriter) putWaiting(messages ...string) (committed chan error) {
	w.t.Helper()
	b := newTestBatch(messages...)
	committed = make(chan error, 1)
	b.committed = committed
	if err := w.putBatch(b); err != nil {
		w.t.Fatal(err)
	}
	return committed
}

// A faultyStmt fails its first runs, before they are applied or after.
type faultyStmt struct {
	statement
	failures int
	applied  bool
	err      error // errFault where it is nil
	runs     int
}

var errFault = errors.New("injected fault")

func (s *faultyStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	s.runs++
	if s.runs > s.failures {
		return execute(s.statement)
	}
	if s.applied {
		if _, err := execute(s.statement); err != nil {
			return nil, err
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, errFault
}

// A hookedStmt calls do after its first run, before it is known to have worked.
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

// However a transaction fails, its rows are stored once, in order, and the log
// says so once.
func TestFailedTransactions(t *testing.T) {
	begin := func(db *database) *statement { return &db.begin }
	insert := func(db *database) *statement { return &db.insert }
	commit := func(db *database) *statement { return &db.commit }
	for name, fault := range map[string]struct {
		at       func(*database) *statement
		failures int
		applied  bool
	}{
		"begin":           {begin, 3, false},
		"begin, applied":  {begin, 3, true},
		"insert":          {insert, 3, false},
		"insert, applied": {insert, 3, true},
		"commit":          {commit, 3, false},
		"commit, applied": {commit, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			at := fault.at(w.db)
			stmt := &faultyStmt{statement: *at, failures: fault.failures, applied: fault.applied}
			*at = stmt
			w.put("a", "b")
			w.put("c")
			w.start()
			if got := w.stop(); got != "a,b,c" {
				t.Errorf("stored %s, want a,b,c", got)
			}
			if stmt.runs < stmt.failures {
				t.Errorf("only %d faults were met", stmt.runs)
			}
			want := 1
			if name == "commit, applied" {
				want = 0 // it was found to have worked
			}
			if n := strings.Count(w.log.String(), "cannot write"); n != want {
				t.Errorf("the failure is logged %d times, want %d:\n%s", n, want, w.log)
			}
			if got := w.metrics.stored.Load(); got != 3 {
				t.Errorf("%d entries are counted as stored, want 3", got)
			}
		})
	}
}

// A commit that reports an error but was applied, on a database that cannot
// even be asked for a while, is found out in the end.
func TestUnsureCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		w := newTestWriter(t, 1<<20)
		w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1, applied: applied}
		// It comes before the failure is known, and waits until that is over.
		w.db.rollback = &hookedStmt{w.db.rollback, func() { w.put("later") }}
		conn := &faultyConn{driverConn: w.db.conn.driver, failures: 2}
		w.db.conn.driver = conn
		w.put("a")
		committed := w.putWaiting("b")
		w.start()
		err := <-committed
		for w.queue.notReady() != nil {
			time.Sleep(time.Millisecond)
		}
		w.put("c")
		got := w.stop()
		want := "a,later,c"
		if applied {
			want = "a,b,later,c"
		}
		if got != want || (err == nil) != applied {
			t.Errorf("applied=%v: stored %s and told %v, want %s", applied, got, err, want)
		}
		if conn.failures != 0 {
			t.Error("the database was never asked")
		}
	}
}

// A commit that fails with an error of SQLite's own has the database opened
// anew before it is asked whether it was applied; where it cannot be opened,
// the batch waits until it can.
func TestReopenAfterFailedCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		w := newTestWriter(t, 1<<20)
		_, fault := w.db.conn.query("SELECT * FROM missing")
		if resultCode(fault) == 0 {
			t.Fatalf("not an error of SQLite: %v", fault)
		}
		w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1, applied: applied, err: fault}
		const most = 1000
		old := &faultyConn{driverConn: w.db.conn.driver, failures: most}
		w.db.conn.driver = old
		// It cannot be opened as long as it has another table.
		w.db.rollback = &hookedStmt{w.db.rollback, func() {
			runSQL(t, w.path, "ALTER TABLE logs RENAME TO ours", "CREATE TABLE logs(other)")
		}}
		w.put("a")
		committed := w.putWaiting("b")
		w.start()
		for w.metrics.failures.Load() < 3 {
			time.Sleep(time.Millisecond)
		}
		select {
		case err := <-committed:
			t.Fatalf("told %v before it was known", err)
		default:
		}
		if w.queue.notReady() == nil {
			t.Error("it is ready")
		}
		if old.failures != most {
			t.Error("the old connection was asked")
		}
		runSQL(t, w.path, "DROP TABLE logs", "ALTER TABLE ours RENAME TO logs")
		err := <-committed
		for w.queue.notReady() != nil {
			time.Sleep(time.Millisecond)
		}
		w.put("c")
		got := w.stop()
		want := "a,c"
		if applied {
			want = "a,b,c"
		}
		if got != want || (err == nil) != applied {
			t.Errorf("applied=%v: stored %s and told %v, want %s", applied, got, err, want)
		}
	}
}

// A commit that was not applied is told from one that was though another
// program stores a row meanwhile, which then has the id.
func TestFailedCommitBesideAnotherWriter(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	w.db.commit = &faultyStmt{statement: w.db.commit, failures: 1}
	w.db.rollback = &hookedStmt{w.db.rollback, func() {
		runSQL(t, w.path, "INSERT INTO logs(level, message, timestamp) VALUES('error', 'another', '2026-11-22T15:24:00.000000000Z')")
	}}
	w.put("a")
	w.start()
	if got := w.stop(); got != "another,a" {
		t.Errorf("stored %s, want another,a", got)
	}
}

// A table that another program has dropped is made again.
func TestDroppedTable(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	reopened := 0
	w.db.onReopen = func() { reopened++ }
	w.start()
	runSQL(t, w.path, "DROP TABLE logs")
	w.put("a")
	if got := w.stop(); got != "a" {
		t.Errorf("stored %s, want a", got)
	}
	if reopened != 1 {
		t.Errorf("readers are told %d times that ids begin anew", reopened)
	}
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

// Who waits for a commit that fails is told that nothing was stored, and
// nothing is; what was accepted without waiting is kept.
func TestWaitersOfAFailedTransaction(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	w.db.insert = &faultyStmt{statement: w.db.insert, failures: 1}
	w.put("a")
	var told []chan error
	for _, m := range []string{"b", "c"} {
		told = append(told, w.putWaiting(m))
	}
	w.put("d")
	w.start()
	for _, c := range told {
		if err := <-c; !errors.Is(err, errFault) {
			t.Errorf("told %v", err)
		}
	}
	if got := w.stop(); got != "a,d" {
		t.Errorf("stored %s, want a,d", got)
	}
	if n := w.memory.used.Load(); n != 0 {
		t.Errorf("%d bytes of the budget are not given back", n)
	}
}

// Who waits behind more than one transaction takes is told too, and what failed
// is stored in transactions that are no larger than others.
func TestWaitersBehindATransaction(t *testing.T) {
	w := newTestWriter(t, 64<<10)
	insert := &faultyStmt{statement: w.db.insert, failures: 1}
	w.db.insert = insert
	var want []string
	for _, m := range []string{"a", "b", "c"} {
		want = append(want, strings.Repeat(m, 10<<10))
		w.put(want[len(want)-1])
	}
	told := w.putWaiting("d")
	w.start()
	if err := <-told; !errors.Is(err, errFault) {
		t.Errorf("told %v", err)
	}
	if got := w.stop(); got != strings.Join(want, ",") {
		t.Errorf("stored %.40q, of %d bytes", got, len(got))
	}
	if insert.runs != 3 {
		t.Errorf("%d transactions, want one that failed and two", insert.runs)
	}
}

// A database that is full, or fails otherwise, takes nothing more until it can
// write again; then it goes on by itself, though nothing was waiting.
func TestBrokenDatabase(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	if err := w.db.conn.exec("PRAGMA max_page_count=10"); err != nil {
		t.Fatal(err)
	}
	w.start()
	told := w.putWaiting(strings.Repeat("x", 200_000))
	if err := <-told; err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("told %v", err)
	}
	// The probe that follows needs no new page, so it ends the failure.
	for w.queue.notReady() != nil {
		time.Sleep(time.Millisecond)
	}
	w.put("small")
	if got := w.stop(); got != "small" {
		t.Errorf("stored %.40q, want small", got)
	}
}

// While another process holds the lock the queue takes entries, and they are
// stored once it lets go.
func TestLockedDatabase(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	if err := w.db.conn.exec("PRAGMA busy_timeout=1"); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.put("a")
	for w.metrics.failures.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	w.put("b")
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if got := w.stop(); got != "a,b" {
		t.Errorf("stored %s, want a,b", got)
	}
	if n := strings.Count(w.log.String(), "cannot write"); n != 1 {
		t.Errorf("the failure is logged %d times:\n%s", n, w.log)
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := newQueue(8 * batchOverhead)
	put := func(size int) error {
		_, err := q.put(newTestBatch(strings.Repeat("x", size)))
		return err
	}
	take := func() { q.release(q.closeToJoins(<-q.batches).size()) }
	if err := put(16 * batchOverhead); err != nil {
		t.Errorf("a batch larger than the empty queue: %v", err)
	}
	if err := put(1); !errors.Is(err, errQueueFull) {
		t.Errorf("a batch for the full queue: %v", err)
	}
	take()
	for _, size := range []int{1, maxJoinedText} { // those that join others, and those that do not
		n := 0
		for ; put(size) == nil; n++ {
		}
		if n == 0 || q.bytes.Load() > q.limit {
			t.Errorf("the queue took %d batches, %d bytes", n, q.bytes.Load())
		}
		// Room that becomes free lets in who waits for it.
		done := make(chan error)
		go func() { done <- put(size) }()
		take()
		if err := <-done; err != nil {
			t.Errorf("after there was room: %v", err)
		}
		if err := q.notReady(); err != nil && !errors.Is(err, errQueueFull) {
			t.Error(err)
		}
		for q.bytes.Load() > 0 {
			take()
		}
	}
}

// Small batches share one, but for those that somebody waits for, and the order
// stays. One that the writer has is closed.
func TestBatchesAreJoined(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	large := strings.Repeat("x", maxJoinedText)
	w.put("a", "b")
	w.put("c")
	w.put(large)
	w.put("d")
	told := w.putWaiting("e")
	w.put("f")
	w.put("g")
	if n := len(w.queue.batches); n != 5 {
		t.Errorf("%d batches are in the queue, want 5: a to c, the large one, d, e, f and g", n)
	}
	if b, m := w.queue.bytes.Load(), w.memory.used.Load(); b != m || b < 5*batchOverhead || b > 6*batchOverhead+maxJoinedText {
		t.Errorf("the queue holds %d bytes, of the budget %d", b, m)
	}
	for range 5 {
		w.held = append(w.held, w.queue.closeToJoins(<-w.queue.batches))
	}
	w.put("h")
	w.put("i")
	if n := len(w.held[4].rows); n != 2 {
		t.Errorf("the last batch that was taken has %d rows, want f and g", n)
	}
	w.start()
	if err := <-told; err != nil {
		t.Error(err)
	}
	if got, want := w.stop(), "a,b,c,"+large+",d,e,f,g,h,i"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	if n := w.memory.used.Load(); n != 0 {
		t.Errorf("%d bytes of the budget are not given back", n)
	}
}

// What is put while the queue is being stopped is stored or refused, and
// nothing between.
func TestStopWhilePutting(t *testing.T) {
	for range 20 {
		w := newTestWriter(t, 1<<20)
		w.start()
		var putters sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		begun := make(chan struct{}, 8)
		for i := range 8 {
			putters.Go(func() {
				for j := 0; ; j++ {
					b := newTestBatch(fmt.Sprint(i, j))
					err := w.putBatch(b)
					for errors.Is(err, errQueueFull) { // the disk may be slow
						err = w.putBatch(b)
					}
					if err != nil {
						if !errors.Is(err, errShuttingDown) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					accepted++
					mu.Unlock()
					if j == 0 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range 8 {
			<-begun
		}
		stored := w.stop()
		putters.Wait()
		if n := strings.Count(stored, ",") + 1; n != accepted {
			t.Fatalf("%d batches were accepted, %d are stored", accepted, n)
		}
	}
}
