package main

import (
	"context"
	"errors"
	"fmt"
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

// smallDisk returns a directory on a file system of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size="+size); err != nil {
		t.Log(err)
		skipOrFail(t, "needs root and CAP_SYS_ADMIN, to mount a tmpfs")
	}
	t.Cleanup(func() {
		// Lazily, because a failed test may have left files open.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill uses up the free space of the disk that dir is on, until free is called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	must(t, err)
	for n := 64 << 10; n > 0; {
		if _, err := f.Write(make([]byte, n)); errors.Is(err, syscall.ENOSPC) {
			n /= 2
		} else {
			must(t, err)
		}
	}
	f.Close() // its content does not matter
	return func() {
		t.Helper()
		must(t, os.Remove(name))
	}
}

// fillDisk fills the disk of the database, and sends requests until one is
// refused. The WAL has room for some of them, and the queue has room until the
// writer fails.
func fillDisk(l *ledger, p *process, name string) (free func()) {
	l.t.Helper()
	free = fill(l.t, filepath.Dir(p.db))
	for i := range 10_000 {
		switch status := l.post(p, "", fmt.Sprintf("%s-%d", name, i), 20, 2000); status {
		case http.StatusAccepted:
		case http.StatusServiceUnavailable:
			return free
		default:
			l.t.Fatalf("request %d on a full disk: got status %d, want 202 or 503", i, status)
		}
	}
	l.t.Fatal("10000 requests on a full disk: got status 202, want 503")
	return nil
}

// While the disk is full, no request is accepted, no accepted one is lost, and
// the log can be read. The service recovers when there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "8m")+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	for round := 1; round <= 2; round++ {
		free := fillDisk(l, p, fmt.Sprintf("filling-%d", round))
		if status, body := p.get("/readyz"); status != 503 || !strings.Contains(body, "full") {
			t.Errorf("/readyz: got %d %s, want 503 and the reason", status, body)
		}
		l.mustPost(p, "?wait=1", fmt.Sprint("refused-", round), http.StatusServiceUnavailable)
		if status, _ := p.get("/healthz"); status != 200 {
			t.Errorf("/healthz: got status %d, want 200", status)
		}
		if got := query(t, p.db, "SELECT message FROM logs ORDER BY id LIMIT 1"); got != "before/0/3" {
			t.Errorf("first message: got %q, want before/0/3", got)
		}
		p.checkLogged(logWriteFailed, round)
		free()
		p.waitFor("/readyz gets status 200", func() bool { status, _ := p.get("/readyz"); return status == 200 })
		l.mustPost(p, "?wait=1", fmt.Sprint("after-", round), http.StatusOK)
		p.checkBalanced()
	}
	p.interrupt()
	l.auditAll(readMessages(t, p.db))
}

