package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A shutdown does not wait for clients that do not send the rest of a request. It
// waits for a client that sends.
func TestShutdownClosesUnfinished(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-drain-timeout", "1h")
		for _, text := range unfinishedRequests() {
			p.sendUnfinished(text, func(conn net.Conn) net.Conn { return conn })
		}
		p.checkShutdown(t, &http.Transport{}, p.url)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		c := newTestCertificate(t, "first")
		p := start(t, filepath.Join(t.TempDir(), "logs.db"), "-drain-timeout", "1h",
			"-tls-cert", c.certFile, "-tls-key", c.keyFile)
		overTLS := func(protocol string) func(conn net.Conn) net.Conn {
			config := &tls.Config{RootCAs: c.roots, ServerName: "first", NextProtos: []string{protocol}}
			return func(conn net.Conn) net.Conn { return tls.Client(conn, config) }
		}
		p.sendUnfinished("", func(conn net.Conn) net.Conn { return conn }) // no handshake
		for _, text := range unfinishedRequests() {
			p.sendUnfinished(text, overTLS("http/1.1"))
		}
		p.sendUnfinished(http2Preface, overTLS("h2"))
		openStreamsSlowly(p.sendUnfinished("", overTLS("h2")))
		p.checkShutdown(t, &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: c.roots, ServerName: "first"},
			ForceAttemptHTTP2: true,
		}, strings.Replace(p.url, "http://", "https://", 1))
	})
}

// unfinishedRequests returns the starts of requests, and requests whose responses the
// client does not read.
func unfinishedRequests() []string {
	get := "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
	return []string{
		"",
		"POST /inge",
		"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n",
		head("/ingest", 100) + "{",
		head("/ingest", 1<<20) + "{",
		head("/ingest", len(smallBody)) + smallBody + head("/ingest", 100),
		"POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
		"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n" + gzipped("{"),
		strings.Repeat(get, 10_000),
	}
}

// sendUnfinished sends text on a new connection, in the background, and leaves the
// connection open.
func (p *process) sendUnfinished(text string, wrap func(net.Conn) net.Conn) net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	must(p.t, err)
	p.t.Cleanup(func() { conn.Close() })
	wrapped := wrap(conn)
	go io.WriteString(wrapped, text) // an error means that the process has closed the connection
	return wrapped
}

// openStreamsSlowly opens streams until the connection is closed. It sends more than
// drainBytes of headers in each drainStep, but only bytes of bodies count.
func openStreamsSlowly(conn net.Conn) {
	go func() {
		openStreams(conn, 2*maxStreams, 100)
		for i := 2 * maxStreams; ; i++ {
			if _, err := conn.Write(openStream(i, 100)); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

// checkShutdown terminates p while a client sends a body over three
// seconds. The body must be stored.
func (p *process) checkShutdown(t *testing.T, transport *http.Transport, url string) {
	t.Helper()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: waitTimeout}
	body, parts := io.Pipe()
	status := make(chan string, 1)
	go func() {
		resp, err := client.Post(url+"/ingest", "", body)
		if err != nil {
			body.CloseWithError(err)
			status <- err.Error()
			return
		}
		resp.Body.Close()
		status <- resp.Status
	}()
	send := func(n int) { io.WriteString(parts, strings.Repeat(" ", n)) } // fails only if the request has failed
	io.WriteString(parts, `{"level":"error","msg":"sent slowly"}`)
	send(maxPooled)
	p.waitFor("the start of the body has arrived", func() bool {
		resp, err := client.Get(url + "/metrics")
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		return parseMetrics(t, string(text))["memory_bytes"] > maxPooled
	})
	p.send(syscall.SIGTERM)
	for range 30 {
		send(drainBytes)
		time.Sleep(drainStep / 10)
	}
	parts.Close()
	if got, want := receive(t, "the response", status), fmt.Sprint(http.StatusAccepted); !strings.HasPrefix(got, want) {
		t.Errorf("slow client: got %s, want %s", got, want)
	}
	if status := p.wait(); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	if got := query(t, p.db, "SELECT count(*) FROM logs WHERE message = 'sent slowly'"); got != "1" {
		t.Errorf("got %s rows of the slow client, want 1", got)
	}
	p.checkLogged("closed connections that delayed the shutdown", 1)
}
