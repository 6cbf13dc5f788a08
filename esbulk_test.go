package main

import (
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/entry"
)

func (s *testService) bulk(target, body string, header ...string) *httptest.ResponseRecorder {
	return s.do("POST", target, strings.NewReader(body), header...)
}

func TestBulkDocumentsAreStored(t *testing.T) {
	const body = `{"index":{"_index":"logs-a","_id":"1"}}` + "\n" + `{"level":"error","message":"a"}` + "\n" +
		` { "create" : { } } ` + "\r\n" + `{"level":"info","message":"b"}` + "\r\n\r\n" +
		`{"create":{"_index":"caf\u00e9","pipeline":"x"}}` + "\n" + `{"message":"c","n":1}`
	for name, compress := range map[string]func(string) string{"": strings.Clone, "gzip": gzipped, "deflate": zlibbed} {
		t.Run("encoding "+name, func(t *testing.T) {
			s := newTestService(t)
			header := []string{"Content-Encoding", name}[:2*min(1, len(name))]
			w := s.bulk("/elasticsearch/default/_bulk?wait=1&refresh=true", compress(body), header...)
			want := `{"errors":false,"took":0,"items":[` +
				`{"index":{"_index":"logs-a","_id":"1","result":"created","status":201}},` +
				`{"create":{"_index":"default","result":"created","status":201}},` +
				`{"create":{"_index":"caf\u00e9","result":"created","status":201}}]}` + "\n"
			if w.Code != 200 || w.Body.String() != want || w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
				t.Errorf("got %d %s %v, want 200 %s", w.Code, w.Body, w.Header(), want)
			}
			rows := readRows(t, s.path)
			if len(rows) != 2 || rows[0][1] != "a" || rows[0][3] != `{"_index":"logs-a","_id":"1"}` ||
				rows[1][1] != "c" || rows[1][3] != `{"n":1,"_index":"caf\u00e9"}` {
				t.Errorf("got rows %q", rows)
			}
		})
	}
}

// The index in the path is the index of items without one.
func TestBulkIndexOfPath(t *testing.T) {
	s := newTestService(t)
	const body = `{"create":{}}` + "\n{}\n" + `{"create":{"_index":"b"}}` + "\n{}\n"
	for target, want := range map[string]string{
		"/elasticsearch/_bulk?wait=1":       "NULL",
		"/elasticsearch/a%22b/_bulk?wait=1": `{"_index":"a\"b"}`,
	} {
		if w := s.bulk(target, body); w.Code != 200 {
			t.Fatalf("got %d %s, want 200", w.Code, w.Body)
		}
		rows := readRows(t, s.path)
		last := rows[len(rows)-2:]
		if last[0][3] != want || last[1][3] != `{"_index":"b"}` {
			t.Errorf("%s: got details %s and %s, want %s and index b", target, last[0][3], last[1][3], want)
		}
	}
}

// Items that cannot be stored fail, and the others are stored.
func TestBulkItemsFail(t *testing.T) {
	s := newTestService(t)
	body := `{"delete":{"_index":"a","_id":"1"}}` + "\n" +
		`{"update":{"_id":"2"}}` + "\n" + `{"doc":{}}` + "\n" +
		`{"create":{}}` + "\n" + `{"message":"stored"}` + "\n" +
		`{"create":{}}` + "\n" + `{"message":}` + "\n" +
		`{"create":{}}` + "\n" + `[{"message":"array"}]` + "\n" +
		`{"create":{}}` + "\n" + `{"message":"two"}{"message":"objects"}` + "\n" +
		`{"create":{}}` + "\n" + `"text"` + "\n" +
		`{"create":{}}` + "\n" + "\n"
	w := s.bulk("/elasticsearch/_bulk?wait=1&filter_path=errors,items.*.status,items.*.error.reason", body)
	want := `{"errors":true,"items":[` +
		`{"delete":{"status":400,"error":{"reason":"delete is not supported; send create or index"}}},` +
		`{"update":{"status":400,"error":{"reason":"update is not supported; send create or index"}}},` +
		`{"create":{"status":201}},` +
		`{"create":{"status":400,"error":{"reason":"invalid character '}' where a value should begin"}}},` +
		`{"create":{"status":400,"error":{"reason":"the document is not one JSON object"}}},` +
		`{"create":{"status":400,"error":{"reason":"the document is not one JSON object"}}},` +
		`{"create":{"status":400,"error":{"reason":"an element is not an object"}}},` +
		`{"create":{"status":400,"error":{"reason":"empty body"}}}]}` + "\n"
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, want)
	}
	if got := storedMessages(t, s.path); got != "stored" {
		t.Errorf("got stored messages %q, want stored", got)
	}
	if m := s.metrics; m.received.Load() != 8 || m.refused.Load() != 7 {
		t.Errorf("got %d received and %d refused, want 8 and 7", m.received.Load(), m.refused.Load())
	}
}

