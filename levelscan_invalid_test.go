package main

import (
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

// invalidBodies are bodies with the reason of their error. The mark ^ is before
// the first invalid byte. A body without a mark is truncated.
var invalidBodies = []struct{ body, reason string }{
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
	{`^-`, "the body is not JSON"},
	{`^not json`, "the body is not JSON"},
	{`[^tru]`, "the body is not JSON"},
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

// invalidEntries are entries that are invalid in any body. The mark ^ is before
// the first invalid byte.
var invalidEntries = []string{
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
	// With some shift, a literal is at the end of its block, the next block has
	// no events, and the one after that starts with an event.
	`{"a":true,"b":"` + strings.Repeat("x", 52) + `","c":^x}`,
	`{"a":true,"b":"` + strings.Repeat("x", 52) + `","c":^.5}`,
	`{"a":1.5,"b":"` + strings.Repeat("x", 52) + `","c":^x}`,
	`{"a":1.5,"b":"` + strings.Repeat("x", 52) + `","c":^.5}`,

	"{\"a\":\"\\^\xff\"}", "{\"a\":\"\\^\x82\"}", "{\"a\":\"\\u000^\xb0\"}", `{"\^x":1}`, `{"\u00^":1}`, `{"\u^levelx":1}`, `{"level\^x":1}`,
	"{\"a\":\"^\x00\"}", "{\"a\":\"^\n\"}", "{\"a\":\"^\t\"}", "{\"a\":\"b^\r\"}", "{\"a\":\"b^\x1f\"}", "{\"^\x01\":1}", "{\"a^\n\":1}", "{\"a\":\"\\\\^\n\"}", "{\"a\":\"\\n^\n\"}",
	`{"level":"\^x"}`, "{\"level\":\"info^\n\"}", `{"level":3^x}`, `{"level"^}`, `{"level"^"info"}`, `{"level":^x}`, `{"level":^info}`,
}

// cutMark returns a marked body without its mark, and the mark's offset.
func cutMark(marked string) (body []byte, at int) {
	before, after, _ := strings.Cut(marked, "^")
	return []byte(before + after), len(before)
}

func TestLevelScanRefusesBodies(t *testing.T) {
	for _, c := range invalidBodies {
		body, at := cutMark(c.body)
		s := new(levelScanner)
		if v := compare(t, s, body, entry.LevelError); !v.refused || v.at != at {
			t.Errorf("scan(%q) = %v, want an error at %d", body, v, at)
		}
		if err := s.scan(body, entry.LevelError); err.reason != c.reason {
			t.Errorf("scan(%q): reason = %q, want %q", body, err.reason, c.reason)
		}
	}
}

func TestLevelScanRefusesEntries(t *testing.T) {
	const valid = `{"level":"info","msg":"a valid entry","n":[1,{"a":null}]}`
	s := new(levelScanner)
	check := func(before, marked, after string) {
		body, at := cutMark(before + marked + after)
		if v := compare(t, s, body, entry.LevelError); !v.refused || v.at != at {
			t.Fatalf("scan(%s) = %v, want an error at %d", quote(body), v, at)
		}
	}
	many := strings.Repeat(valid+"\n", 300)
	for _, marked := range invalidEntries {
		check("", marked, "")
		check("\n", marked, valid)
		check(many, marked, many)
		for _, n := range shifts() {
			check(filler(n), marked, valid)
			check("["+filler(n)+",", marked, "]")
			check(filler(n)+`{"level":"info","a":`, marked, `}`)
			check(filler(n)+`{"a":[[],`, marked, `]}`)
			if members, ok := strings.CutPrefix(marked, `{"`); ok && n < 4000 {
				check(filler(n), `{"level":"debug","`+members, valid)
				check(filler(n), `{"level":"error","`+members, valid)
			}
		}
	}
}

// TestLevelScanEveryByte puts every byte at every kind of position, marked ^.
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
