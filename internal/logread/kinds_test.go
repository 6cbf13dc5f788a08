package logread

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct{ message, want string }{
		{"", ""},
		{"payment failed", "payment failed"},
		{"timeout after 120 ms", "timeout after # ms"},
		{"took 1.5s, retry 3/5", "took #.#s, retry #/#"},
		{"user_17 not found in db-04.internal:5432", "user_# not found in db-#.internal:#"},
		{"reset by 10.0.3.4:5432", "reset by #"},
		{"reset by 10.0.3.4.", "reset by #."},
		{"version 1.2.3", "version #.#.#"},
		{"dial [fe80::1ff:fe23:4567:890a]:80: refused", "dial [#]:#: refused"},
		{"dial ::1 refused", "dial # refused"},
		{"at 12:34:56 failed", "at # failed"},
		{"trace 5358bb688db27d0b failed", "trace # failed"},
		{"pointer 0x7ffe at", "pointer # at"},
		{"facade decade", "facade decade"},
		{"id 6fa459ea-ee8a-3ca4-894e-db77e160355e gone", "id # gone"},
		{"mail to jane.doe+x@mail.example.org.", "mail to #."},
		{`cannot read properties of undefined (reading 'id')`, `cannot read properties of undefined (reading #)`},
		{`key "a b" and "c"`, `key # and #`},
		{"can't open it's file", "can't open it's file"},
		{`no end "quote`, `no end "quote`},
		{"Ошибка 42: файл", "Ошибка #: файл"},
		{"a: b:: c", "a: b:: c"},
		{strings.Repeat("ж", 150), strings.Repeat("ж", 100)},
	} {
		if got := string(appendPattern(nil, test.message)); got != test.want {
			t.Errorf("pattern of %q = %q, want %q", test.message, got, test.want)
		}
	}
}

// Patterns are bounded, valid UTF-8 if the message is, and depend only on the start of
// the message.
func FuzzPattern(f *testing.F) {
	f.Add("user 17 at 10.0.0.1:80")
	f.Add(`"a' 0x1f ::1 a@b`)
	f.Fuzz(func(t *testing.T, message string) {
		pattern := appendPattern(nil, message)
		if len(pattern) > maxPattern {
			t.Errorf("pattern of %q has %d bytes, want at most %d", message, len(pattern), maxPattern)
		}
		if utf8.ValidString(message) && !utf8.Valid(pattern) {
			t.Errorf("pattern of %q is %q, want valid UTF-8", message, pattern)
		}
		if strings.ContainsFunc(string(pattern), func(r rune) bool { return '0' <= r && r <= '9' }) {
			t.Errorf("pattern of %q is %q, want no digits", message, pattern)
		}
	})
}

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
	if r.Entries != 4 || r.Other != 0 || r.Total != 3 || *r.Since != "2026-11-22T10:00:00Z" || *r.Until != "2026-11-22T10:47:00Z" {
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

func TestFields(t *testing.T) {
	l := newTestLog(t)
	var entries []testEntry
	for i := range 100 {
		details := fmt.Sprintf(`{"service":"%s","id":"%d","user":{"country":"DE"},"retry":true,"list":[1]}`,
			[]string{"shop", "shop", "cart"}[i%3], i)
		entries = append(entries, testEntry{"error", "x", "2026-11-22T10:00:00.000000000Z", details})
	}
	entries = append(entries, testEntry{"error", "x", "2026-11-22T10:00:00.000000000Z", nil})
	l.insert(entries...)
	_, body := l.get("/logs/fields?top=1")
	const want = `{"entries":101,"partial":false,"fields":[
{"name":"retry","count":100,"distinct":1,"values":[{"value":"true","count":100}]},
{"name":"user.country","count":100,"distinct":1,"values":[{"value":"DE","count":100}]},
{"name":"service","count":100,"distinct":2,"values":[{"value":"shop","count":67}]}]}
`
	if body != want {
		t.Errorf("GET /logs/fields =\n%s, want\n%s", body, want)
	}
	// Values that are not counted, or that hardly repeat, do not make a field.
	c := newFieldCounter()
	for i := range 30_000 {
		c.add(&visitedEntry{details: fmt.Sprintf(`{"ms":%d,"stack":"%s"}`, i%15_000, strings.Repeat("x", 300))})
	}
	if got := string(c.appendJSON(nil, 5)); !strings.HasSuffix(got, `"fields":[]}`+"\n") {
		t.Errorf("got %s, want no fields", got)
	}
	_, body = l.get("/logs/fields?details.service=cart")
	if !strings.HasPrefix(body, `{"entries":33,`) {
		t.Errorf("GET /logs/fields?details.service=cart = %s, want 33 entries", body)
	}
	if resp, _ := l.get("/logs/fields?top=0"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("top=0: got status %d, want 400", resp.StatusCode)
	}
}

// A count of fields reads blocks from the newest entry until it has enough.
func TestFieldsOfNewestEntries(t *testing.T) {
	l := newTestLog(t)
	l.fill(60_000)
	_, body := l.get("/logs/fields")
	var r struct {
		Entries int64
		Partial bool
	}
	must(t, json.Unmarshal([]byte(body), &r))
	if !r.Partial || r.Entries < fieldEntries || r.Entries > fieldEntries+16_384 {
		t.Errorf("got %+v, want at least %d entries, and partial", r, fieldEntries)
	}
}

// Hostile details do not exceed the limits of a fieldCounter, and do not end it.
func TestFieldsAreLimited(t *testing.T) {
	c := newFieldCounter()
	add := func(details string) { c.add(&visitedEntry{details: details}) }
	add(`{"a":1,`)
	add(`[1,2]`)
	add(`"text"`)
	add(`{"a":{"b":` + strings.Repeat(`{"c":`, 100) + `1` + strings.Repeat("}", 100) + `}}`)
	for i := range 300 {
		add(fmt.Sprintf(`{"name%d":1,"value":"%d","long":"%s"}`, i, i, strings.Repeat("x", 300)))
	}
	for i := range 2 * maxFieldValues {
		add(fmt.Sprintf(`{"value":"%d"}`, i))
	}
	add(`{"name1":1,"name1":1}`)
	if len(c.fields) != maxFields {
		t.Errorf("got %d fields, want %d", len(c.fields), maxFields)
	}
	if got := len(c.fields["value"].values); got != maxFieldValues {
		t.Errorf("got %d values, want %d", got, maxFieldValues)
	}
	if got := len(c.fields["long"].values); got != 0 {
		t.Errorf("got %d long values, want 0", got)
	}
	if f := c.fields["name1"]; f.entries != 2 || f.values["1"] != 3 {
		t.Errorf("name1: got %d entries and %d values, want 2 and 3", f.entries, f.values["1"])
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
