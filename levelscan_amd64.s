//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Each constant fills a YMM register.
#define FILL(name, word) \
	DATA name<>+0(SB)/8, $word; \
	DATA name<>+8(SB)/8, $word; \
	DATA name<>+16(SB)/8, $word; \
	DATA name<>+24(SB)/8, $word; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

// A table that VPSHUFB indexes with the low four bits of a byte.
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
FILL(aboveNine, 0x4646464646464646) // '9' + 0x46 = 0x7f, the greatest signed byte
FILL(belowZero, 0x7575757575757575) // '0' + 0x46 - 1
FILL(escapeU, 0x7575757575757575)   // 'u'
FILL(lowNibbles, 0x0f0f0f0f0f0f0f0f)
FILL(hexBits, 0x3030303030303030)

// White space: 0x20, 0x09, 0x0a, 0x0d, each where its low nibble points.
TABLE(spaceTable, 0x0000000000000020, 0x00000d00000a0900)
// The first byte of a level key, |0x20: s l @.
TABLE(firstTable, 0x0000000073000060, 0x0000006c00000000)
// Its third byte: l g v, or the closing quote of @l and @t.
TABLE(thirdTable, 0x6776000000220000, 0x0000006c00000000)
// What may follow a backslash, and hexadecimal digits. A byte belongs to a
// class when the entries of its low and its high nibble share a bit:
//	01 2x: " /    02 5x: \    04 6x: b f n    08 7x: r t    10 3x: 0-9    20 4x 6x: A-F a-f
TABLE(escapeLow, 0x10343038303d3010, 0x0104000200001010)
TABLE(escapeHigh, 0x0824022010010000, 0x0000000000000000)

#define IN SI
#define EVENTS DI
#define ERR R11
#define EVENT R12
#define POS R13
#define BLOCKS R14
#define STATE R15

// MASK sets dst to the high bits of the 64 bytes in lo and hi.
#define MASK(lo, hi, dst, tmp) \
	VPMOVMSKB lo, dst; \
	VPMOVMSKB hi, tmp; \
	SHLQ      $32, tmp; \
	ORQ       tmp, dst

// EQUAL sets dst to where lo and hi hold the byte that fills constant.
#define EQUAL(constant, lo, hi, dst, tmp) \
	VPCMPEQB constant<>(SB), lo, Y4; \
	VPCMPEQB constant<>(SB), hi, Y5; \
	MASK(Y4, Y5, dst, tmp)

// IN_TABLE sets dst to where lo and hi hold a byte of table, looked up by its
// low four bits.
#define IN_TABLE(table, lo, hi, dst, tmp) \
	VMOVDQU  table<>(SB), Y6; \
	VPSHUFB  lo, Y6, Y4; \
	VPSHUFB  hi, Y6, Y5; \
	VPCMPEQB lo, Y4, Y4; \
	VPCMPEQB hi, Y5, Y5; \
	MASK(Y4, Y5, dst, tmp)

// NEXT sets dst to the bytes that follow those of set.
#define NEXT(set, dst, carry) \
	MOVQ carry(STATE), dst; \
	LEAQ (dst)(set*2), dst; \
	SHRQ $63, set; \
	MOVQ set, carry(STATE)

// NEXT_NOT sets dst to the first bytes after those of set that are not in
// skip, which has none of set: the sum carries through a run of ones.
#define NEXT_NOT(skip, set, dst, carry) \
	MOVQ  carry(STATE), dst; \
	LEAQ  (dst)(set*2), dst; \
	SHRQ  $63, set; \
	ADDQ  skip, dst; \
	ADCQ  $0, set; \
	MOVQ  set, carry(STATE); \
	ANDNQ dst, skip, dst

// func indexBlocks(events []uint32, body, tail []byte, state *indexState) int
TEXT ·indexBlocks(SB), NOSPLIT, $80-88
	MOVQ     events_base+0(FP), EVENTS
	MOVQ     body_base+24(FP), IN
	MOVQ     body_len+32(FP), BLOCKS
	MOVQ     state+72(FP), STATE
	MOVQ     indexState_offset(STATE), POS
	XORQ     ERR, ERR
	VPCMPEQB Y15, Y15, Y15
	SHRQ     $6, BLOCKS
	JZ       tail
	PCALIGN  $32

block:
	VMOVDQU (IN), Y0
	VMOVDQU 32(IN), Y1

	// AX: backslashes. CX: quotes that none escapes.
	EQUAL(backslashes, Y0, Y1, AX, BX)
	EQUAL(quotes, Y0, Y1, CX, BX)
	MOVQ indexState_escaped(STATE), BX
	ORQ  indexState_hexDigits(STATE), BX
	ORQ  AX, BX
	JNZ  escapes

