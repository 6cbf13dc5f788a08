package main

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A level is the rank of a log level; a higher one is graver.
type level uint8

// levelUnknown stands for a level that is missing or that nobody knows. It
// ranks above all others, since what cannot be classified is never dropped.
const (
	levelTrace level = iota + 1
	levelDebug
	levelInfo
	levelWarn
	levelError
	levelFatal
	levelUnknown
)

// String returns the level's name as the -level flag takes it.
func (l level) String() string {
	switch l {
	case levelTrace:
		return "trace"
	case levelDebug:
		return "debug"
	case levelInfo:
		return "info"
	case levelWarn:
		return "warn"
	case levelError:
		return "error"
	case levelFatal:
		return "fatal"
	}
	return "unknown"
}

// maxLevelName is the length of the longest name that levelByName knows.
const maxLevelName = len("informational")

// levelByName ranks a level's name, compared without case: the names of the
// common loggers, syslog's, and slog's with an offset, such as ERROR+4. A name
// that two loggers rank differently (verbose) has the higher rank, so that
// neither loses what it asked to keep.
func levelByName(name []byte) level {
	if i := bytes.IndexAny(name, "+-"); i > 0 && isDigits(name[i+1:]) {
		if l := levelByName(name[:i]); l != levelDebug || name[i] == '+' {
			return l
		}
		return levelTrace // slog writes what is below debug as DEBUG-4
	}
	if len(name) > maxLevelName {
		return levelUnknown
	}
	var lower [maxLevelName]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "trace", "trce", "trc", "silly", "finest", "finer":
		return levelTrace
	case "debug", "dbug", "dbg", "fine", "config", "verbose", "vrb", "http":
		return levelDebug
	case "info", "inf", "information", "informational", "notice", "note", "success":
		return levelInfo
	case "warn", "warning", "wrn":
		return levelWarn
	case "error", "err", "eror", "fail", "severe":
		return levelError
	case "fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic":
		return levelFatal
	}
	return levelUnknown
}

func isDigits(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) > 0
}

// levelByNumber ranks a level of pino's and bunyan's scale: 10 is trace, 20
// debug, 30 info, 40 warn, 50 error, 60 fatal, and a number between two ranks
// is the lower one.
func levelByNumber(n float64) level {
	if n < 10 || n >= 70 {
		return levelUnknown
	}
	return level(n / 10)
}

// levelOf ranks the value of a level key, given as valid JSON.
func levelOf(value []byte) level {
	switch c := value[0]; {
	case c == '"':
		name := value[1 : len(value)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = appendUnquoted(nil, value)
		}
		return levelByName(name)
	case c == '-' || '0' <= c && c <= '9':
		// Out of range is ±Inf, and no level.
		n, _ := strconv.ParseFloat(string(value), 64)
		return levelByNumber(n)
	}
	return levelUnknown
}

// appendUnquoted appends what the valid JSON string s, quotes included, stands
// for. A lone surrogate becomes U+FFFD, as in encoding/json.
func appendUnquoted(dst, s []byte) []byte {
	s = s[1 : len(s)-1]
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					low = hex4(s[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
}

// hex4 reads the four hexadecimal digits that s begins with.
func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c&^0x20 - 'A' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
