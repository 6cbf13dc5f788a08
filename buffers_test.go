package main

import "testing"

// A buffer has the requested capacity, whatever was recycled, and no length.
func TestNewBufferHasExactSize(t *testing.T) {
	const size = maxPooled + 1
	for _, recycled := range []int{maxPooled, size, size + 1, 2 * size} {
		recycleBuffer(make([]byte, recycled))
		for _, want := range []int{100, maxPooled, size, size + 1, 2 * size} {
			if b := newBuffer(int64(want)); cap(b) != want || len(b) != 0 {
				t.Errorf("after recycling %d bytes: got length %d and capacity %d, want 0 and %d", recycled, len(b), cap(b), want)
			}
		}
	}
}
