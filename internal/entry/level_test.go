package entry

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestLevelNames(t *testing.T) {
	for _, c := range []struct {
		want  Level
		names string
	}{
		{LevelTrace, "trace TRACE silly trce trc finest finer DEBUG-4 verbose-1"},
		{LevelDebug, "debug Debug verbose http DEBUG+1 dbg fine config"},
		{LevelInfo, "info INFO Information INFORMATIONAL notice INFO+2 info-2 success log LOG"},
		{LevelWarn, "warn WARNING Warn wrn"},
		{LevelError, "error err ERROR ERROR+4 ERROR-0123456789 severe fail"},
		{LevelFatal, "fatal critical CRITICAL CRIT alert emerg Emergency panic dpanic critical+1"},
		{LevelUnknown, "audit unknown error+ error- +4 -4 4 error+x error4 errors informationally criticality " +
			"ERROR+4+4 debug--4 deb\x15g deb5g WA\x12\x0e info\x00 \x00 ſilly criticaſ error\xff+4 \xff"},
	} {
		for name := range strings.SplitSeq(c.names, " ") {
			if got := LevelByName([]byte(name)); got != c.want {
				t.Errorf("LevelByName(%q) = %v, want %v", name, got, c.want)
			}
		}
	}
	for _, name := range []string{"", " ", " info", "info ", "x info", strings.Repeat("9", 1000)} {
		if got := LevelByName([]byte(name)); got != LevelUnknown {
			t.Errorf("LevelByName(%q) = %v, want %v", name, got, LevelUnknown)
		}
	}
}

// TestLevelNamesTable checks that each name in the table is found, and that no
// other text of equal length is, by changing one byte.
func TestLevelNamesTable(t *testing.T) {
	seen := map[string]Level{}
	for l := LevelTrace; l < LevelUnknown; l++ {
		if got := LevelNames(l)[0]; got != l.String() {
			t.Errorf("LevelNames(%v)[0] = %q, want %q", l, got, l.String())
		}
		for _, name := range LevelNames(l) {
			if other, ok := seen[name]; ok {
				t.Errorf("%q is a name of %v and of %v", name, other, l)
			}
			if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
				t.Errorf("the name %q does not consist of lower-case letters", name)
			}
			seen[name] = l
		}
	}
	for name, level := range seen {
		below := level
		if level == LevelDebug {
			below = LevelTrace
		}
		for name, want := range map[string]Level{name: level, strings.ToUpper(name): level, name + "+7": level, name + "-0": below} {
			if got := LevelByName([]byte(name)); got != want {
				t.Errorf("LevelByName(%q) = %v, want %v", name, got, want)
			}
		}
		for i := range name {
			for c := range 256 {
				changed := []byte(name)
				changed[i] = byte(c)
				want, ok := seen[strings.ToLower(string(changed))]
				if !ok {
					want = LevelUnknown
				}
				if got := LevelByName(changed); got != want {
					t.Errorf("LevelByName(%q) = %v, want %v", changed, got, want)
				}
			}
		}
	}
	if names := slices.Concat(LevelNames(0), LevelNames(LevelUnknown), LevelNames(LevelUnknown+1)); names != nil {
		t.Errorf("LevelNames of no level = %q, want none", names)
	}
	LevelNames(LevelInfo)[0] = "changed"
	if got := LevelInfo.String(); got != "info" {
		t.Errorf("LevelInfo.String() = %q after a change of the returned list, want %q", got, "info")
	}
}

