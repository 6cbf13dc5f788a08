package otlp

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

const arrival = "2026-11-25T12:00:00.000000000Z"

// bytesField returns a field of type wireBytes.
func bytesField(number int, data ...string) string {
	joined := strings.Join(data, "")
	return string(
		append(
			binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number<<3|wireBytes)), uint64(len(joined))),
			joined...),
	)
}

func varintField(number int, n uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number<<3|wireVarint)), n))
}

func fixed64Field(number int, n uint64) string {
	return string(binary.LittleEndian.AppendUint64(binary.AppendUvarint(nil, uint64(number<<3|wireFixed64)), n))
}

func fixed32Field(number int, n uint32) string {
	return string(binary.LittleEndian.AppendUint32(binary.AppendUvarint(nil, uint64(number<<3|wireFixed32)), n))
}

func keyValue(key, value string) string { return bytesField(1, key) + bytesField(2, value) }

// A testBody is a request in both encodings.
type testBody struct{ proto, json string }

// group returns a request with a resource and a scope.
func group(records ...testBody) testBody {
	var proto string
	var json []string
	for _, r := range records {
		proto += bytesField(2, r.proto)
		json = append(json, r.json)
	}
	// The groups come before their description.
	return testBody{
		proto: bytesField(
			1,
			bytesField(
				2,
				proto,
				bytesField(
					1,
					bytesField(1, "scope"),
					bytesField(2, "1.0"),
					bytesField(3, keyValue("s", varintField(3, 1))),
				),
			),
			bytesField(1, bytesField(1, keyValue("service.name", bytesField(1, "checkout")))),
		),
		json: `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Join(json, ",") + `],
			"scope":{"name":"scope","version":"1.0","attributes":[{"key":"s","value":{"intValue":"1"}}]}}],
			"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]}}]}`,
	}
}

// groupMembers are the members that group adds to each row.
const groupMembers = `"otel.scope.name":"scope","otel.scope.version":"1.0","s":1,"service.name":"checkout"`

// A convertedRow is the columns of a row.
type convertedRow struct{ level, message, timestamp, details string }

// convert returns the rows of a request, and checks that they fit into the text
// that Measure has announced.
func convert(t *testing.T, q Request) ([]convertedRow, Result, error) {
	t.Helper()
	result, err := q.Measure()
	if err != nil {
		checkTry(t, q, nil, result, err)
		return nil, result, err
	}
	var ends []Row
	text := q.AppendRows(make([]byte, 0, result.TextSize), []byte(arrival), func(r Row) { ends = append(ends, r) })
	rows := convertedRows(text, ends)
	checkTry(t, q, rows, result, nil)
	if len(rows) != result.Kept || len(text) > result.TextSize {
		t.Errorf("got %d rows of %d bytes, want %d of at most %d", len(rows), len(text), result.Kept, result.TextSize)
	}
	return rows, result, nil
}

// convertedRows returns the rows whose columns end at the offsets ends in text.
func convertedRows(text []byte, ends []Row) (rows []convertedRow) {
	start := 0
	for _, r := range ends {
		rows = append(rows, convertedRow{
			string(text[start:r.Level]), string(text[r.Level:r.Message]),
			string(text[r.Message:r.Timestamp]), string(text[r.Timestamp:r.Details]),
		})
		start = r.Details
	}
	return rows
}

