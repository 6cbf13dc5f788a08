//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// indexBlocks works on blocks of 64 bytes. A mask is a word with one bit for
// each byte of a block; the lowest bit is the first byte. These are the main
// masks of an example, with the lowest bit on the left:
//
//	bytes          {"level":"in\"o", "n":[1,2.5,true]}
//	quotes         .1.....1.1.....1..1.1..............  without escaped quotes
//	strings        .111111..111111...11...............  with the opening quote only
//	operators      1.......1.......1....11.1...1....11  { } [ ] : , outside strings
//	white space    .................1.................  outside strings
//	scalars        .......................1.111.1111..  all other bytes
//	value begins   .1.......1........1...11.1...1.....  after { [ : , and white space
//	colon          ........1............1.............  the operators after { and after
//	                                                    the comma that follows a member
//	events         11....................1......1...11  for the walk in Go
//
// A carry-less product with all ones turns quotes into strings: each of its bits
// is the parity of the quotes up to that bit.
//
// The grammar is checked by what may follow what:
//   - Strings and scalars must begin where a value begins, and nowhere else.
//     Brackets may also begin there; the walk checks what is before them.
//   - Colons must follow { or the comma after a member, with a string in between,
//     and nowhere else. A comma after a value that is not nested belongs to an
//     object if the operator before the value is a colon, and else to an array.
//     A comma after a nested value may belong to either. The operator after such
//     a comma is an event unless it is a colon. The walk refuses it if it is a
//     comma in an object. The walk also refuses a key in an array.
//   - Scalars of digits with at most one point are checked here. The walk checks
//     the others: the first byte of each run of other bytes is an event.
//   - The walk matches brackets.

// Each constant fills a YMM register.
#define FILL(name, word) \
	DATA name<>+0(SB)/8, $word; \
	DATA name<>+8(SB)/8, $word; \
	DATA name<>+16(SB)/8, $word; \
	DATA name<>+24(SB)/8, $word; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

// Each table fills both lanes of a YMM register. VPSHUFB indexes a table with
// the low four bits of a byte.
#define TABLE(name, low, high) \
	DATA name<>+0(SB)/8, $low; \
	DATA name<>+8(SB)/8, $high; \
	DATA name<>+16(SB)/8, $low; \
	DATA name<>+24(SB)/8, $high; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

FILL(backslashes, 0x5c5c5c5c5c5c5c5c)
FILL(quotes, 0x2222222222222222)
FILL(colons, 0x3a3a3a3a3a3a3a3a)
FILL(commas, 0x2c2c2c2c2c2c2c2c)
FILL(opens, 0x7b7b7b7b7b7b7b7b)
FILL(closes, 0x7d7d7d7d7d7d7d7d)
FILL(points, 0x2e2e2e2e2e2e2e2e)
FILL(zeros, 0x3030303030303030)
FILL(caseBits, 0x2020202020202020)
FILL(lastControl, 0x1f1f1f1f1f1f1f1f)
FILL(aboveNine, 0x4646464646464646) // '9' + 0x46 = 0x7f, the largest signed byte
FILL(belowZero, 0x7575757575757575) // '0' + 0x46 - 1
FILL(escapeU, 0x7575757575757575)   // 'u'
FILL(lowNibbles, 0x0f0f0f0f0f0f0f0f)
FILL(hexBits, 0x3030303030303030)

// White space: 0x20, 0x09, 0x0a, 0x0d, each at the index of its low nibble.
TABLE(spaceTable, 0x0000000000000020, 0x00000d00000a0900)
// The first byte of a level key, |0x30: l L \, s, @. The table also matches the
// other bytes that |0x30 maps to these values: |, C c S, and P p `.
TABLE(firstTable, 0x0000000073000070, 0x0000007c00000000)
// The third byte of a level key: l g v, the closing quote of @l and @t, and the u
// or 0 of an escape such as \u006c. A third byte that is a backslash is compared
// separately.
TABLE(thirdTable, 0x6776750000220030, 0x0000006c00000000)
// Bytes that may follow a backslash, and hexadecimal digits. A byte is in a
// class if the entries of its low and its high nibble share a bit:
//	01 2x: " /    02 5x: \    04 6x: b f n    08 7x: r t    10 3x: 0-9    20 4x 6x: A-F a-f
TABLE(escapeLow, 0x10343038303d3010, 0x0104000200001010)
TABLE(escapeHigh, 0x0824022010010000, 0x0000000000000000)

