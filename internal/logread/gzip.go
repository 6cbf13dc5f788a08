package logread

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"sync"
)

// maxCompressing is how many reads can compress at once. A compressor needs more
// memory than all else of a read, so a read borrows one for each part.
const maxCompressing = 2

// compressors limits concurrent compression.
type compressors struct {
	slots   *slots
	account account
}

func newCompressors(account account) *compressors {
	return &compressors{newSlots(0, maxCompressing, false), account}
}

// A partCompressor compresses one part.
type partCompressor struct {
	flate *flate.Writer
	out   bytes.Buffer
}

// partCompressors are reused, because each is larger than most responses.
var partCompressors = sync.Pool{New: func() any {
	c := new(partCompressor)
	c.flate, _ = flate.NewWriter(&c.out, flate.BestSpeed) // fails only for an invalid level
	return c
}}

// A gzipStream is a gzip stream whose parts are compressed independently.
type gzipStream struct {
	started bool
	sum     uint32
	size    uint32
}

// gzipHeader has no time, and says that the fastest method was used on an unknown
// system. https://www.rfc-editor.org/rfc/rfc1952
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff}

// compress replaces part by its compressed form. last ends the stream.
func (g *gzipStream) compress(
	ctx context.Context, cs *compressors, addr netip.Addr, part []byte, last bool,
) ([]byte, error) {
	slot, err := cs.slots.acquire(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer cs.slots.release(slot, addr)
	cs.account.add(gzipMemory)
	defer cs.account.add(-gzipMemory)
	c := partCompressors.Get().(*partCompressor)
	defer c.put()

	if !g.started {
		g.started = true
		c.out.Write(gzipHeader)
	}
	g.sum = crc32.Update(g.sum, crc32.IEEETable, part)
	g.size += uint32(len(part))
	c.flate.Write(part) // writing to a bytes.Buffer does not fail
	if !last {
		c.flate.Flush()
		return append(part[:0], c.out.Bytes()...), nil
	}
	c.flate.Close()
	trailer := binary.LittleEndian.AppendUint32(nil, g.sum)
	c.out.Write(binary.LittleEndian.AppendUint32(trailer, g.size))
	return append(part[:0], c.out.Bytes()...), nil
}

// put makes c available for another part.
func (c *partCompressor) put() {
	c.out.Reset()
	if c.out.Cap() > 2*partSize {
		c.out = bytes.Buffer{}
	}
	c.flate.Reset(&c.out)
	partCompressors.Put(c)
}
