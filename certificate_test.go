package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

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

// post sends p a body as name and returns the answer's protocol and status.
func (c *testCertificate) post(p *process, name, body string) (string, error) {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: c.roots, ServerName: name},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Post("https"+strings.TrimPrefix(p.url, "http")+"/ingest?wait=1", "", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return resp.Proto + " " + resp.Status, resp.Body.Close()
}

// hangUp sends SIGHUP and waits until the log says so.
func (p *process) hangUp(says string) {
	p.t.Helper()
	before := strings.Count(p.logged(), says)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); strings.Count(p.logged(), says) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the log does not say %q", says)
		}
	}
}

func TestTLS(t *testing.T) {
	c := newTestCertificate(t)
	p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-tls-cert", c.certFile, "-tls-key", c.keyFile)
	for _, body := range []string{smallBody, strings.Repeat(smallBody, 4*bodyStep/len(smallBody))} {
		if answer, err := c.post(p, "first", body); err != nil || answer != "HTTP/2.0 200 OK" {
			t.Errorf("%d bytes: %s %v", len(body), answer, err)
		}
	}
	old := &tls.Config{RootCAs: c.roots, ServerName: "first", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "http://"), old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is spoken")
	}

	c.renew("second")
	p.hangUp("read the TLS certificate again")
	if _, err := c.post(p, "second", smallBody); err != nil {
		t.Errorf("the renewed certificate: %v", err)
	}
	if _, err := c.post(p, "first", smallBody); err == nil {
		t.Error("the old certificate is still in use")
	}

	c.write(c.keyFile, []byte("no key"))
	p.hangUp("the TLS certificate stays as it was")
	if _, err := c.post(p, "second", smallBody); err != nil {
		t.Errorf("after a renewal that failed: %v", err)
	}
}

func TestKeysOfAProcess(t *testing.T) {
	t.Setenv("LOG_INGESTER_API_KEYS", "s3cret-of-env")
	file := keysFile(t, "s3cret-of-file")
	p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-api-keys-file", file)
	status := func(key string) int {
		r, err := http.NewRequest("POST", p.url+"/ingest", strings.NewReader(smallBody))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		for key, want := range want {
			if got := status(key); got != want {
				t.Errorf("%s: %s is answered %d, want %d", when, key, got, want)
			}
		}
	}
	check("at first", map[string]int{"s3cret-of-env": 202, "s3cret-of-file": 202, "s3cret-new": 401})
	if err := os.WriteFile(file, []byte("s3cret-new"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("before SIGHUP", map[string]int{"s3cret-of-file": 202, "s3cret-new": 401})
	p.hangUp("read the API keys again")
	check("after SIGHUP", map[string]int{"s3cret-of-env": 202, "s3cret-of-file": 401, "s3cret-new": 202})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p.hangUp("the API keys stay as they were")
	check("without the file", map[string]int{"s3cret-of-env": 202, "s3cret-new": 202})
	if strings.Contains(p.logged(), "s3cret") {
		t.Errorf("the log tells a key:\n%s", p.logged())
	}
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// Without keys the start says who may do what; keys or a certificate that
// cannot be read are no reason to go on without.
func TestStartSaysWhoIsLetIn(t *testing.T) {
	db := filepath.Join(t.TempDir(), "logs.db")
	if p := start(t, db); !strings.Contains(p.logged(), "ingesting is open, reading is for this machine only") {
		t.Error("the start does not say that ingesting is open")
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{
		{"-api-keys-file", missing}, {"-api-keys-file", keysFile(t, "# none\n")}, {"-tls-cert", missing, "-tls-key", missing},
	} {
		p := launch(t, db, args...)
		if code := p.wait(); code != 1 || strings.Contains(p.logged(), "taking logs") {
			t.Errorf("%q: exit status %d\n%s", args, code, p.logged())
		}
	}
}
