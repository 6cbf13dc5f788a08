package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"log-ingester/internal/entry"
)

// A verdict is the outcome of a scan: a scanResult, or the position of a
// scanError.
type verdict struct {
	kept      []span
	dropped   int
	refused   bool
	at, entry int
}

// String returns the verdict without long lists of entries.
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

// referenceScan implements levelScanner.scan with encoding/json. It is slow, but
// simple, and shares no code with the scanners.
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
		var text json.RawMessage
		end := len(body)
		d := json.NewDecoder(bytes.NewReader(body[i:]))
		err := d.Decode(&text)
		if err == nil {
			end = i + int(d.InputOffset())
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			var syntax *json.SyntaxError
			if !errors.As(json.Unmarshal(body[i:], &text), &syntax) {
				panic(fmt.Sprintf("json.Unmarshal(%q) = %v, want a syntax error as from Decode", body[i:], err))
			}
			end = i + int(syntax.Offset) - 1
		}
		if deep := tooDeepAt(body[i:end], depth); deep >= 0 {
			return refuse(i + deep)
		}
		if err != nil {
			return refuse(end)
		}
		if referenceLevel(text) >= min {
			v.kept = append(v.kept, span{uint32(i), uint32(end)})
		} else {
			v.dropped++
		}
		i = space(end)
	}
}

// tooDeepAt returns the offset of the first bracket in s that is deeper than
// allowed, or -1. depth is the number of brackets that are open before s.
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

// referenceLevel returns the level of a valid entry.
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
	for _, key := range referenceLevelKeys {
		if value, ok := values[key]; ok {
			return referenceValue(value)
		}
	}
	if _, ok := values["@t"]; ok {
		return entry.LevelInfo
	}
	return entry.LevelUnknown
}

// The level keys and names that the documentation promises. They are written
// down again, so that a mistake in the tables of the program fails a test.
var (
	referenceLevelKeys  = []string{"level", "severity", "lvl", "log.level", "levelname", "@l", "Level"}
	referenceLevelNames = []string{
		entry.LevelTrace: "trace trce trc silly finest finer",
		entry.LevelDebug: "debug dbug dbg fine config verbose vrb http",
		entry.LevelInfo:  "info inf information informational notice note success log",
		entry.LevelWarn:  "warn warning wrn",
		entry.LevelError: "error err eror fail severe",
		entry.LevelFatal: "fatal ftl critical crit alert emerg emergency panic dpanic",
	}
)

// referenceValue returns the level that the value of a level key stands for.
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

var offsetName = regexp.MustCompile(`^([^+-]+)([+-])[0-9]+$`)

func referenceName(name string) entry.Level {
	if m := offsetName.FindStringSubmatch(name); m != nil {
		l := referenceName(m[1])
		if l == entry.LevelDebug && m[2] == "-" {
			l = entry.LevelTrace
		}
		return l
	}
	for l, names := range referenceLevelNames {
		for _, n := range strings.Fields(names) {
			if len(n) == len(name) && strings.EqualFold(n, name) {
				return entry.Level(l)
			}
		}
	}
	return entry.LevelUnknown
}

// An implementation is a scanner under test. Its result is in s.
type implementation struct {
	name string
	scan func(s *levelScanner, body []byte, min entry.Level) *scanError
}

// implementations returns those that this machine can run.
func implementations() []implementation {
	impls := []implementation{{"generic", func(s *levelScanner, body []byte, min entry.Level) *scanError {
		return s.genericScanner.scan(body, min)
	}}}
	if useAVX2 {
		impls = append(impls, implementation{"avx2", (*levelScanner).scan})
	}
	return impls
}

// verdict scans body and returns the verdict and the reason of an error.
func (impl implementation) verdict(s *levelScanner, body []byte, min entry.Level) (verdict, string) {
	if err := impl.scan(s, body, min); err != nil {
		return verdict{refused: true, at: err.offset, entry: err.entry}, err.reason
	}
	return verdict{kept: s.kept, dropped: s.dropped}, ""
}

// compare checks that every implementation agrees with the reference, and
// returns the verdict.
func compare(t testing.TB, s *levelScanner, body []byte, min entry.Level) verdict {
	t.Helper()
	want := referenceScan(body, min)
	wantReason := ""
	for i, impl := range implementations() {
		got, reason := impl.verdict(s, body, min)
		if !got.equal(want) {
			t.Fatalf("%s: scan(%s, %v) = %v (%s), want %v", impl.name, quote(body), min, got, reason, want)
		}
		if i == 0 {
			wantReason = reason
		}
		if reason != wantReason {
			t.Fatalf("%s: scan(%s): reason = %q, want %q", impl.name, quote(body), reason, wantReason)
		}
	}
	// scan would be correct, but slow, if tryScan refused a valid body.
	if useAVX2 && new(avx2Scanner).tryScan(&s.genericScanner, body, min) == want.refused {
		t.Fatalf("tryScan(%s) = %v, want %v", quote(body), want.refused, !want.refused)
	}
	return want
}

// quote returns body as a Go string, without the middle of a long body.
func quote(body []byte) string {
	if len(body) > 1000 {
		return fmt.Sprintf("%q…%q", body[:500], body[len(body)-500:])
	}
	return fmt.Sprintf("%q", body)
}
