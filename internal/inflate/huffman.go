package inflate

import "math/bits"

// A table decodes the symbols of a Huffman code. Its index is the next bits of the
// input, of which the first bit is the lowest. The first 1<<primary entries are
// for codes of up to primary bits. A longer code has a link there to a secondary
// table, whose index is the bits that follow.
type table []tableEntry

// A tableEntry describes a symbol and its extra bits:
//
//	bits 0 to 5     how many bits the symbol takes, including its extra bits
//	bits 8 to 11    how many of these bits are its code
//	bits 12 to 15   its kind; 0 means a length or a distance
//	bits 16 to 31   the literal, or the value that is added to the extra bits
//
// A link has the length of the primary index in bits 0 to 5, the length of the
// secondary index in bits 8 to 11, and the start of the secondary table in bits 16 to
// 31. An entry of kindSpecial that is neither a link nor the end of the block is not a
// code.
type tableEntry uint32

const (
	kindLiteral tableEntry = 1 << 15
	kindSpecial tableEntry = 1 << 14 // a link, the end of the block, or not a code
	kindLink    tableEntry = 1 << 13
	kindEnd     tableEntry = 1 << 12

	notACode = kindSpecial
)

// length returns how many bits to remove from the input.
func (e tableEntry) length() uint { return uint(e) & 63 }

// value returns the value of a length or a distance. in is the input, starting
// with its code.
func (e tableEntry) value(in uint64) int {
	return int(e>>16) + int(in&(1<<e.length()-1)>>(e>>8&15))
}

// link returns the entry of the secondary table that e refers to. in is the input
// after the bits of the primary index.
func (t table) link(e tableEntry, in uint64) tableEntry {
	return t[uint64(e>>16)+in&(1<<(e>>8&15)-1)]
}

const maxCodeLength = 15

// build fills t, which must be long enough, with the code that is given by the
// length of each symbol's code in bits. symbols has the entry of each symbol
// without its code: the kind, the value, and the number of extra bits in bits 0
// to 5. It reports whether the code is valid: complete, or of one symbol with one
// bit, or empty. https://www.rfc-editor.org/rfc/rfc1951#section-3.2.2
func (t table) build(lengths []uint8, symbols []tableEntry, primary uint) bool {
	var counts [maxCodeLength + 1]int
	for _, n := range lengths {
		counts[n]++
	}
	counts[0] = 0
	var next [maxCodeLength + 2]uint // the next code of each length
	longest := uint(0)
	for n := uint(1); n <= maxCodeLength; n++ {
		next[n+1] = (next[n] + uint(counts[n])) << 1
		if counts[n] > 0 {
			longest = n
		}
	}
	for i := range 1 << primary {
		t[i] = notACode
	}
	if longest == 0 {
		return true
	}
	used := next[longest+1] >> 1 // of 1<<longest
	if used != 1<<longest && !(used == 1 && longest == 1) {
		return false
	}
	end := uint(1) << primary // of the tables so far
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		code := reverse(next[n], uint(n))
		next[n]++
		end = t.add(code, uint(n), symbols[symbol], primary, longest, end)
	}
	return true
}

// add adds a symbol with a reversed code of n bits. It returns the new end of the
// tables.
func (t table) add(code, n uint, symbol tableEntry, primary, longest, end uint) uint {
	if n <= primary {
		e := symbol + tableEntry(n) | tableEntry(n)<<8
		for i := code; i < 1<<primary; i += 1 << n {
			t[i] = e
		}
		return end
	}
	index := code & (1<<primary - 1)
	link := t[index]
	if link&kindLink == 0 {
		link = kindSpecial | kindLink | tableEntry(primary) | tableEntry(longest-primary)<<8 | tableEntry(end)<<16
		t[index] = link
		end += 1 << (longest - primary)
	}
	rest := n - primary
	e := symbol + tableEntry(rest) | tableEntry(rest)<<8
	secondary := t[uint(link>>16):][:1<<(longest-primary)]
	for i := code >> primary; i < uint(len(secondary)); i += 1 << rest {
		secondary[i] = e
	}
	return end
}

// reverse returns the lowest n bits of code in reverse order.
func reverse(code, n uint) uint { return uint(bits.Reverse16(uint16(code))) >> (16 - n) }
