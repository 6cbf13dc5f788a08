//go:build !race

package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// dialTLS opens a connection that may use protocol.
func (p *process) dialTLS(c *testCertificate, from, protocol string) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: waitTimeout}
	config := &tls.Config{RootCAs: c.roots, ServerName: "first", NextProtos: []string{protocol}}
	return tls.DialWithDialer(dialer, "tcp", strings.TrimPrefix(p.url, "http://"), config)
}

// The memory for HTTP/2 is limited, however many streams a client opens and
// whatever their headers are. Others get their responses meanwhile.
func TestHTTP2Memory(t *testing.T) {
	for name, fields := range map[string]int{"no fields": 0, "100 fields": 100, "850 fields": 850} {
		t.Run(name, func(t *testing.T) {
			c := newTestCertificate(t, "first")
			p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-tls-cert", c.certFile, "-tls-key", c.keyFile)
			var hostile sync.WaitGroup
			for range 60 {
				hostile.Go(func() {
					conn, err := p.dialTLS(c, "127.0.0.1", "h2")
					if err != nil {
						return // refused, because the address has its share of HTTP/2 connections
					}
					t.Cleanup(func() { conn.Close() })
					conn.SetDeadline(time.Now().Add(20 * time.Second))
					openStreams(conn, 250, fields)
				})
			}
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
			client := &http.Client{Timeout: waitTimeout, Transport: &http.Transport{
				DialContext:       dialer.DialContext,
				TLSClientConfig:   &tls.Config{RootCAs: c.roots, ServerName: "first"},
				ForceAttemptHTTP2: true,
			}}
			defer client.CloseIdleConnections()
			url := strings.Replace(p.url, "http://", "https://", 1)
			for range 100 {
				resp, err := client.Post(url+"/ingest", "", strings.NewReader(smallBody))
				must(t, err)
				resp.Body.Close()
				if resp.StatusCode != http.StatusAccepted {
					t.Errorf("got status %s, want 202", resp.Status)
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("peak memory: %d MiB", p.peakMemory()>>20)
			if got := p.peakMemory(); got > memoryBeyondBudget {
				t.Errorf("got %d bytes peak memory, want at most %d", got, memoryBeyondBudget)
			}
		})
	}
}
