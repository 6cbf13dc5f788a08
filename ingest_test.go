package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/entry"
)

// The forms that a body may have, and which of its entries are stored.
func TestBodyFormats(t *testing.T) {
	const a, b, dropped = `{"level":"error","msg":"a"}`, `{"level":"error","msg":"b"}`, `{"level":"info","msg":"c"}`
	const unclassified = `[{"msg":"x"},{"level":"audit","msg":"y"},{"level":[],"msg":"z"},{}]`
	const duplicateLevel = `{"level":"info","level":"error"}{"level":"error","level":"info","msg":"a"}`
	const otherLevel = `{"a":{"level":"error"},"level":"info"}{"a":"\"level\":\"info\"","level":"error","msg":"a"}`
	const escapedLevel = `{"l\u0065vel":"info"}{"\u006cevel":"\u0065rror","msg":"a"}`
	for _, c := range []struct {
		name, body         string
		accepted, filtered int
		stored             string // messages
	}{
		{name: "object", body: a, accepted: 1, stored: "a"},
		{name: "dropped object", body: dropped, filtered: 1},
		{name: "empty array", body: "[]"},
		{name: "empty array with white space", body: " [ \r\n\t] "},
		{name: "array", body: "[" + a + "," + dropped + " ,\n" + b + "]", accepted: 2, filtered: 1, stored: "a,b"},
		{name: "lines", body: a + "\n" + dropped + "\n" + b + "\n", accepted: 2, filtered: 1, stored: "a,b"},
		{name: "CRLF and empty lines", body: "\r\n" + a + "\r\n\r\n" + b, accepted: 2, stored: "a,b"},
		{name: "concatenated objects", body: a + b + dropped, accepted: 2, filtered: 1, stored: "a,b"},
		{name: "surrounding white space", body: "\n\t \r" + a + " \n", accepted: 1, stored: "a"},
		{name: "byte order mark", body: "\ufeff" + a, accepted: 1, stored: "a"},
		{name: "byte order mark before an array", body: "\ufeff[" + a + "]", accepted: 1, stored: "a"},
		{name: "object over several lines", body: "{\n  \"level\": \"error\",\n  \"msg\": \"a\"\n}\n", accepted: 1, stored: "a"},
		{name: "missing and unknown levels", body: unclassified, accepted: 4, stored: "x,y,z,"},
		{name: "duplicate level", body: duplicateLevel, accepted: 1, filtered: 1, stored: "a"},
		{name: "level in other values", body: otherLevel, accepted: 1, filtered: 1, stored: "a"},
		{name: "level with escapes", body: escapedLevel, accepted: 1, filtered: 1, stored: "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestService(t)
			w := s.post(c.body)
			want := fmt.Sprintf(`{"accepted":%d,"filtered":%d}`+"\n", c.accepted, c.filtered)
			if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %d %s %v, want 200 %s", w.Code, w.Body, w.Header(), want)
			}
			if got := storedMessages(t, s.path); got != c.stored {
				t.Errorf("got stored messages %q, want %q", got, c.stored)
			}
		})
	}
}

func TestLevelThreshold(t *testing.T) {
	const body = `{"level":"trace","msg":"t"}{"level":"debug","msg":"d"}{"level":"info","msg":"i"}` +
		`{"level":"warning","msg":"w"}{"level":"err","msg":"e"}{"level":"critical","msg":"f"}{"msg":"u"}`
	for threshold, want := range map[string]string{
		"trace": "t,d,i,w,e,f,u", "debug": "d,i,w,e,f,u", "info": "i,w,e,f,u",
		"WARN": "w,e,f,u", "error": "e,f,u", "fatal": "f,u",
	} {
		t.Run(threshold, func(t *testing.T) {
			s := newTestService(t, "-level", threshold)
			s.post(body)
			if got := storedMessages(t, s.path); got != want {
				t.Errorf("got stored messages %s, want %s", got, want)
			}
		})
	}
}

