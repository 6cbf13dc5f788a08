package logread

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// A cancelledContext is done after a number of calls of Err.
type cancelledContext struct {
	context.Context
	checks int
}

func (c *cancelledContext) Err() error {
	if c.checks--; c.checks < 0 {
		return context.Canceled
	}
	return nil
}

// If the context of a scan is cancelled while an entry is matched, the scan examines
// little more of that entry.
func TestCancellationInsideEntry(t *testing.T) {
	const size = 15 << 20
	var conditions []string
	for i := range 60 {
		conditions = append(conditions, "details."+strings.Repeat("a.", 240-i)+"b=v")
	}
	for _, test := range []struct{ name, query, message, details string }{
		{name: "deep", query: strings.Join(conditions, "&"), details: deepObject(240, `{"s":"`+strings.Repeat(`v\n`, size/3)+`"}`)},
		{name: "value not in details", query: "details.a=v", details: `{"b":"` + strings.Repeat("x", size) + `"}`},
		{name: "string", query: "details.a=v", details: `{"b":"v\n` + strings.Repeat("x", size) + `"}`},
		{name: "string of escapes", query: "details.a=v", details: `{"b":"` + strings.Repeat(`\"`, size/2) + `"}`},
		{name: "array", query: "details.a=v", details: `{"b\n":[` + strings.Repeat("1,", size/2) + `1]}`},
		{name: "nested array", query: "details.b=v", details: `{"b\n":` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2) + `}`},
		{name: "members", query: "details.b=v", details: `{"b":"\n",` + strings.Repeat(`"n":12345,`, size/10) + `"c":1}`},
		{name: "key", query: "details.b=v", details: `{"` + strings.Repeat(`\n`, size/2) + `":"v"}`},
		{name: "no value ends", query: "details.b.c=v", details: `{"b":{"\n":` + strings.Repeat("[", size)},
		{name: "message", query: "q=nowhere", message: strings.Repeat("now", size/3)},
		{name: "KMP", query: "q=aaaaaaaae", message: strings.Repeat("a", size)},
		{name: "invalid UTF-8", query: "q=%EF%BF%BDx", message: strings.Repeat("\xff", size)},
		{name: "details", query: "q=nowhere", details: strings.Repeat("now", size/3)},
		{name: "escapes", query: "q=nowhere", details: strings.Repeat(`\u0000`, size/6)},
		{name: "escapes at the end", query: "q=nowhere", details: strings.Repeat(`n`, size) + `\n`},
	} {
		t.Run(test.name, func(t *testing.T) {
			q, err := parseQuery(test.query, time.Now())
			must(t, err)
			full := matcher{work: work{ctx: context.Background()}}
			if full.matches(&q.filter, test.message, test.details) {
				t.Error("matches() = true, want false")
			}
			checks := int(full.work.total()/checkEvery) / 2
			if checks < 10 {
				t.Fatalf("a complete scan examines only %d bytes", full.work.total())
			}
			m := matcher{work: work{ctx: &cancelledContext{context.Background(), checks}}}
			if m.matches(&q.filter, test.message, test.details) {
				t.Error("after the cancellation, matches() = true, want false")
			}
			if !errors.Is(m.work.err, context.Canceled) {
				t.Errorf("err = %v, want context.Canceled", m.work.err)
			}
			if got := m.work.unchecked; got > checkEvery+2*pieceSize {
				t.Errorf("examined %d bytes since the last check that succeeded, want at most %d",
					got, checkEvery+2*pieceSize)
			}
		})
	}
}
