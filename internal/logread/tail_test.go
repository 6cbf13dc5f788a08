package logread

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A tailClient reads the events of a tail.
type tailClient struct {
	t    testing.TB
	resp *http.Response
	r    *bufio.Reader
}

// A tailEvent is an event with data. The zero value means the end of the stream.
type tailEvent struct{ id, name, data string }

// tail starts a tail. All its events must arrive within two minutes.
func (l *testLog) tail(target string, headers ...string) *tailClient {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	l.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", l.server.URL+target, nil)
	must(l.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(l.t, err)
	l.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		l.t.Fatalf("GET %s = %s, want 200", target, resp.Status)
	}
	for name, want := range map[string]string{
		"Content-Type":  "text/event-stream",
		"Cache-Control": "no-store",
	} {
		if got := resp.Header.Get(name); got != want {
			l.t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	return &tailClient{l.t, resp, bufio.NewReader(resp.Body)}
}

// next returns the next event that has data, or the zero value at the end of the
// stream.
func (c *tailClient) next() tailEvent {
	c.t.Helper()
	var e tailEvent
	for {
		line, err := c.r.ReadString('\n')
		if err == io.EOF && line == "" {
			return tailEvent{}
		}
		must(c.t, err)
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data += value
		case "":
			if e.data != "" {
				return e
			}
			e = tailEvent{} // an id without data is not an event
		}
	}
}

// wantIDs checks the ids of the next events.
func (c *tailClient) wantIDs(want ...int64) {
	c.t.Helper()
	for _, id := range want {
		if e := c.next(); e.id != fmt.Sprint(id) || e.name != "" {
			c.t.Fatalf("next event = %q, want entry %d", e, id)
		}
	}
}

func TestTail(t *testing.T) {
	l := newTestLog(t)
	l.fill(3)
	all := l.tail("/logs/tail")
	some := l.tail("/logs/tail?level=fatal&q=disk&details.n=1&since=1h")
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	l.reader.Committed(l.insert(
		testEntry{"error", "one", now, "{\"a\":\n1}"},
		testEntry{"fatal", "the disk", now, `{"n":1}`},
	))
	want := []tailEvent{
		{id: "4", data: `{"id":4,"level":"error","message":"one","timestamp":"` + now + `","details":{"a": 1}}`},
		{id: "5", data: `{"id":5,"level":"fatal","message":"the disk","timestamp":"` + now + `","details":{"n":1}}`},
	}
	for _, want := range want {
		if got := all.next(); got != want {
			t.Errorf("next event = %q, want %q", got, want)
		}
	}
	if got := some.next(); got != want[1] {
		t.Errorf("next event of the filtered tail = %q, want %q", got, want[1])
	}
}

// A tail finds entries of other processes, which do not call Committed.
func TestTailPolls(t *testing.T) {
	l := newTestLog(t)
	l.fill(3)
	client := l.tail("/logs/tail")
	l.fill(1)
	client.wantIDs(4)
}

func TestTailResumes(t *testing.T) {
	l := newTestLog(t)
	l.fill(5)
	for _, test := range []struct {
		name, target string
		headers      []string
	}{
		{name: "Last-Event-ID", target: "/logs/tail", headers: []string{"Last-Event-ID", "3"}},
		{name: "after", target: "/logs/tail?after=3"},
		{name: "both", target: "/logs/tail?after=1", headers: []string{"Last-Event-ID", "3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l.tail(test.target, test.headers...).wantIDs(4, 5)
		})
	}
	t.Run("id of another database", func(t *testing.T) {
		client := l.tail("/logs/tail", "Last-Event-ID", "1000")
		l.fill(1)
		client.wantIDs(6)
	})
}

// A tail that falls behind skips entries, and reports which.
func TestTailSkips(t *testing.T) {
	l := newTestLog(t)
	last := l.fill(tailWindow + 5000)
	wantSkipped := func(client *tailClient, before int64) {
		t.Helper()
		want := tailEvent{
			name: "skipped",
			data: fmt.Sprintf(`{"skipped":%d,"after":10,"before":%d}`, before-11, before),
		}
		if got := client.next(); got != want {
			t.Errorf("next event = %q, want %q", got, want)
		}
	}
	t.Run("all entries", func(t *testing.T) {
		client := l.tail("/logs/tail?after=10")
		first := last - tailBurst + 1
		wantSkipped(client, first)
		for id := first; id <= last; id++ {
			client.wantIDs(id)
		}
	})
	// A rare entry is found among many that do not match.
	t.Run("rare entry", func(t *testing.T) {
		client := l.tail("/logs/tail?q=entry+6000&after=10")
		wantSkipped(client, last-tailWindow+1)
		client.wantIDs(6001)
	})
}

// readerGoroutines returns the stacks of goroutines that serve or notify tails.
func readerGoroutines() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var stacks []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "logread.(*Reader).") || strings.Contains(stack, "logread.(*hub).") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

