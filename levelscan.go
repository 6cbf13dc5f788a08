package main

import (
	"sync"

	"log-ingester/internal/entry"
)

// A levelScanner finds the entries of a body and their levels. It reuses its
// memory from one scan to the next. Only one goroutine may use it at a time.
type levelScanner struct {
	genericScanner // kept and dropped are the result of the last scan
}

// avx2Scanners holds *avx2Scanners. A request has one only during the scan, so
// that a client that sends its body slowly does not occupy its 17 KiB.
var avx2Scanners = sync.Pool{New: func() any { return new(avx2Scanner) }}

// scan validates body and filters its entries by level: s.kept are the entries
// at or above min, s.dropped is the number of the others. Both are valid until
// the next scan, and undefined after an error. body is at most 2 GiB long.
//
// A body is one JSON object, an array of objects, or a sequence of objects with
// or without white space between them. A UTF-8 byte order mark may precede it.
// The whole body must be valid JSON as in RFC 8259, except that strings may
// contain invalid UTF-8. Brackets may nest up to maxDepth. An array may be
// empty, a body may not.
//
// The value of a level key at the top level of an entry is the entry's level. If
// an entry has several of the levelKeys, the one that comes first in levelKeys
// counts, regardless of their order in the entry. If a key occurs twice, its
// first value counts.
func (s *levelScanner) scan(body []byte, min entry.Level) *scanError {
	if useAVX2 {
		x := avx2Scanners.Get().(*avx2Scanner)
		valid := x.tryScan(&s.genericScanner, body, min)
		avx2Scanners.Put(x)
		if valid {
			return nil
		}
	}
	return s.genericScanner.scan(body, min)
}
