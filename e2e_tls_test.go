package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangUp sends SIGHUP and waits until text is in the log another time.
func (p *process) hangUp(text string) {
	p.t.Helper()
	before := p.logged(text)
	p.send(syscall.SIGHUP)
	p.waitFor("the reload is logged", func() bool { return p.logged(text) > before })
}

// post sends a body to p under a host name, on a new connection, and returns the
// protocol and status of the response.
func (c *testCertificate) post(p *process, hostName, body string) (string, error) {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: c.roots, ServerName: hostName},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: waitTimeout}
	url := strings.Replace(p.url, "http://", "https://", 1) + "/ingest?wait=1"
	resp, err := client.Post(url, "", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return resp.Proto + " " + resp.Status, resp.Body.Close()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	c := newTestCertificate(t, "first")
	p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-tls-cert", c.certFile, "-tls-key", c.keyFile)
	for _, body := range []string{smallBody, strings.Repeat(smallBody, 4*bodyStep/len(smallBody))} {
		if got, err := c.post(p, "first", body); err != nil || got != "HTTP/2.0 200 OK" {
			t.Errorf("%d bytes: got response %q and error %v, want HTTP/2.0 200 OK", len(body), got, err)
		}
	}
	old := &tls.Config{RootCAs: c.roots, ServerName: "first", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "http://"), old)
	if err == nil {
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("TLS 1.1: got error %v, want protocol version not supported", err)
	}

	resp, err := client.Get(p.url + "/healthz")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("plain HTTP: got status %s, want 400", resp.Status)
	}
	p.waitForLog("TLS handshake failed")

	c.renew("second")
	p.hangUp("TLS certificate reloaded")
	if _, err := c.post(p, "second", smallBody); err != nil {
		t.Errorf("after a renewal: got error %v for the new host name, want none", err)
	}
	if _, err := c.post(p, "first", smallBody); err == nil {
		t.Error("after a renewal: got no error for the old host name, want one")
	}

	must(t, os.WriteFile(c.keyFile, []byte("invalid"), 0o600))
	p.hangUp("reloading the TLS certificate failed")
	if _, err := c.post(p, "second", smallBody); err != nil {
		t.Errorf("after a failed renewal: got error %v, want none", err)
	}
}

// One TLS connection can alternate between requests that the fast path serves and
// others. The pieces of a request arrive in records of their own.
func TestTLSFastPath(t *testing.T) {
	t.Parallel()
	c := newTestCertificate(t, "localhost")
	for _, fastPath := range []string{"true", "false"} {
		db := filepath.Join(t.TempDir(), "logs.db")
		p := start(t, db,
			"-tls-cert", c.certFile, "-tls-key", c.keyFile, "-fast-path="+fastPath)
		conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "http://"),
			&tls.Config{RootCAs: c.roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(waitTimeout)))
		responses := bufio.NewReader(conn)
		post := fmt.Sprintf("POST /ingest?wait=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s",
			len(smallBody), smallBody)
		get := "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
		for i, request := range []string{post, post, post, get, post} {
			for len(request) > 0 {
				n := min(len(request), 40)
				_, err := io.WriteString(conn, request[:n])
				must(t, err)
				request = request[n:]
			}
			resp, err := http.ReadResponse(responses, nil)
			must(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			must(t, err)
			if resp.StatusCode != 200 {
				t.Errorf("fast path %s, request %d: got status %s, want 200", fastPath, i, resp.Status)
			}
		}
		if got := query(t, db, "SELECT count(*) FROM logs"); got != "4" {
			t.Errorf("fast path %s: got %s entries stored, want 4", fastPath, got)
		}
	}
}

// SIGHUP reloads the keys in the file. If that fails, the current keys stay
// valid. Those of the environment do not change, and the log contains no keys.
func TestKeysReloadOnSIGHUP(t *testing.T) {
	t.Parallel()
	file := keysFile(t, "s3cret-of-file")
	p := newProcess(t, filepath.Join(t.TempDir(), "logs.db"), "-api-keys-file", file)
	p.cmd.Env = append(p.cmd.Env, "LOG_INGESTER_API_KEYS=s3cret-of-env")
	p.launch()
	p.awaitListening()
	check := func(when string, want map[string]int) {
		t.Helper()
		for key, want := range want {
			if got, err := p.post("", smallBody, "Authorization", "Bearer "+key); err != nil || got != want {
				t.Errorf("%s: %s: got status %d and error %v, want %d", when, key, got, err, want)
			}
		}
	}
	check("after the start", map[string]int{"s3cret-of-env": 202, "s3cret-of-file": 202, "s3cret-new": 401})
	must(t, os.WriteFile(file, []byte("s3cret-new"), 0o600))
	check("before SIGHUP", map[string]int{"s3cret-of-file": 202, "s3cret-new": 401})
	p.hangUp("API keys reloaded")
	check("after SIGHUP", map[string]int{"s3cret-of-env": 202, "s3cret-of-file": 401, "s3cret-new": 202})
	must(t, os.Remove(file))
	p.hangUp("reloading API keys failed")
	check("without the file", map[string]int{"s3cret-of-env": 202, "s3cret-new": 202})
	p.checkLogged("s3cret", 0)
	if status := p.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
}

// Without keys, the startup log says who may send and read.
func TestStartLogsOpenAccess(t *testing.T) {
	t.Parallel()
	p := start(t, filepath.Join(t.TempDir(), "logs.db"))
	p.checkLogged("anyone can send, only this machine can read", 1)
}

// If the keys or the certificate cannot be read, the process does not start
// without them.
func TestStartRequiresCredentials(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "logs.db")
	missing := filepath.Join(t.TempDir(), "missing")
	for name, args := range map[string][]string{
		"missing keys file":   {"-api-keys-file", missing},
		"empty keys file":     {"-api-keys-file", keysFile(t, "# none\n")},
		"missing certificate": {"-tls-cert", missing, "-tls-key", missing},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, db, args...)
			if status := p.wait(); status != 1 {
				t.Errorf("got exit status %d, want 1", status)
			}
			p.checkLogged("accepting logs", 0)
		})
	}
}