#define IN SI      // address of the block
#define EVENTS DI  // address of the next event
#define ERR R11    // not 0 if the body is invalid
#define EVENT R12  // mask of the block's events
#define POS R13    // offset of the block in the body
#define STATE R15  // *indexState, the carries between blocks
#define BS Y14     // backslashes
#define QUOTES Y10
#define COLONS Y9
#define COMMAS Y8
#define FIRST Y13  // firstTable, thirdTable, spaceTable
#define THIRD Y12
#define SPACES Y11
#define ONES Y15

// MASK sets dst to the high bits of the 64 bytes in lo and hi.
#define MASK(lo, hi, dst, tmp) \
	VPMOVMSKB lo, dst; \
	VPMOVMSKB hi, tmp; \
	SHLQ      $32, tmp; \
	ORQ       tmp, dst

// EQUAL sets dst to the bytes in lo and hi that equal those of constant.
#define EQUAL(constant, lo, hi, dst, tmp) \
	VPCMPEQB constant, lo, Y4; \
	VPCMPEQB constant, hi, Y5; \
	MASK(Y4, Y5, dst, tmp)

// IN_TABLE looks up the low four bits of each byte of x and y in table. It sets
// the bytes of lo and hi to all ones where the table entry equals the byte of x
// and y, and to zero elsewhere.
#define IN_TABLE(table, x, y, lo, hi) \
	VPSHUFB  x, table, lo; \
	VPSHUFB  y, table, hi; \
	VPCMPEQB x, lo, lo; \
	VPCMPEQB y, hi, hi

// NEXT sets dst to the bytes after those of set. The byte after the last byte of
// the block is in the next block, so it goes to carry. NEXT destroys set.
#define NEXT(set, dst, carry) \
	MOVQ carry(STATE), dst; \
	LEAQ (dst)(set*2), dst; \
	SHRQ $63, set; \
	MOVQ set, carry(STATE)

// NEXT_NOT sets dst to the first byte after each byte of set that is not in
// skip. skip must not contain bytes of set. The addition carries through each
// run of ones in skip. If the run, or set itself, reaches the end of the block,
// the bit goes to carry. NEXT_NOT destroys set.
#define NEXT_NOT(skip, set, dst, carry) \
	MOVQ  carry(STATE), dst; \
	LEAQ  (dst)(set*2), dst; \
	SHRQ  $63, set; \
	ADDQ  skip, dst; \
	ADCQ  $0, set; \
	MOVQ  set, carry(STATE); \
	ANDNQ dst, skip, dst

// func indexBlocks(events []uint32, body, tail []byte, state *indexState) int
//
// The comment before each section lists the masks in AX to DX, R8 to R10 and
// R14. Y0 and Y1 contain the block, Y2 and Y3 the block after a change or bytes
// from later offsets, Y4 to Y7 the results of comparisons. The frame contains
// the end of the current part (body or tail) and the masks that do not fit into
// registers.
TEXT ·indexBlocks(SB), NOSPLIT, $48-88
	MOVQ     events_base+0(FP), EVENTS
	MOVQ     state+72(FP), STATE
	MOVQ     indexState_offset(STATE), POS
	XORQ     ERR, ERR
	VPCMPEQB ONES, ONES, ONES
	VMOVDQU  backslashes<>(SB), BS
	VMOVDQU  firstTable<>(SB), FIRST
	VMOVDQU  thirdTable<>(SB), THIRD
	VMOVDQU  spaceTable<>(SB), SPACES
	VMOVDQU  quotes<>(SB), QUOTES
	VMOVDQU  colons<>(SB), COLONS
	VMOVDQU  commas<>(SB), COMMAS
	MOVQ     body_base+24(FP), IN
	MOVQ     body_len+32(FP), AX
	ANDQ     $~63, AX
	JZ       tail
	ADDQ     IN, AX
	MOVQ     AX, end-8(SP)
	PCALIGN  $32

block:
	VMOVDQU (IN), Y0
	VMOVDQU 32(IN), Y1

	// AX: backslashes. CX: quotes; the code at escapes removes escaped ones.
	VPCMPEQB BS, Y0, Y4
	VPCMPEQB BS, Y1, Y5
	MASK(Y4, Y5, AX, BX)
	EQUAL(QUOTES, Y0, Y1, CX, BX)
	MOVQ indexState_escaped(STATE), BX
	ORQ  indexState_hexDigits(STATE), BX
	ORQ  AX, BX
	JNZ  escapes

