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

// openStreams opens streams with POST requests, and sends the first byte of each body.
// It does not read responses.
func openStreams(conn net.Conn, streams, fields int) {
	io.WriteString(conn, http2Preface) // errors mean that the process has closed the connection
	conn.Write(frame(4, 0, 0, nil))    // SETTINGS
	for i := range streams {
		if _, err := conn.Write(openStream(i, fields)); err != nil {
			return
		}
		conn.Write(frame(0, 0, uint32(2*i+1), []byte("{"))) // DATA
	}
}

// A gateClient is the client of a frameGate whose server only reads.
type gateClient struct {
	net.Conn
	server net.Conn
	gate   *frameGate
	sent   chan []byte
	read   chan string // what the server has read; closed when it can read no more
}

func newGateClient(t *testing.T) *gateClient {
	client, server := net.Pipe()
	g := newFrameGate(func(net.Conn) bool { return true })
	if !g.matchPreface(server, []byte(http2Preface)) || !g.active() {
		t.Fatal("the preface was not found")
	}
	c := &gateClient{client, server, g, make(chan []byte, 1000), make(chan string, 1000)}
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
		g.closeWhenSent(server, server.Close)
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
		// A second wait ends, too. A change during the wait does not end it.
		if got := c.send(openStream(3, 0)); got != 0 {
			t.Errorf("fourth stream: got %d bytes read, want 0", got)
		}
		time.Sleep(startTimeout / 2)
		c.gate.update(func() {})
		if got := c.send(); got != 0 {
			t.Errorf("fourth stream, after a change: got %d bytes read, want 0", got)
		}
		time.Sleep(startTimeout / 2)
		if got, want := c.send(), len(open); got != want {
			t.Errorf("fourth stream, after the timeout: got %d bytes read, want %d", got, want)
		}
	})
}

// A stream that net/http refuses does not delay the next one. The frame that refuses
// it may be written in parts.
func TestStreamFollowsRefusedStream(t *testing.T) {
	for name, refusal := range map[string][]byte{
		"reset":    frame(frameRSTStream, 0, 1, []byte("code")),
		"response": frame(frameHeaders, endHeaders, 1, []byte{0x8d}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newGateClient(t)
				client, server := net.Pipe()
				defer client.Close()
				go io.Copy(io.Discard, client)
				write := func(b []byte) {
					t.Helper()
					_, err := c.gate.write(server, b)
					must(t, err)
				}
				c.send(openStream(0, 0))
				write(frame(0, 0, 1, []byte("body")))
				write(frame(frameRSTStream, 0, 3, []byte("code"))) // another stream
				write(refusal[:7])
				if got := c.send(openStream(1, 0)); got != 0 {
					t.Errorf("before the refusal: got %d bytes read, want 0", got)
				}
				write(refusal[7:])
				if got, want := c.send(), len(openStream(1, 0)); got != want {
					t.Errorf("after the refusal: got %d bytes read, want %d", got, want)
				}
			})
		})
	}
}

// While maxStreams handlers run, one more stream is opened, even if the client
// has reset the streams of the handlers.
func TestStreamsWaitForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGateClient(t)
		reset := func(i int) []byte { return frame(frameRSTStream, 0, uint32(2*i+1), []byte("code")) }
		for i := range maxStreams {
			c.send(openStream(i, 0), reset(i))
			c.gate.begin()
		}
		if got := c.send(openStream(maxStreams, 0), reset(maxStreams)); got == 0 {
			t.Errorf("first stream with %d handlers: got no bytes read, want some", maxStreams)
		}
		got := c.send(openStream(maxStreams+1, 0))
		time.Sleep(2 * startTimeout)
		if got += c.send(); got != 0 {
			t.Errorf("second stream with %d handlers: got %d bytes read, want 0", maxStreams, got)
		}
		c.gate.end()
		c.gate.begin() // of the first stream
		if got := c.send(); got == 0 {
			t.Error("got no bytes read after a handler has returned, want some")
		}
	})
}

// Aborting a connection ends a read that the gate delays. Connections are aborted when
// others replace them, and at shutdown.
func TestAbortEndsDelayedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGateClient(t)
		c.send(openStream(0, 0), openStream(1, 0)) // the second one waits
		conn := &limitedConn{Conn: c.server}
		conn.gate.Store(c.gate)
		start := time.Now()
		conn.abort()
		if _, open := <-c.read; open || time.Since(start) > 0 {
			t.Errorf("got more bytes read: %t, after %v; want the end of the read at once", open, time.Since(start))
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

// A sendingGate is a frameGate whose client reads only when the test does.
type sendingGate struct {
	*frameGate
	client, server net.Conn
	t              *testing.T
}

func newSendingGate(t *testing.T) *sendingGate {
	client, server := net.Pipe()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	g := newFrameGate(nil)
	g.http2.Store(true)
	return &sendingGate{g, client, server, t}
}

// add writes frames, and waits until the gate can do no more.
func (g *sendingGate) add(frames ...string) {
	g.t.Helper()
	for _, f := range frames {
		_, err := g.write(g.server, []byte(f))
		must(g.t, err)
	}
	synctest.Wait()
}

// received returns what the client reads at once.
func (g *sendingGate) received() string {
	g.t.Helper()
	buf := make([]byte, 2*maxUnsent)
	n, err := g.client.Read(buf)
	must(g.t, err)
	return string(buf[:n])
}

// Frames that are written while others are sent are sent together, without waiting for
// more.
func TestFramesAreSentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newSendingGate(t)
		g.add("first response, ")
		for range 3 { // the buffers are used again
			g.add("header, ", "body, ")
			for _, want := range []string{"first response, ", "header, body, "} {
				if got := g.received(); got != want {
					t.Errorf("got %q sent at once, want %q", got, want)
				}
			}
			g.add("first response, ")
		}
	})
}

