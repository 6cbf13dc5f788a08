package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// needs skips the test where the machine does not give what it needs, but for
// CI, which has to.
func needs(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("CI has to allow %s: %v", what, err)
	default:
		t.Skipf("needs %s: %v", what, err)
	}
}

// smallDisk returns a directory on a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	needs(t, "mounting a tmpfs, as root", syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size="+size))
	t.Cleanup(func() {
		// Lazily, so that what a failed test left open does not keep it.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all room of a directory's disk, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // what it holds does not matter
	for n := 64 << 10; n > 0; {
		if _, err := f.Write(make([]byte, n)); errors.Is(err, syscall.ENOSPC) {
			n /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// fillDisk fills the disk, and posts until that is noticed: what the WAL has
// room for is stored, and what comes before the writer finds out is queued.
func fillDisk(l *ledger, p *process, name string) (free func()) {
	l.t.Helper()
	free = fill(l.t, filepath.Dir(p.db))
	for i := range 10_000 {
		switch status := l.post(p, "", fmt.Sprintf("%s-%d", name, i), 20, 2000); status {
		case http.StatusAccepted:
		case http.StatusServiceUnavailable:
			return free
		default:
			l.t.Fatalf("status %d", status)
		}
	}
	l.t.Fatal("a full disk takes all there is")
	return nil
}

// On a full disk nothing more is accepted, nothing accepted is lost, readers
// read, and all goes on by itself once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "8m")+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	for round := 1; round <= 2; round++ {
		free := fillDisk(l, p, fmt.Sprintf("filling-%d", round))
		status, body := p.get("/readyz")
		if status != 503 || !strings.Contains(body, "full") {
			t.Errorf("/readyz: %d %s", status, body)
		}
		l.mustPost(p, "?wait=1", fmt.Sprint("refused-", round), http.StatusServiceUnavailable)
		if status, _ := p.get("/healthz"); status != 200 {
			t.Errorf("/healthz: %d", status)
		}
		if got := query(t, p.db, "SELECT message FROM logs ORDER BY id LIMIT 1"); got != "before/0/3" {
			t.Errorf("a reader sees %q", got)
		}
		if n := p.says("cannot write to the database"); n != round {
			t.Errorf("the log tells of %d failures, want %d", n, round)
		}
		free()
		p.until("it is ready", func() bool { status, _ := p.get("/readyz"); return status == 200 })
		l.mustPost(p, "?wait=1", fmt.Sprint("after-", round), http.StatusOK)
		p.books()
	}
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	l.auditAll(soundMessages(t, p.db))
}

// On a full disk, what has expired is deleted all the same, and makes room for
// what comes.
func TestRetainOnFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "40m")+"/logs.db", "-retain", "1h")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK) // and the sweep of the start is over
	p.books()
	runSQL(t, p.db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)
		INSERT INTO logs(level, message, timestamp) SELECT 'error', hex(zeroblob(5000)), '2020-01-01T00:00:00.000000000Z' FROM n`)
	fillDisk(l, p, "filling")
	p.until("it makes room by deleting", func() bool {
		status, _ := p.get("/readyz")
		return status == 200 && p.metrics()["entries_deleted_total"] > 0
	})
	l.untilPosted(p, "after")
	p.books()
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if _, err := os.Stat(p.db + "-reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve is left behind: %v", err) // the WAL may be, on a disk that is full again
	}
	runSQL(t, p.db, "DELETE FROM logs WHERE timestamp < '2021'") // what it had no need to delete yet
	l.auditAll(soundMessages(t, p.db))
}

// An end on a full disk, with nothing left to store, leaves what has no room in
// the database in the WAL, and that is no failure.
func TestEndOnFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "8m")+"/logs.db")
	l := newLedger(t)
	if status := l.post(p, "?wait=1", "before", 200, 2000); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	free := fill(t, filepath.Dir(p.db))
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	p.saidOnce("entries remain in the WAL")
	free()
	p = start(t, p.db)
	l.mustPost(p, "?wait=1", "after", http.StatusOK)
	l.auditAll(soundMessages(t, p.db))
}

// SIGTERM on a full disk: the end takes no longer than -drain-timeout, and says
// how much is lost.
func TestTerminateOnFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "8m")+"/logs.db", "-drain-timeout", "100ms")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	free := fillDisk(l, p, "filling")
	if status := p.signal(syscall.SIGTERM); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	free()
	lost := l.audit(soundMessages(t, p.db))
	if lost == 0 {
		t.Error("nothing was queued")
	}
	p.saidOnce(fmt.Sprintf(": %d accepted entries lost", 20*lost))
}

// A start that finds no room, or what it may not write to, says so in one line.
func TestStartWithoutRoom(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "8m")
	old := filepath.Join(dir, "old.db")
	p := start(t, old)
	newLedger(t).mustPost(p, "?wait=1", "before", http.StatusOK)
	p.signal(os.Interrupt)
	free := fill(t, dir)
	for _, db := range []string{old, filepath.Join(dir, "new.db")} {
		p := launch(t, db)
		if status := p.wait(); status != 1 {
			t.Errorf("%s: exit status %d, want 1", db, status)
		}
		if log := p.logged(); !strings.Contains(log, db) || !strings.Contains(log, "full") || strings.Count(log, "\n") != 1 {
			t.Errorf("%s: the log is\n%s", db, log)
		}
	}
	free()
	if got := query(t, old, "SELECT count(*) FROM logs"); got != "3" {
		t.Errorf("%s rows are in the old file, want 3", got)
	}
}

// A movedFile is a database whose file is moved under the program.
type movedFile struct {
	*ledger
	p   *process
	dir string
}

func (m movedFile) rename(from, to string) {
	m.t.Helper()
	if err := os.Rename(from, to); err != nil {
		m.t.Fatal(err)
	}
}

func (m movedFile) remove(names ...string) {
	m.t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			m.t.Fatal(err)
		}
	}
}

// refused waits until requests are refused, posting without waiting.
func (m movedFile) refused(name string) {
	for i := 0; m.post(m.p, "", fmt.Sprintf("%s-%d", name, i), 2, 10) != http.StatusServiceUnavailable; i++ {
		m.alive(m.p)
	}
	if status, _ := m.p.get("/readyz"); status != 503 {
		m.t.Errorf("/readyz: %d", status)
	}
}

// Whatever happens to the file under the program, what is accepted from then on
// is in the file that is at the path, and what was stored before is where the
// old file went.
func TestMovedFile(t *testing.T) {
	const deleted = ""
	for name, c := range map[string]struct {
		move func(m movedFile) (old string) // where the old file is now
		log  string
	}{
		"deleted": {func(m movedFile) string {
			m.remove(m.p.db)
			return deleted
		}, "deleted or renamed"},
		"deleted with its WAL": {func(m movedFile) string {
			m.remove(m.p.db, m.p.db+"-wal", m.p.db+"-shm")
			return deleted
		}, "deleted or renamed"},
		"renamed": {func(m movedFile) string {
			m.rename(m.p.db, m.p.db+".1")
			return m.p.db + ".1"
		}, "deleted or renamed"},
		"renamed with its WAL": {func(m movedFile) string {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				m.rename(m.p.db+suffix, m.p.db+".1"+suffix)
			}
			return m.p.db + ".1"
		}, "deleted or renamed"},
		"replaced by a database": {func(m movedFile) string {
			other := m.p.db + ".other"
			runSQL(m.t, other, schema)
			if err := os.Link(m.p.db, m.p.db+".1"); err != nil {
				m.t.Fatal(err)
			}
			m.rename(other, m.p.db)
			return m.p.db + ".1"
		}, "another file has taken its place"},
		"replaced by something else": {func(m movedFile) string {
			m.rename(m.p.db, m.p.db+".1")
			text := "this is a text of more than sixteen bytes"
			if err := os.WriteFile(m.p.db, []byte(text), 0o644); err != nil {
				m.t.Fatal(err)
			}
			m.refused("refused")
			if got, err := os.ReadFile(m.p.db); err != nil || string(got) != text {
				m.t.Errorf("it was written to: %q, %v", got, err)
			}
			m.remove(m.p.db)
			return m.p.db + ".1"
		}, "is no longer the open file"},
		"its directory deleted": {func(m movedFile) string {
			if err := os.RemoveAll(m.dir); err != nil {
				m.t.Fatal(err)
			}
			m.refused("refused")
			if err := os.Mkdir(m.dir, 0o777); err != nil {
				m.t.Fatal(err)
			}
			return deleted
		}, "deleted or renamed"},
		"its directory renamed": {func(m movedFile) string {
			m.rename(m.dir, m.dir+".1")
			m.refused("refused")
			if err := os.Mkdir(m.dir, 0o777); err != nil {
				m.t.Fatal(err)
			}
			return m.dir + ".1/logs.db"
		}, "deleted or renamed"},
		"its WAL deleted": {func(m movedFile) string {
			m.remove(m.p.db + "-wal")
			return m.p.db
		}, "logs.db-wal is no longer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/data"
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			p := start(t, dir+"/logs.db")
			m := movedFile{newLedger(t), p, dir}
			m.mustPost(p, "?wait=1", "before", http.StatusOK)
			p.get("/logs") // so that there is a connection for reading
			old := c.move(m)
			p.until("it is noticed", func() bool { return p.says("reopening the database") > 0 })
			m.untilPosted(p, "after")
			_, read := p.get("/logs")
			if !strings.Contains(read, "after-") || strings.Contains(read, "before") != (old == p.db) {
				t.Errorf("readers see %s", read)
			}
			m.mustPost(p, "", "at the end", http.StatusAccepted)
			p.books()
			p.saidOnce("reopening the database")
			if p.says(c.log) == 0 {
				t.Errorf("the log does not say %q", c.log)
			}
			if status := p.signal(os.Interrupt); status != 0 {
				t.Errorf("exit status %d", status)
			}
			paths := []string{p.db}
			switch old {
			case p.db:
			case deleted:
				delete(m.requests, "before")
			default:
				paths = []string{old, p.db}
				if got := query(t, old, "SELECT count(*) FROM logs WHERE message LIKE 'before%'"); got != "3" {
					t.Errorf("%s rows are in the old file, want 3", got)
				}
			}
			m.auditAll(soundMessages(t, paths...))
		})
	}
}

// The file is renamed again and again while clients send. All that is accepted
// is in one of the files; only what was being committed at that moment may be
// in two.
func TestRenameUnderLoad(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	var clients sync.WaitGroup
	stop := make(chan struct{})
	answered := make(chan bool)
	for c := range 4 {
		clients.Go(func() {
			for n := 0; ; n++ {
				wait := []string{"", "?wait=1"}[n%2]
				status := l.post(p, wait, fmt.Sprintf("%d-%d", c, n), 5, 500)
				switch status {
				case http.StatusOK, http.StatusAccepted, http.StatusServiceUnavailable:
				default:
					t.Errorf("status %d", status)
				}
				select {
				case answered <- status == http.StatusOK:
				case <-stop:
					return
				}
			}
		})
	}
	storeSome := func() {
		for n := 0; n < 10; {
			if <-answered {
				n++
			}
		}
	}
	storeSome()
	var files []string
	for i := range 10 {
		files = append(files, p.db+"."+strconv.Itoa(i))
		if err := os.Rename(p.db, files[i]); err != nil {
			t.Fatal(err)
		}
		p.until("it is noticed", func() bool {
			<-answered
			return p.says("reopening the database") > i
		})
		storeSome()
	}
	close(stop)
	clients.Wait()
	p.books()
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if got := p.says("reopening the database"); got != len(files) {
		t.Errorf("the log tells of %d renames, want %d", got, len(files))
	}
	var all, before []string
	for _, path := range append(files, p.db) {
		messages := soundMessages(t, path)
		for len(messages) > 0 && slices.Contains(before, messages[0]) {
			messages = messages[1:]
		}
		all, before = append(all, messages...), messages
	}
	l.auditAll(all)
}

// A long reader keeps the rows of a file that is renamed in its WAL: that is put
// where it can be joined to the file again.
func TestRenameWithReader(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	release := hold(t, p.db, "BEGIN", "SELECT * FROM logs")
	l.mustPost(p, "?wait=1", "in the WAL", http.StatusOK)
	old := p.db + ".1"
	if err := os.Rename(p.db, old); err != nil {
		t.Fatal(err)
	}
	l.untilPosted(p, "after")
	release()
	p.books()
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	set, err := filepath.Glob(p.db + "-wal.*")
	if err != nil || len(set) != 1 || !strings.Contains(p.logged(), "wal="+set[0]) {
		t.Fatalf("%v, %v: the WAL is not found, or not told of", set, err)
	}
	if err := os.Rename(set[0], old+"-wal"); err != nil {
		t.Fatal(err)
	}
	l.auditAll(soundMessages(t, old, p.db))
}

// The rows of a database that was renamed while the program was not there to
// notice are not lost when it starts.
func TestRenameAndKill(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	p.signal(os.Kill)
	old := p.db + ".1"
	if err := os.Rename(p.db, old); err != nil {
		t.Fatal(err)
	}
	p = start(t, p.db)
	l.mustPost(p, "?wait=1", "after", http.StatusOK)
	p.signal(os.Interrupt)
	set, err := filepath.Glob(p.db + "-wal.*")
	if err != nil || len(set) != 1 {
		t.Fatalf("%v, %v: the WAL is not found", set, err)
	}
	if err := os.Rename(set[0], old+"-wal"); err != nil {
		t.Fatal(err)
	}
	l.auditAll(soundMessages(t, old, p.db))
}

// nobody is a user who may do nothing but what all may.
const nobody = 65534

// unprivileged returns the program as a user who is not root runs it.
func unprivileged(t *testing.T, dir, name string) *process {
	t.Helper()
	p := command(t, filepath.Join(dir, name))
	if os.Getuid() == 0 {
		// By this name, since the way to the binary is not for all.
		p.cmd.Path = "/proc/self/exe"
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return p
}

// ownDir returns a directory for the user of unprivileged programs.
func ownDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() == 0 {
		chmod(t, 0o755, filepath.Dir(dir))
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) }) // so that it can be removed
	return dir
}

func chmod(t *testing.T, mode os.FileMode, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// What is made read-only while it is open goes on being written to. Where it
// has to be opened anew, nothing is accepted until it may be.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	dir := ownDir(t)
	p := unprivileged(t, dir, "logs.db")
	p.run()
	p.awaitListening()
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	chmod(t, 0o444, p.db, p.db+"-wal", p.db+"-shm")
	chmod(t, 0o555, dir)
	l.mustPost(p, "?wait=1", "read-only", http.StatusOK)

	old := p.db + ".1"
	chmod(t, 0o755, dir)
	if err := os.Rename(p.db, old); err != nil {
		t.Fatal(err)
	}
	chmod(t, 0o555, dir)
	movedFile{l, p, dir}.refused("refused")
	chmod(t, 0o755, dir)
	l.untilPosted(p, "after")
	p.books()

	chmod(t, 0o555, dir)
	l.mustPost(p, "", "at the end", http.StatusAccepted)
	if status := p.signal(os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	chmod(t, 0o755, dir)
	l.auditAll(soundMessages(t, old, p.db))
}

// A start that may not write says so in one line.
func TestStartReadOnly(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		name           string
		fileMode, mode os.FileMode
	}{
		"file":       {"logs.db", 0o444, 0o755},
		"directory":  {"logs.db", 0o644, 0o555},
		"new file":   {"new.db", 0o644, 0o555},
		"unreadable": {"logs.db", 0, 0o755},
	} {
		t.Run(what, func(t *testing.T) {
			dir := ownDir(t)
			p := unprivileged(t, dir, "logs.db")
			p.run()
			p.awaitListening()
			p.signal(os.Interrupt)
			chmod(t, c.fileMode, p.db)
			chmod(t, c.mode, dir)
			p = unprivileged(t, dir, c.name)
			p.run()
			if status := p.wait(); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			log := p.logged()
			if !strings.Contains(log, p.db) || strings.Count(log, "\n") != 1 ||
				!strings.Contains(log, "writable") && !strings.Contains(log, "permission denied") {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

// A hook is called with each line of a log.
type hook func()

func (h hook) Write(line []byte) (int, error) {
	h()
	return len(line), nil
}

// A file that is moved while a commit is under way has the rows written to the
// file that is at the path then, unless they are in that one already.
func TestMovedWhileCommitting(t *testing.T) {
	for name, move := range map[string]func(w *testWriter) error{
		"deleted": func(w *testWriter) error { return os.Remove(w.path) },
		"renamed": func(w *testWriter) error { return os.Rename(w.path, w.path+".1") },
		"renamed and back": func(w *testWriter) error {
			w.db.log = slog.New(slog.NewTextHandler(hook(func() {
				if err := os.Rename(w.path+".1", w.path); err != nil {
					t.Error(err)
				}
			}), nil))
			return os.Rename(w.path, w.path+".1")
		},
		"replaced by a copy": func(w *testWriter) error {
			runSQL(t, w.path, "VACUUM INTO '"+w.path+".copy'")
			return os.Rename(w.path+".copy", w.path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			w.db.commit = &hookedStmt{w.db.commit, func() {
				if err := move(w); err != nil {
					t.Error(err)
				}
			}}
			w.put("a", "b")
			w.start()
			if got := w.stop(); got != "a,b" {
				t.Errorf("stored %s, want a,b", got)
			}
			if log := w.log.String(); strings.Contains(log, "cannot write") {
				t.Errorf("it counts as a failure:\n%s", log)
			}
		})
	}
}