unescaped:
	// DX: strings, with the opening and without the closing quote.
	VMOVQ      CX, X4
	VPCLMULQDQ $0, X15, X4, X4 // X15: ONES
	VMOVQ      X4, DX
	XORQ       indexState_inString(STATE), DX
	MOVQ       DX, BX
	SARQ       $63, BX
	MOVQ       BX, indexState_inString(STATE)
	MOVQ       DX, inString-16(SP)

	// Strings must not contain control characters.
	VPMINUB  lastControl<>(SB), Y0, Y4
	VPMINUB  lastControl<>(SB), Y1, Y5
	VPCMPEQB Y4, Y0, Y4
	VPCMPEQB Y5, Y1, Y5
	MASK(Y4, Y5, R8, BX)
	ANDQ     DX, R8
	ORQ      R8, ERR

	// R8: opening quotes. R10: bytes after closing quotes. CX: strings with
	// both quotes.
	MOVQ  CX, R8
	ANDQ  DX, R8
	MOVQ  R8, openers-24(SP)
	ANDNQ CX, DX, R9
	ORQ   DX, CX
	NEXT(R9, R10, indexState_closer)

	// EVENT: quotes that open what may be a level key. The bytes after a quote
	// may be in the next block. lookAhead keeps these reads inside of the body;
	// without it, TestLevelScanStaysInsideBody fails.
	VMOVDQU  1(IN), Y2
	VMOVDQU  33(IN), Y3
	VPOR     hexBits<>(SB), Y2, Y2
	VPOR     hexBits<>(SB), Y3, Y3
	IN_TABLE(FIRST, Y2, Y3, Y4, Y5)
	VMOVDQU  3(IN), Y2
	VMOVDQU  35(IN), Y3
	IN_TABLE(THIRD, Y2, Y3, Y6, Y7)
	VPCMPEQB BS, Y2, Y2
	VPCMPEQB BS, Y3, Y3
	VPOR     Y2, Y6, Y6
	VPOR     Y3, Y7, Y7
	VPAND    Y6, Y4, Y4
	VPAND    Y7, Y5, Y5
	MASK(Y4, Y5, EVENT, R9)
	ANDQ     R8, EVENT

	// R9: :   R10: ,   AX: { [   BX: } ]
	// EVENT: also colons that do not directly follow a string.
	EQUAL(COLONS, Y0, Y1, R9, R14)
	ANDNQ R9, DX, R9
	ANDNQ R9, R10, R10
	ORQ   R10, EVENT
	EQUAL(COMMAS, Y0, Y1, R10, R14)
	ANDNQ R10, DX, R10
	VPOR  caseBits<>(SB), Y0, Y2
	VPOR  caseBits<>(SB), Y1, Y3
	EQUAL(opens<>(SB), Y2, Y3, AX, R14)
	EQUAL(closes<>(SB), Y2, Y3, BX, R14)
	ANDNQ AX, DX, AX
	ANDNQ BX, DX, BX

	// R8: {. It differs from [ in the bit that the shift makes the highest.
	VPSLLW $2, Y0, Y4
	VPSLLW $2, Y1, Y5
	MASK(Y4, Y5, R8, R14)
	MOVQ   R8, R14
	ANDQ   BX, R14
	MOVQ   R14, closeBraces-32(SP)
	ANDQ   AX, R8

	MOVQ AX, R14
	ORQ  BX, R14
	MOVQ R14, brackets-40(SP)
	ORQ  R14, EVENT

	// AX: { [ : ,   BX: : } ]   CX: strings and operators   R14: no operators
	ORQ  R9, AX
	ORQ  R10, AX
	ORQ  R9, BX
	MOVQ AX, R14
	ORQ  BX, R14
	ORQ  R14, CX
	NOTQ R14

	// DX: { and the commas after a member or after a nested value.
	// BX: the operators after them. They must be colons, and there must be no
	// other colons. Two exceptions: } may close an empty object, and after a
	// nested value in an array there may be any operator.
	NEXT_NOT(R14, BX, DX, indexState_beforeComma)
	ANDQ  R10, DX
	ORQ   R8, DX
	NEXT_NOT(R14, DX, BX, indexState_beforeColon)
	ANDQ  BX, R10
	ORQ   R10, EVENT
	ANDNQ R9, BX, R9
	ORQ   R9, ERR
	ANDQ  closeBraces-32(SP), BX

	// R8: white space   CX: scalars   DX: bytes where a value must begin
	MOVQ     inString-16(SP), DX
	IN_TABLE(SPACES, Y0, Y1, Y4, Y5)
	MASK(Y4, Y5, R8, R14)
	ANDNQ    R8, DX, R8
	ORQ      R8, CX
	NOTQ     CX
	NEXT_NOT(R8, AX, DX, indexState_beforeValue)
	ANDNQ    BX, DX, BX
	ORQ      BX, ERR

	// BX: first bytes of scalars.
	MOVQ  CX, AX
	NEXT(AX, BX, indexState_scalar)
	ANDNQ CX, BX, BX

	// Values must begin there, and nowhere else.
	MOVQ  openers-24(SP), AX
	ORQ   BX, AX
	XORQ  AX, DX
	MOVQ  brackets-40(SP), AX
	ANDNQ DX, AX, DX
	ORQ   DX, ERR

	// R8: digits   DX: bytes of scalars that are no digits or follow a leading zero
	VPADDB   aboveNine<>(SB), Y0, Y4
	VPADDB   aboveNine<>(SB), Y1, Y5
	VPCMPGTB belowZero<>(SB), Y4, Y4
	VPCMPGTB belowZero<>(SB), Y5, Y5
	MASK(Y4, Y5, R8, R14)
	ANDNQ    CX, R8, DX
	EQUAL(zeros<>(SB), Y0, Y1, R9, R14)
	ANDQ     BX, R9
	NEXT(R9, R10, indexState_zero)
	ANDQ     CX, R10
	ORQ      R10, DX

	// R9: points in scalars. The first byte of a scalar must not be a point.
	// R14: the bytes after points, which must be digits. An addition then carries
	// through these digits, so that R14 is the bytes after them, which must not be
	// points.
	EQUAL(points<>(SB), Y0, Y1, R9, R14)
	ANDQ  CX, R9
	ANDQ  R9, BX
	ORQ   BX, ERR
	MOVQ  R9, AX
	NEXT(AX, R14, indexState_point)
	ANDNQ R14, R8, BX
	ORQ   BX, ERR
	MOVQ  indexState_fraction(STATE), BX
	ADDQ  BX, BX
	ADCQ  R8, R14
	SBBQ  BX, BX
	MOVQ  BX, indexState_fraction(STATE)
	ANDQ  R9, R14
	ORQ   R14, ERR

	// EVENT: also the first byte of each run of DX without points.
	ANDNQ DX, R9, DX
	MOVQ  DX, R9
	NEXT(R9, R14, indexState_unusual)
	ANDNQ DX, R14, DX
	ORQ   DX, EVENT

	// Four events are always stored, even if there are fewer, because this costs
	// less than a mispredicted branch.
	POPCNTQ EVENT, AX
	TZCNTQ  EVENT, BX
	BLSRQ   EVENT, EVENT
	ADDL    POS, BX
	MOVL    BX, (EVENTS)
	TZCNTQ  EVENT, BX
	BLSRQ   EVENT, EVENT
	ADDL    POS, BX
	MOVL    BX, 4(EVENTS)
	TZCNTQ  EVENT, BX
	BLSRQ   EVENT, EVENT
	ADDL    POS, BX
	MOVL    BX, 8(EVENTS)
	TZCNTQ  EVENT, BX
	ADDL    POS, BX
	MOVL    BX, 12(EVENTS)
	BLSRQ   EVENT, EVENT
	JNZ     more

