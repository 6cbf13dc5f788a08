package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// openHostile opens n connections from address and sends text on each, in the
// background. They are closed when the test ends.
func openHostile(t *testing.T, p *process, address string, n int, text string) {
	t.Helper()
	var senders sync.WaitGroup
	conns := make(chan net.Conn, n)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: waitTimeout}
	for range 16 {
		senders.Go(func() {
			for range n / 16 {
				conn, err := dialer.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
				if err != nil {
					t.Error(err)
					return
				}
				conns <- conn
				conn.SetWriteDeadline(time.Now().Add(waitTimeout))
				io.WriteString(conn, text) // fails if the process has refused or replaced the connection
			}
		})
	}
	senders.Wait()
	t.Cleanup(func() {
		close(conns)
		for conn := range conns {
			conn.Close()
		}
	})
}

// One address with any number of connections does not keep other clients out.
func TestHostileConnections(t *testing.T) {
	for name, text := range map[string]string{
		"idle":              "",
		"unfinished header": "POST /ingest HTTP/1.1\r\nHost: localhost\r\n",
		"unfinished body":   head("/ingest", 1<<20) + "{",
		"idle after 404":    "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir()+"/logs.db")
			openHostile(t, p, "127.0.0.1", maxConnections+160, text)
			p.postFrom("127.0.0.2")
			if got := query(t, p.db, "SELECT count(*) FROM logs"); got != "20" {
				t.Errorf("got %s rows, want 20", got)
			}
		})
	}
}

// postFrom sends 20 entries from address, each in a request, and a probe after
// each. All must succeed.
func (p *process) postFrom(address string) {
	p.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client := &http.Client{Timeout: waitTimeout, Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer client.CloseIdleConnections()
	check := func(resp *http.Response, err error) {
		p.t.Helper()
		must(p.t, err)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			p.t.Errorf("%s: got status %d, want 200", resp.Request.URL.Path, resp.StatusCode)
		}
	}
	for range 20 {
		check(client.Post(p.url+"/ingest?wait=1", "", strings.NewReader(smallBody)))
		check(client.Get(p.url + "/healthz"))
	}
}