func TestBulkErrors(t *testing.T) {
	s := newTestService(t, "-max-body", "64K")
	valid := `{"create":{}}` + "\n{}\n"
	for _, c := range []struct {
		name, body, encoding string
		status               int
		want                 string
	}{
		{"no action", "{}\n{}\n", "", 400, `line 1 is not an action`},
		{"not JSON", valid + "create\n{}\n", "", 400, `line 3 is not an action`},
		{"unknown action", `{"upsert":{}}` + "\n{}\n", "", 400, `line 1 is not an action`},
		{"action without an object", `{"create":1}` + "\n{}\n", "", 400, `line 1 is not an action`},
		{"two actions", `{"create":{},"index":{}}` + "\n{}\n", "", 400, `line 1 is not an action`},
		{"two objects", `{"create":{}}{}` + "\n{}\n", "", 400, `line 1 is not an action`},
		{"invalid UTF-8", `{"create":{"_index":"` + "\xff" + `"}}` + "\n{}\n", "", 400, `line 1 is not an action`},
		{"no document", valid + `{"create":{}}` + "\n", "", 400, `the document after line 3 is missing`},
		{"too large", strings.Repeat(" ", 64<<10+1), "", 413, "larger than 65536 bytes"},
		{"encoding", valid, "zstd", 415, "send identity, gzip or deflate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := []string{"Content-Encoding", c.encoding}[:2*min(1, len(c.encoding))]
			w := s.bulk("/elasticsearch/_bulk", c.body, header...)
			status := fmt.Sprintf(`"},"status":%d}`, c.status)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) ||
				!strings.Contains(w.Body.String(), status) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, c.status, c.want)
			}
		})
	}
	w := s.bulk("/elasticsearch/"+strings.Repeat("a", maxIndexName+1)+"/_bulk", valid)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "longer than 255 bytes") {
		t.Errorf("long index: got %d %s, want 400", w.Code, w.Body)
	}
	w = s.do("GET", "/elasticsearch/_bulk", nil)
	if allow := w.Header().Get("Allow"); w.Code != 405 || allow != "POST, PUT" {
		t.Errorf("GET: got %d and Allow %q, want 405 and POST, PUT", w.Code, allow)
	}
	s.memory.refuse = func(int64) bool { return true }
	w = s.bulk("/elasticsearch/_bulk", valid)
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("got %d %v, want 503 with Retry-After", w.Code, w.Header())
	}
}

// A response with many items is written in parts.
func TestLargeBulkResponse(t *testing.T) {
	s := newTestService(t)
	w := s.do("PUT", "/elasticsearch/_bulk", strings.NewReader(strings.Repeat(`{"create":{}}`+"\n{}\n", 5000)))
	if n := strings.Count(w.Body.String(), `{"create":{"_index":"","result":"created","status":201}}`); w.Code != 200 ||
		n != 5000 {
		t.Errorf("got %d with %d items, want 200 with 5000", w.Code, n)
	}
}

// A bulk request holds no permit while its response waits for the client.
func TestPermitDuringBulkResponse(t *testing.T) {
	s := newTestService(t)
	w := &permitRecorder{ResponseRecorder: httptest.NewRecorder(), processors: s.ingest.processors}
	body := strings.Repeat(`{"create":{}}`+"\n"+`{"level":"info"}`+"\n", largeBody/20)
	s.handler.ServeHTTP(w, httptest.NewRequest("POST", "/elasticsearch/_bulk", strings.NewReader(body)))
	if w.Code != 200 || w.writes < 2 || w.free != runtime.GOMAXPROCS(0) {
		t.Errorf("got status %d, %d writes and %d free permits, want 200, several and %d",
			w.Code, w.writes, w.free, runtime.GOMAXPROCS(0))
	}
}

