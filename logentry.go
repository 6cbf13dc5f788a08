package main

import (
	"bytes"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/mailru/easyjson"
	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
	"log-ingester/internal/jsoncursor"
)

//go:generate go run ./internal/gen

// A LogEntry decodes one entry after another with the decoder that easyjson
// generates for it. It aliases the bytes that it decoded last.
//
// The exported fields are the keys of columnKeys that most entries have. They are
// interfaces because the generated code skips a null for a field of another type.
// LogEntry must see a null: if the best level key is null, the entry's level is unknown,
// even if it has another level key.
//
//easyjson:json
type LogEntry struct {
	Level       field `json:"level"`
	Severity    field `json:"severity"`
	Lvl         field `json:"lvl"`
	ECSLevel    field `json:"log.level"`
	PythonLevel field `json:"levelname"`
	CLEFLevel   field `json:"@l"`
	NetLevel    field `json:"Level"`

	Message      field `json:"message"`
	Msg          field `json:"msg"`
	CLEFMessage  field `json:"@m"`
	CLEFTemplate field `json:"@mt"`
	NetMessage   field `json:"RenderedMessage"`
	Event        field `json:"event"`
	Log          field `json:"log"`

	Timestamp    field `json:"timestamp"`
	Time         field `json:"time"`
	TS           field `json:"ts"`
	ECSTimestamp field `json:"@timestamp"`
	CLEFTime     field `json:"@t"`
	NetTimestamp field `json:"Timestamp"`
	Date         field `json:"date"`

	members memberList          // of the entry's top level
	first   [columnFields]int32 // by index in columnKeys: 1 + the index in members of the key's first value, or 0
	hasLate bool                // first has the keys that are not fields
	scratch []byte              // a copy of an entry whose UTF-8 was repaired
	keys    int                 // reserved for the text of keys with escapes, in bytes
	extra   []member            // members to add to the details, which no entry has sent

	// The threshold for levels that the scanner does not find, and the number of
	// entries below it.
	threshold entry.Level
	filtered  int

	lexer jlexer.Lexer
}

// columnKeys are the keys that a column may come from: first the keys of the level, then
// those of the message, then those of the time, each in order of precedence. Of each
// column, the first keys are fields of LogEntry. Of those of the level, the scanner knows
// these only.
var columnKeys = [columnFields]string{
	"level", "severity", "lvl", "log.level", "levelname", "@l", "Level",
	"LogLevel", "loglevel", "level_name", "error_severity", "SeverityNumber", "severity_number", "severityNumber",
	"Severity", "SeverityText", "severity_text", "severityText", "PRIORITY",

	"message", "msg", "@m", "@mt", "RenderedMessage", "event", "log",
	"short_message", "MESSAGE", "Message", "Body", "body",

	"timestamp", "time", "ts", "@timestamp", "@t", "Timestamp", "date",
	"instant", "asctime", "time_iso8601", "time_local", "__REALTIME_TIMESTAMP", "ibm_datetime", "datetime",
	"ObservedTimestamp", "observed_timestamp",
}

// Indexes in columnKeys. TestLogEntryFields checks them.
const (
	levelFields          = 0 // up to lateLevelFields
	lateLevelFields      = 7 // up to messageFields
	levelNameField       = 9
	severityNumberFields = 11 // up to severityField
	severityField        = 14 // a number only next to one of the following
	severityTextFields   = 15 // up to priorityField
	priorityField        = 18
	messageFields        = 19 // up to lateMessageFields
	lateMessageFields    = 26 // up to timeFields
	journaldMessageField = 27
	bodyFields           = 29 // up to timeFields
	timeFields           = 31 // up to lateTimeFields
	clefTimeField        = 35
	lateTimeFields       = 38 // up to observedTimeFields
	observedTimeFields   = 45 // up to columnFields
	columnFields         = 47
)

// lateFields has the indexes of the columnKeys that are not fields of LogEntry.
var lateFields = indexLateFields()

func indexLateFields() map[string]int {
	fields := make(map[string]int)
	for i, key := range columnKeys {
		if lateLevelFields <= i && i < messageFields || lateMessageFields <= i && i < timeFields || lateTimeFields <= i {
			fields[key] = i
		}
	}
	return fields
}

// A field is a *columnKey.
type field interface {
	easyjson.Marshaler
	easyjson.Unmarshaler
}

