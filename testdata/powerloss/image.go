//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// An image is what a disk can contain after a power loss.
type image struct {
	files map[string][]byte // content by name
	what  string            // how the image was made
}

// A policy says which sectors and names of a disk survive.
type policy int

const (
	keepAll      policy = iota
	dropAll             // keep only what is synced
	keepOldest          // keep the operations before one of them, and a part of that one
	keepNewest          // keep the operations after one of them
	anyOperation        // keep or drop each operation
	anySector           // keep or drop each sector
	policies
)

func (p policy) String() string {
	return [...]string{"all", "none", "oldest", "newest", "any operations", "any sectors"}[p]
}

// crash returns an image of the disk after a power loss that r chooses.
func (d *disk) crash(r *rand.Rand) *image {
	c := crash{
		Rand:    r,
		sector:  []int64{512, 4096}[r.IntN(2)],
		policy:  policy(r.IntN(int(policies))),
		garbage: r.IntN(4) == 0,
	}
	if events := d.pendingEvents(); len(events) > 0 {
		c.pivot = events[r.IntN(len(events))]
	}
	namePolicy := []policy{keepAll, dropAll, keepOldest, anyOperation}[r.IntN(4)]
	names := c.keepNames(d, namePolicy)
	img := &image{
		files: map[string][]byte{},
		what: fmt.Sprintf("sectors of %d bytes, keep %v; names: keep %v; new space is zero: %t",
			c.sector, c.policy, namePolicy, !c.garbage),
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if isIndex(name) {
			img.files[name] = bytes.Repeat([]byte{0xff}, r.IntN(2)*indexSize)
			continue
		}
		img.files[name] = c.content(d.files[names[name]])
	}
	return img
}

// indexSize is the size of a small index of a WAL, in bytes.
const indexSize = 32 << 10

// pendingEvents returns the events of all pending operations, in order.
func (d *disk) pendingEvents() []int {
	var events []int
	for _, f := range d.files {
		for _, o := range f.pending {
			events = append(events, o.event)
		}
	}
	slices.Sort(events)
	return events
}

// A crash chooses what survives a power loss.
type crash struct {
	*rand.Rand
	sector  int64 // size in bytes
	policy  policy
	garbage bool // space that was allocated but not written contains random bytes
	pivot   int  // the event of keepOldest and keepNewest
}

// keepNames returns the names that survive.
func (c *crash) keepNames(d *disk, p policy) map[string]fileID {
	names := maps.Clone(d.names)
	pivot := c.IntN(len(d.pending) + 1)
	for i, change := range d.pending {
		if p == keepAll || p == keepOldest && i < pivot || p == anyOperation && c.IntN(2) == 0 {
			change.apply(names)
		}
	}
	return names
}

// content returns what survives of a file.
func (c *crash) content(f *file) []byte {
	kept := c.keepOperations(f)
	sizes := possibleSizes(f, kept)
	content := make([]byte, slices.Max(sizes))
	unwritten := content[copy(content, f.synced):]
	if c.garbage {
		for i := range unwritten {
			unwritten[i] = byte(c.Uint32())
		}
	}
	for start := int64(0); start < int64(len(content)); start += c.sector {
		c.keepSector(f, content[start:min(start+c.sector, int64(len(content)))], start, kept)
	}
	return content[:c.size(sizes)]
}

// keepOperations chooses which operations survive. The policies that choose sectors
// ignore its choice for writes.
func (c *crash) keepOperations(f *file) []bool {
	kept := make([]bool, len(f.pending))
	for i, o := range f.pending {
		switch c.policy {
		case keepAll:
			kept[i] = true
		case keepOldest:
			kept[i] = o.event < c.pivot || o.event == c.pivot && c.IntN(2) == 0
		case keepNewest:
			kept[i] = o.event > c.pivot
		case anyOperation, anySector:
			kept[i] = c.IntN(2) == 0
		}
	}
	return kept
}

// possibleSizes returns the sizes that the file can have: first that without any
// operation that may be dropped, last that with all that are kept. A truncation
// is atomic. If it survives, so do the sizes that follow it.
func possibleSizes(f *file, kept []bool) []int64 {
	sizes := []int64{int64(len(f.synced))}
	for i, o := range f.pending {
		size := sizes[len(sizes)-1]
		switch {
		case !o.truncate:
			sizes = append(sizes, o.resize(size))
		case kept[i]:
			sizes = []int64{o.offset}
		}
	}
	return sizes
}

// size chooses the size of a file.
func (c *crash) size(sizes []int64) int64 {
	switch c.policy {
	case keepAll:
		return sizes[len(sizes)-1]
	case dropAll:
		return sizes[0]
	}
	return sizes[c.IntN(len(sizes))]
}

// keepSector applies operations to a sector that starts at start. A sector is
// written as a whole, so it contains all operations up to one of them, except if
// it is torn. Truncations are the same for all sectors, because they change only
// the size and the allocation of the file.
func (c *crash) keepSector(f *file, part []byte, start int64, kept []bool) {
	var operations []*operation
	var last, truncated int // numbers of operations up to the last one that is kept
	pivot := false
	for i := range f.pending {
		o := &f.pending[i]
		if !o.touches(start, start+int64(len(part))) || o.truncate && !kept[i] {
			continue
		}
		operations = append(operations, o)
		pivot = pivot || o.event == c.pivot
		if kept[i] {
			last = len(operations)
		}
		if o.truncate {
			truncated = len(operations)
		}
	}
	if c.policy != anySector && !(c.policy == keepOldest && pivot) {
		applyAll(operations[:last], part, start)
		return
	}
	other := slices.Clone(part)
	applyAll(operations[:c.version(truncated, len(operations))], part, start)
	if c.IntN(8) == 0 { // torn
		applyAll(operations[:c.version(truncated, len(operations))], other, start)
		cut := c.IntN(len(part) + 1)
		copy(part[cut:], other[cut:])
	}
}

func applyAll(operations []*operation, part []byte, start int64) {
	for _, o := range operations {
		o.apply(part, start)
	}
}

// version chooses how many operations a sector contains, from least to most,
// and usually one of these.
func (c *crash) version(least, most int) int {
	switch c.IntN(5) {
	case 0, 1:
		return least
	case 2, 3:
		return most
	}
	return least + c.IntN(most-least+1)
}
