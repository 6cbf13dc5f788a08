package logread

// maxNesting is the depth up to which encoding/json accepts nested values.
const maxNesting = 10_000

// A jsonValidator checks whether a text is valid JSON, as json.Valid does. It gets
// the text in pieces, so that checking a large text can be interrupted. Its zero
// value is ready for use.
type jsonValidator struct {
	state   jsonState
	literal string // the rest of true, false or null
	hex     int    // how many digits of a \u escape are missing
	isKey   bool   // the string is the key of a member
	depth   int
	objects [maxNesting/64 + 1]uint64 // bit i is set if the value at depth i+1 is an object
}

// A jsonState says what a jsonValidator expects next.
type jsonState uint8

const (
	jsonValue        jsonState = iota // a value
	jsonFirstElement                  // a value or ]
	jsonFirstKey                      // a key or }
	jsonKey                           // a key
	jsonColon                         // the colon after a key
	jsonAfterValue                    // a comma, the end of the object or array, or the end of the text
	jsonString                        // the rest of a string
	jsonEscape                        // the rest of an escape
	jsonHex                           // hexadecimal digits
	jsonLiteral                       // the rest of a literal
	jsonMinus                         // the first digit of a number
	jsonZero                          // a point, an exponent or the end of a number
	jsonInteger                       // the same, or a digit
	jsonPoint                         // the first digit of a fraction
	jsonFraction                      // a digit, an exponent or the end of a number
	jsonExponent                      // a sign or a digit of an exponent
	jsonExponentSign                  // the first digit of an exponent
	jsonExponentEnd                   // a digit or the end of a number
	jsonInvalid
)

// write checks the next piece of the text. It returns false if the text is
// invalid.
func (v *jsonValidator) write(s []byte) bool {
	for i := 0; i < len(s); i++ {
		switch v.state {
		case jsonString:
			for i < len(s) && s[i] >= ' ' && s[i] != '"' && s[i] != '\\' {
				i++
			}
			if i == len(s) {
				return true
			}
			v.inString(s[i])
		case jsonEscape, jsonHex:
			v.inEscape(s[i])
		case jsonLiteral:
			v.inLiteral(s[i])
		case jsonMinus, jsonZero, jsonInteger, jsonPoint, jsonFraction, jsonExponent, jsonExponentSign, jsonExponentEnd:
			v.inNumber(s[i])
		case jsonInvalid:
			return false
		default:
			if !isSpace(s[i]) {
				v.between(s[i])
			}
		}
	}
	return v.state != jsonInvalid
}

// valid reports whether the text is valid if it ends here.
func (v *jsonValidator) valid() bool {
	return v.depth == 0 && (v.state == jsonAfterValue || v.endsNumber())
}

// endsNumber reports whether a number can end before the next byte.
func (v *jsonValidator) endsNumber() bool {
	return v.state == jsonZero || v.state == jsonInteger || v.state == jsonFraction || v.state == jsonExponentEnd
}

// between handles a byte between two tokens, except white space.
func (v *jsonValidator) between(c byte) {
	switch {
	case v.state == jsonAfterValue:
		v.afterValue(c)
	case v.state == jsonColon && c == ':':
		v.state = jsonValue
	case (v.state == jsonKey || v.state == jsonFirstKey) && c == '"':
		v.state, v.isKey = jsonString, true
	case v.state == jsonFirstKey && c == '}' || v.state == jsonFirstElement && c == ']':
		v.close()
	case v.state == jsonValue || v.state == jsonFirstElement:
		v.startValue(c)
	default:
		v.state = jsonInvalid
	}
}

func (v *jsonValidator) startValue(c byte) {
	switch {
	case c == '"':
		v.state, v.isKey = jsonString, false
	case c == '{':
		v.open(true)
	case c == '[':
		v.open(false)
	case c == '-':
		v.state = jsonMinus
	case c == '0':
		v.state = jsonZero
	case '1' <= c && c <= '9':
		v.state = jsonInteger
	case c == 't':
		v.state, v.literal = jsonLiteral, "rue"
	case c == 'f':
		v.state, v.literal = jsonLiteral, "alse"
	case c == 'n':
		v.state, v.literal = jsonLiteral, "ull"
	default:
		v.state = jsonInvalid
	}
}

// open starts an object or an array.
func (v *jsonValidator) open(isObject bool) {
	if v.depth == maxNesting {
		v.state = jsonInvalid
		return
	}
	bit := uint64(1) << (v.depth % 64)
	if isObject {
		v.objects[v.depth/64] |= bit
		v.state = jsonFirstKey
	} else {
		v.objects[v.depth/64] &^= bit
		v.state = jsonFirstElement
	}
	v.depth++
}

// inObject reports whether the innermost open value is an object.
func (v *jsonValidator) inObject() bool {
	return v.depth > 0 && v.objects[(v.depth-1)/64]>>((v.depth-1)%64)&1 != 0
}

// close ends an object or an array.
func (v *jsonValidator) close() {
	v.depth--
	v.state = jsonAfterValue
}

// afterValue handles the byte after a value.
func (v *jsonValidator) afterValue(c byte) {
	switch {
	case v.depth == 0:
		v.state = jsonInvalid
	case c == ',' && v.inObject():
		v.state = jsonKey
	case c == ',':
		v.state = jsonValue
	case c == '}' && v.inObject() || c == ']' && !v.inObject():
		v.close()
	default:
		v.state = jsonInvalid
	}
}

// inString handles a byte in a string: a quote, a backslash or a control
// character.
func (v *jsonValidator) inString(c byte) {
	switch {
	case c == '\\':
		v.state = jsonEscape
	case c != '"':
		v.state = jsonInvalid
	case v.isKey:
		v.state = jsonColon
	default:
		v.state = jsonAfterValue
	}
}

// inEscape handles a byte after a backslash.
func (v *jsonValidator) inEscape(c byte) {
	switch {
	case v.state == jsonHex && isHexDigit(c):
		if v.hex--; v.hex == 0 {
			v.state = jsonString
		}
	case v.state == jsonHex:
		v.state = jsonInvalid
	case c == 'u':
		v.state, v.hex = jsonHex, 4
	case c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' || c == 't':
		v.state = jsonString
	default:
		v.state = jsonInvalid
	}
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func (v *jsonValidator) inLiteral(c byte) {
	if c != v.literal[0] {
		v.state = jsonInvalid
		return
	}
	if v.literal = v.literal[1:]; v.literal == "" {
		v.state = jsonAfterValue
	}
}

func (v *jsonValidator) inNumber(c byte) {
	isDigit := '0' <= c && c <= '9'
	switch {
	case isDigit && v.state == jsonMinus && c == '0':
		v.state = jsonZero
	case isDigit && v.state == jsonMinus:
		v.state = jsonInteger
	case isDigit && v.state == jsonPoint:
		v.state = jsonFraction
	case isDigit && (v.state == jsonExponent || v.state == jsonExponentSign):
		v.state = jsonExponentEnd
	case isDigit && v.state != jsonZero:
		// The state stays the same.
	case c == '.' && (v.state == jsonZero || v.state == jsonInteger):
		v.state = jsonPoint
	case c|0x20 == 'e' && (v.state == jsonZero || v.state == jsonInteger || v.state == jsonFraction):
		v.state = jsonExponent
	case (c == '+' || c == '-') && v.state == jsonExponent:
		v.state = jsonExponentSign
	case !v.endsNumber():
		v.state = jsonInvalid
	default:
		v.state = jsonAfterValue
		if !isSpace(c) {
			v.afterValue(c)
		}
	}
}
