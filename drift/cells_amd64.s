#include "textflag.h"
#include "cells_amd64.h"

// The loops over linear cells keep these:
//
//	SI, CX   the values and how many are left, in blocks of eight
//	Z10 lo   Z11 perUnit   Z12 steps   Z14 −1.0   Y13 the cell of NaN   Y15 −1
//
// CELLS puts eight values into Z0 and their cells into Y3: t = (v − lo)·perUnit is cut
// to [−1, steps], rounded down, and raised by one. A NaN stays one on its way through
// MAX and MIN, because it is their second operand, and its cell is replaced at the end.
#define CELLS \
	VMOVUPD     (SI), Z0        \
	VSUBPD      Z10, Z0, Z1     \
	VMULPD      Z11, Z1, Z1     \
	VMAXPD      Z1, Z14, Z2     \
	VMINPD      Z2, Z12, Z2     \
	VRNDSCALEPD $9, Z2, Z2      \
	VCVTTPD2DQ  Z2, Y3          \
	VPSUBD      Y15, Y3, Y3     \
	VCMPPD      $3, Z1, Z1, K1  \
	VMOVDQA32   Y13, K1, Y3

// CELLSBITS does so by ordered bits. It wants
//
//	Z10 loBits   X11 shift   Z12 the greatest cell but one   Z14 0   Z9 1<<63
#define CELLSBITS \
	VMOVUPD     (SI), Z0        \
	VADDPD      Z14, Z0, Z1     \
	VPSRAQ      $63, Z1, Z2     \
	VPORQ       Z9, Z2, Z2      \
	VPXORQ      Z2, Z1, Z2      \
	VPCMPUQ     $5, Z10, Z2, K5 \
	VPSUBQ      Z10, Z2, Z3     \
	VPSRLQ      X11, Z3, Z3     \
	VPMINUQ     Z12, Z3, Z3     \
	VPMOVQD     Z3, Y3          \
	VPSUBD      Y15, Y3, Y3     \
	VMOVDQA32.Z Y3, K5, Y3      \
	VCMPPD      $3, Z0, Z0, K1  \
	VMOVDQA32   Y13, K1, Y3

// COUNTS adds one to the counts of the cells in Y3.
#define COUNTS \
	VEXTRACTI128 $1, Y3, X4 \
	VMOVQ        X3, R8     \
	VPEXTRQ      $1, X3, R9 \
	VMOVQ        X4, R10    \
	VPEXTRQ      $1, X4, R11 \
	COUNT(R8)               \
	COUNT(R9)               \
	COUNT(R10)              \
	COUNT(R11)

// WANTED sets the bits of K3 for the cells in Y3 whose bits are set in the table at BX.
#define WANTED \
	VPSRLD     $5, Y3, Y4      \
	VPANDD     Y16, Y3, Y5     \
	KXNORW     K2, K2, K2      \
	VPXOR      Y6, Y6, Y6      \
	VPGATHERDD (BX)(Y4*4), K2, Y6 \
	VPSRLVD    Y5, Y6, Y6      \
	VPTESTMD   Y8, Y6, K3      \
	KORTESTW   K3, K3

// KEEP appends the values of K3 at DX.
#define KEEP \
	VCOMPRESSPD.Z Z0, K3, Z7 \
	VMOVUPD Z7, (DX)         \
	KMOVW   K3, AX           \
	POPCNTL AX, AX           \
	LEAQ    (DX)(AX*8), DX

// func countBlocks(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, counts *uint32)
TEXT ·countBlocks(SB), NOSPLIT, $0-56
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	VBROADCASTSD lo+16(FP), Z10
	VBROADCASTSD perUnit+24(FP), Z11
	VBROADCASTSD steps+32(FP), Z12
	MOVL         missing+40(FP), AX
	VPBROADCASTD AX, Y13
	MOVQ         counts+48(FP), DI
	VBROADCASTSD minusOne<>(SB), Z14
	VPCMPEQD     Y15, Y15, Y15

count:
	CELLS
	COUNTS
	ADDQ         $64, SI
	DECQ         CX
	JNZ          count
	VZEROUPPER
	RET

// func filterBlocks(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, wanted *uint32, out *float64) int
TEXT ·filterBlocks(SB), NOSPLIT, $0-72
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	VBROADCASTSD lo+16(FP), Z10
	VBROADCASTSD perUnit+24(FP), Z11
	VBROADCASTSD steps+32(FP), Z12
	MOVL         missing+40(FP), AX
	VPBROADCASTD AX, Y13
	MOVQ         wanted+48(FP), BX
	MOVQ         out+56(FP), DX
	VBROADCASTSD minusOne<>(SB), Z14
	VPCMPEQD     Y15, Y15, Y15
	VPBROADCASTD low5<>(SB), Y16
	VPSRLD       $31, Y15, Y8

filter:
	CELLS
	WANTED
	JZ   next
	KEEP

next:
	ADDQ $64, SI
	DECQ CX
	JNZ  filter
	FILTERED

// func countBitsBlocks(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, counts *uint32)
TEXT ·countBitsBlocks(SB), NOSPLIT, $0-56
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	VPBROADCASTQ loBits+16(FP), Z10
	VMOVQ        shift+24(FP), X11
	VPBROADCASTQ greatest+32(FP), Z12
	MOVL         missing+40(FP), AX
	VPBROADCASTD AX, Y13
	MOVQ         counts+48(FP), DI
	VPXORQ       Z14, Z14, Z14
	VPCMPEQD     Y15, Y15, Y15
	VPTERNLOGQ   $0xff, Z9, Z9, Z9
	VPSLLQ       $63, Z9, Z9

count:
	CELLSBITS
	COUNTS
	ADDQ $64, SI
	DECQ CX
	JNZ  count
	VZEROUPPER
	RET

// func filterBitsBlocks(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, wanted *uint32, out *float64) int
TEXT ·filterBitsBlocks(SB), NOSPLIT, $0-72
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	VPBROADCASTQ loBits+16(FP), Z10
	VMOVQ        shift+24(FP), X11
	VPBROADCASTQ greatest+32(FP), Z12
	MOVL         missing+40(FP), AX
	VPBROADCASTD AX, Y13
	MOVQ         wanted+48(FP), BX
	MOVQ         out+56(FP), DX
	VPXORQ       Z14, Z14, Z14
	VPCMPEQD     Y15, Y15, Y15
	VPTERNLOGQ   $0xff, Z9, Z9, Z9
	VPSLLQ       $63, Z9, Z9
	VPBROADCASTD low5<>(SB), Y16
	VPSRLD       $31, Y15, Y8

filter:
	CELLSBITS
	WANTED
	JZ   next
	KEEP

next:
	ADDQ $64, SI
	DECQ CX
	JNZ  filter
	FILTERED
