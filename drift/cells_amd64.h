// What the loops of both kinds of instructions have in common.

DATA minusOne<>+0(SB)/8, $-1.0
GLOBL minusOne<>(SB), RODATA|NOPTR, $8

DATA low5<>+0(SB)/4, $31
GLOBL low5<>(SB), RODATA|NOPTR, $4

// COUNT adds one to the counts of the two cells in a register.
#define COUNT(pair) \
	MOVL pair, R12     \
	SHRQ $32, pair     \
	INCL (DI)(R12*4)   \
	INCL (DI)(pair*4)

// FILTERED ends a function that filters: it returns how many values it wrote.
#define FILTERED \
	SUBQ out+56(FP), DX  \
	SHRQ $3, DX          \
	MOVQ DX, ret+64(FP)  \
	VZEROUPPER           \
	RET
