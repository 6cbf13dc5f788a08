//go:build !purego

package main

import (
	"encoding/binary"
	"structs"

	"log-ingester/internal/entry"
)

// An avx2Scanner is the AVX2 implementation of levelScanner. It indexes a body
// in chunks: indexBlocks finds the offsets of the bytes that need a closer look
// (the events), and checks all other bytes. tryScan then walks over the events
// and checks them.
type avx2Scanner struct {
	state  indexState
	tail   [128 + lookAhead]byte // the last bytes of a body, and spaces to fill their block
	events [chunkLen + 128 + 4]uint32

	// The state of the walk.
	outside   int  // the depth outside of entries: 1 in an array, else 0
	depth     int  // the number of open brackets, and at least outside+1
	object    bool // the innermost open bracket is a brace
	scalarEnd int  // the end of the last scalar that was checked
}

// chunkLen is how many bytes are indexed at once. It is a multiple of 64.
const chunkLen = 4096

// indexBlocks may read this many bytes after the last block.
const lookAhead = 3

// An indexState is what indexBlocks needs to know about the bytes before a
// block of 64 bytes. Unless noted otherwise, a field is 1 if the last byte was
// what its name says, and else 0.
type indexState struct {
	_ structs.HostLayout // levelscan_amd64.s reads and writes the fields

	offset  uint64 // of the next block
	refused uint64 // not 0 if the body is invalid

	escaped   uint64 // the last byte was a backslash that escapes the next one
	hexDigits uint64 // a bit for each of the next bytes that must be a digit of \u
	inString  uint64 // all ones inside a string
	closer    uint64 // the closing quote of a string
	scalar    uint64
	zero      uint64 // a zero that starts a scalar
	point     uint64
	fraction  uint64 // all ones after a digit that follows a point
	unusual   uint64 // a byte of a scalar that is no digit or follows a leading zero, except a point

	beforeValue uint64 // the last byte other than white space was { [ : or ,
	beforeComma uint64 // the last operator was : } or ]
	beforeColon uint64 // the last operator was {, or a comma after : } or ]
}

// indexBlocks stores the offsets of the events in events, and returns their
// number. These are the events:
//
//   - brackets outside of strings;
//   - quotes that open what may be a level key, and some other quotes;
//   - in scalars, the first byte of each run of bytes that are neither digits nor
//     points, or that follow a leading zero;
//   - colons that do not directly follow a string;
//   - commas that would be invalid in an object: the next operator after {, or
//     after a comma that follows an object's member or a nested value.
//
// It indexes the whole blocks of 64 bytes in body, then those in tail, and
// reads lookAhead bytes after each of the two. events must have room for as
// many events as there are bytes, and 4 more. If it sets state.refused, the
// body is invalid. Otherwise only the events are left to check.
//
//go:noescape
func indexBlocks(events []uint32, body, tail []byte, state *indexState) int

// tryScan is levelScanner.scan for valid bodies: it stores the result in g and
// returns true. For an invalid body it returns false and leaves g.kept and
// g.dropped undefined; then g.scan finds the error.
//
// The loop is one function so that its variables stay in registers.
func (x *avx2Scanner) tryScan(g *genericScanner, body []byte, min entry.Level) bool {
	i, ok := x.begin(g, body)
	if !ok {
		return false
	}
	array := x.outside == 1
	usualSeparator := byte('\n')
	if array {
		usualSeparator = ','
	}
	whole, tail := x.splitTail(body, i)

	var (
		kept    = g.kept[:cap(g.kept)]
		nkept   = 0
		entries = 0
		end     = i // of the last entry

		// The current entry:
		inside bool
		start  int
		rank   int         // of its best level key so far
		value  int         // the offset after that key
		l      entry.Level // 0 until it is known
	)
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
			k = x.walkNested(g, body, events, 0)
		}
		for uint(k) < uint(len(events)) {
			if !inside {
				start = int(events[k])
				if body[start] != '{' {
					if !array || body[start] != ']' || skipSpace(body, end) != start {
						return false
					}
					g.kept, g.dropped = kept[:nkept], entries-nkept
					return skipSpace(body, start+1) == len(body)
				}
				if (start != end+1 || body[end] != usualSeparator) && !isSeparator(body[end:start], array && entries > 0) {
					return false
				}
				inside = true
				rank, l = noLevelRank, 0
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
					if k = x.walkUnusual(g, body, events, k-1); k < 0 {
						return false
					}
					continue
				}

				if c := body[pos-1]; (c <= ' ' || c == ',' || c == ':') && !canClose(body, pos) {
					return false
				}
				if l == 0 {
					if l = x.entryLevel(g, body, start, rank, value); l == 0 {
						return false
					}
				}
				end = pos + 1
				if nkept == len(kept) {
					kept = append(kept, span{})
					kept = kept[:cap(kept)]
				}
				// The CPU cannot predict whether an entry is kept, so avoid a
				// branch.
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
	g.kept, g.dropped = kept[:nkept], entries-nkept
	return !array && entries > 0 && skipSpace(body, end) == len(body)
}

// begin prepares the scan of body. It returns the offset of the first entry, or
// of the bracket that closes an empty array. ok is false if there is neither.
func (x *avx2Scanner) begin(g *genericScanner, body []byte) (i int, ok bool) {
	const bom = "\ufeff"
	if len(body) >= len(bom) && string(body[:len(bom)]) == bom {
		i = len(bom)
	}
	i = skipSpace(body, i)
	array := byteAt(body, i) == '['
	x.outside = 0
	if array {
		x.outside = 1
		i = skipSpace(body, i+1)
	}
	if c := byteAt(body, i); c != '{' && !(array && c == ']') {
		return 0, false
	}
	x.state = indexState{offset: uint64(i)}
	x.depth = x.outside + 1
	x.scalarEnd = 0
	g.isObject[x.depth] = true // of each entry
	return i, true
}

