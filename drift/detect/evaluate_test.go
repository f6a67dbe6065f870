package detect_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift/detect"
)

// The error of a model that knows another concept is noise + (1 − 2·noise) · the share of
// rows that the two concepts label differently, which is known for each.
func TestConceptsHaveTheErrorThatFollowsFromThem(t *testing.T) {
	for _, c := range []struct {
		name    string
		concept detect.Concept
		noise   float64
		differs float64
	}{
		{"SEA 8 to 8", detect.SEA(8, 8, 0.1), 0.1, 0},
		{"SEA 8 to 9", detect.SEA(8, 9, 0.1), 0.1, 0.085},
		{"SEA 9 to 7", detect.SEA(9, 7, 0.1), 0.1, 0.16},
		{"SEA 7 to 9.5", detect.SEA(7, 9.5, 0.1), 0.1, 0.20625},
		{"STAGGER 0 to 1", detect.STAGGER(0, 1, 0), 0, 16.0 / 27},
		{"Sine, shifted by 0.1", detect.Sine(0.1, 0), 0, 0.1 - 0.1*0.1/2 + 0.0001},
		{"Mixed, as learned", detect.Mixed(false, 0.1), 0.1, 0},
		{"Mixed, reversed", detect.Mixed(true, 0.1), 0.1, 1},
		{"Circles 0 to 3, which do not meet", detect.Circles(0, 3, 0), 0, math.Pi*(0.15*0.15+0.3*0.3) - 0.030975}, // less what lies beyond the square
		{"Agrawal 0 to 0", detect.Agrawal(0, 0, 0.1), 0.1, 0},
		{"Hyperplane, as learned", detect.Hyperplane(0, 0.05), 0.05, 0},
		{"LED, as well as it can be known", detect.LED(0, 0.1), 0, 0.26},
		{"LED, no lamp left", detect.LED(7, 0.1), 0, 0.9},
		{"Waveform, as well as it can be known", detect.Waveform(0), 0, 0.134}, // about 14 % by Breiman and others
		{"Waveform, nothing left", detect.Waveform(21), 0, 2.0 / 3},
	} {
		random, errors := rand.New(rand.NewPCG(1, 2)), 0.0
		const values = 200_000
		for range values {
			errors += c.concept(random)
		}
		want := c.noise + (1-2*c.noise)*c.differs
		if got := errors / values; math.Abs(got-want) > 5*math.Sqrt(want*(1-want)/values)+1e-3 {
			t.Errorf("%s: error %v, want %v", c.name, got, want)
		}
	}
}

// script alarms at given values.
type script struct {
	at   []int
	seen int
}

func (s *script) Update(float64) detect.State {
	s.seen++
	if len(s.at) > 0 && s.at[0] == s.seen-1 {
		s.at = s.at[1:]
		return detect.Change
	}
	return detect.Stable
}

