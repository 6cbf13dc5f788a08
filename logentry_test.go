package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// decodeRow returns the columns of the row of an entry: level, message,
// timestamp, details. Missing details are "NULL".
func decodeRow(t *testing.T, text, arrival string) [4]string {
	t.Helper()
	b := new(batch)
	e := newLogEntry()
	valid, herr := e.repair(&reservation{budget: &budget{limit: 1 << 30}, held: new(atomic.Int64)}, []byte(text))
	if herr != nil {
		t.Fatalf("repair(%s): %v", text, herr)
	}
	if err := e.appendRow(b, valid, []byte(arrival)); err != nil {
		t.Fatalf("appendRow(%s): %v", text, err)
	}
	var columns [4]string
	for i, v := range b.values(0) {
		if v == nil {
			columns[i] = "NULL"
		} else {
			columns[i] = v.(string)
		}
	}
	return columns
}

func TestColumns(t *testing.T) {
	const now = "2026-11-22T15:24:00.000000000Z"
	for _, c := range []struct {
		name, entry string
		want        [4]string // level, message, timestamp, details
	}{
		{
			name:  "an empty object has defaults",
			entry: `{}`,
			want:  [4]string{"unknown", "", now, "NULL"},
		},
		{
			name:  "other members become details, in order and byte for byte",
			entry: `{"user_id": 42, "level": "error", "nested": { "a" : [1 , 2.50] }, "message": "m", "s": "\u003c\/é"}`,
			want:  [4]string{"error", "m", now, `{"user_id":42,"nested":{ "a" : [1 , 2.50] },"s":"\u003c\/é"}`},
		},
		{
			name:  "a level is stored in lower case",
			entry: `{"level":"ErRor"}`,
			want:  [4]string{"error", "", now, "NULL"},
		},
		{
			name:  "a level with slog's offset",
			entry: `{"level":"ERROR+4"}`,
			want:  [4]string{"error+4", "", now, "NULL"},
		},
		{
			name:  "an unknown level",
			entry: `{"level":"Übel"}`,
			want:  [4]string{"übel", "", now, "NULL"},
		},
		{
			name:  "an empty level",
			entry: `{"level":""}`,
			want:  [4]string{"", "", now, "NULL"},
		},
		{
			name:  "a number is stored as its name",
			entry: `{"level":50}`,
			want:  [4]string{"error", "", now, "NULL"},
		},
		{
			name:  "a number between two levels",
			entry: `{"level":59.9}`,
			want:  [4]string{"error", "", now, "NULL"},
		},
		{
			name:  "a number that is no level stays in details",
			entry: `{"level":500}`,
			want:  [4]string{"unknown", "", now, `{"level":500}`},
		},
		{
			name:  "a number out of range stays in details",
			entry: `{"level":1e999}`,
			want:  [4]string{"unknown", "", now, `{"level":1e999}`},
		},
		{
			name:  "a level of null is unreadable and stays in details",
			entry: `{"level":null,"severity":"info"}`,
			want:  [4]string{"unknown", "", now, `{"level":null,"severity":"info"}`},
		},
		{
			name:  "a level that is an object stays in details",
			entry: `{"level":{"a":1}}`,
			want:  [4]string{"unknown", "", now, `{"level":{"a":1}}`},
		},
		{
			name:  "level precedes severity",
			entry: `{"severity":"info","level":"error"}`,
			want:  [4]string{"error", "", now, `{"severity":"info"}`},
		},
		{
			name:  "precedence of level keys",
			entry: `{"Level":"7","@l":"6","levelname":"5","log.level":"4","lvl":"3","severity":"2"}`,
			want:  [4]string{"2", "", now, `{"Level":"7","@l":"6","levelname":"5","log.level":"4","lvl":"3"}`},
		},
		{
			name:  "precedence of message keys",
			entry: `{"log":"7","event":"6","RenderedMessage":"5","@mt":"4","@m":"3","msg":"2"}`,
			want:  [4]string{"unknown", "2", now, `{"log":"7","event":"6","RenderedMessage":"5","@mt":"4","@m":"3"}`},
		},
		{
			name:  "precedence of time keys",
			entry: `{"date":7,"Timestamp":6,"@t":5,"@timestamp":4,"ts":3,"time":2,"level":"e"}`,
			want:  [4]string{"e", "", "1970-01-01T00:00:02.000000000Z", `{"date":7,"Timestamp":6,"@t":5,"@timestamp":4,"ts":3}`},
		},
		{
			name:  "the first of two equal keys counts",
			entry: `{"level":"error","message":"a","level":"info","message":"b"}`,
			want:  [4]string{"error", "a", now, `{"level":"info","message":"b"}`},
		},
		{
			name:  "CLEF omits the level info",
			entry: `{"@t":"2026-01-02T03:04:05Z","@mt":"x"}`,
			want:  [4]string{"info", "x", "2026-01-02T03:04:05.000000000Z", "NULL"},
		},
		{
			name:  "a message that is not a string",
			entry: `{"msg":{"a": 1}}`,
			want:  [4]string{"unknown", `{"a": 1}`, now, "NULL"},
		},
		{
			name:  "a message that is null",
			entry: `{"message":null,"msg":"m"}`,
			want:  [4]string{"unknown", `null`, now, `{"msg":"m"}`},
		},
		{
			name:  "a message with escapes",
			entry: `{"message":"a\n\"\ud83d\ude00\ud800x\u00e9\/\u0000"}`,
			want:  [4]string{"unknown", "a\n\"😀\ufffdxé/\x00", now, "NULL"},
		},
		{
			name:  "keys with escapes",
			entry: `{"le\u0076el":"error","m\u0073g":"m","a\"\\\n\u0001b":1}`,
			want:  [4]string{"error", "m", now, `{"a\"\\\n\u0001b":1}`},
		},
		{
			name:  "an unreadable time stays in details",
			entry: `{"time":"yesterday"}`,
			want:  [4]string{"unknown", "", now, `{"time":"yesterday"}`},
		},
		{
			name:  "a time out of range stays in details",
			entry: `{"time":"9999-12-31T23:59:59-01:00"}`,
			want:  [4]string{"unknown", "", now, `{"time":"9999-12-31T23:59:59-01:00"}`},
		},
		{
			name:  "invalid UTF-8",
			entry: "{\"message\":\"a\xff\xfeb\",\"k\xff\":\"\xe2\x82\"}",
			want:  [4]string{"unknown", "a\ufffd\ufffdb", now, "{\"k\ufffd\":\"\ufffd\ufffd\"}"},
		},
		{
			name:  "white space",
			entry: " {\n\t\"level\" : \"error\" ,\r\n \"a\" : { } } "[1:],
			want:  [4]string{"error", "", now, `{"a":{ }}`},
		},
		{
			name:  "an empty key",
			entry: `{"":1}`,
			want:  [4]string{"unknown", "", now, `{"":1}`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := decodeRow(t, c.entry, now); got != c.want {
				t.Errorf("row of %s:\n got %q\nwant %q", c.entry, got, c.want)
			}
		})
	}
}

