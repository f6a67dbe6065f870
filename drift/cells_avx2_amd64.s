#include "textflag.h"
#include "cells_amd64.h"

// What cells_amd64.s does with AVX-512, for processors that have AVX2 only. The loops keep:
//
//	SI, CX   the values and how many are left, in blocks of eight
//	Y10 lo   Y11 perUnit   Y12 steps   Y14 −1.0   X13 the cell of NaN   X15 −1
//
// FOURCELLS puts the cells of four values into a register, as CELLS does for eight. That of a
// NaN is negative until it is replaced, because it becomes the least integer.
#define FOURCELLS(offset, cells) \
	VMOVUPD     offset(SI), Y0  \
	VSUBPD      Y10, Y0, Y1     \
	VMULPD      Y11, Y1, Y1     \
	VMAXPD      Y1, Y14, Y2     \
	VMINPD      Y2, Y12, Y2     \
	VROUNDPD    $9, Y2, Y2      \
	VCVTTPD2DQY Y2, cells       \
	VPSUBD      X15, cells, cells \
	VBLENDVPS   cells, X13, cells, cells

// KEEP appends the values of the bits of AX at DX, one by one: few blocks have a value that is wanted.
#define KEEP \
keep:                       \
	BSFL AX, R8         \
	MOVQ (SI)(R8*8), R9 \
	MOVQ R9, (DX)       \
	ADDQ $8, DX         \
	LEAL -1(AX), R10    \
	ANDL R10, AX        \
	JNZ  keep

// LINEAR loads what the loops keep.
#define LINEAR \
	MOVQ         values+0(FP), SI         \
	MOVQ         blocks+8(FP), CX         \
	VBROADCASTSD lo+16(FP), Y10           \
	VBROADCASTSD perUnit+24(FP), Y11      \
	VBROADCASTSD steps+32(FP), Y12        \
	VPBROADCASTD missing+40(FP), X13      \
	VBROADCASTSD minusOne<>(SB), Y14     \
	VPCMPEQD     Y15, Y15, Y15

// FOURCELLSBITS puts the cells of four values into a register of 64 bits each, by ordered bits. These are compared
// as signed numbers, with the highest bit the other way round. It wants
//
//	Y10 loBits   X11 shift   Y12 the greatest cell but one   Y7 0   Y13 the cell of NaN   Y15 −1
#define FOURCELLSBITS(offset, cells) \
	VMOVUPD   offset(SI), Y0        \
	VADDPD    Y7, Y0, Y1            \
	VPCMPGTQ  Y1, Y7, Y2            \
	VPSRLQ    $1, Y2, Y2            \
	VPXOR     Y2, Y1, Y1            \
	VPCMPGTQ  Y1, Y10, Y3           \
	VPSUBQ    Y10, Y1, Y1           \
	VPSRLQ    X11, Y1, Y1           \
	VPCMPGTQ  Y12, Y1, Y2           \
	VBLENDVPD Y2, Y12, Y1, Y1       \
	VPSUBQ    Y15, Y1, Y1           \
	VPANDN    Y1, Y3, Y1            \
	VCMPPD    $3, Y0, Y0, Y2        \
	VBLENDVPD Y2, Y13, Y1, cells

// COUNTFOUR adds one to the counts of four cells.
#define COUNTFOUR(cells, low, high) \
	VMOVQ        low, R8      \
	VPEXTRQ      $1, low, R9  \
	VEXTRACTI128 $1, cells, high \
	VMOVQ        high, R10    \
	VPEXTRQ      $1, high, R11 \
	INCL         (DI)(R8*4)   \
	INCL         (DI)(R9*4)   \
	INCL         (DI)(R10*4)  \
	INCL         (DI)(R11*4)

// WANTEDFOUR puts a bit for each of four cells into a register, set if it is set in the table at BX.
#define WANTEDFOUR(cells, into) \
	VPSRLQ     $5, cells, Y4          \
	VPAND      Y9, cells, Y5          \
	VPCMPEQD   X2, X2, X2             \
	VPXOR      X6, X6, X6             \
	VPGATHERQD X2, (BX)(Y4*4), X6     \
	VPMOVZXDQ  X6, Y6                 \
	VPSRLVQ    Y5, Y6, Y6             \
	VPSLLQ     $63, Y6, Y6            \
	VMOVMSKPD  Y6, into

// BITS loads what the loops keep.
#define BITS \
	MOVQ         values+0(FP), SI       \
	MOVQ         blocks+8(FP), CX       \
	VPBROADCASTQ loBits+16(FP), Y10     \
	VPSLLQ       $63, Y15, Y1           \
	VPXOR        Y1, Y10, Y10           \
	VMOVQ        shift+24(FP), X11      \
	VPBROADCASTQ greatest+32(FP), Y12   \
	MOVL         missing+40(FP), AX     \
	VMOVQ        AX, X13                \
	VPBROADCASTQ X13, Y13               \
	VPXOR        Y7, Y7, Y7