// A permitRecorder counts the writes of a response, and the permits that are free
// during the last one.
type permitRecorder struct {
	*httptest.ResponseRecorder
	processors   *processors
	writes, free int
}

func (w *permitRecorder) Write(p []byte) (int, error) {
	w.processors.mu.Lock()
	defer w.processors.mu.Unlock()
	w.writes, w.free = w.writes+1, w.processors.free
	return w.ResponseRecorder.Write(p)
}

func TestElasticHandshake(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/elasticsearch", 200, `"version":{"number":"8.`},
		{"GET", "/elasticsearch/", 200, `"tagline":"You Know, for Search"`},
		{"HEAD", "/elasticsearch/", 200, ``},
		{"GET", "/elasticsearch/_license", 200, `"status":"active","uid":"log-ingester","type":"basic"`},
		{"GET", "/elasticsearch/_xpack", 200, `"ilm":{"available":true`},
		{"GET", "/elasticsearch/_ilm/policy/filebeat", 200, "{}"},
		{"PUT", "/elasticsearch/_ilm/policy/filebeat", 200, `{"acknowledged":true}`},
		{"HEAD", "/elasticsearch/_index_template/filebeat-8.19.0", 200, ""},
		{"PUT", "/elasticsearch/_index_template/filebeat-8.19.0", 200, `{"acknowledged":true}`},
		{"GET", "/elasticsearch/logs/_search", 404, "send logs to POST /elasticsearch/_bulk"},
	} {
		w := s.do(c.method, c.target, nil)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) ||
			w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
			t.Errorf(
				"%s %s: got %d %s %v, want %d %s",
				c.method,
				c.target,
				w.Code,
				w.Body,
				w.Header(),
				c.status,
				c.want,
			)
		}
	}
}

// TestBulkClients sends what Filebeat and Logstash send according to their
// documentation: the requests at startup, and a body with their actions and documents.
func TestBulkClients(t *testing.T) {
	for _, c := range []struct {
		name, startup, path, response, details string
		header                                 []string
		body                                   string
	}{
		{
			name:    "Filebeat 8",
			startup: "GET /, GET /_license",
			path:    "/elasticsearch/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status&wait=1",
			header: []string{"Accept", "application/json", "Content-Type", "application/json; charset=UTF-8",
				"User-Agent", "Elastic-filebeat/8.19.0 (linux; amd64)"},
			body: `{"create":{"_index":"filebeat-8.19.0"}}` + "\n" +
				`{"@timestamp":"2026-11-25T12:00:00.000Z","log":{"offset":0,"file":{"path":"/srv/app.log"}},` +
				`"input":{"type":"filestream"},"level":"error","message":"m","host":{"name":"web-1"},` +
				`"agent":{"type":"filebeat","version":"8.19.0"},"ecs":{"version":"8.0.0"}}` + "\n",
			response: `{"errors":false,"items":[{"create":{"status":201}}]}` + "\n",
			details:  `"agent":{"type":"filebeat","version":"8.19.0"},"ecs":{"version":"8.0.0"},"_index":"filebeat-8.19.0"`,
		},
		{
			name:    "Filebeat 7",
			startup: "GET /, GET /_license, GET /_xpack, GET /_ilm/policy/filebeat, PUT /_template/filebeat-7.17.0",
			path:    "/elasticsearch/_bulk?wait=1",
			header:  []string{"Content-Type", "application/json; charset=UTF-8"},
			body: `{"index":{"_index":"filebeat-7.17.0","_type":"_doc"}}` + "\n" +
				`{"@timestamp":"2026-11-25T12:00:00.000Z","log":{"level":"error"},"message":"m"}` + "\n",
			response: `{"errors":false,"took":0,"items":[` +
				`{"index":{"_index":"filebeat-7.17.0","result":"created","status":201}}]}` + "\n",
			details: `{"log":{"level":"error"},"_index":"filebeat-7.17.0"}`,
		},
		{
			name: "Logstash",
			startup: "HEAD /, GET /, GET /_license, GET /_xpack, HEAD /_index_template/ecs-logstash, " +
				"PUT /_index_template/ecs-logstash",
			path:   "/elasticsearch/_bulk?filter_path=errors,items.*.error,items.*.status&wait=1",
			header: []string{"Content-Type", "application/json", "x-elastic-product-origin", "logstash-output-elasticsearch"},
			body: `{"create":{"_index":"logs-generic-default","_id":null,"routing":null}}` + "\n" +
				`{"@timestamp":"2026-11-25T12:00:00.000Z","@version":"1","level":"error","message":"m",` +
				`"event":{"original":"m"},"data_stream":{"type":"logs"}}` + "\n",
			response: `{"errors":false,"items":[{"create":{"status":201}}]}` + "\n",
			details:  `"event":{"original":"m"},"data_stream":{"type":"logs"},"_index":"logs-generic-default"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestService(t)
			for request := range strings.SplitSeq(c.startup, ", ") {
				method, path, _ := strings.Cut(request, " ")
				w := s.do(method, "/elasticsearch"+path, nil)
				if w.Code != 200 || w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
					t.Errorf("%s: got %d %v, want 200", request, w.Code, w.Header())
				}
			}
			w := s.bulk(c.path, gzipped(c.body), append(c.header, "Content-Encoding", "gzip")...)
			if w.Code != 200 || w.Body.String() != c.response {
				t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, c.response)
			}
			rows := readRows(t, s.path)
			if len(rows) != 1 || rows[0][0] != "error" || rows[0][1] != "m" ||
				rows[0][2] != "2026-11-25T12:00:00.000000000Z" || !strings.Contains(rows[0][3], c.details) {
				t.Errorf("got rows %q, want one with the details %s", rows, c.details)
			}
		})
	}
}

