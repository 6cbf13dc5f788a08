package main

import (
	"net/http"
	"sync/atomic"
	"unsafe"

	"log-ingester/internal/httpapi"
)

// A budget limits memory: that of request bodies in progress and queued batches
// together, or that of request headers. Any goroutine may use it.
//
// Each client address has a share: it can hold at most shareFactor times as many
// bytes as remain free, not counting extraSpace. One address can thus hold 7/9 of
// the budget. Thresholds of this kind are known from the buffers of switches:
// https://doi.org/10.1109/90.664262. The extra space is for clients that hold
// little, so that a few clients at their limit cannot exhaust the budget.
type budget struct {
	limit int64 // in bytes
	used  atomic.Int64

	// refuse, if not nil, may refuse a reservation. Only tests set it, before
	// they use the budget.
	refuse func(n int64) bool
}

// shareFactor determines the share of one client address in a limit.
const shareFactor = 8

// inShare reports whether a client may hold n, if free remains of the limit.
func inShare(n, free int64) bool { return n/shareFactor <= free }

// extraSpace is the part of a limit that only clients with at most
// guaranteedSpace can use.
func extraSpace(limit int64) int64      { return limit / 8 }
func guaranteedSpace(limit int64) int64 { return limit / 128 }

// maxShare is the most that one client can hold of a limit.
func maxShare(limit int64) int64 {
	limit -= extraSpace(limit)
	return limit - limit/(shareFactor+1)
}

// reserve reserves n bytes for the client that holds held, and reports whether
// they fit into the budget and the client's share.
func (b *budget) reserve(held *atomic.Int64, n int64) bool {
	if b.refuse != nil && b.refuse(n) {
		return false
	}
	total := held.Load() + n
	if !inShare(total, b.limit-extraSpace(b.limit)-b.used.Load()-n) && total > guaranteedSpace(b.limit) {
		return false
	}
	if !addWithin(&b.used, n, b.limit) {
		return false
	}
	held.Add(n)
	return true
}

func (b *budget) release(held *atomic.Int64, n int64) {
	held.Add(-n)
	b.used.Add(-n)
}

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
	held   *atomic.Int64 // what the client of the request holds
	size   int64         // in bytes
}

var (
	errMemory = httpapi.Errorf(http.StatusServiceUnavailable, "the memory budget is full")
	// errEntries rejects a request that would not fit even into an empty budget.
	errEntries = httpapi.Errorf(http.StatusRequestEntityTooLarge,
		"the entries of one body need more memory than -memory allows; split the body")
)

// grow reserves n more bytes. It returns errEntries if the request would exceed
// the largest share of a client, and errMemory if the bytes do not fit now.
func (r *reservation) grow(n int64) *httpapi.Error {
	if r.size+n > maxShare(r.budget.limit) {
		return errEntries
	}
	if !r.budget.reserve(r.held, n) {
		return errMemory
	}
	r.size += n
	return nil
}

// shrink releases n bytes.
func (r *reservation) shrink(n int64) {
	r.size -= n
	r.budget.release(r.held, n)
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
