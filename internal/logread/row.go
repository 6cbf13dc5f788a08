package logread

import (
	"database/sql"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// A row is an entry as stored. Its bytes are valid until the next row is read.
type row struct {
	id                        int64
	level, message, timestamp sql.RawBytes
	details                   sql.RawBytes // nil if NULL
}

// rowColumns are the columns that row.scan expects, in its order.
const rowColumns = "id, level, message, timestamp, details"

func (r *row) scan(rows *sql.Rows) error {
	return rows.Scan(&r.id, &r.level, &r.message, &r.timestamp, &r.details)
}

// maxJSON returns an upper bound of what appendJSON appends, in bytes.
func (r *row) maxJSON() int {
	const names = len(`{"id":-9223372036854775808,"level":"","message":"","timestamp":"","details":""}`)
	return names + maxEscape*(len(r.level)+len(r.message)+len(r.timestamp)+len(r.details))
}

// maxEscape is how many bytes of JSON one byte of text can become: \u0000.
const maxEscape = 6

// appendJSON appends r as a JSON object on one line.
func (r *row) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, r.id, 10)
	dst = entry.AppendQuoted(append(dst, `,"level":`...), r.level)
	dst = entry.AppendQuoted(append(dst, `,"message":`...), r.message)
	dst = entry.AppendQuoted(append(dst, `,"timestamp":`...), r.timestamp)
	dst = appendDetails(append(dst, `,"details":`...), r.details)
	return append(dst, '}')
}

// appendDetails appends details as a JSON value on one line. Valid JSON is
// copied as stored, except that line breaks become spaces and invalid UTF-8
// becomes U+FFFD. Anything else becomes a JSON string.
func appendDetails(dst []byte, details sql.RawBytes) []byte {
	if details == nil {
		return append(dst, "null"...)
	}
	if !json.Valid(details) {
		return entry.AppendQuoted(dst, details)
	}
	return appendOneLine(dst, details)
}

// appendOneLine appends valid JSON, or a part of it, as appendDetails does.
func appendOneLine(dst, s []byte) []byte {
	start := len(dst)
	if utf8.Valid(s) {
		dst = append(dst, s...)
	} else {
		dst = entry.AppendRepaired(dst, s)
	}
	// In valid JSON, a line break can occur only between tokens.
	for i, c := range dst[start:] {
		if c == '\n' || c == '\r' {
			dst[start+i] = ' '
		}
	}
	return dst
}
