package main

import "fmt"

// A scanResult is the outcome of a scan that found no error.
type scanResult struct {
	kept    []span // the entries at or above the threshold, in order
	dropped int    // the number of entries below it
}

// drop counts n kept entries as dropped, because the decoder has found a level that
// the scanner has not. Which of the kept entries they are does not matter any more.
func (r *scanResult) drop(n int) {
	r.kept = r.kept[:len(r.kept)-n]
	r.dropped += n
}

// A span is the position of an entry in a body: body[start:end], with braces.
type span struct{ start, end uint32 }

// A scanError is the reason why a body is refused.
type scanError struct {
	reason string
	entry  int // the index of the offending entry
	offset int // of the first invalid byte, or len(body) if the body is truncated
}

func (e *scanError) Error() string {
	return fmt.Sprintf("%s at byte %d, in entry %d", e.reason, e.offset, e.entry)
}
