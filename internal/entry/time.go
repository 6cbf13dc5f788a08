package entry

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// ParseTime parses the JSON value of a time key: an RFC 3339 time, one of its
// common variants (a space in place of the T, a comma before the fraction, slashes
// in the date, an offset without a colon or without minutes, no offset or a name for
// UTC, only a date), a time of an access log (25/Nov/2026:12:00:00 +0000, also in
// brackets), or an epoch number. A number in a string must have 10, 13, 16 or 19 digits
// before its fraction. value is valid JSON without white space around it. The result is in UTC. ok is false if the
// value cannot be parsed, is longer than 4 KiB, or is outside the years 0 to 9999.
func ParseTime(value []byte) (t time.Time, ok bool) {
	switch c := value[0]; {
	case len(value) > maxCopied:
	case c == '"':
		s := value[1 : len(value)-1]
		if bytes.IndexByte(s, '\\') >= 0 {
			s = AppendUnquoted(nil, value)
		}
		// time.Parse keeps its argument only in its error, which is discarded.
		t, ok = parseTimeText(unsafe.String(unsafe.SliceData(s), len(s)))
	case c == '-' || isDigit(c):
		t, ok = parseEpoch(string(value))
	}
	if !ok {
		return time.Time{}, false
	}
	t = t.UTC()
	return t, 0 <= t.Year() && t.Year() <= 9999
}

func parseTimeText(s string) (time.Time, bool) {
	const dateTime = len("2006-01-02T15:04:05")
	if len(s) > 4 && isDigit(s[4]) && isEpoch(s) { // s[4] is not a digit in most dates
		return parseEpoch(s)
	}
	if len(s) < dateTime {
		t, err := time.Parse(time.DateOnly, s)
		return t, err == nil
	}
	if s[len("2006-01-02T15")] != ':' {
		return parseAccessTime(s) // time.Parse would accept an hour of one digit
	}
	s = withCapitals(s)
	date := "2006-01-02"
	if s[4] == '/' {
		date = "2006/01/02"
	}
	if last := s[len(s)-1]; last == 'C' || last == 'T' {
		s = withOffset(s)
	}
	zone := ""
	switch i := strings.LastIndexAny(s[dateTime:], "Z+-"); {
	case i < 0:
	case s[dateTime+i] == 'Z':
		zone = "Z07:00"
	case len(s) == dateTime+i+len("+07:00"):
		zone = "-07:00"
	case len(s) == dateTime+i+len("+0700"):
		zone = "-0700"
	default:
		zone = "-07"
	}
	layout := time.RFC3339
	if s[4] == '/' || s[10] != 'T' || (zone != "Z07:00" && zone != "-07:00") {
		layout = date + s[10:11] + "15:04:05" + zone
		if s[10] != 'T' && s[10] != ' ' {
			return time.Time{}, false
		}
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// isEpoch reports whether s is the seconds, milliseconds, microseconds or nanoseconds
// since 1970 of a time between 2001 and 2262, with or without a fraction. Other numbers of digits may be a date.
func isEpoch(s string) bool {
	whole, fraction, hasFraction := strings.Cut(s, ".")
	switch len(whole) {
	case len("1234567890"), len("1234567890123"), len("1234567890123456"), len("1234567890123456789"):
		return isDigits(whole) && isDigits(fraction) && hasFraction == (fraction != "")
	}
	return false
}

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// parseAccessTime parses a time as the access logs of nginx and Apache have it.
func parseAccessTime(s string) (time.Time, bool) {
	if s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	t, err := time.Parse("02/Jan/2006:15:04:05 -0700", s)
	return t, err == nil
}

// withOffset replaces a name of UTC, which PostgreSQL writes after a time, by Z.
func withOffset(s string) string {
	for _, name := range [...]string{" UTC", " GMT"} {
		const dateTime = len("2006-01-02 15:04:05")
		if before, found := strings.CutSuffix(s, name); found && len(before) >= dateTime && before[10] == ' ' {
			return before + "Z"
		}
	}
	return s
}

// withCapitals replaces a lower-case t and z of a time by capitals. RFC 3339
// allows lower case (section 5.6), time.Parse does not.
func withCapitals(s string) string {
	if len(s) > 10 && s[10] == 't' {
		s = s[:10] + "T" + s[11:]
	}
	if strings.HasSuffix(s, "z") {
		s = s[:len(s)-1] + "Z"
	}
	return s
}

// parseEpoch parses a number of seconds, milliseconds, microseconds or
// nanoseconds since 1970. The size of the number determines the unit: each unit
// is used up to the year 5138, and the next smaller one from 1973 on.
func parseEpoch(s string) (time.Time, bool) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return time.Time{}, false
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	digits := 0 // how many digits of the fraction count; further ones are below 1 ns
	unit := int64(1)
	switch {
	case -1e11 < n && n < 1e11:
		digits, unit = 9, 1e9
	case -1e14 < n && n < 1e14:
		digits, unit = 6, 1e6
	case -1e17 < n && n < 1e17:
		digits, unit = 3, 1e3
	}
	var nanos int64
	for i := range digits {
		nanos *= 10
		if i < len(fraction) {
			nanos += int64(fraction[i] - '0')
		}
	}
	if s[0] == '-' {
		nanos = -nanos
	}
	perSecond := 1e9 / unit
	return time.Unix(n/perSecond, n%perSecond*unit+nanos), true
}

// AppendTime appends t in RFC 3339 format, always with nine fractional digits,
// so that the order of texts is the order of times. t must be in UTC and in the
// years 0 to 9999.
func AppendTime(dst []byte, t time.Time) []byte {
	const nanos = len("2006-01-02T15:04:05.000000000")
	start := len(dst)
	dst = t.AppendFormat(dst, time.RFC3339Nano)
	dst = dst[:len(dst)-len("Z")]
	if len(dst)-start == len("2006-01-02T15:04:05") {
		dst = append(dst, '.')
	}
	for len(dst)-start < nanos {
		dst = append(dst, '0')
	}
	return append(dst, 'Z')
}

// MinTime and MaxTime are Unix nanoseconds in the years 1677 and 2262. They
// stand for all earlier and all later times. MaxTime leaves math.MaxInt64 for a
// query without an upper bound.
const (
	MinTime = math.MinInt64
	MaxTime = math.MaxInt64 - 1
)

// storedTimeLayouts are the formats of times in the table that neither this
// service nor the Rust service wrote. A time without a zone is in UTC.
var storedTimeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04:05 -0700 MST",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02",
}

