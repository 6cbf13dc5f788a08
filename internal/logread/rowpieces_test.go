package logread

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// appendInPieces appends the JSON of r in pieces of at most room bytes.
func appendInPieces(t *testing.T, r *row, room int) []byte {
	t.Helper()
	var got []byte
	p := rowPieces{validDetails: json.Valid(r.details)}
	for !p.done() {
		before := len(got)
		got = p.append(got, r, room)
		if n := len(got) - before; n <= 0 || n > room {
			t.Fatalf("piece has %d bytes, want 1 to %d", n, room)
		}
	}
	return got
}

// FuzzRowPieces compares rowPieces with row.appendJSON.
func FuzzRowPieces(f *testing.F) {
	for _, s := range []string{
		``, `{"a":1}`, "{\"s\":\"bad \xff\xfe\",\r\n \"b\":[1,\n2]}", "\x00\x01\u2028\U0001f600", "cut \xe2\x82", `not "json"`,
		"\"\xf0\x9f\x98\"", "\xed\xa0\x80", "12\n",
	} {
		f.Add("error", s, "2026-11-22T10:00:00Z", s, false, 0, 1)
		f.Add(s, "message", s, strings.Repeat(s, 9), true, 300, 100)
	}
	f.Fuzz(func(t *testing.T, level, message, timestamp, details string, isNull bool, room, times int) {
		r := &row{
			id:        int64(times) << 40,
			level:     []byte(level),
			message:   []byte(strings.Repeat(message, 1+times&0x7f)),
			timestamp: []byte(timestamp),
			details:   []byte(details),
		}
		if isNull {
			r.details = nil
		}
		want := r.appendJSON(nil)
		if max := r.maxJSON(); len(want) > max {
			t.Errorf("appendJSON appends %d bytes, maxJSON = %d", len(want), max)
		}
		if got := appendInPieces(t, r, minRoom+room&0xffff); !bytes.Equal(got, want) {
			t.Errorf("in pieces, got\n%q, want\n%q", got, want)
		}
	})
}

// Large columns have the same JSON in pieces of any size.
func TestRowPiecesLargeColumns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(alphabet ...string) []byte {
		var b []byte
		for len(b) < 100_000 {
			b = append(b, alphabet[random.IntN(len(alphabet))]...)
		}
		return b
	}
	mixed := text("a", "bc def", "ü", "\U0001f600", "\xff", "\xe2\x82", "\x00", "\n", `"`, `\`)
	object := append(append([]byte(`{"a":"`), text("a", "ü", "\xff", "\\n", "\xe2\x82", "\U0001f600")...), "\",\r\n\"b\":1}"...)
	for name, r := range map[string]*row{
		"message":          {message: mixed},
		"level":            {level: mixed, details: []byte(`{}`)},
		"timestamp":        {timestamp: mixed, details: []byte(`{}`)},
		"valid details":    {details: object},
		"invalid details":  {details: mixed},
		"truncated object": {message: mixed, details: object[:len(object)-1]},
	} {
		want := r.appendJSON(nil)
		for _, room := range []int{minRoom, minRoom + 1, 1000, 4097, minPart, 1 << 20} {
			if got := appendInPieces(t, r, room); !bytes.Equal(got, want) {
				t.Errorf("%s in pieces of %d bytes differs from appendJSON", name, room)
			}
		}
	}
}

// The responses for large entries are those for small ones, also if the columns have
// other types, and in all formats.
func TestLargeEntriesResponse(t *testing.T) {
	l := newTestLog(t)
	large := strings.Repeat("ü\x01\xff\"", 40_000)
	for _, e := range []testEntry{
		{"error", large, "2026-11-22T10:00:00Z", `{"a":1}`},
		{large, "m", "t", nil},
		{"error", "m", large, ""},
		{7, 1.5, []byte("blob \xff"), `{"s":"` + strings.Repeat("x\xff\\u00fc", 40_000) + "\",\n\"b\":2}"},
		{[]byte{}, []byte(large), "", []byte{}},
		{"error", "m", "t", large},
		{"error", "small", "t", `{"a":1}`},
		{"error", strings.Repeat("\x00", maxValue), "t", strings.Repeat("\x00", maxValue)}, // does not fit into a part
	} {
		l.insert(e)
	}
	var want []byte
	rows, err := l.db.Query("SELECT id, level, message, timestamp, details FROM logs ORDER BY id DESC")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var r row
		must(t, r.scan(rows))
		want = append(r.appendJSON(want), '\n')
	}
	must(t, rows.Err())
	for _, query := range []string{"", "?q=", "?after=0", "?level=error,7,unknown"} {
		if _, got := l.get("/logs"+query, "Accept", "application/x-ndjson"); got != string(want) {
			t.Errorf("GET /logs%s: %d bytes differ from the %d bytes of appendJSON", query, len(got), len(want))
		}
	}
	if _, got := l.get("/logs"); len(decodeEntries(t, got)) != 8 {
		t.Errorf("got %d entries, want 8", len(decodeEntries(t, got)))
	}
	client := l.tail("/logs/tail?after=0")
	lines := bytes.Split(bytes.TrimSuffix(want, []byte("\n")), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		if got := client.next(); got.data != string(lines[i]) {
			t.Errorf("event %s has %d bytes that differ from the %d bytes of appendJSON", got.id, len(got.data), len(lines[i]))
		}
	}
}

// If another program changes or deletes a large entry while it is sent, the response
// is not completed.
func TestLargeEntryChanges(t *testing.T) {
	for name, statement := range map[string]string{
		"changed": "UPDATE logs SET message = replace(message, 'x', 'y')",
		"deleted": "DELETE FROM logs",
	} {
		t.Run(name, func(t *testing.T) {
			l := openTestLog(t)
			l.insert(testEntry{"error", strings.Repeat("x", 1<<20), "", nil})
			sent := 0
			part := newPartWriter(tailFrame{}, account{&l.reader.memory, &l.reader.memory.reads}, func(p []byte) error {
				if sent += len(p); sent == len(p) {
					_, err := l.db.Exec(statement)
					must(t, err)
					l.reader.large.entry.id = 0 // as if another entry had been loaded
				}
				return nil
			})
			defer part.close()
			q, err := parseQuery("", time.Now())
			must(t, err)
			err = l.reader.scanner.search(context.Background(), l.newLease(), q, part)
			if !errors.Is(err, errEntryChanged) || sent == 0 || sent > 1<<20 {
				t.Errorf("search() = %v after %d bytes, want %v after a part", err, sent, errEntryChanged)
			}
		})
	}
}
