package main

import (
	"encoding/binary"

	"log-ingester/internal/entry"
)

// levelKeys are the keys that an entry's level is read from, in order of
// precedence. The last one is different: an entry with @t and no other level
// key is CLEF, whose default level is info.
//
// The fields of LogEntry, levelKeyRank and levelKeyAt repeat the keys because
// the decoder and the scanners need them as constants. Tests compare them.
var levelKeys = [...]string{"level", "severity", "lvl", "log.level", "levelname", "@l", "Level", "@t"}

// The rank of a key is its index in levelKeys. The best key of an entry is the
// one with the lowest rank; it determines the entry's level.
const (
	clefTimeRank = len(levelKeys) - 1
	noLevelRank  = len(levelKeys) // the rank of all other keys
)

// levelKeyRank returns the rank of key, which is without quotes and unescaped.
func levelKeyRank(key []byte) int {
	switch string(key) {
	case "level":
		return 0
	case "severity":
		return 1
	case "lvl":
		return 2
	case "log.level":
		return 3
	case "levelname":
		return 4
	case "@l":
		return 5
	case "Level":
		return 6
	case "@t":
		return clefTimeRank
	}
	return noLevelRank
}

// levelByKey returns the level of a valid entry. rank is the rank of the entry's
// best key, and i is the offset of the byte after that key.
func levelByKey(v *validator, body []byte, rank, i int) entry.Level {
	switch rank {
	case noLevelRank:
		return entry.LevelUnknown
	case clefTimeRank:
		return entry.LevelInfo
	}
	return levelAfterKey(v, body, i)
}

// levelAfterKey returns the level that the value of a level key stands for, in
// a valid entry. i is the offset of the byte after the key.
func levelAfterKey(v *validator, body []byte, i int) entry.Level {
	i = skipSpace(body, i) + 1 // the colon
	if i < len(body) && body[i] <= ' ' {
		i = skipSpace(body, i)
	}
	if len(body)-i < 9 {
		return levelAt(v, body, i)
	}
	w := binary.LittleEndian.Uint64(body[i+1:])
	if body[i] == '"' {
		if l := entry.LevelByWord(w); l != 0 {
			return l
		}
	} else if tens, ones, next := body[i]-'0', byte(w)-'0', byte(w>>8); tens-1 < 6 && ones < 10 &&
		(next == ',' || next == '}') {
		return entry.Level(tens) // a number from 10 to 69
	}
	return levelAt(v, body, i)
}

// levelAt returns the level that the valid value at body[i] stands for.
func levelAt(v *validator, body []byte, i int) entry.Level {
	switch body[i] {
	case '"':
		end, _ := v.skipString(body, i+1)
		return entry.LevelOf(body[i:end])
	case '{', '[':
		return entry.LevelUnknown
	}
	return entry.LevelOf(body[i:v.skipScalar(body, i)])
}
