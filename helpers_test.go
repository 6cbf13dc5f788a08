package main

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"log-ingester/internal/fastpath"
	"log-ingester/internal/pipetest"
	"log-ingester/internal/testskip"
)

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// skipOrFail skips a test that this machine cannot run; need says what is
// missing and how to get it. If the CI variable is not empty, the test fails
// instead.
func skipOrFail(t testing.TB, need string) {
	t.Helper()
	testskip.SkipOrFail(t, need)
}

// waitTimeout limits each wait of a test. It is far longer than any wait should
// take.
const waitTimeout = time.Minute

// waitFor waits until cond returns true. what describes the condition, for
// example "the queue is empty".
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout waiting until %s", what)
		}
	}
}

// receive returns the next value from c, or the zero value if c is closed. what
// describes the value.
func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(waitTimeout):
	}
	t.Fatalf("timeout waiting for %s", what)
	panic("unreachable")
}

// HTTP

// A testService is a service that runs in the test process, without a server.
type testService struct {
	*service
	handler     http.Handler // of all routes
	path        string       // of the database
	startWriter func()       // has no effect if the writer is running
	stop        func()       // drains the queue and closes the database; has no effect the second time
}

// newTestService starts a service on an empty database; args are flags. When the
// test ends, the service stops, and its counts must balance.
func newTestService(t testing.TB, args ...string) *testService {
	t.Helper()
	s := newStalledService(t, args...)
	s.startWriter()
	return s
}

// newStalledService is like newTestService, but the writer does not run until
// startWriter is called.
func newStalledService(t testing.TB, args ...string) *testService {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logs.db")
	cfg, err := parseTest(t, nil, append([]string{"-db", path}, args...)...)
	must(t, err)
	must(t, cfg.load())
	log := slog.New(slog.DiscardHandler)
	db, err := openDatabase(cfg.db, cfg.synchronous, log)
	must(t, err)
	inner, err := newService(cfg, db, log)
	must(t, err)
	inner.ingest.refusalDelay = 0
	s := &testService{service: inner, handler: inner.routes(), path: path}
	s.startWriter = sync.OnceFunc(func() {
		go func() {
			defer close(s.written)
			s.writer.run()
		}()
	})
	s.stop = sync.OnceFunc(func() {
		s.startWriter()
		s.queue.stop()
		receive(t, "the exit of the writer", s.written)
		must(t, errors.Join(s.reader.Load().Close(), s.writer.close()))
	})
	t.Cleanup(func() {
		s.stop()
		s.checkBalanced(t)
	})
	return s
}

// checkBalanced fails the test unless all memory is released and each received
// entry is counted once. The service must be stopped.
func (s *testService) checkBalanced(t testing.TB) {
	t.Helper()
	if n := s.memory.used.Load(); n != 0 {
		t.Errorf("got %d bytes of the memory budget in use, want 0", n)
	}
	if bytes, entries := s.queue.bytes.Load(), s.queue.entries.Load(); bytes != 0 || entries != 0 {
		t.Errorf("got %d bytes and %d entries in the queue, want none", bytes, entries)
	}
	m := s.metrics
	received, accepted, filtered, refused := m.received.Load(), m.accepted.Load(), m.filtered.Load(), m.refused.Load()
	if received != accepted+filtered+refused {
		t.Errorf("got %d entries received, but %d accepted, %d filtered and %d refused", received, accepted, filtered, refused)
	}
	if stored := m.stored.Load(); accepted != stored {
		t.Errorf("got %d entries accepted, but %d stored", accepted, stored)
	}
}

// do calls the handler with a request. header alternates names and values.
func (s *testService) do(method, target string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// post sends body to /ingest and waits for its commit.
func (s *testService) post(body string, header ...string) *httptest.ResponseRecorder {
	return s.do("POST", "/ingest?wait=1", strings.NewReader(body), header...)
}

// checkError fails the test unless w is an error response of the given status.
func checkError(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	var body struct{ Error string }
	err := json.Unmarshal(w.Body.Bytes(), &body)
	if w.Code != status || err != nil || body.Error == "" {
		t.Errorf("got response %d %s, want %d and a JSON error", w.Code, w.Body, status)
	}
}

var okHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })

