package main

import (
	"encoding/binary"
	"fmt"

	"log-ingester/internal/entry"
)

// maxDepth is how deep brackets may nest in a body, an enclosing array and the
// entry itself included.
const maxDepth = 1000

// A span is where an entry stands in a body: body[start:end], braces included.
type span struct{ start, end uint32 }

// A scanError says why a body was refused.
type scanError struct {
	reason string
	entry  int // entries before the offending one, counted from 0
	offset int // of the first byte that no valid body has there; len(body) where it ends too early
}

func (e *scanError) Error() string {
	return fmt.Sprintf("%s at byte %d, in entry %d", e.reason, e.offset, e.entry)
}

// A levelScanner finds the entries of a body and their levels. It keeps its
// scratch memory from one scan to the next, and serves one goroutine at a time.
type levelScanner struct {
	kept    []span // the entries at or above the threshold, in order
	dropped int    // how many entries were below it

	isObject [maxDepth + 1]bool // by depth: the open bracket there is a brace
	reason   string             // why the portable scanner refuses
	indexer  indexer
}

// scan validates body and sorts its entries: s.kept and s.dropped hold what it
// found until the next scan. body is at most 2 GiB long.
//
// A body is one JSON object, an array of objects, or objects one after the
// other with or without white space between them; a UTF-8 byte order mark may
// lead it. All of it must be valid JSON by RFC 8259, but that strings may hold
// invalid UTF-8; an array may be empty, a body may not.
//
// An entry's level is the value of the first of these keys, in this order,
// that it has at its top level: level, severity, lvl, log.level, levelname,
// @l, Level; of a doubled key the first value counts. An entry with @t and none
// of them is at info. An entry is kept when its level is at least min.
func (s *levelScanner) scan(body []byte, min entry.Level) *scanError {
	if s.indexer.accept(s, body, min) {
		return nil
	}
	return s.scanGeneric(body, min)
}

// The ranks of the keys that tell an entry's level: the lowest counts.
const (
	clefTimeKey = 7 + iota // @t: the entry is CLEF, whose level is info where it has none
	noLevelKey
)

// levelKeyRank returns the rank of key, given without quotes and escapes.
func levelKeyRank(key []byte) int {
	switch string(key) {
	case "level":
		return 0
	case "severity":
		return 1
	case "lvl":
		return 2
	case "log.level":
		return 3
	case "levelname":
		return 4
	case "@l":
		return 5
	case "Level":
		return 6
	case "@t":
		return clefTimeKey
	}
	return noLevelKey
}

// levelAfter ranks the value that follows a level key, in an entry that is
// valid. i is behind the key's closing quote.
func (s *levelScanner) levelAfter(body []byte, i int) entry.Level {
	i = skipSpace(body, i) + 1
	if i < len(body) && body[i] <= ' ' {
		i = skipSpace(body, i)
	}
	if len(body)-i < 9 {
		return s.levelAt(body, i)
	}
	w := binary.LittleEndian.Uint64(body[i+1:])
	if body[i] == '"' {
		if l := entry.LevelByWord(w); l != 0 {
			return l
		}
	} else if tens, ones, next := body[i]-'0', byte(w)-'0', byte(w>>8); tens-1 < 6 && ones < 10 && (next == ',' || next == '}') {
		return entry.Level(tens)
	}
	return s.levelAt(body, i)
}

// levelAt ranks the valid value at body[i].
func (s *levelScanner) levelAt(body []byte, i int) entry.Level {
	switch body[i] {
	case '"':
		end, _ := s.skipString(body, i+1)
		return entry.LevelOf(body[i:end])
	case '{', '[':
		return entry.LevelUnknown
	}
	return entry.LevelOf(body[i:s.skipScalar(body, i)])
}
