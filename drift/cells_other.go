//go:build !amd64

package drift

var hasBlocks, hasAVX2 bool

func countBlocks(*float64, int, float64, float64, float64, uint32, *uint32) {}

func filterBlocks(*float64, int, float64, float64, float64, uint32, *uint32, *float64) int { return 0 }

func countBitsBlocks(*float64, int, uint64, int, uint64, uint32, *uint32) {}

func filterBitsBlocks(*float64, int, uint64, int, uint64, uint32, *uint32, *float64) int { return 0 }

func countBlocksAVX2(*float64, int, float64, float64, float64, uint32, *uint32) {}

func filterBlocksAVX2(*float64, int, float64, float64, float64, uint32, *uint32, *float64) int {
	return 0
}

func countBitsBlocksAVX2(*float64, int, uint64, int, uint64, uint32, *uint32) {}

func filterBitsBlocksAVX2(*float64, int, uint64, int, uint64, uint32, *uint32, *float64) int {
	return 0
}

func rangeBlocksAVX2(*float64, int, *[2]float64) int { return 0 }