// Clients of Elasticsearch can send a key only in these ways.
func TestElasticKeys(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "secret send\n"))
	encode := base64.StdEncoding.EncodeToString
	for authorization, want := range map[string]int{
		"Basic " + encode([]byte("elastic:secret")): 200,
		"ApiKey " + encode([]byte("id:secret")):     200,
		"apikey " + encode([]byte("id:secret")):     200,
		"Bearer secret":                             200,
		"Basic " + encode([]byte("secret:x")):       401,
		"Basic " + encode([]byte("secret")):         401,
		"Basic !":                                   401,
		"":                                          401,
	} {
		for _, target := range []string{"/elasticsearch/", "/elasticsearch/_license"} {
			if w := s.do("GET", target, nil, "Authorization", authorization); w.Code != want {
				t.Errorf("%s with %q: got %d, want %d", target, authorization, w.Code, want)
			}
		}
	}
}

// If any one reservation of a request fails, the request gets 503, and all memory
// is released.
func TestEachBulkReservationFails(t *testing.T) {
	s := newTestService(t)
	body := strings.Repeat(`{"create":{}}`+"\n{}\n", 40_000) +
		`{"create":{"_index":"` + strings.Repeat("x", 1000) + `"}}` + "\n" + `{"message":"` + strings.Repeat("\xff",
		300_000) + `"}`
	s.failEachReservation(t, func() *httptest.ResponseRecorder {
		return s.bulk("/elasticsearch/_bulk?wait=1", gzipped(body), "Content-Encoding", "gzip")
	})
}

// The batch has room for the indexes and ids of all rows, and the scratch does not
// refer to the body afterwards.
func TestBulkBatchIsMeasured(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	body := strings.Repeat(`{"create":{"_index":"`+long+`","_id":"`+long+`"}}`+"\n{}\n"+`{"create":{}}`+"\n{}\n", 20)
	in := &ingester{
		threshold: entry.LevelError,
		maxBody:   16 << 20,
		memory:    &budget{limit: 64 << 20},
		metrics:   new(metrics),
		clock:     time.Now,
	}
	s := &scratch{entry: newLogEntry(), body: []byte(body)}
	s.begin(in, testAccount())
	q := &bulkRequest{s: s, threshold: in.threshold, index: entry.AppendQuoted(nil, long)}
	result, herr := q.measure()
	if herr != nil {
		t.Fatal(herr)
	}
	b, herr := elasticHandler{in}.bulkBatch(q, result)
	if herr != nil {
		t.Fatal(herr)
	}
	if _, want := textClass(result.textSize); cap(b.text) != want || len(b.rows) != 40 {
		t.Errorf("got %d rows and a text of %d bytes, want 40 and %d", len(b.rows), cap(b.text), want)
	}
	for _, m := range s.entry.extra[:cap(s.entry.extra)] {
		if m.value != nil {
			t.Errorf("got a reference to the body, want none")
		}
	}
}
