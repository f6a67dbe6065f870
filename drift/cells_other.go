//go:build !amd64

package drift

const hasBlocks = false

func countBlocks(*float64, int, float64, float64, float64, uint32, *uint32) {}

func filterBlocks(*float64, int, float64, float64, float64, uint32, *uint32, *float64) int { return 0 }

func countBitsBlocks(*float64, int, uint64, int, uint64, uint32, *uint32) {}

func filterBitsBlocks(*float64, int, uint64, int, uint64, uint32, *uint32, *float64) int { return 0 }