unescaped:
	// DX: strings, with the opening and without the closing quote.
	VMOVQ      CX, X4
	VPCLMULQDQ $0, X15, X4, X4
	VMOVQ      X4, DX
	XORQ       indexState_inString(STATE), DX
	MOVQ       DX, BX
	SARQ       $63, BX
	MOVQ       BX, indexState_inString(STATE)

	// No string holds a control character.
	VPMINUB  lastControl<>(SB), Y0, Y4
	VPMINUB  lastControl<>(SB), Y1, Y5
	VPCMPEQB Y4, Y0, Y4
	VPCMPEQB Y5, Y1, Y5
	MASK(Y4, Y5, R8, BX)
	ANDQ     DX, R8
	ORQ      R8, ERR

	MOVQ  CX, R8
	ANDQ  DX, R8
	MOVQ  R8, openers-8(SP)
	ANDNQ CX, DX, R9
	ORQ   DX, CX
	MOVQ  CX, strings-16(SP)
	NEXT(R9, R10, indexState_closer)
	MOVQ  R10, afterString-24(SP)

	// BX: first bytes of strings.
	// EVENT: third bytes of what may be a level key.
	NEXT(R8, BX, indexState_opener)
	VPOR caseBits<>(SB), Y0, Y2
	VPOR caseBits<>(SB), Y1, Y3
	IN_TABLE(firstTable, Y2, Y3, R8, R9)
	ANDQ BX, R8
	MOVQ indexState_first(STATE), R9
	LEAQ (R9)(R8*4), EVENT
	SHRQ $62, R8
	MOVQ R8, indexState_first(STATE)
	IN_TABLE(thirdTable, Y0, Y1, R8, R9)
	ANDQ R8, EVENT
	ORQ  AX, R8
	MOVQ R8, foreign-32(SP)

	// A backslash among the first three bytes of a string.
	MOVQ indexState_start(STATE), R8
	LEAQ (R8)(BX*4), R9
	SHRQ $1, R8
	LEAQ (R8)(BX*2), R8
	ORQ  BX, R9
	ORQ  R8, R9
	SHRQ $62, BX
	MOVQ BX, indexState_start(STATE)
	ANDQ R9, AX
	ORQ  AX, EVENT

	// AX: { [   CX: {   R8: } ]   R9: :   R10: ,
	EQUAL(opens, Y2, Y3, AX, BX)
	EQUAL(closes, Y2, Y3, R8, BX)
	EQUAL(colons, Y0, Y1, R9, BX)
	EQUAL(commas, Y0, Y1, R10, BX)
	ANDNQ  AX, DX, AX
	ANDNQ  R8, DX, R8
	ANDNQ  R9, DX, R9
	ANDNQ  R10, DX, R10
	ORQ    AX, EVENT
	ORQ    R8, EVENT
	VPSLLW $2, Y0, Y4
	VPSLLW $2, Y1, Y5
	MASK(Y4, Y5, CX, BX)
	MOVQ   CX, BX
	ANDQ   R8, BX
	MOVQ   BX, closeBraces-40(SP)
	ANDQ   AX, CX
	MOVQ   CX, openBraces-48(SP)

	// A colon that does not stand right behind a string.
	MOVQ  afterString-24(SP), BX
	ANDNQ R9, BX, BX
	ORQ   BX, EVENT

	// BX: white space.
	IN_TABLE(spaceTable, Y0, Y1, BX, CX)
	ANDNQ BX, DX, BX

	MOVQ AX, CX
	ORQ  R9, CX
	ORQ  R10, CX
	MOVQ CX, DX
	ORQ  R8, DX
	MOVQ DX, operators-56(SP)
	ORQ  BX, DX
	ORQ  strings-16(SP), DX
	NOTQ DX
	MOVQ DX, scalars-64(SP)

	// Where a value must begin.
	NEXT_NOT(BX, CX, DX, indexState_beforeValue)
	MOVQ DX, values-72(SP)

	// BX: all that is not an operator.
	MOVQ  operators-56(SP), BX
	NOTQ  BX
	MOVQ  openBraces-48(SP), CX
	ANDNQ AX, CX, AX
	MOVQ  AX, openBrackets-80(SP)

	// DX: the operators before a key: { and , after a member.
	MOVQ R9, AX
	NEXT_NOT(BX, AX, DX, indexState_colon)
	ANDQ R10, DX
	ORQ  CX, DX
	NEXT_NOT(BX, DX, AX, indexState_beforeKey)

	// A colon follows them, or the brace closes at once.
	ANDNQ AX, R9, DX
	MOVQ  values-72(SP), CX
	ANDQ  R8, CX
	ANDNQ DX, CX, DX
	ORQ   DX, ERR
	ANDNQ R9, AX, AX

	// Commas after a nested value, and the operators after them.
	MOVQ  R8, CX
	NEXT_NOT(BX, CX, DX, indexState_close)
	ANDQ  R10, DX
	NEXT_NOT(BX, DX, CX, indexState_nestedComma)
	ANDNQ AX, CX, AX
	ORQ   AX, ERR
	MOVQ  closeBraces-40(SP), DX
	ANDQ  CX, DX
	ORQ   DX, ERR
	ORQ   R9, R10
	ANDQ  CX, R10
	ORQ   R10, EVENT

	// BX: first bytes of scalars.
	MOVQ  scalars-64(SP), DX
	MOVQ  DX, AX
	NEXT(AX, BX, indexState_scalar)
	ANDNQ DX, BX, BX

	// A value begins where one must, and nowhere else.
	MOVQ  openBrackets-80(SP), AX
	ORQ   openers-8(SP), AX
	ORQ   BX, AX
	MOVQ  values-72(SP), CX
	MOVQ  openBraces-48(SP), R9
	ANDNQ CX, R9, CX
	XORQ  CX, AX
	ANDNQ AX, R8, AX
	ORQ   AX, ERR

	// R10: digits. R9: points.
	VPADDB   aboveNine<>(SB), Y0, Y4
	VPADDB   aboveNine<>(SB), Y1, Y5
	VPCMPGTB belowZero<>(SB), Y4, Y4
	VPCMPGTB belowZero<>(SB), Y5, Y5
	MASK(Y4, Y5, R10, CX)
	EQUAL(points, Y0, Y1, R9, CX)
	ANDQ     DX, R9

	// A point follows a digit, digits follow a point, and none follows them.
	MOVQ  R9, AX
	ANDQ  BX, AX
	ORQ   AX, ERR
	MOVQ  R9, AX
	NEXT(AX, CX, indexState_point)
	ANDNQ CX, R10, AX
	ORQ   AX, ERR
	MOVQ  indexState_fraction(STATE), AX
	ADDQ  AX, AX
	ADCQ  R10, CX
	SBBQ  AX, AX
	MOVQ  AX, indexState_fraction(STATE)
	ANDQ  R9, CX
	ORQ   CX, ERR

	// The first of the bytes that belong to no plain number, or follow a
	// leading zero.
	EQUAL(zeros, Y0, Y1, R8, CX)
	ANDQ  BX, R8
	NEXT(R8, CX, indexState_zero)
	ANDNQ R10, CX, R10
	ORQ   R9, R10
	ANDNQ DX, R10, DX
	MOVQ  DX, R8
	NEXT(R8, CX, indexState_odd)
	ANDNQ DX, CX, DX
	ORQ   DX, EVENT
	ANDQ  foreign-32(SP), DX
	ORQ   DX, ERR

	// Three events are stored whether there are as many or not, which costs
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
	LEAQ    12(EVENTS), CX
	LEAQ    (EVENTS)(AX*4), EVENTS
	TESTQ   EVENT, EVENT
	JNZ     more