// func countBlocksAVX2(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, counts *uint32)
TEXT ·countBlocksAVX2(SB), NOSPLIT, $0-56
	LINEAR
	MOVQ counts+48(FP), DI

count:
	FOURCELLS(0, X3)
	FOURCELLS(32, X4)
	VMOVQ   X3, R8
	VPEXTRQ $1, X3, R9
	VMOVQ   X4, R10
	VPEXTRQ $1, X4, R11
	COUNT(R8)
	COUNT(R9)
	COUNT(R10)
	COUNT(R11)
	ADDQ    $64, SI
	DECQ    CX
	JNZ     count
	VZEROUPPER
	RET

// func filterBlocksAVX2(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, wanted *uint32, out *float64) int
TEXT ·filterBlocksAVX2(SB), NOSPLIT, $0-72
	LINEAR
	MOVQ         wanted+48(FP), BX
	MOVQ         out+56(FP), DX
	VPBROADCASTD low5<>(SB), Y9

filter:
	FOURCELLS(0, X3)
	FOURCELLS(32, X4)
	VINSERTI128 $1, X4, Y3, Y3
	VPSRLD      $5, Y3, Y4
	VPAND       Y9, Y3, Y5
	VPCMPEQD    Y2, Y2, Y2
	VPXOR       Y6, Y6, Y6
	VPGATHERDD  Y2, (BX)(Y4*4), Y6
	VPSRLVD     Y5, Y6, Y6
	VPSLLD      $31, Y6, Y6
	VMOVMSKPS   Y6, AX
	TESTL       AX, AX
	JZ          next

	KEEP

next:
	ADDQ $64, SI
	DECQ CX
	JNZ  filter
	FILTERED

// func rangeBlocksAVX2(values *float64, blocks int, within *[2]float64) (done int)
TEXT ·rangeBlocksAVX2(SB), NOSPLIT, $0-32
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	MOVQ         within+16(FP), DI
	VBROADCASTSD 0(DI), Y8
	VBROADCASTSD 8(DI), Y9
	VPXOR        Y7, Y7, Y7
	MOVQ         CX, DX

range:
	VMOVUPD   (SI), Y0
	VMOVUPD   32(SI), Y1
	VSUBPD    Y0, Y0, Y2
	VSUBPD    Y1, Y1, Y3
	VORPD     Y2, Y3, Y2
	VCMPPD    $0, Y7, Y2, Y2
	VMOVMSKPD Y2, AX
	CMPL      AX, $15
	JNE       found
	VMINPD    Y0, Y8, Y8
	VMAXPD    Y0, Y9, Y9
	VMINPD    Y1, Y8, Y8
	VMAXPD    Y1, Y9, Y9
	ADDQ      $64, SI
	DECQ      CX
	JNZ       range

found:
	VEXTRACTF128 $1, Y8, X0
	VMINPD       X0, X8, X8
	VPERMILPD    $1, X8, X0
	VMINSD       X0, X8, X8
	VMOVSD       X8, 0(DI)
	VEXTRACTF128 $1, Y9, X0
	VMAXPD       X0, X9, X9
	VPERMILPD    $1, X9, X0
	VMAXSD       X0, X9, X9
	VMOVSD       X9, 8(DI)
	SUBQ         CX, DX
	MOVQ         DX, done+24(FP)
	VZEROUPPER
	RET

// func countBitsBlocksAVX2(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, counts *uint32)
TEXT ·countBitsBlocksAVX2(SB), NOSPLIT, $0-56
	VPCMPEQD Y15, Y15, Y15
	BITS
	MOVQ     counts+48(FP), DI

count:
	FOURCELLSBITS(0, Y5)
	FOURCELLSBITS(32, Y6)
	COUNTFOUR(Y5, X5, X4)
	COUNTFOUR(Y6, X6, X4)
	ADDQ     $64, SI
	DECQ     CX
	JNZ      count
	VZEROUPPER
	RET

// func filterBitsBlocksAVX2(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, wanted *uint32, out *float64) int
TEXT ·filterBitsBlocksAVX2(SB), NOSPLIT, $0-72
	VPCMPEQD     Y15, Y15, Y15
	BITS
	MOVQ         wanted+48(FP), BX
	MOVQ         out+56(FP), DX
	VPSRLQ       $59, Y15, Y9

filter:
	FOURCELLSBITS(0, Y8)
	WANTEDFOUR(Y8, AX)
	FOURCELLSBITS(32, Y8)
	WANTEDFOUR(Y8, R11)
	SHLL         $4, R11
	ORL          R11, AX
	JZ           next

	KEEP

next:
	ADDQ $64, SI
	DECQ CX
	JNZ  filter
	FILTERED
