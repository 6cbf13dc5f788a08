package logread

import (
	"math"
	"strings"

	"log-ingester/internal/entry"
	"log-ingester/internal/summary"
)

// A filter selects entries. All conditions that are set must hold. A filter is
// read-only once parsed, so scans can share it.
type filter struct {
	anyLevel bool     // if false, ranks and names list the selected levels
	ranks    uint8    // bit 1<<rank is set for each selected rank
	names    []string // selected spellings, compared case-insensitively

	text   *foldedText // nil if any text matches
	fields []fieldFilter

	hasTimeRange bool
	since, until int64 // in Unix nanoseconds; selects since <= t < until
}

// addLevels adds levels to the selected ones. The name of a rank selects all
// spellings of that rank: error also selects err and error+4, and unknown
// selects all names without a rank. Any other name selects only that spelling,
// for example critical.
func (f *filter) addLevels(names []string) {
	f.anyLevel = false
	for _, name := range names {
		rank := entry.LevelTrace
		for rank < entry.LevelUnknown && !strings.EqualFold(name, rank.String()) {
			rank++
		}
		if strings.EqualFold(name, rank.String()) {
			f.ranks |= 1 << rank
		} else {
			f.names = append(f.names, name)
		}
	}
}

// matchesAll reports whether the filter selects every entry.
func (f *filter) matchesAll() bool {
	return f.anyLevel && f.text == nil && f.fields == nil && !f.hasTimeRange
}

// A matcher evaluates filters for one scan.
type matcher struct {
	work   work
	fields fieldWalk
}

// matches reports whether the message or the details contain the text of f, and
// the details its fields. If m.work.err is set, the result is meaningless.
func (m *matcher) matches(f *filter, message, details string) bool {
	if f.fields != nil && !m.fields.match(f.fields, details, &m.work) {
		return false
	}
	return f.text == nil || f.text.contains(message, &m.work) || f.text.containsJSON(details, &m.work)
}

// matchesLevel reports whether the filter selects the level.
func (f *filter) matchesLevel(level string) bool {
	if f.anyLevel || f.ranks&(1<<entry.LevelByName([]byte(level))) != 0 {
		return true
	}
	for _, name := range f.names {
		if strings.EqualFold(name, level) {
			return true
		}
	}
	return false
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

// rankSet returns the ranks of all levels that the filter selects: bit 1<<rank is set.
func (f *filter) rankSet() uint8 {
	if f.anyLevel {
		return math.MaxUint8
	}
	ranks := f.ranks
	for _, name := range f.names {
		ranks |= 1 << entry.LevelByName([]byte(name))
	}
	return ranks
}

// hasCounts reports whether counts by time and level are sufficient to count the
// entries that the filter selects.
func (f *filter) hasCounts() bool {
	return len(f.names) == 0 && f.text == nil && f.fields == nil
}

// probe returns the test of the filter against a summary.
func (f *filter) probe() (p summary.Probe) {
	if f.text != nil {
		p.AddText(string(f.text.runes))
	}
	for _, field := range f.fields {
		p.AddField(field.name, field.values)
	}
	return p
}
