package logread

import (
	"fmt"
	"log-ingester/internal/entry"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A logFilter says which entries of the table logs are meant. All of its
// conditions must hold; one that is not set holds always. It is read-only once
// made, so scans may share it.
type logFilter struct {
	ranks        uint8    // wanted levels, a bit 1<<level each
	names        []string // wanted levels by their stored name, compared without case
	anyLevel     bool
	text         *foldedText // nil: any text
	timed        bool        // since or until is set
	since, until int64       // Unix nanoseconds: since <= t < until
	fields       []fieldFilter
}

// A fieldFilter wants a field of details to have one of these values.
type fieldFilter struct {
	name   string
	values []string
}

// A logQuery is what the parameters of a request ask for.
type logQuery struct {
	logFilter
	after, before int64 // ids, both exclusive
	limit         int
	buckets       int
}

const (
	defaultLimit   = 100
	maxLimit       = 10_000
	defaultBuckets = 100
	maxBuckets     = 500
	maxConditions  = 64   // parameters in one request
	maxText        = 2000 // bytes of q: the page takes 500 characters
	maxFieldName   = 500  // bytes; each dot in it can cost another pass over the details
)

// filterParameters are those that every route for reading takes.
const filterParameters = "level, q, since, until, details.NAME"

// parseLogQuery reads a query string. It takes the filters, and of the other
// parameters those that extra names. Its errors are sentences for the client.
func parseLogQuery(rawQuery string, now time.Time, extra ...string) (*logQuery, error) {
	params, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query string cannot be read: %w", err)
	}
	q := &logQuery{after: math.MinInt64, before: math.MaxInt64, limit: defaultLimit, buckets: defaultBuckets}
	q.since, q.until, q.anyLevel = entry.MinTime, math.MaxInt64, true
	conditions := 0
	for name, values := range params {
		if conditions += len(values); conditions > maxConditions {
			return nil, fmt.Errorf("there are more than %d parameters", maxConditions)
		}
		if field, ok := strings.CutPrefix(name, "details."); ok && field != "" {
			if len(field) > maxFieldName {
				return nil, fmt.Errorf("the name of a field in details is longer than %d bytes", maxFieldName)
			}
			q.fields = append(q.fields, fieldFilter{field, values})
			continue
		}
		if name == "level" {
			q.wantLevels(values)
			continue
		}
		known := name == "q" || name == "since" || name == "until" || slices.Contains(extra, name)
		if !known {
			takes := strings.Join(append([]string{filterParameters}, extra...), ", ")
			return nil, fmt.Errorf("the parameter %q is not known here; these are: %s", name, takes)
		}
		if len(values) > 1 {
			return nil, fmt.Errorf("%s is given %d times; once is enough", name, len(values))
		}
		if err := q.set(name, values[0], now); err != nil {
			return nil, err
		}
	}
	if q.since >= q.until && q.since > entry.MinTime && q.until < entry.MaxTime {
		return nil, fmt.Errorf("since is not before until, so no entry can be between them")
	}
	return q, nil
}

func (q *logQuery) set(name, value string, now time.Time) (err error) {
	switch name {
	case "q":
		if len(value) > maxText {
			return fmt.Errorf("q is longer than %d bytes", maxText)
		}
		if value != "" {
			q.text = newFoldedText(value)
		}
	case "since":
		q.timed = true
		q.since, err = parseTimeParameter(name, value, now)
	case "until":
		q.timed = true
		q.until, err = parseTimeParameter(name, value, now)
	case "after":
		q.after, err = parseIDParameter(name, value)
	case "before":
		q.before, err = parseIDParameter(name, value)
	case "limit":
		q.limit, err = parseCountParameter(name, value, maxLimit)
	case "buckets":
		q.buckets, err = parseCountParameter(name, value, maxBuckets)
	}
	return err
}

// wantLevels adds levels to those wanted. The name of a rank stands for all the
// spellings of that rank: error takes err and error+4 along, and unknown takes
// what nobody can rank. Any other name is one spelling, such as critical.
func (f *logFilter) wantLevels(names []string) {
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

func parseIDParameter(name, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is the id of an entry, a whole number, not %q", name, value)
	}
	return n, nil
}

func parseCountParameter(name, value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s is a whole number from 1 to %d, not %q", name, most, value)
	}
	return n, nil
}

