package logread

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

type kindsResponse struct {
	Entries, Other, Total int64
	Since, Until          *string
	Kinds                 []struct {
		Kind, Level string
		Count       int64
		First, Last *string
		LastID      int64 `json:"last_id"`
		Spark       []int64
	}
}

func (l *testLog) kinds(query string) (r kindsResponse) {
	l.t.Helper()
	_, body := l.get("/logs/kinds?" + query)
	must(l.t, json.Unmarshal([]byte(body), &r))
	return r
}

func TestKinds(t *testing.T) {
	l := newTestLog(t)
	at := func(minute int) string { return fmt.Sprintf("2026-11-22T10:%02d:00.000000000Z", minute) }
	l.insert(
		testEntry{"error", "user 1 not found", at(0), nil},
		testEntry{"error", "user 2 not found", at(47), `{"n":1}`},
		testEntry{"warn", "user 3 not found", at(1), nil},
		testEntry{"error", "disk full", "no time", nil},
	)
	r := l.kinds("")
	if r.Entries != 4 || r.Other != 0 || r.Total != 3 ||
		*r.Since != "2026-11-22T10:00:00Z" || *r.Until != "2026-11-22T10:47:00Z" {
		t.Errorf("got %+v, want 4 entries of 3 kinds from 10:00 to 10:47", r)
	}
	first := r.Kinds[0]
	if first.Kind != "user # not found" || first.Level != "error" || first.Count != 2 || first.LastID != 2 ||
		*first.First != "2026-11-22T10:00:00Z" || *first.Last != "2026-11-22T10:47:00Z" {
		t.Errorf("got %+v, want 2 of user # not found", first)
	}
	if disk := r.Kinds[1]; disk.Kind != "disk full" || disk.First != nil {
		t.Errorf("got %+v, want the later kind without a time", disk)
	}
	for _, k := range r.Kinds[:1] {
		if len(k.Spark) != sparkSlots || sum(k.Spark) != k.Count {
			t.Errorf("spark of %s = %v, want %d slots with %d entries", k.Kind, k.Spark, sparkSlots, k.Count)
		}
	}
	if got := len(l.kinds("limit=1").Kinds); got != 1 {
		t.Errorf("limit=1: got %d kinds, want 1", got)
	}
	if got := l.kinds("details.n=1&level=error").Entries; got != 1 {
		t.Errorf("filters: got %d entries, want 1", got)
	}
	spark := l.kinds("from=2026-11-22T10:00:00Z&to=2026-11-22T10:24:00Z").Kinds[0].Spark
	if spark[0] != 1 || sum(spark) != 1 {
		t.Errorf("spark from 10:00 to 10:24 = %v, want 1 in the first slot", spark)
	}
}

func sum(n []int64) (sum int64) {
	for _, n := range n {
		sum += n
	}
	return sum
}

// kind= selects the entries of a kind on all routes.
func TestKindFilter(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "user 1 not found", "2026-11-22T10:00:00.000000000Z", nil},
		testEntry{"error", "disk full", "2026-11-22T10:00:01.000000000Z", nil},
		testEntry{"error", "user 22 not found", "2026-11-22T10:00:02.000000000Z", nil},
	)
	query := "kind=" + url.QueryEscape("user # not found")
	if _, body := l.get("/logs?" + query); strings.Count(body, `"id":`) != 2 || strings.Contains(body, "disk") {
		t.Errorf("GET /logs = %s, want two entries", body)
	}
	if _, body := l.get("/logs/histogram?" + query); !strings.Contains(body, `"levels":{"error":2}`) {
		t.Errorf("GET /logs/histogram = %s, want two entries", body)
	}
	if got := l.kinds(query).Entries; got != 2 {
		t.Errorf("GET /logs/kinds: got %d entries, want 2", got)
	}
	// The pattern of entries without a message is empty, too.
	for range 3 {
		l.insert(testEntry{"error", "", "2026-11-22T10:00:03.000000000Z", nil})
	}
	if _, body := l.get("/logs?kind="); strings.Count(body, `"message":""`) != 3 || strings.Count(body, `"id":`) != 3 {
		t.Errorf("GET /logs?kind= = %s, want the three entries without a message", body)
	}
	if _, body := l.get("/logs/histogram?kind="); !strings.Contains(body, `"levels":{"error":3}`) {
		t.Errorf("GET /logs/histogram?kind= = %s, want three entries", body)
	}
	if got := l.kinds("kind="); got.Entries != 3 || got.Kinds[0].Kind != "" {
		t.Errorf("GET /logs/kinds?kind= = %+v, want three entries without a message", got)
	}
	if resp, _ := l.get("/logs?kind=" + strings.Repeat("x", maxText+1)); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a long kind: got status %d, want 400", resp.StatusCode)
	}
}

