package main

import (
	"fmt"
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

// TestLevelScanFiltersByLevel scans single entries with the threshold error, in
// different frames and at different offsets.
func TestLevelScanFiltersByLevel(t *testing.T) {
	const keep, drop = true, false
	for _, c := range []struct {
		entry string
		want  bool
	}{
		{`{}`, keep},
		{`{ }`, keep},
		{`{"level":"info"}`, drop},
		{`{"level":"error"}`, keep},
		{`{"level":"ERROR"}`, keep},
		{`{"level":"Warning"}`, drop},
		{`{"level":"ERROR+4"}`, keep},
		{`{"level":"INFO+3"}`, drop},
		{`{"level":"debug-4"}`, drop},
		{`{"level":"informational"}`, drop},
		{`{"level":"emergency"}`, keep},
		{`{"level":"in"}`, keep},
		{`{"level":"infos"}`, keep},
		{`{"level":""}`, keep},
		{`{"level":" info"}`, keep},
		{`{ "level" : "info" }`, drop},
		{"{\n\t\"level\":\r\n\t\"info\"\n}", drop},
		{`{"level":30}`, drop},
		{`{"level":50}`, keep},
		{`{"level":59.5}`, keep},
		{`{"level":49}`, drop},
		{`{"level":5e1}`, keep},
		{`{"level":0.3E+02}`, drop},
		{`{"level":300}`, keep},
		{`{"level":3}`, keep},
		{`{"level":-30}`, keep},
		{`{"level":1e999}`, keep},
		{`{"level":null}`, keep},
		{`{"level":true}`, keep},
		{`{"level":["info"]}`, keep},
		{`{"level":{"level":"info"}}`, keep},
		{`{"level":null,"severity":"info"}`, keep},

		{`{"severity":"info"}`, drop},
		{`{"lvl":"info"}`, drop},
		{`{"log.level":"info"}`, drop},
		{`{"levelname":"info"}`, drop},
		{`{"@l":"info"}`, drop},
		{`{"Level":"info"}`, drop},
		{`{"@t":"2026-01-01T00:00:00Z"}`, drop},
		{`{"@t":1,"@l":"Error"}`, keep},
		{`{"@l":"Error","@t":1}`, keep},
		{`{"LEVEL":"info"}`, keep},
		{`{"Severity":"info"}`, keep},
		{`{"levels":"info"}`, keep},
		{`{"leve":"info"}`, keep},
		{`{"level ":"info"}`, keep},
		{`{"log_level":"info"}`, keep},
		{`{"logXlevel":"info"}`, keep},
		{`{"":"info"}`, keep},
		{`{"l":"info"}`, keep},

		{`{"Level":"error","level":"info"}`, drop},
		{`{"level":"info","Level":"error"}`, drop},
		{`{"Level":"info","@l":"info","levelname":"info","log.level":"info","lvl":"info","severity":"error"}`, keep},
		{`{"Level":"error","@l":"error","levelname":"error","log.level":"error","lvl":"info"}`, drop},
		{`{"lvl":"error","log.level":"info"}`, keep},
		{`{"log.level":"info","levelname":"error"}`, drop},
		{`{"@l":"error","levelname":"info"}`, drop},
		{`{"level":"info","level":"error"}`, drop},
		{`{"level":"error","level":"info"}`, keep},
		{`{"level":5,"level":"info"}`, keep},

		{`{"le\u0076el":"info"}`, drop},
		{`{"\u006cevel":"info"}`, drop},
		{`{"l\u0065vel":"info"}`, drop},
		{`{"leve\u006C":"info"}`, drop},
		{`{"\u006c\u0065\u0076\u0065\u006c":"\u0069\u006e\u0066\u006f"}`, drop},
		{`{"\u006c\u006f\u0067\u002e\u006c\u0065\u0076\u0065\u006c":"info"}`, drop},
		{`{"\u006c\u0065\u0076\u0065\u006c\u006e\u0061\u006d\u0065":"info"}`, drop},
		{`{"\u0040l":"info"}`, drop},
		{`{"@\u006c":"info"}`, drop},
		{`{"level\u0000":"info"}`, keep},
		{`{"level\"":"info"}`, keep},
		{`{"level\\":"info"}`, keep},
		{`{"\\level":"info"}`, keep},
		{`{"\ud800level":"info"}`, keep},
		{`{"le\u0076el":"error","level":"info"}`, keep},
		{`{"severity":"error","le\u0076el":"info"}`, drop},
		{`{"level":"\u0069nfo"}`, drop},
		{`{"level":"info\u0000"}`, keep},
		{`{"level":"in\/fo"}`, keep},

		{`{"a":{"level":"info"}}`, keep},
		{`{"a":{"level":"info"},"level":"error"}`, keep},
		{`{"a":{"level":"error"},"level":"info"}`, drop},
		{`{"a":[{"level":"info"}],"severity":"debug"}`, drop},
		{`{"level":"info","a":{"level":"error"}}`, drop},
		{`{"a":"level","b":"info"}`, keep},
		{`{"a":"level","level":"info"}`, drop},
		{`{"a":"level" , "severity":"info"}`, drop},
		{`{"a":"@l","@l":"info"}`, drop},
		{`{"severityx:":"info"}`, keep},
		{`{"severity":"error","severity:":"info"}`, keep},
		{`{"severityx:":1,"lvl":"info"}`, drop},
		{`{"log.levelx:":1,"@l":"info"}`, drop},
		{`{"levelnamex:":1,"@l":"info"}`, drop},
		{`{"levelnam\u0065":"info"}`, drop},
		{`{"log.leve\u006c":"info"}`, drop},
		{`{"severit\u0079":"info"}`, drop},
		{`{"a":"\"level\":\"info\"","level":"error"}`, keep},
		{`{"a":"\"}{\"level\":\"info\"}","level":"error"}`, keep},
		{`{"a":"}","level":"info"}`, drop},
		{`{"a":"\\","level":"info"}`, drop},
		{`{"a":"\\\"","level":"info"}`, drop},
		{`{"a":"[[[{{{","level":"info"}`, drop},
		{`{"a":["level","info"],"level":"warn"}`, drop},
		{`{"a":[],"b":{},"c":[[],{}],"level":"warn"}`, drop},
		{"{\"a\":\"\xff\xfe\",\"level\":\"warn\"}", drop},
	} {
		t.Run(c.entry, func(t *testing.T) {
			s := new(levelScanner)
			check := func(body string) {
				v := compare(t, s, []byte(body), entry.LevelError)
				if v.refused || len(v.kept) == 1 != c.want {
					t.Fatalf("scan(%s) = %v, want kept = %v", quote([]byte(body)), v, c.want)
				}
				if c.want {
					if got := body[v.kept[0].start:v.kept[0].end]; got != c.entry {
						t.Errorf("scan(%s) keeps %q, want %q", quote([]byte(body)), got, c.entry)
					}
				}
			}
			for _, frame := range []string{`%s`, `[%s]`, " [ %s ] \n", "\ufeff%s", "\ufeff [%s]", "%s\n", " \r\n\t%s"} {
				check(fmt.Sprintf(frame, c.entry))
			}
			for _, n := range shifts() {
				check(filler(n) + c.entry)
				check("[" + filler(n) + "," + c.entry + "]")
			}
		})
	}
}

// filler returns an entry of n bytes that is dropped. n is at least 20.
func filler(n int) string {
	const head, tail = `{"level":"info","":"`, `"}`
	if n < len(head+tail) {
		return `{"level":` + strings.Repeat(" ", n-len(`{"level":30}`)) + `30}`
	}
	return head + strings.Repeat("x", n-len(head+tail)) + tail
}

// shifts returns lengths of filler that move what follows to every offset in a
// block of the AVX2 scanner, and across the boundary of its chunks.
func shifts() (n []int) {
	for i := range 64 {
		n = append(n, 20+i)
	}
	for i := 4096 - 40; i <= 4096; i += 3 {
		n = append(n, i)
	}
	return n
}

func TestLevelScanFindsEntries(t *testing.T) {
	for _, c := range []struct {
		body          string
		kept, dropped int
	}{
		{body: `[]`},
		{body: ` [ ] `},
		{body: "\ufeff[]"},
		{body: `{}{}`, kept: 2},
		{body: `{} {}`, kept: 2},
		{body: "{}\n{}\n", kept: 2},
		{body: `[{},{}]`, kept: 2},
		{body: `[ {} , {} ]`, kept: 2},
		{body: `{"level":"info"}{"level":"error"}{"level":"debug"}`, kept: 1, dropped: 2},
		{body: "{\"level\":\"info\"}\r\n\r\n{\"level\":\"error\"}", kept: 1, dropped: 1},
		{body: `[{"level":"info"},{"level":"error"},{"level":"debug"}]`, kept: 1, dropped: 2},
		{body: strings.Repeat(`{}`, 10_000), kept: 10_000},
		{body: `{"a":` + strings.Repeat(`[`, 900) + strings.Repeat(`]`, 900) + `}`, kept: 1},
		{body: `{"a":[` + strings.Repeat(`[],`, 9000) + `{}]}`, kept: 1},
		{body: `{"a":"` + strings.Repeat(`\\`, 9000) + `","level":30}`, dropped: 1},
		{body: `{"a":"` + strings.Repeat(`\"`, 9001) + `","level":30}`, dropped: 1},
		{body: `{"a":` + strings.Repeat(`1234567890`, 1000) + `.` + strings.Repeat(`0`, 9000) + `,"level":30}`, dropped: 1},
		{body: `{"a":1` + strings.Repeat(` `, 9000) + `,"level":30}`, dropped: 1},
		{body: `{"a"` + strings.Repeat("\n", 9000) + `:1,"level":30}`, dropped: 1},
		{body: "{}" + strings.Repeat(" ", 9000) + "{}", kept: 2},
		{body: strings.Repeat(`{"level":30}`, 1000), dropped: 1000},
		{body: strings.Repeat("{\"level\":50}\n", 1000), kept: 1000},
		{body: "[" + strings.Repeat(`{"level":30},{},`, 1000) + "{}]", kept: 1001, dropped: 1000},
	} {
		v := compare(t, new(levelScanner), []byte(c.body), entry.LevelError)
		if v.refused || len(v.kept) != c.kept || v.dropped != c.dropped {
			t.Errorf("scan(%s) = %v, want %d kept and %d dropped", quote([]byte(c.body)), v, c.kept, c.dropped)
		}
	}
}

// TestSkipSpaceChunks ends white space around the ends of the chunks that skipSpaceBlocks
// gets.
func TestSkipSpaceChunks(t *testing.T) {
	const most = 2<<20 + 200
	body := []byte(strings.Repeat(" ", most))
	for _, from := range []int{1 << 20, 2 << 20} {
		for n := from; n < from+100; n++ {
			body[n] = '{'
			if got := skipSpace(body, 0); got != n {
				t.Errorf("skipSpace of %d bytes of white space = %d, want %d", n, got, n)
			}
			body[n] = ' '
		}
	}
	if got := skipSpace(body, 0); got != len(body) {
		t.Errorf("skipSpace of only white space = %d, want %d", got, len(body))
	}
}

// TestSkipSpaceFindsFirstOtherByte puts each byte that is not white space at each offset
// of a text of white space.
func TestSkipSpaceFindsFirstOtherByte(t *testing.T) {
	const longest = 2*32 + 20 // more than two blocks of skipSpaceBlocks after the first bytes
	for n := range longest {
		text := []byte(strings.Repeat(" \n\t\r\t\n ", longest)[:n])
		for start := range n + 1 {
			if got := skipSpace(text, start); got != n {
				t.Fatalf("skipSpace(%d bytes of white space, %d) = %d, want %d", n, start, got, n)
			}
		}
		for i := range n {
			space := text[i]
			for c := range 256 {
				if text[i] = byte(c); strings.ContainsRune(" \n\t\r", rune(c)) {
					continue
				}
				if got := skipSpace(text, 0); got != i {
					t.Fatalf("skipSpace(%d bytes with %#02x at %d, 0) = %d, want %d", n, c, i, got, i)
				}
			}
			text[i] = space
		}
	}
}

func TestLevelScanLimitsDepth(t *testing.T) {
	nest := func(open, middle, close string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(close, n)
	}
	for _, c := range []struct {
		body string
		at   int // the offset of the error, or -1 if there is none
	}{
		{body: nest(`{"a":`, `{}`, `}`, 999), at: -1},
		{body: nest(`{"a":`, `{}`, `}`, 1000), at: 5000},
		{body: `{"a":` + nest(`[`, ``, `]`, 999) + `}`, at: -1},
		{body: `{"a":` + nest(`[`, ``, `]`, 1000) + `}`, at: 5 + 999},
		{body: `[{"a":` + nest(`[`, ``, `]`, 998) + `}]`, at: -1},
		{body: `[{"a":` + nest(`[`, ``, `]`, 999) + `}]`, at: 6 + 998},
		{body: `{"a":` + nest(`[{"b":`, `{"level":"info"}`, `}]`, 499) + `}`, at: -1},
		{body: `{"a":` + nest(`[{"b":`, `{"level":"info"}`, `}]`, 500) + `}`, at: 5 + 6*499 + 1},
		{body: `{"a":` + strings.Repeat(`[`, 100_000), at: 5 + 999},
		{body: strings.Repeat(`[`, 100_000), at: 1},
		{body: strings.Repeat(`{"a":`, 100_000), at: 5 * 1000},
		{body: `{"a":` + nest(`[`, ``, `]`, 100_000) + `}`, at: 5 + 999},
		{body: nest(`{"a":`, `{}`, `}`, 999) + nest(`{"a":`, `{}`, `}`, 999), at: -1},
		{body: `{"a":` + strings.Repeat(`[[[[[[]]]]]],`, 1000) + `1}`, at: 5 + 13},
		{body: `{"a":[` + strings.Repeat(`[[[[[[]]]]]],`, 1000) + `1]}`, at: -1},
	} {
		v := compare(t, new(levelScanner), []byte(c.body), entry.LevelError)
		if v.refused != (c.at >= 0) || v.refused && v.at != c.at {
			t.Errorf("scan(%s) = %v, want an error at %d (-1 for none)", quote([]byte(c.body)), v, c.at)
		}
	}
}

// TestLevelScanTruncatedBodies checks that the error of a truncated body is at
// its end. Only the last byte of this body, a newline, is not required.
func TestLevelScanTruncatedBodies(t *testing.T) {
	body := []byte(`[{"level":"info","a":[1,-0.5e+3,true,false,null,"\u00e9\\\"\n",{}],"msg":"` +
		strings.Repeat(`\"`, 50) + `"} , {"@t":{"b":[[],[{"level":"x"}]]},"le\u0076el":"error"}]` + "\n")
	s := new(levelScanner)
	for n := range len(body) + 1 {
		wantRefused := n < len(body)-1
		if v := compare(t, s, body[:n:n], entry.LevelError); v.refused != wantRefused || v.refused && v.at != n {
			t.Errorf("scan(%s) = %v, want refused = %v, with an error at %d", quote(body[:n]), v, wantRefused, n)
		}
	}
}

func TestLevelScanThresholds(t *testing.T) {
	var body []byte
	for _, names := range referenceLevelNames {
		for _, name := range append(strings.Fields(names), "") {
			body = fmt.Appendf(body, `{"level":"%s"}{"lvl":"%s"}{"a":1,"severity":"%s-3"}`, name, strings.ToUpper(name), name)
		}
	}
	for n := -5; n < 110; n++ {
		body = fmt.Appendf(body, `{"level":%d}{"level":%d.5}`, n, n)
	}
	for min := range entry.LevelUnknown + 1 {
		compare(t, new(levelScanner), body, min)
	}
}

func TestLevelScanDoesNotAllocate(t *testing.T) {
	body := []byte(strings.Repeat(`{"level":"error","n":{"a":[1]}}{"log.level":"critical","a":"\n"}{"@l":"notice-3"}{"lvl":30}`, 500))
	for _, impl := range implementations() {
		s := new(levelScanner)
		impl.scan(s, body, entry.LevelError)
		if n := testing.AllocsPerRun(20, func() { impl.scan(s, body, entry.LevelError) }); n != 0 {
			t.Errorf("%s: scan allocates %v times, want 0", impl.name, n)
		}
	}
}
