package logread

import (
	"bytes"
	"math"
	"strings"

	"log-ingester/internal/entry"
	"log-ingester/internal/summary"
)

// A filter selects entries. All conditions that are set must hold. A filter is
// read-only once parsed, so scans can share it.
type filter struct {
	anyLevel  bool // if false, levels are the selected ones
	levels    levelSet
	notLevels levelSet

	hasKind  bool
	kind     string        // the pattern of messages, if hasKind
	texts    []*foldedText // an entry must contain all of them
	notTexts []*foldedText // and none of these

	fields    []fieldFilter // an entry must have all of them
	notFields []fieldFilter // and none of these

	hasTimeRange bool
	since, until int64 // in Unix nanoseconds; selects since <= t < until
}

// A levelSet is a set of levels.
type levelSet struct {
	ranks uint8    // bit 1<<rank is set for each rank
	names []string // spellings, compared case-insensitively
}

// add adds levels. The name of a rank includes all spellings of that rank: error also
// includes err and error+4, and unknown all names without a rank. Any other name
// includes only that spelling, for example critical.
func (l *levelSet) add(names []string) {
	for _, name := range names {
		rank := entry.LevelTrace
		for rank < entry.LevelUnknown && !strings.EqualFold(name, rank.String()) {
			rank++
		}
		if strings.EqualFold(name, rank.String()) {
			l.ranks |= 1 << rank
		} else {
			l.names = append(l.names, name)
		}
	}
}

func (l *levelSet) isEmpty() bool { return l.ranks == 0 && len(l.names) == 0 }

// contains reports whether the set includes a level.
func (l *levelSet) contains(level string) bool {
	if l.ranks&(1<<entry.LevelByName([]byte(level))) != 0 {
		return true
	}
	for _, name := range l.names {
		if strings.EqualFold(name, level) {
			return true
		}
	}
	return false
}

// allRanks returns the ranks of all levels in the set, as bits 1<<rank.
func (l *levelSet) allRanks() uint8 {
	ranks := l.ranks
	for _, name := range l.names {
		ranks |= 1 << entry.LevelByName([]byte(name))
	}
	return ranks
}

// selectsLevels reports whether the filter has a condition on the level.
func (f *filter) selectsLevels() bool { return !f.anyLevel || !f.notLevels.isEmpty() }

// selectsText reports whether the filter has a condition on the text.
func (f *filter) selectsText() bool { return len(f.texts)+len(f.notTexts) > 0 }

// selectsFields reports whether the filter has a condition on fields.
func (f *filter) selectsFields() bool { return len(f.fields)+len(f.notFields) > 0 }

// matchesAll reports whether the filter selects every entry.
func (f *filter) matchesAll() bool {
	return !f.selectsLevels() && !f.selectsText() && !f.selectsFields() && !f.hasKind && !f.hasTimeRange
}

// A matcher evaluates filters for one scan.
type matcher struct {
	work   work
	page   pageBytes // of the entry
	fields fieldWalk
	kind   []byte // scratch space
}

// matches reports whether message and details satisfy the conditions of f on text and
// fields. If m.work.err is set, the result is meaningless.
func (m *matcher) matches(f *filter, message, details string) bool {
	if f.hasKind {
		if m.kind = appendPattern(m.kind[:0], message); string(m.kind) != f.kind {
			return false
		}
	}
	if len(f.fields) > 0 && !m.fields.match(f.fields, details, &m.work) {
		return false
	}
	if len(f.notFields) > 0 && m.fields.matchAny(f.notFields, details, &m.work) {
		return false
	}
	for i, text := range f.texts {
		if !m.contains(text, i, message, details) {
			return false
		}
	}
	for i, text := range f.notTexts {
		if m.contains(text, len(f.texts)+i, message, details) {
			return false
		}
	}
	return true
}

// contains reports whether the message or the details contain text, which has the index
// i in m.page.
func (m *matcher) contains(text *foldedText, i int, message, details string) bool {
	if !m.page.isKnown {
		return text.contains(message, text.firstBytes, &m.work) ||
			text.containsJSON(details, text.firstBytes, true, &m.work)
	}
	first := m.page.first[i]
	return text.contains(message, first, &m.work) || text.containsJSON(details, first, m.page.hasEscapes, &m.work)
}

// A pageBytes describes which bytes occur in a page. Most pages lack some of those that
// a search looks for in each entry.
type pageBytes struct {
	isKnown    bool     // the entry was read from a page
	hasEscapes bool     // the page contains a backslash
	first      [][]byte // of each text, and then each excluded text, the firstBytes that occur
	buf        []byte   // holds first
}

// set describes the page with the next entries, for a filter.
func (b *pageBytes) set(page []byte, f *filter) {
	b.first, b.buf = b.first[:0], b.buf[:0]
	if b.isKnown = f.selectsText(); !b.isKnown {
		return
	}
	b.hasEscapes = bytes.IndexByte(page, '\\') >= 0
	for _, texts := range [][]*foldedText{f.texts, f.notTexts} {
		for _, text := range texts {
			start := len(b.buf)
			for _, c := range text.firstBytes {
				if bytes.IndexByte(page, c) >= 0 {
					b.buf = append(b.buf, c)
				}
			}
			b.first = append(b.first, b.buf[start:])
		}
	}
}

// matchesLevel reports whether the filter selects the level.
func (f *filter) matchesLevel(level string) bool {
	return (f.anyLevel || f.levels.contains(level)) && (f.notLevels.isEmpty() || !f.notLevels.contains(level))
}

// matchesTime reports whether a time, in Unix nanoseconds, is in the time range.
// Entries without a readable time are in no range.
func (f *filter) matchesTime(t int64, hasTime bool) bool {
	return !f.hasTimeRange || hasTime && f.since <= t && t < f.until
}

// times returns the time range of the filter. It includes all times if no range is set.
func (f *filter) times() summary.TimeRange {
	if !f.hasTimeRange {
		return summary.TimeRange{Since: math.MinInt64, Until: math.MaxInt64}
	}
	return summary.TimeRange{Since: f.since, Until: f.until}
}

// rankSet returns the ranks of all levels that the filter can select, as bits 1<<rank.
func (f *filter) rankSet() uint8 {
	ranks := uint8(math.MaxUint8)
	if !f.anyLevel {
		ranks = f.levels.allRanks()
	}
	return ranks &^ f.notLevels.ranks
}

// hasCounts reports whether counts by time and level are sufficient to count the
// entries that the filter selects.
func (f *filter) hasCounts() bool {
	return len(f.levels.names)+len(f.notLevels.names) == 0 && !f.selectsText() && !f.selectsFields() && !f.hasKind
}

// probe returns the test of the filter against a summary.
func (f *filter) probe() (p summary.Probe) {
	for _, text := range f.texts {
		p.AddText(string(text.runes))
	}
	for _, field := range f.fields {
		p.AddField(field.name, field.values)
	}
	return p
}
