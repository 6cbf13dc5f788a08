package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// frame returns an HTTP/2 frame.
// https://www.rfc-editor.org/rfc/rfc9113#section-4.1
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	f = append(f, flags)
	f = binary.BigEndian.AppendUint32(f, stream)
	return append(f, payload...)
}

// literal returns a header field that HPACK does not index. Name and value must be
// shorter than 127 bytes.
// https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2
func literal(name, value string) []byte {
	return fmt.Appendf(nil, "\x00%c%s%c%s", len(name), name, len(value), value)
}

// postHeader returns the header block of a POST request with n more fields.
func postHeader(n int) []byte {
	block := slices.Concat(
		literal(":method", "POST"), literal(":scheme", "https"), literal(":path", "/ingest"),
		literal(":authority", "localhost"), literal("content-length", "1000000"),
	)
	for i := range n {
		block = append(block, literal(fmt.Sprintf("a%d", i), "")...)
	}
	return block
}

const endHeaders = 4 // a flag of HEADERS

// openStream returns the frame that opens the stream with number i, from 0.
func openStream(i, fields int) []byte {
	return frame(frameHeaders, endHeaders, uint32(2*i+1), postHeader(fields))
}

// A gateClient is the client of a frameGate whose server only reads.
type gateClient struct {
	net.Conn
	gate *frameGate
	sent chan []byte
	read chan string // what the server has read
}

func newGateClient(t *testing.T) *gateClient {
	client, server := net.Pipe()
	g := newFrameGate(func(net.Conn) bool { return true })
	if !g.matchPreface(server, []byte(http2Preface)) || !g.active() {
		t.Fatal("the preface was not found")
	}
	c := &gateClient{client, g, make(chan []byte, 1000), make(chan string, 1000)}
	go func() {
		for f := range c.sent {
			client.Write(f) // fails if the test has ended
		}
	}()
	go func() {
		defer close(c.read)
		buf := make([]byte, 100)
		for {
			n, err := g.read(server, buf)
			if err != nil {
				return
			}
			c.read <- string(buf[:n])
		}
	}()
	t.Cleanup(func() {
		close(c.sent)
		client.Close()
		g.close()
	})
	return c
}

// send sends frames until the server stops reading them, and returns how many
// bytes it has read. It must run in a synctest bubble.
func (c *gateClient) send(frames ...[]byte) (n int) {
	for _, f := range frames {
		c.sent <- f
	}
	synctest.Wait()
	for {
		select {
		case text := <-c.read:
			n += len(text)
		default:
			return n
		}
	}
}

// A stream is opened only after the handler of the one before has started, or
// after net/http had time to refuse it.
func TestStreamWaitsForHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGateClient(t)
		open := openStream(0, 0)
		if got, want := c.send(open), len(open); got != want {
			t.Errorf("first stream: got %d bytes read, want %d", got, want)
		}
		data := frame(0, 0, 1, []byte("body"))
		if got, want := c.send(data), len(data); got != want {
			t.Errorf("body of the first stream: got %d bytes read, want %d", got, want)
		}
		if got := c.send(openStream(1, 0)); got != 0 {
			t.Errorf("second stream, before the first handler has started: got %d bytes read, want 0", got)
		}
		c.gate.begin()
		if got, want := c.send(), len(open); got != want {
			t.Errorf("second stream, after the first handler has started: got %d bytes read, want %d", got, want)
		}
		if got := c.send(openStream(2, 0)); got != 0 {
			t.Errorf("third stream: got %d bytes read, want 0", got)
		}
		time.Sleep(startTimeout)
		if got, want := c.send(), len(open); got != want {
			t.Errorf("third stream, after the timeout: got %d bytes read, want %d", got, want)
		}
	})
}

