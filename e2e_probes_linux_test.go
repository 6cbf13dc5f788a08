//go:build !race

package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Probes get a response while a client is at its limits: connections, headers,
// bodies, the queue, and HTTP/2. So do entries of other addresses.
func TestProbesDuringAttack(t *testing.T) {
	unfinished := head("/ingest", 1<<20) + "[" + strings.Repeat(smallBody+",", 1000)
	for name, text := range map[string]string{
		"headers":       "GET / HTTP/1.1\r\nHost: localhost\r\nLong: " + strings.Repeat("a", 30_000),
		"bodies":        unfinished,
		"compressed":    strings.Replace(unfinished, "Content-Length", "Content-Encoding: gzip\r\nContent-Length", 1),
		"awaited":       head("/ingest?wait=1", len(smallBody)) + smallBody,
		"reading":       strings.Repeat("GET /logs?q=x HTTP/1.1\r\nHost: localhost\r\n\r\n", 100),
		"wrong API key": strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: wrong\r\n\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t, filepath.Join(t.TempDir(), "logs.db"))
			p.cmd.Env = append(p.cmd.Env, "LOG_INGESTER_API_KEYS=secret")
			p.launch()
			p.awaitListening()
			openHostile(t, p, "127.0.0.1", maxConnections+160, text)
			p.probeFrom(clientFrom("127.0.0.2"), p.url)
		})
	}
	t.Run("HTTP/2 streams", func(t *testing.T) {
		c := newTestCertificate(t, "first")
		p := newProcess(t, filepath.Join(t.TempDir(), "logs.db"), "-tls-cert", c.certFile, "-tls-key", c.keyFile)
		p.cmd.Env = append(p.cmd.Env, "LOG_INGESTER_API_KEYS=secret")
		p.launch()
		p.awaitListening()
		for range maxHTTP2 {
			conn, err := p.dialTLS(c, "127.0.0.1", "h2")
			if err != nil {
				continue // the address has its share of HTTP/2 connections
			}
			t.Cleanup(func() { conn.Close() })
			conn.SetDeadline(time.Now().Add(waitTimeout))
			go openStreams(conn, 250, 100)
		}
		client := clientFrom("127.0.0.2")
		client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: c.roots, ServerName: "first"}
		p.probeFrom(client, strings.Replace(p.url, "http://", "https://", 1))
	})
}

// probeFrom requests all probes and sends an entry, several times. All must
// succeed.
func (p *process) probeFrom(client *http.Client, url string) {
	p.t.Helper()
	for range 10 {
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/ingest"} {
			method, body := "GET", io.Reader(nil)
			if path == "/ingest" {
				method, body = "POST", strings.NewReader(smallBody)
			}
			r, err := http.NewRequest(method, url+path, body)
			must(p.t, err)
			if path == "/metrics" || path == "/ingest" {
				r.Header.Set("X-Api-Key", "secret")
			}
			resp, err := client.Do(r)
			must(p.t, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode/100 != 2 {
				p.t.Errorf("%s: got status %s, want 2xx", path, resp.Status)
			}
		}
	}
}

// clientFrom returns a client whose connections come from a local address.
func clientFrom(address string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Timeout: waitTimeout, Transport: &http.Transport{
		DialContext:       dialer.DialContext,
		DisableKeepAlives: true,
		ForceAttemptHTTP2: true,
	}}
}
