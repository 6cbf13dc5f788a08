package main

import (
	"bytes"
	"reflect"
	"unicode/utf8"

	"github.com/mailru/easyjson"
	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
)

//go:generate go run ./internal/gen

// A LogEntry decodes one entry after another with the decoder that easyjson
// generates for it. It aliases the bytes that it decoded last.
//
// The exported fields are the keys that a column may come from: first the keys
// of the level, then those of the message, then those of the time, each in
// order of precedence. They are interfaces because the generated code skips a
// null for a field of another type. LogEntry must see a null: if the best level
// key is null, the entry's level is unknown, even if it has another level key.
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

	members []member          // of the entry's top level, in order
	first   [columnFields]int // by field: 1 + the index in members of the key's first value, or 0
	scratch []byte            // a copy of an entry whose UTF-8 was repaired
	keys    int               // reserved for the text of keys with escapes, in bytes
	extra   []member          // members to add to the details, which no entry has sent
	lexer   jlexer.Lexer
}

// Indexes of the fields of LogEntry. TestLogEntryFields checks them.
const (
	levelFields   = 0  // up to messageFields
	messageFields = 7  // up to timeFields
	timeFields    = 14 // up to columnFields
	clefTimeField = 18
	columnFields  = 21
)

// A field is a *columnKey.
type field interface {
	easyjson.Marshaler
	easyjson.Unmarshaler
}

// A member is a key of an entry, unescaped, and its value as valid JSON.
type member struct {
	key   string
	value []byte
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
		k.entry.first[k.index] = len(k.entry.members)
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
	e.members = append(e.members, member{key, in.Raw()})
}

func newLogEntry() *LogEntry {
	e := new(LogEntry)
	v := reflect.ValueOf(e).Elem()
	for i := range columnFields {
		name := v.Type().Field(i).Tag.Get("json")
		v.Field(i).Set(reflect.ValueOf(&columnKey{e, i, name}))
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

// size returns the memory of the buffers, in bytes.
func (e *LogEntry) size() int64 { return sizeOf(e.members) + sizeOf(e.scratch) }

// forget drops the references to the entry decoded last.
func (e *LogEntry) forget() {
	clear(e.members[:cap(e.members)])
	e.lexer = jlexer.Lexer{}
	e.keys = 0
}

// appendRow decodes data, a valid JSON object in valid UTF-8, and appends its row
// to b. arrival is the text of the time column if the entry's time is missing or
// unreadable. Neither e.members nor b grows if the caller has made room.
func (e *LogEntry) appendRow(b *batch, data, arrival []byte) error {
	e.members = e.members[:0]
	e.first = [columnFields]int{}
	e.lexer = jlexer.Lexer{Data: data}
	e.UnmarshalEasyJSON(&e.lexer)
	if err := e.lexer.Error(); err != nil {
		return err
	}

	var r row
	level := e.firstOf(levelFields, messageFields)
	b.text, level = e.appendLevel(b.text, level)
	r.level = uint32(len(b.text))

	message := e.firstOf(messageFields, timeFields)
	if message >= 0 {
		if v := e.members[message].value; v[0] == '"' {
			b.text = entry.AppendUnquoted(b.text, v)
		} else {
			b.text = append(b.text, v...)
		}
	}
	r.message = uint32(len(b.text))

	when := e.firstOf(timeFields, columnFields)
	if when >= 0 {
		if t, ok := entry.ParseTime(e.members[when].value); ok {
			b.text = entry.AppendTime(b.text, t)
		} else {
			when = -1
		}
	}
	if when < 0 {
		b.text = append(b.text, arrival...)
	}
	r.timestamp = uint32(len(b.text))

	b.text = e.appendDetails(b.text, level, message, when)
	r.details = uint32(len(b.text))
	b.rows = append(b.rows, r)
	return nil
}

// firstOf returns the index in e.members of the first present key among the
// fields [from, to), or -1.
func (e *LogEntry) firstOf(from, to int) int {
	for _, i := range e.first[from:to] {
		if i > 0 {
			return i - 1
		}
	}
	return -1
}

// appendLevel appends the text of the level column. i is the index of the member
// with the level, or -1 if there is none. It returns i, or -1 if that member's
// value is not a level, so that it stays in the details.
func (e *LogEntry) appendLevel(dst []byte, i int) ([]byte, int) {
	if i < 0 {
		if e.first[clefTimeField] > 0 {
			return append(dst, "info"...), -1 // CLEF omits the level info
		}
		return append(dst, "unknown"...), -1
	}
	v := e.members[i].value
	if v[0] == '"' {
		start := len(dst)
		return entry.AppendLower(entry.AppendUnquoted(dst, v), start), i
	}
	l := entry.LevelOf(v)
	if l == entry.LevelUnknown {
		i = -1
	}
	return append(dst, l.String()...), i
}

// appendDetails appends an object of all members except those with the given
// indexes, and of e.extra. It appends nothing if there are no others.
func (e *LogEntry) appendDetails(dst []byte, level, message, when int) []byte {
	start := len(dst)
	for i := range e.members {
		if i != level && i != message && i != when {
			dst = e.members[i].append(dst, start)
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

// append appends m to the object that begins at dst[start].
func (m *member) append(dst []byte, start int) []byte {
	if len(dst) == start {
		dst = append(dst, '{')
	} else {
		dst = append(dst, ',')
	}
	dst = entry.AppendQuoted(dst, m.key)
	dst = append(dst, ':')
	return append(dst, m.value...)
}
