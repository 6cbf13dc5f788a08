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

// quoted adds the id as a JSON string, with hexadecimal digits in lower case. Base64 in
// place of hexadecimal digits, which OTLP does not allow, is not changed.
func (d id) quoted(t *rowText) {
	if !d.json {
		t.literal(`"`)
		t.hex(d.b)
		t.literal(`"`)
		return
	}
	start := t.length()
	t.raw(d.b)
	if t.mode == write && d.hasCapitals() {
		t.text = entry.AppendLower(t.text, start)
	}
}

// hasCapitals reports whether d, a JSON string, has only hexadecimal digits, and some of
// them are capital letters.
func (d id) hasCapitals() (has bool) {
	for _, c := range d.b[1 : len(d.b)-1] {
		switch {
		case 'A' <= c && c <= 'F':
			has = true
		case c-'0' > 9 && c-'a' > 'f'-'a':
			return false
		}
	}
	return has
}

// A record is the parts of a log record that do not depend on the format.
type record struct {
	size           int    // encoded, in bytes
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
	isValid   bool      // Measure has found no error
	most      int       // in mode estimate: upper bound of the text of the largest row
	step      func(int) // Request.Step
}

// ErrNoRoom is returned by Estimate and TryAppendRows if an estimate is not possible or
// may be too small.
var ErrNoRoom = errors.New("the rows may not fit into the text")

// The text of a row has at most growth bytes for each byte of its record, for example
// for control characters, and fixedText bytes for names, the time and default values.
// Most rows need usualText bytes more than the record and a sixteenth.
const growth, fixedText, usualText = 6, 256, 64

// maxEstimated is the largest upper bound of a row for which rows are estimated, in
// bytes. An estimate has room for one row with that bound in addition.
const maxEstimated = 32 << 10

// estimateRow adds the estimated size of the row of r.
func (w *rows) estimateRow(r *record, scope, resource *shared) {
	w.result.Kept++
	w.size += r.size + r.size/16 + usualText + scope.size + resource.size
	w.most = max(w.most, maxRow(r, scope, resource))
}

// maxRow returns an upper bound of the text of the row of r.
func maxRow(r *record, scope, resource *shared) int {
	return growth*r.size + fixedText + scope.size + resource.size
}

// measureShared validates s and measures it.
func (w *rows) measureShared(s *shared) error {
	if w.isValid {
		return nil
	}
	mode, start := w.mode, w.size
	w.mode = measure
	err := s.members(&w.rowText, w.format)
	s.size = w.size - start
	w.mode, w.size = mode, start
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
	switch {
	case level < w.threshold && mode == write: // validated before
		return nil
	case level < w.threshold:
		w.mode = discard
	case mode == estimate:
		w.estimateRow(r, scope, resource)
		return nil
	case mode == write && !w.isValid && maxRow(r, scope, resource) > cap(w.text)-len(w.text):
		return ErrNoRoom
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
	default:
		w.result.Kept++
		if mode == write {
			w.add(row)
		}
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
