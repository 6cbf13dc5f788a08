// Package otlptest compares internal/otlp with the official modules of
// OpenTelemetry.
//
//	go test -C testdata/otlp ./...
//	go test -C testdata/otlp -fuzz FuzzProto -fuzztime 1m
package otlptest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"log-ingester/internal/entry"
	"log-ingester/internal/otlp"
)

const arrival = "2026-11-25T12:00:00.000000000Z"

// rows converts a request with internal/otlp. Each row is its four columns.
func rows(t *testing.T, q *otlp.Request) (rows [][4]string, result otlp.Result, err error) {
	t.Helper()
	if result, err = q.Measure(); err != nil {
		return nil, result, err
	}
	start := 0
	var ends []otlp.Row
	text := q.AppendRows(make([]byte, 0, result.TextSize), []byte(arrival), func(r otlp.Row) { ends = append(ends, r) })
	for _, r := range ends {
		rows = append(rows, [4]string{
			string(text[start:r.Level]), string(text[r.Level:r.Message]),
			string(text[r.Message:r.Timestamp]), string(text[r.Timestamp:r.Details]),
		})
		start = r.Details
	}
	if len(rows) != result.Kept {
		t.Errorf("AppendRows added %d rows, want %d", len(rows), result.Kept)
	}
	if len(text) > result.TextSize {
		t.Errorf("the rows have %d bytes of text, want at most %d", len(text), result.TextSize)
	}
	return rows, result, nil
}

// wantRows converts a request at or above a level independently.
func wantRows(request *collogs.ExportLogsServiceRequest, threshold entry.Level) (rows [][4]string) {
	for _, rl := range request.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				level := entry.LevelBySeverity(int64(r.SeverityNumber))
				if level == entry.LevelUnknown && r.SeverityText != "" {
					level = entry.LevelByName([]byte(r.SeverityText))
				}
				if level >= threshold {
					rows = append(rows, wantRow(rl.Resource, sl.Scope, r))
				}
			}
		}
	}
	return rows
}

func wantRow(resource *resource.Resource, scope *common.InstrumentationScope, r *logs.LogRecord) [4]string {
	var details []string
	add := func(name string, value any) { details = append(details, quote(name)+":"+jsonOf(value)) }
	if id := r.TraceId; len(bytes.Trim(id, "\x00")) > 0 {
		add("trace_id", hex.EncodeToString(id))
	}
	if id := r.SpanId; len(bytes.Trim(id, "\x00")) > 0 {
		add("span_id", hex.EncodeToString(id))
	}
	if r.Flags&0xff != 0 {
		add("trace_flags", hex.EncodeToString([]byte{byte(r.Flags)}))
	}
	if r.EventName != "" {
		add("event_name", r.EventName)
	}
	level := entry.LevelBySeverity(int64(r.SeverityNumber)).String()
	switch known := level != "unknown"; {
	case !known && r.SeverityNumber != 0:
		add("severity_number", int64(r.SeverityNumber))
		fallthrough
	case !known:
		if r.SeverityText != "" {
			level = strings.ToLower(r.SeverityText)
		}
	case r.SeverityText != "" && !strings.EqualFold(r.SeverityText, level):
		add("severity_text", r.SeverityText)
	}
	if r.DroppedAttributesCount > 0 {
		add("otel.dropped_attributes_count", int64(r.DroppedAttributesCount))
	}
	for _, kv := range r.Attributes {
		add(kv.Key, kv.Value)
	}
	if scope.GetName() != "" {
		add("otel.scope.name", scope.Name)
	}
	if scope.GetVersion() != "" {
		add("otel.scope.version", scope.Version)
	}
	for _, kv := range scope.GetAttributes() {
		add(kv.Key, kv.Value)
	}
	for _, kv := range resource.GetAttributes() {
		add(kv.Key, kv.Value)
	}

	message := ""
	switch v := r.Body.GetValue().(type) {
	case nil:
	case *common.AnyValue_StringValue:
		message = v.StringValue
	case *common.AnyValue_BytesValue:
		message = base64.StdEncoding.EncodeToString(v.BytesValue)
	default:
		message = jsonOf(r.Body)
	}
	when := arrival
	if ns := max(r.TimeUnixNano, 0); ns > 0 {
		when = timeText(ns)
	} else if r.ObservedTimeUnixNano > 0 {
		when = timeText(r.ObservedTimeUnixNano)
	}
	row := [4]string{level, message, when}
	if len(details) > 0 {
		row[3] = "{" + strings.Join(details, ",") + "}"
	}
	return row
}