// smallBody is the body of a request with one entry, which the default level
// keeps.
const smallBody = `{"level":"error","msg":"a"}`

// head is the header of a POST request.
func head(target string, length int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", target, length)
}

// restTimeout is how long the fast path waits for the rest of a request.
const restTimeout = 100 * time.Millisecond

// A pipeServer is an http.Server behind the fast path, with the limits of the
// service, whose connections are pipes. It must run in a synctest bubble.
type pipeServer struct {
	t        *testing.T
	listener *pipetest.Listener
	headers  *budget
}

func servePipes(t *testing.T, h http.Handler, connections int) *pipeServer {
	return servePipesWithin(t, h, connections, &budget{limit: headerBudget})
}

// servePipesWithin is servePipes with a budget for headers.
func servePipesWithin(t *testing.T, h http.Handler, connections int, headers *budget) *pipeServer {
	pipes := pipetest.NewListener()
	fast := fastpath.New(newConnTable(pipes, connections, newAccounts(nil)), h, fastpath.Config{
		Path:           "/ingest",
		RequestTimeout: requestTimeout,
		IdleTimeout:    idleTimeout,
		ConnContext:    withConn,
		Log:            slog.New(slog.DiscardHandler),
	})
	server := newServer(limitHeaders(h))
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	go server.Serve(&headerListener{Listener: fast, budget: headers})
	t.Cleanup(func() {
		must(t, server.Close())
		time.Sleep(time.Second) // net/http sleeps before it closes some connections
	})
	return &pipeServer{t, pipes, headers}
}

func (s *pipeServer) dial() *pipetest.Client { return s.listener.Dial(s.t) }

// serveFrames serves h over HTTP/2 without TLS, with the limits of the service and
// a budget for headers, and returns a client. It must run in a synctest bubble.
func serveFrames(t *testing.T, h http.Handler, headers *budget) (*pipetest.Listener, *http.Client) {
	pipes := pipetest.NewListener()
	server := newServer(limitHeaders(h))
	server.Protocols = decryptedProtocols()
	table := newConnTable(pipes, 1000, newAccounts(nil))
	go server.Serve(&headerListener{table, headers, func(net.Conn) bool { return true }})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return pipes.Dial(t).Conn, nil
		},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		must(t, server.Close())
		time.Sleep(time.Minute) // net/http sleeps before it closes some connections
	})
	return pipes, &http.Client{Transport: transport}
}

// serveHTTP2 serves h over HTTP/2, with the limits of the service, and returns a
// client whose host is https://example.com.
func serveHTTP2(t *testing.T, h http.Handler) *http.Client {
	return pipetest.ServeHTTP2(t, newServer(h), func(l net.Listener) net.Listener {
		return newConnTable(l, 1, newAccounts(nil))
	})
}

// parseMetrics reads Prometheus's text format. The keys do not have the prefix
// log_ingester_.
func parseMetrics(t testing.TB, text string) map[string]float64 {
	t.Helper()
	sample := regexp.MustCompile(`^([a-z_]+(?:\{[^}]*\})?) ([-+0-9.e]+)$`)
	values := map[string]float64{}
	typed := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if kind, found := strings.CutPrefix(line, "# TYPE "); found {
			name, _, _ := strings.Cut(kind, " ")
			typed[name] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("invalid sample %q", line)
			continue
		}
		name, _, _ := strings.Cut(m[1], "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if family := strings.TrimSuffix(name, suffix); typed[family] {
				name = family
			}
		}
		if !typed[name] {
			t.Errorf("metric %s has no TYPE", name)
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Error(err)
		}
		values[strings.TrimPrefix(m[1], "log_ingester_")] = v
	}
	return values
}

// SQL

// openSQL opens a database on other connections than the service's, whose locks
// it waits for.
func openSQL(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	must(t, err)
	return db
}

