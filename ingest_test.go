package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log-ingester/internal/entry"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestBodyForms(t *testing.T) {
	const a, b, noise = `{"level":"error","msg":"a"}`, `{"level":"error","msg":"b"}`, `{"level":"info","msg":"c"}`
	for _, c := range []struct {
		name, body         string
		accepted, filtered int
		stored             string
	}{
		{"an object", a, 1, 0, "a"},
		{"a dropped object", noise, 0, 1, ""},
		{"an empty array", "[]", 0, 0, ""},
		{"an empty array with white space", " [ \r\n\t] ", 0, 0, ""},
		{"an array", "[" + a + "," + noise + " ,\n" + b + "]", 2, 1, "a,b"},
		{"lines", a + "\n" + noise + "\n" + b + "\n", 2, 1, "a,b"},
		{"lines with carriage returns and empty ones", "\r\n" + a + "\r\n\r\n" + b, 2, 0, "a,b"},
		{"objects one after the other", a + b + noise, 2, 1, "a,b"},
		{"white space around", "\n\t \r" + a + " \n", 1, 0, "a"},
		{"a byte order mark", "\ufeff" + a, 1, 0, "a"},
		{"a byte order mark before an array", "\ufeff[" + a + "]", 1, 0, "a"},
		{"an object over lines", "{\n  \"level\": \"error\",\n  \"msg\": \"a\"\n}\n", 1, 0, "a"},
		{"levels that cannot be classified", `[{"msg":"x"},{"level":"audit","msg":"y"},{"level":[],"msg":"z"},{}]`, 4, 0, "x,y,z,"},
		{"the first of a doubled level", `{"level":"info","level":"error"}{"level":"error","level":"info","msg":"a"}`, 1, 1, "a"},
		{"a level elsewhere", `{"a":{"level":"error"},"level":"info"}{"a":"\"level\":\"info\"","level":"error","msg":"a"}`, 1, 1, "a"},
		{"a level key with escapes", `{"l\u0065vel":"info"}{"\u006cevel":"\u0065rror","msg":"a"}`, 1, 1, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestService(t)
			w := s.post(c.body)
			want := fmt.Sprintf(`{"accepted":%d,"filtered":%d}`, c.accepted, c.filtered)
			if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %d %s %v, want 200 %s", w.Code, w.Body, w.Header(), want)
			}
			if got := storedMessages(t, s.path); got != c.stored {
				t.Errorf("stored %q, want %q", got, c.stored)
			}
		})
	}
}

func TestThreshold(t *testing.T) {
	const body = `{"level":"trace","msg":"t"}{"level":"debug","msg":"d"}{"level":"info","msg":"i"}` +
		`{"level":"warning","msg":"w"}{"level":"err","msg":"e"}{"level":"critical","msg":"f"}{"msg":"u"}`
	for threshold, want := range map[string]string{
		"trace": "t,d,i,w,e,f,u", "debug": "d,i,w,e,f,u", "info": "i,w,e,f,u",
		"WARN": "w,e,f,u", "error": "e,f,u", "fatal": "f,u",
	} {
		s := newTestService(t, "-level", threshold)
		s.post(body)
		if got := storedMessages(t, s.path); got != want {
			t.Errorf("-level %s keeps %s, want %s", threshold, got, want)
		}
	}
}

