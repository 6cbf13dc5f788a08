//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Three machines ship into one table, each with rows waiting and more being
// written, while forwarders are killed and the database crashes again and
// again. In the end every row is there once.
func TestEveryRowArrivesOnceWhateverIsKilled(t *testing.T) {
	const (
		backlog = 80_000 // rows of each source at the start
		every   = 5_000  // rows, of all sources, between one disaster and the next
	)
	p := startPostgres(t)
	address := p.newDatabase(t, "")
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))

	type machine struct {
		path, source string
		forwarder    *process
		killed       int
	}
	var machines []*machine
	stop := make(chan struct{})
	var writers sync.WaitGroup
	stopWriters := sync.OnceFunc(func() { close(stop); writers.Wait() })
	var written atomic.Int64
	for i := range 3 {
		m := &machine{path: filepath.Join(t.TempDir(), "logs.db"), source: fmt.Sprint("web", i)}
		machines = append(machines, m)
		db := newFile(t, m.path)
		write(t, db, entries(backlog, 0)...)
		written.Add(backlog)
		writers.Go(func() {
			for n := backlog; ; {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				batch := entries(1+n%60, n)
				if err := tryWrite(db, batch...); err != nil {
					t.Error("the writer was disturbed: ", err)
					return
				}
				n += len(batch)
				written.Add(int64(len(batch)))
			}
		})
	}
	t.Cleanup(stopWriters) // before the files are closed
	startForwarder := func(m *machine) {
		m.forwarder = startProcess(t, "-db", m.path, "-to", address, "-source", m.source)
	}
	for _, m := range machines {
		startForwarder(m)
	}

	shipped := func() (n int64) {
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		// The table is not there at first.
		conn.QueryRow(t.Context(), "SELECT coalesce(sum(last_id), 0)::bigint FROM logs_progress").Scan(&n)
		return n
	}
	crashes := 0
	for disasters := 1; ; disasters++ {
		at := int64(disasters * every)
		if at > 3*backlog {
			break
		}
		eventually(t, "rows arrive", func() bool { return shipped() >= at })
		time.Sleep(rand.N(20 * time.Millisecond)) // any moment of a batch
		m := machines[r.IntN(len(machines))]
		select {
		case <-m.forwarder.ended:
			t.Fatalf("forwarder %s ended by itself:\n%s", m.source, m.forwarder.out.String())
		default:
		}
		if disasters%6 == 0 {
			p.crash(t)
			crashes++
			if disasters%12 == 0 { // both at once
				m.forwarder.kill()
				m.killed++
				startForwarder(m)
			}
			p.start(t)
			continue
		}
		m.forwarder.kill()
		m.killed++
		startForwarder(m)
	}
	stopWriters()

	kills, total := 0, 0
	for _, m := range machines {
		m.forwarder.terminate(t)
		shipAll(t, m.path, address, m.source)
		total += compare(t, m.path, address, m.source)
		kills += m.killed
	}
	if int64(total) != written.Load() {
		t.Errorf("%d rows arrived of %d", total, written.Load())
	}
	if kills < 30 || crashes < 5 {
		t.Errorf("only %d forwarders killed, %d crashes of the database", kills, crashes)
	}
	t.Logf("%d rows, %d forwarders killed, %d crashes of the database", total, kills, crashes)
}

// The connection breaks around the commit: before it reaches the database, or
// after, with only the answer lost.
func TestCommitsThatFailAndCommitsThatOnlySeemTo(t *testing.T) {
	p := sharedPostgres(t)
	address := p.newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	write(t, newFile(t, path), entries(5*batchRows, 0)...)

	proxy := startProxy(t, filepath.Join(p.dir, ".s.PGSQL.5432"))
	through := strings.Replace(address, "host="+p.dir, fmt.Sprintf("host=127.0.0.1&port=%d&sslmode=disable", proxy.port), 1)
	out := shipAll(t, path, through, "web1")
	compare(t, path, address, "web1")
	lost, answerLost := proxy.lost.Load(), proxy.answerLost.Load()
	if lost < 3 || answerLost < 3 {
		t.Errorf("%d commits were lost, and of %d only the answer:\n%s", lost, answerLost, out)
	}
}