// parseTimeParameter reads an RFC 3339 time or a duration back from now.
func parseTimeParameter(name, value string, now time.Time) (int64, error) {
	if ns, ok := entry.ParseStoredTime(value); ok {
		return ns, nil
	}
	// A + that was not escaped arrives as a space.
	if ns, ok := entry.ParseStoredTime(strings.Replace(value, " ", "+", 1)); ok {
		return ns, nil
	}
	back, err := time.ParseDuration(value)
	if days, ok := strings.CutSuffix(value, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		if !(n <= 100_000) {
			err = strconv.ErrRange
		}
		back = time.Duration(n * float64(24*time.Hour))
	}
	if err != nil || back < 0 {
		return 0, fmt.Errorf("%s is a time such as %s or a duration back from now such as 15m, 24h or 7d, not %q",
			name, now.UTC().Format("2006-01-02T15:04:05Z"), value)
	}
	return now.Add(-back).UnixNano(), nil
}

// everything reports whether all entries are meant.
func (f *logFilter) everything() bool {
	return f.anyLevel && f.text == nil && !f.timed && f.fields == nil
}

// matches reports whether an entry is meant, but for its time. Scratch is
// memory to work in.
func (f *logFilter) matches(level, message, details string, scratch *[]byte) bool {
	if !f.anyLevel && !f.matchesLevel(level) {
		return false
	}
	for i := range f.fields {
		if !f.fields[i].matches(details, scratch) {
			return false
		}
	}
	return f.text == nil || f.text.in(message) || f.text.inJSON(details, scratch)
}

func (f *logFilter) matchesLevel(level string) bool {
	if f.ranks&(1<<entry.LevelByName([]byte(level))) != 0 {
		return true
	}
	for _, name := range f.names {
		if strings.EqualFold(name, level) {
			return true
		}
	}
	return false
}

// matches reports whether the JSON object details has the field. A string is
// compared by what it says, any other value by its JSON text; a byte that is no
// UTF-8, which only other programs store, is U+FFFD as in the answers.
func (f *fieldFilter) matches(details string, scratch *[]byte) bool {
	if strings.IndexByte(details, '\\') < 0 {
		// Without an escape, a value can only be there as it is.
		possible := false
		for _, value := range f.values {
			possible = possible || strings.Contains(details, value) || strings.ContainsRune(value, utf8.RuneError)
		}
		if !possible {
			return false
		}
	}
	if !utf8.ValidString(details) {
		details = string(entry.AppendRepaired(nil, []byte(details)))
	}
	return hasField(details, f.name, f.values, scratch)
}

// hasField looks for the key name in a JSON object, and where a key is followed
// by a dot in name, for the rest of name in that key's object: a.b is the key
// "a.b" as well as the key "b" in the object "a". It stops where the text is
// not JSON.
func hasField(object, name string, values []string, scratch *[]byte) bool {
	s, ok := strings.CutPrefix(trimJSONSpace(object), "{")
	for ok {
		var key, value string
		if key, s, ok = cutJSONValue(s); !ok || key[0] != '"' {
			return false
		}
		if s, ok = strings.CutPrefix(trimJSONSpace(s), ":"); !ok {
			return false
		}
		if value, s, ok = cutJSONValue(s); !ok {
			return false
		}
		key = jsonText(key, scratch)
		if key == name {
			text := jsonText(value, scratch)
			for _, want := range values {
				if text == want {
					return true
				}
			}
		} else if rest, nested := strings.CutPrefix(name, key); nested && rest[0] == '.' && value[0] == '{' {
			if hasField(value, rest[1:], values, scratch) {
				return true
			}
		}
		s, ok = strings.CutPrefix(trimJSONSpace(s), ",")
	}
	return false
}

func trimJSONSpace(s string) string {
	return strings.TrimLeft(s, " \t\r\n")
}

// cutJSONValue cuts the value off that s begins with, and reports whether there
// was one. It finds where the value ends, and leaves open whether it is valid.
func cutJSONValue(s string) (value, rest string, ok bool) {
	s = trimJSONSpace(s)
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if i >= len(s) {
				return "", "", false
			}
			if depth == 0 {
				return s[:i+1], s[i+1:], true
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:], true
			}
		}
		if depth <= 0 && (i+1 == len(s) || strings.IndexByte(",:}] \t\r\n", s[i+1]) >= 0) {
			return s[:i+1], s[i+1:], depth == 0
		}
	}
	return "", "", false
}