// A columnKey decodes and encodes one field of entry.
type columnKey struct {
	entry *LogEntry
	index int
	name  string
}

// UnmarshalEasyJSON adds a member to the entry, and records the index of the
// key's first member.
func (k *columnKey) UnmarshalEasyJSON(in *jlexer.Lexer) {
	k.entry.UnmarshalUnknown(in, k.name)
	if k.entry.first[k.index] == 0 {
		k.entry.first[k.index] = int32(len(k.entry.members))
	}
}

// MarshalEasyJSON writes the key's first value, or null. Only the generated
// encoder calls it.
func (k *columnKey) MarshalEasyJSON(out *jwriter.Writer) {
	if i := k.entry.first[k.index]; i > 0 {
		out.Raw(k.entry.members[i-1].value, nil)
	} else {
		out.RawString("null")
	}
}

// UnmarshalUnknown adds a member to the entry. The generated decoder calls it
// for keys that no field of LogEntry has.
func (e *LogEntry) UnmarshalUnknown(in *jlexer.Lexer, key string) {
	e.members = append(e.members, member{key, rawValue(in)})
}

// rawValue reads the next value of in, whose data is valid JSON. in.Raw would validate an
// array or an object again, so rawValue skips it and restarts in after it.
func rawValue(in *jlexer.Lexer) []byte {
	rest := jsoncursor.Cursor{Rest: in.Data[in.GetPos():]}
	if c := rest.Peek(); c != '{' && c != '[' {
		return in.Raw()
	}
	value := rest.Skip()
	*in = jlexer.Lexer{Data: rest.Rest}
	return value
}

func newLogEntry() *LogEntry {
	e := new(LogEntry)
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		if name, ok := v.Type().Field(i).Tag.Lookup("json"); ok {
			v.Field(i).Set(reflect.ValueOf(&columnKey{e, slices.Index(columnKeys[:], name), name}))
		}
	}
	return e
}

// maxRowExtra is how many bytes longer the text of a row can be than its entry
// in valid UTF-8, besides the growth of the level in lower case: the length of a
// default level and time. The row has each member at most once, and no member is
// longer there: the parts of an escape that AppendQuoted writes were escaped in
// the entry too.
const maxRowExtra = len("unknown") + len("2006-01-02T15:04:05.000000000Z")

// repairGrowth returns how many bytes longer data becomes when its UTF-8 is
// repaired: each invalid byte is replaced by U+FFFD.
func repairGrowth(data []byte) (n int) {
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			n += len("\ufffd") - 1
		}
		data = data[size:]
	}
	return n
}

// repair returns data with its UTF-8 repaired, and reserves the memory for a
// copy. The result is valid until the next call.
func (e *LogEntry) repair(r *reservation, data []byte) ([]byte, *httpapi.Error) {
	if utf8.Valid(data) {
		return data, nil
	}
	copied, herr := emptied(r, e.scratch, len(data)+repairGrowth(data))
	if herr != nil {
		return nil, herr
	}
	e.scratch = entry.AppendRepaired(copied, data)
	return e.scratch, nil
}

// The shortest member is "":1 and a comma. Entries below smallEntry have few
// keys with escapes, so their text is not reserved.
const minMember, smallEntry = 5, 4 << 10

// A list of members has room for fewMembers at least, so that it rarely grows.
// From manyMembers on, members are counted exactly.
const fewMembers, manyMembers = 64, 1000

// makeRoom prepares the decoding of data: it reserves the memory for its members
// and for the keys that the lexer unescapes, and allocates the former.
func (e *LogEntry) makeRoom(r *reservation, data []byte) *httpapi.Error {
	members, keys := len(data)/minMember+1, 0
	if members > cap(e.members) {
		members = max(bytes.Count(data, []byte(","))+1, fewMembers) // with those of nested values
	}
	if members > max(cap(e.members), manyMembers) || len(data) > smallEntry && bytes.IndexByte(data, '\\') >= 0 {
		members, keys = countMembers(data)
	}
	if keys > e.keys {
		if herr := r.grow(int64(keys - e.keys)); herr != nil {
			return herr
		}
		e.keys = keys
	}
	var herr *httpapi.Error
	e.members, herr = emptied(r, e.members, members)
	return herr
}