func timeText(ns uint64) string {
	return time.Unix(int64(ns/1e9), int64(ns%1e9)).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

func quote(s string) string { return string(entry.AppendQuoted(nil, s)) }

// jsonOf returns v, a Go value or an AnyValue, as JSON.
func jsonOf(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case *common.AnyValue:
		switch v := v.GetValue().(type) {
		case nil:
			return "null"
		case *common.AnyValue_StringValue:
			return quote(v.StringValue)
		case *common.AnyValue_BoolValue:
			return strconv.FormatBool(v.BoolValue)
		case *common.AnyValue_IntValue:
			return strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_DoubleValue:
			return doubleOf(v.DoubleValue)
		case *common.AnyValue_BytesValue:
			return quote(base64.StdEncoding.EncodeToString(v.BytesValue))
		case *common.AnyValue_ArrayValue:
			var list []string
			for _, e := range v.ArrayValue.GetValues() {
				list = append(list, jsonOf(e))
			}
			return "[" + strings.Join(list, ",") + "]"
		case *common.AnyValue_KvlistValue:
			var list []string
			for _, kv := range v.KvlistValue.GetValues() {
				list = append(list, quote(kv.GetKey())+":"+jsonOf(kv.GetValue()))
			}
			return "{" + strings.Join(list, ",") + "}"
		default: // a kind that internal/otlp does not know
			return "null"
		}
	}
	panic("unexpected type")
}

func doubleOf(f float64) string {
	switch {
	case math.IsNaN(f):
		return `"NaN"`
	case math.IsInf(f, 1):
		return `"Infinity"`
	case math.IsInf(f, -1):
		return `"-Infinity"`
	case f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e21:
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'e', -1, 64)
}

// compare fails the test unless got equals want, and all details are valid JSON.
func compare(t *testing.T, name string, got, want [][4]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d rows, want %d", name, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: row %d: got %q, want %q", name, i, got[i], want[i])
		}
		if details := got[i][3]; details != "" && !json.Valid([]byte(details)) {
			t.Errorf("%s: row %d: the details are not JSON: %s", name, i, details)
		}
	}
}

// FuzzProto compares the rows of a protobuf body with those of the official
// decoder, and with those of the same request as OTLP/JSON.
func FuzzProto(f *testing.F) {
	for _, request := range requests() {
		body, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, uint8(entry.LevelTrace))
		f.Add(body, uint8(entry.LevelError))
	}
	f.Fuzz(func(t *testing.T, body []byte, level uint8) {
		threshold := entry.Level(level)%entry.LevelUnknown + 1
		request := new(collogs.ExportLogsServiceRequest)
		wantErr := proto.Unmarshal(body, request)
		got, result, err := rows(t, &otlp.Request{Body: body, Level: threshold})
		switch {
		case err == nil && result.Rejected > 0, err != nil && strings.Contains(err.Error(), "nests deeper"):
			return // the official decoder has another limit
		case err != nil && wantErr == nil:
			t.Fatalf("got the error %v, want none", err)
		case err == nil && wantErr != nil:
			if !isLenient(body, wantErr) {
				t.Fatalf("got no error, want %v", wantErr)
			}
			return
		case err != nil:
			return
		}
		want := wantRows(request, threshold)
		canonical, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		if len(canonical) == len(body) { // no field occurs twice, except repeated ones
			compare(t, "body", got, want)
		}
		got, _, err = rows(t, &otlp.Request{Body: canonical, Level: threshold})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "canonical body", got, want)
		compareJSON(t, canonical, threshold, want)
	})
}

// isLenient reports whether internal/otlp may accept a body that the official
// decoder rejects with err: it repairs UTF-8, and does not look into the fields
// that it does not need, such as a resource's entity_refs.
func isLenient(body []byte, err error) bool {
	return strings.Contains(err.Error(), "UTF-8") || bytes.IndexByte(body, 3<<3|2) >= 0
}

// compareJSON compares the rows of a request as OTLP/JSON with those of the
// protobuf body.
func compareJSON(t *testing.T, body []byte, threshold entry.Level, want [][4]string) {
	t.Helper()
	request := plogotlp.NewExportRequest()
	if request.UnmarshalProto(body) != nil {
		return // an id has the wrong length
	}
	text, err := request.MarshalJSON()
	if err != nil || !json.Valid(text) {
		return
	}
	again := plogotlp.NewExportRequest()
	if again.UnmarshalJSON(text) != nil {
		return
	}
	if same, err := again.MarshalProto(); err != nil || !bytes.Equal(same, body) {
		return // the official format loses something
	}
	got, _, err := rows(t, &otlp.Request{Body: text, JSON: true, Level: threshold})
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	compare(t, "JSON", got, want)
}