stored:
	LEAQ (EVENTS)(AX*4), EVENTS
	ADDQ $64, IN
	ADDQ $64, POS
	CMPQ IN, end-8(SP)
	JNE  block

	// The tail is the last bytes of the body, filled with spaces, so that no
	// block reaches past the end of the body.
tail:
	MOVQ tail_len+56(FP), AX
	ANDQ $~63, AX
	JZ   done
	MOVQ $0, tail_len+56(FP)
	MOVQ tail_base+48(FP), IN
	ADDQ IN, AX
	MOVQ AX, end-8(SP)
	JMP  block

done:
	MOVQ POS, indexState_offset(STATE)
	ORQ  ERR, indexState_refused(STATE)
	SUBQ events_base+0(FP), EVENTS
	SHRQ $2, EVENTS
	MOVQ EVENTS, ret+80(FP)
	VZEROUPPER
	RET

more:
	LEAQ 16(EVENTS), CX

another:
	TZCNTQ EVENT, BX
	ADDL   POS, BX
	MOVL   BX, (CX)
	ADDQ   $4, CX
	BLSRQ  EVENT, EVENT
	JNZ    another
	JMP    stored

escapes:
	// R8: escaped bytes. CX: without escaped quotes. The subtraction from the odd
	// bits borrows through each run of backslashes. Runs that begin at an even
	// offset and runs that begin at an odd offset leave different bits.
	MOVQ  indexState_escaped(STATE), BX
	ANDNQ AX, BX, DX
	LEAQ  (DX)(DX*1), R8
	MOVQ  $0xaaaaaaaaaaaaaaaa, R9
	ORQ   R9, R8
	SUBQ  DX, R8
	XORQ  R9, R8
	MOVQ  AX, DX
	ANDQ  R8, DX
	SHRQ  $63, DX
	MOVQ  DX, indexState_escaped(STATE)
	ORQ   AX, BX
	XORQ  BX, R8
	ANDNQ CX, R8, CX

	// Y4, Y5: the classes of escapeLow.
	VMOVDQU  escapeLow<>(SB), Y6
	VMOVDQU  escapeHigh<>(SB), Y7
	VPSRLW   $4, Y0, Y2
	VPSRLW   $4, Y1, Y3
	VPAND    lowNibbles<>(SB), Y2, Y2
	VPAND    lowNibbles<>(SB), Y3, Y3
	VPSHUFB  Y0, Y6, Y4
	VPSHUFB  Y1, Y6, Y5
	VPSHUFB  Y2, Y7, Y2
	VPSHUFB  Y3, Y7, Y3
	VPAND    Y2, Y4, Y4
	VPAND    Y3, Y5, Y5
	VPXOR    Y6, Y6, Y6

	// DX: escaped u. BX: other escaped bytes that are invalid.
	VPAND    lowNibbles<>(SB), Y4, Y2
	VPAND    lowNibbles<>(SB), Y5, Y3
	VPCMPEQB Y6, Y2, Y2
	VPCMPEQB Y6, Y3, Y3
	MASK(Y2, Y3, BX, DX)
	VPCMPEQB escapeU<>(SB), Y0, Y2
	VPCMPEQB escapeU<>(SB), Y1, Y3
	MASK(Y2, Y3, DX, R9)
	ANDQ     R8, BX
	ANDQ     R8, DX
	ANDNQ    BX, DX, BX
	ORQ      BX, ERR

	MOVQ DX, R9
	ORQ  indexState_hexDigits(STATE), R9
	JZ   unescaped

	// R9: the bytes that must be hexadecimal digits: the four after each u. Those
	// in the next block go to hexDigits. BX: bytes that are no hexadecimal digits.
	LEAQ     (DX)(DX*1), R9
	LEAQ     (R9)(R9*1), BX
	ORQ      BX, R9
	LEAQ     (R9*4), BX
	ORQ      BX, R9
	ORQ      indexState_hexDigits(STATE), R9
	SHRQ     $60, DX
	MOVQ     DX, R8
	SHRQ     $1, R8
	ORQ      R8, DX
	MOVQ     DX, R8
	SHRQ     $2, R8
	ORQ      R8, DX
	MOVQ     DX, indexState_hexDigits(STATE)
	VPAND    hexBits<>(SB), Y4, Y4
	VPAND    hexBits<>(SB), Y5, Y5
	VPCMPEQB Y6, Y4, Y4
	VPCMPEQB Y6, Y5, Y5
	MASK(Y4, Y5, BX, DX)
	ANDQ     R9, BX
	ORQ      BX, ERR
	JMP      unescaped

// skipSpaceBlocks compares 32 bytes at a time with the entries of spaceTable at
// their low four bits.
TEXT ·skipSpaceBlocks(SB), NOSPLIT, $0-40
	MOVQ    body_base+0(FP), SI
	MOVQ    body_len+8(FP), CX
	MOVQ    i+24(FP), AX
	VMOVDQU spaceTable<>(SB), Y0
	SUBQ    $32, CX              // the offset of the last 32 bytes

skip:
	CMPQ      AX, CX
	JGT       skipped
	VMOVDQU   (SI)(AX*1), Y1
	VPSHUFB   Y1, Y0, Y2
	VPCMPEQB  Y1, Y2, Y2
	VPMOVMSKB Y2, DX
	NOTL      DX              // a bit for each byte that is not white space
	ADDQ      $32, AX
	TESTL     DX, DX
	JZ        skip
	TZCNTL    DX, DX
	LEAQ      -32(AX)(DX*1), AX

skipped:
	VZEROUPPER
	MOVQ AX, ret+32(FP)
	RET
