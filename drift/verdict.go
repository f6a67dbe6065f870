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

// Decide weighs evidence against effect:
//
//	drift             q ≤ alpha and effect ≥ margin
//	not enough data   otherwise, if detectable > margin: an effect just as large
//	                  as the margin would not have been significant
//	same              otherwise
//
// q is the p-value, adjusted if several columns are tested together; effect is
// D or V; margin is the smallest effect that matters in practice; detectable is
// the smallest effect that would have been significant at alpha, as the results'
// Detectable methods give it.
//
// A margin of 0 says that any effect matters. No sample is large enough to see
// every effect, so then the verdict is same wherever some effect in [0, 1] would
// have been significant and this one was not.
//
// Special cases:
//
//	Decide = NotEnoughData if q, effect or detectable is NaN
func Decide(q, alpha, effect, margin, detectable float64) Verdict {
	if margin <= 0 {
		margin = 0
		if detectable <= 1 {
			detectable = 0
		}
	}
	switch {
	case math.IsNaN(q) || math.IsNaN(effect) || math.IsNaN(detectable):
		return NotEnoughData
	case q <= alpha && effect >= margin:
		return Drift
	case detectable > margin:
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