// TestLogEntryFields checks the indexes of the columnKeys, and the fields of LogEntry,
// which the decoder is generated from.
func TestLogEntryFields(t *testing.T) {
	keys := columnKeys[:]
	var fields []string
	for field := range reflect.TypeFor[LogEntry]().Fields() {
		if key, ok := field.Tag.Lookup("json"); ok {
			fields = append(fields, key)
		}
	}
	want := slices.Concat(keys[levelFields:lateLevelFields], keys[messageFields:lateMessageFields],
		keys[timeFields:lateTimeFields])
	if !slices.Equal(fields, want) {
		t.Errorf("fields = %q, want %q", fields, want)
	}
	if got, want := keys[levelFields:lateLevelFields], levelKeys[:clefTimeRank]; !slices.Equal(got, want) {
		t.Errorf("level fields = %q, want the levelKeys %q", got, want)
	}
	for _, field := range []struct {
		name  string
		index int
		key   string
	}{
		{"levelNameField", levelNameField, "level_name"},
		{"severityNumberFields", severityNumberFields, "SeverityNumber"},
		{"severityField", severityField, "Severity"},
		{"severityTextFields", severityTextFields, "SeverityText"},
		{"priorityField", priorityField, "PRIORITY"},
		{"messageFields", messageFields, "message"},
		{"journaldMessageField", journaldMessageField, "MESSAGE"},
		{"lateMessageFields", lateMessageFields, "short_message"},
		{"lateTimeFields", lateTimeFields, "instant"},
		{"bodyFields", bodyFields, "Body"},
		{"timeFields", timeFields, "timestamp"},
		{"observedTimeFields", observedTimeFields, "ObservedTimestamp"},
	} {
		if got := keys[field.index]; got != field.key {
			t.Errorf("field %s = %q, want %q", field.name, got, field.key)
		}
	}
	if got, want := keys[clefTimeField], levelKeys[clefTimeRank]; got != want {
		t.Errorf("field clefTimeField = %q, want %q", got, want)
	}
}

// TestLevelKeysAreDocumented checks that the README or a file in docs lists the
// level keys in order, in one line.
func TestLevelKeysAreDocumented(t *testing.T) {
	var inOrder []string
	for _, key := range levelKeys[:clefTimeRank] {
		inOrder = append(inOrder, regexp.QuoteMeta("`"+key+"`"))
	}
	list := regexp.MustCompile(strings.Join(inOrder, `[ ,>]+`))
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if list.Match(text) {
			return
		}
	}
	t.Errorf("no document lists the level keys %q in this order", levelKeys[:clefTimeRank])
}
