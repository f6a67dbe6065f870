package detect

import (
	"math"
	"math/rand/v2"
)

// Watcher is what [Evaluate] measures: a [Detector], or what it is to be better than.
type Watcher interface {
	Update(x float64) State
}

// Every alarms after every so many values, whatever they are. A detector that a measure
// does not rank above it has not been measured by it.
type Every struct{ Values, seen int }

// Update counts the value.
func (e *Every) Update(float64) State {
	if e.seen++; e.seen%e.Values == 0 {
		return Change
	}
	return Stable
}

// Concept draws a value of a stream, as it is while nothing changes.
type Concept func(*rand.Rand) float64

// Stream is a stream whose changes are known: Concepts follow each other, each for
// Length values. Around a change the next concept takes over with a probability that
// grows as a sigmoid over Width values, 1 being at once:
//
//	P(next) = 1 / (1 + exp(−4·(i − change)/Width))
//
// Source: Bifet and others, "New ensemble methods for evolving data streams", KDD 2009.
type Stream struct {
	Name     string
	Concepts []Concept
	Length   int
	Width    int
}

// Values draws the stream; the same seed gives the same values.
func (s Stream) Values(seed uint64) []float64 {
	random := rand.New(rand.NewPCG(seed, 0x5EED))
	values := make([]float64, 0, s.Length*len(s.Concepts))
	for i := range cap(values) {
		values = append(values, s.Concepts[s.concept(i, random)](random))
	}
	return values
}

func (s Stream) concept(i int, random *rand.Rand) int {
	now := i / s.Length
	if s.Width <= 1 {
		return now
	}
	into := i % s.Length
	switch next := now + 1; {
	case next < len(s.Concepts) && into > s.Length/2 && random.Float64() < s.share(into-s.Length):
		return next
	case now > 0 && into <= s.Length/2 && random.Float64() >= s.share(into):
		return now - 1
	}
	return now
}

func (s Stream) share(from int) float64 { return 1 / (1 + math.Exp(-4*float64(from)/float64(s.Width))) }

// Bernoulli is 1 with probability p, and 0 otherwise: the errors of a model.
func Bernoulli(p float64) Concept {
	return func(random *rand.Rand) float64 {
		if random.Float64() < p {
			return 1
		}
		return 0
	}
}

// Normal is normally distributed.
func Normal(mean, deviation float64) Concept {
	return func(random *rand.Rand) float64 { return mean + deviation*random.NormFloat64() }
}

// The concepts below are the errors of a model that has learned one concept perfectly,
// and meets another one whose labels are wrong with probability noise.

// SEA labels x₁+x₂ > threshold, of values uniform in [0, 10]; the model knows learned.
// Source: Street and Kim, KDD 2001.
func SEA(learned, threshold, noise float64) Concept {
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		sum := 10 * (random.Float64() + random.Float64())
		return sum > learned, sum > threshold
	})
}

// STAGGER labels three attributes of three values each by concept 0: small and red,
// 1: green or round, 2: medium or large. Source: Schlimmer and Granger, 1986.
func STAGGER(learned, concept int, noise float64) Concept {
	rules := []func(size, color, shape int) bool{
		func(size, color, _ int) bool { return size == 0 && color == 0 },
		func(_, color, shape int) bool { return color == 1 || shape == 1 },
		func(size, _, _ int) bool { return size > 0 },
	}
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		size, color, shape := random.IntN(3), random.IntN(3), random.IntN(3)
		return rules[learned](size, color, shape), rules[concept](size, color, shape)
	})
}

// Sine labels y < sin(x), or with lower y < sin(x)−shift, of x and y uniform in [0, 1].
// Source: Gama and others, SBIA 2004 (SINE1 is the reversal, here by degrees).
func Sine(shift, noise float64) Concept {
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		x, y := random.Float64(), random.Float64()
		return y < math.Sin(x), y < math.Sin(x)-shift
	})
}

