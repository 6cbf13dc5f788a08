package logread

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/entry"
)

// fillTime returns the time of the entry with an id that testLog.fill inserted
// into an empty log.
func fillTime(id int) string {
	return time.Date(2026, 11, 22, 0, 0, id-1, 0, time.UTC).Format(time.RFC3339)
}

func parsedTime(t *testing.T, s string) int64 {
	t.Helper()
	ns, ok := entry.ParseStoredTime(s)
	if !ok {
		t.Fatalf("ParseStoredTime(%q) failed", s)
	}
	return ns
}

// Blocks and steps, and the block times that scans remember, do not change the
// results.
func TestScanManyBlocks(t *testing.T) {
	for name, stepWork := range map[string]int64{"one step per block": 1 << 40, "many steps per block": 100 * visitCost} {
		t.Run(name, func(t *testing.T) { testScanManyBlocks(t, stepWork) })
	}
}

func testScanManyBlocks(t *testing.T, stepWork int64) {
	l := newTestLog(t)
	l.reader.scanner.stepWork = stepWork
	const n = 3<<blockBits + 100
	l.fill(n)
	// A gap that contains a whole block, and ids far away from the others.
	_, err := l.db.Exec("DELETE FROM logs WHERE id BETWEEN 100 AND 40000")
	must(t, err)
	_, err = l.db.Exec("INSERT INTO logs VALUES (-5, 'error', 'below', '2000-01-01T00:00:00Z', NULL),"+
		" (?, 'error', 'above', '2000-01-01T00:00:00Z', NULL)", int64(1)<<62)
	must(t, err)

	check := func(query string, want ...int64) {
		t.Helper()
		if got := ids(l.logs(query)); !slices.Equal(got, want) {
			t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
		}
	}
	// The first round learns the block times, the second one uses them.
	for range 2 {
		for _, id := range []int{1, 99, 40001, 3<<blockBits - 1, 3 << blockBits, n} {
			check("since="+fillTime(id)+"&until="+fillTime(id+1), int64(id))
		}
		check("q=entry+98&until="+fillTime(100), 99)
		check("until="+fillTime(3), 1<<62, 2, 1, -5)
		check("since="+fillTime(n), n)
		check("since="+fillTime(40001)+"&until="+fillTime(40004)+"&limit=2", 40003, 40002)
	}

	// The block of the newest entry can still grow. All others are complete.
	far := parsedTime(t, "2000-01-01T00:00:00Z")
	span := func(first, last int) timeSpan {
		return timeSpan{parsedTime(t, fillTime(first)), parsedTime(t, fillTime(last))}
	}
	wantTimes := map[block]timeSpan{
		-1: {far, far},
		0:  span(1, 99),
		2:  span(40001, 3<<blockBits-1), // starts in the gap
		3:  span(3<<blockBits, n),
	}
	for b, want := range wantTimes {
		if got, ok := l.reader.scanner.times.get(b); !ok || got != want {
			t.Errorf("times of block %d = %v, %v, want %v, true", b, got, ok, want)
		}
	}
	if got := len(l.reader.scanner.times.spans); got != len(wantTimes) {
		t.Errorf("times of %d blocks are remembered, want %d", got, len(wantTimes))
	}

	last := l.insert(testEntry{"error", "new, with an early time", fillTime(51), nil})
	check("since="+fillTime(50)+"&until="+fillTime(52), last, 51, 50)
	all := ids(l.logs("limit=10000&q=entry"))
	if len(all) != n-39901 {
		t.Errorf("got %d entries, want %d", len(all), n-39901)
	}
	if !slices.IsSortedFunc(all, func(a, b int64) int { return int(b - a) }) {
		t.Error("entries are not sorted by descending id")
	}
}

// A scan skips a block whose remembered times are outside the time range.
func TestScanSkipsBlocks(t *testing.T) {
	l := newTestLog(t)
	l.fill(1<<blockBits + 1)
	query := "since=2026-11-22T00:00:10Z&until=2026-11-22T00:00:12Z"
	since, until := parsedTime(t, "2026-11-22T00:00:10Z"), parsedTime(t, "2026-11-22T00:00:12Z")
	found := []int64{12, 11}
	if got := ids(l.logs(query)); !slices.Equal(got, found) {
		t.Errorf("GET /logs?%s = ids %v, want %v", query, got, found)
	}
	for _, test := range []struct {
		name  string
		times timeSpan
		want  []int64
	}{
		{name: "before", times: timeSpan{since - 2, since - 1}, want: nil},
		{name: "ends at since", times: timeSpan{since - 1, since}, want: found},
		{name: "starts before until", times: timeSpan{until - 1, until}, want: found},
		{name: "after", times: timeSpan{until, until + 1}, want: nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			l.reader.scanner.times.set(0, test.times)
			if got := ids(l.logs(query)); !slices.Equal(got, test.want) {
				t.Errorf("GET /logs?%s = ids %v, want %v", query, got, test.want)
			}
		})
	}
}