// splitTail returns the end of the whole blocks in body[i:] that indexBlocks
// may read, and the rest, filled with spaces to whole blocks.
func (x *avx2Scanner) splitTail(body []byte, i int) (whole int, tail []byte) {
	whole = i
	if n := len(body) - i - lookAhead; n > 0 {
		whole += n &^ 63
	}
	n := copy(x.tail[:], body[whole:])
	tail = x.tail[:(n+63)&^63]
	copy(tail[n:], spaces)
	return whole, tail
}

// spaces fill a block.
const spaces = "                                                                "

// entryLevel returns the level of the valid entry at body[start]. rank is the rank
// of its best level key, and value is the offset after that key.
func (x *avx2Scanner) entryLevel(g *genericScanner, body []byte, start, rank, value int) entry.Level {
	if rank == rescanRank {
		_, l := g.scanEntry(body, start, x.outside+1)
		return l
	}
	return levelByKey(&g.validator, body, rank, value)
}

// walkUnusual handles events[k] and the events nested in it. The event is at
// the top level of an entry and is no key, no literal and not the entry's end.
// It returns the index of the next event, or -1 if the body is invalid.
func (x *avx2Scanner) walkUnusual(g *genericScanner, body []byte, events []uint32, k int) int {
	pos := int(events[k])
	switch body[pos] {
	case '{', '[':
		x.object = true
		return x.walkNested(g, body, events, k)
	case ':':
		if byteBefore(body, pos) != '"' {
			return -1
		}
	case ',', ']':
		return -1
	default:
		if !x.checkScalar(g, body, pos) {
			return -1
		}
	}
	return k + 1
}

// walkNested handles the events from events[k] on, until it is back at the top
// level of an entry or there are no more events. Like walkUnusual, it returns the
// index of the next event, or -1 if the body is invalid.
func (x *avx2Scanner) walkNested(g *genericScanner, body []byte, events []uint32, k int) int {
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
			g.isObject[depth] = object
		case '}', ']':
			if (c == '}') != object || !canClose(body, pos) {
				return -1
			}
			depth--
			object = g.isObject[depth]
			if !object && isKeyNext(&g.validator, body, pos+1) {
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
			if !isLiteral(body, pos) && !x.checkScalar(g, body, pos) {
				return -1
			}
		}
	}
	x.depth, x.object = depth, object
	return k
}

// checkScalar reports whether the scalar around body[i] is valid.
func (x *avx2Scanner) checkScalar(g *genericScanner, body []byte, i int) bool {
	if i < x.scalarEnd {
		return true // another event of the same number
	}
	for c := body[i-1]; c-'0' < 10 || c == '.' || c == '-' || c == '+' || c|0x20 == 'e'; c = body[i-1] {
		i--
	}
	if i = g.skipScalar(body, i); i < 0 || i == len(body) {
		return false
	}
	x.scalarEnd = i
	return endsScalar[body[i]]
}

// endsScalar contains the bytes that may follow a scalar.
var endsScalar = [256]bool{',': true, '}': true, ']': true, ' ': true, '\n': true, '\r': true, '\t': true}

// isLiteral reports whether a literal starts at body[i], directly after a
// colon, and ends where a scalar may end.
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

// isKeyNext reports whether a comma, a string and a colon follow at body[i]. It
// also returns true if the string is invalid.
func isKeyNext(v *validator, body []byte, i int) bool {
	if i = skipSpace(body, i); byteAt(body, i) != ',' {
		return false
	}
	if i = skipSpace(body, i+1); byteAt(body, i) != '"' {
		return false
	}
	if i, _ = v.skipString(body, i+1); i < 0 {
		return true
	}
	return byteAt(body, skipSpace(body, i)) == ':'
}

// isSeparator reports whether s is white space, with one comma if comma is set.
func isSeparator(s []byte, comma bool) bool {
	i := skipSpace(s, 0)
	if comma {
		if i == len(s) || s[i] != ',' {
			return false
		}
		i = skipSpace(s, i+1)
	}
	return i == len(s)
}

// canClose reports whether a closing bracket at body[i] may follow what is
// before it.
func canClose(body []byte, i int) bool {
	c := byteBefore(body, i)
	return c != ',' && c != ':'
}

// byteBefore returns the last byte before body[i] that is not white space.
// There must be one.
func byteBefore(body []byte, i int) byte {
	for i--; ; i-- {
		if c := body[i]; c > ' ' {
			return c
		}
	}
}

// rescanRank is the rank of a string that levelKeyAt cannot decide on. It makes
// entryLevel scan the entry again with the portable implementation.
const rescanRank = -1

const longestLevelKey = len("log.level")

// levelKeyAt returns the rank of the key at body[i], after its opening quote,
// and the offset after its closing quote. The rank is noLevelRank for other keys,
// and for a string that is a value. It is rescanRank for a key that has escapes,
// and for any string near the end of body.
func levelKeyAt(body []byte, i int) (rank, after int) {
	if len(body)-i <= longestLevelKey {
		return rescanRank, 0
	}
	rank = noLevelRank
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
		rank, after = clefTimeRank, i+len(`@t"`)
	default:
		if byteBefore(body, i-1) == ':' {
			return noLevelRank, 0 // a value
		}
		for _, c := range body[i : i+longestLevelKey] {
			if c == '\\' {
				return rescanRank, 0
			}
			if c == '"' {
				break
			}
		}
		return noLevelRank, 0
	}
	if j := skipSpace(body, after); j == len(body) || body[j] != ':' {
		return noLevelRank, 0
	}
	return rank, after
}

// The starts of the level keys as little-endian words.
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
