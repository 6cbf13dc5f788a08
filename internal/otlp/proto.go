package otlp

import "math"

// Tags of the fields that are read. The messages are in
// https://github.com/open-telemetry/opentelemetry-proto
const (
	tagRequestResourceLogs = 1<<3 | wireBytes

	tagResourceLogsResource  = 1<<3 | wireBytes
	tagResourceLogsScopeLogs = 2<<3 | wireBytes

	tagResourceAttributes = 1<<3 | wireBytes

	tagScopeLogsScope   = 1<<3 | wireBytes
	tagScopeLogsRecords = 2<<3 | wireBytes

	tagScopeName       = 1<<3 | wireBytes
	tagScopeVersion    = 2<<3 | wireBytes
	tagScopeAttributes = 3<<3 | wireBytes

	tagRecordTime       = 1<<3 | wireFixed64
	tagRecordNumber     = 2<<3 | wireVarint
	tagRecordSeverity   = 3<<3 | wireBytes
	tagRecordBody       = 5<<3 | wireBytes
	tagRecordAttributes = 6<<3 | wireBytes
	tagRecordDropped    = 7<<3 | wireVarint
	tagRecordFlags      = 8<<3 | wireFixed32
	tagRecordTrace      = 9<<3 | wireBytes
	tagRecordSpan       = 10<<3 | wireBytes
	tagRecordObserved   = 11<<3 | wireFixed64
	tagRecordEvent      = 12<<3 | wireBytes

	tagKeyValueKey   = 1<<3 | wireBytes
	tagKeyValueValue = 2<<3 | wireBytes

	tagValueString = 1<<3 | wireBytes
	tagValueBool   = 2<<3 | wireVarint
	tagValueInt    = 3<<3 | wireVarint
	tagValueDouble = 4<<3 | wireFixed64
	tagValueArray  = 5<<3 | wireBytes
	tagValueMap    = 6<<3 | wireBytes
	tagValueBytes  = 7<<3 | wireBytes

	tagListValues = 1<<3 | wireBytes
)

// protoFormat reads protobuf. Its methods return errMalformed or errTooDeep.
type protoFormat struct{}

// protoRequest adds the records of an ExportLogsServiceRequest.
func (w *rows) protoRequest(body []byte) error {
	f := fields{msg: body}
	for f.next() {
		if f.tag == tagRequestResourceLogs {
			if err := w.protoResourceLogs(f.data()); err != nil {
				return err
			}
		}
	}
	return f.err()
}

func (w *rows) protoResourceLogs(msg []byte) error {
	resource := shared{src: msg}
	if err := w.measureShared(&resource); err != nil {
		return err
	}
	f := fields{msg: msg}
	for f.next() {
		if f.tag == tagResourceLogsScopeLogs {
			if err := w.protoScopeLogs(f.data(), &resource); err != nil {
				return err
			}
		}
	}
	return f.err()
}

func (w *rows) protoScopeLogs(msg []byte, resource *shared) error {
	scope := shared{src: msg, isScope: true}
	if err := w.measureShared(&scope); err != nil {
		return err
	}
	f := fields{msg: msg}
	for f.next() {
		if f.tag == tagScopeLogsRecords {
			r, err := protoRecord(f.data())
			if err != nil {
				return err
			}
			if err := w.record(&r, &scope, resource); err != nil {
				return err
			}
			w.step(len(f.data()))
		}
	}
	return f.err()
}

func protoRecord(msg []byte) (r record, err error) {
	r.size = len(msg)
	r.attributes = msg
	f := fields{msg: msg}
	for f.next() {
		switch f.tag {
		case tagRecordTime:
			r.time = f.value
		case tagRecordNumber:
			r.number = int64(int32(f.value))
		case tagRecordSeverity:
			r.severity.b = f.data()
		case tagRecordBody:
			r.body = f.data()
		case tagRecordDropped:
			r.dropped = uint64(uint32(f.value))
		case tagRecordFlags:
			r.flags = f.value
		case tagRecordTrace:
			r.trace.b = f.data()
		case tagRecordSpan:
			r.span.b = f.data()
		case tagRecordObserved:
			r.observed = f.value
		case tagRecordEvent:
			r.event.b = f.data()
		}
	}
	return r, f.err()
}

// resourceMembers adds the attributes of the resource of src, a ResourceLogs.
func (protoFormat) resourceMembers(t *rowText, src []byte) error {
	f := fields{msg: src}
	for f.next() {
		if f.tag == tagResourceLogsResource {
			if err := protoAttributes(t, f.data(), tagResourceAttributes, 1); err != nil {
				return err
			}
		}
	}
	return f.err()
}

// scopeMembers adds the scope of src, a ScopeLogs.
func (protoFormat) scopeMembers(t *rowText, src []byte) error {
	f := fields{msg: src}
	for f.next() {
		if f.tag == tagScopeLogsScope {
			if err := protoScope(t, f.data()); err != nil {
				return err
			}
		}
	}
	return f.err()
}

