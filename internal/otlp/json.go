package otlp

import (
	"math"
	"strconv"
)

// jsonFormat reads OTLP/JSON, valid JSON in valid UTF-8. Its methods return
// errType or errTooDeep. The names of fields are in lower camel case; the names of
// the protobuf fields are accepted too.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
type jsonFormat struct{}

// jsonRequest adds the records of an ExportLogsServiceRequest.
func (w *rows) jsonRequest(body []byte) error {
	m, err := object(body)
	if err != nil {
		return err
	}
	for m.next() {
		if string(m.key) != "resourceLogs" && string(m.key) != "resource_logs" {
			continue
		}
		list, err := array(m.value)
		if err != nil {
			return err
		}
		for list.next() {
			if err := w.jsonResourceLogs(list.value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *rows) jsonResourceLogs(value []byte) error {
	src, scopes, err := jsonGroup(value, "resource", "scopeLogs", "scope_logs")
	if err != nil {
		return err
	}
	resource := shared{src: src}
	if err := w.measureShared(&resource); err != nil {
		return err
	}
	for scopes.next() {
		if err := w.jsonScopeLogs(scopes.value, &resource); err != nil {
			return err
		}
	}
	return nil
}

func (w *rows) jsonScopeLogs(value []byte, resource *shared) error {
	src, records, err := jsonGroup(value, "scope", "logRecords", "log_records")
	if err != nil {
		return err
	}
	scope := shared{src: src, isScope: true}
	if err := w.measureShared(&scope); err != nil {
		return err
	}
	for records.next() {
		if records.value[0] != '{' {
			return errType
		}
		r, err := jsonRecord(records.value)
		if err != nil {
			w.reject(err)
			continue
		}
		if err := w.record(&r, &scope, resource); err != nil {
			return err
		}
	}
	return nil
}

// jsonGroup returns two members of a ResourceLogs or a ScopeLogs: the description
// of the group, or nil, and the elements of its list.
func jsonGroup(value []byte, description, list, alias string) (src []byte, elements elements, err error) {
	m, err := object(value)
	if err != nil {
		return nil, elements, err
	}
	for m.next() {
		switch string(m.key) {
		case description:
			src = m.value
		case list, alias:
			if elements, err = array(m.value); err != nil {
				return nil, elements, err
			}
		}
	}
	return src, elements, nil
}

func jsonRecord(value []byte) (r record, err error) {
	m, err := object(value)
	for err == nil && m.next() {
		switch string(m.key) {
		case "timeUnixNano", "time_unix_nano":
			r.time, err = parseUint(m.value)
		case "observedTimeUnixNano", "observed_time_unix_nano":
			r.observed, err = parseUint(m.value)
		case "severityNumber", "severity_number":
			r.number, err = parseInt(m.value)
		case "severityText", "severity_text":
			r.severity, err = jsonString(m.value)
		case "body":
			r.body = m.value
		case "attributes":
			r.attributes = m.value
		case "droppedAttributesCount", "dropped_attributes_count":
			r.dropped, err = parseUint(m.value)
		case "flags":
			r.flags, err = parseUint(m.value)
		case "traceId", "trace_id":
			r.trace, err = jsonID(m.value)
		case "spanId", "span_id":
			r.span, err = jsonID(m.value)
		case "eventName", "event_name":
			r.event, err = jsonString(m.value)
		}
	}
	return r, err
}

// jsonString returns a string, or the empty one for null.
func jsonString(value []byte) (str, error) {
	switch value[0] {
	case '"':
		return str{value, true}, nil
	case 'n':
		return str{}, nil
	}
	return str{}, errType
}

func jsonID(value []byte) (id, error) {
	s, err := jsonString(value)
	return id(s), err
}

// resourceMembers adds the attributes of src, a Resource.
func (jsonFormat) resourceMembers(t *rowText, src []byte) error {
	m, err := object(src)
	for err == nil && m.next() {
		if string(m.key) == "attributes" {
			err = jsonAttributes(t, m.value, 1)
		}
	}
	return err
}

// scopeMembers adds the name, version and attributes of src, an
// InstrumentationScope.
func (jsonFormat) scopeMembers(t *rowText, src []byte) error {
	m, err := object(src)
	if err != nil {
		return err
	}
	var name, version str
	var attributes []byte
	for err == nil && m.next() {
		switch string(m.key) {
		case "name":
			name, err = jsonString(m.value)
		case "version":
			version, err = jsonString(m.value)
		case "attributes":
			attributes = m.value
		}
	}
	if err != nil {
		return err
	}
	scopeNameMembers(t, name, version)
	return jsonAttributes(t, attributes, 1)
}

// attributeMembers adds src, a list of KeyValues.
func (jsonFormat) attributeMembers(t *rowText, src []byte) error {
	return jsonAttributes(t, src, 1)
}

// message adds src, an AnyValue.
func (jsonFormat) message(t *rowText, src []byte) error {
	kind, value, err := jsonValue(src)
	switch {
	case err != nil:
		return err
	case kind == "":
		return nil
	case kind == "stringValue", kind == "bytesValue":
		s, err := jsonString(value)
		if err == nil {
			s.plain(t)
		}
		return err
	}
	return jsonJSON(t, kind, value, 1)
}

// jsonAttributes adds a list of KeyValues as members.
func jsonAttributes(t *rowText, list []byte, depth int) error {
	e, err := array(list)
	for err == nil && e.next() {
		err = jsonMember(t, e.value, depth)
	}
	return err
}

// jsonMember adds a KeyValue.
func jsonMember(t *rowText, value []byte, depth int) error {
	m, err := object(value)
	var key str
	var src []byte
	for err == nil && m.next() {
		switch string(m.key) {
		case "key":
			key, err = jsonString(m.value)
		case "value":
			src = m.value
		}
	}
	if err != nil {
		return err
	}
	t.literal(",")
	key.quoted(t)
	t.literal(":")
	kind, v, err := jsonValue(src)
	if err != nil {
		return err
	}
	return jsonJSON(t, kind, v, depth)
}

// jsonValue returns the member of an AnyValue that is set: its name in lower camel
// case, or "" if there is none, and its value.
func jsonValue(src []byte) (kind string, value []byte, err error) {
	m, err := object(src)
	if err != nil {
		return "", nil, err
	}
	for m.next() {
		name := ""
		switch string(m.key) {
		case "stringValue", "string_value":
			name = "stringValue"
		case "boolValue", "bool_value":
			name = "boolValue"
		case "intValue", "int_value":
			name = "intValue"
		case "doubleValue", "double_value":
			name = "doubleValue"
		case "arrayValue", "array_value":
			name = "arrayValue"
		case "kvlistValue", "kvlist_value":
			name = "kvlistValue"
		case "bytesValue", "bytes_value":
			name = "bytesValue"
		}
		if name != "" && !isNull(m.value) {
			kind, value = name, m.value
		}
	}
	return kind, value, nil
}

// jsonJSON adds a value of the given kind as JSON. depth is the depth of its
// brackets, if it has any.
func jsonJSON(t *rowText, kind string, value []byte, depth int) error {
	switch kind {
	case "stringValue", "bytesValue":
		if value[0] != '"' {
			return errType
		}
		t.raw(value)
	case "boolValue":
		if value[0] != 't' && value[0] != 'f' {
			return errType
		}
		t.raw(value)
	case "intValue":
		return jsonInt(t, value)
	case "doubleValue":
		return jsonDouble(t, value)
	case "arrayValue":
		return jsonArray(t, value, depth)
	case "kvlistValue":
		return jsonMap(t, value, depth)
	default:
		t.literal("null")
	}
	return nil
}

// jsonInt adds a 64-bit integer, which protobuf's JSON format writes as a string.
func jsonInt(t *rowText, value []byte) error {
	n, err := parseInt(value)
	if err == nil {
		t.integer(n)
	}
	return err
}

// jsonDouble adds a number. A string may contain a number, or stand for a value
// that JSON does not have.
func jsonDouble(t *rowText, value []byte) error {
	switch string(value) {
	case `"NaN"`, `"Infinity"`, `"-Infinity"`:
		t.raw(value)
		return nil
	}
	if c := value[0]; c == '-' || '0' <= c && c <= '9' {
		t.raw(value)
		return nil
	}
	text, err := numberText(value)
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return errType
	}
	t.number(f)
	return nil
}

func jsonArray(t *rowText, value []byte, depth int) error {
	list, err := jsonList(value, depth)
	if err != nil {
		return err
	}
	start := t.length()
	for list.next() {
		kind, v, err := jsonValue(list.value)
		if err != nil {
			return err
		}
		t.literal(",")
		if err := jsonJSON(t, kind, v, depth+1); err != nil {
			return err
		}
	}
	t.close(start, "[]")
	return nil
}

func jsonMap(t *rowText, value []byte, depth int) error {
	list, err := jsonList(value, depth)
	if err != nil {
		return err
	}
	start := t.length()
	for list.next() {
		if err := jsonMember(t, list.value, depth+1); err != nil {
			return err
		}
	}
	t.close(start, "{}")
	return nil
}

// jsonList returns the values of an ArrayValue or a KeyValueList.
func jsonList(value []byte, depth int) (list elements, err error) {
	if depth > maxDepth {
		return list, errTooDeep
	}
	m, err := object(value)
	for err == nil && m.next() {
		if string(m.key) == "values" {
			list, err = array(m.value)
		}
	}
	return list, err
}