// checkTry compares TryAppendRows with the results of Measure and AppendRows. The text
// must not grow, whatever its size is.
func checkTry(t *testing.T, q Request, want []convertedRow, wantResult Result, wantErr error) {
	t.Helper()
	estimated, err := q.Estimate()
	if err != nil {
		if err != wantErr && err != ErrNoRoom {
			t.Errorf("Estimate: got error %v, want %v", err, wantErr)
		}
		return
	}
	if estimated.Kept < len(want) {
		t.Errorf("Estimate: got %d records, want at least %d", estimated.Kept, len(want))
	}
	wantResult.TextSize, wantResult.Reason = 0, ""
	for _, size := range []int{0, 100, 1000, estimated.TextSize, 1 << 20} {
		var ends []Row
		room := make([]byte, 0, size)
		text, result, err := q.TryAppendRows(estimated, room, []byte(arrival), func(r Row) { ends = append(ends, r) })
		switch {
		case cap(text) != cap(room):
			t.Errorf("the text grew from %d to %d bytes, want no growth", cap(room), cap(text))
		case err == ErrNoRoom && size < 1<<20:
			continue
		case err != wantErr:
			t.Errorf("TryAppendRows: got error %v, want %v", err, wantErr)
		case err != nil:
			continue
		case (result.Reason != "") != (result.Rejected > 0):
			t.Errorf("got %d rejected records with the reason %q", result.Rejected, result.Reason)
		}
		result.Reason = "" // the records may be rejected in another order
		if got := convertedRows(text, ends); !slices.Equal(got, want) || result != wantResult {
			t.Errorf("TryAppendRows: got %v and %+v, want %v and %+v", got, result, want, wantResult)
		}
	}
}

// convertBoth converts a request in both encodings.
func convertBoth(
	t *testing.T,
	body testBody,
	level entry.Level,
	check func(t *testing.T, rows []convertedRow, result Result),
) {
	t.Helper()
	for _, q := range []Request{{Body: []byte(body.proto), Level: level}, {Body: []byte(body.json), JSON: true,
		Level: level}} {
		t.Run(map[bool]string{false: "proto", true: "json"}[q.JSON], func(t *testing.T) {
			rows, result, err := convert(t, q)
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			check(t, rows, result)
		})
	}
}

func TestRecordColumns(t *testing.T) {
	for _, c := range []struct {
		name   string
		record testBody
		want   convertedRow // without the members of the group
	}{
		{"empty", testBody{"", "{}"}, convertedRow{"unknown", "", arrival, ""}},
		{
			"all fields",
			testBody{
				fixed64Field(1, 1764072000123456789) + fixed64Field(11, 1) + varintField(2, 17) + bytesField(3, "ERROR") +
					bytesField(5, bytesField(1, "declined")) + bytesField(6, keyValue("order", varintField(3, 4711))) +
					varintField(7, 2) +
					fixed32Field(8, 0x101) + bytesField(9, strings.Repeat("\xab", 16)) + bytesField(10, strings.Repeat("\xcd", 8)) +
					bytesField(12, "payment"),
				`{"timeUnixNano":"1764072000123456789","observedTimeUnixNano":"1","severityNumber":17,"severityText":"ERROR",
				"body":{"stringValue":"declined"},"attributes":[{"key":"order","value":{"intValue":"4711"}}],
				"droppedAttributesCount":2,
				"flags":257,
				"traceId":"` + strings.Repeat("AB", 16) + `","spanId":"` + strings.Repeat("cd", 8) + `","eventName":"payment"}`,
			},
			convertedRow{"error", "declined", "2025-11-25T12:00:00.123456789Z",
				`"trace_id":"` + strings.Repeat("ab", 16) + `","span_id":"` + strings.Repeat("cd", 8) +
					`","trace_flags":"01","event_name":"payment","otel.dropped_attributes_count":2,"order":4711`},
		},
		{
			"observed time and severity text",
			testBody{fixed64Field(11, 1764072000000000000) + bytesField(3, "WARNING"),
				`{"observedTimeUnixNano":1764072000000000000,"severityText":"WARNING"}`},
			convertedRow{"warning", "", "2025-11-25T12:00:00.000000000Z", ""},
		},
		{
			"severity text that the level does not show",
			testBody{varintField(2, 10) + bytesField(3, "notice"), `{"severityNumber":10,"severityText":"notice"}`},
			convertedRow{"info", "", arrival, `"severity_text":"notice"`},
		},
		{
			"unknown severity number",
			testBody{varintField(2, 25) + bytesField(3, "Audit"), `{"severityNumber":25,"severityText":"Audit"}`},
			convertedRow{"audit", "", arrival, `"severity_number":25`},
		},
		{
			"severity text that grows in lower case",
			testBody{bytesField(3, "ȺȺ"), `{"severityText":"ȺȺ"}`},
			convertedRow{"ⱥⱥ", "", arrival, ""},
		},
		{
			"ids of zeros",
			testBody{bytesField(9, strings.Repeat("\x00", 16)) + bytesField(10, ""), `{"traceId":"` + strings.Repeat("0", 32) +
				`","spanId":""}`},
			convertedRow{"unknown", "", arrival, ""},
		},
		{
			"unknown fields",
			testBody{varintField(100, 1) + "\xfb\x07" + fixed32Field(1, 0) + "\xfc\x07" + bytesField(2, "wrong wire type"),
				`{"x":{"severityNumber":17},"y":[1]}`},
			convertedRow{"unknown", "", arrival, ""},
		},
		{
			"latest time",
			testBody{fixed64Field(1, math.MaxUint64), `{"timeUnixNano":"18446744073709551615"}`},
			convertedRow{"unknown", "", "2554-07-21T23:34:33.709551615Z", ""},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want.details != "" {
				c.want.details += ","
			}
			c.want.details = "{" + c.want.details + groupMembers + "}"
			// The second row copies the members of the group.
			convertBoth(
				t,
				group(c.record, c.record),
				entry.LevelTrace,
				func(t *testing.T, rows []convertedRow, _ Result) {
					if want := []convertedRow{c.want, c.want}; !slices.Equal(rows, want) {
						t.Errorf("got %q, want %q", rows, want)
					}
				},
			)
		})
	}
}