// If a client does not read, net/http must wait. No frames are lost.
func TestUnsentFramesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newSendingGate(t)
		f := string(frame(0, 0, 1, make([]byte, 4<<10)))
		g.add("first")
		added := 0
		go func() {
			for range 30 {
				g.write(g.server, []byte(f)) // an error makes the client read too little
				added++
			}
		}()
		synctest.Wait()
		if want := maxUnsent / len(f); added != want {
			t.Errorf("got %d frames added while the client does not read, want %d", added, want)
		}
		text := make([]byte, len("first")+30*len(f))
		_, err := io.ReadFull(g.client, text)
		must(t, err)
		if string(text) != "first"+strings.Repeat(f, 30) {
			t.Error("got other frames than those that were added")
		}
	})
}

// If frames cannot be sent, the connection is closed, and adding frames fails.
func TestFailedSendClosesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newSendingGate(t)
		must(t, g.server.SetWriteDeadline(time.Now().Add(time.Second)))
		g.add("response")
		time.Sleep(2 * time.Second)
		if _, err := g.client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got error %v from the client's read, want EOF", err)
		}
		if _, err := g.write(g.server, []byte("more")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got error %v from adding frames, want %v", err, os.ErrDeadlineExceeded)
		}
	})
}

// A connection is closed after its last frames are sent. A client that does not read
// cannot keep it open.
func TestCloseSendsFrames(t *testing.T) {
	for name, closeConn := range map[string]func(*sendingGate){
		"close": func(g *sendingGate) { (&headerConn{Conn: g.server, frames: g.frameGate}).Close() },
		"abort": func(g *sendingGate) {
			conn := &limitedConn{Conn: g.server}
			conn.gate.Store(g.frameGate)
			conn.abort()
		},
	} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reads %v", name, reads), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newSendingGate(t)
					g.add("first, ", "second")
					time.Sleep(closeTimeout / 2)
					closeConn(g)
					synctest.Wait()
					if reads {
						text, err := io.ReadAll(g.client)
						if err != nil || string(text) != "first, second" {
							t.Errorf("got text %q and error %v, want the frames and EOF", text, err)
						}
						return
					}
					time.Sleep(closeTimeout/2 + time.Millisecond)
					if _, err := g.client.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("got error %v %v after the start of the write, want EOF", err, closeTimeout)
					}
				})
			})
		}
	}
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

// A client is not delayed if it first opens too many streams, and then sends the rest
// of the bodies whose streams were not refused.
func TestFramesRefuseStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = maxStreams + 36
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			okHandler(w, r)
		})
		pipes, _ := serveFrames(t, h, &budget{limit: headerBudget})
		client := pipes.Dial(t)
		start := time.Now()
		go func() {
			openStreams(client, streams, 0)
			client.Write(frame(4, 1, 0, nil)) // acknowledges SETTINGS
			for i := range maxStreams {
				client.Write(frame(0, 1, uint32(2*i+1), nil)) // the end of the body
			}
		}()
		counts := map[byte]int{}
		var scanner frameScanner
		buf := make([]byte, 1000)
		for counts[frameHeaders] < maxStreams || counts[frameRSTStream] < streams-maxStreams {
			n, err := client.Read(buf)
			must(t, err)
			scanner.scan(buf[:n], func(kind byte, _ uint32) { counts[kind]++ })
		}
		if took := time.Since(start); took > startTimeout/2 {
			t.Errorf("got all responses after %v, want no delay", took)
		}
	})
}

// Ordinary clients are served, however many streams they use. On a new
// connection, net/http's client opens up to 100 streams before it has read the
// limit of the server. It repeats the requests whose streams are refused.
func TestFramesServeStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		headers := &budget{limit: headerBudget}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			okHandler(w, r)
		})
		_, client := serveFrames(t, h, headers)
		client.Transport.(*http.Transport).MaxConnsPerHost = 1
		statuses := make(chan int, 300)
		for i := range 300 {
			go func() {
				resp, err := client.Post("http://example.com/", "", strings.NewReader(strings.Repeat("x", 100*i)))
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