// The times of a block that can still grow are not remembered.
func TestScanGrowingBlock(t *testing.T) {
	l := newTestLog(t)
	l.fill(1<<blockBits - 3)
	want := []int64{}
	for range 5 { // two entries complete the block, the others start the next one
		if got := ids(l.logs("until=2026-11-21")); !slices.Equal(got, want) {
			t.Errorf("early entries have ids %v, want %v", got, want)
		}
		want = slices.Insert(want, 0, l.insert(testEntry{"error", "", "2026-11-20T00:00:00Z", nil}))
	}
}

func TestScanTimeout(t *testing.T) {
	l := openTestLog(t)
	l.fill(1000)
	// Every scan waits for the only connection until it times out.
	l.reader.db.SetMaxOpenConns(1)
	held, err := l.reader.db.Conn(context.Background())
	must(t, err)
	l.reader.scanner.timeout = time.Millisecond
	for _, target := range []string{"/logs?q=nowhere", "/logs/histogram"} {
		checkError(t, l.serve(target), http.StatusServiceUnavailable, "narrow")
	}
	l.checkNoSlotsHeld()
	must(t, held.Close())
	l.reader.scanner.timeout = scanTimeout
	if got := len(decodeEntries(t, l.serve("/logs?limit=5").Body.String())); got != 5 {
		t.Errorf("after the timeout, got %d entries, want 5", got)
	}
}

// countUntilCancelled cancels a scan when it counts the first entry. It returns
// how many entries the scan counts and its error.
func (l *testLog) countUntilCancelled(rawQuery string) (n int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	q, err := parseQuery(rawQuery, time.Now())
	must(l.t, err)
	err = l.reader.scanner.count(ctx, l.newLease(), q, func(string, int64, bool) {
		cancel()
		n++
	}, nil)
	return n, err
}

// A cancelled scan ends within its block.
func TestScanCancellation(t *testing.T) {
	l := openTestLog(t)
	l.fill(1 << blockBits)
	n, err := l.countUntilCancelled("")
	if !errors.Is(err, context.Canceled) || n == 0 || n > 2*checkEvery>>10 {
		t.Errorf("scan counted %d entries and returned %v, want 1 to %d and context.Canceled", n, err, 2*checkEvery>>10)
	}
}

// A cancelled scan ends after fewer entries if they are large.
func TestScanCancellationLargeEntries(t *testing.T) {
	l := openTestLog(t)
	x, y := strings.Repeat("x", checkEvery/4), strings.Repeat("y", checkEvery/4)
	for range 32 {
		l.insert(testEntry{"error", x, "", fmt.Sprintf(`{"y":"%s"}`, y)})
	}
	n, err := l.countUntilCancelled("q=y")
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("scan counted %d entries and returned %v, want 1 and context.Canceled", n, err)
	}
}

// Entries that are matched between two steps are found like others, in order, and
// counted once.
func TestScanLargeEntries(t *testing.T) {
	l := newTestLog(t)
	var all, odd []int64
	for i := range 12 {
		n := []int{10, maxValue, maxValue + 1}[i%3]
		details := fmt.Sprintf(`{"odd":%d,"s":"%s"}`, i%2, strings.Repeat("x", max(0, n-len(`{"odd":1,"s":""}`))))
		id := l.insert(testEntry{"error", "large", fillTime(i + 1), details})
		all = slices.Insert(all, 0, id)
		if i%2 == 1 {
			odd = slices.Insert(odd, 0, id)
		}
	}
	for query, want := range map[string][]int64{
		"details.odd=1":                          odd,
		"details.odd=1&limit=2":                  odd[:2],
		"q=%22odd%22:1":                          odd,
		"":                                       all,
		"before=8":                               all[5:],
		"q=large":                                all,
		"q=large&level=warn":                     {},
		"q=large&since=" + fillTime(11):          all[:2],
		"q=large&before=" + fmt.Sprint(5):        all[8:],
		"details.odd=1&q=large&after=1&before=4": {2},
	} {
		if got := ids(l.logs(query)); !slices.Equal(got, want) {
			t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
		}
		if strings.Contains(query, "limit") {
			continue
		}
		query += "&order=asc"
		slices.Reverse(want)
		if got := ids(l.logs(query)); !slices.Equal(got, want) {
			t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
		}
		slices.Reverse(want)
	}
	_, body := l.get("/logs/histogram?details.odd=1")
	if want := `"levels":{"error":6}`; !strings.Contains(body, want) {
		t.Errorf("GET /logs/histogram?details.odd=1 = %s, want %s", body, want)
	}
}