func TestValues(t *testing.T) {
	array := bytesField(5, bytesField(1, bytesField(1, "a"))+bytesField(1, varintField(2, 1))+bytesField(1, ""))
	for _, c := range []struct {
		name          string
		value         testBody
		message, json string
	}{
		{"string", testBody{bytesField(1, "a\"\n€"), `{"stringValue":"a\"\n\u20ac"}`}, "a\"\n€", ""},
		{"true", testBody{varintField(2, 1), `{"boolValue":true}`}, "true", "true"},
		{"false", testBody{varintField(2, 0), `{"boolValue":false}`}, "false", "false"},
		{"int", testBody{varintField(3, math.MaxUint64), `{"intValue":"-1"}`}, "-1", "-1"},
		{"int as number", testBody{varintField(3, 1000), `{"intValue":1e3}`}, "1000", "1000"},
		{"double", testBody{fixed64Field(4, math.Float64bits(2.5)), `{"doubleValue":2.5}`}, "2.5", "2.5"},
		{"double as string", testBody{fixed64Field(4, math.Float64bits(2.5)), `{"doubleValue":"2.50"}`}, "2.5", "2.5"},
		{"NaN", testBody{fixed64Field(4, math.Float64bits(math.NaN())), `{"doubleValue":"NaN"}`}, `"NaN"`, `"NaN"`},
		{"infinity", testBody{fixed64Field(4, math.Float64bits(math.Inf(-1))), `{"doubleValue":"-Infinity"}`},
			`"-Infinity"`, `"-Infinity"`},
		{"bytes", testBody{bytesField(7, "\x00\xff"), `{"bytesValue":"AP8="}`}, "AP8=", `"AP8="`},
		{"array", testBody{array, `{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":true},{}]}}`},
			`["a",true,null]`, `["a",true,null]`},
		{"empty array", testBody{bytesField(5), `{"arrayValue":{}}`}, "[]", "[]"},
		{"map", testBody{bytesField(6, bytesField(1, keyValue("k", array))),
			`{"kvlistValue":{"values":[{"key":"k","value":
				{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":true},null]}}}]}}`},
			`{"k":["a",true,null]}`, `{"k":["a",true,null]}`},
		{"empty map", testBody{bytesField(6), `{"kvlistValue":{"values":[]}}`}, "{}", "{}"},
		{"nothing", testBody{"", `{}`}, "", "null"},
		{"null", testBody{"", `null`}, "", "null"},
		{"names of the protobuf fields", testBody{varintField(3, 7), `{"int_value":7}`}, "7", "7"},
		{"names with escapes", testBody{varintField(3, 7), `{"int\u0056alue":7}`}, "7", "7"},
		{"null before it", testBody{varintField(2, 1), `{"doubleValue":null,"x":[{}],"boolValue":true}`}, "true", "true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := group(testBody{
				bytesField(5, c.value.proto) + bytesField(6, keyValue("k", c.value.proto)),
				`{"body":` + c.value.json + `,"attributes":[{"value":` + c.value.json + `,"key":"k"}]}`,
			})
			convertBoth(t, body, entry.LevelTrace, func(t *testing.T, rows []convertedRow, _ Result) {
				got := rows[0].details
				got = strings.TrimSuffix(strings.TrimPrefix(got, `{"k":`), ","+groupMembers+"}")
				if rows[0].message != c.message || c.json != "" && got != c.json {
					t.Errorf("got message %q and attribute %s, want %q and %s", rows[0].message, got, c.message, c.json)
				}
			})
		})
	}
}

