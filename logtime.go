package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// parseTime reads the JSON value of a time key: an RFC 3339 time, its usual
// relatives (a space for the T, a comma before the fraction, an offset without
// its colon, no offset for UTC, a date alone), or an epoch number.
// ok is false where it cannot be read or lies outside the years 0 to 9999.
func parseTime(value []byte) (t time.Time, ok bool) {
	switch c := value[0]; {
	case c == '"':
		s := value[1 : len(value)-1]
		if bytes.IndexByte(s, '\\') >= 0 {
			s = appendUnquoted(nil, value)
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

// appendTime appends t, in UTC and of a year from 0 to 9999, as RFC 3339 with
// always nine fractional digits, so that the order of texts is that of times.
func appendTime(dst []byte, t time.Time) []byte {
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