// mistakes is 1 where the model's answer is not the label.
func mistakes(noise float64, draw func(*rand.Rand) (model, truth bool)) Concept {
	return func(random *rand.Rand) float64 {
		model, truth := draw(random)
		if (model != truth) != (random.Float64() < noise) {
			return 1
		}
		return 0
	}
}

// Evaluation is how well a watcher does on a stream.
//
// An alarm is for a change if it comes within the given delay after it (and, where the
// change takes Width values, up to half of them before). The first such alarm finds the
// change; others in the same time are repeats, and all the rest are false.
type Evaluation struct {
	Values, Changes                     int
	Found, Missed, FalseAlarms, Repeats int
	Disturbed                           int     // changes with a false alarm between them and the change before
	Delay                               float64 // mean, of the changes that were found; NaN if none was
	MeanTimeBetweenFalseAlarms          float64 // values without change per false alarm; +Inf if there was none
}

// Recall is the share of changes that were found.
func (e Evaluation) Recall() float64 { return float64(e.Found) / float64(e.Changes) }

// Precision is the share of alarms, repeats aside, that found a change; 1 without alarm.
func (e Evaluation) Precision() float64 {
	if e.Found+e.FalseAlarms == 0 {
		return 1
	}
	return float64(e.Found) / float64(e.Found+e.FalseAlarms)
}

// F1 is the harmonic mean of precision and recall.
func (e Evaluation) F1() float64 {
	if e.Found == 0 {
		return 0
	}
	return 2 * e.Precision() * e.Recall() / (e.Precision() + e.Recall())
}

// MeanTimeRatio is MTFA/MTD·(1−MDR): the mean time between false alarms over the mean
// delay, times the recall. Source: Bifet, "Classifier concept drift detection and the
// illusion of progress", ICAISC 2017.
func (e Evaluation) MeanTimeRatio() float64 {
	if e.Found == 0 {
		return 0
	}
	return e.MeanTimeBetweenFalseAlarms / e.Delay * e.Recall()
}

// Evaluate watches runs draws of a stream, each by a new watcher. A change that is not
// found within delay values is missed.
func Evaluate(make func() Watcher, s Stream, runs, delay int, seed uint64) Evaluation {
	return EvaluateEach([]func() Watcher{make}, s, runs, delay, seed)[0]
}

// EvaluateEach is [Evaluate] of several watchers, on the same draws.
func EvaluateEach(makers []func() Watcher, s Stream, runs, delay int, seed uint64) []Evaluation {
	found := make([]Evaluation, len(makers))
	totals := make([]int, len(makers))
	for run := range runs {
		values := s.Values(seed + uint64(run))
		for i, watcher := range makers {
			found[i].watch(watcher(), s, values, delay, &totals[i])
		}
	}
	for i := range found {
		e := &found[i]
		e.Values, e.Changes = runs*s.Length*len(s.Concepts), runs*(len(s.Concepts)-1)
		e.Missed = e.Changes - e.Found
		e.Delay = float64(totals[i]) / float64(e.Found)
		quiet := e.Values - e.Changes*min(delay, s.Length)
		e.MeanTimeBetweenFalseAlarms = float64(quiet) / float64(e.FalseAlarms)
	}
	return found
}

func (e *Evaluation) watch(w Watcher, s Stream, values []float64, delay int, total *int) {
	found, disturbed := 0, 0 // the last change, from 1, that was so
	for i, x := range values {
		if w.Update(x) != Change {
			continue
		}
		change := min((i+s.Width/2)/s.Length, len(s.Concepts)-1) // the last one that had begun
		late := i + 1 - change*s.Length
		switch {
		case change > 0 && late <= delay && change > found:
			found = change
			e.Found++
			*total += late
		case change > 0 && late <= delay:
			e.Repeats++
		default:
			e.FalseAlarms++
			if next := change + 1; next < len(s.Concepts) && next > disturbed {
				disturbed = next
				e.Disturbed++
			}
		}
	}
}
