package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log-ingester/internal/entry"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A verdict is what a scan found; at and entry are those of the scanError.
type verdict struct {
	kept      []span
	dropped   int
	refused   bool
	at, entry int
}

// String leaves out what would not help to find a fault.
func (v verdict) String() string {
	if v.refused {
		return fmt.Sprintf("refused at byte %d, in entry %d", v.at, v.entry)
	}
	if len(v.kept) > 10 {
		return fmt.Sprintf("%d dropped, %d kept", v.dropped, len(v.kept))
	}
	return fmt.Sprintf("%d dropped, kept %v", v.dropped, v.kept)
}

func (v verdict) equal(w verdict) bool {
	if v.refused || w.refused {
		return v.refused == w.refused && v.at == w.at && v.entry == w.entry
	}
	return v.dropped == w.dropped && slices.Equal(v.kept, w.kept)
}

// referenceScan is scan, slow and obvious, by encoding/json.
func referenceScan(body []byte, min entry.Level) (v verdict) {
	refuse := func(at int) verdict { return verdict{refused: true, at: at, entry: v.dropped + len(v.kept)} }
	space := func(i int) int { return len(body) - len(bytes.TrimLeft(body[i:], " \t\r\n")) }

	i := 0
	switch bom := []byte{0xEF, 0xBB, 0xBF}; {
	case bytes.HasPrefix(body, bom):
		i = 3
	case bytes.HasPrefix(bom, body):
		return refuse(len(body))
	case bytes.HasPrefix(body, bom[:2]):
		return refuse(2)
	case bytes.HasPrefix(body, bom[:1]):
		return refuse(1)
	}
	i = space(i)
	if i == len(body) {
		return refuse(i)
	}
	depth := 0
	array := body[i] == '['
	if array {
		depth = 1
		i = space(i + 1)
	}
	first := true
	for {
		if array && i < len(body) && body[i] == ']' {
			if i = space(i + 1); i < len(body) {
				return refuse(i)
			}
			return v
		}
		if !array && !first && i == len(body) {
			return v
		}
		if array && !first {
			if i == len(body) || body[i] != ',' {
				return refuse(i)
			}
			i = space(i + 1)
		}
		first = false
		if i == len(body) || body[i] != '{' {
			return refuse(i)
		}
		var entry json.RawMessage
		end := len(body)
		d := json.NewDecoder(bytes.NewReader(body[i:]))
		err := d.Decode(&entry)
		if err == nil {
			end = i + int(d.InputOffset())
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			var syntax *json.SyntaxError
			if !errors.As(json.Unmarshal(body[i:], &entry), &syntax) {
				panic("two answers from encoding/json")
			}
			end = i + int(syntax.Offset) - 1
		}
		if deep := tooDeepAt(body[i:end], depth); deep >= 0 {
			return refuse(i + deep)
		}
		if err != nil {
			return refuse(end)
		}
		if referenceLevel(entry) >= min {
			v.kept = append(v.kept, span{uint32(i), uint32(end)})
		} else {
			v.dropped++
		}
		i = space(end)
	}
}

