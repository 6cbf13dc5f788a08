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

// Three machines ship into one table while their files grow. Meanwhile
// forwarders are killed and the database crashes, again and again. At the end
// each row must be there once.
func TestForwardSurvivesKills(t *testing.T) {
	const (
		machines = 3
		backlog  = 80_000 // rows of each machine at the start
		interval = 5_000  // rows of all machines that arrive between two failures
	)
	p := startPostgres(t)
	address := p.newDatabase(t, "")

	type machine struct {
		path, source string
		forwarder    *process
	}
	var all []*machine
	stop := make(chan struct{})
	var writers sync.WaitGroup
	stopWriters := sync.OnceFunc(func() { close(stop); writers.Wait() })
	var written atomic.Int64
	for i := range machines {
		m := &machine{path: filepath.Join(t.TempDir(), "logs.db"), source: fmt.Sprint("web", i)}
		all = append(all, m)
		db := newLogsDB(t, m.path)
		insert(t, db, makeEntries(backlog, 0)...)
		written.Add(backlog)
		writers.Go(func() {
			for n := backlog; ; {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				entries := makeEntries(1+n%60, n)
				if err := tryInsert(db, entries...); err != nil {
					t.Error("insert into logs.db: ", err)
					return
				}
				n += len(entries)
				written.Add(int64(len(entries)))
			}
		})
	}
	t.Cleanup(stopWriters) // runs before the files are closed
	start := func(m *machine) {
		m.forwarder = startProcess(t, "-db", m.path, "-to", address, "-source", m.source)
	}
	kills, crashes := 0, 0
	killAndRestart := func(m *machine) {
		m.forwarder.kill(t)
		kills++
		start(m)
	}
	for _, m := range all {
		start(m)
	}
	for failure := 1; failure*interval <= machines*backlog; failure++ {
		waitUntil(t, "rows arrive", func() bool { return shippedRows(t, address) >= int64(failure*interval) })
		time.Sleep(rand.N(20 * time.Millisecond)) // to fail at a random point of a batch
		m := all[rand.N(machines)]
		if m.forwarder.hasExited() {
			t.Fatalf("forwarder of %s exited:\n%s", m.source, m.forwarder.out.String())
		}
		crash, kill := failure%6 == 0, failure%6 != 0 || failure%12 == 0
		if crash {
			p.crash(t)
			crashes++
		}
		if kill {
			killAndRestart(m)
		}
		if crash {
			p.start(t)
		}
	}
	stopWriters()

	var total int
	for _, m := range all {
		m.forwarder.terminate(t)
		shipAll(t, m.path, address, m.source)
		total += checkRows(t, m.path, address, m.source)
	}
	if int64(total) != written.Load() {
		t.Errorf("got %d rows, want %d", total, written.Load())
	}
	if kills < 30 || crashes < 5 {
		t.Errorf("got %d kills and %d crashes, want at least 30 and 5", kills, crashes)
	}
	t.Logf("%d rows, %d forwarders killed, %d crashes of the database", total, kills, crashes)
}

// shippedRows returns the number of rows that were shipped, lost or skipped.
func shippedRows(tb testing.TB, address string) (n int64) {
	tb.Helper()
	conn, err := pgx.Connect(timeoutContext(tb), address)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(timeoutContext(tb))
	// The query fails until the first forwarder has created the table.
	conn.QueryRow(timeoutContext(tb), "SELECT coalesce(sum(last_id), 0)::bigint FROM logs_progress").Scan(&n)
	return n
}

// The connection breaks at the commit: before the commit reaches the database,
// or after it, so that only the response is lost.
func TestCommitOutcomeUnknown(t *testing.T) {
	p := sharedPostgres(t)
	address := p.newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	insert(t, newLogsDB(t, path), makeEntries(5*batchRows, 0)...)

	proxy := startProxy(t, filepath.Join(p.dir, ".s.PGSQL.5432"))
	proxied := strings.Replace(address, "host="+p.dir, fmt.Sprintf("host=127.0.0.1&port=%d&sslmode=disable", proxy.port), 1)
	out := shipAll(t, path, proxied, "web1")
	checkRows(t, path, address, "web1")
	commits, responses := proxy.lostCommits.Load(), proxy.lostResponses.Load()
	if commits < 3 || responses < 3 {
		t.Errorf("got %d lost commits and %d lost responses, want at least 3 each:\n%s", commits, responses, out)
	}
}

// A proxy forwards connections to PostgreSQL. Of each three commits it loses the
// first one, and the response to the second.
type proxy struct {
	port                       int
	commits                    atomic.Int64
	lostCommits, lostResponses atomic.Int64
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
			go copyUntil(server, client, "commit\x00", func() bool {
				lose := p.commits.Add(1)%3 == 1
				if lose {
					p.lostCommits.Add(1)
				}
				return lose
			})
			go copyUntil(client, server, "COMMIT\x00", func() bool {
				lose := p.commits.Load()%3 == 2
				if lose {
					p.lostResponses.Add(1)
				}
				return lose
			})
		}
	}()
	return p
}

// copyUntil copies data until the connection ends, or until the data contains
// text and lose returns true. Then it closes both connections.
func copyUntil(to, from net.Conn, text string, lose func() bool) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	kept := 0 // bytes at the start of the buffer that may be the start of text
	for {
		n, err := from.Read(buffer[kept:])
		data := buffer[:kept+n]
		if bytes.Contains(data, []byte(text)) && lose() {
			return
		}
		if _, writeErr := to.Write(data[kept:]); writeErr != nil || err != nil {
			return
		}
		kept = copy(buffer, data[max(0, len(data)-len(text)+1):])
	}
}