// FuzzJSON checks that OTLP/JSON that the official decoder accepts is accepted.
func FuzzJSON(f *testing.F) {
	for _, request := range requests() {
		body, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		r := plogotlp.NewExportRequest()
		if err := r.UnmarshalProto(body); err != nil {
			f.Fatal(err)
		}
		text, err := r.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		body = bytes.ToValidUTF8(bytes.TrimLeft(body, " \t\r\n"), nil)
		if !json.Valid(body) || body[0] != '{' {
			return
		}
		got, _, err := rows(t, &otlp.Request{Body: body, JSON: true, Level: entry.LevelTrace})
		if err != nil {
			return
		}
		for _, row := range got {
			if row[3] != "" && !json.Valid([]byte(row[3])) {
				t.Errorf("the details are not JSON: %s", row[3])
			}
		}
	})
}

// requests returns requests with every field and every kind of value.
func requests() []*collogs.ExportLogsServiceRequest {
	value := func(v any) *common.AnyValue {
		switch v := v.(type) {
		case string:
			return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}
		case bool:
			return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v}}
		case int:
			return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(v)}}
		case float64:
			return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: v}}
		case []byte:
			return &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: v}}
		}
		return &common.AnyValue{}
	}
	attr := func(key string, v any) *common.KeyValue {
		if v, ok := v.(*common.AnyValue); ok {
			return &common.KeyValue{Key: key, Value: v}
		}
		return &common.KeyValue{Key: key, Value: value(v)}
	}
	array := &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{
		Values: []*common.AnyValue{value("a"), value(1), value(nil), value(2.5)},
	}}}
	kvlist := &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{
		Values: []*common.KeyValue{attr("a\"b", array), attr("", true), attr("empty", nil)},
	}}}
	empty := &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{}}}
	emptyMap := &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{}}}
	values := []any{
		"text\n\"\\\u0000é€😀",
		true,
		false,
		0,
		-1,
		math.MaxInt64,
		0.0,
		1.5,
		1e30,
		-1e-9,
		math.Inf(1),
		math.Inf(-1),
		[]byte{0, 1, 255},
		array,
		kvlist,
		empty,
		emptyMap,
		nil,
	}
	var all []*common.KeyValue
	var bodies []*logs.LogRecord
	for i, v := range values {
		all = append(all, attr("key"+strconv.Itoa(i), v))
		bodies = append(bodies, &logs.LogRecord{Body: attr("", v).Value, SeverityNumber: logs.SeverityNumber(i + 1)})
	}
	full := &logs.LogRecord{
		TimeUnixNano: 1764072000123456789, ObservedTimeUnixNano: 1764072001000000000, SeverityNumber: 18,
		SeverityText: "ERROR2",
		Body:         value("payment failed"), Attributes: all, DroppedAttributesCount: 3, Flags: 1,
		TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: bytes.Repeat([]byte{0xcd}, 8), EventName: "payment",
	}
	scope := &common.InstrumentationScope{Name: "scope", Version: "1.0", Attributes: []*common.KeyValue{attr("s", 1)}}
	res := &resource.Resource{Attributes: []*common.KeyValue{attr("service.name", "checkout"), attr("host.name", "a")}}
	group := func(records ...*logs.LogRecord) *collogs.ExportLogsServiceRequest {
		return &collogs.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
			Resource: res, SchemaUrl: "https://opentelemetry.io/schemas/1.21.0",
			ScopeLogs: []*logs.ScopeLogs{
				{Scope: scope, LogRecords: records, SchemaUrl: "x"},
				{LogRecords: records[:1]},
			},
		}}}
	}
	return []*collogs.ExportLogsServiceRequest{
		{},
		group(full, full, &logs.LogRecord{}),
		group(bodies...),
		group(
			&logs.LogRecord{SeverityText: "WARNING", ObservedTimeUnixNano: 1764072001000000000},
			&logs.LogRecord{SeverityText: "Ⱥudit", SeverityNumber: 99},
			&logs.LogRecord{SeverityText: "info", SeverityNumber: 9, TimeUnixNano: math.MaxUint64},
			&logs.LogRecord{TraceId: make([]byte, 16), SpanId: make([]byte, 8)},
		),
		{
			ResourceLogs: []*logs.ResourceLogs{
				{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{full}}}},
				{Resource: res},
			},
		},
	}
}