func TestRecordsAreFilteredByLevel(t *testing.T) {
	var records []testBody
	for n := range 25 {
		records = append(records, testBody{varintField(2, uint64(n)), fmt.Sprintf(`{"severityNumber":%d}`, n)})
	}
	records = append(
		records,
		testBody{bytesField(3, "warn"), `{"severityText":"warn"}`},
		testBody{bytesField(3, "FATAL"), `{"severityText":"F\u0041TAL"}`},
	)
	convertBoth(t, group(records...), entry.LevelError, func(t *testing.T, rows []convertedRow, result Result) {
		var levels []string
		for _, r := range rows {
			levels = append(levels, r.level)
		}
		want := "unknown error error error error fatal fatal fatal fatal fatal"
		if got := strings.Join(levels, " "); got != want || result.Kept != 10 || result.Filtered != 17 {
			t.Errorf("got %s, %d kept and %d filtered, want %s, 10 and 17", got, result.Kept, result.Filtered, want)
		}
	})
}

// A record with too deep a value is rejected, but no other. The depth does not
// depend on the level.
func TestDeepRecordsAreRejected(t *testing.T) {
	deep := func(depth int) testBody {
		v := testBody{varintField(3, 1), `{"intValue":1}`}
		for i := range depth {
			if i%2 == 0 {
				v = testBody{bytesField(5, bytesField(1, v.proto)), `{"arrayValue":{"values":[` + v.json + `]}}`}
			} else {
				v = testBody{bytesField(6, bytesField(1, keyValue("k", v.proto))),
					`{"kvlistValue":{"values":[{"key":"k","value":` + v.json + `}]}}`}
			}
		}
		return testBody{varintField(2, 9) + bytesField(5, v.proto), `{"severityNumber":9,"body":` + v.json + `}`}
	}
	body := group(deep(maxDepth), deep(maxDepth+1), testBody{varintField(2, 17), `{"severityNumber":17}`})
	for _, level := range []entry.Level{entry.LevelTrace, entry.LevelError} {
		convertBoth(t, body, level, func(t *testing.T, rows []convertedRow, result Result) {
			if result.Rejected != 1 || result.Kept+result.Filtered != 2 || result.Reason != errTooDeep.Error() {
				t.Errorf("got %+v, want 1 record rejected and 2 others", result)
			}
		})
	}
}

