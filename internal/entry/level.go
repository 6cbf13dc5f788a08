package entry

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// A Level is the rank of a log level. A more severe level has a higher rank.
type Level uint8

// LevelUnknown is the rank of a missing or unknown level. It is above all other
// ranks, because the service never drops what it cannot classify.
const (
	LevelTrace Level = iota + 1
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelFatal
	LevelUnknown
)

// levelNames lists the names of each level, in lower case. The first is the one
// that String returns. The list covers common loggers and syslog. If two loggers
// rank a name differently (verbose), it is listed at the higher rank, so that
// entries of neither are dropped by mistake. Names consist of ASCII letters only.
var levelNames = [LevelUnknown][]string{
	LevelTrace: {"trace", "trce", "trc", "silly", "finest", "finer"},
	LevelDebug: {"debug", "dbug", "dbg", "fine", "config", "verbose", "vrb", "http"},
	LevelInfo:  {"info", "inf", "information", "informational", "notice", "note", "success", "log"},
	LevelWarn:  {"warn", "warning", "wrn"},
	LevelError: {"error", "err", "eror", "fail", "severe"},
	LevelFatal: {"fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic"},
}

// LevelNames returns the names of l in lower case, starting with l.String(). It
// returns none for LevelUnknown.
func LevelNames(l Level) []string {
	if l >= LevelUnknown {
		return nil
	}
	return slices.Clone(levelNames[l])
}

// String returns the level's name as the -level flag takes it.
func (l Level) String() string {
	if l < LevelTrace || l >= LevelUnknown {
		return "unknown"
	}
	return levelNames[l][0]
}

// LevelByName returns the rank of a level name. Case does not matter, and the
// name may have an offset as in slog, such as ERROR+4.
func LevelByName(name []byte) Level {
	base, sign := cutOffset(name)
	l := levelByBaseName(base)
	if l == LevelDebug && sign == '-' {
		return LevelTrace // slog writes levels below debug as DEBUG-4
	}
	return l
}

// cutOffset returns name without its offset, and the sign of the offset. It
// returns name and 0 if there is no offset.
func cutOffset(name []byte) (base []byte, sign byte) {
	i := len(name)
	for i > 0 && isDigit(name[i-1]) {
		i--
	}
	if i == 0 || i == len(name) || name[i-1] != '+' && name[i-1] != '-' {
		return name, 0
	}
	return name[:i-1], name[i-1]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// levelByBaseName returns the rank of a name without an offset.
func levelByBaseName(name []byte) Level {
	if len(name) < 8 {
		var w uint64
		for i, c := range name {
			w |= uint64(c|0x20) << (8 * i)
		}
		if l := levelByLowerWord(w); l != 0 {
			return l
		}
		return LevelUnknown
	}
	for _, long := range longLevelNames {
		// A non-ASCII string that folds to an ASCII name is longer than the
		// name, so the check of the length excludes it.
		if len(name) == len(long.name) && strings.EqualFold(string(name), long.name) {
			return long.level
		}
	}
	return LevelUnknown
}

// LevelByWord returns the rank of the level name at the start of w, eight bytes
// of a JSON string in little-endian order. A quote must end the name. It
// returns 0 if it does not find a name. LevelByName then decides, because w may
// be too short for the name, or the name may have an offset or an escape.
func LevelByWord(w uint64) Level {
	const (
		lowBits  = 0x0101010101010101
		highBits = 0x8080808080808080
	)
	quotes := w ^ '"'*lowBits                        // a quote becomes 0
	quotes = (quotes - lowBits) &^ quotes & highBits // the lowest bit is exact
	name := (w | 0x20*lowBits) & ((quotes&-quotes)>>7 - 1)
	return levelByLowerWord(name)
}

// levelByLowerWord returns the rank of the name in w, in lower case and padded
// with zeros. It returns 0 for other words. A word of eight letters is never
// found.
func levelByLowerWord(w uint64) Level {
	if slot := &levelWords[levelWordSlot(w)]; slot.word == w {
		return slot.level
	}
	return 0
}

// levelWordSlot is a hash function without collisions between level names. If a
// new name collides, TestLevelNamesTable fails. Then try random multipliers until
// one has no collisions.
func levelWordSlot(w uint64) uint64 { return w * 0x69dccfc2137cbcc9 >> (64 - levelWordBits) }

const levelWordBits = 6

// A levelWord is a level name of at most seven letters as a little-endian word.
type levelWord struct {
	word  uint64
	level Level
}

// A longLevelName is a level name that does not fit into a levelWord.
type longLevelName struct {
	name  string
	level Level
}

var levelWords, longLevelNames = indexLevelNames()

// indexLevelNames returns levelNames as a hash table of its short names and a
// list of the others.
func indexLevelNames() (words [1 << levelWordBits]levelWord, long []longLevelName) {
	for i, names := range levelNames {
		for _, name := range names {
			if len(name) >= 8 {
				long = append(long, longLevelName{name, Level(i)})
				continue
			}
			var b [8]byte
			copy(b[:], name)
			w := binary.LittleEndian.Uint64(b[:])
			words[levelWordSlot(w)] = levelWord{w, Level(i)}
		}
	}
	return words, long
}

// levelByNumber returns the rank of a number on the scale of pino and bunyan:
// 10 is trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal. A number between
// two levels has the lower rank.
func levelByNumber(n float64) Level {
	if n < 10 || n >= 70 {
		return LevelUnknown
	}
	return Level(n / 10)
}

// maxCopied is the largest value, in bytes, that is read as a time, or as a level
// that is a number or has escapes. Reading those copies the value.
const maxCopied = 4 << 10

// LevelOf returns the rank of the value of a level key. value is valid JSON
// without white space around it.
func LevelOf(value []byte) Level {
	switch c := value[0]; {
	case c == '"':
		name := value[1 : len(value)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			if len(value) > maxCopied {
				return LevelUnknown
			}
			name = AppendUnquoted(nil, value)
		}
		return LevelByName(name)
	case c == '-' || isDigit(c):
		if len(value) > maxCopied {
			return LevelUnknown
		}
		// A number out of range is ±Inf, which is no level.
		n, _ := strconv.ParseFloat(string(value), 64)
		return levelByNumber(n)
	}
	return LevelUnknown
}

// LevelBySeverity returns the rank of a severity number of OpenTelemetry: 1 to 4
// is trace, and so on up to 21 to 24 for fatal. Any other number is unknown.
// https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
func LevelBySeverity(n int64) Level {
	if n < 1 || n > 24 {
		return LevelUnknown
	}
	return Level((n + 3) / 4)
}

// LevelBySyslog returns the rank of a severity of syslog: 0 to 2 is fatal, 3 error, 4
// warn, 5 and 6 info, 7 debug. Any other number is unknown.
// https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1
func LevelBySyslog(n int64) Level {
	if n < 0 || n > 7 {
		return LevelUnknown
	}
	return [...]Level{
		LevelFatal, LevelFatal, LevelFatal, LevelError, LevelWarn, LevelInfo, LevelInfo, LevelDebug,
	}[n]
}
