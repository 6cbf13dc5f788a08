package logread

import "math/bits"

// An idSet is a set of ids that differ by less than the size of a block. It takes
// 2 KiB, however many ids it holds.
type idSet struct {
	first int64 // the lowest id that it can hold
	words [1 << blockBits / 64]uint64
}

// reset empties the set, for ids from first on.
func (s *idSet) reset(first int64) {
	s.first = first
	clear(s.words[:])
}

func (s *idSet) add(id int64) {
	i := id - s.first
	s.words[i/64] |= 1 << (i % 64)
}

// appendAfter appends the first n ids after limit in the given order, or all of them if
// there are fewer.
func (s *idSet) appendAfter(dst []int64, limit int64, n int, order order) []int64 {
	if order == oldestFirst {
		return s.appendAbove(dst, limit, n)
	}
	return s.appendBelow(dst, limit, n)
}

// appendAbove appends the lowest n ids above limit in ascending order, or all of them
// if there are fewer.
func (s *idSet) appendAbove(dst []int64, limit int64, n int) []int64 {
	i := int64(0) // the lowest index that may be appended
	if limit >= s.first {
		i = limit - s.first + 1
	}
	for ; i < 1<<blockBits && n > 0; i = i&^63 + 64 {
		for word := s.words[i/64] &^ (1<<(i%64) - 1); word != 0 && n > 0; n-- {
			dst = append(dst, s.first+i&^63+int64(bits.TrailingZeros64(word)))
			word &= word - 1
		}
	}
	return dst
}

// appendBelow appends the highest n ids below limit in descending order, or all of
// them if there are fewer.
func (s *idSet) appendBelow(dst []int64, limit int64, n int) []int64 {
	if limit <= s.first {
		return dst
	}
	i := min(limit-1, s.first+1<<blockBits-1) - s.first // the highest index that may be appended
	word := s.words[i/64] & (1<<(i%64+1) - 1)
	for base := i &^ 63; n > 0; word = s.words[base/64] {
		for ; word != 0 && n > 0; n-- {
			high := int64(bits.Len64(word)) - 1
			word &^= 1 << high
			dst = append(dst, s.first+base+high)
		}
		if base -= 64; base < 0 {
			break
		}
	}
	return dst
}
