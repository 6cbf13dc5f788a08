package summary

import (
	"fmt"
	"hash/crc64"
	"testing"
)

// The summary of these entries may change only together with format.
func TestFormat(t *testing.T) {
	b := NewBuilder()
	for i := range int64(3000) {
		message := fmt.Sprintf("user %d not found at 10.0.0.%d", i, i%256)
		timestamp := fmt.Sprintf("2026-11-22T10:%02d:00Z", i%60)
		b.Add(i, "error", message, timestamp,
			fmt.Sprintf(`{"service":"J\u00fcrgen","id":"%032x","user":{"id":%d}}`, i*0x9e3779b9, i), i%2000 > 0)
	}
	s := b.Summary(2)
	h := crc64.New(crc64.MakeTable(crc64.ECMA))
	h.Write(s.Segment)
	h.Write(s.Counts)
	for _, page := range s.Pages {
		h.Write(page)
	}
	want := map[string]uint64{"2": 0xd4091118c6fed26b}[format]
	if got := h.Sum64(); got != want {
		t.Errorf("hash of the summary = %#x, want %#x for format %s", got, want, format)
	}
}

// The filter of a segment takes at most the given share of its entries, and most
// searches skip most blocks.
func TestFilterSize(t *testing.T) {
	b := NewBuilder()
	bytes := 0
	for i := range int64(1 << segmentBits) {
		details := fmt.Sprintf(`{"service":"checkout","request_id":"%016x%016x","user_id":%d,"status":503}`,
			i*0x9e3779b97f4a7c1, i*0xd6e8feb86659fd9, i*7919%200000)
		b.Add(i, "error", "connection to upstream lost", "2026-11-22T10:00:00Z", details, true)
		bytes += len("error"+"connection to upstream lost"+"2026-11-22T10:00:00Z") + len(details)
	}
	s := b.Summary(BlocksPerSegment)
	size := 0
	for _, page := range s.Pages {
		size += len(page)
	}
	if size > bytes/16 {
		t.Errorf("the filter has %d bytes, want at most a sixteenth of %d", size, bytes)
	}
	found, searches := 0, 1000
	for i := range searches {
		var p Probe
		if i%2 == 0 {
			p.AddField("user_id", []string{fmt.Sprint(300000 + i)})
		} else {
			p.AddText(fmt.Sprintf("%016x%016x", uint64(i)*0x94d049bb133111eb, uint64(i)*0xbf58476d1ce4e5b9))
		}
		blocks := []uint64{b.segment.Covered()}
		err := p.Match([]*Segment{&b.segment}, blocks, func(position uint32, rows []uint64) error {
			divisor := b.segment.divisor
			rows[0] = b.filter.row(int(position)/divisor*divisor, divisor)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for ; blocks[0] != 0; blocks[0] &= blocks[0] - 1 {
			found++
		}
	}
	if limit := searches * BlocksPerSegment / 100; found > limit {
		t.Errorf("%d searches without a match would visit %d blocks, want at most %d", searches, found, limit)
	}
}