// The response to an invalid body says where it is invalid, and none of its
// entries is stored, even if the first ones are valid.
func TestBodyErrors(t *testing.T) {
	const valid = `{"level":"error"}`
	s := newTestService(t)
	for _, c := range []struct {
		body          string
		entry, offset int
	}{
		{``, 0, 0}, {"  ", 0, 2}, {`x`, 0, 0}, {`null`, 0, 0}, {`"a"`, 0, 0}, {`1`, 0, 0},
		{`{`, 0, 1}, {`[`, 0, 1}, {`{"a":1`, 0, 6}, {`{"a"}`, 0, 4}, {`{a:1}`, 0, 1},
		{`[` + valid + `,]`, 1, 19}, {`[` + valid + ` ` + valid + `]`, 1, 19}, {`[` + valid, 1, 18},
		{`[` + valid + `,1]`, 1, 19}, {`[` + valid + `,null]`, 1, 19}, {`[[]]`, 0, 1},
		{valid + `,` + valid, 1, 17}, {valid + `]`, 1, 17}, {`[` + valid + `]` + valid, 1, 19},
		{valid + "\n" + `{"level":"info","x":01}`, 1, 39},
		{valid + "\n" + `{"level":"info","x":"` + "\n" + `"}`, 1, 39},
		{valid + "\x00", 1, 17}, {valid + "\ufeff" + valid, 1, 17},
	} {
		t.Run(fmt.Sprintf("%q", c.body), func(t *testing.T) {
			w := s.post(c.body)
			checkError(t, w, 400)
			var got struct{ Entry, Offset *int }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Entry == nil || got.Offset == nil {
				t.Fatalf("got %s, want an entry and an offset", w.Body)
			}
			if *got.Entry != c.entry || *got.Offset != c.offset {
				t.Errorf("got entry %d and offset %d, want %d and %d", *got.Entry, *got.Offset, c.entry, c.offset)
			}
		})
	}
	if rows := readRows(t, s.path); len(rows) != 0 {
		t.Errorf("got stored rows %q, want none", rows)
	}
}

// A brokenReader fails as the body of a client that disconnects does.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// unknownLength hides the length of a body, so that it is sent in chunks.
func unknownLength(body string, more ...io.Reader) io.Reader {
	return io.MultiReader(append([]io.Reader{strings.NewReader(body)}, more...)...)
}

func TestRefusedRequests(t *testing.T) {
	s := newTestService(t, "-max-body", "1KiB")
	const body = smallBody
	exact := body + strings.Repeat(" ", 1024-len(body))
	large := body + strings.Repeat(" ", 1024)
	post := func(query string) *httptest.ResponseRecorder {
		return s.do("POST", "/ingest"+query, strings.NewReader(body))
	}
	for _, c := range []struct {
		name     string
		response *httptest.ResponseRecorder
		status   int
	}{
		{"GET", s.do("GET", "/ingest", nil), 405},
		{"PUT", s.do("PUT", "/ingest", strings.NewReader(body)), 405},
		{"unknown encoding", s.post(body, "Content-Encoding", "br"), 415},
		{"two encodings", s.post(body, "Content-Encoding", "gzip, gzip"), 415},
		{"large body", s.post(large), 413},
		{"large body of unknown length", s.do("POST", "/ingest", unknownLength(large)), 413},
		{"large decompressed body", s.post(gzipped(large), "Content-Encoding", "gzip"), 413},
		{"decompressed body one byte too large", s.post(gzipped(exact+" "), "Content-Encoding", "gzip"), 413},
		{"not gzip", s.post(body, "Content-Encoding", "gzip"), 400},
		{"truncated gzip", s.post(gzipped(body)[:20], "Content-Encoding", "gzip"), 400},
		{"truncated body", s.do("POST", "/ingest", unknownLength(body, brokenReader{})), 400},
		{"invalid wait", post("?wait=maybe"), 400},
		{"wait without a value", post("?wait"), 400},
		{"two values of wait", post("?wait=0&wait=1"), 400},
		{"invalid query", post("?wait=1;x=2"), 400},
	} {
		t.Run(c.name, func(t *testing.T) { checkError(t, c.response, c.status) })
	}
	if got := s.do("GET", "/ingest", nil).Header().Get("Allow"); got != "POST" {
		t.Errorf("GET: got Allow %q, want POST", got)
	}
	if rows := readRows(t, s.path); len(rows) != 0 {
		t.Errorf("got stored rows %q, want none", rows)
	}
	if w := s.post(exact); w.Code != 200 {
		t.Errorf("body of -max-body bytes: got %d %s, want 200", w.Code, w.Body)
	}
	if w := s.post(gzipped(exact), "Content-Encoding", "gzip"); w.Code != 200 {
		t.Errorf("decompressed body of -max-body bytes: got %d %s, want 200", w.Code, w.Body)
	}
}

