package logread

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPattern    = 200  // bytes of a pattern
	maxMasked     = 1000 // bytes of a message that are read for its pattern
	minHexDigits  = 8    // of a word that is masked as hexadecimal
	uuidLength    = 36
	maskCharacter = '#'

	// maxAddress is the limit of an IP address with its port, and of the name in an
	// e-mail address, in bytes. Without it, the time for a message could grow with the
	// square of its length.
	maxAddress = 64
)

// appendPattern appends the pattern of a message: its start, in which each variable
// part is replaced by #. Variable parts are quoted strings, UUIDs, hexadecimal words,
// addresses (IP, e-mail) and runs of digits. The pattern has at most maxPattern
// bytes.
func appendPattern(dst []byte, message string) []byte {
	isCut := len(message) > maxMasked
	if isCut {
		message = message[:runeCut(message, maxMasked)]
	}
	hasAt := strings.IndexByte(message, '@') >= 0
	start := len(dst)
	atWord := true // whether a word can start at i
	for i := 0; i < len(message) && len(dst)-start < maxPattern; {
		c := message[i]
		n := 0 // length of the variable part at i
		switch class := classes[c]; {
		case class&quoteByte != 0:
			n = quotedLength(message[i:], atWord, isCut)
		case atWord && (class&hexByte != 0 || c == ':'):
			n = variableLength(message[i:])
		}
		if n == 0 && atWord && hasAt {
			n = emailLength(message[i:])
		}
		if n == 0 && isDigit(c) {
			n = prefixLength(message[i:], digitByte)
		}
		if n > 0 {
			dst = append(dst, maskCharacter)
			i += n
			atWord = false
			continue
		}
		// No variable part can start within the letters of a word.
		n = max(1, prefixLength(message[i:], letterByte))
		dst = append(dst, message[i:i+n]...)
		atWord = !isWord(c)
		i += n
	}
	return dst[:start+runeCut(dst[start:], maxPattern)]
}

// Classes of bytes. All bytes outside ASCII are letters.
const (
	digitByte = 1 << iota
	hexByte
	letterByte // including the underscore
	quoteByte
	emailByte
	wordByte = digitByte | letterByte
)

var classes = func() (classes [256]uint8) {
	for c := range classes {
		switch c := byte(c); {
		case '0' <= c && c <= '9':
			classes[c] = digitByte | hexByte | emailByte
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			classes[c] = hexByte | letterByte | emailByte
		case 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c >= utf8.RuneSelf:
			classes[c] = letterByte | emailByte
		case c == '"' || c == '\'' || c == '`':
			classes[c] = quoteByte
		case c == '.' || c == '-' || c == '+':
			classes[c] = emailByte
		}
	}
	return classes
}()

func isWord(c byte) bool  { return classes[c]&wordByte != 0 }
func isDigit(c byte) bool { return classes[c]&digitByte != 0 }
func isHex(c byte) bool   { return classes[c]&hexByte != 0 }

// prefixLength returns the length of the longest prefix of s whose bytes are all in
// a class.
func prefixLength(s string, class uint8) int {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return i
		}
	}
	return len(s)
}

// quotedLength returns the length of the quoted string that s starts with, or 0.
// An apostrophe within a word is no quote. A quote without an end is the start of a
// string if the message continues after s.
func quotedLength(s string, atWord, isCut bool) int {
	if !atWord {
		return 0
	}
	end := strings.IndexByte(s[1:], s[0])
	switch {
	case end >= 0:
		return end + 2
	case isCut && s[0] == '"':
		return len(s)
	default:
		return 0
	}
}

// variableLength returns the length of the UUID, hexadecimal word or IP address that s
// starts with, or 0.
func variableLength(s string) int {
	if n := addressLength(s); n > 0 {
		return n
	}
	if isUUID(s) {
		return uuidLength
	}
	word := prefixLength(s, wordByte)
	hex := strings.TrimPrefix(s[:word], "0x")
	digits := prefixLength(hex, hexByte)
	if digits == len(hex) && (digits >= minHexDigits || digits > 0 && len(hex) < word) {
		return word
	}
	return 0
}

// isUUID reports whether s starts with a UUID that is a word.
func isUUID(s string) bool {
	if len(s) < uuidLength || s[8] != '-' || len(s) > uuidLength && isWord(s[uuidLength]) {
		return false
	}
	for i := range uuidLength {
		isHyphen := i == 8 || i == 13 || i == 18 || i == 23
		if isHyphen != (s[i] == '-') || !isHyphen && !isHex(s[i]) {
			return false
		}
	}
	return true
}

// addressLength returns the length of the IP address with or without a port that s
// starts with, or 0.
func addressLength(s string) int {
	n, dots, colons, group := 0, 0, 0, 0
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case n == maxAddress:
			return 0
		case c == '.' && colons == 0:
			dots++
			group = 0
		case c == ':':
			colons++
			group = 0
		case isHex(c) && group < 5:
			group++
		case isWord(c):
			return 0
		default:
			return checkAddress(s[:n], dots, colons)
		}
	}
	return checkAddress(s[:n], dots, colons)
}

// checkAddress returns the length of an address, which has only hexadecimal digits,
// dots and colons, without punctuation at its end. If s is no address, it returns 0.
func checkAddress(s string, dots, colons int) int {
	trimmed := strings.TrimRight(s, ".:")
	dots -= strings.Count(s[len(trimmed):], ".")
	colons -= strings.Count(s[len(trimmed):], ":")
	isIPv4 := dots == 3 && colons <= 1 && !strings.ContainsFunc(trimmed, unicode.IsLetter)
	if isIPv4 || dots == 0 && colons >= 2 {
		return len(trimmed)
	}
	return 0
}

// emailLength returns the length of the e-mail address that s starts with, or 0.
func emailLength(s string) int {
	local := prefixLength(s[:min(len(s), maxAddress+1)], emailByte)
	if local == 0 || local > maxAddress || local+1 >= len(s) || s[local] != '@' || !isWord(s[local+1]) {
		return 0
	}
	host := s[local+1:]
	host = host[:prefixLength(host, emailByte)]
	return local + 1 + len(strings.TrimRight(host, ".+-"))
}
