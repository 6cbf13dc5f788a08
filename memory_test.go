package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"log-ingester/internal/entry"
)

// hostileBodies are bodies whose decoding needs much memory, in ways that a
// simple estimate misses.
var hostileBodies = map[string]func() string{
	"members of the smaller entry": func() string {
		return `{"message":"` + strings.Repeat("x", 5<<20) + `"}{` + strings.Repeat(`"":1,`, 600_000) + `"":1}`
	},
	"invalid UTF-8 in many entries": func() string {
		return strings.Repeat(`{"message":"`+strings.Repeat("\xff", 300)+`"}`, 10_000)
	},
	"level that grows in lower case": func() string {
		return `{"level":"` + strings.Repeat("Ⱥ", 2<<20) + `"}`
	},
	"array of numbers": func() string {
		return `{"message":"m","values":[` + strings.Repeat("1,", 1_000_000) + `1]}`
	},
	"long key with an escape": func() string { return `{"\n` + strings.Repeat("x", 4<<20) + `":1}` },
	"many keys with escapes":  func() string { return `{` + strings.Repeat(`"\n":1,`, 300_000) + `"":1}` },
	"small entries":           func() string { return strings.Repeat(`{}`, 200_000) },
	"opening braces":          func() string { return `{"message":"` + strings.Repeat("{", 1<<20) + `"}` },
	"long level with escapes": func() string { return `{"level":"` + strings.Repeat(`\u0061`, 500_000) + `"}` },
	"level of many digits":    func() string { return `{"level":` + strings.Repeat("5", 4<<20) + `}` },
	"long time with escapes":  func() string { return `{"time":"` + strings.Repeat(`\u0061`, 500_000) + `"}` },
	"time of many digits":     func() string { return `{"time":1` + strings.Repeat("0", 4<<20) + `e1}` },
	"severity of many digits": func() string { return `{"SeverityNumber":` + strings.Repeat("5", 4<<20) + `}` },
	"level of GELF with many digits": func() string {
		return `{"version":"1.1","host":"h","level":` + strings.Repeat("5", 4<<20) + `}`
	},
	"journald time of many digits": func() string {
		return `{"__REALTIME_TIMESTAMP":"` + strings.Repeat("5", 4<<20) + `"}`
	},
	"time object of many digits": func() string { return `{"instant":{"epochSecond":` + strings.Repeat("5", 4<<20) + `}}` },
	"long time with a small t":   func() string { return `{"time":"2026-11-22t15:24:` + strings.Repeat("0", 4<<20) + `z"}` },
}

// A request allocates no more than it has reserved, except for constants. The
// budget is never exceeded.
func TestAllocationsAreReserved(t *testing.T) {
	for name, body := range hostileBodies {
		t.Run(name, func(t *testing.T) {
			status, peak, allocated := ingestMeasured(body(), 1<<30)
			if status != http.StatusAccepted {
				t.Errorf("got status %d, want 202", status)
			}
			// With the race detector, small allocations are larger.
			if limit := peak + peak/16 + 256<<10; allocated > limit && !raceDetected() {
				t.Errorf("got %d bytes allocated with %d reserved, want at most %d", allocated, peak, limit)
			}
		})
	}
}

// The limit holds for each body, and only those that do not fit are refused.
func TestMemoryLimitOfRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		body   string
		limit  int64
		status int
	}{
		{"array of numbers", hostileBodies["array of numbers"](), 8 << 20, 202},
		{"array of numbers that does not fit", hostileBodies["array of numbers"](), 3 << 20, 413},
		{"members of the smaller entry", hostileBodies["members of the smaller entry"](), 32 << 20, 413},
		{"members of the smaller entry that fit", hostileBodies["members of the smaller entry"](), 56 << 20, 202},
		{"invalid UTF-8 in many entries", hostileBodies["invalid UTF-8 in many entries"](), 8 << 20, 413},
		{"invalid UTF-8 that fits", hostileBodies["invalid UTF-8 in many entries"](), 16 << 20, 202},
		{"level that grows in lower case", hostileBodies["level that grows in lower case"](), 8 << 20, 413},
		{"level that grows and fits", hostileBodies["level that grows in lower case"](), 16 << 20, 202},
		{"largest body", `{"message":"` + strings.Repeat("x", 8<<20-20) + `"}`, 21 << 20, 202},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, peak, _ := ingestMeasured(c.body, c.limit)
			if status != c.status {
				t.Errorf("got status %d with at most %d bytes reserved, want %d", status, peak, c.status)
			}
			if peak > c.limit {
				t.Errorf("got %d bytes reserved, want at most %d", peak, c.limit)
			}
		})
	}
}

// ingestMeasured ingests body, with new buffers for all that it decodes to. It returns
// the status, the largest reservation, and the bytes that were allocated.
func ingestMeasured(body string, limit int64) (status int, peak, allocated int64) {
	in := &ingester{
		threshold: entry.LevelError,
		maxBody:   16 << 20,
		queue:     newQueue(64 << 20),
		memory:    &budget{limit: limit},
		accounts:  newAccounts(nil),
		metrics:   new(metrics),
		clock:     time.Now,
	}
	in.memory.refuse = func(n int64) bool {
		if used := in.memory.used.Load() + n; used <= limit {
			peak = max(peak, used)
		}
		return false
	}
	r := httptest.NewRequest("POST", "/ingest", strings.NewReader(body))
	// With a buffer for the body, none is allocated and released as it grows.
	s := &scratch{entry: newLogEntry(), body: make([]byte, 0, len(body)+1)}
	s.begin(in, testAccount())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, herr := in.ingest(nil, r, s)
	runtime.ReadMemStats(&after)
	status = resp.status
	if herr != nil {
		status = herr.Status
	}
	return status, peak, int64(after.TotalAlloc - before.TotalAlloc)
}

