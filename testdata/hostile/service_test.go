//go:build linux

package hostile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// waitTimeout limits each wait of the test that has no limit of its own.
const waitTimeout = time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// buildService builds the service without cgo, as a release does, and returns
// the path of the program.
func buildService(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "log-ingester")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = *source
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", *source, err, out)
	}
	return program
}

// A service is a running log-ingester.
type service struct {
	t      *testing.T
	cmd    *exec.Cmd
	scheme string
	addr   string
	exited chan struct{} // closed when the process has exited

	mu         sync.Mutex
	log        bytes.Buffer
	transports []*http.Transport // of all clients
}

// startService starts the program and waits until it accepts logs. The process
// is killed when the test ends.
func startService(t *testing.T, program, db string, args ...string) *service {
	t.Helper()
	s := &service{t: t, scheme: "http", exited: make(chan struct{})}
	s.cmd = exec.Command(program, append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	s.cmd.Env = serviceEnvironment()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := s.cmd.StderrPipe()
	must(t, err)
	must(t, s.cmd.Start())
	joinCgroup(t, s.cmd.Process.Pid)
	go s.collectLog(stderr)
	t.Cleanup(func() {
		s.cmd.Process.Kill() // fails if the process has exited
		<-s.exited
		if t.Failed() {
			t.Logf("log of the service:\n%s", lastBytes(s.logText(), 4000))
		}
	})
	s.awaitListening()
	return s
}

// serviceEnvironment returns the environment without variables that configure
// the service or Go's garbage collector.
func serviceEnvironment() (env []string) {
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "LOG_INGESTER_") && name != "GOGC" && name != "GOMEMLIMIT" {
			env = append(env, e)
		}
	}
	return env
}

// joinCgroup moves the process to the cgroup that -cgroup names.
func joinCgroup(t *testing.T, pid int) {
	t.Helper()
	if *cgroup == "" {
		return
	}
	must(t, os.WriteFile(filepath.Join(*cgroup, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0))
}

func (s *service) collectLog(stderr io.Reader) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		s.mu.Lock()
		s.log.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
	}
	s.cmd.Wait() // the result is in s.cmd.ProcessState
	close(s.exited)
}

func (s *service) logText() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func lastBytes(text string, n int) string { return text[max(0, len(text)-n):] }

var listening = regexp.MustCompile(`msg="accepting logs" addr=(\S+:\d+)`)

func (s *service) awaitListening() {
	s.t.Helper()
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if m := listening.FindStringSubmatch(s.logText()); m != nil {
			s.addr = m[1]
			return
		}
	}
	s.t.Fatalf("the service does not accept logs:\n%s", s.logText())
}

func (s *service) hasExited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// terminate sends SIGTERM, and returns how long the process took to exit. The
// exit status must be 0.
func (s *service) terminate(limit time.Duration) time.Duration {
	s.t.Helper()
	start := time.Now()
	must(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-s.exited:
	case <-time.After(limit + waitTimeout):
		s.t.Fatalf("got no exit within %v of SIGTERM", limit+waitTimeout)
	}
	took := time.Since(start)
	if took > limit {
		s.t.Errorf("got an exit %v after SIGTERM, want at most %v", took.Round(time.Millisecond), limit)
	}
	if status := s.cmd.ProcessState.ExitCode(); status != 0 {
		s.t.Errorf("got exit status %d after SIGTERM, want 0: %v", status, s.cmd.ProcessState)
	}
	return took
}

// status returns a field of /proc/PID/status, in bytes; 0 if the process has
// exited.
func (s *service) status(field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	var kibibytes int64 // Linux calls the unit kB
	if _, err := fmt.Sscan(rest, &kibibytes); err != nil {
		return 0
	}
	return kibibytes << 10
}

// descriptors returns the number of open file descriptors.
func (s *service) descriptors() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	must(s.t, err)
	return len(entries)
}

// A client sends requests from one address.
type client struct {
	*http.Client
	url string // scheme and host
	key string // API key, or empty
}

// newClient returns a client of s whose requests come from address. Without
// keepAlive, each request uses a new connection.
func (s *service) newClient(m *mode, address, key string, keepAlive bool, timeout time.Duration) *client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     m.tlsConfig(),
		ForceAttemptHTTP2:   m.tls,
		DisableKeepAlives:   !keepAlive,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
	}
	s.mu.Lock()
	s.transports = append(s.transports, transport)
	s.mu.Unlock()
	return &client{&http.Client{Transport: transport, Timeout: timeout}, m.scheme() + "://" + s.addr, key}
}

// do sends a request and reads the response. header alternates names and
// values; the name Host sets the host.
func (c *client) do(ctx context.Context, method, path, body string, header ...string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// closeIdle closes the idle connections of all clients.
func (s *service) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, transport := range s.transports {
		transport.CloseIdleConnections()
	}
}

var sample = regexp.MustCompile(`(?m)^log_ingester_([a-z_]+(?:\{[^}]*\})?) ([-+0-9.e]+)$`)

// parseMetrics returns the values of Prometheus's text format. The names do not
// have the prefix log_ingester_.
func parseMetrics(text string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range sample.FindAllStringSubmatch(text, -1) {
		values[m[1]], _ = strconv.ParseFloat(m[2], 64) // the expression matches only numbers
	}
	return values
}

// A mode is a configuration of the service and the attackers.
type mode struct {
	name   string
	keys   bool // with API keys
	tls    bool
	spread bool // each attack has an address of its own

	keysFile, certFile, keyFile string
	roots                       *x509.CertPool
}

const (
	honestKey   = "key-of-the-honest-client"
	attackerKey = "key-of-the-attackers"
	revokedKey  = "key-that-is-revoked"
)

// prepare writes the files of the mode, and returns the flags of the service.
func (m *mode) prepare(t *testing.T) (args []string) {
	t.Helper()
	dir := t.TempDir()
	if m.keys {
		m.keysFile = filepath.Join(dir, "keys")
		m.writeKeys(t, honestKey, attackerKey, revokedKey)
		args = append(args, "-api-keys-file", m.keysFile)
	}
	if m.tls {
		m.certFile, m.keyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		m.writeCertificate(t)
		args = append(args, "-tls-cert", m.certFile, "-tls-key", m.keyFile)
	}
	return args
}

func (m *mode) writeKeys(t *testing.T, keys ...string) {
	t.Helper()
	must(t, os.WriteFile(m.keysFile, []byte(strings.Join(keys, "\n")), 0o600))
}

func (m *mode) scheme() string {
	if m.tls {
		return "https"
	}
	return "http"
}

func (m *mode) tlsConfig() *tls.Config {
	if !m.tls {
		return nil
	}
	return &tls.Config{RootCAs: m.roots}
}

func (m *mode) key(key string) string {
	if !m.keys {
		return ""
	}
	return key
}

// writeCertificate writes a self-signed certificate for 127.0.0.1 and its key.
func (m *mode) writeCertificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "hostile"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	must(t, os.WriteFile(m.certFile, text, 0o600))
	must(t, os.WriteFile(m.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	m.roots = x509.NewCertPool()
	m.roots.AppendCertsFromPEM(text)
}
