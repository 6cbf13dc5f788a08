package summary

import (
	"fmt"
	"testing"
)

// newProbeSegment returns a segment with a filter whose rows have random bits, a quarter
// of them set. Block 5 has all positions.
func newProbeSegment() (s *Segment, read RowReader, reads *int) {
	reads = new(int)
	return &Segment{Blocks: BlocksPerSegment}, func(position uint32, rows []uint64) error {
		if rows[0] != 0 {
			*reads++
			h := (uint64(position) + 1) * 0x9e3779b97f4a7c15
			rows[0] = h&(h>>32|h<<32) | 1<<5
		}
		return nil
	}, reads
}

// A probe reads no more rows than it needs to exclude the blocks that do not match.
func TestProbeStopsEarly(t *testing.T) {
	s, read, reads := newProbeSegment()
	var p Probe
	p.AddText("connection to upstream lost, retrying after timeout")
	blocks := []uint64{s.Covered()}
	if err := p.Match([]*Segment{s}, blocks, read); err != nil {
		t.Fatal(err)
	}
	if blocks[0] != 1<<5 || *reads > 12 || *reads < 4 {
		t.Errorf("got blocks %b after reading %d rows, want %b after 4 to 12", blocks[0], *reads, 1<<5)
	}
	blocks[0] = 0
	if *reads = 0; p.Match([]*Segment{s}, blocks, read) != nil || *reads > 0 {
		t.Errorf("got %d rows read for no block, want none", *reads)
	}
}

// A field is excluded by the text of its value, too, unless the text can differ.
func TestProbeFieldValues(t *testing.T) {
	for _, test := range []struct {
		value string
		want  int
	}{
		{"7", fieldPositions},
		{"checkout", fieldPositions + maxValueProbes},
		{"checkout \ufffd", fieldPositions},
		{"checkout \xff", fieldPositions},
	} {
		var p Probe
		if p.AddField("service", []string{test.value}); len(p.fields[0][0]) != test.want {
			t.Errorf("value %q: got %d positions, want %d", test.value, len(p.fields[0][0]), test.want)
		}
	}
	excluded := 0
	for i := range 100 {
		b := NewBuilder()
		b.Add(1, "error", "", "", fmt.Sprintf(`{"user_id":%d}`, 100000+i), true)
		summary := b.Summary(1)
		var p Probe
		p.AddField("user_id", []string{fmt.Sprint(200000 + i)})
		p.fields[0][0] = p.fields[0][0][fieldPositions:] // only the text
		blocks := []uint64{1}
		err := p.Match([]*Segment{&b.segment}, blocks, func(position uint32, rows []uint64) error {
			page, offset := b.segment.RowOf(position)
			rows[0] = uint64(summary.Pages[page][offset])
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if blocks[0] == 0 {
			excluded++
		}
	}
	if excluded < 30 {
		t.Errorf("the text excluded %d of 100 values, want at least 30", excluded)
	}
}