func TestEvaluationCountsAlarms(t *testing.T) {
	level := func(v float64) detect.Concept { return func(*rand.Rand) float64 { return v } }
	s := detect.Stream{Concepts: []detect.Concept{level(0), level(1), level(2)}, Length: 100}
	for name, c := range map[string]struct {
		alarms []int
		want   detect.Evaluation
	}{
		"silent":           {nil, detect.Evaluation{Missed: 2}},
		"prompt":           {[]int{104, 214}, detect.Evaluation{Found: 2, Delay: 10}},
		"late is false":    {[]int{120}, detect.Evaluation{Missed: 2, FalseAlarms: 1, Disturbed: 1}},
		"twice":            {[]int{100, 119, 200}, detect.Evaluation{Found: 2, Repeats: 1, Delay: 1}},
		"before and after": {[]int{10, 20, 101, 299}, detect.Evaluation{Found: 1, Missed: 1, FalseAlarms: 3, Disturbed: 1, Delay: 2}},
	} {
		got := detect.Evaluate(func() detect.Watcher { return &script{at: c.alarms} }, s, 1, 20, 1)
		c.want.Values, c.want.Changes = 300, 2
		c.want.MeanTimeBetweenFalseAlarms = 260 / float64(c.want.FalseAlarms)
		if c.want.Found == 0 {
			c.want.Delay, got.Delay = 0, 0
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestConceptsTakeOverAsASigmoid(t *testing.T) {
	s := detect.Stream{Concepts: []detect.Concept{detect.Normal(0, 0), detect.Normal(1, 0)}, Length: 1000, Width: 400}
	at := map[int]float64{}
	const draws = 2000
	for seed := range uint64(draws) {
		values := s.Values(seed)
		for _, i := range []int{0, 900, 1000, 1100, 1999} {
			at[i] += values[i] / draws
		}
	}
	for i, got := range at {
		want := 1 / (1 + math.Exp(-4*float64(i-1000)/400))
		if math.Abs(got-want) > 0.05 {
			t.Errorf("value %d is of the new concept with share %v, want %v", i, got, want)
		}
	}
}

// jumps are the streams of the gate, of 5,000 values before and after the change.
var jumps = []struct {
	name   string
	before detect.Concept
	after  detect.Concept
}{
	{"0.2 to 0.25", detect.Bernoulli(0.2), detect.Bernoulli(0.25)},
	{"0.2 to 0.3", detect.Bernoulli(0.2), detect.Bernoulli(0.3)},
	{"0.2 to 0.4", detect.Bernoulli(0.2), detect.Bernoulli(0.4)},
	{"0.2 to 0.8", detect.Bernoulli(0.2), detect.Bernoulli(0.8)},
	{"0.05 to 0.1", detect.Bernoulli(0.05), detect.Bernoulli(0.1)},
}

// On every stream each of River's kinds alarms falsely more often than the default, or
// is later, or both; ADWIN, which alarms as rarely, is later on all of them.
func TestDefaultIsNowhereWorseThanAnyRiverDetector(t *testing.T) {
	const runs = 60
	for _, jump := range jumps {
		s := detect.Stream{Concepts: []detect.Concept{jump.before, jump.after}, Length: 5000}
		evaluate := func(kind string) detect.Evaluation {
			return detect.Evaluate(func() detect.Watcher { return detector(t, kind, nil) }, s, runs, 5000, 1)
		}
		ours := evaluate(detect.Default)
		if ours.Disturbed > 1 {
			t.Errorf("%s: the default alarms before the change in %d of %d streams", jump.name, ours.Disturbed, runs)
		}
		for _, kind := range []string{"adwin", "ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley"} {
			theirs := evaluate(kind)
			later := theirs.Missed > ours.Missed || theirs.Missed == ours.Missed && theirs.Delay >= ours.Delay
			if !later && theirs.FalseAlarms <= ours.FalseAlarms {
				t.Errorf("%s: %s has delay %.0f and %d false alarms, the default %.0f and %d",
					jump.name, kind, theirs.Delay, theirs.FalseAlarms, ours.Delay, ours.FalseAlarms)
			}
			if kind == "adwin" && !later {
				t.Errorf("%s: ADWIN finds it after %.0f values, the default after %.0f", jump.name, theirs.Delay, ours.Delay)
			}
		}
	}
}

// run_length is kept on 2 million values of each distribution, of which some are far
// from those that the threshold was measured on.
func TestDefaultKeepsItsRunLength(t *testing.T) {
	lognormal := func(random *rand.Rand) float64 { return math.Exp(2 * random.NormFloat64()) }
	uniform := func(random *rand.Rand) float64 { return random.Float64() }
	rounded := func(random *rand.Rand) float64 { return float64(random.IntN(6)) }
	for name, concept := range map[string]detect.Concept{
		"errors of 0.05": detect.Bernoulli(0.05), "errors of 0.5": detect.Bernoulli(0.5), "normal": detect.Normal(1000, 0.01),
		"log-normal": lognormal, "uniform": uniform, "dice": rounded,
	} {
		const runLength, runs, length = 10_000, 10, 50_000
		s := detect.Stream{Concepts: []detect.Concept{concept}, Length: length}
		got := detect.Evaluate(func() detect.Watcher { return detector(t, "scan", parameters{"run_length": runLength}) }, s, runs, 0, 1)
		if most := runs * length / runLength; got.FalseAlarms > most {
			t.Errorf("%s: %d false alarms in %d values, want at most %d", name, got.FalseAlarms, got.Values, most)
		}
	}
}

func TestDefaultHasNoUnit(t *testing.T) {
	s := detect.Stream{Concepts: []detect.Concept{detect.Normal(0, 1), detect.Normal(0.7, 1)}, Length: 2000}
	values := s.Values(3)
	scaled := make([]float64, len(values))
	for i, v := range values {
		scaled[i] = 1e6 - 1024*v
	}
	a, b := alarms(detector(t, "scan", nil), values), alarms(detector(t, "scan", nil), scaled)
	if len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Errorf("alarms at %v, and %v in another unit; want one, at the same value", a, b)
	}
}

// A stream and its mirror image say the same in the other direction. Errors that rise are found
// sooner than errors that fall, and both are found; numbers have no such direction.
func TestDefaultWaitsForErrorsToRise(t *testing.T) {
	found := func(before, after detect.Concept) float64 {
		s := detect.Stream{Concepts: []detect.Concept{before, after}, Length: 5000}
		e := detect.Evaluate(func() detect.Watcher { return detector(t, "scan", nil) }, s, 60, 5000, 1)
		if e.Missed > 0 {
			t.Fatalf("%d changes of %d were missed", e.Missed, e.Changes)
		}
		return e.Delay
	}
	mirrored := func(concept detect.Concept) detect.Concept {
		return func(random *rand.Rand) float64 { return 1 - concept(random) }
	}
	few, many := detect.Bernoulli(0.4), detect.Bernoulli(0.5)
	rise, fall := found(few, many), found(mirrored(few), mirrored(many))
	if rise > 0.95*fall {
		t.Errorf("a rise is found after %.0f values, the same fall after %.0f", rise, fall)
	}
	low, high := detect.Normal(0, 1), detect.Normal(0.2, 1)
	if rise, fall := found(low, high), found(mirrored(low), mirrored(high)); math.Abs(rise-fall) > 0.01*fall {
		t.Errorf("numbers that rise are found after %.1f values, those that fall after %.1f", rise, fall)
	}
}

func TestDefaultSaysWhereTheStreamChanged(t *testing.T) {
	s := detect.Stream{Concepts: []detect.Concept{detect.Bernoulli(0.1), detect.Bernoulli(0.3)}, Length: 3000}
	for seed := range uint64(10) {
		d := detector(t, "scan", nil)
		for i, x := range s.Values(seed) {
			if d.Update(x) == detect.Change {
				if at := i + 1 - d.Since(); at < 2900 || at > 3100 {
					t.Errorf("seed %d: alarm at %d says that the change was at %d, want about 3000", seed, i, at)
				}
				break
			}
		}
		if d.Since() == 0 {
			t.Errorf("seed %d: the change was not found", seed)
		}
	}
}
