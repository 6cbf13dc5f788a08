package logread

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"log-ingester/internal/entry"
)

const (
	defaultLimit   = 100
	maxLimit       = 10_000
	defaultBuckets = 100
	maxBuckets     = 500
	defaultTop     = 5
	maxTop         = 100
	maxParameters  = 64   // a fieldWalk can evaluate this many fields
	maxLevels      = 64   // of level or not.level; each is compared separately
	maxText        = 2000 // bytes of q; the page accepts 500 characters
	maxWords       = 32   // each is searched separately
	maxFieldName   = 500  // bytes; each dot can nest a fieldWalk one level deeper
)

// A query holds the parameters of a request.
type query struct {
	filter
	after, before int64 // entry ids, both exclusive
	around        int64 // an entry id, if hasAround
	hasAround     bool
	order         order
	limit         int
	buckets       int
	top           int   // values of a field
	from, to      int64 // time range of spark, in Unix nanoseconds
}

// filterParameters lists the parameters that all routes accept.
const filterParameters = "level, not.level, q, words, kind, since, until, details.NAME, not.details.NAME"

// parseQuery parses a query string. It accepts the filter parameters and those
// in extra. Its errors are for the client.
func parseQuery(rawQuery string, now time.Time, extra ...string) (*query, error) {
	parameters, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("invalid query string: %w", err)
	}
	q := &query{
		filter:  filter{anyLevel: true, since: entry.MinTime, until: math.MaxInt64},
		after:   math.MinInt64,
		before:  math.MaxInt64,
		order:   newestFirst,
		limit:   defaultLimit,
		buckets: defaultBuckets,
		top:     defaultTop,
	}
	n := 0
	for name, values := range parameters {
		if n += len(values); n > maxParameters {
			return nil, fmt.Errorf("more than %d parameters", maxParameters)
		}
		if err := q.setAll(name, values, now, extra); err != nil {
			return nil, err
		}
	}
	if q.hasAround && (parameters.Has("before") || parameters.Has("after") || parameters.Has("order")) {
		return nil, errors.New("around cannot be combined with before, after or order")
	}
	if q.since >= q.until && q.since > entry.MinTime && q.until < entry.MaxTime {
		return nil, errors.New("since must be before until")
	}
	return q, nil
}

// setAll sets a parameter from all its values in the query string.
func (q *query) setAll(name string, values []string, now time.Time, extra []string) error {
	if field, ok := strings.CutPrefix(name, "details."); ok && field != "" {
		return addField(&q.fields, field, values)
	}
	if field, ok := strings.CutPrefix(name, "not.details."); ok && field != "" {
		return addField(&q.notFields, field, values)
	}
	switch {
	case name == "level":
		q.anyLevel = false
		return addLevels(&q.levels, name, values)
	case name == "not.level":
		return addLevels(&q.notLevels, name, values)
	case !slices.Contains(singleParameters, name) && !slices.Contains(extra, name):
		valid := strings.Join(append([]string{filterParameters}, extra...), ", ")
		return fmt.Errorf("unknown parameter %q; valid parameters: %s", name, valid)
	}
	if len(values) > 1 {
		return fmt.Errorf("%s is given %d times, but must be given once", name, len(values))
	}
	return q.set(name, values[0], now)
}

// singleParameters are the parameters of all routes that are given at most once.
var singleParameters = []string{"q", "words", "kind", "since", "until"}

// addLevels adds the comma-separated levels in the values of the parameter name.
func addLevels(levels *levelSet, name string, values []string) error {
	names := strings.Split(strings.Join(values, ","), ",")
	if len(names) > maxLevels {
		return fmt.Errorf("%s has more than %d levels", name, maxLevels)
	}
	levels.add(names)
	return nil
}

// addField adds a condition on a field to fields.
func addField(fields *[]fieldFilter, name string, values []string) error {
	if len(name) > maxFieldName {
		return fmt.Errorf("a details field name is longer than %d bytes", maxFieldName)
	}
	*fields = append(*fields, fieldFilter{name: name, values: values})
	return nil
}