// jsonText returns what a JSON string says, and of any other value the text.
func jsonText(value string, scratch *[]byte) string {
	if value[0] != '"' {
		return value
	}
	value = value[1 : len(value)-1]
	if strings.IndexByte(value, '\\') < 0 {
		return value
	}
	*scratch = entry.AppendUnescaped((*scratch)[:0], value)
	return string(*scratch)
}

// A foldedText is a text to be found without case, by Unicode's simple folding:
// Ä is ä, and K is k is the Kelvin sign, but ß is not ss.
type foldedText struct {
	runes   []rune
	borders []int // of each beginning of runes: the length of its longest other beginning that it ends with
	// To find the text, one of its runes is looked for: that many bytes from
	// the text's begin, by the bytes that its spellings begin with.
	offset int
	leads  []byte // nil: any byte
}

// commonRunes are what log messages and JSON are made of, roughly the most
// frequent first, folded as by foldRune.
const commonRunes = "E\"TI1RA0NOS2:,_LD3C4U5 6M7P8H9G-.BFVYWKX/{}JQZ"

func newFoldedText(text string) *foldedText {
	t := &foldedText{}
	anchor, best, fixed := rune(0), -1, true
	for i, r := range text {
		r = foldRune(r)
		t.runes = append(t.runes, r)
		if !fixed {
			continue
		}
		rank := strings.IndexRune(commonRunes, r)
		if rank < 0 {
			rank = len(commonRunes)
		}
		if rank > best {
			anchor, best, t.offset = r, rank, i
		}
		// What comes after a rune whose spellings differ in length has no
		// offset. K and S are spelled as the Kelvin sign and the long s too.
		fixed = r < utf8.RuneSelf && r != 'K' && r != 'S'
	}
	t.findBorders()
	if anchor == utf8.RuneError {
		return t // every invalid byte reads as this one
	}
	for r := anchor; ; {
		if lead := string(r)[0]; !slices.Contains(t.leads, lead) {
			t.leads = append(t.leads, lead)
		}
		if r = unicode.SimpleFold(r); r == anchor {
			return t
		}
	}
}

// findBorders prepares inOnePass.
func (t *foldedText) findBorders() {
	t.borders = make([]int, len(t.runes))
	n := 0
	for i, r := range t.runes[1:] {
		for n > 0 && r != t.runes[n] {
			n = t.borders[n-1]
		}
		if r == t.runes[n] {
			n++
		}
		t.borders[i+1] = n
	}
}

// foldRune returns the least rune of those that are r but for case.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

// in reports whether s contains the text.
func (t *foldedText) in(s string) bool {
	if t.leads == nil {
		return t.inOnePass(s)
	}
	compared := 0 // runes at places where the text was not
	for _, lead := range t.leads {
		for from := t.offset; from < len(s); from++ {
			i := strings.IndexByte(s[from:], lead)
			if i < 0 {
				break
			}
			from += i
			n := t.beginsAt(s[from-t.offset:])
			if n == len(t.runes) {
				return true
			}
			if compared += n; compared > len(s) {
				return t.inOnePass(s) // or each of many places could cost the length of the text
			}
		}
	}
	return false
}

// inOnePass is in for any text, by Knuth's, Morris's and Pratt's algorithm. It is
// slower where the text seldom begins.
func (t *foldedText) inOnePass(s string) bool {
	n := 0 // runes of the text that the runes up to here end with
	for _, r := range s {
		r = foldRune(r)
		for n > 0 && r != t.runes[n] {
			n = t.borders[n-1]
		}
		if r == t.runes[n] {
			n++
		}
		if n == len(t.runes) {
			return true
		}
	}
	return false
}

// beginsAt returns with how many runes of the text s begins.
func (t *foldedText) beginsAt(s string) int {
	for i, want := range t.runes {
		if s == "" {
			return i
		}
		r, size := rune(s[0]), 1
		if r < utf8.RuneSelf {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
		} else {
			r, size = utf8.DecodeRuneInString(s)
			r = foldRune(r)
		}
		if r != want {
			return i
		}
		s = s[size:]
	}
	return len(t.runes)
}

// inJSON reports whether JSON contains the text, as it is written or with the
// escapes undone: many loggers write ü as \u00fc, and C:\ is always C:\\.
func (t *foldedText) inJSON(s string, scratch *[]byte) bool {
	if t.in(s) {
		return true
	}
	if strings.IndexByte(s, '\\') < 0 {
		return false
	}
	*scratch = entry.AppendUnescaped((*scratch)[:0], s)
	return t.in(string(*scratch))
}
