package main

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/mailru/easyjson"
	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"
)

//go:generate go run generate.go

// A LogEntry takes entries apart, one after the other, with the decoder that
// easyjson generates for it. It refers to the bytes it was given last.
//
// Its fields are the keys that a column may come from, first the level's, then
// the message's, then the time's, each in its order of precedence. They are
// interfaces since the generated code calls those for null as well, which must
// be seen: a null level is the entry's level, and cannot be read.
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

	members []member          // the entry's top level, in its order
	first   [columnFields]int // index in members, plus one, of each key's first value; 0 where it has none
	scratch []byte            // holds an entry whose UTF-8 had to be repaired
	lexer   jlexer.Lexer
}

// How the fields of LogEntry are numbered.
const (
	levelFields   = 0
	messageFields = 7
	timeFields    = 14
	clefTimeField = 18
	columnFields  = 21
)

type field interface {
	easyjson.Marshaler
	easyjson.Unmarshaler
}

// A member is a key of an entry, unescaped, and its value as valid JSON.
type member struct {
	key   string
	value []byte
}

// A columnKey is a field of its LogEntry.
type columnKey struct {
	entry *LogEntry
	index int
	name  string
}

func (k *columnKey) UnmarshalEasyJSON(in *jlexer.Lexer) {
	k.entry.UnmarshalUnknown(in, k.name)
	if k.entry.first[k.index] == 0 {
		k.entry.first[k.index] = len(k.entry.members)
	}
}

// MarshalEasyJSON writes the key's value, for the generated encoder.
func (k *columnKey) MarshalEasyJSON(out *jwriter.Writer) {
	if i := k.entry.first[k.index]; i > 0 {
		out.Raw(k.entry.members[i-1].value, nil)
	} else {
		out.RawString("null")
	}
}

// UnmarshalUnknown takes in a member that is no column's.
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