// checkpoint runs PRAGMA wal_checkpoint, and returns the size of the WAL and how
// much of it was written to the database, in pages.
func (l *testLog) checkpoint(mode string) (busy bool, log, checkpointed int) {
	l.t.Helper()
	must(l.t, l.db.QueryRow("PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &log, &checkpointed))
	return busy, log, checkpointed
}

// A block of large entries does not hold back a checkpoint until the end of the
// block: what is committed in one step can be checkpointed in the next.
func TestScanStepsAllowCheckpoint(t *testing.T) {
	l := openTestLog(t)
	message := strings.Repeat("x", 10<<10)
	for range 100 {
		l.insert(testEntry{"error", message, "", nil})
	}
	l.reader.scanner.stepWork = 10 * int64(visitCost+len(message))
	q, err := parseQuery("q=xx", time.Now())
	must(t, err)
	n := 0
	err = l.reader.scanner.count(context.Background(), l.newLease(), q, func(string, int64, bool) {
		switch n++; n {
		case 1:
			l.fill(1)
			if _, log, checkpointed := l.checkpoint("PASSIVE"); checkpointed >= log {
				t.Errorf("in the first step, %d of %d pages are checkpointed, want fewer", checkpointed, log)
			}
		case 50:
			if _, log, checkpointed := l.checkpoint("PASSIVE"); checkpointed != log {
				t.Errorf("in a later step, %d of %d pages are checkpointed, want all", checkpointed, log)
			}
		}
	}, nil)
	if err != nil || n != 100 {
		t.Errorf("scan counted %d entries and returned %v, want 100 and nil", n, err)
	}
}

// No statement is open while a large entry is matched.
func TestScanLargeEntryAllowsCheckpoint(t *testing.T) {
	l := openTestLog(t)
	l.insert(testEntry{"error", strings.Repeat("x", maxValue+1), "", nil})
	q, err := parseQuery("q=xx", time.Now())
	must(t, err)
	n := 0
	err = l.reader.scanner.count(context.Background(), l.newLease(), q, func(string, int64, bool) {
		n++
		l.fill(1)
		if busy, log, _ := l.checkpoint("TRUNCATE"); busy || log != 0 {
			t.Errorf("wal_checkpoint = busy %v, log %d, want false, 0", busy, log)
		}
	}, nil)
	if err != nil || n != 1 {
		t.Errorf("scan counted %d entries and returned %v, want 1 and nil", n, err)
	}
}

// A scan gives its slot to a waiting client after a step.
func TestScanYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		l.fill(1000)
		l.reader.scanner.stepWork = 10 * visitCost
		for range maxReadSteps - 1 {
			defer holdSlot(t, l.reader.readSteps)()
		}
		q, err := parseQuery("", time.Now())
		must(t, err)
		n, counted := 0, 0
		err = l.reader.scanner.count(context.Background(), l.newLease(), q, func(string, int64, bool) {
			if n++; n == 1 {
				go func() {
					slot, err := l.reader.readSteps.acquire(context.Background(), addrA)
					must(t, err)
					counted = n
					l.reader.readSteps.release(slot, addrA)
				}()
				synctest.Wait()
			}
		}, nil)
		if err != nil || n != 1000 || counted == 0 || counted > 20 {
			t.Errorf("another client got the slot after %d of %d entries, want at most 20 of 1000; err = %v", counted, n, err)
		}
	})
}

// The clock of a search stops while its client is slow, and while it waits for a
// slot.
func TestSearchSlowSink(t *testing.T) {
	for _, query := range []string{"limit=3000", "limit=3000&q=entry"} {
		t.Run(query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := openTestLog(t)
				l.fill(4000)
				l.insert(testEntry{"error", strings.Repeat("entry", maxValue), "", nil})
				q, err := parseQuery(query, time.Now(), "limit")
				must(t, err)
				sent := 0
				slow := newPartWriter(tailFrame{}, account{&l.reader.memory, &l.reader.memory.reads}, func([]byte) error {
					for range maxReadSteps {
						release := holdSlot(t, l.reader.readSteps)
						time.AfterFunc(time.Hour, release)
					}
					time.Sleep(time.Minute)
					sent++
					return nil
				})
				if err := l.reader.scanner.search(context.Background(), l.newLease(), q, slow); err != nil {
					t.Errorf("search() = %v", err)
				}
				if sent < 5 {
					t.Errorf("search sent %d parts, want at least 5", sent)
				}
			})
		})
	}
}