// set sets a parameter that has one value.
func (q *query) set(name, value string, now time.Time) (err error) {
	switch name {
	case "q":
		if len(value) > maxText {
			return fmt.Errorf("q is longer than %d bytes", maxText)
		}
		if value != "" {
			q.texts = append(q.texts, newFoldedText(value))
		}
	case "kind":
		if len(value) > maxText {
			return fmt.Errorf("kind is longer than %d bytes", maxText)
		}
		q.hasKind, q.kind = true, value
	case "words":
		err = q.addWords(value)
	case "since":
		q.hasTimeRange = true
		q.since, err = parseTime(name, value, now)
	case "until":
		q.hasTimeRange = true
		q.until, err = parseTime(name, value, now)
	case "after":
		q.after, err = parseID(name, value)
	case "before":
		q.before, err = parseID(name, value)
	case "around":
		q.hasAround = true
		q.around, err = parseID(name, value)
	case "order":
		q.order, err = parseOrder(value)
	case "limit":
		q.limit, err = parseCount(name, value, maxLimit)
	case "top":
		q.top, err = parseCount(name, value, maxTop)
	case "from":
		q.from, err = parseTime(name, value, now)
	case "to":
		q.to, err = parseTime(name, value, now)
	case "buckets":
		q.buckets, err = parseCount(name, value, maxBuckets)
	}
	return err
}

// addWords adds the words that an entry must contain, and those after a hyphen, which
// it must not contain. White space separates words, and is a part of a word in quotes.
func (q *query) addWords(value string) error {
	if len(value) > maxText {
		return fmt.Errorf("words is longer than %d bytes", maxText)
	}
	n := 0
	for rest := strings.TrimSpace(value); rest != ""; rest = strings.TrimSpace(rest) {
		if n++; n > maxWords {
			return fmt.Errorf("words has more than %d words", maxWords)
		}
		texts := &q.texts
		if excluded, ok := strings.CutPrefix(rest, "-"); ok {
			texts, rest = &q.notTexts, excluded
		}
		var word string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			if word, rest, ok = strings.Cut(quoted, `"`); !ok {
				return errors.New(`words has a quote " without an end`)
			}
		} else {
			end := strings.IndexFunc(rest, unicode.IsSpace)
			if end < 0 {
				end = len(rest)
			}
			word, rest = rest[:end], rest[end:]
		}
		if word == "" {
			return errors.New(`words has an empty word; search for - or " with q`)
		}
		*texts = append(*texts, newFoldedText(word))
	}
	return nil
}

func parseID(name, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s must be the id of an entry, a non-negative integer, not %q", name, value)
	}
	return n, nil
}

// An order is the order in which entries are found and fetched.
type order string

const (
	newestFirst order = "DESC"
	oldestFirst order = "ASC"
)

// start returns the id before all others in the order.
func (o order) start() int64 {
	if o == oldestFirst {
		return math.MinInt64
	}
	return math.MaxInt64
}

func parseOrder(value string) (order, error) {
	switch value {
	case "asc":
		return oldestFirst, nil
	case "desc":
		return newestFirst, nil
	default:
		return "", fmt.Errorf("order must be asc or desc, not %q", value)
	}
}

func parseCount(name, value string, limit int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > limit {
		return 0, fmt.Errorf("%s must be an integer from 1 to %d, not %q", name, limit, value)
	}
	return n, nil
}

// parseTime parses an RFC 3339 time or a duration before now, and returns Unix
// nanoseconds.
func parseTime(name, value string, now time.Time) (int64, error) {
	if ns, ok := entry.ParseStoredTime(value); ok {
		return ns, nil
	}
	// An unescaped + arrives as a space.
	if ns, ok := entry.ParseStoredTime(strings.Replace(value, " ", "+", 1)); ok {
		return ns, nil
	}
	age, err := entry.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("%s must be a time such as %s or a duration before now such as 15m, 24h or 7d, not %q",
			name, now.UTC().Format("2006-01-02T15:04:05Z"), value)
	}
	return now.Add(-age).UnixNano(), nil
}