// appendRow decodes data, a valid JSON object, and appends its row to b.
// arrival stands in, as its text, for a time that is missing or cannot be read.
func (e *LogEntry) appendRow(b *batch, data, arrival []byte) error {
	if !utf8.Valid(data) {
		e.scratch = appendRepaired(e.scratch[:0], data)
		data = e.scratch
	}
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
			b.text = appendUnquoted(b.text, v)
		} else {
			b.text = append(b.text, v...)
		}
	}
	r.message = uint32(len(b.text))

	when := e.firstOf(timeFields, columnFields)
	if when >= 0 {
		if t, ok := parseTime(e.members[when].value); ok {
			b.text = appendTime(b.text, t)
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

// firstOf returns the index in e.members of the value of the first of the keys
// from up to, not including, to that the entry has, or -1.
func (e *LogEntry) firstOf(from, to int) int {
	for _, i := range e.first[from:to] {
		if i > 0 {
			return i - 1
		}
	}
	return -1
}

// appendLevel appends the level that member i tells, and returns i, or -1
// where the member does not tell one and so belongs to the details.
func (e *LogEntry) appendLevel(dst []byte, i int) ([]byte, int) {
	if i < 0 {
		if e.first[clefTimeField] > 0 {
			return append(dst, "info"...), -1 // CLEF leaves it out there
		}
		return append(dst, "unknown"...), -1
	}
	v := e.members[i].value
	if v[0] == '"' {
		start := len(dst)
		return appendLower(appendUnquoted(dst, v), start), i
	}
	l := levelOf(v)
	if l == levelUnknown {
		i = -1
	}
	return append(dst, l.String()...), i
}

// appendLower puts dst[start:] in lower case.
func appendLower(dst []byte, start int) []byte {
	for i, c := range dst[start:] {
		if c >= utf8.RuneSelf {
			return append(dst[:start], strings.ToLower(string(dst[start:]))...)
		}
		if 'A' <= c && c <= 'Z' {
			dst[start+i] = c + 'a' - 'A'
		}
	}
	return dst
}

// appendDetails appends the object of all members but the given ones, or
// nothing where there are no others.
func (e *LogEntry) appendDetails(dst []byte, level, message, when int) []byte {
	start := len(dst)
	for i := range e.members {
		if i == level || i == message || i == when {
			continue
		}
		if len(dst) == start {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, e.members[i].key)
		dst = append(dst, ':')
		dst = append(dst, e.members[i].value...)
	}
	if len(dst) > start {
		dst = append(dst, '}')
	}
	return dst
}

// A level is the rank of a log level; a higher one is graver.
type level uint8

// levelUnknown stands for a level that is missing or that nobody knows. It
// ranks above all others, since what cannot be classified is never dropped.
const (
	levelTrace level = iota + 1
	levelDebug
	levelInfo
	levelWarn
	levelError
	levelFatal
	levelUnknown
)

// String returns the level's name as the -level flag takes it.
func (l level) String() string {
	switch l {
	case levelTrace:
		return "trace"
	case levelDebug:
		return "debug"
	case levelInfo:
		return "info"
	case levelWarn:
		return "warn"
	case levelError:
		return "error"
	case levelFatal:
		return "fatal"
	}
	return "unknown"
}

// maxLevelName is the length of the longest name that levelByName knows.
const maxLevelName = len("informational")

// levelByName ranks a level's name, compared without case: the names of the
// common loggers, syslog's, and slog's with an offset, such as ERROR+4. A name
// that two loggers rank differently (verbose) has the higher rank, so that
// neither loses what it asked to keep.
func levelByName(name []byte) level {
	if i := bytes.IndexAny(name, "+-"); i > 0 && isDigits(name[i+1:]) {
		if l := levelByName(name[:i]); l != levelDebug || name[i] == '+' {
			return l
		}
		return levelTrace // slog writes what is below debug as DEBUG-4
	}
	if len(name) > maxLevelName {
		return levelUnknown
	}
	var lower [maxLevelName]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "trace", "trce", "trc", "silly", "finest", "finer":
		return levelTrace
	case "debug", "dbug", "dbg", "fine", "config", "verbose", "vrb", "http":
		return levelDebug
	case "info", "inf", "information", "informational", "notice", "note", "success":
		return levelInfo
	case "warn", "warning", "wrn":
		return levelWarn
	case "error", "err", "eror", "fail", "severe":
		return levelError
	case "fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic":
		return levelFatal
	}
	return levelUnknown
}

func isDigits(s []byte) bool {
	for _, c := range s {
		if !isDigit(c) {
			return false
		}
	}
	return len(s) > 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// levelByNumber ranks a level of pino's and bunyan's scale: 10 is trace, 20
// debug, 30 info, 40 warn, 50 error, 60 fatal, and a number between two ranks
// is the lower one.
func levelByNumber(n float64) level {
	if n < 10 || n >= 70 {
		return levelUnknown
	}
	return level(n / 10)
}

// levelOf ranks the value of a level key, given as valid JSON.
func levelOf(value []byte) level {
	switch c := value[0]; {
	case c == '"':
		name := value[1 : len(value)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = appendUnquoted(nil, value)
		}
		return levelByName(name)
	case c == '-' || '0' <= c && c <= '9':
		// Out of range is ±Inf, and no level.
		n, _ := strconv.ParseFloat(string(value), 64)
		return levelByNumber(n)
	}
	return levelUnknown
}

// appendUnquoted appends what the valid JSON string s, quotes included, stands
// for. A lone surrogate becomes U+FFFD, as in encoding/json.
func appendUnquoted(dst, s []byte) []byte {
	s = s[1 : len(s)-1]
	return appendUnescaped(dst, unsafe.String(unsafe.SliceData(s), len(s)))
}

// appendUnescaped appends s with the escapes of JSON strings undone. It takes
// any text: an escape that is none stays as it is.
func appendUnescaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		s = s[i:]
		if c := strings.IndexByte(`"\/bfnrt`, s[1]); c >= 0 {
			dst = append(dst, "\"\\/\b\f\n\r\t"[c])
			s = s[2:]
		} else if r, ok := unicodeEscape(s); ok {
			s = s[6:]
			if utf16.IsSurrogate(r) {
				low, _ := unicodeEscape(s)
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					r, s = pair, s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		} else {
			dst = append(dst, s[0])
			s = s[1:]
		}
	}
}

// unicodeEscape reads the \u escape that s begins with.
func unicodeEscape(s string) (rune, bool) {
	if len(s) < 6 || s[:2] != `\u` {
		return 0, false
	}
	r, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(r), err == nil
}

// shortEscapes are the letters that stand for control characters in strings.
var shortEscapes = [' ']byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// appendQuoted appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendQuoted[T ~string | ~[]byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r != utf8.RuneError || n > 1 {
				i += n - 1
				continue
			}
			dst = append(append(dst, s[from:i]...), "\ufffd"...)
		case c == '"' || c == '\\':
			dst = append(append(dst, s[from:i]...), '\\', c)
		case c >= ' ':
			continue
		case shortEscapes[c] != 0:
			dst = append(append(dst, s[from:i]...), '\\', shortEscapes[c])
		default:
			dst = append(append(dst, s[from:i]...), '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		from = i + 1
	}
	return append(append(dst, s[from:]...), '"')
}

// appendRepaired appends s with U+FFFD in place of each byte that is not valid
// UTF-8, as encoding/json reads it.
func appendRepaired(dst, s []byte) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		dst = utf8.AppendRune(dst, r)
		s = s[n:]
	}
	return dst
}
