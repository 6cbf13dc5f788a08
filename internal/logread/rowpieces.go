package logread

import (
	"strconv"

	"log-ingester/internal/entry"
)

// A rowPieces writes the JSON of one row in pieces, as row.appendJSON writes it at
// once. The row may be loaded again between two pieces.
type rowPieces struct {
	validDetails bool // details is valid JSON

	column int // the part that is being written: a column*, or columnsEnd
	offset int // in the column; 0 if its name is not written yet
}

// The parts of a row.
const (
	columnLevel = iota
	columnMessage
	columnTimestamp
	columnDetails
	columnsEnd
)

// minRoom is the room that a call of append needs to make progress, in bytes.
const minRoom = 256

// done reports whether the row is complete.
func (p *rowPieces) done() bool { return p.column == columnsEnd }

// append appends as much of r as fits, and at most room bytes, which must be at
// least minRoom.
func (p *rowPieces) append(dst []byte, r *row, room int) []byte {
	end := len(dst) + room
	if p.column == columnLevel && p.offset == 0 {
		dst = append(strconv.AppendInt(append(dst, `{"id":`...), r.id, 10), `,"level":"`...)
	}
	for p.column < columnDetails {
		text := [...][]byte{r.level, r.message, r.timestamp}[p.column]
		if dst = p.appendText(dst, text, end); p.offset < len(text) || end-len(dst) < minRoom/2 {
			return dst
		}
		dst = append(dst, [...]string{`","message":"`, `","timestamp":"`, `","details":`}[p.column]...)
		p.column, p.offset = p.column+1, 0
	}
	if p.column == columnDetails {
		dst = p.appendDetails(dst, r.details, end)
	}
	return dst
}

// appendText appends as much of a text as fits up to the index end of dst.
func (p *rowPieces) appendText(dst, text []byte, end int) []byte {
	return p.appendColumn(dst, text, end, maxEscape, entry.AppendEscaped[[]byte])
}

// appendColumn appends as much of a column as fits up to the index end of dst. add
// appends at most growth bytes for each byte of the column.
func (p *rowPieces) appendColumn(
	dst, text []byte, end, growth int, add func(dst, s []byte) []byte,
) []byte {
	for {
		rest := text[p.offset:]
		// Do not cut a rune in two.
		n := runeCut(rest, max(0, (end-len(dst)-minRoom/4)/growth))
		dst = add(dst, rest[:n])
		p.offset += n
		if p.offset == len(text) || end-len(dst) < minRoom {
			return dst
		}
	}
}

// appendDetails appends a part of the details and, after the last part, the end of
// the row.
func (p *rowPieces) appendDetails(dst, details []byte, end int) []byte {
	quote := details != nil && !p.validDetails
	if quote && p.offset == 0 {
		dst = append(dst, '"')
	}
	if quote {
		dst = p.appendText(dst, details, end)
	} else {
		const maxRepair = len("\ufffd")
		dst = p.appendColumn(dst, details, end, maxRepair, appendOneLine)
	}
	if p.offset < len(details) {
		return dst
	}
	if details == nil {
		dst = append(dst, "null"...)
	}
	if quote {
		dst = append(dst, '"')
	}
	p.column = columnsEnd
	return append(dst, '}')
}
