package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"log-ingester/internal/entry"
)

// A bodyMaker makes random valid bodies, and damages them.
type bodyMaker struct {
	*rand.Rand
	b     []byte
	space int // the probability of white space between tokens, in 16ths
}

// pick appends one of the texts.
func (m *bodyMaker) pick(from ...string) { m.b = append(m.b, from[m.IntN(len(from))]...) }

// token appends t, with or without white space around it.
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

// damage changes up to three bytes of b. The result may still be valid.
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
		t.Errorf("%d of %d damaged bodies are invalid, want at least half", refused, rounds)
	}
}

// FuzzLevelScan compares all implementations with the reference. shift moves the
// body across the blocks and chunks of the AVX2 scanner.
func FuzzLevelScan(f *testing.F) {
	m := &bodyMaker{Rand: rand.New(rand.NewPCG(3, 4))}
	for range 50 {
		f.Add(slices.Clone(m.body(2)), byte(entry.LevelError), uint16(m.IntN(128)))
	}
	for _, c := range invalidBodies {
		body, _ := cutMark(c.body)
		f.Add(body, byte(entry.LevelError), uint16(0))
	}
	for _, marked := range invalidEntries {
		body, _ := cutMark(marked)
		f.Add(body, byte(entry.LevelError), uint16(m.IntN(128)))
	}
	s := new(levelScanner)
	f.Fuzz(func(t *testing.T, body []byte, min byte, shift uint16) {
		compare(t, s, body, entry.Level(min))
		compare(t, s, append([]byte(filler(20+int(shift%5000))), body...), entry.Level(min))
	})
}
