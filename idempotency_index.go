package main

import (
	"crypto/sha256"
	"hash/maphash"
)

// A digest is the first half of a SHA-256 digest. It keeps the table of keys
// small. Finding two equal ones takes 2^64 attempts.
type digest [sha256.Size / 2]byte

func digestOf(data []byte) digest {
	sum := sha256.Sum256(data)
	return digest(sum[:])
}

// A keyIndex finds the ids of committed keys by a hash of their digest. A table
// of one million keys with an index in SQLite would change a page of that index
// for nearly every key. Ids increase by one from key to key, so the index is a
// ring with hash chains: 12 bytes for a key, 12 MiB for a million keys.
type keyIndex struct {
	// Without a random seed, a client could choose keys that are all in one chain,
	// and each lookup would walk over all of them.
	seed maphash.Seed

	limit  int64 // of the number of keys; the index forgets older ones
	oldest int64 // id of the oldest key
	next   int64 // id that follows the newest key's

	// The lengths of the slices are equal, and a power of two. Ids are stored
	// modulo 2^32.
	newest []uint32 // by fingerprint: id of the newest key in this chain
	older  []uint32 // by id: id of the next older key in its chain
	prints []uint32 // by id: fingerprint of the key
}

// minIndexSize is the smallest length of the index's slices.
const minIndexSize = 1 << 10

func newKeyIndex(limit int64) keyIndex {
	return keyIndex{seed: maphash.MakeSeed(), limit: limit, oldest: 1, next: 1}
}

// fingerprint returns the hash of a key that the index stores.
func (x *keyIndex) fingerprint(key digest) uint32 { return uint32(maphash.Bytes(x.seed, key[:])) }

// len returns the number of keys.
func (x *keyIndex) len() int64 { return x.next - x.oldest }

// full reports whether the oldest key is forgotten when one is added.
func (x *keyIndex) full() bool { return x.len() >= x.limit }

// find returns the ids of the keys that have the same fingerprint as key, or nil.
func (x *keyIndex) find(key digest) (ids []int64) {
	if x.len() == 0 {
		return nil
	}
	mask := uint32(len(x.prints) - 1)
	print := x.fingerprint(key)
	id := x.next
	for at := x.newest[print&mask]; ; at = x.older[at&mask] {
		// Unused elements can have any value. Ids decrease in a
		// chain, so one that does not, or is below oldest, ends it.
		older := x.next - int64(uint32(x.next)-at)
		if older >= id || older < x.oldest {
			return ids
		}
		id = older
		if x.prints[at&mask] == print {
			ids = append(ids, id)
		}
	}
}

// add adds a key with an id that is not lower than next. A lower id is already
// in the index.
func (x *keyIndex) add(id int64, key digest) {
	if id < x.next {
		return
	}
	if x.len() == 0 {
		x.oldest = id
	}
	x.next = id + 1
	x.forget(x.next - x.limit)
	if x.len() > int64(len(x.prints)) {
		x.grow()
	}
	x.link(id, x.fingerprint(key))
}

func (x *keyIndex) link(id int64, print uint32) {
	mask := uint32(len(x.prints) - 1)
	at := uint32(id)
	x.prints[at&mask] = print
	x.older[at&mask] = x.newest[print&mask]
	x.newest[print&mask] = at
}

// grow makes the slices long enough for len keys.
func (x *keyIndex) grow() {
	size := max(2*len(x.prints), minIndexSize)
	for int64(size) < x.len() {
		size *= 2
	}
	old := *x
	x.newest, x.older, x.prints = make([]uint32, size), make([]uint32, size), make([]uint32, size)
	for id := x.oldest; id < x.next-1; id++ {
		x.link(id, old.prints[uint32(id)&uint32(len(old.prints)-1)])
	}
}

// forget removes the keys with an id below oldest.
func (x *keyIndex) forget(oldest int64) { x.oldest = min(max(x.oldest, oldest), x.next) }
