package fastpath

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"log-ingester/internal/pollconn"
)

// A pollListener wraps its connections for pollRequests.
type pollListener struct{ net.Listener }

func (l pollListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return pollconn.New(conn), nil
}

// dialTCP connects to a server with the fast path, whose listener wrap returns. The
// connection fails after ten seconds.
func dialTCP(t *testing.T, h http.Handler, wrap func(net.Listener) net.Listener) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := newServer(h)
	go server.Serve(New(wrap(pollListener{l}), h, testConfig))
	t.Cleanup(func() { must(t, server.Close()) })
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { conn.Close() }) // the test may have closed it
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn.(*net.TCPConn)
}

func plain(l net.Listener) net.Listener { return l }

// A cuttingConn sends some of the data in two pieces.
type cuttingConn struct {
	net.Conn
	random *rand.Rand
}

func (c cuttingConn) Write(p []byte) (int, error) {
	cut := len(p)
	if c.random.IntN(4) == 0 {
		cut = c.random.IntN(len(p))
	}
	n, err := c.Conn.Write(p[:cut])
	if err != nil || cut == len(p) {
		return n, err
	}
	n, err = c.Conn.Write(p[cut:])
	return cut + n, err
}

// exchange sends text and reads the responses to a number of requests.
func exchange(conn net.Conn, r *bufio.Reader, text string, requests int) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	return readOK(r, requests)
}

// readOK reads the responses to a number of requests.
func readOK(r *bufio.Reader, requests int) error {
	for range requests {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			return fmt.Errorf("got status %d and error %v, want 200", resp.StatusCode, err)
		}
	}
	return nil
}

// TestPollAnswersAllRequests sends requests one after the other, several at once, and
// in pieces. A piece that the server does not notice would never be answered.
func TestPollAnswersAllRequests(t *testing.T) {
	certificate := httptest.NewTLSServer(nil)
	certificate.Close()
	wrapTLS := func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: certificate.TLS.Certificates})
	}
	var clients sync.WaitGroup
	for seed := range uint64(12) {
		wrap := plain
		if seed%3 == 0 {
			wrap = wrapTLS
		}
		random := rand.New(rand.NewPCG(seed, seed))
		var conn net.Conn = cuttingConn{dialTCP(t, okHandler, wrap), random}
		if seed%3 == 0 {
			// The two pieces of a write are in different records.
			conn = cuttingConn{tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), random}
		}
		clients.Go(func() {
			reader := bufio.NewReader(conn)
			for range 300 {
				n := 1 + random.IntN(3)
				if err := exchange(conn, reader, strings.Repeat(post(smallBody), n), n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// TestPollNoticesEndOfStream ends the stream together with the last request, while the
// server handles the one before it. The server gets no event for the end.
func TestPollNoticesEndOfStream(t *testing.T) {
	t.Parallel()
	handling, proceed := make(chan bool), make(chan bool)
	conn := dialTCP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 2 {
			handling <- true
			<-proceed
		}
		okHandler(w, r)
	}), plain)
	reader := bufio.NewReader(conn)
	must(t, exchange(conn, reader, post(smallBody), 1))
	must(t, exchange(conn, reader, post("{}"), 0))
	<-handling
	must(t, exchange(conn, reader, post(smallBody), 0))
	must(t, conn.CloseWrite())
	close(proceed)
	must(t, readOK(reader, 2))
	if _, err := reader.ReadByte(); err != io.EOF {
		t.Errorf("after the last response: got error %v, want EOF", err)
	}
}

// TestPollWaitsLonger sends a request when pollRequests does not wait any more.
func TestPollWaitsLonger(t *testing.T) {
	t.Parallel()
	conn := dialTCP(t, okHandler, plain)
	reader := bufio.NewReader(conn)
	must(t, exchange(conn, reader, post(smallBody)+post(smallBody), 2))
	time.Sleep(pollTimeout * 3 / 2)
	must(t, exchange(conn, reader, post(smallBody)+post(smallBody), 2))
}