// A refused request leaves no row behind, however good the entries before the
// bad one are.
func TestBadBodies(t *testing.T) {
	const good = `{"level":"error"}`
	s := newTestService(t)
	for _, c := range []struct {
		body          string
		entry, offset int
	}{
		{``, 0, 0}, {"  ", 0, 2}, {`x`, 0, 0}, {`null`, 0, 0}, {`"a"`, 0, 0}, {`1`, 0, 0},
		{`{`, 0, 1}, {`[`, 0, 1}, {`{"a":1`, 0, 6}, {`{"a"}`, 0, 4}, {`{a:1}`, 0, 1},
		{`[` + good + `,]`, 1, 19}, {`[` + good + ` ` + good + `]`, 1, 19}, {`[` + good, 1, 18},
		{`[` + good + `,1]`, 1, 19}, {`[` + good + `,null]`, 1, 19}, {`[[]]`, 0, 1},
		{good + `,` + good, 1, 17}, {good + `]`, 1, 17}, {`[` + good + `]` + good, 1, 19},
		{good + "\n" + `{"level":"info","x":01}`, 1, 39},
		{good + "\n" + `{"level":"info","x":"` + "\n" + `"}`, 1, 39},
		{good + "\x00", 1, 17}, {good + "\ufeff" + good, 1, 17},
	} {
		w := s.post(c.body)
		var answer struct {
			Error         string
			Entry, Offset *int
		}
		err := json.Unmarshal(w.Body.Bytes(), &answer)
		if w.Code != 400 || err != nil || answer.Error == "" || answer.Entry == nil || answer.Offset == nil {
			t.Errorf("%q: %d %s", c.body, w.Code, w.Body)
			continue
		}
		if *answer.Entry != c.entry || *answer.Offset != c.offset {
			t.Errorf("%q: entry %d offset %d, want %d %d", c.body, *answer.Entry, *answer.Offset, c.entry, c.offset)
		}
	}
	if rows := readRows(t, s.path); len(rows) != 0 {
		t.Errorf("refused requests left %q", rows)
	}
}

func TestRefusals(t *testing.T) {
	s := newTestService(t, "-max-body", "1KiB")
	const good = `{"level":"error","msg":"a"}`
	large := good + strings.Repeat(" ", 1024)
	for _, c := range []struct {
		name   string
		answer *httptest.ResponseRecorder
		status int
	}{
		{"GET", s.do("GET", "/ingest", nil), 405},
		{"PUT", s.do("PUT", "/ingest", strings.NewReader(good)), 405},
		{"an encoding that nobody knows", s.post(good, "Content-Encoding", "br"), 415},
		{"two encodings", s.post(good, "Content-Encoding", "gzip, gzip"), 415},
		{"a large body", s.post(large), 413},
		{"a large body of unknown length", s.do("POST", "/ingest", io.MultiReader(strings.NewReader(large))), 413},
		{"a body that inflates too far", s.post(gzipped(large), "Content-Encoding", "gzip"), 413},
		{"a body that inflates a byte too far", s.post(gzipped(good+strings.Repeat(" ", 1025-len(good))), "Content-Encoding", "gzip"), 413},
		{"no gzip", s.post(good, "Content-Encoding", "gzip"), 400},
		{"half of a gzip", s.post(gzipped(good)[:20], "Content-Encoding", "gzip"), 400},
		{"half of a body", s.do("POST", "/ingest", io.MultiReader(strings.NewReader(good), brokenReader{})), 400},
		{"a wait that is neither", s.do("POST", "/ingest?wait=maybe", strings.NewReader(good)), 400},
		{"a wait without a value", s.do("POST", "/ingest?wait", strings.NewReader(good)), 400},
		{"a wait that is both", s.do("POST", "/ingest?wait=0&wait=1", strings.NewReader(good)), 400},
		{"no query", s.do("POST", "/ingest?wait=1;x=2", strings.NewReader(good)), 400},
	} {
		var answer struct{ Error string }
		if err := json.Unmarshal(c.answer.Body.Bytes(), &answer); err != nil || answer.Error == "" || c.answer.Code != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, c.answer.Code, c.answer.Body, c.status)
		}
	}
	if got := s.do("GET", "/ingest", nil).Header().Get("Allow"); got != "POST" {
		t.Errorf("405 allows %q", got)
	}
	if rows := readRows(t, s.path); len(rows) != 0 {
		t.Errorf("refused requests left %q", rows)
	}
	just := good + strings.Repeat(" ", 1024-len(good))
	if w := s.post(just); w.Code != 200 {
		t.Errorf("a body of just -max-body: %d %s", w.Code, w.Body)
	}
	if w := s.post(gzipped(just), "Content-Encoding", "gzip"); w.Code != 200 {
		t.Errorf("a body that inflates to just -max-body: %d %s", w.Code, w.Body)
	}
}

