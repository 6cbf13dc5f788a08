package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// bodiesOfRoutes has a body for each route and format that accepts logs. Each has one
// entry, with the level error and the message 17.
var bodiesOfRoutes = []struct {
	name, path, contentType, body string
}{
	{"JSON", "/ingest?wait=1", "application/json", `{"level":"error","message":"17"}`},
	{"OTLP protobuf", "/v1/logs?wait=1", otlpProtoType, otlpProto(17)},
	{"OTLP JSON", "/v1/logs?wait=1", otlpJSONType, otlpJSON(17)},
	{"bulk", "/elasticsearch/_bulk?wait=1", "application/x-ndjson",
		`{"create":{}}` + "\n" + `{"log.level":"error","message":"17"}` + "\n"},
}

// TestEncodings sends bodies in each encoding to each route of a process, with
// Content-Length and in chunks.
func TestEncodings(t *testing.T) {
	p := start(t, filepath.Join(t.TempDir(), "logs.db"))
	stored := 0
	for _, route := range bodiesOfRoutes {
		for _, encoding := range []struct {
			name     string
			compress func(string) string
		}{
			{"identity", strings.Clone}, {"gzip", gzipped}, {"deflate", zlibbed}, {"deflate", rawDeflated},
		} {
			body := encoding.compress(route.body)
			for framing, r := range map[string]io.Reader{
				"length": strings.NewReader(body),
				"chunks": unknownLength(body),
			} {
				status, text, err := p.postTo(route.path, r,
					"Content-Type", route.contentType, "Content-Encoding", encoding.name)
				must(t, err)
				if status != 200 {
					t.Errorf("%s, %s, %s: got %d %q, want 200", route.name, encoding.name, framing, status, text)
				}
				stored++
			}
		}
	}
	if got, want := storedMessages(t, p.db), strings.Repeat("17,", stored-1)+"17"; got != want {
		t.Errorf("messages: got %q, want %q", got, want)
	}
}

// TestUnsupportedEncodings checks that each route refuses other encodings and lists
// those that it supports.
func TestUnsupportedEncodings(t *testing.T) {
	p := start(t, filepath.Join(t.TempDir(), "logs.db"))
	for _, route := range bodiesOfRoutes {
		for _, encoding := range []string{"zstd", "br", "snappy", "gzip, gzip"} {
			status, text, err := p.postTo(route.path, strings.NewReader(route.body),
				"Content-Type", route.contentType, "Content-Encoding", encoding)
			must(t, err)
			if status != 415 || !strings.Contains(text, "send identity, gzip or deflate") {
				t.Errorf("%s, %s: got %d %q, want 415 and the supported encodings", route.name, encoding, status, text)
			}
		}
	}
	if got := storedMessages(t, p.db); got != "" {
		t.Errorf("messages: got %q, want none", got)
	}
}