// A request that does not wait for the commit gets 202. Other parameters than
// wait have no meaning.
func TestQueuedResponse(t *testing.T) {
	s := newTestService(t)
	const want = `{"accepted":1,"filtered":0}` + "\n"
	for _, target := range []string{"/ingest", "/ingest?wait=0", "/ingest?other=1"} {
		if w := s.do("POST", target, strings.NewReader(smallBody)); w.Code != 202 || w.Body.String() != want {
			t.Errorf("%s: got %d %s, want 202 %s", target, w.Code, w.Body, want)
		}
	}
}

// A request with wait=1 whose client disconnects gets no response before the
// commit, because the client may only have closed its side.
func TestWaitOutlastsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStalledService(t)
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "POST", "/ingest?wait=1", strings.NewReader(smallBody))
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.handler.ServeHTTP(w, r)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case <-done:
			t.Fatalf("before the commit: got response %d %s, want none", w.Code, w.Body)
		default:
		}
		s.startWriter()
		if <-done; w.Code != 200 {
			t.Errorf("after the commit: got response %d %s, want 200", w.Code, w.Body)
		}
	})
}

// If the clock is set back, entries keep their order, and each has the time of
// the clock.
func TestClockSetBack(t *testing.T) {
	s := newTestService(t)
	now := time.Date(2026, 10, 25, 2, 59, 59, 999_999_999, time.FixedZone("CEST", 7200))
	in := &ingester{
		threshold: entry.LevelError,
		maxBody:   1 << 20,
		queue:     s.queue,
		memory:    s.memory,
		accounts:  s.accounts,
		metrics:   s.metrics,
		clock:     func() time.Time { return now },
	}
	var want []string
	for i, back := range []time.Duration{0, time.Nanosecond, time.Hour, -time.Second, 24 * time.Hour} {
		now = now.Add(-back)
		body := fmt.Sprintf(`[{"level":"error","msg":"%d first"},{"level":"error","msg":"%d second"}]`, i, i)
		w := httptest.NewRecorder()
		in.ServeHTTP(w, httptest.NewRequest("POST", "/ingest?wait=1", strings.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Fatalf("request %d: got %d %s, want 200", i, w.Code, w.Body)
		}
		stamp := now.UTC().Format("2006-01-02T15:04:05.000000000Z")
		want = append(want, fmt.Sprintf("%s %d first", stamp, i), fmt.Sprintf("%s %d second", stamp, i))
	}
	var got []string
	for _, r := range readRows(t, s.path) {
		got = append(got, r[2]+" "+r[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got rows %q\nwant %q", got, want)
	}
}

// A request gets 503 if the memory budget has no space for its body, for
// decompressing it, or for decoding it.
func TestMemoryBudget(t *testing.T) {
	s := newTestService(t, "-max-body", "1MiB", "-memory", "4MiB")
	large := "[" + strings.Repeat(smallBody+",", 20_000) + smallBody + "]"
	for _, c := range []struct {
		name string
		free int64 // bytes of the budget
		body string
		gzip bool
		want int // status
	}{
		{name: "nothing", free: 0, body: smallBody, want: 503},
		{name: "start of the body", free: 56 << 10, body: large, want: 503},
		{name: "half of the body", free: 300 << 10, body: large, want: 503},
		{name: "body but not its rows", free: 900 << 10, body: large, want: 503},
		{name: "compressed body", free: 48 << 10, body: smallBody, gzip: true, want: 503},
		{name: "start of the decompressed body", free: 200 << 10, body: large, gzip: true, want: 503},
		{name: "small request", free: 600 << 10, body: smallBody, want: 200},
		{name: "large request", free: 4 << 20, body: large, want: 200},
	} {
		t.Run("space for "+c.name, func(t *testing.T) {
			body, header := c.body, []string(nil)
			if c.gzip {
				body, header = gzipped(c.body), []string{"Content-Encoding", "gzip"}
			}
			reserved := s.memory.limit - c.free
			if used := s.memory.used.Swap(reserved); used != 0 {
				t.Fatalf("got %d bytes of the budget in use, want 0", used)
			}
			w := s.post(body, header...)
			s.memory.used.Add(-reserved)
			if w.Code != c.want || (w.Header().Get("Retry-After") == "") != (c.want == 200) {
				t.Errorf("got %d %v %s, want %d", w.Code, w.Header(), w.Body, c.want)
			}
			if n := s.memory.used.Load(); c.want == 503 && n != 0 {
				t.Errorf("got %d bytes of the budget in use after the request, want 0", n)
			}
		})
	}
}

// No entry that is stored exceeds -max-body, also if its UTF-8 was repaired.
func TestRepairedEntryLimit(t *testing.T) {
	s := newTestService(t, "-max-body", "3KiB")
	text := func(n int) string { return `{"level":"error"}{"m":"` + strings.Repeat("\xff", n) + `"}` }
	if w := s.post(text(1000)); w.Code != 200 {
		t.Errorf("1,000 invalid bytes: got %d %s, want 200", w.Code, w.Body)
	}
	w := s.post(text(1100))
	checkError(t, w, 413)
	if !strings.Contains(w.Body.String(), `"entry":1,"offset":17`) {
		t.Errorf("got %s, want entry 1 and offset 17", w.Body)
	}
}

// All memory is released, however a request ends, and the counts balance.
func TestBudgetIsReleased(t *testing.T) {
	s := newTestService(t, "-max-body", "64KiB", "-memory", "256KiB", "-queue", "16KiB", "-synchronous", "off")
	server := httptest.NewServer(s.handler)
	defer server.Close()
	statuses := make(chan int, 10_000)
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(0, uint64(client)))
			for range 100 {
				sendRandomRequest(t, r, server, statuses)
			}
		})
	}
	clients.Wait()
	server.Close() // waits for requests whose client has disconnected
	close(statuses)
	got := make(map[int]int)
	for status := range statuses {
		got[status]++
	}
	for _, status := range []int{200, 202, 400, 413, 503} {
		if got[status] == 0 {
			t.Errorf("got no response with status %d: %v", status, got)
		}
	}
	s.stop()
	s.checkBalanced(t)
}

