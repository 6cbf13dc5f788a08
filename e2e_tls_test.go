package main

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

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
	p.hangUp("TLS certificate reloaded")
	if _, err := c.post(p, "second", smallBody); err != nil {
		t.Errorf("the renewed certificate: %v", err)
	}
	if _, err := c.post(p, "first", smallBody); err == nil {
		t.Error("the old certificate is still in use")
	}

	c.write(c.keyFile, []byte("no key"))
	p.hangUp("reloading the TLS certificate failed")
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
	p.hangUp("API keys reloaded")
	check("after SIGHUP", map[string]int{"s3cret-of-env": 202, "s3cret-of-file": 401, "s3cret-new": 202})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p.hangUp("reloading API keys failed")
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
	if p := start(t, db); !strings.Contains(p.logged(), "anyone can send, only this machine can read") {
		t.Error("the start does not say that ingesting is open")
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{
		{"-api-keys-file", missing}, {"-api-keys-file", keysFile(t, "# none\n")}, {"-tls-cert", missing, "-tls-key", missing},
	} {
		p := launch(t, db, args...)
		if code := p.wait(); code != 1 || strings.Contains(p.logged(), "accepting logs") {
			t.Errorf("%q: exit status %d\n%s", args, code, p.logged())
		}
	}
}
