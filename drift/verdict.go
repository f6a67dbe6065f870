package drift

import "math"

// Verdict is what a comparison says of two samples.
type Verdict string

// The verdicts. NotEnoughData is neither proof of drift nor of its absence.
const (
	Drift         Verdict = "drift"
	Same          Verdict = "same"
	NotEnoughData Verdict = "not enough data"
)

// Levels are what evidence and effects are held against.
type Levels struct {
	Alpha      float64 // rate of false alarms, for q
	Margin     float64 // the smallest effect that matters in practice
	Resolution float64 // an effect of this size must have been detectable before two samples are the same
}

// Decide weighs evidence against effect:
//
//	drift             q ≤ Alpha and effect ≥ Margin
//	not enough data   otherwise, if detectable > max(Margin, Resolution)
//	same              otherwise
//
// q is the p-value, adjusted if several columns are tested together; effect is
// D or V; detectable is the smallest effect that would have been significant at
// Alpha, as the results' Detectable methods give it. Resolution is a level of its
// own because the margin of interest may be far below what a few thousand values
// show: "same" says that a change as large as Resolution would have been seen.
//
// If both Margin and Resolution are 0, any effect matters. No sample is large
// enough to see every effect, so then the verdict is same wherever some effect in
// [0, 1] would have been significant and this one was not.
//
// Special cases:
//
//	Decide = NotEnoughData if q, effect or detectable is NaN
func (l Levels) Decide(q, effect, detectable float64) Verdict {
	least := max(l.Margin, l.Resolution)
	if least <= 0 {
		least = 1
	}
	switch {
	case math.IsNaN(q) || math.IsNaN(effect) || math.IsNaN(detectable):
		return NotEnoughData
	case q <= l.Alpha && effect >= l.Margin:
		return Drift
	case detectable > least:
		return NotEnoughData
	}
	return Same
}

// DetectableD returns a distance that is certainly significant at level alpha in
// a two-sided Kolmogorov–Smirnov test of n and m values. It is close to the
// smallest such distance, and above 1 if the samples are too small for any:
//
//	√( ln(2/alpha) · (n+m) / (2nm) )
//
// This inverts the bound P(D ≥ d) ≤ 2·exp(−2d²·nm/(n+m)) of Dvoretzky, Kiefer,
// Wolfowitz and Massart. For margin 0.05 and alpha 0.05 it asks for 1,476 values
// on each side.
//
// Special cases:
//
//	DetectableD(n, m, alpha) = NaN if n < 1, m < 1 or alpha is not in (0, 1]
//
// Sources: Massart, "The tight constant in the Dvoretzky–Kiefer–Wolfowitz
// inequality", Annals of Probability 18 (1990); Wei and Dudley 2012 for two samples.
func DetectableD(n, m int64, alpha float64) float64 {
	if n < 1 || m < 1 || !(alpha > 0 && alpha <= 1) {
		return math.NaN()
	}
	return math.Sqrt(math.Log(2/alpha) / (2 * effectiveSize(n, m)))
}