// TestLevelByWord checks that a word has the level of the text before its first
// quote, if it is a name without an offset.
func TestLevelByWord(t *testing.T) {
	check := func(text string) {
		want := Level(0)
		if name, _, found := strings.Cut(text, `"`); found {
			if _, sign := cutOffset([]byte(name)); sign == 0 {
				want = LevelByName([]byte(name))
			}
		}
		if want == LevelUnknown {
			want = 0
		}
		if got := LevelByWord(binary.LittleEndian.Uint64([]byte(text))); got != want {
			t.Errorf("LevelByWord(%q) = %v, want %v", text, uint8(got), uint8(want))
		}
	}
	for l := LevelTrace; l < LevelUnknown; l++ {
		for _, name := range LevelNames(l) {
			for _, after := range []string{`",      `, `"       `, `"""""""""`, `"}info"}`, "\"\xff\xff\xff\xff\xff\xff\xff", `"!!!!!!!`} {
				check((name + after)[:8])
				check((strings.ToUpper(name) + after)[:8])
				check((name + "x" + after)[:8])
				check((name + "-4" + after)[:8])
			}
		}
	}
	for _, text := range []string{`""""""""`, `"info"  `, "\x00\x00\x00\x00\x00\x00\x00\x00", "info\x00\x00\x00\x00", "info#   ", "info \"  ", "in\"fo\"  ", "info\\\"  "} {
		check(text)
	}
}

func TestLevelString(t *testing.T) {
	for l, want := range map[Level]string{
		0: "unknown", LevelTrace: "trace", LevelDebug: "debug", LevelInfo: "info", LevelWarn: "warn",
		LevelError: "error", LevelFatal: "fatal", LevelUnknown: "unknown", LevelUnknown + 1: "unknown", 255: "unknown",
	} {
		if got := l.String(); got != want {
			t.Errorf("Level(%d).String() = %q, want %q", l, got, want)
		}
	}
}

func TestLevelValues(t *testing.T) {
	for value, want := range map[string]Level{
		`10`: LevelTrace, `20`: LevelDebug, `30`: LevelInfo, `35`: LevelInfo, `40`: LevelWarn,
		`50`: LevelError, `59`: LevelError, `59.99`: LevelError, `60`: LevelFatal, `69.9`: LevelFatal, `5e1`: LevelError,
		`9`: LevelUnknown, `0`: LevelUnknown, `-10`: LevelUnknown, `70`: LevelUnknown, `1e999`: LevelUnknown, `-1e999`: LevelUnknown,
		`null`: LevelUnknown, `true`: LevelUnknown, `{}`: LevelUnknown, `[]`: LevelUnknown,
		`"error"`: LevelError, `"err\u006fr"`: LevelError, `"ERROR\u002b4"`: LevelError, `"50"`: LevelUnknown, `""`: LevelUnknown,
	} {
		if got := LevelOf([]byte(value)); got != want {
			t.Errorf("LevelOf(%s) = %v, want %v", value, got, want)
		}
	}
}

func TestLevelBySeverity(t *testing.T) {
	for n, want := range map[int64]Level{
		1: LevelTrace, 4: LevelTrace, 5: LevelDebug, 8: LevelDebug, 9: LevelInfo, 12: LevelInfo, 13: LevelWarn, 16: LevelWarn,
		17: LevelError, 20: LevelError, 21: LevelFatal, 24: LevelFatal,
		0: LevelUnknown, -1: LevelUnknown, 25: LevelUnknown, math.MinInt64: LevelUnknown, math.MaxInt64: LevelUnknown,
	} {
		if got := LevelBySeverity(n); got != want {
			t.Errorf("LevelBySeverity(%d) = %v, want %v", n, got, want)
		}
	}
}

func TestLevelByNameDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"info", "ERROR+4", "Informational", "emergencies", strings.Repeat("x", 1000)} {
		b := []byte(name)
		if n := testing.AllocsPerRun(100, func() { LevelByName(b) }); n != 0 {
			t.Errorf("LevelByName(%.20q) allocates %v times, want 0", name, n)
		}
	}
}

func BenchmarkLevelByName(b *testing.B) {
	for _, name := range []string{"info", "ERROR", "warning", "critical", "Information", "ERROR+4", "audit"} {
		b.Run("name="+name, func(b *testing.B) {
			name := []byte(name)
			for b.Loop() {
				LevelByName(name)
			}
		})
	}
}
