package web

import (
	"math"

	"github.com/driftline/driftline"
)

// bar is one column of a histogram, in the units of its viewBox.
type bar struct{ X, Y, Width, Height float64 }

// distribution is the picture of a numeric column: how its values spread.
type distribution struct {
	Feature   string
	Low, High driftline.Number // of the finite values
	Mean      driftline.Number
	Rows      int64 // values that are not null
	Nulls     int64
	Bars      []bar
}

// The viewBox of a histogram.
const (
	histogramWidth  = 240
	histogramHeight = 56
	histogramBins   = 24
)

// bars draws counts from left to right, the tallest at full height. A bin that
// is not empty is at least one unit high, so that rare values stay visible.
func bars(counts []int64) []bar {
	var most int64
	for _, n := range counts {
		most = max(most, n)
	}
	if most == 0 {
		return nil
	}
	step := float64(histogramWidth) / float64(len(counts))
	drawn := make([]bar, 0, len(counts))
	for i, n := range counts {
		if n == 0 {
			continue
		}
		height := max(1, math.Round(10*histogramHeight*float64(n)/float64(most))/10)
		drawn = append(drawn, bar{X: float64(i)*step + 0.5, Y: histogramHeight - height, Width: step - 1, Height: height})
	}
	return drawn
}

var nan = math.NaN()

// The viewBox of a curve; a margin keeps the line's ends inside.
const (
	curveWidth  = 320
	curveHeight = 120
	curveMargin = 6
)

// fraction is where v lies between low and high; the middle if they are equal.
// Halves keep the difference of two extreme values finite.
func fraction(v, low, high float64) float64 {
	if low == high {
		return 0.5
	}
	return (v/2 - low/2) / (high/2 - low/2)
}
