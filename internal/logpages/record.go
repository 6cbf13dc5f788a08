package logpages

import "unsafe"

// A Row is a row of the table logs. Its texts refer to a page, and are valid only
// during the call that receives it. Details that are NULL are empty.
type Row struct {
	ID                                 int64
	Level, Message, Timestamp, Details string

	// Page contains the texts, with others. It is nil if it is the page of the row
	// before.
	Page []byte
}

// The number of a Row's texts up to and including each of them, for Walk.Start.
const (
	Level = iota + 1
	Message
	Timestamp
	Details
)

// parse reads the texts of a row from its record, which can be incomplete. It returns
// false if the needed texts are not complete or a value is not a text. It also accepts
// BLOBs, and NULL for any column.
//
// A record starts with a header: its size, and the type of each value. The value of the
// id is NULL, because the id is the key of the row.
func (r *Row) parse(record []byte, needed int) bool {
	const columns = 5
	size, n := varint(record)
	if n == 0 || size > int64(len(record)) {
		return false
	}
	var types [columns]int64
	for i := range types {
		// Most types take one byte.
		if n < len(record) && record[n] < 0x80 {
			types[i] = int64(record[n])
			n++
			continue
		}
		t, m := varint(record[n:])
		if m == 0 {
			return false
		}
		types[i] = t
		n += m
	}
	if int64(n) != size || types[0] != 0 {
		return false
	}
	texts := [...]*string{&r.Level, &r.Message, &r.Timestamp, &r.Details}
	rest := record[n:]
	for i, text := range texts {
		t := types[i+1]
		length := (t - 12) / 2
		switch {
		case t == 0:
			length = 0
		case t < 12:
			return false
		case length > int64(len(rest)):
			for _, text := range texts[i:] {
				*text = ""
			}
			return i >= needed
		}
		*text = unsafe.String(unsafe.SliceData(rest), int(length))
		rest = rest[length:]
	}
	return true
}

// varint decodes an integer of 1 to 9 bytes, and returns how many there are, or 0 if
// b is too short. Each byte has seven bits, the ninth one eight. All bytes but the last
// have their highest bit set.
func varint(b []byte) (v int64, n int) {
	for i, c := range b {
		if i == 8 {
			return v<<8 | int64(c), 9
		}
		v = v<<7 | int64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