// A large request leaves nothing large behind.
func TestScratchForgets(t *testing.T) {
	s := &scratch{entry: newLogEntry()}
	s.body = make([]byte, maxPooled+1)
	s.scanner.kept = make([]span, maxPooled)
	s.entry.scratch = make([]byte, maxPooled+1)
	s.entry.members = make([]member, maxPooled)
	s.trim()
	if s.body != nil || s.scanner.kept != nil || s.entry.scratch != nil || s.entry.members != nil {
		t.Errorf("%d %d %d %d are kept", cap(s.body), cap(s.scanner.kept), cap(s.entry.scratch), cap(s.entry.members))
	}
	s.body = make([]byte, maxPooled)
	s.trim()
	if s.body == nil {
		t.Error("a body of usual size is not kept")
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestEncodings(t *testing.T) {
	s := newTestService(t)
	body := `[` + strings.Repeat(`{"level":"error","msg":"a"},`, 999) + `{"level":"error","msg":"b"}]`
	for _, c := range []struct{ encoding, body string }{
		{"identity", body}, {"gzip", gzipped(body)}, {"GZIP", gzipped(body)}, {"x-gzip", gzipped(body)},
		{"gzip", gzipped(body[:500]) + gzipped(body[500:])},
		{"deflate", zlibbed(body)}, {"deflate", rawDeflated(body)},
	} {
		if w := s.post(c.body, "Content-Encoding", c.encoding); w.Code != 200 || w.Body.String() != `{"accepted":1000,"filtered":0}` {
			t.Errorf("%s: %d %s", c.encoding, w.Code, w.Body)
		}
	}
	if n := len(readRows(t, s.path)); n != 7000 {
		t.Errorf("%d rows, want 7000", n)
	}
}

func TestQueuedAnswer(t *testing.T) {
	s := newTestService(t)
	for _, target := range []string{"/ingest", "/ingest?wait=0", "/ingest?other=1"} {
		if w := s.do("POST", target, strings.NewReader(`{"level":"error"}`)); w.Code != 202 || w.Body.String() != `{"accepted":1,"filtered":0}` {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// newTestIngester returns an ingester without a writer.
func newTestIngester() *ingester {
	return &ingester{
		threshold: entry.LevelError,
		maxBody:   1 << 20,
		queue:     newQueue(1 << 20),
		memory:    &budget{limit: 1 << 30},
		metrics:   new(metrics),
		clock:     time.Now,
	}
}

// takeBatch is the writer for one batch, which has so many rows.
func takeBatch(t *testing.T, in *ingester, rows int) {
	b := in.queue.closeToJoins(<-in.queue.batches)
	if len(b.rows) != rows {
		t.Errorf("%d rows are queued, want %d", len(b.rows), rows)
	}
	in.queue.release(b.size())
	in.memory.release(b.size())
	b.free()
}

// The way from the body to the queue allocates nothing once its buffers have
// grown.
func TestIngestAllocatesNothing(t *testing.T) {
	const body = `[{"level":"error","msg":"a","n":1},{"level":"info"},{"level":"fatal","time":"2026-11-22T15:24:00Z"}]`
	in := newTestIngester()
	wire := strings.NewReader(body)
	r := httptest.NewRequest("POST", "/ingest", wire)
	s := scratchPool.Get().(*scratch)
	defer s.free()
	n := testing.AllocsPerRun(100, func() {
		wire.Reset(body)
		if status, refused := in.ingest(nil, r, s); status != http.StatusAccepted {
			t.Errorf("%d: %v", status, refused)
		}
		takeBatch(t, in, 2)
	})
	// With the race detector a sync.Pool forgets a quarter of what it is given.
	if n != 0 && !raceDetected() {
		t.Errorf("%v allocations a request", n)
	}
	if n := in.memory.used.Load(); n != 0 {
		t.Errorf("%d bytes of the budget are not given back", n)
	}
}
