//go:build !purego

package main

import (
	"encoding/binary"

	"github.com/klauspost/cpuid/v2"
)

// useAVX2 chooses the implementation. It covers every instruction set that
// levelscan_amd64.s uses; AVX2 with the operating system's support of it.
var useAVX2 = cpuid.CPU.Supports(cpuid.AVX2, cpuid.BMI1, cpuid.CLMUL, cpuid.POPCNT)

// chunkLen is how much is indexed at once, a multiple of 64.
const chunkLen = 4096

// An indexState carries from one block of 64 bytes to the next what the bytes
// before mean for it. Where not told otherwise it is 1 when the last byte was
// what the name says.
type indexState struct {
	offset  uint64 // of the next block
	refused uint64 // not 0 once a body cannot be valid

	escaped   uint64 // the last byte was a backslash that escapes the next
	hexDigits uint64 // a bit for each of the next bytes that must be a digit of \u
	inString  uint64 // all ones inside a string
	opener    uint64
	closer    uint64
	start     uint64 // of the last two bytes, the first of a string
	first     uint64 // of the last two bytes, those that may begin a level key
	scalar    uint64
	zero      uint64 // a zero that begins a number
	point     uint64
	fraction  uint64 // all ones after a digit that follows a point
	odd       uint64 // a byte of a scalar that does not belong to a plain integer

	// These hold across what stands between.
	beforeValue uint64 // { [ : or , and white space
	colon       uint64 // the last operator was a colon
	beforeKey   uint64 // the last operator must be followed by a key
	close       uint64 // the last operator was } or ]
	nestedComma uint64 // the last operator was a comma after } or ]
}

// An indexer is the scratch memory of the AVX2 implementation.
type indexer struct {
	state  indexState
	tail   [64]byte // the last bytes of a body, padded with spaces
	events [chunkLen + 64 + 3]uint32
}

//go:noescape
func indexBlocks(events []uint32, body, tail []byte, state *indexState) int

// accept is scan for valid bodies. It reports false where it cannot tell that
// body is valid, and leaves kept and dropped undefined.
func (s *levelScanner) accept(body []byte, min level) bool {
	return useAVX2 && s.acceptAVX2(body, min)
}

// The kinds of bytes at which indexBlocks reports events.
const (
	scalarEvent = iota // of a scalar that is no plain integer, the first such byte
	openEvent
	closeEvent
	colonEvent  // not right behind its key, or after a comma that follows a nested value
	commaEvent  // the second of two after a nested value
	keyEvent    // the third byte of a string that may be a level key
	escapeEvent // a backslash among the first three bytes of a string
)

var eventKinds = [256]uint8{
	'{': openEvent, '[': openEvent, '}': closeEvent, ']': closeEvent, ':': colonEvent, ',': commaEvent,
	'l': keyEvent, 'v': keyEvent, 'g': keyEvent, '"': keyEvent, '\\': escapeEvent,
}

