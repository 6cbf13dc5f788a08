package main

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A rawRow is a row as logs.db has it. Nothing about it is certain: SQLite
// holds any bytes in any column.
type rawRow struct {
	id                                 int64
	level, message, timestamp, details sql.NullString
}

func (r *rawRow) values() [4]*sql.NullString {
	return [...]*sql.NullString{&r.level, &r.message, &r.timestamp, &r.details}
}

// size is what the row takes in memory, about.
func (r *rawRow) size() int {
	return len(r.level.String) + len(r.message.String) + len(r.timestamp.String) + len(r.details.String) + 100
}

// hash is the row's fingerprint. Once kept in a database it is compared with
// that of later versions, so it stays as it is.
func (r *rawRow) hash() []byte {
	h := sha256.New()
	for _, v := range r.values() {
		length := int64(-1) // NULL
		if v.Valid {
			length = int64(len(v.String))
		}
		binary.Write(h, binary.LittleEndian, length) // a hash never fails
		h.Write([]byte(v.String))
	}
	return h.Sum(nil)
}

// A row is what PostgreSQL can hold.
type row struct {
	id             int64
	level, message string
	time           time.Time
	details        sql.NullString // JSON
	plain          bool           // details are one string of text, see makePlain
}

// fit makes a row what PostgreSQL can hold, and says whether that changed it:
//
//   - a NUL, invalid UTF-8 and an escaped lone surrogate become U+FFFD;
//   - a number beyond the range of numeric becomes a string of its digits;
//   - details that are no JSON, or too deep or too many for jsonb, are kept as
//     text in details._forward.details;
//   - a time that cannot be read becomes that of the row before (for the first
//     row, the present), and its text is kept in details._forward.timestamp.
//
// Times are cut to the microseconds of timestamptz, never rounded up, so that
// no row moves past a later one. That, and what jsonb does to any JSON (the
// last of equal keys wins, spaces and order go), does not count as a change.
func fit(raw rawRow, before time.Time) (r row, changed bool) {
	var note notes
	r = row{id: raw.id, level: fitText(raw.level.String), message: fitText(raw.message.String), details: raw.details}

	if raw.details.Valid {
		details, ok := fitJSON(raw.details.String)
		if r.details = (sql.NullString{String: details, Valid: ok}); !ok {
			note.details = quoteJSON(raw.details.String)
		}
	}
	if t, ok := parseTime(raw.timestamp.String); ok {
		r.time = t
	} else {
		note.timestamp = quoteJSON(raw.timestamp.String)
		if r.time = before; r.time.IsZero() {
			r.time = time.Now()
		}
	}
	r.details = note.addTo(r.details)
	changed = r.level != raw.level.String || r.message != raw.message.String || r.details != raw.details
	return r, changed
}

// makePlain turns details that PostgreSQL refused all the same into text, and
// says whether there was something to turn.
func (r *row) makePlain() bool {
	if r.plain || !r.details.Valid {
		return false
	}
	r.plain = true
	r.details = notes{details: quoteJSON(r.details.String)}.addTo(sql.NullString{})
	return true
}

// notes keep, as JSON, what of a row could not go where it belongs.
type notes struct{ timestamp, details string }

// addTo puts the notes into the details, under the key _forward. Details that
// are JSON but no object go below it.
func (n notes) addTo(details sql.NullString) sql.NullString {
	if n == (notes{}) {
		return details
	}
	object := strings.TrimSpace(details.String)
	if details.Valid && object[0] != '{' {
		n.details, details.Valid = object, false
	}
	var fields []string
	if n.timestamp != "" {
		fields = append(fields, `"timestamp":`+n.timestamp)
	}
	if n.details != "" {
		fields = append(fields, `"details":`+n.details)
	}
	note := `"_forward":{` + strings.Join(fields, ",") + `}}`
	if details.Valid {
		if before := strings.TrimSpace(object[1 : len(object)-1]); before != "" {
			note = before + "," + note
		}
	}
	return sql.NullString{String: "{" + note, Valid: true}
}

const replacement = "\uFFFD"

// fitText returns the text without what a text value of PostgreSQL cannot hold.
func fitText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement)
}

func quoteJSON(s string) string {
	quoted, err := json.Marshal(fitText(s))
	if err != nil {
		panic(err) // a string can always be marshalled
	}
	return string(quoted)
}

const (
	// jsonb's parser recurses, within max_stack_depth (2 MB by default, good
	// for some 6,000 levels).
	maxDepth = 1000
	// It takes some 50 bytes of the server's memory a value.
	maxValues = 1_000_000
)

// fitJSON returns the JSON without what jsonb cannot hold, or false when the
// text is no JSON by RFC 8259 or too much for jsonb.
func fitJSON(s string) (string, bool) {
	f := fitter{s: fitText(s)}
	if !f.value(0) {
		return "", false
	}
	if f.space(); f.i < len(f.s) {
		return "", false
	}
	if f.done == 0 {
		return f.s, true
	}
	f.replace(f.i, f.i, "")
	return string(f.fitted), true
}

