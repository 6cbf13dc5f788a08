package logread

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

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
