package logread

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailru/easyjson/jlexer"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
)

const (
	fieldEntries = 20_000 // entries after which a count of fields ends

	// These limits bound the memory of a fieldCounter to about 10 MiB.
	maxFields        = 200
	maxFieldValues   = 1000 // distinct values of a field that are counted
	maxFieldValue    = 200  // bytes; longer values are not counted
	maxFieldDepth    = 8    // of nested objects
	maxFieldText     = 4 << 20
	maxFieldsDetails = 64 << 10 // larger details are not read
)

// A fieldCounter counts the values of the fields in details. Its memory is bounded by
// constants.
type fieldCounter struct {
	entries int64
	fields  map[string]*fieldCounts
	text    int // bytes of all names and values
	name    []byte
}

// A fieldCounts has the counts of one field.
type fieldCounts struct {
	name    string
	entries int64 // that have the field
	last    int64 // number of the last entry that has it
	values  map[string]int64
	others  int64 // occurrences of values that are not in values
}

func newFieldCounter() *fieldCounter { return &fieldCounter{fields: make(map[string]*fieldCounts)} }

// add counts the fields of an entry. It keeps no part of e.
func (c *fieldCounter) add(e *visitedEntry) {
	c.entries++
	if e.details == "" || len(e.details) > maxFieldsDetails {
		return
	}
	l := jlexer.Lexer{Data: []byte(e.details)}
	c.name = c.name[:0]
	c.object(&l, 0)
}

// object counts the fields of the object that l is at. c.name is the name of the
// object, followed by a dot if it is nested.
func (c *fieldCounter) object(l *jlexer.Lexer, depth int) {
	if !l.IsDelim('{') || depth > maxFieldDepth {
		l.SkipRecursive()
		return
	}
	l.Delim('{')
	prefix := len(c.name)
	for l.Ok() && !l.IsDelim('}') {
		c.name = append(c.name[:prefix], l.UnsafeFieldName(false)...)
		l.WantColon()
		c.value(l, depth)
		l.WantComma()
	}
	l.Delim('}')
	c.name = c.name[:prefix]
}

func (c *fieldCounter) value(l *jlexer.Lexer, depth int) {
	switch {
	case l.IsDelim('{'):
		c.name = append(c.name, '.')
		c.object(l, depth+1)
	case l.IsDelim('['):
		l.SkipRecursive()
	case l.CurrentToken() == jlexer.TokenString:
		c.count(l.UnsafeString())
	default:
		c.count(string(l.Raw()))
	}
}

// count counts a value of the field c.name.
func (c *fieldCounter) count(value string) {
	f := c.fields[string(c.name)]
	if f == nil {
		if len(c.fields) == maxFields || len(c.name) > maxFieldName || !c.reserve(len(c.name)) {
			return
		}
		f = &fieldCounts{name: string(c.name), values: make(map[string]int64)}
		c.fields[f.name] = f
	}
	if f.last != c.entries {
		f.last = c.entries
		f.entries++
	}
	n, ok := f.values[value]
	if !ok && (len(value) > maxFieldValue || len(f.values) == maxFieldValues || !c.reserve(len(value))) {
		f.others++
		return
	}
	if !ok {
		value = strings.Clone(value)
	}
	f.values[value] = n + 1
}

// reserve reports whether n more bytes of text may be kept.
func (c *fieldCounter) reserve(n int) bool {
	if c.text+n > maxFieldText {
		return false
	}
	c.text += n
	return true
}

// repeats reports whether the values of the field repeat often enough to be of use
// as a filter: most of them are counted, and on average each occurs at least twice.
func (f *fieldCounts) repeats() bool {
	distinct := int64(len(f.values))
	return 2*f.others < f.entries && distinct > 0 && (distinct == 1 || 2*distinct <= f.entries)
}

// appendJSON appends the response of /logs/fields: the fields whose values repeat,
// the most frequent first, with their top most common values.
func (c *fieldCounter) appendJSON(dst []byte, top int) []byte {
	var shown []*fieldCounts
	for _, f := range c.fields {
		if f.repeats() {
			shown = append(shown, f)
		}
	}
	slices.SortFunc(shown, func(a, b *fieldCounts) int {
		return cmp.Or(cmp.Compare(b.entries, a.entries), cmp.Compare(len(a.values), len(b.values)),
			strings.Compare(a.name, b.name))
	})
	dst = strconv.AppendInt(append(dst, `{"entries":`...), c.entries, 10)
	dst = strconv.AppendBool(append(dst, `,"partial":`...), c.entries >= fieldEntries)
	dst = append(dst, `,"fields":[`...)
	for i, f := range shown {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = f.appendJSON(append(dst, '\n'), top)
	}
	return append(dst, "]}\n"...)
}

func (f *fieldCounts) appendJSON(dst []byte, top int) []byte {
	values := make([]string, 0, len(f.values))
	for value := range f.values {
		values = append(values, value)
	}
	slices.SortFunc(values, func(a, b string) int {
		return cmp.Or(cmp.Compare(f.values[b], f.values[a]), strings.Compare(a, b))
	})
	dst = entry.AppendQuoted(append(dst, `{"name":`...), f.name)
	dst = strconv.AppendInt(append(dst, `,"count":`...), f.entries, 10)
	dst = strconv.AppendInt(append(dst, `,"distinct":`...), int64(len(values)), 10)
	dst = append(dst, `,"values":[`...)
	for i, value := range values[:min(top, len(values))] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = entry.AppendQuoted(append(dst, `{"value":`...), value)
		dst = strconv.AppendInt(append(dst, `,"count":`...), f.values[value], 10)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// ServeFields handles GET /logs/fields: the fields in the details of the newest
// matching entries, with their most common values. It reads blocks of entries until
// it has found at least fieldEntries.
func (r *Reader) ServeFields(w http.ResponseWriter, req *http.Request) {
	q, slot, ok := r.startRead(w, req, time.Now(), "before", "after", "top")
	if !ok {
		return
	}
	defer r.reads.release(slot)

	c := newFieldCounter()
	enough := func() bool { return c.entries >= fieldEntries }
	if err := r.scanner.each(req.Context(), slot, q, visitor{visit: c.add, details: true}, enough); err != nil {
		r.writeReadError(w, req, err)
		return
	}
	httpapi.SetJSON(w)
	w.Write(c.appendJSON(nil, q.top)) // a write error means that the client has disconnected
}
