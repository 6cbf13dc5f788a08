package otlp

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"log-ingester/internal/entry"
)

// A Result describes the records of a request.
type Result struct {
	Kept     int    // records at or above the level
	Filtered int    // records below the level
	Rejected int    // records that cannot be stored
	Reason   string // why the first of them was rejected
	TextSize int    // upper bound of the text of the rows of the kept records, in bytes
}

// A Row holds the offsets in the text at which the columns of a record end.
type Row struct{ Level, Message, Timestamp, Details int }

// A format reads the parts of a request in one of the two encodings. src is the
// encoded part. The methods add what they read to t. members are the members of a
// JSON object, with a comma before each.
type format interface {
	resourceMembers(t *rowText, src []byte) error
	scopeMembers(t *rowText, src []byte) error
	attributeMembers(t *rowText, src []byte) error
	message(t *rowText, src []byte) error // a JSON text, or the text of a string
}

// A str is the text of a string, or a JSON string with its quotes.
type str struct {
	b    []byte
	json bool
}

func (s str) isEmpty() bool { return len(s.b) == 0 || s.json && len(s.b) == len(`""`) }

// level returns the level with the name s.
func (s str) level() entry.Level {
	if s.json {
		return entry.LevelOf(s.b)
	}
	return entry.LevelByName(s.b)
}

// equal reports whether s equals text, which needs no escapes in JSON. Case is
// ignored.
func (s str) equal(text string) bool {
	b := s.b
	if s.json {
		b = b[1 : len(b)-1]
	}
	return len(b) == len(text) && strings.EqualFold(string(b), text)
}

// plain adds the text of s.
func (s str) plain(t *rowText) {
	if s.json {
		t.unquoted(s.b)
	} else {
		t.plain(s.b)
	}
}

// quoted adds s as a JSON string.
func (s str) quoted(t *rowText) {
	if s.json {
		t.raw(s.b)
	} else {
		t.quoted(s.b)
	}
}

// An id is the bytes of a trace or span id, or a JSON string of hexadecimal
// digits.
type id str

// isEmpty reports whether there is no id. An id of zeros is invalid and counts as
// none.
func (d id) isEmpty() bool {
	zero := "\x00"
	if d.json {
		zero = `0"`
	}
	return len(bytes.Trim(d.b, zero)) == 0
}

// quoted adds the id as a JSON string in lower case.
func (d id) quoted(t *rowText) {
	if !d.json {
		t.literal(`"`)
		t.hex(d.b)
		t.literal(`"`)
		return
	}
	start := t.length()
	t.raw(d.b)
	if t.mode == write {
		for i, c := range t.text[start:] {
			if 'A' <= c && c <= 'F' {
				t.text[start+i] += 'a' - 'A'
			}
		}
	}
}

// A record is the parts of a log record that do not depend on the format.
type record struct {
	time, observed uint64 // Unix time in nanoseconds, or 0
	number         int64  // the severity number
	severity       str    // the severity text
	event          str
	trace, span    id
	flags          uint64
	dropped        uint64 // the number of attributes that the client dropped
	body           []byte // encoded
	attributes     []byte // encoded
}

func (r *record) level() entry.Level {
	if l := entry.LevelBySeverity(r.number); l != entry.LevelUnknown || r.severity.isEmpty() {
		return l
	}
	return r.severity.level()
}

// A shared is the members that all records of a resource or a scope have. It is
// written once, and then copied.
type shared struct {
	src        []byte
	isScope    bool
	size       int // in bytes, once measured
	start, end int // of the first copy in the text; 0 if there is none
}

func (s *shared) members(t *rowText, f format) error {
	if s.isScope {
		return f.scopeMembers(t, s.src)
	}
	return f.resourceMembers(t, s.src)
}

// A rows turns records into rows, or measures the rows.
type rows struct {
	rowText
	format    format
	threshold entry.Level
	result    Result
	arrival   []byte    // the text of the time of records without one
	add       func(Row) // called for each row in mode write
	step      func(int) // Request.Step
}

// measureShared validates s and, unless rows are written, measures it.
func (w *rows) measureShared(s *shared) error {
	if w.mode == write {
		return nil
	}
	start := w.size
	err := s.members(&w.rowText, w.format)
	s.size = w.size - start
	w.size = start
	return err
}

// addShared adds s to a row.
func (w *rows) addShared(s *shared) {
	switch {
	case w.mode == measure:
		w.size += s.size
	case w.mode == write && s.end == 0:
		s.start = len(w.text)
		s.members(&w.rowText, w.format) // measureShared has found no error
		s.end = len(w.text)
	case w.mode == write && s.end > s.start:
		start := len(w.text)
		w.text = append(w.text, w.text[s.start:s.end]...)
		w.text[start] = ',' // it is a brace if the first copy begins the details
	}
}

