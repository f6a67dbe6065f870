package web

import (
	"fmt"
	"math"
	"strings"

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

// curve is the picture of a metric over its steps.
type curve struct {
	Key         string
	Last        driftline.Number
	Points      int
	Line        string // of an SVG polyline
	EndX, EndY  float64
	Low, High   driftline.Number
	First, Step int64 // the first and last step
}

// The viewBox of a curve; a margin keeps the line's ends inside.
const (
	curveWidth  = 320
	curveHeight = 120
	curveMargin = 6
)

// maxCurvePoints bounds what one picture sends; more points than pixels say nothing.
const maxCurvePoints = 640

// drawCurve draws a metric's history, which is in order. Values that are not
// finite are left out.
func drawCurve(key string, history []driftline.Metric) curve {
	c := curve{Key: key, Points: len(history)}
	if len(history) == 0 {
		return c
	}
	c.First, c.Step, c.Last = history[0].Step, history[len(history)-1].Step, history[len(history)-1].Value
	low, high := math.Inf(1), math.Inf(-1)
	for _, point := range history {
		if v := float64(point.Value); !math.IsInf(v, 0) && !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return c
	}
	c.Low, c.High = driftline.Number(low), driftline.Number(high)
	byStep := c.Step > c.First
	var line strings.Builder
	stride := (len(history)-1)/maxCurvePoints + 1
	for i, point := range history {
		v := float64(point.Value)
		if math.IsInf(v, 0) || math.IsNaN(v) || i%stride != 0 && i != len(history)-1 {
			continue
		}
		at := fraction(float64(i), 0, float64(len(history)-1))
		if byStep {
			at = fraction(float64(point.Step), float64(c.First), float64(c.Step))
		}
		c.EndX = curveMargin + at*(curveWidth-2*curveMargin)
		c.EndY = curveHeight - curveMargin - fraction(v, low, high)*(curveHeight-2*curveMargin)
		fmt.Fprintf(&line, "%.1f,%.1f ", c.EndX, c.EndY)
	}
	c.Line = strings.TrimSpace(line.String())
	return c
}

// fraction is where v lies between low and high; the middle if they are equal.
// Halves keep the difference of two extreme values finite.
func fraction(v, low, high float64) float64 {
	if low == high {
		return 0.5
	}
	return (v/2 - low/2) / (high/2 - low/2)
}