// sendRandomRequest sends a request that may be valid or not, compressed or not,
// and complete or not. It sends the status of the response, if any, to statuses.
func sendRandomRequest(t *testing.T, r *rand.Rand, server *httptest.Server, statuses chan<- int) {
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	target := server.URL + "/ingest" + []string{"", "?wait=1"}[r.IntN(2)]
	request, err := http.NewRequestWithContext(ctx, "POST", target, nil)
	if err != nil {
		t.Error(err)
		return
	}
	body := "[" + strings.Repeat(smallBody+",", r.IntN(1<<r.IntN(13))) + smallBody + "]"
	if r.IntN(3) == 0 {
		body = gzipped(body)
		request.Header.Set("Content-Encoding", "gzip")
	}
	if r.IntN(4) == 0 {
		body = body[:r.IntN(len(body))]
	}
	request.Body = io.NopCloser(strings.NewReader(body))
	if r.IntN(3) == 0 {
		request.ContentLength = int64(len(body))
	}
	if r.IntN(4) == 0 {
		request.Body = &canceledBody{strings.NewReader(body), r.IntN(len(body) + 1), cancel}
	}
	resp, err := server.Client().Do(request)
	if err != nil {
		return // the client has disconnected
	}
	statuses <- resp.StatusCode
	io.Copy(io.Discard, resp.Body) // fails if the client disconnects now
	resp.Body.Close()
}