// Retention deletes expired rows on a full disk too, and so makes space for new
// entries.
func TestRetainOnFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "40m")+"/logs.db", "-retain", "1h")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK) // when this returns, the first sweep has ended
	p.checkBalanced()
	runSQL(t, p.db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)
		INSERT INTO logs(level, message, timestamp) SELECT 'error', hex(zeroblob(5000)), '2020-01-01T00:00:00.000000000Z' FROM n`)
	fillDisk(l, p, "filling")
	p.waitFor("rows are deleted and /readyz gets status 200", func() bool {
		status, _ := p.get("/readyz")
		return status == 200 && p.metrics()["entries_deleted_total"] > 0
	})
	l.postUntilStored(p, "after")
	p.checkBalanced()
	p.interrupt()
	if _, err := os.Stat(p.db + "-reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat the reserve after the exit: got error %v, want %v", err, os.ErrNotExist)
	}
	runSQL(t, p.db, "DELETE FROM logs WHERE timestamp < '2021'") // retention may not have deleted all of them yet
	l.auditAll(readMessages(t, p.db))
}

// A shutdown on a full disk succeeds if all entries are stored, although the WAL
// cannot be checkpointed.
func TestShutdownOnFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "8m")+"/logs.db")
	l := newLedger(t)
	if status := l.post(p, "?wait=1", "before", 200, 2000); status != http.StatusOK {
		t.Fatalf("got status %d, want 200", status)
	}
	free := fill(t, filepath.Dir(p.db))
	p.interrupt()
	p.checkLogged("entries remain in the WAL", 1)
	free()
	p = start(t, p.db)
	l.mustPost(p, "?wait=1", "after", http.StatusOK)
	l.auditAll(readMessages(t, p.db))
}

// A shutdown on a full disk with queued entries ends after -drain-timeout, and
// logs how many entries are lost.
func TestTerminateOnFullDisk(t *testing.T) {
	t.Parallel()
	p := start(t, smallDisk(t, "8m")+"/logs.db", "-drain-timeout", "100ms")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	free := fillDisk(l, p, "filling")
	if status := p.signal(syscall.SIGTERM); status != 1 {
		t.Errorf("got exit status %d, want 1", status)
	}
	free()
	lost := l.audit(readMessages(t, p.db))
	if lost == 0 {
		t.Error("got no lost requests, want at least one in the queue")
	}
	p.checkLogged(fmt.Sprintf(": %d accepted entries lost", 20*lost), 1)
}

// On a full disk, a start fails with one line, both for an existing database and
// for a new one.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "8m")
	old := filepath.Join(dir, "old.db")
	p := start(t, old)
	newLedger(t).mustPost(p, "?wait=1", "before", http.StatusOK)
	p.interrupt()
	free := fill(t, dir)
	for _, db := range []string{old, filepath.Join(dir, "new.db")} {
		p := launch(t, db)
		if status := p.wait(); status != 1 {
			t.Errorf("%s: got exit status %d, want 1", db, status)
		}
		if log := p.logText(); !strings.Contains(log, db) || !strings.Contains(log, "full") || strings.Count(log, "\n") != 1 {
			t.Errorf("%s: got log %q, want one line that the disk is full", db, log)
		}
	}
	free()
	if got := query(t, old, "SELECT count(*) FROM logs"); got != "3" {
		t.Errorf("got %s rows in the old file, want 3", got)
	}
}

// A movedFile is a database whose file is moved while a process uses it.
type movedFile struct {
	*ledger
	p   *process
	dir string
}

func (m movedFile) rename(from, to string) {
	m.t.Helper()
	must(m.t, os.Rename(from, to))
}

func (m movedFile) remove(names ...string) {
	m.t.Helper()
	for _, name := range names {
		must(m.t, os.Remove(name))
	}
}

// waitUntilRefused waits until the process cannot open the database.
func (m movedFile) waitUntilRefused() {
	m.t.Helper()
	m.postUntilRefused(m.p, "refused")
	if status, _ := m.p.get("/readyz"); status != 503 {
		m.t.Errorf("/readyz: got status %d, want 503", status)
	}
}

// deleted is the result of a move that leaves no file with the old rows.
const deleted = ""

// moves are the ways to move a database. move returns where the old file is
// afterwards; log is the reason that the process then logs.
var moves = map[string]struct {
	move func(m movedFile) (old string)
	log  string
}{
	"deleted": {log: "deleted or renamed", move: func(m movedFile) string {
		m.remove(m.p.db)
		return deleted
	}},
	"deleted with its WAL": {log: "deleted or renamed", move: func(m movedFile) string {
		m.remove(m.p.db, m.p.db+"-wal", m.p.db+"-shm")
		return deleted
	}},
	"renamed": {log: "deleted or renamed", move: func(m movedFile) string {
		m.rename(m.p.db, m.p.db+".1")
		return m.p.db + ".1"
	}},
	"renamed with its WAL": {log: "deleted or renamed", move: func(m movedFile) string {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			m.rename(m.p.db+suffix, m.p.db+".1"+suffix)
		}
		return m.p.db + ".1"
	}},
	"replaced by a database": {log: "another file has taken its place", move: func(m movedFile) string {
		other := m.p.db + ".other"
		runSQL(m.t, other, schema)
		must(m.t, os.Link(m.p.db, m.p.db+".1"))
		m.rename(other, m.p.db)
		return m.p.db + ".1"
	}},
	"replaced by another file": {log: "is no longer the open file", move: func(m movedFile) string {
		m.rename(m.p.db, m.p.db+".1")
		const text = "this text is longer than the sixteen bytes of SQLite's magic number"
		must(m.t, os.WriteFile(m.p.db, []byte(text), 0o644))
		m.waitUntilRefused()
		if got, err := os.ReadFile(m.p.db); err != nil || string(got) != text {
			m.t.Errorf("got content %q and error %v, want %q unchanged", got, err, text)
		}
		m.remove(m.p.db)
		return m.p.db + ".1"
	}},
	"directory deleted": {log: "deleted or renamed", move: func(m movedFile) string {
		must(m.t, os.RemoveAll(m.dir))
		m.waitUntilRefused()
		must(m.t, os.Mkdir(m.dir, 0o777))
		return deleted
	}},
	"directory renamed": {log: "deleted or renamed", move: func(m movedFile) string {
		m.rename(m.dir, m.dir+".1")
		m.waitUntilRefused()
		must(m.t, os.Mkdir(m.dir, 0o777))
		return m.dir + ".1/logs.db"
	}},
	"WAL deleted": {log: "logs.db-wal is no longer", move: func(m movedFile) string {
		m.remove(m.p.db + "-wal")
		return m.p.db
	}},
}

// After a move, new entries are in the file at the path, and those stored before
// are in the old file.
func TestMovedFile(t *testing.T) {
	for name, c := range moves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/data"
			must(t, os.Mkdir(dir, 0o777))
			p := start(t, dir+"/logs.db")
			m := movedFile{newLedger(t), p, dir}
			m.mustPost(p, "?wait=1", "before", http.StatusOK)
			p.get("/logs") // opens a connection for reading
			old := c.move(m)
			p.waitForLog(logReopening)
			m.postUntilStored(p, "after")
			_, logs := p.get("/logs")
			if !strings.Contains(logs, "after-") || strings.Contains(logs, "before") != (old == p.db) {
				t.Errorf("/logs: got %s, want the rows of the file at the path", logs)
			}
			m.mustPost(p, "", "last", http.StatusAccepted)
			p.checkBalanced()
			p.checkLogged(logReopening, 1)
			if p.logged(c.log) == 0 {
				t.Errorf("got no %q in the log", c.log)
			}
			p.interrupt()
			paths := []string{p.db}
			switch old {
			case p.db:
			case deleted:
				delete(m.requests, "before")
			default:
				paths = []string{old, p.db}
				if got := query(t, old, "SELECT count(*) FROM logs WHERE message LIKE 'before%'"); got != "3" {
					t.Errorf("got %s rows in the old file, want 3", got)
				}
			}
			m.auditAll(readMessages(t, paths...))
		})
	}
}

// The file is renamed repeatedly while clients send. Each accepted entry is in
// one of the files. Only entries of the transaction that was being committed
// during a rename may be in two.
func TestRenameUnderLoad(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	statuses := make(chan int)
	for c := range 4 {
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				wait := []string{"", "?wait=1"}[n%2]
				status := l.post(p, wait, fmt.Sprintf("%d-%d", c, n), 5, 500)
				switch status {
				case http.StatusOK, http.StatusAccepted, http.StatusServiceUnavailable:
				default:
					t.Errorf("got status %d, want 200, 202 or 503", status)
				}
				select {
				case statuses <- status:
				case <-ctx.Done():
				}
			}
		})
	}
	storeSome := func() {
		t.Helper()
		n := 0
		p.waitFor("10 requests are stored", func() bool {
			if receive(t, "a response", statuses) == http.StatusOK {
				n++
			}
			return n == 10
		})
	}
	storeSome()
	var files []string
	for i := range 10 {
		files = append(files, p.db+"."+strconv.Itoa(i))
		must(t, os.Rename(p.db, files[i]))
		p.waitFor("the process reopens the database", func() bool {
			receive(t, "a response", statuses)
			return p.logged(logReopening) > i
		})
		storeSome()
	}
	stop()
	clients.Wait()
	p.checkBalanced()
	p.interrupt()
	p.checkLogged(logReopening, len(files))
	var all, previous []string
	for _, path := range append(files, p.db) {
		messages := readMessages(t, path)
		for len(messages) > 0 && slices.Contains(previous, messages[0]) {
			messages = messages[1:]
		}
		all, previous = append(all, messages...), messages
	}
	l.auditAll(all)
}

// A long read transaction keeps rows of a renamed file in its WAL. The process
// moves that WAL out of the way and logs its name, so that it can be renamed to
// belong to the file again.
func TestRenameWithReader(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	release := holdSnapshot(t, p.db)
	l.mustPost(p, "?wait=1", "in the WAL", http.StatusOK)
	old := p.db + ".1"
	must(t, os.Rename(p.db, old))
	l.postUntilStored(p, "after")
	release()
	p.checkBalanced()
	p.interrupt()
	wal := findMovedWAL(t, p.db)
	if !strings.Contains(p.logText(), "wal="+wal) {
		t.Errorf("got no wal=%s in the log", wal)
	}
	must(t, os.Rename(wal, old+"-wal"))
	l.auditAll(readMessages(t, old, p.db))
}

// Rows in the WAL are not lost if the file is renamed after the process was
// killed and before it starts again.
func TestRenameAfterKill(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir()+"/logs.db")
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	p.signal(os.Kill)
	old := p.db + ".1"
	must(t, os.Rename(p.db, old))
	p = start(t, p.db)
	l.mustPost(p, "?wait=1", "after", http.StatusOK)
	p.interrupt()
	must(t, os.Rename(findMovedWAL(t, p.db), old+"-wal"))
	l.auditAll(readMessages(t, old, p.db))
}

// findMovedWAL returns the name of the only WAL that was moved out of the way.
func findMovedWAL(t *testing.T, db string) string {
	t.Helper()
	found, err := filepath.Glob(db + "-wal.*")
	if err != nil || len(found) != 1 {
		t.Fatalf("got moved WALs %q and error %v, want one", found, err)
	}
	return found[0]
}

// nobody is the user id of a user without privileges.
const nobody = 65534

// newUnprivileged returns a process that will not run as root.
func newUnprivileged(t *testing.T, dir, name string) *process {
	t.Helper()
	p := newProcess(t, filepath.Join(dir, name))
	if os.Getuid() == 0 {
		// The path to the binary may be closed to other users.
		p.cmd.Path = "/proc/self/exe"
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return p
}

// unprivilegedDir returns a directory that belongs to the user of unprivileged
// processes.
func unprivilegedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() == 0 {
		chmod(t, 0o755, filepath.Dir(dir))
		must(t, os.Chown(dir, nobody, nobody))
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) }) // so that it can be removed
	return dir
}

func chmod(t *testing.T, mode os.FileMode, paths ...string) {
	t.Helper()
	for _, path := range paths {
		must(t, os.Chmod(path, mode))
	}
}

// A file that becomes read-only while it is open stays in use. If it has to be
// reopened, no request is accepted until that is possible.
func TestReadOnlyFile(t *testing.T) {
	t.Parallel()
	dir := unprivilegedDir(t)
	p := newUnprivileged(t, dir, "logs.db")
	p.launch()
	p.awaitListening()
	l := newLedger(t)
	l.mustPost(p, "?wait=1", "before", http.StatusOK)
	chmod(t, 0o444, p.db, p.db+"-wal", p.db+"-shm")
	chmod(t, 0o555, dir)
	l.mustPost(p, "?wait=1", "read-only", http.StatusOK)

	old := p.db + ".1"
	chmod(t, 0o755, dir)
	must(t, os.Rename(p.db, old))
	chmod(t, 0o555, dir)
	movedFile{l, p, dir}.waitUntilRefused()
	chmod(t, 0o755, dir)
	l.postUntilStored(p, "after")
	p.checkBalanced()

	chmod(t, 0o555, dir)
	l.mustPost(p, "", "last", http.StatusAccepted)
	p.interrupt()
	chmod(t, 0o755, dir)
	l.auditAll(readMessages(t, old, p.db))
}

// A start without permission to write fails with one line.
func TestStartReadOnly(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		name              string
		fileMode, dirMode os.FileMode
	}{
		"file":       {name: "logs.db", fileMode: 0o444, dirMode: 0o755},
		"directory":  {name: "logs.db", fileMode: 0o644, dirMode: 0o555},
		"new file":   {name: "new.db", fileMode: 0o644, dirMode: 0o555},
		"unreadable": {name: "logs.db", fileMode: 0, dirMode: 0o755},
	} {
		t.Run(what, func(t *testing.T) {
			dir := unprivilegedDir(t)
			p := newUnprivileged(t, dir, "logs.db")
			p.launch()
			p.awaitListening()
			p.interrupt()
			chmod(t, c.fileMode, p.db)
			chmod(t, c.dirMode, dir)
			p = newUnprivileged(t, dir, c.name)
			p.launch()
			if status := p.wait(); status != 1 {
				t.Errorf("got exit status %d, want 1", status)
			}
			log := p.logText()
			if !strings.Contains(log, p.db) || strings.Count(log, "\n") != 1 ||
				!strings.Contains(log, "writable") && !strings.Contains(log, "permission denied") {
				t.Errorf("got log %q, want one line that names %s and the reason", log, p.db)
			}
		})
	}
}