func TestTailShutdown(t *testing.T) {
	l := newTestLog(t)
	l.fill(1)
	client := l.tail("/logs/tail")
	l.tail("/logs/tail?after=0") // reads nothing
	l.fill(tailBurst)
	if e := client.next(); e.id == "" {
		t.Error("tail ended before Shutdown")
	}
	if got := len(readerGoroutines()); got < 3 {
		t.Errorf("%d goroutines run, want one for each tail and one that polls", got)
	}
	l.reader.Shutdown()
	for client.next() != (tailEvent{}) { // until the stream ends
	}
	checkError(t, l.serve("/logs/tail"), http.StatusServiceUnavailable, "too many")

	must(t, l.reader.Close()) // waits for the tails
	deadline := time.Now().Add(30 * time.Second)
	for len(readerGoroutines()) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines run after Close:\n%s", strings.Join(readerGoroutines(), "\n\n"))
		}
		time.Sleep(time.Millisecond)
	}
}

// An idle tail sends heartbeats and is not cut off, also over HTTP/2, where an
// expired write deadline resets even an idle stream.
func TestTailHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		l.fill(3)
		client := serveHTTP2(t, l.routes())
		start := time.Now()
		resp, err := client.Get("https://example.com/logs/tail")
		must(t, err)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Fatalf("response = %s %s, want 200 over HTTP/2.0", resp.Proto, resp.Status)
		}
		lines := bufio.NewReader(resp.Body)
		for _, want := range []time.Duration{0, tailHeartbeat, 2 * tailHeartbeat} {
			for line := ""; line != "id: 3\n"; {
				line, err = lines.ReadString('\n')
				must(t, err)
			}
			if got := time.Since(start); got < want || got > want+time.Second {
				t.Errorf("id sent after %v, want %v", got, want)
			}
		}
	})
}

// A tail that always has entries to search, but sends none, sends heartbeats too.
func TestTailHeartbeatWhenBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		l.fill(3)
		for range maxTailSteps {
			defer holdSlot(t, l.reader.tailSteps)() // so that no scan can start
		}
		time.AfterFunc(time.Second, func() { l.reader.Committed(l.fill(1)) })
		time.AfterFunc(2*tailHeartbeat+5*time.Second, l.reader.Shutdown)
		w := l.serve("/logs/tail")
		if got := strings.Count(w.Body.String(), "id: 3\n"); got != 3 {
			t.Errorf("tail sent %d ids, want one at the start and two heartbeats", got)
		}
	})
}

// A deadlineRecorder reports deadlines and flushes.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	setDeadline func(time.Time)
	flushed     func()
}

func (w *deadlineRecorder) SetWriteDeadline(at time.Time) error { w.setDeadline(at); return nil }
func (w *deadlineRecorder) FlushError() error                   { w.flushed(); return nil }

// The deadline that stop sets is the last one, both if the tail is waiting and if
// it is sending. None is set after the handler has returned: in HTTP/2 the stream
// no longer exists.
func TestTailStopDeadline(t *testing.T) {
	check := func(t *testing.T, flushed func(l *testLog)) {
		synctest.Test(t, func(t *testing.T) {
			l := openTestLog(t)
			time.AfterFunc(tailHeartbeat/2, l.reader.Shutdown)
			var deadline time.Time
			returned := false
			w := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
			w.setDeadline = func(at time.Time) {
				time.Sleep(time.Millisecond)
				if returned {
					t.Error("deadline set after the handler returned")
				}
				deadline = at
			}
			w.flushed = func() { flushed(l) }
			l.reader.ServeTail(w, httptest.NewRequest("GET", "/logs/tail", nil))
			returned = true
			if left := time.Until(deadline); left <= 0 || left > stopTimeout {
				t.Errorf("last deadline is %v after the end, want at most %v", left, stopTimeout)
			}
			time.Sleep(time.Second) // for deadlines that are set too late
		})
	}
	t.Run("waiting", func(t *testing.T) { check(t, func(*testLog) {}) })
	t.Run("sending", func(t *testing.T) {
		check(t, func(l *testLog) {
			l.reader.Shutdown()
			time.Sleep(time.Millisecond)
			synctest.Wait()
		})
	})
}

// One address gets half of the tails, and all addresses together at most maxTails.
func TestTailsAreBounded(t *testing.T) {
	l := newTestLog(t)
	l.reader.slotTimeout = time.Millisecond
	for range maxTails / 2 {
		l.tail("/logs/tail")
	}
	if resp, body := l.get("/logs/tail"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("GET /logs/tail = %d %s, want 503", resp.StatusCode, body)
	}
	for range maxTails / 2 {
		defer holdSlot(t, l.reader.openTails)()
	}
	checkError(t, l.serve("/logs/tail"), http.StatusServiceUnavailable, "too many")
}

// A client that stops reading does not delay the others.
func TestTailSlowClient(t *testing.T) {
	l := newTestLog(t)
	l.tail("/logs/tail") // reads nothing
	fast := l.tail("/logs/tail")
	big := strings.Repeat("x", 100_000)
	for range 12 {
		entries := make([]testEntry, 10)
		for i := range entries {
			entries[i] = testEntry{"error", big, "", nil}
		}
		last := l.insert(entries...)
		l.reader.Committed(last)
		for e := fast.next(); e.id != fmt.Sprint(last); e = fast.next() {
			if e == (tailEvent{}) {
				t.Fatalf("tail ended before entry %d", last)
			}
		}
	}
}