// countMembers returns the number of members of data, a valid JSON object, and
// the memory of those keys that have escapes, in bytes.
func countMembers(data []byte) (members, keys int) {
	const allocation = 16 // how much larger than its text the memory of a short key may be
	depth, isKey := 0, false
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
			isKey = depth == 1
		case '}', ']':
			depth--
		case ',':
			isKey = depth == 1
		case '"':
			end, escaped := stringEnd(data, i+1)
			if isKey {
				members++
				isKey = false
				if escaped {
					keys += (end-i)*9/8 + allocation // large allocations are rounded up by an eighth
				}
			}
			i = end
		}
	}
	return members, keys
}

// stringEnd returns the offset of the quote that ends a valid JSON string, and
// whether the string has escapes. i is the offset after the opening quote.
func stringEnd(data []byte, i int) (end int, escaped bool) {
	for ; data[i] != '"'; i++ {
		if data[i] == '\\' {
			escaped = true
			i++
		}
	}
	return i, escaped
}

// start prepares the decoding of a request's entries.
func (e *LogEntry) start(threshold entry.Level) { e.keys, e.threshold, e.filtered = 0, threshold, 0 }

// size returns the memory of the buffers, in bytes.
func (e *LogEntry) size() int64 { return sizeOf(e.members) + sizeOf(e.scratch) }

// forget drops the references to the entry decoded last.
func (e *LogEntry) forget() {
	clear(e.members[:cap(e.members)])
	e.lexer = jlexer.Lexer{}
	e.keys = 0
}

// appendRow decodes data, a valid JSON object in valid UTF-8, and appends its row
// to b, unless its level is one that the scanner does not find and is below the
// threshold. arrival is the text of the time column if the entry's time is missing
// or unreadable. Neither e.members nor b grows if the caller has made room. An
// error means that the body is not in a format that /ingest accepts.
func (e *LogEntry) appendRow(b *batch, data, arrival []byte) error {
	e.members = e.members[:0]
	e.first, e.hasLate = [columnFields]int32{}, false
	e.lexer = jlexer.Lexer{Data: data}
	e.UnmarshalEasyJSON(&e.lexer)
	if err := e.lexer.Error(); err != nil {
		return err
	}

	var r row
	start := len(b.text)
	text, level, rank := e.appendLevel(b.text)
	b.text = text
	if rank < e.threshold {
		b.text = b.text[:start]
		e.filtered++
		return nil
	}
	if rank == entry.LevelUnknown && level < 0 {
		if err := e.members.checkFormat(); err != nil {
			b.text = b.text[:start]
			return err
		}
	}
	r.level = uint32(len(b.text))

	message := -1
	var nested nestedMember
	if field := e.firstField(messageFields, lateMessageFields, timeFields); field >= 0 {
		message = int(e.first[field]) - 1
		b.text = appendMessage(b.text, field, e.members[message].value)
	} else if nested = e.members.nestedMessage(); nested.value != nil {
		b.text = appendText(b.text, nested.value)
	}
	r.message = uint32(len(b.text))

	var when int
	b.text, when = e.appendTime(b.text, arrival)
	r.timestamp = uint32(len(b.text))

	b.text = e.appendDetails(b.text, level, message, when, nested)
	r.details = uint32(len(b.text))
	b.rows = append(b.rows, r)
	return nil
}

// appendMessage appends the text of the message column for the value v of a field.
func appendMessage(dst []byte, field int, v []byte) []byte {
	switch {
	case v[0] == '[' && field == journaldMessageField:
		if text, ok := appendBytes(dst, v); ok {
			return text
		}
	case v[0] == '{' && field >= bodyFields:
		value := typedValue(v)
		if string(value) == "null" {
			return dst
		}
		if value != nil {
			v = value
		}
	}
	return appendText(dst, v)
}

// appendText appends the text of a string, or the JSON text of another value.
func appendText(dst, v []byte) []byte {
	if v[0] == '"' {
		return entry.AppendUnquoted(dst, v)
	}
	return append(dst, v...)
}

// appendTime appends the text of the time column. It returns the index of the
// member with the time, or -1 if there is none that can be read.
func (e *LogEntry) appendTime(dst, arrival []byte) (text []byte, member int) {
	var t time.Time
	var ok bool
	member = -1
	if field := e.firstField(timeFields, lateTimeFields, observedTimeFields); field >= 0 {
		member = int(e.first[field]) - 1
		t, ok = parseTime(e.members[member].value)
	} else {
		t, ok = e.members.nestedTime()
	}
	if !ok || t.IsZero() {
		e.findLate()
		if field := e.firstIn(observedTimeFields, columnFields); field >= 0 {
			member = int(e.first[field]) - 1
			t, ok = parseTime(e.members[member].value)
		}
	}
	if !ok {
		return append(dst, arrival...), -1
	}
	return entry.AppendTime(dst, t), member
}

