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

// appendText appends a part of a text, up to the index end of dst.
func (p *rowPieces) appendText(dst, text []byte, end int) []byte {
	n := p.next(text, (end-len(dst)-minRoom/4)/maxEscape)
	p.offset += len(n)
	return entry.AppendEscaped(dst, n)
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
		n := p.next(details, (end-len(dst)-minRoom/4)/maxRepair)
		p.offset += len(n)
		dst = appendOneLine(dst, n)
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

// next returns the next part of a column, of at most n bytes. It does not cut a
// rune in two.
func (p *rowPieces) next(text []byte, n int) []byte {
	rest := text[p.offset:]
	return rest[:runeCut(rest, max(n, 0))]
}