// A proxy loses the first of three commits, and the answer to the second.
type proxy struct {
	port             int
	commits          atomic.Int64
	lost, answerLost atomic.Int64
}

func startProxy(tb testing.TB, socket string) *proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { listener.Close() })
	p := &proxy{port: listener.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				continue
			}
			go p.pass(client, server, "commit\x00", func() bool {
				if p.commits.Add(1)%3 != 1 {
					return true
				}
				p.lost.Add(1)
				return false
			})
			go p.pass(server, client, "COMMIT\x00", func() bool {
				if p.commits.Load()%3 != 2 {
					return true
				}
				p.answerLost.Add(1)
				return false
			})
		}
	}()
	return p
}

// pass copies until the end, or until the text comes by and let says no.
func (p *proxy) pass(from, to net.Conn, text string, let func() bool) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	held := 0 // bytes at the start of the buffer that may begin the text
	for {
		n, err := from.Read(buffer[held:])
		data := buffer[:held+n]
		if bytes.Contains(data, []byte(text)) && !let() {
			return
		}
		if _, writeErr := to.Write(data[held:]); writeErr != nil || err != nil {
			return
		}
		held = copy(buffer, data[max(0, len(data)-len(text)+1):])
	}
}

func TestSIGTERMEndsCleanly(t *testing.T) {
	p := startPostgres(t)
	newSource := func(t *testing.T, rows int) (path, address string) {
		path = filepath.Join(t.TempDir(), "logs.db")
		write(t, newFile(t, path), entries(rows, 0)...)
		return path, p.newDatabase(t, "")
	}
	t.Run("while idle", func(t *testing.T) {
		path, address := newSource(t, 10)
		f := startProcess(t, "-db", path, "-to", address)
		waitForRows(t, address, 10)
		f.terminate(t)
		if !strings.Contains(f.out.String(), "msg=stopped") {
			t.Errorf("the log:\n%s", f.out.String())
		}
	})
	t.Run("while it ships", func(t *testing.T) {
		path, address := newSource(t, 10*batchRows)
		f := startProcess(t, "-once", "-db", path, "-to", address, "-source", "web1")
		eventually(t, "rows arrive", func() bool {
			return query1[bool](t, address, "SELECT to_regclass('logs') IS NOT NULL") && query1[bool](t, address, "SELECT EXISTS (SELECT FROM logs)")
		})
		f.terminate(t)
		shipAll(t, path, address, "web1")
		compare(t, path, address, "web1")
	})
	t.Run("while it waits for a lock in the database", func(t *testing.T) {
		path, address := newSource(t, 10)
		execute(t, address, createLogs, createProgress)
		blocker, err := dial(t, address).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blocker.Exec(t.Context(), "LOCK TABLE logs IN EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		f := startProcess(t, "-db", path, "-to", address)
		eventually(t, "it waits", func() bool {
			return query1[bool](t, address, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
		})
		f.terminate(t)
	})
	t.Run("while it waits for the file", func(t *testing.T) {
		f := startProcess(t, "-db", filepath.Join(t.TempDir(), "logs.db"), "-to", p.address("postgres"))
		f.waitFor(t, "waiting for the file")
		f.terminate(t)
	})
	t.Run("while the database is down", func(t *testing.T) {
		path, address := newSource(t, 10)
		p.crash(t)
		f := startProcess(t, "-db", path, "-to", address)
		f.waitFor(t, "retrying")
		f.terminate(t)
	})
}

// The database may come up long after the forwarder, go and come again.
func TestReconnects(t *testing.T) {
	p := startPostgres(t)
	address := p.newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	p.crash(t)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	f.waitFor(t, "retrying")
	for i := range 3 {
		write(t, db, entries(100, 100*i)...)
		p.start(t)
		waitForRows(t, address, 100*(i+1))
		p.crash(t)
	}
	p.start(t)
	f.terminate(t)
	compare(t, path, address, "web1")
}