// tooDeepAt returns the offset of the first bracket that is nested too deep, or -1.
func tooDeepAt(s []byte, depth int) int {
	quoted, escaped := false, false
	for i, c := range s {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > 1000 {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

func referenceLevel(text []byte) entry.Level {
	values := map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.Token()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			panic(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			panic(err)
		}
		if _, ok := values[key.(string)]; !ok {
			values[key.(string)] = value
		}
	}
	for _, key := range []string{"level", "severity", "lvl", "log.level", "levelname", "@l", "Level"} {
		if value, ok := values[key]; ok {
			return referenceValue(value)
		}
	}
	if _, ok := values["@t"]; ok {
		return entry.LevelInfo
	}
	return entry.LevelUnknown
}

var (
	levelNames = []string{
		entry.LevelTrace: "trace trce trc silly finest finer",
		entry.LevelDebug: "debug dbug dbg fine config verbose vrb http",
		entry.LevelInfo:  "info inf information informational notice note success",
		entry.LevelWarn:  "warn warning wrn",
		entry.LevelError: "error err eror fail severe",
		entry.LevelFatal: "fatal ftl critical crit alert emerg emergency panic dpanic",
	}
	offsetName = regexp.MustCompile(`^([^+-]+)([+-])[0-9]+$`)
)

func referenceValue(value []byte) entry.Level {
	var any any
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if err := d.Decode(&any); err != nil {
		panic(err)
	}
	switch v := any.(type) {
	case string:
		return referenceName(v)
	case json.Number:
		if f, err := v.Float64(); err == nil {
			for l := entry.LevelTrace; l <= entry.LevelFatal; l++ {
				if rank := 10 * float64(l); rank <= f && f < rank+10 {
					return l
				}
			}
		}
	}
	return entry.LevelUnknown
}

func referenceName(name string) entry.Level {
	if m := offsetName.FindStringSubmatch(name); m != nil {
		l := referenceName(m[1])
		if l == entry.LevelDebug && m[2] == "-" {
			l = entry.LevelTrace
		}
		return l
	}
	for l, names := range levelNames {
		for _, n := range strings.Fields(names) {
			if len(n) == len(name) && strings.EqualFold(n, name) {
				return entry.Level(l)
			}
		}
	}
	return entry.LevelUnknown
}

// An implementation is a scanner under test.
type implementation struct {
	name string
	scan func(s *levelScanner, body []byte, min entry.Level) *scanError
}

func implementations() []implementation {
	impls := []implementation{{"generic", (*levelScanner).scanGeneric}}
	if useAVX2 {
		impls = append(impls, implementation{"avx2", (*levelScanner).scan})
	}
	return impls
}

func (impl implementation) verdict(s *levelScanner, body []byte, min entry.Level) (verdict, string) {
	if err := impl.scan(s, body, min); err != nil {
		return verdict{refused: true, at: err.offset, entry: err.entry}, err.reason
	}
	return verdict{kept: s.kept, dropped: s.dropped}, ""
}

// compare holds every implementation against the reference.
func compare(t testing.TB, s *levelScanner, body []byte, min entry.Level) verdict {
	t.Helper()
	want := referenceScan(body, min)
	reason := ""
	for i, impl := range implementations() {
		got, why := impl.verdict(s, body, min)
		if !got.equal(want) {
			t.Fatalf("%s: scan(%s, %v) = %v (%s), want %v", impl.name, quote(body), min, got, why, want)
		}
		if i > 0 && why != reason {
			t.Fatalf("%s: scan(%s): reason %q, others say %q", impl.name, quote(body), why, reason)
		}
		reason = why
	}
	// scan answers right even where accept leaves a valid body to scanGeneric.
	if useAVX2 && s.indexer.accept(s, body, min) == want.refused {
		t.Fatalf("accept(%s) = %v", quote(body), want.refused)
	}
	return want
}

func quote(body []byte) string {
	if len(body) > 1000 {
		return fmt.Sprintf("%q…%q", body[:500], body[len(body)-500:])
	}
	return fmt.Sprintf("%q", body)
}

func TestLevelScanAnswers(t *testing.T) {
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
		s := new(levelScanner)
		check := func(body string) {
			v := compare(t, s, []byte(body), entry.LevelError)
			if v.refused || len(v.kept) == 1 != c.want {
				t.Errorf("scan(%s) keeps %v, want %v", body, !c.want, c.want)
			}
			if c.want && body[v.kept[0].start:v.kept[0].end] != c.entry {
				t.Errorf("scan(%s) keeps %q", body, body[v.kept[0].start:v.kept[0].end])
			}
		}
		for _, frame := range []string{`%s`, `[%s]`, " [ %s ] \n", "\ufeff%s", "\ufeff [%s]", "%s\n", " \r\n\t%s"} {
			check(fmt.Sprintf(frame, c.entry))
		}
		for _, n := range shifts() {
			check(filler(n) + c.entry)
			check("[" + filler(n) + "," + c.entry + "]")
		}
	}
}

// filler returns an entry of n bytes, at least 20, that is dropped.
func filler(n int) string {
	const head, tail = `{"level":"info","":"`, `"}`
	if n < len(head+tail) {
		return `{"level":` + strings.Repeat(" ", n-len(`{"level":30}`)) + `30}`
	}
	return head + strings.Repeat("x", n-len(head+tail)) + tail
}

// shifts returns how far to move an entry so that it stands in every way
// across the blocks of the AVX2 scanner, and some across its chunks.
func shifts() (n []int) {
	for i := range 64 {
		n = append(n, 20+i)
	}
	for i := 4096 - 40; i <= 4096; i += 3 {
		n = append(n, i)
	}
	return n
}

func TestLevelScanBodies(t *testing.T) {
	for _, c := range []struct {
		body          string
		kept, dropped int
	}{
		{`[]`, 0, 0},
		{` [ ] `, 0, 0},
		{"\ufeff[]", 0, 0},
		{`{}{}`, 2, 0},
		{`{} {}`, 2, 0},
		{"{}\n{}\n", 2, 0},
		{`[{},{}]`, 2, 0},
		{`[ {} , {} ]`, 2, 0},
		{`{"level":"info"}{"level":"error"}{"level":"debug"}`, 1, 2},
		{"{\"level\":\"info\"}\r\n\r\n{\"level\":\"error\"}", 1, 1},
		{`[{"level":"info"},{"level":"error"},{"level":"debug"}]`, 1, 2},
		{strings.Repeat(`{}`, 10_000), 10_000, 0},
		{`{"a":` + strings.Repeat(`[`, 900) + strings.Repeat(`]`, 900) + `}`, 1, 0},
		{`{"a":[` + strings.Repeat(`[],`, 9000) + `{}]}`, 1, 0},
		{`{"a":"` + strings.Repeat(`\\`, 9000) + `","level":30}`, 0, 1},
		{`{"a":"` + strings.Repeat(`\"`, 9001) + `","level":30}`, 0, 1},
		{`{"a":` + strings.Repeat(`1234567890`, 1000) + `.` + strings.Repeat(`0`, 9000) + `,"level":30}`, 0, 1},
		{`{"a":1` + strings.Repeat(` `, 9000) + `,"level":30}`, 0, 1},
		{`{"a"` + strings.Repeat("\n", 9000) + `:1,"level":30}`, 0, 1},
		{"{}" + strings.Repeat(" ", 9000) + "{}", 2, 0},
		{strings.Repeat(`{"level":30}`, 1000), 0, 1000},
		{strings.Repeat("{\"level\":50}\n", 1000), 1000, 0},
		{"[" + strings.Repeat(`{"level":30},{},`, 1000) + "{}]", 1001, 1000},
	} {
		v := compare(t, new(levelScanner), []byte(c.body), entry.LevelError)
		if v.refused || len(v.kept) != c.kept || v.dropped != c.dropped {
			t.Errorf("scan(%s) = %v, want %d kept and %d dropped", quote([]byte(c.body)), v, c.kept, c.dropped)
		}
	}
}

// In a refused body, ^ marks the first byte that cannot stand; where there is
// none, the body ends too early.
var refusedBodies = []struct{ body, reason string }{
	{``, "empty body"},
	{` `, "empty body"},
	{"\n\t\r ", "empty body"},
	{"\ufeff", "empty body"},
	{"\ufeff \n", "empty body"},
	{"\xef", "empty body"},
	{"\xef\xbb", "empty body"},
	{"\xef^{}", "invalid character '{' in the byte order mark"},
	{"\xef\xbb^\xbb", "invalid character 0xbb in the byte order mark"},
	{"^\xbb\xbf{}", "invalid character 0xbb where an entry should begin"},
	{" ^\ufeff{}", "invalid character 0xef where an entry should begin"},
	{"\ufeff^\ufeff{}", "invalid character 0xef where an entry should begin"},
	{"^\x00", "invalid character 0x00 where an entry should begin"},
	{"^\x00{}{}", "invalid character 0x00 where an entry should begin"},
	{"{}^\x00", "invalid character 0x00 where an entry should begin"},
	{"{}^\x00{}", "invalid character 0x00 where an entry should begin"},
	{"{}^\f{}", "invalid character 0x0c where an entry should begin"},
	{"{}^\x1a{}", "invalid character 0x1a where an entry should begin"},
	{`^1`, "an element is not an object"},
	{`^-`, "an element is not an object"},
	{`^"a"`, "an element is not an object"},
	{`^null`, "an element is not an object"},
	{`^true`, "an element is not an object"},
	{`^false`, "an element is not an object"},
	{`^x`, "invalid character 'x' where an entry should begin"},
	{`^}`, "invalid character '}' where an entry should begin"},
	{`^]`, "invalid character ']' where an entry should begin"},
	{`^,{}`, "invalid character ',' where an entry should begin"},
	{`^:`, "invalid character ':' where an entry should begin"},
	{`[^1]`, "an element is not an object"},
	{`[{},^1]`, "an element is not an object"},
	{`[{},^"a"]`, "an element is not an object"},
	{`[{},^[]]`, "an element is not an object"},
	{`[^[]]`, "an element is not an object"},
	{`[^[{}]]`, "an element is not an object"},
	{`[^,{}]`, "invalid character ',' where an entry should begin"},
	{`[{},^]`, "invalid character ']' where an entry should begin"},
	{`[{},^,{}]`, "invalid character ',' where an entry should begin"},
	{`[{} ^{}]`, "invalid character '{' after an entry"},
	{`[{}^{}]`, "invalid character '{' after an entry"},
	{`[ {} ^{}]`, "invalid character '{' after an entry"},
	{`[ {} ^{} ,{}]`, "invalid character '{' after an entry"},
	{`[{}^:{}]`, "invalid character ':' after an entry"},
	{`[{}^}`, "invalid character '}' after an entry"},
	{`[{}^"a"]`, "invalid character '\"' after an entry"},
	{`[{}^1]`, "invalid character '1' after an entry"},
	{`[`, "body ends inside the array"},
	{`[ `, "body ends inside the array"},
	{`[{}`, "body ends inside the array"},
	{`[{},`, "body ends inside the array"},
	{`[{}, `, "body ends inside the array"},
	{`[]^]`, "invalid character ']' after the array"},
	{`[]^,`, "invalid character ',' after the array"},
	{`[]^{}`, "invalid character '{' after the array"},
	{`[] ^[]`, "invalid character '[' after the array"},
	{`[{}]^{}`, "invalid character '{' after the array"},
	{`[{}] ^x`, "invalid character 'x' after the array"},
	{"[{}]^\x00", "invalid character 0x00 after the array"},
	{`{}^,{}`, "invalid character ',' where an entry should begin"},
	{`{}^]`, "invalid character ']' where an entry should begin"},
	{`{}^}`, "invalid character '}' where an entry should begin"},
	{`{}^[]`, "an element is not an object"},
	{`{} ^[{}]`, "an element is not an object"},
	{`{}^1`, "an element is not an object"},
	{`{} ^"a"`, "an element is not an object"},
	{`{}^"a"{}`, "an element is not an object"},
	{`{}^:{}`, "invalid character ':' where an entry should begin"},
	{`{"a":1}^x{}`, "invalid character 'x' where an entry should begin"},

	{`{`, "body ends inside an entry"},
	{`{ `, "body ends inside an entry"},
	{`{"a"`, "body ends inside an entry"},
	{`{"a":`, "body ends inside an entry"},
	{`{"a": `, "body ends inside an entry"},
	{`{"a":1`, "body ends inside an entry"},
	{`{"a":1 `, "body ends inside an entry"},
	{`{"a":1,`, "body ends inside an entry"},
	{`{"a":-`, "body ends inside an entry"},
	{`{"a":1.`, "body ends inside an entry"},
	{`{"a":1e`, "body ends inside an entry"},
	{`{"a":tru`, "body ends inside an entry"},
	{`{"a":{`, "body ends inside an entry"},
	{`{"a":{}`, "body ends inside an entry"},
	{`{"a":[`, "body ends inside an entry"},
	{`{"a":[1`, "body ends inside an entry"},
	{`{"a":[1,`, "body ends inside an entry"},
	{`{"a":{"b"`, "body ends inside an entry"},
	{`{"`, "body ends inside a string"},
	{`{"a`, "body ends inside a string"},
	{`{"a\`, "body ends inside a string"},
	{`{"a\u`, "body ends inside a string"},
	{`{"a\u123`, "body ends inside a string"},
	{`{"a":"bcdefghijklmnopq`, "body ends inside a string"},
	{`{"a":"b\"}`, "body ends inside a string"},
}

// Each of these is an entry that must be refused, whatever stands around it.
var refusedEntries = []string{
	`{^,}`, `{^:}`, `{^1}`, `{^{}}`, `{^[]}`, `{^]`, `{^a:1}`, `{^'a':1}`, `{^null:1}`,
	`{"a"^}`, `{"a"^,}`, `{"a"^]`, `{"a"^"b"}`, `{"a"^1}`, `{"a"^{}}`, `{"a"^[]}`, `{"a" ^"b":1}`,
	`{"a":^}`, `{"a":^,}`, `{"a":^:1}`, `{"a":^]`, `{"a":^,"b":1}`,
	`{"a":1^:2}`, `{"a":1^]`, `{"a":1^"b":2}`, `{"a":1 ^"b":2}`, `{"a":1^{}}`, `{"a":1 ^2}`, `{"a":1^[]}`, `{"a":"b"^"c"}`,
	`{"a":"b"^1}`, `{"a":"b"^:1}`, `{"a":"b"^c}`, `{"a":"b"^{}}`, `{"a":"b"^]`, `{"a":{}^{}}`, `{"a":{}^"b":1}`, `{"a":{}^:1}`,
	`{"a":{} ^{}}`, `{"a":{}^]`, `{"a":[]^"b"}`, `{"a":[]^[]}`, `{"a":[]^{}}`, `{"a":[]^1}`, `{"a":[]^:1}`, `{"a":{}^1}`,
	`{"a":1,^}`, `{"a":1,^,}`, `{"a":1,^]`, `{"a":1,^:1}`, `{"a":1,^1}`, `{"a":1,^null}`, `{"a":1,^{}}`, `{"a":1,^[]}`, `{"a":1, ^}`,
	`{"a":1,"b"^}`, `{"a":1,"b"^,"c":1}`, `{"a":1,"b"^,2}`, `{"a":1,^2,"b":3}`, `{"a":1,^2,3}`,
	`{"a":{},^}`, `{"a":{},"b"^}`, `{"a":{},^1}`, `{"a":{},^1,"b":2}`, `{"a":{},"b"^,"c":1}`, `{"a":{},^{}}`, `{"a":{},^[]}`, `{"a":[],^[]}`,
	`{"a":[],^}`, `{"a":[],"b"^}`, `{"a":[],^1,"b":2}`, `{"a":[], ^{},"b":2}`, `{"a":{},"b"^]`,
	`{^1:2}`, `{^1 :2}`, `{"a":1,^2:3}`, `{"a":1,^2 :3}`, `{"a":1,^-1.5 :3}`, `{"a":{},^1:2}`, `{"a":{},^1 :2}`, `{"a":[],^null :2}`, `{"a":{"b":[],^1:2}}`,
	`{"a":[1,2^}`, `{"a":[1,2^:3]}`, `{"a":["b"^:3]}`, `{"a":[1,"b"^:3]}`, `{"a":[{},"b"^:3]}`, `{"a":[{},1,"b"^:3]}`, `{"a":[[],"b"^:3]}`,
	`{"a":["b","c"^:3]}`, `{"a":[^,1]}`, `{"a":[1,^]}`, `{"a":[1,^,2]}`, `{"a":[1 ^2]}`, `{"a":["b"^"c"]}`, `{"a":[^:1]}`, `{"a":[^}`, `{"a":[1,^}`,
	`{"a":[{}^{}]}`, `{"a":[{}^[]]}`, `{"a":[[]^[]]}`, `{"a":[{},^]}`, `{"a":[{}^}`, `{"a":[{},^}`, `{"a":[{}^"b"]}`, `{"a":[{}^:1]}`, `{"a":[{} ^{}]}`,
	`{"a":[1^}}`, `{"a":{"b":1^]}`, `{"a":[{"b":1^]}]}`, `{"a":[[1^}]}`, `{"a":[[]^}}`, `{"a":[{},1^}}`, `{"a":[{} , "b" ^:1]}`,
	`{"a":[1,{}^:1]}`, `{"a":{"b":1^]`, `{"a":{"b":[1^}`, `{"a":{"b":[]^]`, `{"a":[{"b":1^]`, `{"a":[{"b":1}^}`,

	`{"a":^+1}`, `{"a":^.5}`, `{"a":-^}`, `{"a":-^-1}`, `{"a":-^.5}`, `{"a":-^a}`, `{"a":-^ 1}`, `{"a":0^1}`, `{"a":-0^1}`, `{"a":0^0}`, `{"a":0^0.5}`,
	`{"a":1.^}`, `{"a":1.^,"b":1}`, `{"a":1.^e1}`, `{"a":1.^.1}`, `{"a":1.2^.3}`, `{"a":1e^}`, `{"a":1E^}`, `{"a":1e+^}`, `{"a":1e-^}`,
	`{"a":1e^e1}`, `{"a":1e1^e1}`, `{"a":1e1^.5}`, `{"a":1e+^+1}`, `{"a":1e^.5}`, `{"a":1^+1}`, `{"a":1^-1}`, `{"a":1^-}`, `{"a":0^x1}`, `{"a":1^x}`,
	`{"a":1^_0}`, `{"a":1^a}`, `{"a":1^true}`, `{"a":^Infinity}`, `{"a":-^Infinity}`, `{"a":^NaN}`, `{"a":n^an}`, `{"a":1^/1}`, `{"a":^/**/1}`,
	`{"a":0e^}`, `{"a":12345678901234567890^a}`, `{"a":12345678901234567890.^}`, `{"a":0.0^.0}`, `{"a":1^\u0031}`, `{"a":1^\}`,
	`{"a":t^}`, `{"a":tru^}`, `{"a":tru^E}`, `{"a":true^e}`, `{"a":true^1}`, `{"a":true^true}`, `{"a":true^"b"}`, `{"a":true^{}}`, `{"a":^True}`, `{"a":^TRUE}`,
	`{"a":f^}`, `{"a":fals^}`, `{"a":fals^,"b":1}`, `{"a":false^e}`, `{"a":n^}`, `{"a":nul^}`, `{"a":nul^1}`, `{"a":null^l}`, `{"a":null^"b"}`, `{"a":^Null}`,
	`{"a":true ^false}`, `{"a":^undefined}`, `{"a":^'b'}`, `{"a":^b}`, `{"a":^é}`, `{"a":^\"b"}`, "{\"a\":^\x00}", "{\"a\":1^\x00}", "{^\x00\"a\":1}", "{\"a\"^\x00:1}",
	"{\"a\":1^\x0c}", "{\"a\":1,^\x0c\"b\":1}", "{\"a\":^\x1a1}", "{\"a\"^\x1a1}", "{\"a\":1^\x0c\"b\":1}", "{\"a\":1^\x0b}", "{\"a\":^\u00a01}", "{\"a\":^\u20281}", "{\"a\":1^\x7f}", "{\"a\":^\ufeff1}",
	"{\"a\":[1^\x0c2]}", "{^\x1b\"a\":1}", "{\"a\":^\xff}", "{\"a\":1^\xff}", "{^\xff}", "{\"a\"^\xff:1}", "{\"a\":\"b\"^\xff}",

	`{"a":"\^x"}`, `{"a":"\^a"}`, `{"a":"\^'"}`, `{"a":"\^0"}`, `{"a":"\^U0041"}`, `{"a":"\^N"}`, `{"a":"\^v"}`, `{"a":"\^ "}`, "{\"a\":\"\\^\n\"}", "{\"a\":\"\\^\x00\"}",
	`{"a":"\u^"}`, `{"a":"\u0^"}`, `{"a":"\u00^"}`, `{"a":"\u000^"}`, `{"a":"\u^g000"}`, `{"a":"\u0^g00"}`, `{"a":"\u00^G0"}`, `{"a":"\u000^/"}`, `{"a":"\u000^:"}`,
	`{"a":"\u000^@"}`, "{\"a\":\"\\u000^`\"}", `{"a":"\u^-001"}`, `{"a":"\u^ 001"}`, `{"a":"\ud800\^x"}`, `{"a":"\ud800\u^"}`, `{"a":"\u^\u0000"}`, `{"a":"\\\^x"}`, `{"a":"\"\^x"}`,
	// In the block after a literal that ends with its block nothing needs a
	// look, and in the block after that the first byte does.
	`{"a":true,"b":"` + strings.Repeat("x", 52) + `","c":^x}`,
	`{"a":true,"b":"` + strings.Repeat("x", 52) + `","c":^.5}`,
	`{"a":1.5,"b":"` + strings.Repeat("x", 52) + `","c":^x}`,
	`{"a":1.5,"b":"` + strings.Repeat("x", 52) + `","c":^.5}`,

	"{\"a\":\"\\^\xff\"}", "{\"a\":\"\\^\x82\"}", "{\"a\":\"\\u000^\xb0\"}", `{"\^x":1}`, `{"\u00^":1}`, `{"\u^levelx":1}`, `{"level\^x":1}`,
	"{\"a\":\"^\x00\"}", "{\"a\":\"^\n\"}", "{\"a\":\"^\t\"}", "{\"a\":\"b^\r\"}", "{\"a\":\"b^\x1f\"}", "{\"^\x01\":1}", "{\"a^\n\":1}", "{\"a\":\"\\\\^\n\"}", "{\"a\":\"\\n^\n\"}",
	`{"level":"\^x"}`, "{\"level\":\"info^\n\"}", `{"level":3^x}`, `{"level"^}`, `{"level"^"info"}`, `{"level":^x}`, `{"level":^info}`,
}

// refusedAt takes the mark out of a refused body.
func refusedAt(marked string) (body []byte, at int) {
	before, after, _ := strings.Cut(marked, "^")
	return []byte(before + after), len(before)
}

func TestLevelScanRefusesBodies(t *testing.T) {
	for _, c := range refusedBodies {
		body, at := refusedAt(c.body)
		s := new(levelScanner)
		if v := compare(t, s, body, entry.LevelError); !v.refused || v.at != at {
			t.Errorf("scan(%q) = %v, want a refusal at byte %d", body, v, at)
		}
		if err := s.scan(body, entry.LevelError); err.reason != c.reason {
			t.Errorf("scan(%q): reason %q, want %q", body, err.reason, c.reason)
		}
	}
}

func TestLevelScanRefusesEntries(t *testing.T) {
	const good = `{"level":"info","msg":"an entry that is as it should be","n":[1,{"a":null}]}`
	s := new(levelScanner)
	check := func(before, marked, after string) {
		body, at := refusedAt(before + marked + after)
		if v := compare(t, s, body, entry.LevelError); !v.refused || v.at != at {
			t.Fatalf("scan(%s) = %v, want a refusal at byte %d", quote(body), v, at)
		}
	}
	many := strings.Repeat(good+"\n", 300)
	for _, marked := range refusedEntries {
		check("", marked, "")
		check("\n", marked, good)
		check(many, marked, many)
		for _, n := range shifts() {
			check(filler(n), marked, good)
			check("["+filler(n)+",", marked, "]")
			check(filler(n)+`{"level":"info","a":`, marked, `}`)
			check(filler(n)+`{"a":[[],`, marked, `]}`)
			if members, ok := strings.CutPrefix(marked, `{"`); ok && n < 4000 {
				check(filler(n), `{"level":"debug","`+members, good)
				check(filler(n), `{"level":"error","`+members, good)
			}
		}
	}
}

// Every byte, everywhere.
func TestLevelScanEveryByte(t *testing.T) {
	s := new(levelScanner)
	for _, marked := range []string{
		`^`, `^{}`, `{}^`, `{}^{}`, `[^]`, `[^{}]`, `[{}^]`, `[{}^,{}]`, `[{},^{}]`, `[{}]^`, `{^}`, `{^"a":1}`, `{"a"^:1}`, `{"a":^1}`, `{"a":1^}`,
		`{"a":1^2}`, `{"a":0^}`, `{"a":0^1}`, `{"a":-^}`, `{"a":-^1}`, `{"a":1.^}`, `{"a":1.5^}`, `{"a":1e^}`, `{"a":1e^5}`, `{"a":^}`, `{"a":^,"b":1}`,
		`{"a":1,^"b":2}`, `{"a":{}^}`, `{"a":{}^,"b":1}`, `{"a":{},^"b":1}`, `{"a":{},"b"^:1}`, `{"a":[^]}`, `{"a":[1^]}`, `{"a":[1^2]}`, `{"a":["b"^]}`,
		`{"a":["b"^1]}`, `{"a":[{}^]}`, `{"a":[{}^{}]}`, `{"a":[{},^1]}`, `{"a":[{},"b"^1]}`, `{"a":[[]^,1]}`, `{"a":t^ue}`, `{"a":tru^}`, `{"a":true^}`,
		`{"a":"^"}`, `{"^":1}`, `{"a":"\^"}`, `{"a":"\\^"}`, `{"a":"\u^123"}`, `{"a":"\u0^12"}`, `{"a":"\u01^2"}`, `{"a":"\u012^"}`, `{"a":"\u0123^"}`,
		`{"^evel":"info"}`, `{"l^vel":"info"}`, `{"le^el":"info"}`, `{"level^:"info"}`, `{"level"^"info"}`, `{"level":^info"}`, `{"level":"^nfo"}`,
		`{"level":"info^}`, `{"level":"info"^}`, `{"level":3^}`, `{"level":30^}`, `{"level":^0}`, `{"@^":"info"}`, `{"^l":"info"}`, `{"log^level":"info"}`,
	} {
		before, after, _ := strings.Cut(marked, "^")
		for c := range 256 {
			text := before + string([]byte{byte(c)}) + after
			compare(t, s, []byte(text), entry.LevelError)
			for _, n := range []int{21, 40, 59, 64 - len(before), 127 - len(before)} {
				compare(t, s, []byte(filler(n)+text+"\n"+filler(50)), entry.LevelError)
			}
		}
	}
}

// TestLevelScanTokenSequences scans every sequence of a few tokens, after the
// start of a body and inside objects and arrays.
func TestLevelScanTokenSequences(t *testing.T) {
	inside := []string{"{", "}", "[", "]", ",", ":", `"a"`, "1", "true", " "}
	for _, c := range []struct {
		before string
		tokens []string
		length int
	}{
		{before: ``, tokens: []string{"[", "]", "{}", ",", " ", "\n"}, length: 6},
		{before: `{`, tokens: inside, length: 4},
		{before: `[{"a":1,`, tokens: inside, length: 4},
		{before: `{"level":`, tokens: inside, length: 4},
		{before: `{"a":[{},`, tokens: inside, length: 4},
		{before: `{"a":{"b":[],`, tokens: inside, length: 4},
	} {
		t.Run(c.before, func(t *testing.T) {
			s := new(levelScanner)
			var scanAll func(body []byte, length int)
			scanAll = func(body []byte, length int) {
				compare(t, s, body, entry.LevelError)
				if length == 0 {
					return
				}
				for _, token := range c.tokens {
					scanAll(append(body, token...), length-1)
				}
			}
			scanAll([]byte(c.before), c.length)
		})
	}
}

func TestLevelScanDepth(t *testing.T) {
	nest := func(open, middle, close string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(close, n)
	}
	for _, c := range []struct {
		body string
		at   int // where it is refused, or -1
	}{
		{nest(`{"a":`, `{}`, `}`, 999), -1},
		{nest(`{"a":`, `{}`, `}`, 1000), 5000},
		{`{"a":` + nest(`[`, ``, `]`, 999) + `}`, -1},
		{`{"a":` + nest(`[`, ``, `]`, 1000) + `}`, 5 + 999},
		{`[{"a":` + nest(`[`, ``, `]`, 998) + `}]`, -1},
		{`[{"a":` + nest(`[`, ``, `]`, 999) + `}]`, 6 + 998},
		{`{"a":` + nest(`[{"b":`, `{"level":"info"}`, `}]`, 499) + `}`, -1},
		{`{"a":` + nest(`[{"b":`, `{"level":"info"}`, `}]`, 500) + `}`, 5 + 6*499 + 1},
		{`{"a":` + strings.Repeat(`[`, 100_000), 5 + 999},
		{strings.Repeat(`[`, 100_000), 1},
		{strings.Repeat(`{"a":`, 100_000), 5 * 1000},
		{`{"a":` + nest(`[`, ``, `]`, 100_000) + `}`, 5 + 999},
		{nest(`{"a":`, `{}`, `}`, 999) + nest(`{"a":`, `{}`, `}`, 999), -1},
		{`{"a":` + strings.Repeat(`[[[[[[]]]]]],`, 1000) + `1}`, 5 + 13},
		{`{"a":[` + strings.Repeat(`[[[[[[]]]]]],`, 1000) + `1]}`, -1},
	} {
		v := compare(t, new(levelScanner), []byte(c.body), entry.LevelError)
		if v.refused != (c.at >= 0) || v.refused && v.at != c.at {
			t.Errorf("scan(%s) = %v, want it refused at %d", quote([]byte(c.body)), v, c.at)
		}
	}
}

// Wherever a body is cut, the error is at its end, or it is whole.
func TestLevelScanCutBodies(t *testing.T) {
	body := []byte(`[{"level":"info","a":[1,-0.5e+3,true,false,null,"\u00e9\\\"\n",{}],"msg":"` +
		strings.Repeat(`\"`, 50) + `"} , {"@t":{"b":[[],[{"level":"x"}]]},"le\u0076el":"error"}]` + "\n")
	s := new(levelScanner)
	for n := range len(body) + 1 {
		if v := compare(t, s, body[:n:n], entry.LevelError); v.refused != (n < len(body)-1) || v.refused && v.at != n {
			t.Errorf("scan(%s) = %v", quote(body[:n]), v)
		}
	}
}

func TestLevelScanThresholds(t *testing.T) {
	var body []byte
	for _, names := range levelNames {
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
			t.Errorf("%s: %v allocations a scan", impl.name, n)
		}
	}
}

// A bodyMaker makes random bodies, most of them valid.
type bodyMaker struct {
	*rand.Rand
	b     []byte
	space int // how often white space stands between tokens, in 16
}

func (m *bodyMaker) pick(from ...string) { m.b = append(m.b, from[m.IntN(len(from))]...) }

func (m *bodyMaker) token(t byte) {
	m.spaces()
	m.b = append(m.b, t)
	m.spaces()
}

func (m *bodyMaker) spaces() {
	for m.IntN(16) < m.space {
		m.pick(" ", " ", " ", "\n", "\r\n", "\t")
	}
}

func (m *bodyMaker) str() {
	m.b = append(m.b, '"')
	for n := m.IntN(1 << m.IntN(8)); n > 0; n-- {
		switch m.IntN(12) {
		case 0:
			m.pick(`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`, `\u0000`, `\u00e9`, `\uD800`, `\uAbCd`, `\\\\`, `\\\"`)
		case 1:
			m.pick("{", "}", "[", "]", ":", ",", `\"level\":\"info\"`, "é", "€", "\xff", "\x7f", "0", "-", "/")
		default:
			m.b = append(m.b, byte('a'+m.IntN(26)))
		}
	}
	m.b = append(m.b, '"')
}

func (m *bodyMaker) value(depth int) {
	switch k := m.IntN(12); {
	case k < 4:
		m.str()
	case k < 6:
		m.b = fmt.Append(m.b, m.IntN(1<<m.IntN(20)))
	case k < 7:
		m.pick("0", "-0", "-1", "0.5", "-12.25", "1e5", "1E+5", "10.0e-05", "123456789012345678901234567890", "0e0", "-0.0")
	case k < 8:
		m.pick("true", "false", "null")
	case k < 9:
		m.pick("{}", "[]", "[[]]", "[{}]", `{"level":"info"}`, `["level","info"]`)
	case depth > 4:
		m.b = append(m.b, '7')
	case k < 10:
		m.token('[')
		for n := m.IntN(4); n >= 0; n-- {
			m.value(depth + 1)
			if n > 0 {
				m.token(',')
			}
		}
		m.token(']')
	default:
		m.object(depth + 1)
	}
}

func (m *bodyMaker) object(depth int) {
	m.token('{')
	for n := m.IntN(8) - 1; n >= 0; n-- {
		switch m.IntN(5) {
		case 0:
			m.pick(`"level"`, `"level"`, `"severity"`, `"lvl"`, `"log.level"`, `"levelname"`, `"@l"`, `"Level"`, `"@t"`,
				`"le\u0076el"`, `"\u0040l"`, `"lvl\u0000"`, `"levels"`, `"logger"`, `"l"`, `"\\"`, `"sev\"erity"`)
			m.token(':')
			if m.IntN(4) > 0 {
				m.pick(`"info"`, `"error"`, `"WARN"`, `"Debug"`, `"ERROR+2"`, `"emergency"`, `"\u0065rror"`, `"x"`, `""`, "30", "50", "null")
				break
			}
			m.value(depth)
		default:
			m.str()
			m.token(':')
			m.value(depth)
		}
		if n > 0 {
			m.token(',')
		}
	}
	m.token('}')
}

func (m *bodyMaker) body(entries int) []byte {
	m.b, m.space = m.b[:0], max(0, m.IntN(12)-7)
	array := m.IntN(3) == 0
	separator := []string{"", "\n", "\r\n", " \n "}[m.IntN(4)]
	if array {
		separator = ","
		m.token('[')
	}
	for n := range entries {
		if n > 0 {
			m.b = append(m.b, separator...)
		}
		m.object(0)
	}
	if array {
		m.token(']')
	}
	return m.b
}

// damage changes a few bytes of a body.
func (m *bodyMaker) damage(b []byte) []byte {
	const marks = "{}[]:,\"\\ \n\x00\x0c\x1a019-+.eEtfnul/@\xff"
	for n := m.IntN(3); n >= 0; n-- {
		i := m.IntN(len(b))
		c := marks[m.IntN(len(marks))]
		switch m.IntN(5) {
		case 0:
			b[i] = c
		case 1:
			b = slices.Insert(b, i, c)
		case 2:
			b = slices.Delete(b, i, i+1)
		case 3:
			j := m.IntN(len(b))
			b[i], b[j] = b[j], b[i]
		case 4:
			b = b[:i+1]
		}
		if len(b) == 0 {
			break
		}
	}
	return b
}

func TestLevelScanRandomBodies(t *testing.T) {
	const rounds = 15_000
	m := &bodyMaker{Rand: rand.New(rand.NewPCG(1, 2))}
	s := new(levelScanner)
	refused := 0
	for i := range rounds {
		entries := 1 + m.IntN(1<<m.IntN(4))
		if i%500 == 0 {
			entries = 300
		}
		body := m.body(entries)
		if v := compare(t, s, body, entry.LevelError); v.refused || len(v.kept)+v.dropped != entries {
			t.Fatalf("scan(%s) = %v, want %d entries", quote(body), v, entries)
		}
		if compare(t, s, m.damage(body), entry.LevelError).refused {
			refused++
		}
	}
	if refused < rounds/2 {
		t.Errorf("only %d of %d damaged bodies were refused", refused, rounds)
	}
}

func FuzzLevelScan(f *testing.F) {
	m := &bodyMaker{Rand: rand.New(rand.NewPCG(3, 4))}
	for range 50 {
		f.Add(slices.Clone(m.body(2)), byte(entry.LevelError), uint16(m.IntN(128)))
	}
	for _, c := range refusedBodies {
		body, _ := refusedAt(c.body)
		f.Add(body, byte(entry.LevelError), uint16(0))
	}
	for _, marked := range refusedEntries {
		body, _ := refusedAt(marked)
		f.Add(body, byte(entry.LevelError), uint16(m.IntN(128)))
	}
	s := new(levelScanner)
	f.Fuzz(func(t *testing.T, body []byte, min byte, shift uint16) {
		compare(t, s, body, entry.Level(min))
		compare(t, s, append([]byte(filler(20+int(shift%5000))), body...), entry.Level(min))
	})
}
