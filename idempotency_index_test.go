package main

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

func testDigest(n uint64) (d digest) {
	binary.LittleEndian.PutUint64(d[:], n)
	return d
}

// The index finds the same ids as a map, while it grows, forgets keys, and its
// ids exceed 32 bits. It also finds other ids, if their digests have the same
// fingerprint, but hardly any.
func TestKeyIndex(t *testing.T) {
	for _, first := range []int64{1, 1<<32 - 2000, 5<<32 - 1} {
		r := rand.New(rand.NewPCG(1, uint64(first)))
		x := newKeyIndex(5000)
		want := map[digest][]int64{}
		ids := map[int64]digest{}
		oldest, others := first, 0
		for id := first; id < first+20_000; id++ {
			key := testDigest(r.Uint64N(30_000))
			if id%100 == 0 {
				key = testDigest(7)
			}
			x.add(id, key)
			x.add(id, testDigest(1)) // has no effect
			want[key] = append([]int64{id}, want[key]...)
			ids[id] = key
			if id%3000 == 0 {
				x.forget(id - 1000)
			}
			for limit := max(x.oldest, x.next-x.limit); oldest < limit; oldest++ {
				k := ids[oldest]
				want[k] = want[k][:len(want[k])-1]
			}
			for _, key := range []digest{key, testDigest(7), testDigest(r.Uint64N(60_000))} {
				found := x.find(key)
				got := slices.DeleteFunc(slices.Clone(found), func(id int64) bool { return ids[id] != key })
				others += len(found) - len(got)
				if !slices.Equal(got, want[key]) {
					t.Fatalf("after id %d: got ids %v, want %v", id, got, want[key])
				}
			}
		}
		if others > 10 {
			t.Errorf("got %d ids of other digests, want at most 10", others)
		}
		if x.len() > x.limit || len(x.prints) > 8192 {
			t.Errorf("got %d keys and room for %d, want at most %d and 8192", x.len(), len(x.prints), x.limit)
		}
	}
}

// Another program may add keys with any id.
func TestKeyIndexGaps(t *testing.T) {
	x := newKeyIndex(1000)
	for _, id := range []int64{-5, 3, 900, 5000, 1 << 40, 1<<40 + 999, 1 << 62} {
		x.add(id, testDigest(uint64(id)))
		if id > 0 && !slices.Contains(x.find(testDigest(uint64(id))), id) {
			t.Errorf("id %d is not found", id)
		}
	}
	if got := len(x.prints); got > 1024 {
		t.Errorf("got room for %d keys, want at most 1024", got)
	}
}

// BenchmarkKeyIndex adds and looks up keys in an index of one million.
func BenchmarkKeyIndex(b *testing.B) {
	x := newKeyIndex(maxKeys)
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		key := testDigest(r.Uint64())
		x.find(key)
		x.add(x.next, key)
	}
}

// Digests whose first or last bytes are equal are not in one chain, so a client cannot
// choose keys whose lookups take long.
func TestKeyIndexChains(t *testing.T) {
	x := newKeyIndex(5000)
	for id := range int64(5000) {
		var key digest
		binary.LittleEndian.PutUint64(key[4:], uint64(id+1)<<8)
		x.add(id+1, key)
	}
	length := 0
	mask := uint32(len(x.prints) - 1)
	for at := x.newest[x.fingerprint(digest{})&mask]; at != 0; at = x.older[at&mask] {
		length++
	}
	if length > 50 {
		t.Errorf("got a chain of %d keys, want at most 50 of 5000", length)
	}
}
