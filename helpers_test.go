package main

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log-ingester/internal/fastpath"
	"log-ingester/internal/pipetest"
	"log-ingester/internal/testskip"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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
			t.Fatalf("timeout: %s is still not true", what)
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
	t.Fatalf("timeout: did not receive %s", what)
	panic("not reached")
}

// A testService is the service within the test, its writer running.
type testService struct {
	*service
	t       testing.TB
	handler http.Handler
	path    string
}

// newTestService starts the service on an empty database; arguments are flags.
func newTestService(t testing.TB, args ...string) *testService {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logs.db")
	cfg, err := parseConfig(append([]string{"-db", path}, args...), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.load(); err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(cfg.db, cfg.synchronous, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(cfg, db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.writer.run()
	}()
	t.Cleanup(func() {
		s.queue.stop()
		<-written
		if err := errors.Join(s.reader.Load().Close(), s.writer.close()); err != nil {
			t.Error(err)
		}
		if n := s.memory.used.Load(); n != 0 {
			t.Errorf("%d bytes of the memory budget were not given back", n)
		}
		if n := s.queue.bytes.Load() + s.queue.entries.Load(); n != 0 {
			t.Errorf("the queue's books do not end at 0")
		}
	})
	return &testService{s, t, s.routes(), path}
}

// do answers one request.
func (s *testService) do(method, target string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *testService) post(body string, header ...string) *httptest.ResponseRecorder {
	return s.do("POST", "/ingest?wait=1", strings.NewReader(body), header...)
}

// readRows returns the columns of all rows by id; details that are NULL are
// "NULL".
func readRows(t *testing.T, path string) (rows [][4]string) {
	t.Helper()
	db := openSQL(t, path)
	defer db.Close()
	found, err := db.Query("SELECT level, message, timestamp, ifnull(details, 'NULL') FROM logs ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var r [4]string
		if err := found.Scan(&r[0], &r[1], &r[2], &r[3]); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// storedMessages returns the messages of all rows, with commas between.
func storedMessages(t *testing.T, path string) string {
	var all []string
	for _, r := range readRows(t, path) {
		all = append(all, r[1])
	}
	return strings.Join(all, ",")
}

func compressed[W io.WriteCloser](newWriter func(io.Writer) W, s string) string {
	var b bytes.Buffer
	z := newWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func gzipped(s string) string { return compressed(gzip.NewWriter, s) }

// zlibbed and rawDeflated are the two forms that clients send as deflate: with a
// header and without.
func zlibbed(s string) string { return compressed(zlib.NewWriter, s) }

func rawDeflated(s string) string {
	return compressed(func(w io.Writer) *flate.Writer {
		f, _ := flate.NewWriter(w, flate.DefaultCompression) // the level is a valid one
		return f
	}, s)
}

// A pipeServer serves connections within the test, under the limits of the
// service.
type pipeServer struct {
	t        *testing.T
	listener *pipetest.Listener
}

func servePipes(t *testing.T, h http.Handler, connections int) *pipeServer {
	pipes := pipetest.NewListener()
	fast := fastpath.New(limitListener(pipes, connections), h, fastpath.Config{
		Path:           "/ingest",
		RequestTimeout: requestTimeout,
		IdleTimeout:    idleTimeout,
		Log:            slog.New(slog.DiscardHandler),
	})
	server := newServer(h)
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	go server.Serve(fast)
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // net/http lingers before it closes
	})
	return &pipeServer{t, pipes}
}

func (s *pipeServer) dial() *pipetest.Client { return s.listener.Dial(s.t) }

// head is the header of a POST request.
func head(target string, length int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", target, length)
}

// restTimeout is how long the fast path waits for the rest of a request.
const restTimeout = 100 * time.Millisecond

var okHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })

const smallBody = `{"level":"error","msg":"a"}`

// newStalledService returns a service whose writer does not run, and what makes
// it run to its end.
func newStalledService(t *testing.T) (s *service, finish func()) {
	t.Helper()
	cfg, err := parseConfig([]string{"-db", filepath.Join(t.TempDir(), "logs.db")}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(cfg.db, cfg.synchronous, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err = newService(cfg, db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	finished := make(chan struct{})
	t.Cleanup(func() {
		<-finished
		if err := errors.Join(s.reader.Load().Close(), db.close()); err != nil {
			t.Error(err)
		}
	})
	return s, func() {
		defer close(finished)
		s.queue.stop()
		s.writer.run()
	}
}

// serveHTTP2 serves h under the limits of the service, over HTTP/2, and returns
// a client whose host is https://example.com.
func serveHTTP2(t *testing.T, h http.Handler) *http.Client {
	return pipetest.ServeHTTP2(t, newServer(h), func(l net.Listener) net.Listener { return limitListener(l, 1) })
}

// openSQL opens a database beside the program's own connections, whose locks it
// waits for.
func openSQL(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// query returns the single value that a statement answers, from a connection
// of its own.
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

// runSQL runs statements on a connection of its own.
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

// newTestBatch returns a batch of one row a message, at level error.
func newTestBatch(messages ...string) *batch {
	b := new(batch)
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

func mustOpen(t *testing.T, path string) *database {
	t.Helper()
	db, err := openDatabase(path, "full", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// raceDetected tells whether the tests are built with the race detector.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// peakMemory returns the most memory, in bytes, that a process was seen to
// have, where the system tells.
func peakMemory(pid int) (int, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kibibytes int // Linux calls them kB
	_, err = fmt.Sscan(peak, &kibibytes)
	return kibibytes << 10, err == nil
}

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

// keysFile writes the text of an API keys file and returns its name.
func keysFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func parseTest(t *testing.T, env map[string]string, args ...string) (*config, error) {
	t.Helper()
	return parseConfig(args, func(name string) string { return env[name] })
}

// A testCertificate is a certificate for 127.0.0.1 in two files, signed by its
// own key.
type testCertificate struct {
	t                 *testing.T
	certFile, keyFile string
	roots             *x509.CertPool
}

func newTestCertificate(t *testing.T) *testCertificate {
	dir := t.TempDir()
	c := &testCertificate{t: t, certFile: filepath.Join(dir, "cert"), keyFile: filepath.Join(dir, "key"), roots: x509.NewCertPool()}
	c.renew("first")
	return c
}

// renew writes a new certificate for the host name.
func (c *testCertificate) renew(name string) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	c.write(c.certFile, certText)
	c.write(c.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	c.roots.AppendCertsFromPEM(certText)
}

func (c *testCertificate) write(file string, text []byte) {
	c.t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}
