package esbulk

import (
	"io"
	"path"
	"strconv"
	"strings"

	"log-ingester/internal/entry"
)

// A Filter selects the fields of a response, as the query parameter filter_path
// does: a comma-separated list of paths, in which * matches a part of a name. A
// path that begins with a minus excludes fields.
// https://www.elastic.co/docs/reference/elasticsearch/rest-apis/common-options
type Filter string

// has reports whether the field at a path such as items.create.status is selected.
func (f Filter) has(field string) bool {
	if f == "" {
		return true
	}
	included, onlyExcludes := false, true
	for pattern := range strings.SplitSeq(string(f), ",") {
		excluded, isExclude := strings.CutPrefix(pattern, "-")
		if isExclude && matches(excluded, field) {
			return false
		}
		onlyExcludes = onlyExcludes && isExclude
		included = included || !isExclude && matches(pattern, field)
	}
	return included || onlyExcludes
}

// matches reports whether pattern selects field or an object around it.
func matches(pattern, field string) bool {
	for {
		first, rest, more := strings.Cut(pattern, ".")
		if first == "**" { // any number of names, so it may match anything
			return true
		}
		name, inner, nested := strings.Cut(field, ".")
		if ok, err := path.Match(first, name); !ok || err != nil || more && !nested {
			return false
		}
		if !more {
			return true
		}
		pattern, field = rest, inner
	}
}

// maxFilter is the length of the longest filter that is used, in bytes.
const maxFilter = 1000

// NewFilter returns the filter of the parameter filter_path. A long one, which
// would take long to match, selects everything.
func NewFilter(parameter string) Filter {
	if len(parameter) > maxFilter {
		return ""
	}
	return Filter(parameter)
}

// A Failure is why an item was not stored.
type Failure struct{ Type, Reason string }

// A ResponseWriter writes the response of a bulk request item by item, so that a
// response with many items needs no memory.
type ResponseWriter struct {
	w      io.Writer
	index  []byte // the index of items without one, a JSON string
	filter Filter
	fields map[string]*itemFields // by action
	buffer []byte
	first  bool // no member was written
	items  bool // the list of items is open
}

// itemFields are the fields of an action's items that the filter selects.
type itemFields struct{ index, id, result, status, errorType, reason bool }

// NewResponseWriter returns a writer of the response to a request. index is a JSON
// string, the index of items without one. errors reports whether an item failed.
// Write errors mean that the client has disconnected, and are ignored.
func NewResponseWriter(w io.Writer, index []byte, filter Filter, errors bool) *ResponseWriter {
	rw := &ResponseWriter{w: w, index: index, filter: filter, fields: make(map[string]*itemFields), first: true}
	rw.buffer = append(make([]byte, 0, 4<<10), '{')
	if filter.has("errors") {
		rw.member("errors", strconv.FormatBool(errors))
	}
	if filter.has("took") {
		rw.member("took", "0")
	}
	return rw
}

// HasItems reports whether the filter selects a field that items have. failed
// reports whether one failed.
func (rw *ResponseWriter) HasItems(failed bool) bool {
	for _, action := range []string{"create", "index", "update", "delete"} {
		f := rw.itemFields(action)
		if f.index || f.id || f.result || f.status || failed && (f.errorType || f.reason) {
			return true
		}
	}
	return false
}

// Item writes the result of an item. failure is nil if it was stored.
func (rw *ResponseWriter) Item(it *Item, failure *Failure) {
	fields := rw.itemFields(it.Action)
	inner := len(rw.buffer)
	opening := `{"`
	switch {
	case rw.items:
		opening = `,{"`
	case rw.first:
		opening = `"items":[{"`
	default:
		opening = `,"items":[{"`
	}
	rw.buffer = append(append(append(rw.buffer, opening...), it.Action...), `":{`...)
	start := len(rw.buffer)
	if fields.index {
		index := it.Index
		if index == nil {
			index = rw.index
		}
		rw.raw(start, "_index", index)
	}
	if fields.id && it.ID != nil {
		rw.raw(start, "_id", it.ID)
	}
	if failure == nil {
		if fields.result {
			rw.raw(start, "result", []byte(`"created"`))
		}
		if fields.status {
			rw.raw(start, "status", []byte("201"))
		}
	} else {
		rw.failure(start, fields, failure)
	}
	if len(rw.buffer) == start { // no field is selected
		rw.buffer = rw.buffer[:inner]
		return
	}
	rw.buffer = append(rw.buffer, "}}"...)
	rw.first, rw.items = false, true
	if len(rw.buffer) > 3<<10 {
		rw.flush()
	}
}

// failure appends the fields of an item that failed.
func (rw *ResponseWriter) failure(start int, fields *itemFields, failure *Failure) {
	if fields.status {
		rw.raw(start, "status", []byte("400"))
	}
	if !fields.errorType && !fields.reason {
		return
	}
	rw.raw(start, "error", []byte("{"))
	start = len(rw.buffer)
	if fields.errorType {
		rw.raw(start, "type", entry.AppendQuoted(nil, failure.Type))
	}
	if fields.reason {
		rw.raw(start, "reason", entry.AppendQuoted(nil, failure.Reason))
	}
	rw.buffer = append(rw.buffer, '}')
}

// Close writes the end of the response.
func (rw *ResponseWriter) Close() {
	if rw.items {
		rw.buffer = append(rw.buffer, ']')
	}
	rw.buffer = append(rw.buffer, "}\n"...)
	rw.flush()
}

func (rw *ResponseWriter) flush() {
	rw.w.Write(rw.buffer) // an error means that the client has disconnected
	rw.buffer = rw.buffer[:0]
}

// member appends a member of the response.
func (rw *ResponseWriter) member(name, value string) {
	rw.raw(len("{"), name, []byte(value))
	rw.first = false
}

// raw appends a member of the object that begins at start. value is JSON.
func (rw *ResponseWriter) raw(start int, name string, value []byte) {
	if len(rw.buffer) > start {
		rw.buffer = append(rw.buffer, ',')
	}
	rw.buffer = append(append(append(append(rw.buffer, '"'), name...), `":`...), value...)
}

func (rw *ResponseWriter) itemFields(action string) *itemFields {
	f := rw.fields[action]
	if f == nil {
		has := func(field string) bool { return rw.filter.has("items." + action + "." + field) }
		f = &itemFields{has("_index"), has("_id"), has("result"), has("status"), has("error.type"), has("error.reason")}
		rw.fields[action] = f
	}
	return f
}
