package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The forms of entries whose level, message or time is not under a common key.
var otherFormats = []struct {
	name, entry string
	want        [4]string // level, message, timestamp, details
}{
	{
		"GELF",
		`{"version":"1.1","host":"a","short_message":"m","full_message":"m\nn",` +
			`"timestamp":1764072000.123,"level":3,"_user":1}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.123000000Z",
			`{"version":"1.1","host":"a","full_message":"m\nn","_user":1}`},
	},
	{
		"journald",
		`{"__REALTIME_TIMESTAMP":"1764072000123456","PRIORITY":"4","MESSAGE":"m","_PID":"7"}`,
		[4]string{"warn", "m", "2025-11-25T12:00:00.123456000Z", `{"_PID":"7"}`},
	},
	{
		".NET console",
		`{"EventId":0,"LogLevel":"Critical","Category":"Shop","Message":"m","State":{"Message":"m"}}`,
		[4]string{"critical", "m", "ARRIVAL", `{"EventId":0,"Category":"Shop","State":{"Message":"m"}}`},
	},
	{
		"tracing",
		`{"timestamp":"2025-11-25T12:00:00.1Z","level":"ERROR","fields":{"message":"m","user":1},"target":"shop"}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.100000000Z", `{"fields":{"user":1},"target":"shop"}`},
	},
	{
		"loguru",
		`{"text":"t\n","record":{"level":{"icon":"x","name":"ERROR","no":40},` +
			`"message":"m","time":{"repr":"r","timestamp":1764072000.5}}}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.500000000Z",
			`{"text":"t\n","record":{"level":{"icon":"x","name":"ERROR","no":40},` +
				`"time":{"repr":"r","timestamp":1764072000.5}}}`},
	},
	{
		"ECS with a nested level",
		`{"@timestamp":"2025-11-25T12:00:00Z","log":{"level":"error","logger":"a"},"message":"m"}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.000000000Z", `{"log":{"level":"error","logger":"a"}}`},
	},
	{
		"OpenTelemetry's data model",
		`{"Timestamp":"1764072000123456789","SeverityText":"ERROR2","SeverityNumber":18,"Body":"m"}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.123456789Z", `{"SeverityText":"ERROR2"}`},
	},
	{
		"OpenTelemetry's Go SDK",
		`{"Timestamp":"0001-01-01T00:00:00Z","ObservedTimestamp":"2025-11-25T12:00:00Z","Severity":17,` +
			`"SeverityText":"","Body":{"Type":"STRING","Value":"m\n"}}`,
		[4]string{"error", "m\n", "2025-11-25T12:00:00.000000000Z", `{"Timestamp":"0001-01-01T00:00:00Z","SeverityText":""}`},
	},
	{
		"OpenTelemetry's Python SDK",
		`{"body":"m","severity_number":null,"severity_text":"ERROR","timestamp":null,` +
			`"observed_timestamp":"2025-11-25T12:00:00.123456Z"}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.123456000Z", `{"severity_number":null,"timestamp":null}`},
	},
	{
		"OpenTelemetry's JavaScript SDK",
		`{"timestamp":1764072000123456,"severityText":"ERROR2","severityNumber":18,"body":{"a":1}}`,
		[4]string{"error", `{"a":1}`, "2025-11-25T12:00:00.123456000Z", `{"severityText":"ERROR2"}`},
	},
	{
		"a number that is no severity",
		`{"Severity":17}`,
		[4]string{"unknown", "", "ARRIVAL", `{"Severity":17}`},
	},
	{
		"a severity that is a name",
		`{"Severity":"Error","ObservedTimestamp":1764072000,"Timestamp":"2025-11-25"}`,
		[4]string{"error", "", "2025-11-25T00:00:00.000000000Z", `{"ObservedTimestamp":1764072000}`},
	},
	{
		"an object that is not only a type and a value",
		`{"Body":{"Type":"a","Value":"b","Unit":"c"}}`,
		[4]string{"unknown", `{"Type":"a","Value":"b","Unit":"c"}`, "ARRIVAL", "NULL"},
	},
	{
		"a value without a type",
		`{"Body":{"Value":"a","Value":"b"}}`,
		[4]string{"unknown", `{"Value":"a","Value":"b"}`, "ARRIVAL", "NULL"},
	},
	{
		"a value that is an object",
		`{"body":{ "Value" : {"a": [1]} , "Type":"MAP"},"x":1}`,
		[4]string{"unknown", `{"a": [1]}`, "ARRIVAL", `{"x":1}`},
	},
	{
		"an empty value",
		`{"Body":{"Type":"EMPTY","Value":null}}`,
		[4]string{"unknown", "", "ARRIVAL", "NULL"},
	},
	{
		"journald's bytes",
		`{"MESSAGE":[72,105, 27,195,169,240,159,154 ,128,0,255,226,130],"_PID":"7"}`,
		[4]string{"unknown", "Hi\x1bé🚀\x00\ufffd\ufffd\ufffd", "ARRIVAL", `{"_PID":"7"}`},
	},
	{
		"journald's message with two values",
		`{"MESSAGE":["a","b"]}`,
		[4]string{"unknown", `["a","b"]`, "ARRIVAL", "NULL"},
	},
	{
		"numbers that are not bytes",
		`{"MESSAGE":[72,256]}`,
		[4]string{"unknown", `[72,256]`, "ARRIVAL", "NULL"},
	},
	{
		"an empty array",
		`{"MESSAGE":[]}`,
		[4]string{"unknown", `[]`, "ARRIVAL", "NULL"},
	},
	{
		"bytes in another message key",
		`{"message":[72,105]}`,
		[4]string{"unknown", `[72,105]`, "ARRIVAL", "NULL"},
	},
	{
		"Open Liberty",
		`{"message":"m","ibm_datetime":"2025-11-25T13:00:00.123+0100","loglevel":"SEVERE"}`,
		[4]string{"severe", "m", "2025-11-25T12:00:00.123000000Z", "NULL"},
	},
	{
		"Monolog",
		`{"level":400,"level_name":"ERROR","datetime":"2025-11-25T12:00:00.123456+00:00"}`,
		[4]string{"error", "", "2025-11-25T12:00:00.123456000Z", `{"level":400}`},
	},
	{
		"a name next to a level",
		`{"level":"warn","level_name":"ERROR"}`,
		[4]string{"warn", "", "ARRIVAL", `{"level_name":"ERROR"}`},
	},
	{
		"a name next to a level that is no number",
		`{"level":null,"level_name":"ERROR"}`,
		[4]string{"unknown", "", "ARRIVAL", `{"level":null,"level_name":"ERROR"}`},
	},
	{
		"PostgreSQL",
		`{"error_severity":"LOG","timestamp":"2025-11-25 12:00:00.123 UTC"}`,
		[4]string{"log", "", "2025-11-25T12:00:00.123000000Z", "NULL"},
	},
	{
		"strings of digits that are no times",
		`{"time":"20251125"}`,
		[4]string{"unknown", "", "ARRIVAL", `{"time":"20251125"}`},
	},
	{
		"log4j",
		`{"instant":{"epochSecond":1764072000,"nanoOfSecond":123000000},"loglevel":"FATAL","message":"m"}`,
		[4]string{"fatal", "m", "2025-11-25T12:00:00.123000000Z", "NULL"},
	},
	{
		"seconds and nanoseconds",
		`{"timestamp":{"nanos":5,"seconds":"1764072000"},"severity":"ERROR","message":"m"}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.000000005Z", "NULL"},
	},
	{
		"Python's asctime",
		`{"asctime":"2025-11-25 12:00:00,123","levelname":"ERROR","message":"m"}`,
		[4]string{"error", "m", "2025-11-25T12:00:00.123000000Z", "NULL"},
	},
	{
		"nginx",
		`{"time_local":"25/Nov/2025:13:00:00 +0100","status":200}`,
		[4]string{"unknown", "", "2025-11-25T12:00:00.000000000Z", `{"status":200}`},
	},
	{
		"nginx in ISO 8601",
		`{"time_iso8601":"2025-11-25T13:00:00+01:00","status":200}`,
		[4]string{"unknown", "", "2025-11-25T12:00:00.000000000Z", `{"status":200}`},
	},
	{
		"Apache",
		`{"time":"[25/Nov/2025:13:00:00 +0100]","status":200}`,
		[4]string{"unknown", "", "2025-11-25T12:00:00.000000000Z", `{"status":200}`},
	},
	{
		"a number that is no level of GELF",
		`{"level":3,"host":"a"}`,
		[4]string{"unknown", "", "ARRIVAL", `{"level":3,"host":"a"}`},
	},
	{
		"values that are neither levels nor times",
		`{"PRIORITY":"x","SeverityNumber":0,"instant":{"epochSecond":"x"},"log":{"level":5},` +
			`"record":{"level":{"name":"audit"},"time":{}}}`,
		[4]string{
			"unknown",
			`{"level":5}`,
			"ARRIVAL",
			`{"PRIORITY":"x","SeverityNumber":0,"instant":{"epochSecond":"x"},` +
				`"record":{"level":{"name":"audit"},"time":{}}}`,
		},
	},
	{
		"the only member of a nested object",
		`{"fields": { "message" : "m" } }`,
		[4]string{"unknown", "m", "ARRIVAL", `{"fields":{  }}`},
	},
	{
		"the last member of a nested object",
		`{"fields":{"a":1 , "message":{"b":2} }}`,
		[4]string{"unknown", `{"b":2}`, "ARRIVAL", `{"fields":{"a":1 }}`},
	},
}

func TestOtherFormats(t *testing.T) {
	for _, c := range otherFormats {
		t.Run(c.name, func(t *testing.T) {
			if got := decodeRow(t, c.entry, "ARRIVAL"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// An entry is filtered by a level that only the decoder finds.
func TestLateLevelsAreFiltered(t *testing.T) {
	for _, c := range []struct{ name, dropped, kept string }{
		{"GELF", `{"version":"1.1","host":"a","level":6}`, `{"version":"1.1","host":"a","level":2}`},
		{"journald", `{"PRIORITY":"5"}`, `{"PRIORITY":"3"}`},
		{".NET console", `{"LogLevel":"Information"}`, `{"LogLevel":"Error"}`},
		{"loguru", `{"record":{"level":{"name":"SUCCESS"}}}`, `{"record":{"level":{"name":"CRITICAL"}}}`},
		{"ECS", `{"log":{"level":"warn"}}`, `{"log":{"level":"error"}}`},
		{"SeverityText", `{"SeverityText":"Warn"}`, `{"SeverityText":"audit"}`},
		{"SeverityNumber", `{"SeverityNumber":16}`, `{"SeverityNumber":17}`},
		{"severity_number", `{"severity_number":16}`, `{"severity_number":17}`},
		{"severityText", `{"severityText":"Warn"}`, `{"severityText":"audit"}`},
		{"Severity", `{"Severity":16,"SeverityText":""}`, `{"Severity":16}`},
		{"Monolog", `{"level":300,"level_name":"WARNING"}`, `{"level":400,"level_name":"ERROR"}`},
		{"PostgreSQL", `{"error_severity":"LOG"}`, `{"error_severity":"PANIC"}`},
		{"loglevel", `{"loglevel":"DEBUG"}`, `{"loglevel":"ERROR"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestService(t)
			for _, step := range []struct {
				body               string
				accepted, filtered int
			}{
				{c.dropped + c.kept + `{"level":"info"}` + c.dropped, 1, 3},
				{c.dropped, 0, 1},
				{c.kept + c.kept, 2, 0},
			} {
				w := s.post(step.body)
				want := fmt.Sprintf(`{"accepted":%d,"filtered":%d}`+"\n", step.accepted, step.filtered)
				if w.Code != http.StatusOK || w.Body.String() != want {
					t.Errorf("%s: got %d %s, want 200 %s", step.body, w.Code, w.Body, want)
				}
			}
			if rows := readRows(t, s.path); len(rows) != 3 {
				t.Errorf("got %d rows, want 3", len(rows))
			}
			body := `{"create":{}}` + "\n" + c.dropped + "\n" + `{"create":{}}` + "\n" + c.kept + "\n"
			if w := s.bulk("/elasticsearch/_bulk?wait=1", body); w.Code != http.StatusOK {
				t.Errorf("bulk: got %d %s, want 200", w.Code, w.Body)
			}
			if rows := readRows(t, s.path); len(rows) != 4 {
				t.Errorf("got %d rows, want 4", len(rows))
			}
		})
	}
}

