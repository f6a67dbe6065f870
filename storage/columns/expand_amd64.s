#include "textflag.h"

// func expandBytes(to, from, valid *byte, bytes int) (values int)
//
// VPEXPANDQ reads as many values as its mask has ones, and no more.
TEXT ·expandBytes(SB), NOSPLIT, $0-40
	MOVQ to+0(FP), DI
	MOVQ from+8(FP), SI
	MOVQ valid+16(FP), DX
	MOVQ bytes+24(FP), CX
	MOVQ SI, R8

expand:
	MOVBLZX     (DX), AX
	KMOVB       AX, K1
	VPEXPANDQ.Z (SI), K1, Z0
	VMOVDQU64   Z0, (DI)
	POPCNTL     AX, AX
	LEAQ        (SI)(AX*8), SI
	ADDQ        $64, DI
	INCQ        DX
	DECQ        CX
	JNZ         expand

	VZEROUPPER
	SUBQ R8, SI
	SHRQ $3, SI
	MOVQ SI, values+32(FP)
	RET