// Attributes in the usual form are read by shortMember, and others are not. The lengths
// are around those at which protobuf needs another byte.
func TestAttributeForms(t *testing.T) {
	check := func(name, attribute, want string) {
		t.Helper()
		body := group(testBody{proto: bytesField(6, attribute)}).proto
		rows, _, err := convert(t, Request{Body: []byte(body)})
		if err != nil || len(rows) != 1 || rows[0].details != "{"+want+","+groupMembers+"}" {
			t.Errorf("%s: got %q, %v, want %s", name, rows, err, want)
		}
	}
	for _, k := range []int{0, 1, 126, 127, 128, 133, 300} {
		for v := range 140 {
			key, value := strings.Repeat("k", k), strings.Repeat("v", v)
			check(fmt.Sprintf("lengths %d and %d", k, v), keyValue(key, bytesField(1, value)), fmt.Sprintf("%q:%q", key, value))
		}
	}
	key, value := bytesField(1, "k"), bytesField(2, bytesField(1, "v"))
	check("value first", value+key, `"k":"v"`)
	check("two keys", bytesField(1, "j")+key+value, `"k":"v"`)
	check("two values", key+bytesField(2, bytesField(1, "u"))+value, `"k":"v"`)
	check("two strings", key+bytesField(2, bytesField(1, "u")+bytesField(1, "v")), `"k":"v"`)
	check("unknown field", key+value+varintField(9, 1), `"k":"v"`)
	check("unknown field in the value", key+bytesField(2, bytesField(1, "v")+varintField(9, 1)), `"k":"v"`)
	check("another field first", bytesField(3, "x")+value, `"":"v"`)
	check("another field", key+bytesField(3, bytesField(1, "v")), `"k":null`)
	check("no value", key, `"k":null`)
	check("empty value", key+bytesField(2, ""), `"k":null`)
	check("boolean", key+bytesField(2, varintField(2, 1)), `"k":true`)
}

