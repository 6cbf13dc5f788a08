package summary

import (
	"encoding/binary"
	"math/bits"
)

const (
	rowSize = 8 // bytes of a row of the filter: a bit for each block of the segment

	// pageRows is the number of rows of a page of the filter. Such a page is a row
	// of a table, and fits into a database page of 8 KiB.
	pageRows = 1000

	// maxFill is the largest share of bits that are set in a filter. The share
	// is larger only if the filter would otherwise exceed its size limit.
	maxFill = 0.25

	// maxShare limits the size of a filter to 1/maxShare of the size of its entries.
	maxShare = 18
)

// A filter is the bit matrix of a segment before it is stored. Row p has the blocks
// in which position p occurs.
type filter [1 << positionBits]uint64

// divisor returns how many rows of f are combined to one row of the stored filter:
// as many as possible with at most maxFill of the bits set, but at least so many that
// the size does not exceed maxBytes.
func (f *filter) divisor(blocks, maxBytes int) int {
	most := max(maxBytes/rowSize, 1)
	low := max((len(f)+most-1)/most, 1)
	if low >= maxDivisor {
		return maxDivisor
	}
	// The fill grows with the divisor.
	high := maxDivisor
	for low < high {
		middle := (low + high + 1) / 2
		if f.fill(middle, blocks) <= maxFill {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

const maxDivisor = 255 // it is stored in one byte

// fill returns the share of bits that are set in the filter with a divisor.
func (f *filter) fill(divisor, blocks int) float64 {
	set, rows := 0, 0
	for start := 0; start < len(f); start += divisor {
		set += bits.OnesCount64(f.row(start, divisor))
		rows++
	}
	return float64(set) / float64(rows*max(blocks, 1))
}

// row combines the rows from start on to one.
func (f *filter) row(start, divisor int) uint64 {
	var row uint64
	for _, r := range f[start:min(start+divisor, len(f))] {
		row |= r
	}
	return row
}

// pages returns the pages of the stored filter.
func (f *filter) pages(divisor int) [][]byte {
	var pages [][]byte
	var page []byte
	for start := 0; start < len(f); start += divisor {
		if page == nil {
			page = make([]byte, 0, pageRows*rowSize)
		}
		page = binary.LittleEndian.AppendUint64(page, f.row(start, divisor))
		if len(page) == cap(page) {
			pages = append(pages, page)
			page = nil
		}
	}
	if page != nil {
		pages = append(pages, page)
	}
	return pages
}

// RowOf returns where the row of a position is: the number of the page, and the
// offset in the page.
func (s *Segment) RowOf(position uint32) (page, offset int64) {
	row := int64(position) / int64(s.divisor)
	return row / pageRows, row % pageRows * rowSize
}