// ParseStoredTime parses a timestamp of the table logs. It returns Unix
// nanoseconds, and reports whether s is a time.
//
// Stored times must be compared as numbers, not as texts: those of the Rust
// service have 0, 3, 6 or 9 fractional digits and end in +00:00.
func ParseStoredTime(s string) (int64, bool) {
	if ns, ok := parseUTC(s); ok {
		return ns, true
	}
	s = withCapitals(s)
	for _, layout := range storedTimeLayouts {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		switch {
		case t.Year() < 1678:
			return MinTime, true
		case t.Year() > 2261:
			return MaxTime, true
		}
		return t.UnixNano(), true
	}
	return 0, false
}

// parseUTC parses most times that this service or the Rust service wrote:
// 2006-01-02T15:04:05, at most nine fractional digits, and Z or +00:00. It leaves
// two kinds of them to time.Parse: days after the 28th, because not every month
// has them, and years that the nanoseconds of an int64 do not cover in full.
func parseUTC(s string) (ns int64, ok bool) {
	const dateTime = len("2006-01-02T15:04:05")
	if len(s) <= dateTime || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	year, month, day := parseDigits(s[0:4]), twoDigits(s[5:7]), twoDigits(s[8:10])
	hour, minute, second := twoDigits(s[11:13]), twoDigits(s[14:16]), twoDigits(s[17:19])
	if year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 28 ||
		uint(hour) > 23 || uint(minute) > 59 || uint(second) > 59 {
		return 0, false
	}
	nanos, zone := 0, s[dateTime:]
	if zone[0] == '.' {
		n := 1
		for n < len(zone) && isDigit(zone[n]) {
			n++
		}
		if n == 1 || n > 10 {
			return 0, false
		}
		nanos = parseDigits(zone[1:n])
		for i := n; i < 10; i++ {
			nanos *= 10
		}
		zone = zone[n:]
	}
	if zone != "Z" && zone != "+00:00" {
		return 0, false
	}
	seconds := daysSinceEpoch(year, month, day)*86400 + int64(hour*3600+minute*60+second)
	return seconds*1e9 + int64(nanos), true
}

// parseDigits returns the value of a decimal number, or a negative number if s
// contains anything else. s has at most nine bytes.
func parseDigits(s string) int {
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return -1
		}
		n = n*10 + int(c)
	}
	return n
}

// twoDigits is parseDigits for two bytes.
func twoDigits(s string) int {
	tens, ones := s[0]-'0', s[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return 10*int(tens) + int(ones)
}

// daysSinceEpoch returns the number of days from 1970-01-01 to a date of the
// Gregorian calendar. It counts in years that start in March, so that the leap
// day is the last.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469)
}

// ParseDuration parses a non-negative duration in Go's syntax or in days, for
// example "90m" or "7d".
func ParseDuration(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(0 <= n && n <= float64(math.MaxInt64/day)) {
			return 0, fmt.Errorf("invalid duration %q", s)
		}
		return time.Duration(n * float64(day)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("invalid duration %q", s)
	}
	return d, nil
}
