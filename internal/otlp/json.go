package otlp

import (
	"errors"
	"math"
	"strconv"
)

// jsonFormat reads OTLP/JSON, valid JSON in valid UTF-8. Its methods return
// errType, errTooDeep or errLateKey. The names of fields are in lower camel case; the names of
// the protobuf fields are accepted too.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
//
// If a field occurs twice in a value or in the description of a group, the first
// one counts.
type jsonFormat struct{}

// jsonRequest adds the records of an ExportLogsServiceRequest.
func (w *rows) jsonRequest(body []byte) error {
	c := newCursor(body)
	open, err := c.enter('{')
	for open && c.More() {
		switch string(c.Key()) {
		case "resourceLogs", "resource_logs":
			err = w.jsonResourceLogs(c)
		default:
			c.Skip()
		}
		if err != nil {
			return err
		}
	}
	return err
}

// jsonResourceLogs adds the records of a list of ResourceLogs.
func (w *rows) jsonResourceLogs(c *cursor) error {
	open, err := c.enter('[')
	for open && c.More() {
		var resource shared
		if resource.src, err = description(*c, "resource"); err != nil {
			return err
		}
		if err := w.measureShared(&resource); err != nil {
			return err
		}
		inside, err := c.enter('{')
		for err == nil && inside && nextMember(c, "scopeLogs", "scope_logs") {
			err = w.jsonScopeLogs(c, &resource)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// jsonScopeLogs adds the records of a list of ScopeLogs.
func (w *rows) jsonScopeLogs(c *cursor, resource *shared) error {
	open, err := c.enter('[')
	for open && c.More() {
		scope := shared{isScope: true}
		if scope.src, err = description(*c, "scope"); err != nil {
			return err
		}
		if err := w.measureShared(&scope); err != nil {
			return err
		}
		inside, err := c.enter('{')
		for err == nil && inside && nextMember(c, "logRecords", "log_records") {
			err = w.jsonRecords(c, &scope, resource)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// nextMember skips to the value of the next member with one of the names. It returns
// false at the end of the object.
func nextMember(c *cursor, names ...string) bool {
	for c.More() {
		key := c.Key()
		for _, name := range names {
			if string(key) == name {
				return true
			}
		}
		c.Skip()
	}
	return false
}

// description returns the member with the given name of the next value, or nil.
// The member describes the records of the value, and usually precedes them.
func description(c cursor, name string) ([]byte, error) {
	open, err := c.enter('{')
	if open && nextMember(&c, name) {
		return c.Skip(), nil
	}
	return nil, err
}

// jsonRecords adds a list of LogRecords.
func (w *rows) jsonRecords(c *cursor, scope, resource *shared) error {
	open, err := c.enter('[')
	for open && c.More() {
		if c.Peek() != '{' {
			return errType
		}
		start := *c
		r, err := jsonRecord(c)
		if err != nil {
			if w.mode != write { // it has been rejected before
				w.reject(err)
			}
			*c = start
			c.Skip()
			continue
		}
		r.size = len(start.Rest) - len(c.Rest)
		if err := w.record(&r, scope, resource); err != nil {
			return err
		}
		w.step(len(start.Rest) - len(c.Rest))
	}
	return err
}

func jsonRecord(c *cursor) (r record, err error) {
	open, err := c.enter('{')
	for err == nil && open && c.More() {
		switch string(c.Key()) {
		case "timeUnixNano", "time_unix_nano":
			r.time, err = c.uint()
		case "observedTimeUnixNano", "observed_time_unix_nano":
			r.observed, err = c.uint()
		case "severityNumber", "severity_number":
			r.number, err = c.int()
		case "severityText", "severity_text":
			r.severity, err = c.string()
		case "body":
			r.body = c.Skip()
		case "attributes":
			r.attributes = c.Skip()
		case "droppedAttributesCount", "dropped_attributes_count":
			r.dropped, err = c.uint()
		case "flags":
			r.flags, err = c.uint()
		case "traceId", "trace_id":
			r.trace, err = jsonID(c)
		case "spanId", "span_id":
			r.span, err = jsonID(c)
		case "eventName", "event_name":
			r.event, err = c.string()
		default:
			c.Skip()
		}
	}
	return r, err
}

func jsonID(c *cursor) (id, error) {
	s, err := c.string()
	return id(s), err
}

// resourceMembers adds the attributes of src, a Resource or nil.
func (jsonFormat) resourceMembers(t *rowText, src []byte) error {
	if src == nil {
		return nil
	}
	c := newCursor(src)
	open, err := c.enter('{')
	for err == nil && open && nextMember(c, "attributes") {
		err = jsonAttributes(t, c, 1)
	}
	return err
}

// scopeMembers adds the name, version and attributes of src, an
// InstrumentationScope or nil.
func (jsonFormat) scopeMembers(t *rowText, src []byte) error {
	if src == nil {
		return nil
	}
	c := newCursor(src)
	var name, version str
	var attributes []byte
	open, err := c.enter('{')
	for err == nil && open && c.More() {
		switch string(c.Key()) {
		case "name":
			name, err = c.string()
		case "version":
			version, err = c.string()
		case "attributes":
			attributes = c.Skip()
		default:
			c.Skip()
		}
	}
	if err != nil {
		return err
	}
	scopeNameMembers(t, name, version)
	return jsonFormat{}.attributeMembers(t, attributes)
}

// attributeMembers adds src, a list of KeyValues or nil.
func (jsonFormat) attributeMembers(t *rowText, src []byte) error {
	if src == nil {
		return nil
	}
	return jsonAttributes(t, newCursor(src), 1)
}

// message adds src, an AnyValue or nil.
func (jsonFormat) message(t *rowText, src []byte) error {
	if src == nil {
		return nil
	}
	c := newCursor(src)
	kind, err := enterValue(c)
	switch kind {
	case valueNone:
		return err
	case valueString, valueBytes:
		s, err := c.string()
		if err == nil {
			s.plain(t)
		}
		return err
	}
	return jsonJSON(t, c, kind, 1)
}

// jsonAttributes adds a list of KeyValues as members.
func jsonAttributes(t *rowText, c *cursor, depth int) error {
	open, err := c.enter('[')
	for err == nil && open && c.More() {
		err = jsonMember(t, c, depth)
	}
	return err
}

// maxLateKeyDepth is the depth up to which a value may precede its key. Each such
// value is skipped to find its key, so a nested one is read once for each level.
const maxLateKeyDepth = 8

// errLateKey rejects a record.
var errLateKey = errors.New("a value precedes its key within more than 8 nested maps")

// jsonMember adds a KeyValue.
func jsonMember(t *rowText, c *cursor, depth int) error {
	key, err := jsonKey(*c, depth)
	if err != nil {
		return err
	}
	t.literal(",")
	switch {
	case key == nil || key[0] == 'n':
		t.literal(`""`)
	case key[0] != '"':
		return errType
	default:
		t.raw(key)
	}
	t.literal(":")
	written := false
	open, err := c.enter('{')
	for err == nil && open && c.More() {
		if string(c.Key()) == "value" && !written {
			err = jsonValue(t, c, depth)
			written = true
		} else {
			c.Skip()
		}
	}
	if !written {
		t.literal("null")
	}
	return err
}

// jsonKey returns the key of the next value, a KeyValue, or nil.
func jsonKey(c cursor, depth int) ([]byte, error) {
	open, err := c.enter('{')
	for open && c.More() {
		if string(c.Key()) == "key" {
			return c.Skip(), nil
		}
		if depth > maxLateKeyDepth {
			return nil, errLateKey
		}
		c.Skip()
	}
	return nil, err
}

// A valueKind is the field of an AnyValue that is set.
type valueKind uint8

const (
	valueNone valueKind = iota
	valueString
	valueBool
	valueInt
	valueDouble
	valueArray
	valueMap
	valueBytes
)

// enterValue opens an AnyValue, skips to the field that is set, and returns its
// kind. If no field is set, it skips the AnyValue and returns valueNone.
func enterValue(c *cursor) (valueKind, error) {
	open, err := c.enter('{')
	for open && c.More() {
		kind := valueNone
		switch string(c.Key()) {
		case "stringValue", "string_value":
			kind = valueString
		case "boolValue", "bool_value":
			kind = valueBool
		case "intValue", "int_value":
			kind = valueInt
		case "doubleValue", "double_value":
			kind = valueDouble
		case "arrayValue", "array_value":
			kind = valueArray
		case "kvlistValue", "kvlist_value":
			kind = valueMap
		case "bytesValue", "bytes_value":
			kind = valueBytes
		}
		if kind != valueNone && c.Peek() != 'n' {
			return kind, nil
		}
		c.Skip()
	}
	return valueNone, err
}

// jsonValue adds an AnyValue as JSON. depth is the depth of its brackets, if it has
// any.
func jsonValue(t *rowText, c *cursor, depth int) error {
	kind, err := enterValue(c)
	if err != nil {
		return err
	}
	if err := jsonJSON(t, c, kind, depth); err != nil || kind == valueNone {
		return err
	}
	for c.More() {
		c.Skip() // a key
		c.Skip()
	}
	return nil
}

// jsonJSON adds a field of the given kind as JSON.
func jsonJSON(t *rowText, c *cursor, kind valueKind, depth int) error {
	switch kind {
	case valueString, valueBytes:
		if c.Peek() != '"' {
			return errType
		}
		t.raw(c.Skip())
	case valueBool:
		if v := c.Peek(); v != 't' && v != 'f' {
			return errType
		}
		t.raw(c.Skip())
	case valueInt:
		n, err := c.int()
		t.integer(n)
		return err
	case valueDouble:
		return jsonDouble(t, c)
	case valueArray, valueMap:
		return jsonNested(t, c, depth, kind == valueMap)
	default:
		t.literal("null")
	}
	return nil
}

// jsonDouble adds a number. A string may contain a number, or stand for a value
// that JSON does not have.
func jsonDouble(t *rowText, c *cursor) error {
	if v := c.Peek(); v == '-' || '0' <= v && v <= '9' {
		t.raw(c.Skip())
		return nil
	}
	text, err := c.number()
	if err != nil {
		return err
	}
	switch string(text) {
	case "NaN", "Infinity", "-Infinity":
		t.literal(`"`)
		t.raw(text)
		t.literal(`"`)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return errType
	}
	t.number(f)
	return nil
}

// jsonNested adds an ArrayValue or, if isMap, a KeyValueList.
func jsonNested(t *rowText, c *cursor, depth int, isMap bool) error {
	if depth > maxDepth {
		return errTooDeep
	}
	start := t.length()
	open, err := c.enter('{')
	for err == nil && open && nextMember(c, "values") {
		if isMap {
			err = jsonAttributes(t, c, depth+1)
		} else {
			err = jsonElements(t, c, depth+1)
		}
	}
	brackets := "[]"
	if isMap {
		brackets = "{}"
	}
	t.close(start, brackets)
	return err
}

// jsonElements adds the values of an ArrayValue.
func jsonElements(t *rowText, c *cursor, depth int) error {
	open, err := c.enter('[')
	for err == nil && open && c.More() {
		t.literal(",")
		err = jsonValue(t, c, depth)
	}
	return err
}
