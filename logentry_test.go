package main

import "testing"

// decodeRow returns the columns that an entry is stored as; details that are
// missing are "NULL".
func decodeRow(t *testing.T, entry, arrival string) [4]string {
	t.Helper()
	b := new(batch)
	if err := newLogEntry().appendRow(b, []byte(entry), []byte(arrival)); err != nil {
		t.Fatalf("%s: %v", entry, err)
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
		{"nothing", `{}`, [4]string{"unknown", "", now, "NULL"}},
		{"the rest is details, in order, byte for byte",
			`{"user_id": 42, "level": "error", "nested": { "a" : [1 , 2.50] }, "message": "m", "s": "\u003c\/é"}`,
			[4]string{"error", "m", now, `{"user_id":42,"nested":{ "a" : [1 , 2.50] },"s":"\u003c\/é"}`}},
		{"a level is stored in lower case as sent", `{"level":"ErRor"}`, [4]string{"error", "", now, "NULL"}},
		{"slog's offset", `{"level":"ERROR+4"}`, [4]string{"error+4", "", now, "NULL"}},
		{"an unknown level", `{"level":"Übel"}`, [4]string{"übel", "", now, "NULL"}},
		{"an empty level", `{"level":""}`, [4]string{"", "", now, "NULL"}},
		{"a number is stored as its name", `{"level":50}`, [4]string{"error", "", now, "NULL"}},
		{"a number between two", `{"level":59.9}`, [4]string{"error", "", now, "NULL"}},
		{"a number on no scale stays in details", `{"level":500}`, [4]string{"unknown", "", now, `{"level":500}`}},
		{"a number beyond all", `{"level":1e999}`, [4]string{"unknown", "", now, `{"level":1e999}`}},
		{"null is a level that cannot be read", `{"level":null,"severity":"info"}`, [4]string{"unknown", "", now, `{"level":null,"severity":"info"}`}},
		{"so is an object", `{"level":{"a":1}}`, [4]string{"unknown", "", now, `{"level":{"a":1}}`}},
		{"level goes before severity", `{"severity":"info","level":"error"}`, [4]string{"error", "", now, `{"severity":"info"}`}},
		{"the order of all level keys", `{"Level":"7","@l":"6","levelname":"5","log.level":"4","lvl":"3","severity":"2"}`,
			[4]string{"2", "", now, `{"Level":"7","@l":"6","levelname":"5","log.level":"4","lvl":"3"}`}},
		{"the order of all message keys", `{"log":"7","event":"6","RenderedMessage":"5","@mt":"4","@m":"3","msg":"2"}`,
			[4]string{"unknown", "2", now, `{"log":"7","event":"6","RenderedMessage":"5","@mt":"4","@m":"3"}`}},
		{"the order of all time keys", `{"date":7,"Timestamp":6,"@t":5,"@timestamp":4,"ts":3,"time":2,"level":"e"}`,
			[4]string{"e", "", "1970-01-01T00:00:02.000000000Z", `{"date":7,"Timestamp":6,"@t":5,"@timestamp":4,"ts":3}`}},
		{"the first of a doubled key", `{"level":"error","message":"a","level":"info","message":"b"}`,
			[4]string{"error", "a", now, `{"level":"info","message":"b"}`}},
		{"CLEF leaves info out", `{"@t":"2026-01-02T03:04:05Z","@mt":"x"}`, [4]string{"info", "x", "2026-01-02T03:04:05.000000000Z", "NULL"}},
		{"a message that is no string", `{"msg":{"a": 1}}`, [4]string{"unknown", `{"a": 1}`, now, "NULL"}},
		{"a message that is null", `{"message":null,"msg":"m"}`, [4]string{"unknown", `null`, now, `{"msg":"m"}`}},
		{"a message with escapes", `{"message":"a\n\"\ud83d\ude00\ud800x\u00e9\/\u0000"}`, [4]string{"unknown", "a\n\"😀\ufffdxé/\x00", now, "NULL"}},
		{"keys with escapes", `{"le\u0076el":"error","m\u0073g":"m","a\"\\\n\u0001b":1}`, [4]string{"error", "m", now, `{"a\"\\\n\u0001b":1}`}},
		{"a time that cannot be read", `{"time":"yesterday"}`, [4]string{"unknown", "", now, `{"time":"yesterday"}`}},
		{"a time out of range", `{"time":"9999-12-31T23:59:59-01:00"}`, [4]string{"unknown", "", now, `{"time":"9999-12-31T23:59:59-01:00"}`}},
		{"invalid UTF-8", "{\"message\":\"a\xff\xfeb\",\"k\xff\":\"\xe2\x82\"}", [4]string{"unknown", "a\ufffd\ufffdb", now, "{\"k\ufffd\":\"\ufffd\ufffd\"}"}},
		{"white space", " {\n\t\"level\" : \"error\" ,\r\n \"a\" : { } } "[1:], [4]string{"error", "", now, `{"a":{ }}`}},
		{"an empty key", `{"":1}`, [4]string{"unknown", "", now, `{"":1}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := decodeRow(t, c.entry, now); got != c.want {
				t.Errorf("%s\n got %q\nwant %q", c.entry, got, c.want)
			}
		})
	}
}
