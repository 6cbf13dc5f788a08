//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A postgres is a PostgreSQL server that the tests start. It listens on a socket
// in a temporary directory.
type postgres struct {
	bin, dir string
	cred     *syscall.Credential // the user it runs as; nil for the current user
}

var (
	sharedOnce   sync.Once
	sharedServer *postgres
	databases    atomic.Int64
)

// sharedPostgres returns the server of all tests that do not stop it. TestMain
// removes it.
func sharedPostgres(tb testing.TB) *postgres {
	tb.Helper()
	bin := postgresBin(tb)
	sharedOnce.Do(func() { sharedServer = newPostgres(tb, bin) })
	if sharedServer == nil {
		tb.Fatal("the shared PostgreSQL server did not start; see the first test that needed it")
	}
	return sharedServer
}

// startPostgres starts a server for a test that crashes it.
func startPostgres(tb testing.TB) *postgres {
	tb.Helper()
	p := newPostgres(tb, postgresBin(tb))
	tb.Cleanup(p.remove)
	return p
}

func newPostgres(tb testing.TB, bin string) *postgres {
	tb.Helper()
	p := &postgres{bin: bin}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		p.cred = unprivilegedUser(tb)
	}
	var err error
	if p.dir, err = os.MkdirTemp("", "forward-postgres-"); err != nil {
		tb.Fatal(err)
	}
	if p.cred != nil {
		if err := os.Chown(p.dir, int(p.cred.Uid), int(p.cred.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	// Let processes of other users reach the socket.
	if err := os.Chmod(p.dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	p.run(tb, "initdb", "-D", p.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	hba := "local all outsider scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(p.data(), "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		tb.Fatal(err)
	}
	p.start(tb)
	return p
}

// postgresBin returns the directory of the server programs.
func postgresBin(tb testing.TB) string {
	tb.Helper()
	dirs := []string{os.Getenv("FORWARD_TEST_POSTGRES"), "/usr/lib/postgresql/15/bin"}
	others, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	dirs = append(dirs, others...)
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); dir != "" && err == nil {
			return dir
		}
	}
	skipOrFail(tb, "needs PostgreSQL server programs: apt-get install postgresql, or set FORWARD_TEST_POSTGRES to their directory")
	return ""
}

func unprivilegedUser(tb testing.TB) *syscall.Credential {
	tb.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	tb.Fatal("no user postgres or nobody to run PostgreSQL as")
	return nil
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

// tryRun runs a server program and returns its output.
func (p *postgres) tryRun(program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	cmd.WaitDelay = 10 * time.Second
	if p.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred}
	}
	return cmd.CombinedOutput()
}

func (p *postgres) run(tb testing.TB, program string, args ...string) {
	tb.Helper()
	if out, err := p.tryRun(program, args...); err != nil {
		tb.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (p *postgres) start(tb testing.TB) {
	tb.Helper()
	p.run(tb, "pg_ctl", "start", "-w", "-D", p.data(), "-l", filepath.Join(p.dir, "log"),
		"-o", fmt.Sprintf("-c listen_addresses='' -k %s", p.dir))
}

// crash stops the server without a clean shutdown, so that it recovers at the
// next start.
func (p *postgres) crash(tb testing.TB) {
	tb.Helper()
	p.run(tb, "pg_ctl", "stop", "-m", "immediate", "-w", "-D", p.data())
}

func (p *postgres) remove() {
	p.tryRun("pg_ctl", "stop", "-m", "immediate", "-w", "-D", p.data()) // fails if it is stopped already
	os.RemoveAll(p.dir)
}

// newDatabase creates an empty database and returns its address.
func (p *postgres) newDatabase(tb testing.TB, options string) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	execPostgres(tb, p.address("postgres"), "CREATE DATABASE "+name+" "+options)
	return p.address(name)
}

func (p *postgres) address(database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", database, p.dir)
}
