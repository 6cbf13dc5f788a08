package summary

import "slices"

// A Probe tests which blocks can contain a text and fields. Its zero value tests
// nothing.
type Probe struct {
	text   []uint32     // positions that a block must have
	fields [][][]uint32 // for each field: for each value, positions that a block must have
}

// maxProbes limits how many positions of a text are tested. With so many,
// a block that does not contain the text hardly ever passes the test.
const maxProbes = 32

// AddText adds a text that an entry must contain. It has no effect if the text has no
// grams.
func (p *Probe) AddText(text string) {
	p.text = append(p.text, appendGrams(nil, appendFolded(nil, text))...)
	if n := len(p.text); n > maxProbes {
		for i := range maxProbes {
			p.text[i] = p.text[i*n/maxProbes]
		}
		p.text = p.text[:maxProbes]
	}
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
		alternatives = append(alternatives, appendFieldPositions(nil, fieldHash(fnv(fnvOffset, name), value)))
	}
	p.fields = append(p.fields, alternatives)
}

// Match removes from blocks[i] the blocks of segments[i] that cannot contain an entry
// that matches. restrict removes from blocks[i] those that are not in the row of the
// filter of segments[i] for a position. It need not change an empty set.
func (p *Probe) Match(segments []*Segment, blocks []uint64, restrict func(position uint32, blocks []uint64) error) error {
	noText := make([]uint64, len(blocks))
	for i, s := range segments {
		noText[i] = blocks[i] & s.noText
		blocks[i] &^= s.noText
	}
	matchAll := func(positions []uint32, blocks []uint64) error {
		for _, position := range positions {
			if err := restrict(position, blocks); err != nil {
				return err
			}
		}
		return nil
	}
	if err := matchAll(p.text, blocks); err != nil {
		return err
	}
	for _, alternatives := range p.fields {
		any := make([]uint64, len(blocks))
		for _, positions := range alternatives {
			found := slices.Clone(blocks)
			if err := matchAll(positions, found); err != nil {
				return err
			}
			add(any, found)
		}
		copy(blocks, any)
	}
	add(blocks, noText)
	return nil
}

// add adds to each set the blocks of the corresponding other one.
func add(sets, others []uint64) {
	for i, other := range others {
		sets[i] |= other
	}
}
