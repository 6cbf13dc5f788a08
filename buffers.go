package main

import (
	"math/bits"
	"sync"
)

// largeBuffers holds unused buffers above maxPooled, by the number of bits of their
// size. Without it, bodies that grow while they are inflated make garbage faster than
// the garbage collector can free it if other programs use the processors. The buffers
// are not reserved. Two garbage collections free those that are not used meanwhile, so
// they count as garbage.
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

// recycleBuffer keeps b for newBuffer if it is large. Nothing may refer to it any more.
func recycleBuffer(b []byte) {
	if cap(b) > maxPooled {
		b = b[:0]
		largeBuffers[bits.Len64(uint64(cap(b)))].Put(&b)
	}
}