// query returns the single value that a statement selects.
func query(t *testing.T, path, statement string) string {
	t.Helper()
	db := openSQL(t, path)
	defer db.Close()
	var value string
	if err := db.QueryRow(statement).Scan(&value); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

// runSQL executes statements.
func runSQL(t *testing.T, path string, statements ...string) {
	t.Helper()
	db := openSQL(t, path)
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// readRows returns the columns after the id of all rows, ordered by id. Details
// that are NULL are "NULL".
func readRows(t *testing.T, path string) (rows [][4]string) {
	t.Helper()
	db := openSQL(t, path)
	defer db.Close()
	found, err := db.Query("SELECT level, message, timestamp, ifnull(details, 'NULL') FROM logs ORDER BY id")
	must(t, err)
	defer found.Close()
	for found.Next() {
		var r [4]string
		must(t, found.Scan(&r[0], &r[1], &r[2], &r[3]))
		rows = append(rows, r)
	}
	must(t, found.Err())
	return rows
}

// storedMessages returns the messages of all rows, joined with commas.
func storedMessages(t *testing.T, path string) string {
	t.Helper()
	var all []string
	for _, r := range readRows(t, path) {
		all = append(all, r[1])
	}
	return strings.Join(all, ",")
}

func mustOpen(t *testing.T, path string) *database {
	t.Helper()
	db, err := openDatabase(path, "full", slog.New(slog.DiscardHandler))
	must(t, err)
	return db
}

// testAccount returns an account that no other test uses.
func testAccount() *account { return newAccounts(nil).get(netip.Addr{}) }

// newTestBatch returns a batch with a row of level error for each message.
func newTestBatch(messages ...string) *batch {
	b := &batch{account: testAccount(), rows: make([]row, 0, max(len(messages), maxJoinedText/64))}
	size := 0
	for _, m := range messages {
		size += len(m) + maxRowExtra
	}
	b.text = make([]byte, 0, max(size, maxJoinedText))
	for _, m := range messages {
		var r row
		b.text = append(b.text, "error"...)
		r.level = uint32(len(b.text))
		b.text = append(b.text, m...)
		r.message = uint32(len(b.text))
		b.text = append(b.text, "2026-11-22T15:24:00.000000000Z"...)
		r.timestamp = uint32(len(b.text))
		r.details = r.timestamp
		b.rows = append(b.rows, r)
	}
	return b
}

// Bytes and files

func compressed[W io.WriteCloser](newWriter func(io.Writer) W, s string) string {
	var b bytes.Buffer
	z := newWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func gzipped(s string) string { return compressed(gzip.NewWriter, s) }

// zlibbed and rawDeflated return the two forms that clients send as deflate:
// with a zlib header, and without.
func zlibbed(s string) string { return compressed(zlib.NewWriter, s) }

func rawDeflated(s string) string {
	return compressed(func(w io.Writer) *flate.Writer {
		f, _ := flate.NewWriter(w, flate.DefaultCompression) // fails only if the level is invalid
		return f
	}, s)
}

// A syncBuffer is a bytes.Buffer that any goroutine may use.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// parseTest returns the configuration for an environment and flags.
func parseTest(t testing.TB, env map[string]string, args ...string) (*config, error) {
	t.Helper()
	return parseConfig(args, func(name string) string { return env[name] })
}

// keysFile writes an API keys file and returns its name.
func keysFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// A testCertificate is a self-signed certificate, in two files.
type testCertificate struct {
	t                 *testing.T
	certFile, keyFile string
	roots             *x509.CertPool // trusts all certificates that were written
}

func newTestCertificate(t *testing.T, hostName string) *testCertificate {
	dir := t.TempDir()
	c := &testCertificate{
		t:        t,
		certFile: filepath.Join(dir, "cert"),
		keyFile:  filepath.Join(dir, "key"),
		roots:    x509.NewCertPool(),
	}
	c.renew(hostName)
	return c
}

// renew writes a new certificate for a host name.
func (c *testCertificate) renew(hostName string) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostName}, DNSNames: []string{hostName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(c.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(c.t, err)
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	must(c.t, os.WriteFile(c.certFile, certText, 0o600))
	must(c.t, os.WriteFile(c.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	c.roots.AppendCertsFromPEM(certText)
}

// Processes

// raceDetected reports whether the tests were built with the race detector.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