// A fitter reads JSON in one pass and copies it as soon as there is something
// to replace. Its methods read from i on and report whether that was valid.
type fitter struct {
	s      string
	i      int
	values int
	fitted []byte
	done   int // how far s is in fitted
}

func (f *fitter) replace(from, to int, with string) {
	f.fitted = append(f.fitted, f.s[f.done:from]...)
	f.fitted = append(f.fitted, with...)
	f.done = to
}

func (f *fitter) space() {
	for f.i < len(f.s) && (f.s[f.i] == ' ' || f.s[f.i] == '\n' || f.s[f.i] == '\t' || f.s[f.i] == '\r') {
		f.i++
	}
}

// peek is the byte at i, 0 at the end.
func (f *fitter) peek() byte {
	if f.i < len(f.s) {
		return f.s[f.i]
	}
	return 0
}

// next skips space, and then c if it is there.
func (f *fitter) next(c byte) bool {
	f.space()
	if f.peek() != c {
		return false
	}
	f.i++
	return true
}

func (f *fitter) value(depth int) bool {
	if f.values++; f.values > maxValues {
		return false
	}
	f.space()
	switch c := f.peek(); {
	case c == '"':
		return f.text()
	case c == '-', '0' <= c && c <= '9':
		return f.number()
	case c == '{':
		return f.list('}', depth)
	case c == '[':
		return f.list(']', depth)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(f.s[f.i:], word) {
			f.i += len(word)
			return true
		}
	}
	return false
}

// list reads an array or an object, by the bracket it ends with, inside depth
// others.
func (f *fitter) list(end byte, depth int) bool {
	if depth == maxDepth {
		return false
	}
	f.i++
	if f.next(end) {
		return true
	}
	for {
		if end == '}' {
			if f.space(); f.peek() != '"' || !f.text() || !f.next(':') {
				return false
			}
		}
		if !f.value(depth + 1) {
			return false
		}
		if f.next(end) {
			return true
		}
		if !f.next(',') {
			return false
		}
	}
}

func (f *fitter) text() bool {
	for f.i++; f.i < len(f.s); f.i++ {
		switch c := f.s[f.i]; {
		case c == '"':
			f.i++
			return true
		case c == '\\':
			if f.i++; f.peek() == 'u' {
				if !f.escape() {
					return false
				}
			} else if c := f.peek(); c == 0 || strings.IndexByte(`"\/bfnrt`, c) < 0 {
				return false
			}
		case c < ' ':
			return false
		}
	}
	return false
}

// escape reads the uXXXX of an escape, and of the one that makes a pair of
// surrogates with it, up to the last digit.
func (f *fitter) escape() bool {
	first, ok := hex4(f.s[f.i+1:])
	if !ok {
		return false
	}
	f.i += 4
	if first != 0 && !isLead(first) && !isTrail(first) {
		return true
	}
	if rest := f.s[f.i+1:]; isLead(first) && strings.HasPrefix(rest, `\u`) {
		if second, ok := hex4(rest[2:]); ok && isTrail(second) {
			f.i += 6
			return true
		}
	}
	f.replace(f.i-5, f.i+1, replacement)
	return true
}

func hex4(s string) (uint64, bool) {
	if len(s) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:4], 16, 16)
	return v, err == nil
}

func isLead(v uint64) bool  { return 0xD800 <= v && v < 0xDC00 }
func isTrail(v uint64) bool { return 0xDC00 <= v && v < 0xE000 }

// number keeps a number that numeric holds: up to 131,072 digits before the
// point and 16,383 after it. Its digits go by fours, so the limits here are a
// little less.
func (f *fitter) number() bool {
	start := f.i
	if f.peek() == '-' {
		f.i++
	}
	first := f.peek()
	whole := f.digits()
	if whole == 0 || whole > 1 && first == '0' {
		return false
	}
	fraction, exponent := 0, 0
	if f.peek() == '.' {
		f.i++
		if fraction = f.digits(); fraction == 0 {
			return false
		}
	}
	if f.peek()|0x20 == 'e' {
		f.i++
		sign := f.i
		if c := f.peek(); c == '-' || c == '+' {
			f.i++
		}
		if f.digits() == 0 {
			return false
		}
		var err error
		if exponent, err = strconv.Atoi(f.s[sign:f.i]); err != nil || exponent < -200_000 || exponent > 200_000 {
			exponent = 200_000 // too large either way
		}
	}
	if whole+exponent > 131_064 || fraction-exponent > 16_376 {
		f.replace(start, f.i, `"`+f.s[start:f.i]+`"`)
	}
	return true
}

func (f *fitter) digits() int {
	start := f.i
	for f.i < len(f.s) && '0' <= f.s[f.i] && f.s[f.i] <= '9' {
		f.i++
	}
	return f.i - start
}

// timeLayouts are tried in this order. A time without a zone is UTC; Go takes
// a fraction of a second after any of them.
var timeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 UTC",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02",
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
