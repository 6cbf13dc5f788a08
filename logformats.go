package main

import (
	"bytes"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"log-ingester/internal/entry"
	"log-ingester/internal/jsoncursor"
)

// A member is a key of an entry, unescaped, and its value as valid JSON.
type member struct {
	key   string
	value []byte
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

// A memberList is the members of an entry, in order. Its methods find what some
// loggers write into nested objects, and recognize the formats of entries.
type memberList []member

// nestedLevel returns the level in log.level of ECS or in record.level of loguru.
func (list memberList) nestedLevel() entry.Level {
	for _, parent := range [...]string{"log", "record"} {
		level := list.nested(parent, "level")
		if level.value != nil && level.value[0] == '{' {
			level = findMember(level.value, "name")
		}
		if level.value == nil {
			continue
		}
		if l := entry.LevelOf(level.value); l != entry.LevelUnknown {
			return l
		}
	}
	return entry.LevelUnknown
}

// levelOfGELF returns the level of an entry whose level key has the value v, if it
// is a GELF message. Its levels are the numbers of syslog.
// https://go2docs.graylog.org/current/getting_in_log_data/gelf.html
func (list memberList) levelOfGELF(v []byte) entry.Level {
	if v[0] < '0' || v[0] > '9' || list.find("version") < 0 || list.find("host") < 0 {
		return entry.LevelUnknown
	}
	return levelOfNumber(v, entry.LevelBySyslog)
}

// levelOfNumber returns the level of v, an integer or a string with one.
func levelOfNumber(v []byte, level func(int64) entry.Level) entry.Level {
	n, ok := parseInteger(v)
	if !ok {
		return entry.LevelUnknown
	}
	return level(n)
}

// maxInteger is the length of the longest text that is read as an integer, in bytes.
// Reading it copies it.
const maxInteger = 32

// parseInteger parses v, an integer or a string with one.
func parseInteger(v []byte) (n int64, ok bool) {
	digits := bytes.Trim(v, `"`)
	if len(digits) > maxInteger {
		return 0, false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}

// find returns the index of the first member with the key, or -1.
func (list memberList) find(key string) int {
	for i := range list {
		if list[i].key == key {
			return i
		}
	}
	return -1
}

// A nestedMember is a member of an object that is the value of a member of an
// entry.
type nestedMember struct {
	parent   int    // the index of the entry's member
	value    []byte // of the nested member; nil if there is none
	from, to int    // the part of the parent's value to remove, to remove the member
}

// nested returns the member key of the object that is the value of the member parent.
func (list memberList) nested(parent, key string) nestedMember {
	i := list.find(parent)
	if i < 0 || list[i].value[0] != '{' {
		return nestedMember{}
	}
	m := findMember(list[i].value, key)
	m.parent = i
	return m
}

// nestedMessage returns the message of tracing or of loguru.
func (list memberList) nestedMessage() nestedMember {
	for _, parent := range [...]string{"fields", "record"} {
		if m := list.nested(parent, "message"); m.value != nil {
			return m
		}
	}
	return nestedMember{}
}

// findMember returns the first member of object with the key.
func findMember(object []byte, key string) (m nestedMember) {
	c := jsoncursor.Cursor{Rest: object}
	offset := func() int { return len(object) - len(c.Rest) }
	c.Enter()
	end := offset() // of the previous member
	for first := true; c.More(); first = false {
		start := offset()
		found := string(c.Key()) == key
		value := c.Skip()
		if !found {
			end = offset()
			continue
		}
		m = nestedMember{value: value, from: end, to: offset()}
		if first { // a comma may follow, but none precedes
			m.from = start
			if c.More() {
				m.to = offset()
			}
		}
		return m
	}
	return m
}

// appendDetail appends the member i, without the nested member.
func (list memberList) appendDetail(dst []byte, start, i int, without nestedMember) []byte {
	m := list[i]
	if without.value != nil && without.parent == i {
		dst = (&member{m.key, m.value[:without.from]}).append(dst, start)
		return append(dst, m.value[without.to:]...)
	}
	return m.append(dst, start)
}

// appendBytes appends the text whose bytes are the numbers in array, with its UTF-8
// repaired. journalctl writes text so that is not UTF-8 or has control characters. The
// text is never longer than array. If an element is not a byte, ok is false.
// https://www.freedesktop.org/software/systemd/man/latest/journalctl.html#json
func appendBytes(dst, array []byte) (text []byte, ok bool) {
	start := len(dst)
	c := jsoncursor.Cursor{Rest: array}
	for c.Enter(); c.More(); {
		n, err := strconv.ParseUint(string(c.Skip()), 10, 8)
		if err != nil {
			return dst[:start], false
		}
		dst = append(dst, byte(n))
	}
	if raw := dst[start:]; !utf8.Valid(raw) {
		// The bytes and the repaired text together are not longer than array.
		dst = entry.AppendRepaired(dst, raw)
		dst = dst[:start+copy(dst[start:], dst[start+len(raw):])]
	}
	return dst, len(dst) > start
}

// typedValue returns the value in object, if it is a value as OpenTelemetry's Go SDK
// writes it: its members are only Type and Value.
func typedValue(object []byte) (value []byte) {
	members, hasType := 0, false
	for c := enterObject(object); c.More(); members++ {
		switch string(c.Key()) {
		case "Type":
			hasType = true
			c.Skip()
		case "Value":
			value = c.Skip()
		default:
			c.Skip()
		}
	}
	if members != 2 || !hasType {
		return nil
	}
	return value
}

// nestedTime returns the time of loguru.
func (list memberList) nestedTime() (time.Time, bool) {
	m := list.nested("record", "time")
	if m.value == nil || m.value[0] != '{' {
		return time.Time{}, false
	}
	if m = findMember(m.value, "timestamp"); m.value == nil {
		return time.Time{}, false
	}
	return entry.ParseTime(m.value)
}

// parseTime parses the value of a time key. In addition to the forms that
// entry.ParseTime knows, it may be an object.
func parseTime(v []byte) (time.Time, bool) {
	if v[0] == '{' {
		return parseTimeObject(v)
	}
	return entry.ParseTime(v)
}

// parseTimeObject parses a time as log4j and protobuf write it: an object with the
// seconds since 1970 and the nanoseconds after them.
func parseTimeObject(object []byte) (t time.Time, ok bool) {
	var seconds, nanos int64
	for c := enterObject(object); c.More(); {
		var n *int64
		switch string(c.Key()) {
		case "seconds", "epochSecond":
			n, ok = &seconds, true
		case "nanos", "nanoOfSecond":
			n = &nanos
		}
		value := c.Skip()
		if n == nil {
			continue
		}
		var isInteger bool
		if *n, isInteger = parseInteger(value); !isInteger {
			return t, false
		}
	}
	t = time.Unix(seconds, nanos).UTC()
	const minSeconds, maxSeconds = -62167219200, 253402300799 // the years 0 to 9999
	return t, ok && minSeconds <= seconds && seconds <= maxSeconds && 0 <= nanos && nanos < 1e9
}

func enterObject(object []byte) jsoncursor.Cursor {
	c := jsoncursor.Cursor{Rest: object}
	c.Enter()
	return c
}

// The errors for bodies that must be sent to another route.
var (
	errIsOTLP     = errors.New("the body is in OTLP's format; send it to POST /v1/logs")
	errIsOther    = errors.New("the body contains spans or metrics in OTLP's format; the service accepts only logs")
	errIsResource = errors.New(
		`the body contains ResourceLogs in OTLP's format; send {"resourceLogs":[...]} to POST /v1/logs`)
	errIsBulk = errors.New("the body is in Elasticsearch's bulk format; send it to POST /elasticsearch/_bulk")
	errIsLoki = errors.New(
		"the body is in Loki's push format, which the service does not accept; send JSON entries, or OTLP to POST /v1/logs",
	)
	errNoRecords = errors.New("the body has no resourceLogs; send JSON entries to POST /ingest")
	errIsHEC     = errors.New(
		"the body is in the format of Splunk's event collector, which the service does not accept; send its events",
	)
)

// checkFormat returns an error if an entry without a level shows that the body is
// in a format that is not made of entries.
func (list memberList) checkFormat() error {
	if list.isHEC() {
		return errIsHEC
	}
	if i := list.find("scopeLogs"); i >= 0 && list[i].value[0] == '[' {
		return errIsResource
	}
	if len(list) != 1 {
		return nil
	}
	m := list[0]
	switch first := m.value[0]; {
	case first == '[' && (m.key == "resourceLogs" || m.key == "resource_logs"):
		return errIsOTLP
	case first == '[' && (m.key == "resourceSpans" || m.key == "resourceMetrics"):
		return errIsOther
	case first == '[' && m.key == "streams":
		return errIsLoki
	case first == '{' && (m.key == "create" || m.key == "index" || m.key == "update" || m.key == "delete"):
		if isBulkAction(m.value) {
			return errIsBulk
		}
	}
	return nil
}

// isHEC reports whether an entry is an event for Splunk's event collector: it has an
// event and a sourcetype, or an event, fields and no other keys than those of an event.
// https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector
func (list memberList) isHEC() bool {
	if list.find("event") < 0 {
		return false
	}
	if list.find("sourcetype") >= 0 {
		return true
	}
	for i := range list {
		switch list[i].key {
		case "event", "fields", "host", "index", "source", "time":
		default:
			return false
		}
	}
	fields := list.find("fields")
	return fields >= 0 && list[fields].value[0] == '{'
}

// isBulkAction reports whether object is the value of an action of a bulk request:
// it is empty or has an index or an id.
func isBulkAction(object []byte) bool {
	if c := enterObject(object); !c.More() {
		return true
	}
	return findMember(object, "_index").value != nil || findMember(object, "_id").value != nil
}