func TestSIGTERMExitsCleanly(t *testing.T) {
	p := startPostgres(t)
	newSource := func(t *testing.T, rows int) (path, address string) {
		path = filepath.Join(t.TempDir(), "logs.db")
		insert(t, newLogsDB(t, path), makeEntries(rows, 0)...)
		return path, p.newDatabase(t, "")
	}
	t.Run("idle", func(t *testing.T) {
		path, address := newSource(t, 10)
		f := startProcess(t, "-db", path, "-to", address)
		waitForRows(t, address, 10)
		f.terminate(t)
		if !strings.Contains(f.out.String(), "msg=stopped") {
			t.Errorf("got no message stopped in the log:\n%s", f.out.String())
		}
	})
	t.Run("copying", func(t *testing.T) {
		const pauseAt = 2*batchRows + 1 // in the third batch or a later one
		path, address := newSource(t, 3*batchRows)
		execPostgres(t, address, createLogs, fmt.Sprintf(`
			CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF NEW.id = %d THEN PERFORM pg_sleep(600); END IF;
				RETURN NEW;
			END $$`, pauseAt),
			"CREATE TRIGGER pause BEFORE INSERT ON logs FOR EACH ROW EXECUTE FUNCTION pause()")
		f := startProcess(t, "-once", "-db", path, "-to", address, "-source", "web1")
		const paused = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
		waitUntil(t, "a batch is being copied", func() bool {
			return queryValue[bool](t, address, "SELECT EXISTS (SELECT "+paused+")")
		})
		if got := countRows(t, address); got == 0 || got >= pauseAt {
			t.Errorf("before SIGTERM: got %d rows, want those of the batches before row %d", got, pauseAt)
		}
		f.terminate(t)
		execPostgres(t, address, "SELECT pg_terminate_backend(pid) "+paused, "DROP TRIGGER pause ON logs")
		shipAll(t, path, address, "web1")
		checkRows(t, path, address, "web1")
	})
	t.Run("waiting for a lock in the database", func(t *testing.T) {
		path, address := newSource(t, 10)
		execPostgres(t, address, createLogs, createProgress)
		blocker, err := dial(t, address).Begin(timeoutContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blocker.Exec(timeoutContext(t), "LOCK TABLE logs IN EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		f := startProcess(t, "-db", path, "-to", address)
		waitUntil(t, "forward waits for the lock", func() bool {
			return queryValue[bool](t, address, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
		})
		f.terminate(t)
	})
	t.Run("waiting for the file", func(t *testing.T) {
		f := startProcess(t, "-db", filepath.Join(t.TempDir(), "logs.db"), "-to", p.address("postgres"))
		f.waitForOutput(t, "waiting for the file")
		f.terminate(t)
	})
	t.Run("database down", func(t *testing.T) {
		path, address := newSource(t, 10)
		p.crash(t)
		f := startProcess(t, "-db", path, "-to", address)
		f.waitForOutput(t, "retrying")
		f.terminate(t)
	})
}

// The database starts long after the forwarder, and stops and starts again.
func TestForwardReconnects(t *testing.T) {
	p := startPostgres(t)
	address := p.newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	p.crash(t)
	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	f.waitForOutput(t, "retrying")
	for i := range 3 {
		insert(t, db, makeEntries(100, 100*i)...)
		p.start(t)
		waitForRows(t, address, 100*(i+1))
		p.crash(t)
	}
	p.start(t)
	f.terminate(t)
	checkRows(t, path, address, "web1")
}

// A second forwarder of a source waits and takes over when the first one stops.
func TestSecondForwarderWaits(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(100, 0)...)
	first := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 100)
	second := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	third := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	second.waitForOutput(t, "another forwarder ships this source")
	third.waitForOutput(t, "another forwarder ships this source")
	shipAll(t, path, address, "another source") // does not wait
	third.terminate(t)
	first.kill(t)
	insert(t, db, makeEntries(100, 100)...)
	waitForRows(t, address, 300) // the second one has taken over
	checkRows(t, path, address, "web1")
	second.terminate(t)
}

// Without advisory locks, several forwarders of a source run at the same time.
// The condition on last_id lets only one of them commit each batch.
func TestForwardersWithoutLocks(t *testing.T) {
	p := sharedPostgres(t)
	address := p.newDatabase(t, "")
	execPostgres(t, address, "CREATE SCHEMA other", `
		CREATE FUNCTION other.pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'not supported' USING ERRCODE = '0A000'; END $$`)
	address += "&search_path=other,public,pg_catalog"
	execPostgres(t, address, strings.Replace(createLogs, "EXISTS logs", "EXISTS public.logs", 1), strings.Replace(createProgress, "EXISTS logs", "EXISTS public.logs", 1))
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(8*batchRows, 0)...)
	var forwarders []*process
	for range 3 {
		forwarders = append(forwarders, startProcess(t, "-db", path, "-to", address, "-source", "web1"))
	}
	conflict := false
	for i := 0; !conflict || i < 20; i++ {
		if i == 1000 {
			t.Fatal("got no conflict between two forwarders")
		}
		insert(t, db, makeEntries(100, 8*batchRows+100*i)...)
		waitForRows(t, address, 8*batchRows+100*(i+1))
		for _, f := range forwarders {
			conflict = conflict || strings.Contains(f.out.String(), "another forwarder ships it")
		}
	}
	for _, f := range forwarders {
		f.terminate(t)
		if !strings.Contains(f.out.String(), "no advisory locks") {
			t.Errorf("got no warning about advisory locks:\n%s", f.out.String())
		}
	}
	checkRows(t, path, address, "web1")
}