func (s *levelScanner) acceptAVX2(body []byte, min level) bool {
	const bom = "\ufeff"
	i := 0
	if len(body) >= len(bom) && string(body[:len(bom)]) == bom {
		i = len(bom)
	}
	if i = skipSpace(body, i); i == len(body) {
		return false
	}
	outside := 0 // the depth outside of entries
	array := body[i] == '['
	if array {
		i++
		outside = 1
	}
	s.isObject[outside+1] = true

	x := &s.indexer
	x.state = indexState{offset: uint64(i)}
	whole := len(body) - (len(body)-i)%64 // where the tail begins
	tail := x.tail[:0]
	if whole < len(body) {
		x.tail = spaces
		copy(x.tail[:], body[whole:])
	}

	var (
		kept      = s.kept[:cap(s.kept)]
		nkept     = 0
		entries   = 0
		end       = i       // of the last entry
		depth     = outside // of open brackets
		object    = false   // the innermost is a brace
		scalarEnd = 0       // of the last scalar that was checked

		// Of the current entry:
		start   int
		rank    int  // of the best level key that it has
		value   int  // where the value of that key is to be looked for
		escaped bool // it may have a level key written with escapes
		opener  = -4 // where the last string stands that has an escape early

		events []uint32
		k      int // the next event
		pos    int
		c      byte
	)

refill:
	if i == len(body) {
		s.kept, s.dropped = kept[:nkept], entries-nkept
		return !array && entries > 0 && depth == 0 && skipSpace(body, end) == len(body)
	}
	{
		n := whole - i
		if n > chunkLen {
			n = chunkLen
		} else if whole < len(body) {
			tail = x.tail[:]
		}
		events = x.events[:indexBlocks(x.events[:], body[i:i+n], tail, &x.state)]
		if i += n; len(tail) > 0 {
			i = len(body)
		}
		if x.state.refused != 0 {
			return false
		}
		k = 0
		switch depth - outside {
		case 0:
			goto between
		case 1:
			goto entry
		}
		goto nested
	}

between:
	if k == len(events) {
		goto refill
	}
	pos = int(events[k])
	k++
	if c = body[pos]; c != '{' {
		if !array || c != ']' || skipSpace(body, end) != pos {
			return false
		}
		s.kept, s.dropped = kept[:nkept], entries-nkept
		return skipSpace(body, pos+1) == len(body)
	}
	if array && entries > 0 {
		if (pos != end+1 || body[end] != ',') && !isComma(body[end:pos]) {
			return false
		}
	} else if pos != end && skipSpace(body, end) != pos {
		return false
	}
	start, rank, escaped, object = pos, noLevelKey, false, true
	depth++

entry:
	if k == len(events) {
		goto refill
	}
	pos = int(events[k])
	k++
	switch c = body[pos]; eventKinds[c] {
	case keyEvent:
		r, after := levelKeyAt(body, pos-2)
		if r < rank {
			rank, value = r, after
		} else if r == maybeEscaped {
			escaped = true
		}
		goto entry
	case closeEvent:
		if c != '}' || !closes(body, pos) {
			return false
		}
		l := levelUnknown
		switch {
		case escaped:
			if _, l = s.scanEntry(body, start, depth); l == 0 {
				return false
			}
		case rank < clefTimeKey:
			l = s.levelAfter(body, value)
		case rank == clefTimeKey:
			l = levelInfo
		}
		end = pos + 1
		if nkept == len(kept) {
			kept = append(kept, span{})
			kept = kept[:cap(kept)]
		}
		// Whether an entry is kept is hard to predict, so there is no branch.
		kept[nkept] = span{uint32(start), uint32(end)}
		keep := 0
		if l >= min {
			keep = 1
		}
		nkept += keep
		entries++
		depth--
		goto between
	case escapeEvent:
		if pos-opener > 3 {
			for opener = pos - 1; body[opener] != '"'; opener-- {
			}
			escaped = escaped || byteBefore(body, opener) != ':'
		}
		goto entry
	case openEvent:
		goto open
	case colonEvent:
		if byteBefore(body, pos) != '"' {
			return false
		}
		goto entry
	case commaEvent:
		return false
	}
	if scalarEnd = s.scalarAt(body, pos, scalarEnd); scalarEnd < 0 {
		return false
	}
	goto entry

open:
	switch byteBefore(body, pos) {
	case ':', '[':
	case ',':
		if object {
			return false
		}
	default:
		return false
	}
	if depth++; depth > maxDepth {
		return false
	}
	object = c == '{'
	s.isObject[depth] = object

nested:
	if k == len(events) {
		goto refill
	}
	pos = int(events[k])
	k++
	switch c = body[pos]; eventKinds[c] {
	case openEvent:
		goto open
	case closeEvent:
		if (c == '}') != object || !closes(body, pos) {
			return false
		}
		depth--
		object = s.isObject[depth]
		if depth == outside+1 {
			goto entry
		}
	case colonEvent:
		if !object || byteBefore(body, pos) != '"' {
			return false
		}
	case commaEvent:
		if object {
			return false
		}
	case scalarEvent:
		if scalarEnd = s.scalarAt(body, pos, scalarEnd); scalarEnd < 0 {
			return false
		}
	}
	goto nested
}

