package logread

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestIDSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, b := range []block{-1, 0, 7, math.MinInt64 >> blockBits, math.MaxInt64 >> blockBits} {
		for _, n := range []int{0, 1, 3, 200, 5000} {
			var s idSet
			s.reset(b.first())
			var want []int64
			for range n {
				want = append(want, b.first()+random.Int64N(1<<blockBits))
			}
			if n == 3 {
				want[0], want[1] = b.first(), b.last()
			}
			for _, id := range want {
				s.add(id)
			}
			slices.Sort(want)
			want = slices.Compact(want)
			slices.Reverse(want)
			if got := s.appendBelow(nil, math.MaxInt64, 1<<blockBits); b.last() < math.MaxInt64 && !slices.Equal(got, want) {
				t.Errorf("block %d: got %d ids, want %d", b, len(got), len(want))
			}
			for _, below := range []int64{b.first(), b.first() + 1, b.first() + 64, b.first() + 5000, b.last()} {
				rest := slices.DeleteFunc(slices.Clone(want), func(id int64) bool { return id >= below })
				rest = rest[:min(len(rest), 100)]
				if got := s.appendBelow(nil, below, 100); !slices.Equal(got, rest) {
					t.Errorf("block %d below %d: got %v, want %v", b, below, got, rest)
				}
				rest = slices.DeleteFunc(slices.Clone(want), func(id int64) bool { return id <= below })
				slices.Reverse(rest)
				rest = rest[:min(len(rest), 100)]
				if got := s.appendAbove(nil, below, 100); !slices.Equal(got, rest) {
					t.Errorf("block %d above %d: got %v, want %v", b, below, got, rest)
				}
			}
		}
	}
}