// findLate records the first members with the lateFields. Most entries do not need it.
func (e *LogEntry) findLate() {
	if e.hasLate {
		return
	}
	e.hasLate = true
	for i := range e.members {
		if field, ok := lateFields[e.members[i].key]; ok && e.first[field] == 0 {
			e.first[field] = int32(i + 1)
		}
	}
}

// firstField returns the index of the first of the columnKeys [from, to) that is present,
// or -1. Those from late on are lateFields.
func (e *LogEntry) firstField(from, late, to int) int {
	if field := e.firstIn(from, late); field >= 0 {
		return field
	}
	e.findLate()
	return e.firstIn(late, to)
}

// firstIn is firstField for recorded keys.
func (e *LogEntry) firstIn(from, to int) int {
	for field := from; field < to; field++ {
		if e.first[field] > 0 {
			return field
		}
	}
	return -1
}

// appendLevel appends the text of the level column. It returns the index of the
// member with the level, or -1 if there is none or its value is not a level, so
// that it stays in the details. If the scanner does not find the level, rank is the
// level's rank; else it is LevelUnknown, because the scanner has filtered the entry.
func (e *LogEntry) appendLevel(dst []byte) (text []byte, member int, rank entry.Level) {
	field := e.firstIn(levelFields, lateLevelFields)
	if field < 0 {
		if e.first[clefTimeField] > 0 {
			return append(dst, "info"...), -1, entry.LevelUnknown // CLEF omits the level info
		}
		return e.appendLateLevel(dst)
	}
	i := int(e.first[field]) - 1
	v := e.members[i].value
	if v[0] == '"' {
		start := len(dst)
		return entry.AppendLower(entry.AppendUnquoted(dst, v), start), i, entry.LevelUnknown
	}
	l := entry.LevelOf(v)
	if l != entry.LevelUnknown {
		return append(dst, l.String()...), i, entry.LevelUnknown
	}
	if l = e.members.levelOfGELF(v); l == entry.LevelUnknown {
		e.findLate()
		if '0' <= v[0] && v[0] <= '9' && e.first[levelNameField] > 0 { // Monolog has numbers of its own
			return e.appendLateLevel(dst)
		}
		i = -1
	}
	return append(dst, l.String()...), i, l
}

// appendLateLevel appends the text of the level column of an entry without any of
// the scanner's keys. It returns the index of the member whose value is the level,
// or -1 if there is none, and the rank of the level.
func (e *LogEntry) appendLateLevel(dst []byte) (text []byte, member int, l entry.Level) {
	e.findLate()
	for field := lateLevelFields; field < messageFields; field++ {
		l = entry.LevelUnknown
		i := int(e.first[field]) - 1
		if i < 0 {
			continue
		}
		v := e.members[i].value
		switch {
		case severityNumberFields <= field && field < severityField:
			l = levelOfNumber(v, entry.LevelBySeverity)
		case field == priorityField:
			l = levelOfNumber(v, entry.LevelBySyslog)
		case v[0] == '"' && len(v) > len(`""`):
			start := len(dst)
			return entry.AppendLower(entry.AppendUnquoted(dst, v), start), i, entry.LevelOf(v)
		case field != severityField:
			l = entry.LevelOf(v)
		case e.firstIn(severityTextFields, priorityField) >= 0:
			l = levelOfNumber(v, entry.LevelBySeverity)
		}
		if l != entry.LevelUnknown {
			return append(dst, l.String()...), i, l
		}
	}
	l = e.members.nestedLevel()
	return append(dst, l.String()...), -1, l
}

// appendDetails appends an object of all members except those with the given
// indexes and the nested member, and of e.extra. It appends nothing if there are no
// others.
func (e *LogEntry) appendDetails(dst []byte, level, message, when int, nested nestedMember) []byte {
	start := len(dst)
	for i := range e.members {
		if i != level && i != message && i != when {
			dst = e.members.appendDetail(dst, start, i, nested)
		}
	}
	for i := range e.extra {
		dst = e.extra[i].append(dst, start)
	}
	if len(dst) > start {
		dst = append(dst, '}')
	}
	return dst
}
