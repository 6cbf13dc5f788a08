package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// otlpField returns a field of a protobuf message, which must be shorter than 128
// bytes.
func otlpField(number int, data string) string {
	return string([]byte{byte(number<<3 | 2), byte(len(data))}) + data
}

// otlpProto returns a protobuf body with a record of each severity number. The
// message of a record is its number.
func otlpProto(severities ...int) (body string) {
	for _, n := range severities {
		record := "\x10" + string(rune(n)) + otlpField(5, otlpField(1, fmt.Sprint(n)))
		body += otlpField(1, otlpField(2, otlpField(2, record)))
	}
	return body
}

// otlpJSON is otlpProto in JSON.
func otlpJSON(severities ...int) string {
	var records []string
	for _, n := range severities {
		records = append(records, fmt.Sprintf(`{"severityNumber":%d,"body":{"stringValue":"%d"}}`, n, n))
	}
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Join(records, ",") + `]}]}]}`
}

const otlpProtoType, otlpJSONType = "application/x-protobuf", "application/json"

func (s *testService) postOTLP(target, contentType, body string, header ...string) *httptest.ResponseRecorder {
	return s.do("POST", target, strings.NewReader(body), append(header, "Content-Type", contentType)...)
}

func TestOTLPRecordsAreStored(t *testing.T) {
	for contentType, body := range map[string]string{
		otlpProtoType:                     otlpProto(9, 17, 0, 21),
		otlpJSONType:                      otlpJSON(9, 17, 0, 21),
		"Application/JSON; charset=utf-8": "\ufeff \n" + otlpJSON(9, 17, 0, 21) + "\n",
	} {
		for _, encoding := range []struct {
			name     string
			compress func(string) string
		}{{"", strings.Clone}, {"gzip", gzipped}, {"deflate", zlibbed}} {
			t.Run(contentType+" "+encoding.name, func(t *testing.T) {
				s := newTestService(t)
				header := []string{"Content-Encoding", encoding.name}[:2*min(1, len(encoding.name))]
				w := s.postOTLP("/v1/logs?wait=1", contentType, encoding.compress(body), header...)
				wantType, wantBody := otlpProtoType, ""
				if contentType != otlpProtoType {
					wantType, wantBody = otlpJSONType, "{}"
				}
				if w.Code != 200 || w.Body.String() != wantBody || w.Header().Get("Content-Type") != wantType {
					t.Errorf("got %d %q %v, want 200 %q %s", w.Code, w.Body, w.Header(), wantBody, wantType)
				}
				if got, want := storedMessages(t, s.path), "17,0,21"; got != want {
					t.Errorf("got stored messages %q, want %q", got, want)
				}
				if m := s.metrics; m.received.Load() != 4 || m.accepted.Load() != 3 || m.filtered.Load() != 1 {
					t.Errorf(
						"got %d received, %d accepted, %d filtered, want 4, 3, 1",
						m.received.Load(),
						m.accepted.Load(),
						m.filtered.Load(),
					)
				}
			})
		}
	}
}

// OTLP knows no status 202: without wait, 200 means that the records are queued.
func TestOTLPRespondsBeforeCommit(t *testing.T) {
	s := newStalledService(t)
	if w := s.postOTLP("/v1/logs", otlpProtoType, otlpProto(17)); w.Code != 200 {
		t.Errorf("got %d %s, want 200", w.Code, w.Body)
	}
	if n := s.queue.entries.Load(); n != 1 {
		t.Errorf("got %d entries in the queue, want 1", n)
	}
}

func TestOTLPEmptyRequests(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct{ contentType, body string }{
		{otlpProtoType, ""}, {otlpJSONType, "{}"}, {otlpJSONType, `{"resourceLogs":[]}`},
		{otlpJSONType, `{"new":1,"resource_logs":[{"scopeLogs":[]}]}`},
	} {
		for _, target := range []string{"/v1/logs?wait=1", "/v1/logs/"} {
			if w := s.postOTLP(target, c.contentType, c.body); w.Code != 200 {
				t.Errorf("%s %s: got %d %s, want 200", target, c.body, w.Code, w.Body)
			}
		}
	}
}