// Beyond maxKinds kinds, entries are counted as other ones.
func TestKindsAreLimited(t *testing.T) {
	c := newKindCounter(0, 0)
	letters := func(n int) string {
		return string([]byte{'a' + byte(n/676%26), 'a' + byte(n/26%26), 'a' + byte(n%26), 'z'})
	}
	for i := range maxKinds + 10 {
		c.add(&visitedEntry{level: "error", message: letters(i)})
	}
	c.add(&visitedEntry{level: "error", message: letters(0)})
	if len(c.kinds) != maxKinds || c.other != 10 || c.entries != maxKinds+11 {
		t.Errorf("got %d kinds, %d other entries, want %d and 10", len(c.kinds), c.other, maxKinds)
	}
}

// Whatever the times, each is in the slot that its distance from the others requires.
func TestSparkWidens(t *testing.T) {
	times := []int64{0, 1e9, -3600e9, 1 << 62, -1 << 62, 5e9}
	c := newKindCounter(0, 0)
	for _, at := range times {
		c.add(&visitedEntry{level: "error", message: "x", t: at, hasTime: true})
	}
	got := c.kinds[0].spark
	var want [sparkSlots]uint32
	for _, at := range times {
		want[(time.Unix(0, at).Unix()-c.spark.from)/c.spark.step]++
	}
	if got != want {
		t.Errorf("spark = %v, want %v", got, want)
	}
}

// Merging the counts of parts has the same result as one counter that receives all entries.
func TestKindsMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 200 {
		spread := int64(1) << (20 + r.IntN(42))
		c, times := newKindCounter(0, 0), []int64{}
		for range 1 + r.IntN(5) {
			visit, merge := c.fork()
			for range r.IntN(5) {
				at := r.Int64N(2*spread) - spread
				times = append(times, at)
				visit(&visitedEntry{id: int64(len(times)), level: "error", message: "x", t: at, hasTime: true})
			}
			if !merge() {
				t.Fatal("merge() = false, want true")
			}
		}
		if len(times) == 0 {
			continue
		}
		var want [sparkSlots]uint32
		for _, at := range times {
			want[c.spark.slot(time.Unix(0, at).Unix())]++
		}
		k := c.kinds[0]
		if k.spark != want || k.count != int64(len(times)) || k.lastID != k.count ||
			k.first != slices.Min(times) || k.last != slices.Max(times) || c.first != k.first || c.last != k.last {
			t.Fatalf("times %d: got %+v, want spark %v", times, k, want)
		}
	}
}

// Helpers do not change the response, whether or not a part has too many kinds.
func TestKindsHelpers(t *testing.T) {
	for _, n := range []int{3, maxPartKinds + 1} {
		l := openTestLog(t)
		entries := make([]testEntry, 40_000)
		for i := range entries {
			message := fmt.Sprintf("kind %c%c", 'a'+i%n/26, 'a'+i%n%26)
			entries[i] = testEntry{"error", message, fillTime(i), nil}
		}
		l.insert(entries...)
		target := "/logs/kinds?from=2026-11-22T00:00:00Z&to=2026-11-22T12:00:00Z&limit=10000"
		l.reader.scanner.helpAfter = time.Hour
		want := l.serve(target).Body.String()
		l.reader.scanner.helpAfter = 0
		if got := l.serve(target).Body.String(); got != want {
			t.Errorf("%d kinds: got %.500s, want %.500s", n, got, want)
		}
	}
}

// BenchmarkKinds measures the grouping of 200,000 entries, and the count of fields.
func BenchmarkKinds(b *testing.B) {
	l := openTestLog(b)
	fillBenchmark(l.db, 200_000)
	handler := l.routes()
	for _, target := range []string{"/logs/histogram", "/logs/kinds", "/logs/fields"} {
		b.Run("request="+target[len("/logs/"):], func(b *testing.B) {
			for b.Loop() {
				w := &discardResponse{header: make(http.Header)}
				handler.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
				if w.status != http.StatusOK {
					b.Fatalf("GET %s = %d, want 200", target, w.status)
				}
			}
		})
	}
}
