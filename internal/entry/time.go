package entry

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// ParseTime reads the JSON value of a time key: an RFC 3339 time, its usual
// relatives (a space for the T, a comma before the fraction, an offset without
// its colon, no offset for UTC, a date alone), or an epoch number.
// ok is false where it cannot be read or lies outside the years 0 to 9999.
func ParseTime(value []byte) (t time.Time, ok bool) {
	switch c := value[0]; {
	case c == '"':
		s := value[1 : len(value)-1]
		if bytes.IndexByte(s, '\\') >= 0 {
			s = AppendUnquoted(nil, value)
		}
		// time.Parse keeps its argument only in the error, which goes no further.
		t, ok = parseTimeText(unsafe.String(unsafe.SliceData(s), len(s)))
	case c == '-' || '0' <= c && c <= '9':
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
	if len(s) < dateTime {
		t, err := time.Parse(time.DateOnly, s)
		return t, err == nil
	}
	if s[len("2006-01-02T15")] != ':' {
		return time.Time{}, false // time.Parse would take an hour of one digit
	}
	s = withCapitals(s)
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
	if s[10] != 'T' || (zone != "Z07:00" && zone != "-07:00") {
		layout = "2006-01-02" + s[10:11] + "15:04:05" + zone
		if s[10] != 'T' && s[10] != ' ' {
			return time.Time{}, false
		}
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// withCapitals returns a time with a T and a Z where it has a t and a z, as RFC
// 3339 lets it (section 5.6) and time.Parse does not.
func withCapitals(s string) string {
	if len(s) > 10 && s[10] == 't' {
		s = s[:10] + "T" + s[11:]
	}
	if strings.HasSuffix(s, "z") {
		s = s[:len(s)-1] + "Z"
	}
	return s
}

// parseEpoch reads a number of seconds, milliseconds, microseconds or
// nanoseconds since 1970, told apart by its size: each unit serves up to the
// year 5138, and the next one begins in 1973.
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
	digits := 0 // of the fraction, down to the nanosecond
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

// AppendTime appends t, in UTC and of a year from 0 to 9999, as RFC 3339 with
// always nine fractional digits, so that the order of texts is that of times.
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

// storedTimeLayouts are the times that are not written by this service nor by
// its forerunner, but stand in files all the same. A missing zone is UTC.
var storedTimeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04:05 -0700 MST",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02",
}

// The first and the last moment that 64 bits can tell (1677, 2262) stand for all
// before and after. The last one leaves math.MaxInt64 to a query without until.
const (
	MinTime = math.MinInt64
	MaxTime = math.MaxInt64 - 1
)

// ParseStoredTime reads a timestamp of the table logs as Unix nanoseconds, and
// reports whether it is one.
//
// Times are compared as numbers, not as texts: those of the Rust service have
// 0, 3, 6 or 9 fractional digits and end in +00:00.
func ParseStoredTime(s string) (int64, bool) {
	// 2006-01-02T15:04:05, by far the most frequent beginning
	if len(s) >= 20 && s[4] == '-' && s[7] == '-' && s[10] == 'T' && s[13] == ':' && s[16] == ':' {
		year := digits(s[0:4])
		month, day, hour, minute, second := digits(s[5:7]), digits(s[8:10]), digits(s[11:13]), digits(s[14:16]), digits(s[17:19])
		nanos, rest := 0, s[19:]
		if rest[0] == '.' {
			n := 1
			for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
				n++
			}
			if nanos = -1; n > 1 && n <= 10 {
				nanos = digits(rest[1:n])
				for i := n; i < 10; i++ {
					nanos *= 10
				}
			}
			rest = rest[n:]
		}
		// Years that 64 bits can tell and days that every month has; time.Parse
		// looks after the others.
		if (rest == "Z" || rest == "+00:00") && 1678 <= year && year <= 2261 && 1 <= month && month <= 12 &&
			1 <= day && day <= 28 && uint(hour) <= 23 && uint(minute) <= 59 && uint(second) <= 59 && nanos >= 0 {
			return (daysSinceEpoch(year, month, day)*86400+int64(hour*3600+minute*60+second))*1e9 + int64(nanos), true
		}
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

// digits reads a decimal number, and returns a large negative one where there
// is none.
func digits(s string) int {
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return -1 << 40
		}
		n = n*10 + int(c)
	}
	return n
}

// daysSinceEpoch counts the days from 1970-01-01 on in the Gregorian calendar,
// by years that begin in March, so that the leap day comes last.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469)
}
