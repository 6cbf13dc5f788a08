package summary

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

// IsEmpty reports whether p tests nothing.
func (p *Probe) IsEmpty() bool { return len(p.text) == 0 && len(p.fields) == 0 }

// Match returns those of the blocks of s that can contain an entry that matches. row
// returns the row of the filter for a position.
func (p *Probe) Match(s *Segment, blocks uint64, row func(position uint32) (uint64, error)) (uint64, error) {
	noText := blocks & s.noText
	blocks &^= noText
	var err error
	if blocks, err = matchAll(p.text, blocks, row); err != nil {
		return 0, err
	}
	for _, alternatives := range p.fields {
		var any uint64
		for _, positions := range alternatives {
			found, err := matchAll(positions, blocks, row)
			if err != nil {
				return 0, err
			}
			any |= found
		}
		blocks = any
	}
	return blocks | noText, nil
}

// matchAll returns those of the blocks that have all positions.
func matchAll(positions []uint32, blocks uint64, row func(position uint32) (uint64, error)) (uint64, error) {
	for _, p := range positions {
		if blocks == 0 {
			break
		}
		r, err := row(p)
		if err != nil {
			return 0, err
		}
		blocks &= r
	}
	return blocks, nil
}