// A canceledBody cancels its request after left bytes.
type canceledBody struct {
	io.Reader
	left   int
	cancel func()
}

func (b *canceledBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.cancel()
	}
	n, err := b.Reader.Read(p[:min(len(p), max(b.left, 1))])
	b.left -= min(n, b.left)
	return n, err
}

func (b *canceledBody) Close() error { return nil }

// A large buffer does not return to the pool, but one of usual size does.
func TestScratchTrim(t *testing.T) {
	s := &scratch{entry: newLogEntry()}
	s.body = make([]byte, maxPooled+1)
	s.scanner.kept = make([]span, maxPooled)
	s.entry.scratch = make([]byte, maxPooled+1)
	s.entry.members = make([]member, maxPooled)
	s.trim()
	got := []int{cap(s.body), cap(s.scanner.kept), cap(s.entry.scratch), cap(s.entry.members)}
	if want := []int{0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got capacities %v of large buffers, want %v", got, want)
	}
	s.body = make([]byte, maxPooled)
	s.trim()
	if cap(s.body) != maxPooled {
		t.Errorf("got capacity %d of a usual buffer, want %d", cap(s.body), maxPooled)
	}
}

// From the body to the queue, a request allocates nothing after its buffers have
// grown.
func TestIngestDoesNotAllocate(t *testing.T) {
	const body = `[{"level":"error","msg":"a","n":1},{"level":"info"},{"level":"fatal","time":"2026-11-22T15:24:00Z"}]`
	in := &ingester{
		threshold: entry.LevelError,
		maxBody:   1 << 20,
		queue:     newQueue(1 << 20),
		memory:    &budget{limit: 1 << 30},
		accounts:  newAccounts(nil),
		metrics:   new(metrics),
		clock:     time.Now,
	}
	wire := strings.NewReader(body)
	r := httptest.NewRequest("POST", "/ingest", wire)
	s := scratchPool.Get().(*scratch)
	account := testAccount()
	n := testing.AllocsPerRun(100, func() {
		wire.Reset(body)
		s.begin(in, account)
		defer s.reserved.release()
		if resp, herr := in.ingest(nil, r, s); resp.status != http.StatusAccepted {
			t.Errorf("got status %d and error %v, want 202", resp.status, herr)
		}
		if rows := takeBatch(in); rows != 2 {
			t.Errorf("got %d queued rows, want 2", rows)
		}
	})
	// With the race detector, a sync.Pool drops a quarter of its items.
	if n != 0 && !raceDetected() {
		t.Errorf("got %v allocations per request, want 0", n)
	}
	if n := in.memory.used.Load(); n != 0 {
		t.Errorf("got %d bytes of the budget in use, want 0", n)
	}
}

// takeBatch does the work of the writer for one batch, and returns how many rows
// it has. If the queue is empty, it returns 0.
func takeBatch(in *ingester) (rows int) {
	select {
	case b := <-in.queue.batches:
		in.queue.closeToJoins(b)
		rows = len(b.rows)
		in.queue.release(b.account, b.size())
		in.memory.release(&b.account.memory, b.size())
		b.account.put()
		b.free()
	default:
	}
	return rows
}
