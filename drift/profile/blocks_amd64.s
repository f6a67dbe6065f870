#include "textflag.h"

// All loops go over the values at SI in blocks of eight, of which CX are left.

// func extremesBlocks(values *float64, blocks int) (least, greatest float64, odd bool)
TEXT ·extremesBlocks(SB), NOSPLIT, $0-33
	MOVQ    values+0(FP), SI
	MOVQ    blocks+8(FP), CX
	VMOVUPD (SI), Z0
	VMOVAPD Z0, Z1
	KXORW   K1, K1, K1

extremes:
	VMOVUPD     (SI), Z2
	VMINPD      Z2, Z0, Z0
	VMAXPD      Z2, Z1, Z1
	VFPCLASSPDZ $0x99, Z2, K2 // NaN and infinities
	KORW        K2, K1, K1
	ADDQ        $64, SI
	DECQ        CX
	JNZ         extremes

	VEXTRACTF64X4 $1, Z0, Y2
	VMINPD        Y2, Y0, Y0
	VEXTRACTF128  $1, Y0, X2
	VMINPD        X2, X0, X0
	VPERMILPD     $1, X0, X2
	VMINSD        X2, X0, X0
	VMOVSD        X0, least+16(FP)
	VEXTRACTF64X4 $1, Z1, Y2
	VMAXPD        Y2, Y1, Y1
	VEXTRACTF128  $1, Y1, X2
	VMAXPD        X2, X1, X1
	VPERMILPD     $1, X1, X2
	VMAXSD        X2, X1, X1
	VMOVSD        X1, greatest+24(FP)
	KORTESTW      K1, K1
	SETNE         odd+32(FP)
	VZEROUPPER
	RET

DATA first<>+0(SB)/8, $0xff51afd7ed558ccd
GLOBL first<>(SB), RODATA|NOPTR, $8

DATA second<>+0(SB)/8, $0xc4ceb9fe1a85ec53
GLOBL second<>(SB), RODATA|NOPTR, $8

#define FOLD \
	VPSRLQ $33, Z0, Z1 \
	VPXORQ Z1, Z0, Z0

// func hashBlocks(values *float64, blocks int, hashes *uint64)
TEXT ·hashBlocks(SB), NOSPLIT, $0-24
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	MOVQ         hashes+16(FP), DI
	VPBROADCASTQ first<>(SB), Z10
	VPBROADCASTQ second<>(SB), Z11
	VPXORQ       Z14, Z14, Z14

hash:
	VADDPD    (SI), Z14, Z0 // −0 is 0
	FOLD
	VPMULLQ   Z10, Z0, Z0
	FOLD
	VPMULLQ   Z11, Z0, Z0
	FOLD
	VMOVDQU64 Z0, (DI)
	ADDQ      $64, SI
	ADDQ      $64, DI
	DECQ      CX
	JNZ       hash
	VZEROUPPER
	RET

// COUNT adds one to the counts of the two cells in a register.
#define COUNT(pair) \
	MOVL pair, R12   \
	SHRQ $32, pair   \
	INCL (DI)(R12*4) \
	INCL (DI)(pair*4)

// func countBlocks(values *float64, blocks int, lo, perUnit, steps float64, first uint32, counts *uint32) (done int)
TEXT ·countBlocks(SB), NOSPLIT, $0-64
	MOVQ         values+0(FP), SI
	MOVQ         blocks+8(FP), CX
	VBROADCASTSD lo+16(FP), Z10
	VBROADCASTSD perUnit+24(FP), Z11
	VBROADCASTSD steps+32(FP), Z12
	MOVL         first+40(FP), AX
	VPBROADCASTD AX, Y13
	MOVQ         counts+48(FP), DI
	VPXORQ       Z14, Z14, Z14

count:
	VMOVUPD      (SI), Z0
	VSUBPD       Z10, Z0, Z1
	VMULPD       Z11, Z1, Z1
	VCMPPD       $13, Z14, Z1, K1    // t ≥ 0
	VCMPPD       $1, Z12, Z1, K1, K2 // and t < steps
	KMOVW        K2, AX
	CMPL         AX, $0xff
	JNE          out
	VCVTTPD2DQ   Z1, Y3
	VPADDD       Y13, Y3, Y3
	VEXTRACTI128 $1, Y3, X4
	VMOVQ        X3, R8
	VPEXTRQ      $1, X3, R9
	VMOVQ        X4, R10
	VPEXTRQ      $1, X4, R11
	COUNT(R8)
	COUNT(R9)
	COUNT(R10)
	COUNT(R11)
	ADDQ         $64, SI
	DECQ         CX
	JNZ          count

out:
	MOVQ blocks+8(FP), AX
	SUBQ CX, AX
	MOVQ AX, done+56(FP)
	VZEROUPPER
	RET
