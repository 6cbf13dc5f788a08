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
// text is no JSON or too much for jsonb.
func fitJSON(s string) (string, bool) {
	s = fitText(s)
	if !json.Valid([]byte(s)) {
		return "", false
	}
	var fitted strings.Builder
	done := 0 // how far s is in fitted
	replace := func(from, to int, with string) {
		fitted.WriteString(s[done:from])
		fitted.WriteString(with)
		done = to
	}

	depth, values := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return "", false
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			if values++; values > maxValues {
				return "", false
			}
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(s) && strings.IndexByte("0123456789.eE+-", s[end]) >= 0 {
				end++
			}
			if !fitsNumeric(s[i:end]) {
				replace(i, end, `"`+s[i:end]+`"`)
			}
			i = end - 1
		case c == '"':
			for i++; s[i] != '"'; i++ {
				if s[i] != '\\' {
					continue
				}
				i++ // to what is escaped
				if s[i] != 'u' {
					continue
				}
				first := hex4(s[i+1:])
				switch {
				case isLead(first) && strings.HasPrefix(s[i+5:], `\u`) && isTrail(hex4(s[i+7:])):
					i += 6
				case first == 0, isLead(first), isTrail(first):
					replace(i-1, i+5, replacement)
				}
				i += 4
			}
		}
	}
	if done == 0 {
		return s, true
	}
	replace(len(s), len(s), "")
	return fitted.String(), true
}

// hex4 reads the digits of a \u escape in valid JSON.
func hex4(s string) uint64 {
	v, _ := strconv.ParseUint(s[:4], 16, 16)
	return v
}

func isLead(v uint64) bool  { return 0xD800 <= v && v < 0xDC00 }
func isTrail(v uint64) bool { return 0xDC00 <= v && v < 0xE000 }

// fitsNumeric reports whether numeric holds a JSON number: up to 131,072
// digits before the point and 16,383 after it. Its digits go by fours, so the
// limits here are a little less.
func fitsNumeric(number string) bool {
	mantissa, exponent := number, 0
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		e, err := strconv.Atoi(number[i+1:])
		if err != nil || e < -200_000 || e > 200_000 {
			return false
		}
		mantissa, exponent = number[:i], e
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	return len(whole)+exponent <= 131_064 && len(fraction)-exponent <= 16_376
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