// A value may precede its key, but not at each of many levels: reading such a
// request would take long.
func TestLateKeys(t *testing.T) {
	for depth, want := range map[int]error{maxLateKeyDepth - 1: nil, maxLateKeyDepth: errLateKey} {
		value := `{"intValue":1}`
		for range depth {
			value = `{"kvlistValue":{"values":[{"value":` + value + `,"key":"k"}]}}`
		}
		body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[{"value":` + value + `,"key":"k"}]}]}]}]}`
		rows, result, err := convert(t, Request{Body: []byte(body), JSON: true})
		if err != nil {
			t.Fatal(err)
		}
		if want != nil && result.Reason != want.Error() || want == nil && len(rows) != 1 {
			t.Errorf("depth %d: got %d rows and reason %q, want the error %v", depth, len(rows), result.Reason, want)
		}
	}
}

func TestMalformedProtobufIsRejected(t *testing.T) {
	record := func(fields string) string { return bytesField(1, bytesField(2, bytesField(2, fields))) }
	for name, body := range map[string]string{
		"truncated tag":                "\x80",
		"truncated varint":             record("\x10\x80"),
		"varint of 11 bytes":           record("\x10" + strings.Repeat("\x80", 10) + "\x01"),
		"varint above 64 bits":         record("\x10" + strings.Repeat("\xff", 9) + "\x02"),
		"truncated fixed64":            record("\x09\x00"),
		"truncated fixed32":            record("\x45\x00"),
		"length beyond the end":        "\x0a\x05abc",
		"unknown field beyond the end": "\x12\x01",
		"length above 63 bits":         "\x0a" + strings.Repeat("\xff", 9) + "\x01",
		"field 0":                      record("\x00\x00"),
		"field number above the limit": record("\x80\x80\x80\x80\x10\x00"),
		"wire type 6":                  record("\x16"),
		"end of a group":               record("\x0c"),
		"group without an end":         record("\x0b\x10\x01"),
		"group with another end":       record("\x0b\x14"),
		"body":                         record(bytesField(5, "\x0a")),
		"value in an array":            record(bytesField(5, bytesField(5, bytesField(1, "\x0a")))),
		"array":                        record(bytesField(5, bytesField(5, "\x0a"))),
		"map":                          record(bytesField(5, bytesField(6, "\x0a"))),
		"key in a map":                 record(bytesField(5, bytesField(6, bytesField(1, "\x0a")))),
		"attribute":                    record(bytesField(6, "\x0a")),
		"attribute's value":            record(bytesField(6, bytesField(2, "\x0a"))),
		"attribute's short value":      record(bytesField(6, "\x0a\x01k\x12\x03\x0a\x02vv")),
		"attribute's long value":       record(bytesField(6, "\x0a\x01k\x12\x80\x0a\x7e"+strings.Repeat("v", 126))),
		"attribute's long key":         record(bytesField(6, "\x0a\x80\x0b"+strings.Repeat("k", 127)+"\x12\x03\x0a\x01v")),
		"resource":                     bytesField(1, bytesField(1, "\x0a")),
		"scope":                        bytesField(1, bytesField(2, bytesField(1, "\x0a"))),
		"resource logs":                bytesField(1, "\x0a"),
		"scope logs":                   bytesField(1, bytesField(2, "\x0a")),
		"JSON":                         `{"resourceLogs":[]}`,
	} {
		for _, level := range []entry.Level{entry.LevelTrace, entry.LevelUnknown + 1} { // also if the record is filtered
			if _, _, err := convert(t, Request{Body: []byte(body), Level: level}); err != errMalformed {
				t.Errorf("%s, level %v: got error %v, want %v", name, level, err, errMalformed)
			}
		}
	}
}

// In JSON of the right structure, a record with a value of a wrong type is
// rejected, but no other.
func TestJSONWithWrongTypes(t *testing.T) {
	for _, body := range []string{
		`{"resourceLogs":{}}`, `{"resourceLogs":[1]}`, `{"resourceLogs":[{"scopeLogs":{}}]}`,
		`{"resourceLogs":[{"resource":[]}]}`,
		`{"resourceLogs":[{"resource":{"attributes":{}}}]}`, `{"resourceLogs":[{"scopeLogs":[{"logRecords":{}}]}]}`,
		`{"resourceLogs":[{"scopeLogs":[{"scope":{"name":1}}]}]}`, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[1]}]}]}`,
	} {
		if _, _, err := convert(t, Request{Body: []byte(body), JSON: true}); err != errType {
			t.Errorf("%s: got error %v, want %v", body, err, errType)
		}
	}
	for _, record := range []string{
		`{"timeUnixNano":"x"}`, `{"timeUnixNano":-1}`, `{"timeUnixNano":1.5}`, `{"timeUnixNano":{}}`, `{"timeUnixNano":""}`,
		`{"timeUnixNano":"` + strings.Repeat("1", 40) + `"}`,
		`{"severityNumber":[]}`, `{"severityText":1}`, `{"traceId":1}`, `{"spanId":{}}`, `{"eventName":true}`,
		`{"attributes":{}}`, `{"attributes":[1]}`,
		`{"attributes":[{"key":1}]}`, `{"body":"text"}`, `{"body":{"stringValue":1}}`, `{"body":{"boolValue":"true"}}`,
		`{"body":{"intValue":"x"}}`, `{"body":{"intValue":1.5}}`,
		`{"body":{"doubleValue":"x"}}`, `{"body":{"doubleValue":true}}`, `{"body":{"arrayValue":[]}}`,
		`{"body":{"kvlistValue":{"values":{}}}}`, `{"body":{"bytesValue":1}}`,
	} {
		body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},` + record + `,{}]}]}]}`
		for _, level := range []entry.Level{entry.LevelTrace, entry.LevelUnknown} {
			_, result, err := convert(t, Request{Body: []byte(body), JSON: true, Level: level})
			if err != nil || result.Rejected != 1 || result.Kept != 2 || result.Reason == "" {
				t.Errorf("%s: got %+v, %v, want 1 record rejected and 2 kept", record, result, err)
			}
		}
	}
}

// Only hexadecimal ids are converted to lower case.
func TestJSONIDs(t *testing.T) {
	for _, c := range []struct{ id, want string }{
		{"0123456789ABCDEFabcdef", "0123456789abcdefabcdef"},
		{"W47/95gDgQPSabYzgT/GDA==", "W47/95gDgQPSabYzgT/GDA=="},
		{"ABCDEFG", "ABCDEFG"},
		{"AB\\u0041", "AB\\u0041"},
	} {
		body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"` + c.id + `"}]}]}]}`
		rows, _, err := convert(t, Request{Body: []byte(body), JSON: true})
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"trace_id":"` + c.want + `"}`; len(rows) != 1 || rows[0].details != want {
			t.Errorf("got rows %v, want one with the details %s", rows, want)
		}
	}
}

// Invalid UTF-8 is replaced, so that all columns are valid.
func TestInvalidUTF8IsRepaired(t *testing.T) {
	record := bytesField(
		3,
		"Ä\xff",
	) + bytesField(
		5,
		bytesField(1, "a\xffb"),
	) + bytesField(
		6,
		keyValue("\xfe", bytesField(1, "\xc3(")),
	)
	rows, _, err := convert(t, Request{Body: []byte(bytesField(1, bytesField(2, bytesField(2, record))))})
	if err != nil {
		t.Fatal(err)
	}
	want := convertedRow{"ä\ufffd", "a\ufffdb", arrival, "{\"\ufffd\":\"\ufffd(\"}"}
	if rows[0] != want {
		t.Errorf("got %q, want %q", rows[0], want)
	}
}

// A large resource with many records must not be walked for each of them, and must
// not take memory for each that is filtered.
func TestSharedMembersAreMeasuredOnce(t *testing.T) {
	attribute := bytesField(1, keyValue(strings.Repeat("k", 1<<16), bytesField(1, "v")))
	records := strings.Repeat(bytesField(2, varintField(2, 17)), 1<<16)
	body := bytesField(1, bytesField(1, attribute), bytesField(2, records))
	q := Request{Body: []byte(body)}
	result, err := q.Measure()
	if err != nil || result.TextSize < 1<<32 {
		t.Errorf("got a size of %d, %v, want more than 4 GiB", result.TextSize, err)
	}
	q.Level = entry.LevelFatal
	if result, err = q.Measure(); err != nil || result.TextSize != 0 {
		t.Errorf("got a size of %d, %v, want 0 if all records are filtered", result.TextSize, err)
	}
}

func TestConversionDoesNotAllocate(t *testing.T) {
	record := testBody{
		varintField(
			2,
			17,
		) + bytesField(
			5,
			bytesField(1, "declined\n"),
		) + bytesField(
			6,
			keyValue("order", varintField(3, 4711)),
		) + bytesField(
			6,
			keyValue("f", fixed64Field(4, math.Float64bits(1.5))),
		),
		`{"timeUnixNano":"1764072000123456789","severityNumber":17,"body":{"stringValue":"declined\n"},
		"attributes":[{"key":"order","value":{"intValue":"4711"}},{"key":"f","value":{"doubleValue":1.5}}]}`,
	}
	body := group(slices.Repeat([]testBody{record}, 100)...)
	for _, q := range []Request{{Body: []byte(body.proto)}, {Body: []byte(body.json), JSON: true}} {
		text, now := make([]byte, 0, 1<<20), []byte(arrival)
		allocations := testing.AllocsPerRun(10, func() {
			if _, err := q.Measure(); err != nil {
				t.Fatal(err)
			}
			q.AppendRows(text, now, func(Row) {})
		})
		if allocations > 10 {
			t.Errorf("JSON %v: got %v allocations for 100 records, want at most 10", q.JSON, allocations)
		}
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"success", string(AppendResponse(nil, false, 0, "")), ""},
		{"success in JSON", string(AppendResponse(nil, true, 0, "")), "{}"},
		{"partial success", string(AppendResponse(nil, false, 300, "why")), bytesField(1, varintField(1, 300), bytesField(2,
			"why"))},
		{"partial success in JSON", string(AppendResponse(nil, true, 300, `"why"`)),
			`{"partialSuccess":{"rejectedLogRecords":"300","errorMessage":"\"why\""}}`},
		{"status", string(AppendStatus(nil, false, "why")), bytesField(2, "why")},
		{"status in JSON", string(AppendStatus(nil, true, `"why"`)), `{"message":"\"why\""}`},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	body := group(
		testBody{
			varintField(2, 17) + bytesField(5, bytesField(1, "a")),
			`{"severityNumber":17,"body":{"stringValue":"a"}}`,
		},
	)
	f.Add([]byte(body.proto))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, level := range []entry.Level{entry.LevelTrace, entry.LevelError} {
			convert(t, Request{Body: body, Level: level})
		}
	})
}

// Usual records fit into the estimated text, which is hardly larger than the text.
func TestEstimate(t *testing.T) {
	record := testBody{
		fixed64Field(1, 1764072000123456789) + varintField(2, 17) + bytesField(3, "ERROR") +
			bytesField(5, bytesField(1, "said \"no\"")) + bytesField(6, keyValue("url.path", bytesField(1, "/orders/42"))) +
			bytesField(9, strings.Repeat("\xab", 16)) + bytesField(10, strings.Repeat("\xcd", 8)),
		`{"timeUnixNano":"1764072000123456789","severityNumber":17,"severityText":"ERROR",
			"body":{"stringValue":"said \"no\""},"attributes":[{"key":"url.path","value":{"stringValue":"/orders/42"}}],
			"traceId":"` + strings.Repeat("ab", 16) + `","spanId":"` + strings.Repeat("cd", 8) + `"}`,
	}
	body := group(slices.Repeat([]testBody{record}, 1000)...)
	for _, q := range []Request{{Body: []byte(body.proto)}, {Body: []byte(body.json), JSON: true}} {
		estimated, err := q.Estimate()
		if err != nil || estimated.Kept != 1000 {
			t.Fatalf("Estimate: got %+v, %v, want 1000 records", estimated, err)
		}
		size := estimated.TextSize
		text, result, err := q.TryAppendRows(estimated, make([]byte, 0, size), []byte(arrival), func(Row) {})
		if err != nil || result.Kept != 1000 {
			t.Errorf("TryAppendRows: got %+v, %v, want 1000 rows", result, err)
		}
		if !q.JSON && size > len(text)*5/4 {
			t.Errorf("estimate: got %d bytes for %d, want at most a quarter more", size, len(text))
		}
	}
	large := bytesField(1, bytesField(2, bytesField(2, bytesField(5, bytesField(1, strings.Repeat("x", maxEstimated))))))
	if _, err := (&Request{Body: []byte(large)}).Estimate(); err != ErrNoRoom {
		t.Errorf("a large record: got error %v, want %v", err, ErrNoRoom)
	}
}

func BenchmarkConvert(b *testing.B) {
	attributes, jsonAttributes := "", []string{}
	for i := range 8 {
		attributes += bytesField(6, keyValue(fmt.Sprintf("http.attribute.%d", i), bytesField(1, "some value")))
		jsonAttributes = append(
			jsonAttributes,
			fmt.Sprintf(`{"key":"http.attribute.%d","value":{"stringValue":"some value"}}`, i),
		)
	}
	record := testBody{
		fixed64Field(
			1,
			1764072000123456789,
		) + fixed64Field(
			11,
			1764072000123456789,
		) + varintField(
			2,
			17,
		) + bytesField(
			3,
			"ERROR",
		) + bytesField(
			5,
			bytesField(1, "connection to upstream lost"),
		) + attributes,
		`{"timeUnixNano":"1764072000123456789","observedTimeUnixNano":"1764072000123456789",
		"severityNumber":17,"severityText":"ERROR","body":{"stringValue":"connection to upstream lost"},
		"attributes":[` + strings.Join(
			jsonAttributes,
			",",
		) + `]}`,
	}
	body := group(slices.Repeat([]testBody{record}, 1000)...)
	for _, q := range []Request{{Body: []byte(body.proto)}, {Body: []byte(body.json), JSON: true}} {
		for _, level := range []entry.Level{entry.LevelError, entry.LevelFatal} {
			q.Level = level
			b.Run(fmt.Sprintf("json=%v/kept=%v", q.JSON, level == entry.LevelError), func(b *testing.B) {
				text, now := make([]byte, 0, 1<<20), []byte(arrival)
				b.SetBytes(int64(len(q.Body)))
				b.ReportAllocs()
				for b.Loop() {
					result, err := q.Estimate()
					if err == nil && result.Kept > 0 {
						_, _, err = q.TryAppendRows(result, text, now, func(Row) {})
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
