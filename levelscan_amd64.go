//go:build !purego

package main

import (
	"encoding/binary"
	"log-ingester/internal/entry"
	"structs"

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
	_ structs.HostLayout // levelscan_amd64.s reads and writes the fields

	offset  uint64 // of the next block
	refused uint64 // not 0 once a body cannot be valid

	escaped   uint64 // the last byte was a backslash that escapes the next
	hexDigits uint64 // a bit for each of the next bytes that must be a digit of \u
	inString  uint64 // all ones inside a string
	closer    uint64 // the closing quote of a string
	scalar    uint64
	zero      uint64 // a zero that begins a scalar
	point     uint64
	fraction  uint64 // all ones after a digit that follows a point
	odd       uint64 // a byte of a scalar that is no digit or follows a leading zero, but no point

	// These hold across what stands between.
	beforeValue uint64 // { [ : or , and white space
	beforeComma uint64 // the last operator was : } or ]
	beforeColon uint64 // the last operator was {, or a comma after : } or ]
}

// An indexer is the scratch memory of the AVX2 implementation.
type indexer struct {
	state  indexState
	tail   [128 + lookAhead]byte // the last bytes of a body, and spaces to fill their block
	events [chunkLen + 128 + 4]uint32

	// Where the walk over the events is:
	outside   int  // the depth outside of entries, 1 in an array
	depth     int  // of open brackets, and outside of entries as in one
	object    bool // the innermost is a brace
	scalarEnd int  // of the last scalar that was checked
}

// indexBlocks may read so many bytes after the last block.
const lookAhead = 3

// indexBlocks appends to events, from the first on, the offsets of the bytes
// that the walk must look at, and returns how many there are:
//
//   - brackets outside strings;
//   - quotes that open what may be a level key, and a few others;
//   - of each scalar other than digits with a point or without, the first byte
//     that is neither, and what follows a leading zero;
//   - colons that do not stand right behind a string;
//   - second ones of two commas with no nested value between, after a nested value.
//
// It looks at the whole blocks of body, then at those of tail, of 64 bytes
// each, and lookAhead bytes after them. events has room for as many as there
// are bytes, and 4 more. Where it sets state.refused, the body is not valid;
// where it does not, all that is left to check is at the events.
//
//go:noescape
func indexBlocks(events []uint32, body, tail []byte, state *indexState) int

// accept is s.scan for valid bodies. For others it reports false, and leaves
// s.kept and s.dropped undefined.
func (x *indexer) accept(s *levelScanner, body []byte, min entry.Level) bool {
	return useAVX2 && s.acceptAVX2(body, min)
}

