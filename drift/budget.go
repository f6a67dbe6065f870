package drift

import (
	"math"
	"time"
)

// Budget is how many false alarms a person accepts: "at most one a month, over 400
// columns that are looked at every hour". It says so in the words of the person, and
// gives the levels that tests need to keep it.
type Budget struct {
	Alarms  float64       // false alarms accepted …
	Per     time.Duration // … in this time
	Every   time.Duration // between two looks, each at new data
	Columns int           // looked at each time
}

// Looks returns how many looks there are in the budget's time, at least 1.
func (b Budget) Looks() float64 {
	return max(1, float64(b.Per)/float64(b.Every))
}

// Level returns the level for one look at all columns: with q from [AdjustBH] (or
// AdjustBY, AdjustEBH) held against it, at most Alarms looks in time Per find drift
// that is none, on average:
//
//	Alarms / Looks
//
// Without drift anywhere, the chance that a look finds any is its false discovery rate.
// The mean over looks is the sum of the chances, whatever their dependence. A level
// above ½ is cut to ½.
//
// Special cases:
//
//	Level = NaN if Alarms, Per or Every is not positive
func (b Budget) Level() float64 {
	if !(b.Alarms > 0) || b.Per <= 0 || b.Every <= 0 {
		return math.NaN()
	}
	return min(0.5, b.Alarms/b.Looks())
}

// ColumnLevel returns the level for each column on its own, if every column that
// drifts is an alarm of its own: uncorrected p-values held against it give at most
// Alarms false alarms of columns in time Per, on average, whatever depends on what.
//
//	Alarms / (Looks · Columns)
//
// Special cases:
//
//	ColumnLevel = NaN if Level is, or if Columns < 1
func (b Budget) ColumnLevel() float64 {
	if b.Columns < 1 {
		return math.NaN()
	}
	return b.Level() / float64(b.Columns)
}