// At most maxStreams handlers run, even if the client resets their streams.
func TestStreamsWaitForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGateClient(t)
		for i := range maxStreams {
			c.send(openStream(i, 0), frame(3, 0, uint32(2*i+1), []byte("code"))) // RST_STREAM
			c.gate.begin()
		}
		if got := c.send(openStream(maxStreams, 0)); got != 0 {
			t.Errorf("got %d bytes read with %d handlers, want 0", got, maxStreams)
		}
		c.gate.end()
		if got := c.send(); got == 0 {
			t.Error("got no bytes read after a handler has returned, want some")
		}
	})
}

// Few frames are read while the client does not read responses.
func TestFramesWaitForWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGateClient(t)
		client, server := net.Pipe()
		defer client.Close()
		written := make(chan error)
		go func() {
			_, err := c.gate.write(server, []byte("response"))
			written <- err
		}()
		synctest.Wait()
		ping := frame(6, 0, 0, []byte("12345678"))
		frames := slices.Repeat([][]byte{ping}, 2*maxFramesPerWrite)
		if got, want := c.send(frames...), maxFramesPerWrite*len(ping); got != want {
			t.Errorf("got %d bytes read during a write, want %d", got, want)
		}
		io.ReadFull(client, make([]byte, len("response")))
		must(t, <-written)
		if got, want := c.send(), maxFramesPerWrite*len(ping); got != want {
			t.Errorf("got %d bytes read after the write, want %d", got, want)
		}
	})
}

// A client must negotiate HTTP/2. Other protocols are not affected by the search
// for its preface.
func TestPreface(t *testing.T) {
	for _, c := range []struct {
		text       string
		negotiated bool
		http2      bool
		closed     bool
	}{
		{http2Preface, true, true, false},
		{http2Preface, false, false, true},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", true, false, false},
		{"POST /ingest HTTP/1.1\r\nHost: a\r\n\r\n" + http2Preface, true, false, false},
		{"P" + http2Preface, true, false, false},
	} {
		for step := 1; step <= len(c.text); step++ {
			g := newFrameGate(func(net.Conn) bool { return c.negotiated })
			client, server := net.Pipe()
			for rest := c.text; rest != ""; {
				n := min(step, len(rest))
				g.matchPreface(server, []byte(rest[:n]))
				rest = rest[n:]
			}
			server.SetReadDeadline(time.Now().Add(-time.Second))
			_, err := server.Read(make([]byte, 1))
			if closed := !errors.Is(err, os.ErrDeadlineExceeded); closed != c.closed || g.active() != c.http2 {
				t.Errorf("%q in steps of %d: got HTTP/2 %v and closed %v, want %v and %v",
					c.text, step, g.active(), closed, c.http2, c.closed)
			}
			client.Close()
		}
	}
}

// Ordinary clients are not affected, however many streams they use.
func TestFramesServeStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		headers := &budget{limit: headerBudget}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			okHandler(w, r)
		})
		_, client := serveFrames(t, h, headers)
		resp, err := client.Get("http://example.com/") // opens a connection
		must(t, err)
		resp.Body.Close()
		// On a new connection, net/http's client opens up to 100 streams before it has read
		// the limit of the server, and then holds a mutex until the gate has waited for
		// startTimeout. The clock of synctest does not advance while a goroutine waits for
		// a mutex, so the test does not exceed the limit.
		running := make(chan struct{}, maxStreams)
		statuses := make(chan int, 300)
		for i := range 300 {
			go func() {
				running <- struct{}{}
				defer func() { <-running }()
				r, _ := http.NewRequest("POST", "http://example.com/", strings.NewReader(strings.Repeat("x", 100*i)))
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					statuses <- 0
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				statuses <- resp.StatusCode
			}()
		}
		counts := map[int]int{}
		for range 300 {
			counts[<-statuses]++
		}
		if counts[200] != 300 {
			t.Errorf("got statuses %v, want 300 times 200", counts)
		}
		time.Sleep(time.Second)
		if n := headers.used.Load(); n != 0 {
			t.Errorf("got %d bytes reserved at the end, want 0", n)
		}
	})
}
