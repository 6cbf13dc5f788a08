package main

import (
	"database/sql"
	"strings"
	"time"
)

// sanitize converts a row to one that PostgreSQL can store, and reports whether
// that changed its values:
//
//   - NUL, invalid UTF-8 and escaped lone surrogates become U+FFFD;
//   - a number outside the range of numeric becomes a string of its digits;
//   - details that are not JSON, or that are nested too deep or have too many
//     values for jsonb, are stored as text in details._forward.details;
//   - a time that cannot be parsed becomes the time of the previous row, or the
//     current time for the first row. Its text is stored in
//     details._forward.timestamp.
//
// Times are truncated to the microseconds of timestamptz, never rounded up, so
// that no row moves past a later one. Truncation does not count as a change, nor
// does what jsonb does to all JSON: it keeps the last of equal keys and drops
// white space and order.
func sanitize(raw rawRow, previous time.Time) (r row, changed bool) {
	var rest leftovers
	r = row{
		id:      raw.id,
		level:   sanitizeText(raw.level.String),
		message: sanitizeText(raw.message.String),
		details: raw.details,
	}
	if raw.details.Valid {
		details, ok := sanitizeJSON(raw.details.String)
		r.details = sql.NullString{String: details, Valid: ok}
		if !ok {
			rest.details = quoteJSON(raw.details.String)
		}
	}
	if t, ok := parseTime(raw.timestamp.String); ok {
		r.time = t
	} else {
		rest.timestamp = quoteJSON(raw.timestamp.String)
		if r.time = previous; r.time.IsZero() {
			r.time = time.Now()
		}
	}
	r.details = rest.addTo(r.details)
	changed = r.level != raw.level.String || r.message != raw.message.String || r.details != raw.details
	return r, changed
}

// dropStructure replaces details that PostgreSQL refused by their text. It
// reports whether there was anything to replace.
func (r *row) dropStructure() bool {
	if r.detailsAsText || !r.details.Valid {
		return false
	}
	r.detailsAsText = true
	r.details = leftovers{details: quoteJSON(r.details.String)}.addTo(sql.NullString{})
	return true
}

// leftovers are the values, as JSON, that cannot be stored in their columns.
type leftovers struct{ timestamp, details string }

// addTo adds the leftovers to details as the member _forward. Details that are
// JSON but not an object become a leftover themselves.
func (l leftovers) addTo(details sql.NullString) sql.NullString {
	if l == (leftovers{}) {
		return details
	}
	object := strings.TrimSpace(details.String)
	if details.Valid && object[0] != '{' {
		l.details, details.Valid = object, false
	}
	var fields []string
	if l.timestamp != "" {
		fields = append(fields, `"timestamp":`+l.timestamp)
	}
	if l.details != "" {
		fields = append(fields, `"details":`+l.details)
	}
	members := `"_forward":{` + strings.Join(fields, ",") + `}}`
	if details.Valid {
		if existing := strings.TrimSpace(object[1 : len(object)-1]); existing != "" {
			members = existing + "," + members
		}
	}
	return sql.NullString{String: "{" + members, Valid: true}
}