stored:
	ADDQ $64, IN
	ADDQ $64, POS
	DECQ BLOCKS
	JNZ  block

tail:
	CMPQ tail_len+56(FP), $0
	JE   done
	MOVQ tail_base+48(FP), IN
	MOVQ $0, tail_len+56(FP)
	MOVQ $1, BLOCKS
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
	TZCNTQ EVENT, BX
	BLSRQ  EVENT, EVENT
	ADDL   POS, BX
	MOVL   BX, (CX)
	ADDQ   $4, CX
	TESTQ  EVENT, EVENT
	JNZ    more
	JMP    stored

escapes:
	// R8: escaped bytes. A run of backslashes that begins at an even offset
	// carries, when subtracted from the odd bits, to other bits than one
	// that begins at an odd offset.
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
	VMOVDQU  lowNibbles<>(SB), Y8
	VPXOR    Y9, Y9, Y9
	VPSRLW   $4, Y0, Y2
	VPSRLW   $4, Y1, Y3
	VPAND    Y8, Y2, Y2
	VPAND    Y8, Y3, Y3
	VPSHUFB  Y0, Y6, Y4
	VPSHUFB  Y1, Y6, Y5
	VPSHUFB  Y2, Y7, Y2
	VPSHUFB  Y3, Y7, Y3
	VPAND    Y2, Y4, Y4
	VPAND    Y3, Y5, Y5

	// BX: what follows no backslash. DX: u that follows one.
	VPAND    Y8, Y4, Y2
	VPAND    Y8, Y5, Y3
	VPCMPEQB Y9, Y2, Y2
	VPCMPEQB Y9, Y3, Y3
	MASK(Y2, Y3, BX, DX)
	VPCMPEQB escapeU<>(SB), Y0, Y2
	VPCMPEQB escapeU<>(SB), Y1, Y3
	MASK(Y2, Y3, DX, R9)
	ANDQ     R8, BX
	ANDQ     R8, DX
	ANDNQ    BX, DX, BX
	ORQ      BX, ERR

	// R9: where hexadecimal digits must stand. BX: where none does.
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
	VPCMPEQB Y9, Y4, Y4
	VPCMPEQB Y9, Y5, Y5
	MASK(Y4, Y5, BX, DX)
	ANDQ     R9, BX
	ORQ      BX, ERR
	JMP      unescaped