// record adds a record, or rejects it. The returned error rejects the whole request.
func (w *rows) record(r *record, scope, resource *shared) error {
	mode, level := w.mode, r.level()
	if level < w.threshold {
		if mode == write {
			return nil
		}
		w.mode = discard
	}
	start := w.length()
	row, err := w.row(r, level, scope, resource)
	w.mode = mode
	switch {
	case errors.Is(err, errMalformed):
		return err
	case err != nil:
		w.truncate(start)
		w.reject(err)
	case level < w.threshold:
		w.result.Filtered++
	case mode == write:
		w.add(row)
	default:
		w.result.Kept++
	}
	return nil
}

// reject counts a record that cannot be stored.
func (w *rows) reject(err error) {
	if w.result.Rejected == 0 {
		w.result.Reason = err.Error()
	}
	w.result.Rejected++
}

// row adds the columns of a record.
func (w *rows) row(r *record, level entry.Level, scope, resource *shared) (row Row, err error) {
	w.level(r, level)
	row.Level = w.length()
	if err := w.format.message(&w.rowText, r.body); err != nil {
		return row, err
	}
	row.Message = w.length()
	w.timestamp(r)
	row.Timestamp = w.length()
	w.recordMembers(r, level)
	if err := w.format.attributeMembers(&w.rowText, r.attributes); err != nil {
		return row, err
	}
	w.addShared(scope)
	w.addShared(resource)
	if w.length() > row.Timestamp {
		w.close(row.Timestamp, "{}")
	}
	row.Details = w.length()
	return row, nil
}

// level adds the level: the name of the severity number or, if there is none, the
// severity text.
func (w *rows) level(r *record, level entry.Level) {
	if entry.LevelBySeverity(r.number) != entry.LevelUnknown || r.severity.isEmpty() {
		w.literal(level.String())
		return
	}
	start := w.length()
	r.severity.plain(&w.rowText)
	switch w.mode {
	case measure:
		w.size += entry.LowerGrowth(r.severity.b)
	case write:
		w.text = entry.AppendLower(w.text, start)
	}
}

// timestamp adds the time of the event or, if it is missing, the time at which it
// was observed or received.
func (w *rows) timestamp(r *record) {
	ns := r.time
	if ns == 0 {
		ns = r.observed
	}
	switch {
	case w.mode == measure:
		w.size += len("2006-01-02T15:04:05.000000000Z")
	case w.mode == discard:
	case ns == 0:
		w.text = append(w.text, w.arrival...)
	default:
		const perSecond = uint64(time.Second)
		w.text = entry.AppendTime(w.text, time.Unix(int64(ns/perSecond), int64(ns%perSecond)).UTC())
	}
}

// recordMembers adds the fields of a record that are neither columns nor
// attributes. It uses the names that OpenTelemetry defines for other log formats.
// https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
func (w *rows) recordMembers(r *record, level entry.Level) {
	if !r.trace.isEmpty() {
		w.literal(`,"trace_id":`)
		r.trace.quoted(&w.rowText)
	}
	if !r.span.isEmpty() {
		w.literal(`,"span_id":`)
		r.span.quoted(&w.rowText)
	}
	if flags := byte(r.flags); flags != 0 { // the other bits are reserved
		w.literal(`,"trace_flags":"`)
		w.hex([]byte{flags})
		w.literal(`"`)
	}
	if !r.event.isEmpty() {
		w.literal(`,"event_name":`)
		r.event.quoted(&w.rowText)
	}
	w.severityMembers(r, level)
	if r.dropped > 0 {
		w.literal(`,"otel.dropped_attributes_count":`)
		w.integer(int64(r.dropped))
	}
}

// severityMembers adds the parts of the severity that the level does not show.
func (w *rows) severityMembers(r *record, level entry.Level) {
	if entry.LevelBySeverity(r.number) == entry.LevelUnknown {
		if r.number != 0 {
			w.literal(`,"severity_number":`)
			w.integer(r.number)
		}
		return
	}
	if !r.severity.isEmpty() && !r.severity.equal(level.String()) {
		w.literal(`,"severity_text":`)
		r.severity.quoted(&w.rowText)
	}
}

// scopeNameMembers adds the name and the version of a scope, under the names of
// https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/
func scopeNameMembers(t *rowText, name, version str) {
	if !name.isEmpty() {
		t.literal(`,"otel.scope.name":`)
		name.quoted(t)
	}
	if !version.isEmpty() {
		t.literal(`,"otel.scope.version":`)
		version.quoted(t)
	}
}
