package main

import (
	"math/bits"
	"sync"
)

// largeBuffers holds unused buffers above maxPooled, by the number of bits of their
// size. Without it, bodies that grow while they are inflated would make garbage faster
// than the garbage collector can free it while other programs use the processors. No
// budget counts the buffers: like garbage, they are freed by the garbage collector, which
// drops a buffer that was not used between two collections.
var largeBuffers [bits.UintSize + 1]sync.Pool

// newBuffer returns an empty buffer with exactly the given capacity. Its memory may
// contain data of an earlier request.
func newBuffer(size int64) []byte {
	if size > maxPooled {
		b, _ := largeBuffers[bits.Len64(uint64(size))].Get().(*[]byte)
		if b != nil && int64(cap(*b)) == size {
			return *b
		}
	}
	return make([]byte, 0, size)
}

// recycleBuffer keeps b for newBuffer and returns nil if b is large; else it returns b.
// Nothing may refer to a large b any more.
func recycleBuffer(b []byte) []byte {
	if cap(b) <= maxPooled {
		return b
	}
	b = b[:0]
	largeBuffers[bits.Len64(uint64(cap(b)))].Put(&b)
	return nil
}
