package inflate

// Limits of RFC 1951.
const (
	maxLiterals  = 286 // symbols that a block can define; 286 and 287 are not valid
	maxDistances = 30

	minMatch  = 3
	maxMatch  = 258
	maxWindow = 32 << 10
)

// Sizes of the tables. With primary indexes of these lengths, most codes need no
// secondary table. There are at most half as many secondary tables as symbols,
// because each contains at least two symbols.
const (
	literalBits  = 11
	distanceBits = 8
	lengthBits   = 7 // the longest code of a code length

	literalTableSize  = 1<<literalBits + maxLiteralLinks<<(maxCodeLength-literalBits)
	distanceTableSize = 1<<distanceBits + maxDistanceLinks<<(maxCodeLength-distanceBits)

	maxLiteralLinks  = 288 / 2
	maxDistanceLinks = 32 / 2
)

var (
	literalSymbols    = makeLiteralSymbols()
	distanceSymbols   = makeDistanceSymbols()
	codeLengthSymbols = makeCodeLengthSymbols()
	fixed             = makeFixedTables()
)

// makeLiteralSymbols returns the entries of the literals, the end of a block and
// the lengths of matches. https://www.rfc-editor.org/rfc/rfc1951#section-3.2.5
func makeLiteralSymbols() []tableEntry {
	symbols := make([]tableEntry, 288)
	for i := range 256 {
		symbols[i] = kindLiteral | tableEntry(i)<<16
	}
	symbols[256] = kindSpecial | kindEnd
	base := tableEntry(minMatch)
	for i := 257; i < 285; i++ {
		extra := tableEntry(max(0, (i-257)/4-1))
		symbols[i] = base<<16 | extra
		base += 1 << extra
	}
	symbols[285] = maxMatch << 16
	symbols[286], symbols[287] = notACode, notACode
	return symbols
}

// makeDistanceSymbols returns the entries of the distances of matches.
func makeDistanceSymbols() []tableEntry {
	symbols := make([]tableEntry, 32)
	base := tableEntry(1)
	for i := range maxDistances {
		extra := tableEntry(max(0, i/2-1))
		symbols[i] = base<<16 | extra
		base += 1 << extra
	}
	symbols[30], symbols[31] = notACode, notACode
	return symbols
}

// makeCodeLengthSymbols returns the entries of the symbols that define the code
// lengths. https://www.rfc-editor.org/rfc/rfc1951#section-3.2.7
func makeCodeLengthSymbols() []tableEntry {
	symbols := make([]tableEntry, 19)
	for i := range symbols {
		symbols[i] = tableEntry(i) << 16
	}
	return symbols
}

// codeLengthOrder is the order in which the code lengths of code lengths occur.
var codeLengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// A codes holds the tables of a block.
type codes struct {
	literals  [literalTableSize]tableEntry
	distances [distanceTableSize]tableEntry
}

// makeFixedTables returns the tables of blocks with fixed codes.
// https://www.rfc-editor.org/rfc/rfc1951#section-3.2.6
func makeFixedTables() *codes {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	c := new(codes)
	table(c.literals[:]).build(lengths[:], literalSymbols, literalBits)
	for i := range lengths {
		lengths[i] = 5
	}
	table(c.distances[:]).build(lengths[:32], distanceSymbols, distanceBits)
	return c
}