// acceptAVX2 lets indexBlocks check all but what is at its events, and walks
// over these for the rest: brackets, odd scalars, entries and their levels.
func (s *levelScanner) acceptAVX2(body []byte, min entry.Level) bool {
	const bom = "\ufeff"
	i := 0
	if len(body) >= len(bom) && string(body[:len(bom)]) == bom {
		i = len(bom)
	}
	if i = skipSpace(body, i); i == len(body) {
		return false
	}
	x := &s.indexer
	x.outside, x.scalarEnd = 0, 0
	array := body[i] == '['
	if array {
		i = skipSpace(body, i+1)
		x.outside = 1
	}
	// The first entry is at body[i], so there is no separator before it.
	if i == len(body) || body[i] != '{' && !(array && body[i] == ']') {
		return false
	}
	x.depth = x.outside + 1
	s.isObject[x.outside+1] = true

	x.state = indexState{offset: uint64(i)}
	whole := i // where the tail begins
	if n := len(body) - i - lookAhead; n > 0 {
		whole += n &^ 63
	}
	n := copy(x.tail[:], body[whole:])
	tail := x.tail[:(n+63)&^63]
	copy(tail[n:], spaces)

	var (
		kept    = s.kept[:cap(s.kept)]
		nkept   = 0
		entries = 0
		end     = i          // of the last entry
		between = byte('\n') // the most likely separator of entries

		// Of the current entry:
		inside bool
		start  int
		rank   int         // of the best level key that it has
		value  int         // what follows that key
		l      entry.Level // of the entry, 0 where it is yet to be found out
	)
	if array {
		between = ','
	}
	for last := false; !last; {
		n := chunkLen
		if n > whole-i {
			n = whole - i
		}
		last = i+n == whole
		var rest []byte
		if last {
			rest = tail
		}
		events := x.events[:indexBlocks(x.events[:], body[i:i+n], rest, &x.state)]
		i += n
		if x.state.refused != 0 {
			return false
		}

		k := 0
		if x.depth > x.outside+1 {
			k = s.walkNested(body, events, 0)
		}
		for uint(k) < uint(len(events)) {
			if !inside {
				start = int(events[k])
				if body[start] != '{' {
					if !array || body[start] != ']' || skipSpace(body, end) != start {
						return false
					}
					s.kept, s.dropped = kept[:nkept], entries-nkept
					return skipSpace(body, start+1) == len(body)
				}
				if start != end+1 || body[end] != between {
					if !separates(body[end:start], array && entries > 0) {
						return false
					}
				}
				inside = true
				rank, l = noLevelKey, 0
				k++
			}
			for uint(k) < uint(len(events)) {
				pos := int(events[k])
				k++
				if body[pos] == '"' {
					if len(body)-pos >= len(`"level":"`)+8 && binary.LittleEndian.Uint64(body[pos+1:]) == wordLevelString {
						if rank > 0 {
							rank, value = 0, pos+len(`"level"`)
							l = entry.LevelByWord(binary.LittleEndian.Uint64(body[pos+len(`"level":"`):]))
						}
					} else if r, after := levelKeyAt(body, pos+1); r < rank {
						rank, value, l = r, after, 0
					}
					continue
				}
				if body[pos] != '}' {
					if isLiteral(body, pos) {
						continue
					}
					if k = s.walkOdd(body, events, k-1); k < 0 {
						return false
					}
					continue
				}

				if c := body[pos-1]; c <= ' ' || c == ',' || c == ':' {
					if !closes(body, pos) {
						return false
					}
				}
				if l == 0 {
					if l = s.entryLevel(body, start, rank, value); l == 0 {
						return false
					}
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
				inside = false
				break
			}
		}
		if k < 0 {
			return false
		}
	}
	s.kept, s.dropped = kept[:nkept], entries-nkept
	return !array && entries > 0 && skipSpace(body, end) == len(body)
}

// entryLevel ranks the valid entry at body[start] by its best level key.
func (s *levelScanner) entryLevel(body []byte, start, rank, value int) entry.Level {
	switch rank {
	case maybeEscaped:
		_, l := s.scanEntry(body, start, s.indexer.outside+1)
		return l
	case noLevelKey:
		return entry.LevelUnknown
	case clefTimeKey:
		return entry.LevelInfo
	}
	return s.levelAfter(body, value)
}

// walkOdd handles events[k], which is at the top level of an entry and neither
// a key, a literal nor the end of the entry, and those nested in it. It returns
// the number of the next one, or -1 where the body must be refused.
func (s *levelScanner) walkOdd(body []byte, events []uint32, k int) int {
	pos := int(events[k])
	switch body[pos] {
	case '{', '[':
		s.indexer.object = true
		return s.walkNested(body, events, k)
	case ':':
		if byteBefore(body, pos) != '"' {
			return -1
		}
	case ',', ']':
		return -1
	default:
		if !s.checkScalar(body, pos) {
			return -1
		}
	}
	return k + 1
}

// isLiteral tells whether a literal is all that stands around body[i].
func isLiteral(body []byte, i int) bool {
	if len(body)-i < 8 {
		return false
	}
	const (
		wordTrue  = 't' | 'r'<<8 | 'u'<<16 | 'e'<<24
		wordFalse = 'f' | 'a'<<8 | 'l'<<16 | 's'<<24 | 'e'<<32
		wordNull  = 'n' | 'u'<<8 | 'l'<<16 | 'l'<<24
	)
	w := binary.LittleEndian.Uint64(body[i:])
	end := i + 4
	if uint32(w) != wordTrue && uint32(w) != wordNull {
		if end++; w&(1<<40-1) != wordFalse {
			return false
		}
	}
	return endsScalar[body[end]] && body[i-1] == ':'
}

// endsScalar tells what may stand after a scalar.
var endsScalar = [256]bool{',': true, '}': true, ']': true, ' ': true, '\n': true, '\r': true, '\t': true}

// walkNested handles events from number k on until it is back at the top level
// of an entry, and returns as walkOdd does.
func (s *levelScanner) walkNested(body []byte, events []uint32, k int) int {
	x := &s.indexer
	top := x.outside + 1
	depth, object := x.depth, x.object
	for ; k < len(events); k++ {
		pos := int(events[k])
		switch c := body[pos]; c {
		case '"':
		case '{', '[':
			switch byteBefore(body, pos) {
			case ':', '[':
			case ',':
				if object {
					return -1
				}
			default:
				return -1
			}
			if depth++; depth > maxDepth {
				return -1
			}
			object = c == '{'
			s.isObject[depth] = object
		case '}', ']':
			if (c == '}') != object || !closes(body, pos) {
				return -1
			}
			depth--
			object = s.isObject[depth]
			if !object && s.isKey(body, pos+1) {
				return -1
			}
			if depth == top {
				x.depth = depth
				return k + 1
			}
		case ':':
			if byteBefore(body, pos) != '"' {
				return -1
			}
		case ',':
			if object {
				return -1
			}
		default:
			if !isLiteral(body, pos) && !s.checkScalar(body, pos) {
				return -1
			}
		}
	}
	x.depth, x.object = depth, object
	return k
}

// isKey tells whether a comma, a string and a colon stand at body[i].
func (s *levelScanner) isKey(body []byte, i int) bool {
	if i = skipSpace(body, i); byteAt(body, i) != ',' {
		return false
	}
	if i = skipSpace(body, i+1); byteAt(body, i) != '"' {
		return false
	}
	if i, _ = s.skipString(body, i+1); i < 0 {
		return true
	}
	return byteAt(body, skipSpace(body, i)) == ':'
}

// separates tells whether s is white space and, if so told, a comma.
func separates(s []byte, comma bool) bool {
	i := skipSpace(s, 0)
	if comma {
		if i == len(s) || s[i] != ',' {
			return false
		}
		i = skipSpace(s, i+1)
	}
	return i == len(s)
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

// checkScalar tells whether the scalar around body[i] is valid.
func (s *levelScanner) checkScalar(body []byte, i int) bool {
	x := &s.indexer
	if i < x.scalarEnd {
		return true // one event of several in a number
	}
	for c := body[i-1]; c-'0' < 10 || c == '.' || c == '-' || c == '+' || c|0x20 == 'e'; c = body[i-1] {
		i--
	}
	if i = s.skipScalar(body, i); i < 0 || i == len(body) {
		return false
	}
	x.scalarEnd = i
	return endsScalar[body[i]]
}

// maybeEscaped is the rank of a key that may be a level key once unescaped.
const maybeEscaped = -1

const longestLevelKey = len("log.level")

// levelKeyAt returns the rank of the key that body[i:] begins with, and what
// follows it; noLevelKey if it is not a key.
func levelKeyAt(body []byte, i int) (rank, after int) {
	if len(body)-i <= longestLevelKey {
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
		if byteBefore(body, i-1) == ':' {
			return noLevelKey, 0 // a value
		}
		for _, c := range body[i : i+longestLevelKey] {
			if c == '\\' {
				return maybeEscaped, 0
			}
			if c == '"' {
				break
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
	wordLevel       = 'l' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'l'<<32 | '"'<<40
	wordLevelString = wordLevel | ':'<<48 | '"'<<56
	wordSeverity    = 's' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'r'<<32 | 'i'<<40 | 't'<<48 | 'y'<<56
	wordLvl         = 'l' | 'v'<<8 | 'l'<<16 | '"'<<24
	wordLogLevel    = 'l' | 'o'<<8 | 'g'<<16 | '.'<<24 | 'l'<<32 | 'e'<<40 | 'v'<<48 | 'e'<<56
	wordLevelname   = 'l' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'l'<<32 | 'n'<<40 | 'a'<<48 | 'm'<<56
	wordAtL         = '@' | 'l'<<8 | '"'<<16
	wordLevelCap    = 'L' | 'e'<<8 | 'v'<<16 | 'e'<<24 | 'l'<<32 | '"'<<40
	wordAtT         = '@' | 't'<<8 | '"'<<16
)

const spaces = "                                                                "
