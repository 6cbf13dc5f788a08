package logread

import (
	"net/url"
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "Payment failed: card declined", "2026-11-22T10:00:00Z", `{"service":"checkout"}`}, // 1
		testEntry{"error", "payment retried", "2026-11-22T10:00:00Z", `{"reason":"card declined"}`},           // 2
		testEntry{"error", "card failed payment", "2026-11-22T10:00:00Z", nil},                                // 3
		testEntry{"error", "caf\u00e9 -x \"y\"", "2026-11-22T10:00:00Z", `{"k":"\u00c4"}`},                    // 4
	)
	for words, want := range map[string][]int64{
		"payment":                     {3, 2, 1},
		"card payment":                {3, 2, 1},
		"PAYMENT  \tCard failed":      {3, 1},
		`"card declined"`:             {2, 1},
		`"card declined" -checkout`:   {2},
		`-"card declined"`:            {4, 3},
		`-payment`:                    {4},
		`-payment -CAFÉ`:              {},
		`ä`:                           {4},
		`"failed payment"`:            {3},
		`"payment failed" "card dec"`: {1},
		"":                            {4, 3, 2, 1},
		"x \"-x \"":                   {4},
	} {
		if got := ids(l.logs("words=" + url.QueryEscape(words))); !slices.Equal(got, want) {
			t.Errorf("words=%s selects %v, want %v", words, got, want)
		}
	}
	for _, words := range []string{`"a`, `-`, `a - b`, `""`, `-""`, `-"a`} {
		checkError(t, l.serve("/logs?words="+url.QueryEscape(words)), 400, "words")
	}
}

func TestExclusions(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "", "2026-11-22T10:00:00Z", `{"service":"checkout","user":{"id":7}}`}, // 1
		testEntry{"err", "", "2026-11-22T10:00:00Z", `{"service":"auth","user.id":7}`},           // 2
		testEntry{"critical", "", "2026-11-22T10:00:00Z", nil},                                   // 3
		testEntry{"odd", "", "2026-11-22T10:00:00Z", `{"service":"\u0061uth"}`},                  // 4
	)
	for query, want := range map[string][]int64{
		"not.level=error":                                       {4, 3},
		"not.level=err":                                         {4, 3, 1},
		"not.level=fatal,unknown":                               {2, 1},
		"not.level=fatal&not.level=odd":                         {2, 1},
		"level=error&not.level=err":                             {1},
		"level=critical&not.level=critical":                     {},
		"not.details.service=auth":                              {3, 1},
		"not.details.service=auth&not.details.service=other":    {3, 1},
		"not.details.service=checkout&not.details.user.id=7":    {4, 3},
		"not.details.user.id=8":                                 {4, 3, 2, 1},
		"details.service=auth&not.details.user.id=7":            {4},
		"not.details.service=auth&not.details.service=checkout": {3},
	} {
		if got := ids(l.logs(query)); !slices.Equal(got, want) {
			t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"not.q=x", "not.details.=x", "not=x"} {
		checkError(t, l.serve("/logs?"+query), 400, "unknown parameter")
	}
}
