//go:build !amd64

package profile

const hasBlocks = false

func extremesBlocks(*float64, int) (least, greatest float64, odd bool) { return 0, 0, false }

func hashBlocks(*float64, int, *uint64) {}

func countBlocks(*float64, int, float64, float64, float64, uint32, *uint32) (done int) { return 0 }
