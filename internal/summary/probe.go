package summary

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Probe tests which blocks can contain a text and fields. Its zero value tests
// nothing.
type Probe struct {
	text   []uint32     // positions that a block must have
	fields [][][]uint32 // for each field: for each value, positions that a block must have
}

const (
	// maxProbes limits how many positions of a text are tested, and maxValueProbes how many
	// positions of the text of a field's value, in addition to those of the field.
	maxProbes      = 32
	maxValueProbes = 3

	// minChance is the lowest number of blocks per segment that are expected to pass the
	// test by chance for which a further position is tested. Visiting a block takes about
	// as long as reading 32 rows of a filter.
	minChance = 1.0 / 32
)

// AddText adds a text that an entry must contain. It has no effect if the text has no
// grams.
func (p *Probe) AddText(text string) {
	p.text = sample(append(p.text, appendGrams(nil, appendFolded(nil, text))...), maxProbes)
}

// sample returns at most limit of the positions, from all parts of the text. In
// ascending order, positions are in no order of the text, because they are hashes.
func sample(positions []uint32, limit int) []uint32 {
	slices.Sort(positions)
	positions = slices.Compact(positions)
	return positions[:min(limit, len(positions))]
}

// AddField adds a field that an entry must have with one of the values. It has no
// effect if a value can be the JSON text of an object or an array, which are not in
// the filter.
func (p *Probe) AddField(name string, values []string) {
	var alternatives [][]uint32
	for _, value := range values {
		if value != "" && (value[0] == '{' || value[0] == '[') {
			return
		}
		positions := appendFieldPositions(nil, fieldHash(fnv(fnvOffset, name), value))
		if !strings.ContainsRune(value, utf8.RuneError) { // which matches invalid UTF-8
			grams := appendGrams(nil, appendFolded(nil, value))
			positions = append(positions, sample(grams, maxValueProbes)...)
		}
		alternatives = append(alternatives, positions)
	}
	p.fields = append(p.fields, alternatives)
}

// A RowReader replaces each element of rows that is not 0: with the row of the filter of
// the segment with the same index for a position, or with math.MaxUint64 if the row is not
// known.
type RowReader func(position uint32, rows []uint64) error

// Match removes from blocks[i] the blocks of segments[i] that cannot contain an entry
// that matches.
func (p *Probe) Match(segments []*Segment, blocks []uint64, read RowReader) error {
	noText := make([]uint64, len(blocks))
	for i, s := range segments {
		noText[i] = blocks[i] & s.noText
		blocks[i] &^= s.noText
	}
	if err := matchAll(segments, p.text, blocks, read); err != nil {
		return err
	}
	for _, alternatives := range p.fields {
		any := make([]uint64, len(blocks))
		for _, positions := range alternatives {
			found := slices.Clone(blocks)
			if err := matchAll(segments, positions, found, read); err != nil {
				return err
			}
			add(any, found)
		}
		copy(blocks, any)
	}
	add(blocks, noText)
	return nil
}

// matchAll removes from blocks[i] the blocks of segments[i] that do not have all
// positions. It stops testing a segment when further positions would hardly remove any.
func matchAll(segments []*Segment, positions []uint32, blocks []uint64, read RowReader) error {
	rows := make([]uint64, len(blocks))
	chances := make([]float64, len(blocks)) // blocks of each segment that are expected to pass
	for i, set := range blocks {
		chances[i] = float64(bits.OnesCount64(set))
	}
	for _, position := range positions {
		clear(rows)
		for i, set := range blocks {
			if chances[i] >= minChance {
				rows[i] = set
			}
		}
		if err := read(position, rows); err != nil {
			return err
		}
		for i, row := range rows {
			if chances[i] >= minChance {
				blocks[i] &= row
				chances[i] *= float64(bits.OnesCount64(row)) / float64(segments[i].Blocks)
			}
		}
	}
	return nil
}

// add adds to each set the blocks of the corresponding other one.
func add(sets, others []uint64) {
	for i, other := range others {
		sets[i] |= other
	}
}
