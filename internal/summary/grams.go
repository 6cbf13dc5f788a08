package summary

import (
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// positionBits is the number of bits of a position in the filter of one block,
// before the filter of a segment is reduced to its final size.
const positionBits = 18

// A class is the kind of a byte of folded text.
type class uint8

const (
	separator class = iota // ends a number
	numeric                // hexadecimal digits, and the separators within addresses, UUIDs and times
	letter                 // other letters, and all bytes of runes that are not ASCII
)

var classes = func() (table [256]class) {
	for c := range table {
		switch {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'F', c == '.', c == ':', c == '-':
			table[c] = numeric
		case 'G' <= c && c <= 'Z', c >= utf8.RuneSelf:
			table[c] = letter
		}
	}
	return table
}()

// upper maps an ASCII byte to upper case.
var upper = func() (table [utf8.RuneSelf]byte) {
	for c := range table {
		table[c] = byte(entry.FoldRune(rune(c)))
	}
	return table
}()

// appendFolded appends s in UTF-8 with each rune folded, as the search for a text
// folds it. Invalid UTF-8 becomes U+FFFD.
func appendFolded(dst []byte, s string) []byte {
	for i, r := range s {
		if r < utf8.RuneSelf {
			dst = append(dst, upper[s[i]])
		} else {
			dst = utf8.AppendRune(dst, entry.FoldRune(r))
		}
	}
	return dst
}

// appendGrams appends the filter positions of the grams of a folded text. Whether a
// part of the text is a gram depends only on that part. The grams of a text
// therefore include the grams of all its substrings.
//
// The grams are
//
//   - three bytes, at least one of which is a letter;
//   - four bytes, at least two of which are letters. There are few different ones in a
//     block, so three positions for each cost little, and exclude more blocks;
//   - six numeric bytes, if the smallest hash of their four substrings of three bytes
//     is the first or the last (a closed syncmer). Random numbers and ids have so
//     many substrings that only half of them is used. Eight numeric bytes always
//     contain one that is used.
func appendGrams(dst []uint32, text []byte) []uint32 {
	var last uint64    // the last eight bytes
	var letters uint32 // bit i is set if the byte i before this one is a letter
	var h [4]uint32    // hashes of the last four triples in a run of numeric bytes
	run := 0           // length of the run of numeric bytes
	for i, c := range text {
		last = last<<8 | uint64(c)
		letters <<= 1
		switch classes[c] {
		case numeric:
			run++
			h[0], h[1], h[2], h[3] = h[1], h[2], h[3], uint32(last&0xffffff)*0x9e3779b1
			if run >= 6 && (min(h[1], h[2], h[3]) >= h[0] || min(h[0], h[1], h[2]) >= h[3]) {
				dst = append(dst, position(last<<16))
			}
		case letter:
			letters |= 1
			run = 0
		default:
			run = 0
		}
		if letters&7 != 0 && i >= 2 {
			dst = append(dst, position(last<<40|1))
			if n := letters & 15; n&(n-1) != 0 && i >= 3 {
				dst = append(dst, position(last<<32|2), position(last<<32|3), position(last<<32|4))
			}
		}
	}
	return dst
}

// position hashes a gram to a position in a block's filter. The bytes of the gram are
// the highest bytes of word, and the lowest byte is different for each kind of gram.
func position(word uint64) uint32 {
	h := word * 0x9e3779b97f4a7c15
	h ^= h >> 32
	return uint32(h * 0xd6e8feb86659fd93 >> (64 - positionBits))
}
