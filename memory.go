package main

import (
	"net/http"
	"sync/atomic"
	"unsafe"

	"log-ingester/internal/httpapi"
)

// A budget limits the memory of request bodies in progress and queued batches
// together. Any goroutine may use it.
type budget struct {
	limit int64 // in bytes
	used  atomic.Int64

	// refuse, if not nil, may refuse a reservation. Only tests set it, before
	// they use the budget.
	refuse func(n int64) bool
}

// reserve reserves n bytes and reports whether they fit.
func (b *budget) reserve(n int64) bool {
	if b.refuse != nil && b.refuse(n) {
		return false
	}
	return addWithin(&b.used, n, b.limit)
}

func (b *budget) release(n int64) { b.used.Add(-n) }

// addWithin adds n to sum if the result does not exceed limit, and reports
// whether it added n.
func addWithin(sum *atomic.Int64, n, limit int64) bool {
	for {
		old := sum.Load()
		if old+n > limit {
			return false
		}
		if sum.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

// A reservation is the part of a budget that one request has reserved. It must
// grow before the memory is allocated.
type reservation struct {
	budget *budget
	size   int64 // in bytes
}

var (
	errMemory = httpapi.Errorf(http.StatusServiceUnavailable, "the memory budget is full")
	// errEntries rejects a request that would not fit even into an empty budget.
	errEntries = httpapi.Errorf(http.StatusRequestEntityTooLarge, "the entries of one body need more memory than -memory allows; split the body")
)

// grow reserves n more bytes. It returns errEntries if the request would exceed
// the whole budget, and errMemory if the bytes do not fit now.
func (r *reservation) grow(n int64) *httpapi.Error {
	if r.size+n > r.budget.limit {
		return errEntries
	}
	if !r.budget.reserve(n) {
		return errMemory
	}
	r.size += n
	return nil
}

// shrink releases n bytes.
func (r *reservation) shrink(n int64) {
	r.size -= n
	r.budget.release(n)
}

// handOver ends the responsibility for n bytes without releasing them.
func (r *reservation) handOver(n int64) { r.size -= n }

// release releases all bytes.
func (r *reservation) release() { r.shrink(r.size) }

// sizeOf returns the memory of s with its spare capacity, in bytes.
func sizeOf[T any](s []T) int64 {
	var element T
	return int64(cap(s)) * int64(unsafe.Sizeof(element))
}

// emptied returns an empty slice with room for n elements: s, or a new slice if
// s is too small. r includes the memory of s; emptied adds what the new slice
// needs in addition, and the caller must not use s any more.
func emptied[T any](r *reservation, s []T, n int) ([]T, *httpapi.Error) {
	if n <= cap(s) {
		return s[:0], nil
	}
	var element T
	if herr := r.grow(int64(n)*int64(unsafe.Sizeof(element)) - sizeOf(s)); herr != nil {
		return s[:0], herr
	}
	return make([]T, 0, n), nil
}