func TestOTLPErrors(t *testing.T) {
	s := newTestService(t, "-max-body", "64K")
	for _, c := range []struct {
		name, method, contentType, body, encoding string
		status                                    int
		want                                      string // part of the response
	}{
		{"method", "GET", otlpJSONType, "", "", 405, `{"message":"method GET is not allowed`},
		{"method without content type", "GET", "", "", "", 405, `{"message":"method GET is not allowed`},
		{"entry", "POST", otlpJSONType, `{"level":"error","message":"m"}`, "", 400, "send JSON entries to POST /ingest"},
		{"spans", "POST", otlpJSONType, `{"resourceSpans":[{}]}`, "", 400, "accepts only logs"},
		{"logs of a resource", "POST", otlpJSONType, `{"resource":{},"scopeLogs":[{}]}`, "", 400, `{\"resourceLogs\":[`},
		{"content type", "POST", "text/plain", "x", "", 415,
			`{"message":"unsupported Content-Type \"text/plain\"; send application/x-protobuf or application/json"}`},
		{"no content type", "POST", "", "x", "", 415, `{"message":"unsupported Content-Type`},
		{"content encoding", "POST", otlpProtoType, "x", "zstd", 415,
			`unsupported Content-Encoding: "zstd"; send identity, gzip or deflate`},
		{"malformed protobuf", "POST", otlpProtoType, "\x0a\x05", "", 400, "the body is not a valid protobuf message"},
		{"malformed JSON", "POST", otlpJSONType, `{"resourceLogs":[}`, "", 400,
			`{"message":"invalid character '}' where a value should begin"}`},
		{"JSON that is not OTLP", "POST", otlpJSONType, `{"resourceLogs":1}`, "", 400,
			`{"message":"a field has a value of the wrong type"}`},
		{"JSON array", "POST", otlpJSONType, `[{}]`, "", 400, `{"message":"the body is not one JSON object"}`},
		{"JSON lines", "POST", otlpJSONType, "{}\n{}", "", 400, `{"message":"the body is not one JSON object"}`},
		{"empty array", "POST", otlpJSONType, "[]", "", 400, `{"message":"the body is not one JSON object"}`},
		{"too large", "POST", otlpProtoType, strings.Repeat("x", 64<<10+1), "", 413, "the body is larger than 65536 bytes"},
		{"query", "POST", otlpProtoType, "", "", 400, "wait must be 0 or 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := "/v1/logs"
			if c.name == "query" {
				target += "?wait=2"
			}
			header := []string{"Content-Type", c.contentType, "Content-Encoding", c.encoding}
			if c.encoding == "" {
				header = header[:2]
			}
			w := s.do(c.method, target, strings.NewReader(c.body), header...)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.want)
			}
			if got := w.Header().Get("Content-Type"); c.contentType == otlpProtoType && got != otlpProtoType {
				t.Errorf("got Content-Type %q, want that of the request", got)
			}
		})
	}
}

// A request without a valid key, or of another site's page, gets an error in the format
// of its route.
func TestRejectionsHaveTheFormatOfTheRoute(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "secret\n"))
	for _, c := range []struct{ target, contentType, wantType, want string }{
		{"/v1/logs", otlpProtoType, otlpProtoType, "\x12"},
		{"/v1/logs/", otlpJSONType, otlpJSONType, `{"message":"`},
		{"/v1/logs", "text/plain", otlpJSONType, `{"message":"`},
		{"/elasticsearch/_bulk", "application/x-ndjson", otlpJSONType, `{"error":{"type":"`},
		{"/elasticsearch", "", otlpJSONType, `{"error":{"type":"`},
		{"/ingest", otlpJSONType, otlpJSONType, `{"error":"`},
	} {
		for status, header := range map[int][]string{
			401: {"Content-Type", c.contentType},
			403: {"Content-Type", c.contentType, "Sec-Fetch-Site", "cross-site", "X-API-Key", "secret"},
		} {
			w := s.do("POST", c.target, strings.NewReader("x"), header...)
			if got := w.Header().Get("Content-Type"); w.Code != status || got != c.wantType ||
				!strings.HasPrefix(w.Body.String(), c.want) {
				t.Errorf("%s %s: got %d %s %q, want %d %s %q", c.target, c.contentType, w.Code, got, w.Body, status,
					c.wantType, c.want)
			}
		}
	}
}

