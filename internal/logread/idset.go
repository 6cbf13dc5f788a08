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