// failEachReservation sends requests that make the same reservations, and lets another
// one fail in each, until none is left. It fails the test unless such a request gets
// 503, and all memory is released. It returns the number of reservations.
func (s *testService) failEachReservation(t *testing.T, send func() *httptest.ResponseRecorder) (failed int) {
	t.Helper()
	for k := 1; ; k++ {
		calls := 0
		s.memory.refuse = func(int64) bool {
			calls++
			return calls == k
		}
		w := send()
		want := 503
		if k == 1 || calls < k { // if the first one fails, the request drops the buffers from the pool
			want = 200
		}
		if w.Code != want {
			t.Errorf("reservation %d fails: got %d %.100s, want %d", k, w.Code, w.Body, want)
		}
		if n := s.memory.used.Load(); n != 0 {
			t.Fatalf("reservation %d fails: got %d bytes of the budget in use after the request, want 0", k, n)
		}
		if n := len(s.accounts.all); n != 0 {
			t.Fatalf("reservation %d fails: got %d accounts after the request, want none", k, n)
		}
		if calls < k {
			return failed
		}
		failed++
	}
}

// If any one reservation of a request fails, the request gets 503, and all
// memory is released.
func TestEachReservationFails(t *testing.T) {
	s := newTestService(t)
	requests := 0 // each has another idempotency key
	// Each buffer becomes too large for its pool, so each request makes the same
	// reservations.
	body := gzipped(strings.Repeat(`{}`, 40_000) + // positions
		`{"message":"` + strings.Repeat("\xff", 300_000) + `"}` + // repair
		`{` + strings.Repeat(`"":1,`, 20_000) + `"\n` + strings.Repeat("x", 10_000) + `":1}`) // members and keys
	failed := s.failEachReservation(t, func() *httptest.ResponseRecorder {
		requests++
		return s.post(body, "Content-Encoding", "gzip", "Idempotency-Key", strconv.Itoa(requests))
	})
	// Pooled buffers, inflater, body several times, positions, batch, its text and
	// rows, repair, keys, members, claim of the idempotency key.
	if failed < 13 {
		t.Errorf("got %d reservations, want at least 13", failed)
	}
	s.stop()
	s.checkBalanced(t)
}

// If the memory of a request itself cannot be reserved, the request gets 503.
func TestRequestReservationFails(t *testing.T) {
	s := newTestService(t)
	s.memory.refuse = func(int64) bool { return true }
	checkError(t, s.post(smallBody), 503)
	s.memory.refuse = nil
	if w := s.post(smallBody); w.Code != 200 {
		t.Errorf("next request: got %d %s, want 200", w.Code, w.Body)
	}
	if n := len(s.accounts.all); n != 0 {
		t.Errorf("got %d accounts after the requests, want none", n)
	}
}

// A request that does not fit into the budget holds no memory while it waits for
// its response.
func TestRefusalIsDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStalledService(t, "-memory", "1MiB", "-max-body", "512KiB")
		s.ingest.refusalDelay = refusalDelay
		server := servePipes(t, s.routes(), 10)
		body := strings.Repeat(smallBody, 1000)
		s.memory.refuse = func(n int64) bool { return n > 16<<10 }
		client := server.dial()
		began := time.Now()
		client.Send(head("/ingest", len(body)), body, 1, 0)
		time.Sleep(refusalDelay / 2)
		if n := s.memory.used.Load(); n != 0 {
			t.Errorf("got %d bytes in use during the delay, want 0", n)
		}
		got, err := client.Response()
		if took := time.Since(began); err != nil || !strings.HasPrefix(got, "503 ") || took != refusalDelay {
			t.Errorf("got response %q and error %v after %v, want 503 after %v", got, err, took, refusalDelay)
		}
	})
}

// A scratch in the pool does not refer to a large body.
func TestScratchForgetsBody(t *testing.T) {
	s := &scratch{entry: newLogEntry()}
	body := []byte(`{"message":"` + strings.Repeat("x", maxPooled) + `"}`)
	if err := s.entry.appendRow(new(batch), body, nil); err != nil {
		t.Fatal(err)
	}
	s.body = body
	s.trim()
	if s.entry.lexer.Data != nil || s.entry.members[:1][0].value != nil {
		t.Errorf("got references to a body of %d bytes, want none", len(body))
	}
}

func TestCountMembers(t *testing.T) {
	for _, c := range []struct {
		entry         string
		members, keys int
	}{
		{`{}`, 0, 0},
		{` {"a":1}`[1:], 1, 0},
		{`{"a":[1,2,{"b":1,"\n":2}],"c":{"d":1,"e":2},"f":",\""}`, 3, 0},
		{`{"a\"" : 1, "b" : "\\", "\\":"}" }`, 3, (4*9/8 + 16) + (3*9/8 + 16)},
	} {
		if members, keys := countMembers([]byte(c.entry)); members != c.members || keys != c.keys {
			t.Errorf("countMembers(%s): got %d members and %d bytes of keys, want %d and %d", c.entry, members, keys, c.members, c.keys)
		}
	}
}

func TestRepairGrowth(t *testing.T) {
	for _, text := range []string{"", "a", "é\ufffd", "\xff", "a\xe2\x82b\xf0\x9f\x98", "\xc3\x28\xed\xa0\x80"} {
		if got, want := repairGrowth([]byte(text)), len(entry.AppendRepaired(nil, []byte(text)))-len(text); got != want {
			t.Errorf("repairGrowth(%q) = %d, want %d", text, got, want)
		}
		if utf8.ValidString(text) && repairGrowth([]byte(text)) != 0 {
			t.Errorf("repairGrowth(%q) is not 0", text)
		}
	}
}
