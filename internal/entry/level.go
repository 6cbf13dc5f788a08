package entry

import (
	"bytes"
	"strconv"
)

// A level is the rank of a log level; a higher one is graver.
type Level uint8

// LevelUnknown stands for a level that is missing or that nobody knows. It
// ranks above all others, since what cannot be classified is never dropped.
const (
	LevelTrace Level = iota + 1
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelFatal
	LevelUnknown
)

// String returns the level's name as the -level flag takes it.
func (l Level) String() string {
	switch l {
	case LevelTrace:
		return "trace"
	case LevelDebug:
		return "debug"
	case LevelInfo:
		return "info"
	case LevelWarn:
		return "warn"
	case LevelError:
		return "error"
	case LevelFatal:
		return "fatal"
	}
	return "unknown"
}

// maxLevelName is the length of the longest name that LevelByName knows.
const maxLevelName = len("informational")

// LevelByName ranks a level's name, compared without case: the names of the
// common loggers, syslog's, and slog's with an offset, such as ERROR+4. A name
// that two loggers rank differently (verbose) has the higher rank, so that
// neither loses what it asked to keep.
func LevelByName(name []byte) Level {
	if i := bytes.IndexAny(name, "+-"); i > 0 && isDigits(name[i+1:]) {
		if l := LevelByName(name[:i]); l != LevelDebug || name[i] == '+' {
			return l
		}
		return LevelTrace // slog writes what is below debug as DEBUG-4
	}
	if len(name) > maxLevelName {
		return LevelUnknown
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
		return LevelTrace
	case "debug", "dbug", "dbg", "fine", "config", "verbose", "vrb", "http":
		return LevelDebug
	case "info", "inf", "information", "informational", "notice", "note", "success":
		return LevelInfo
	case "warn", "warning", "wrn":
		return LevelWarn
	case "error", "err", "eror", "fail", "severe":
		return LevelError
	case "fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic":
		return LevelFatal
	}
	return LevelUnknown
}

func isDigits(s []byte) bool {
	for _, c := range s {
		if !isDigit(c) {
			return false
		}
	}
	return len(s) > 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// levelByNumber ranks a level of pino's and bunyan's scale: 10 is trace, 20
// debug, 30 info, 40 warn, 50 error, 60 fatal, and a number between two ranks
// is the lower one.
func levelByNumber(n float64) Level {
	if n < 10 || n >= 70 {
		return LevelUnknown
	}
	return Level(n / 10)
}

// LevelOf ranks the value of a level key, given as valid JSON.
func LevelOf(value []byte) Level {
	switch c := value[0]; {
	case c == '"':
		name := value[1 : len(value)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = AppendUnquoted(nil, value)
		}
		return LevelByName(name)
	case c == '-' || '0' <= c && c <= '9':
		// Out of range is ±Inf, and no level.
		n, _ := strconv.ParseFloat(string(value), 64)
		return levelByNumber(n)
	}
	return LevelUnknown
}