// The attributes of a resource are in the row of each of its records, so a small
// body can need much memory.
func TestOTLPRowsMustFitIntoMemory(t *testing.T) {
	s := newTestService(t)
	attribute := `{"key":"a","value":{"stringValue":"` + strings.Repeat("x", 64<<10) + `"}}`
	records := strings.Repeat(`{},`, 2000) + `{}`
	body := `{"resourceLogs":[{"resource":{"attributes":[` + attribute + `]},"scopeLogs":[{"logRecords":[` + records +
		`]}]}]}`
	if w := s.postOTLP("/v1/logs", otlpJSONType, body); w.Code != 413 {
		t.Errorf("got %d %s, want 413", w.Code, w.Body)
	}
}

// A 503 has Retry-After, and nothing of the request is stored.
func TestOTLPQueueFull(t *testing.T) {
	s := newTestService(t)
	s.memory.refuse = func(int64) bool { return true }
	w := s.postOTLP("/v1/logs", otlpJSONType, otlpJSON(17))
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" ||
		!strings.Contains(w.Body.String(), `{"message":"the memory budget is full"}`) {
		t.Errorf("got %d %s %v, want 503 with Retry-After", w.Code, w.Body, w.Header())
	}
}

func TestOTLPPartialSuccess(t *testing.T) {
	s := newTestService(t)
	body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}},{"body":{"stringValue":1}}]}]}]}`
	w := s.postOTLP("/v1/logs?wait=1", otlpJSONType, body)
	want := `{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"a field has a value of the wrong type"}}`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, want)
	}
	if got := storedMessages(t, s.path); got != "a" {
		t.Errorf("got stored messages %q, want a", got)
	}
	if n := s.metrics.refused.Load(); n != 1 {
		t.Errorf("got %d entries refused, want 1", n)
	}
}

func TestOTLPNeedsKey(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "secret send\n"))
	if w := s.postOTLP("/v1/logs", otlpProtoType, otlpProto(17)); w.Code != 401 {
		t.Errorf("got %d without a key, want 401", w.Code)
	}
	if w := s.postOTLP("/v1/logs?wait=1", otlpProtoType, otlpProto(17), "Authorization", "Bearer secret"); w.Code != 200 {
		t.Errorf("got %d %s with a key, want 200", w.Code, w.Body)
	}
}

// Records are also stored if the estimate of their size is too small, or if there is no
// memory for it.
func TestOTLPWithoutEstimate(t *testing.T) {
	record := otlpField(5, otlpField(1, "message")) +
		otlpField(6, otlpField(1, "a")+otlpField(2, otlpField(1, strings.Repeat("\x01", 50))))
	body := strings.Repeat(otlpField(1, otlpField(2, otlpField(2, record))), 1000)
	s := newTestService(t)
	refused := false
	s.memory.refuse = func(n int64) bool {
		first := !refused && n > 100_000
		refused = refused || first
		return first
	}
	for range 2 {
		if w := s.postOTLP("/v1/logs?wait=1", otlpProtoType, body); w.Code != 200 {
			t.Fatalf("got %d %s, want 200", w.Code, w.Body)
		}
	}
	if rows := readRows(t, s.path); len(rows) != 2000 || rows[1999][3] != `{"a":"`+strings.Repeat(`\u0001`, 50)+`"}` {
		t.Errorf("got %d rows, the last %q, want 2000", len(rows), rows[len(rows)-1])
	}
	if !refused {
		t.Error("no reservation was refused, want one")
	}
}

// If any one reservation of a request fails, the request gets 503, and all memory
// is released.
func TestEachOTLPReservationFails(t *testing.T) {
	s := newTestService(t)
	large := strings.Repeat("\xff", 300_000)
	json := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"` + large + `"}}]}]}]}`
	s.failEachReservation(t, func() *httptest.ResponseRecorder {
		return s.postOTLP("/v1/logs?wait=1", otlpJSONType, gzipped(json), "Content-Encoding", "gzip")
	})
}