// A body in the format of another route or service gets 400 with the route to use.
func TestWrongEndpoint(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct{ name, body, contentType, want string }{
		{"OTLP", otlpJSON(17), "", "POST /v1/logs"},
		{"OTLP without its outermost object", `{"resource":{},"scopeLogs":[{"logRecords":[]}]}`, "", `{\"resourceLogs\":[`},
		{"OTLP in protobuf", otlpProto(17), "application/x-protobuf", "POST /v1/logs"},
		{"traces", `{"resourceSpans":[]}`, "", "accepts only logs"},
		{"metrics", `{"resourceMetrics":[]}`, "", "accepts only logs"},
		{"bulk", `{"create":{}}` + "\n" + `{"message":"a","level":"info"}`, "", "POST /elasticsearch/_bulk"},
		{"bulk with index", `{"index":{"_index":"a"}}` + "\n" + `{"message":"a"}`, "", "POST /elasticsearch/_bulk"},
		{"bulk delete", `{"delete":{"_id":"a"}}`, "", "POST /elasticsearch/_bulk"},
		{"Loki", `{"streams":[{"stream":{"a":"b"},"values":[["1","x"]]}]}`, "", "Loki"},
		{"Splunk", `{"time":1,"event":"a","sourcetype":"b"}{"event":{"a":1},"sourcetype":"c"}`, "", "Splunk"},
		{"Splunk without a sourcetype", `{"event":"a","host":"b","time":1,"fields":{"c":"d"}}`, "", "Splunk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := s.post(c.body, "Content-Type", c.contentType)
			checkError(t, w, http.StatusBadRequest)
			if !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got %s, want it to contain %s", w.Body, c.want)
			}
		})
	}
	for _, body := range []string{
		`{"event":"structlog","level":"error"}`, `{"event":"a"}`, `{"index":{"a":1}}`, `{"create":1}`, `{"streams":1}`,
		`{"streams":[],"level":"error"}`, `{"resourceLogs":[],"a":1}`, `{"event":"a","sourcetype":"b","level":"error"}`,
		`{"event":"a","fields":{"c":"d"},"user":1}`, `{"event":"a","fields":["c"],"host":"b"}`, `{"event":"a","host":"b"}`,
	} {
		if w := s.post(body); w.Code != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", body, w.Code, w.Body)
		}
	}
}

// The table in docs/storage.md lists all columnKeys in their order.
func TestKeysAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/storage.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := columnKeys[:]
	for column, want := range map[string][]string{
		"level":     keys[levelFields:messageFields],
		"message":   keys[messageFields:timeFields],
		"timestamp": keys[timeFields:columnFields],
	} {
		cell := regexp.MustCompile("(?m)^\\| `" + column + "` \\| (`[^|]*`)[^|`]* \\|").FindSubmatch(text)
		if cell == nil {
			t.Errorf("docs/storage.md has no row with the keys of %s", column)
			continue
		}
		var got []string
		for _, key := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(cell[1], -1) {
			got = append(got, string(key[1]))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("docs/storage.md lists for %s\n got %q\nwant %q", column, got, want)
		}
	}
}