// isComma tells whether s is a comma and white space.
func isComma(s []byte) bool {
	i := skipSpace(s, 0)
	return i < len(s) && s[i] == ',' && skipSpace(s, i+1) == len(s)
}

// byteBefore returns the byte before body[i] that is not white space.
func byteBefore(body []byte, i int) byte {
	for i--; ; i-- {
		if c := body[i]; c > ' ' {
			return c
		}
	}
}

// closes tells whether body[i] may be a closing bracket for what is before it.
func closes(body []byte, i int) bool {
	c := byteBefore(body, i)
	return c != ',' && c != ':'
}

// scalarAt checks the scalar around body[i], unless it ends before checked,
// and returns where it ends, negative where it is not valid.
func (s *levelScanner) scalarAt(body []byte, i, checked int) int {
	if i < checked {
		return checked
	}
	for c := body[i-1]; c-'0' < 10 || c == '.' || c == '-' || c == '+' || c|0x20 == 'e'; c = body[i-1] {
		i--
	}
	i = s.skipScalar(body, i)
	if i >= 0 && i < len(body) {
		switch body[i] {
		case ',', '}', ']', ' ', '\n', '\r', '\t':
			return i
		}
	}
	return -1
}

// maybeEscaped is the rank of a key that may be a level key once unescaped.
const maybeEscaped = noLevelKey + 1

const maxEscapedKey = len("log.level") * len(`\u0000`)

// levelKeyAt returns the rank of the key that body[i:] begins with, and what
// follows it; noLevelKey if it is not a key.
func levelKeyAt(body []byte, i int) (rank, after int) {
	if len(body)-i < 10 {
		return maybeEscaped, 0
	}
	rank = noLevelKey
	switch w := binary.LittleEndian.Uint64(body[i:]); {
	case w&(1<<48-1) == wordLevel:
		rank, after = 0, i+len(`level"`)
	case w == wordSeverity && body[i+8] == '"':
		rank, after = 1, i+len(`severity"`)
	case uint32(w) == wordLvl:
		rank, after = 2, i+len(`lvl"`)
	case w == wordLogLevel && body[i+8] == 'l' && body[i+9] == '"':
		rank, after = 3, i+len(`log.level"`)
	case w == wordLevelname && body[i+8] == 'e' && body[i+9] == '"':
		rank, after = 4, i+len(`levelname"`)
	case w&(1<<24-1) == wordAtL:
		rank, after = 5, i+len(`@l"`)
	case w&(1<<48-1) == wordLevelCap:
		rank, after = 6, i+len(`Level"`)
	case w&(1<<24-1) == wordAtT:
		rank, after = clefTimeKey, i+len(`@t"`)
	default:
		for j := i; j < len(body) && j <= i+maxEscapedKey; j++ {
			if body[j] == '"' {
				return noLevelKey, 0
			}
			if body[j] == '\\' {
				if byteBefore(body, i-1) == ':' {
					return noLevelKey, 0
				}
				return maybeEscaped, 0
			}
		}
		return noLevelKey, 0
	}
	if j := skipSpace(body, after); j == len(body) || body[j] != ':' {
		return noLevelKey, 0
	}
	return rank, after
}

// The beginnings of level keys as little-endian words.
const (
	wordLevel     = 'l' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'l'<<32 | '"'<<40
	wordSeverity  = 's' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'r'<<32 | 'i'<<40 | 't'<<48 | 'y'<<56
	wordLvl       = 'l' | 'v'<<8 | 'l'<<16 | '"'<<24
	wordLogLevel  = 'l' | 'o'<<8 | 'g'<<16 | '.'<<24 | 'l'<<32 | 'e'<<40 | 'v'<<48 | 'e'<<56
	wordLevelname = 'l' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'l'<<32 | 'n'<<40 | 'a'<<48 | 'm'<<56
	wordAtL       = '@' | 'l'<<8 | '"'<<16
	wordLevelCap  = 'L' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'l'<<32 | '"'<<40
	wordAtT       = '@' | 't'<<8 | '"'<<16
)

var spaces = [64]byte([]byte("                                                                "))