func protoScope(t *rowText, msg []byte) error {
	var name, version str
	f := fields{msg: msg}
	for f.next() {
		switch f.tag {
		case tagScopeName:
			name.b = f.data()
		case tagScopeVersion:
			version.b = f.data()
		}
	}
	if f.err() != nil {
		return f.err()
	}
	scopeNameMembers(t, name, version)
	return protoAttributes(t, msg, tagScopeAttributes, 1)
}

// attributeMembers adds the attributes of src, a LogRecord.
func (protoFormat) attributeMembers(t *rowText, src []byte) error {
	return protoAttributes(t, src, tagRecordAttributes, 1)
}

// message adds src, an AnyValue.
func (protoFormat) message(t *rowText, src []byte) error {
	v, err := protoValue(src)
	switch {
	case err != nil:
		return err
	case v.tag == 0:
		return nil
	case v.tag == tagValueString:
		t.plain(v.data())
		return nil
	case v.tag == tagValueBytes:
		t.base64(v.data())
		return nil
	}
	return protoJSON(t, v, 1)
}

// protoAttributes adds the fields of msg with the given tag, which are KeyValues.
func protoAttributes(t *rowText, msg []byte, tag uint64, depth int) error {
	f := fields{msg: msg}
	for f.next() {
		if f.tag != tag {
			continue
		}
		if err := protoMember(t, f.data(), depth); err != nil {
			return err
		}
	}
	return f.err()
}

// protoMember adds a KeyValue.
func protoMember(t *rowText, msg []byte, depth int) error {
	if key, value, ok := shortMember(msg); ok {
		t.literal(",")
		t.quoted(key)
		t.literal(":")
		t.quoted(value)
		return nil
	}
	var key, value []byte
	f := fields{msg: msg}
	for f.next() {
		switch f.tag {
		case tagKeyValueKey:
			key = f.data()
		case tagKeyValueValue:
			value = f.data()
		}
	}
	if f.err() != nil {
		return f.err()
	}
	t.literal(",")
	t.quoted(key)
	t.literal(":")
	v, err := protoValue(value)
	if err != nil {
		return err
	}
	return protoJSON(t, v, depth)
}

// shortMember returns the key and the string of a KeyValue in the form that nearly all
// attributes have: a key of at most 127 bytes, then a string of at most 123 bytes, and
// no other fields. ok is false for other forms.
func shortMember(msg []byte) (key, value []byte, ok bool) {
	if len(msg) < 2 || msg[0] != tagKeyValueKey || msg[1] >= 0x80 || int(msg[1])+6 > len(msg) {
		return nil, nil, false
	}
	key, value = msg[2:2+msg[1]], msg[2+msg[1]:]
	n := len(value)
	ok = n < 0x80 && value[0] == tagKeyValueValue && int(value[1]) == n-2 &&
		value[2] == tagValueString && int(value[3]) == n-4
	return key, value[4:], ok
}

// protoValue returns the field of an AnyValue that is set, with the tag 0 if
// there is none.
func protoValue(msg []byte) (v fields, err error) {
	f := fields{msg: msg}
	for f.next() {
		switch f.tag {
		case tagValueString, tagValueBool, tagValueInt, tagValueDouble, tagValueArray, tagValueMap, tagValueBytes:
			v = f
		}
	}
	return v, f.err()
}

// protoJSON adds the value v as JSON. depth is the depth of its brackets, if it has
// any.
func protoJSON(t *rowText, v fields, depth int) error {
	switch v.tag {
	case tagValueString:
		t.quoted(v.data())
	case tagValueBool:
		if v.value != 0 {
			t.literal("true")
		} else {
			t.literal("false")
		}
	case tagValueInt:
		t.integer(int64(v.value))
	case tagValueDouble:
		t.number(math.Float64frombits(v.value))
	case tagValueArray:
		return protoArray(t, v.data(), depth)
	case tagValueMap:
		return protoMap(t, v.data(), depth)
	case tagValueBytes:
		t.literal(`"`)
		t.base64(v.data())
		t.literal(`"`)
	default:
		t.literal("null")
	}
	return nil
}

func protoArray(t *rowText, msg []byte, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	start := t.length()
	f := fields{msg: msg}
	for f.next() {
		if f.tag != tagListValues {
			continue
		}
		v, err := protoValue(f.data())
		if err != nil {
			return err
		}
		t.literal(",")
		if err := protoJSON(t, v, depth+1); err != nil {
			return err
		}
	}
	t.close(start, "[]")
	return f.err()
}

func protoMap(t *rowText, msg []byte, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	start := t.length()
	if err := protoAttributes(t, msg, tagListValues, depth+1); err != nil {
		return err
	}
	t.close(start, "{}")
	return nil
}
