package rollout_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/sequential"
	"github.com/driftline/driftline/rollout"
)

func TestKeysSurviveJSON(t *testing.T) {
	for _, n := range []int{0, 1, 400, 60_000, 400_000} {
		e := evidence(n, 1)
		kept, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var read rollout.Evidence
		if err := json.Unmarshal(kept, &read); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(read); string(again) != string(kept) {
			t.Errorf("%d keys are others after a restart", n)
		}
		if len(kept) > 4*24_000 {
			t.Errorf("%d keys take %d bytes", n, len(kept))
		}
	}
	for _, damaged := range []string{`"*"`, `"AAAA"`, `"/////w=="`} {
		var k rollout.Keys
		if err := json.Unmarshal([]byte(damaged), &k); err == nil {
			t.Errorf("%s is read as keys", damaged)
		}
	}
}

// FuzzKeys: what is read is written back as it was read, and nothing is read that panics.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("AQID"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		var keys rollout.Keys
		if err := keys.UnmarshalText(text); err == nil {
			written, _ := keys.MarshalText()
			var again rollout.Keys
			if err := again.UnmarshalText(written); err != nil || !reflect.DeepEqual(keys, again) {
				t.Errorf("%q was read, written as %q, and read otherwise: %v", text, written, err)
			}
		}
		var counts rollout.Counts
		if err := counts.UnmarshalText(text); err == nil {
			written, _ := counts.MarshalText()
			var again rollout.Counts
			if err := again.UnmarshalText(written); err != nil || !reflect.DeepEqual(counts, again) {
				t.Errorf("counts %q were read, written as %q, and read otherwise: %v", text, written, err)
			}
		}
	})
}

// errorsOnly is the plan that the tests below count by.
var errorsOnly = []driftline.Guard{{Kind: driftline.GuardErrors, Margin: 1.5}}

// evidence has observations of n keys of the champion, each of which failed.
func evidence(n int, route uint64) *rollout.Evidence {
	e := &rollout.Evidence{Segments: []rollout.Segment{{Route: route, Share: 0.5, Guards: make([]rollout.GuardEvidence, 1)}}}
	for i := range n {
		e.Add(errorsOnly, &rollout.Observation{Route: route, Arm: driftline.ArmChampion, Key: rollout.Key(strconv.Itoa(i)), Answer: rollout.Answer{Fault: driftline.FaultError}})
	}
	return e
}

func TestAKeyCountsOnce(t *testing.T) {
	e := evidence(0, 1)
	add := func(arm driftline.Arm, key uint64, fault driftline.Fault) {
		e.Add(errorsOnly, &rollout.Observation{Route: 1, Arm: arm, Key: key, Answer: rollout.Answer{Fault: fault, Score: math.NaN()}})
	}
	customer := rollout.Key("customer")
	add(driftline.ArmCandidate, customer, "")
	for range 100 {
		add(driftline.ArmCandidate, customer, driftline.FaultTimeout)
	}
	add(driftline.ArmChampion, customer, driftline.FaultTimeout) // its weight had shrunk
	for range 3 {
		add(driftline.ArmChampion, 0, driftline.FaultError) // of no key: each is another one
	}
	add(driftline.ArmCandidate, rollout.Key("other"), driftline.FaultOurs)
	s := e.Segments[0]
	want := rollout.Segment{
		Route: 1, Share: 0.5,
		Requests: driftline.ArmCounts{Candidate: 101, Champion: 4}, Ours: driftline.ArmCounts{Candidate: 1},
		First: driftline.ArmCounts{Candidate: 1, Champion: 4}, Dealt: driftline.ArmCounts{Candidate: 1, Champion: 3},
		Guards: []rollout.GuardEvidence{{Events: driftline.ArmCounts{Candidate: 1, Champion: 3}, FirstEvents: driftline.ArmCounts{Champion: 4},
			All: driftline.ArmCounts{Candidate: 100, Champion: 4}, Most: 101}},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	add("nobody", 0, "")
	e.Add(errorsOnly, &rollout.Observation{Route: 2, Arm: driftline.ArmCandidate})
	if e.Strays != 2 || !reflect.DeepEqual(e.Segments[0], want) {
		t.Errorf("%d strays, %+v", e.Strays, e.Segments[0])
	}
}

// TestBadCustomersConvictNobody: the candidate is no worse, but a few customers, who come again
// in every window, fail at every request. Counting each request would roll back one rollout in several.
func TestBadCustomersConvictNobody(t *testing.T) {
	const seeds, share, alpha = 300, 0.1, 0.05
	ours, each := 0, 0
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 1))
		e, plain := evidence(0, 1), sequential.Stretch{Share: share}
		e.Segments[0].Share = share
		plan := driftline.RolloutPlan{Guards: errorsOnly, Alpha: alpha, Beta: 0.05}
		alarmed, convicted := false, false
		arms := make([]driftline.Arm, 200)
		for customer := range arms {
			arms[customer] = driftline.ArmChampion
			if random.Float64() < share {
				arms[customer] = driftline.ArmCandidate
			}
		}
		for range 8 {
			for customer, arm := range arms {
				o := rollout.Observation{Route: 1, Arm: arm, Key: rollout.Key(fmt.Sprint(seed, customer))}
				if customer%10 == 0 {
					o.Answer.Fault = driftline.FaultRejected
					*map[driftline.Arm]*float64{driftline.ArmCandidate: &plain.Candidate, driftline.ArmChampion: &plain.Champion}[arm]++
				}
				for range 1 + customer%3 {
					e.Add(errorsOnly, &o)
				}
			}
			e.Roll(time.Time{})
			convicted = convicted || sequential.Rates{plain}.Worse() > math.Log(1/alpha)
			alarmed = alarmed || rollout.Judge(&plan, e).Outcome == driftline.VerdictWorse
		}
		if alarmed {
			ours++
		}
		if convicted {
			each++
		}
	}
	if most := int(seeds*alpha + 2.576*math.Sqrt(seeds*alpha*(1-alpha))); ours > most || each < most {
		t.Errorf("of %d, %d are convicted (at most %d may), and %d if each request counts", seeds, ours, most, each)
	}
}

// TestABreakAmongFamiliarKeysIsFound: four hundred customers, each of whom had an error long
// ago, and has a hundred requests in a window. First events say nothing any more.
func TestABreakAmongFamiliarKeysIsFound(t *testing.T) {
	const share, customers = 0.05, 400
	plan := driftline.RolloutPlan{Guards: errorsOnly, Alpha: 0.01, Beta: 0.05, Stages: []driftline.CanaryStage{{Weight: 5}}}
	random := rand.New(rand.NewPCG(5, 5))
	e := evidence(0, 1)
	e.Segments[0].Share = share
	window := func(candidate float64) driftline.RolloutVerdict {
		for customer := range customers {
			arm, rate := driftline.ArmChampion, 0.05
			if customer < customers*share {
				arm, rate = driftline.ArmCandidate, candidate
			}
			for range 100 {
				o := rollout.Observation{Route: 1, Arm: arm, Key: rollout.Key(fmt.Sprint("c", customer))}
				if random.Float64() < rate {
					o.Answer.Fault = driftline.FaultError
				}
				e.Add(errorsOnly, &o)
			}
		}
		e.Roll(time.Time{})
		return rollout.Judge(&plan, e)
	}
	for range 5 {
		if v := window(0.05); v.Outcome == driftline.VerdictWorse {
			t.Fatalf("an equal candidate is worse: %+v", v)
		}
	}
	if v := window(0.5); v.Outcome != driftline.VerdictWorse || math.Abs(float64(v.Guards[0].Ratio.Value)-10) > 2 {
		t.Errorf("ten times the errors of familiar customers: %+v", v)
	}
}

// TestShadowMeetsKeysAnew: who asked while the baseline was gathered is evidence in shadow, once.
func TestShadowMeetsKeysAnew(t *testing.T) {
	plan := driftline.RolloutPlan{Shadow: &driftline.ShadowStage{}, Guards: errorsOnly}
	w, _, err := newWorld(rollout.Spec{ID: "m-1", Model: "m", Candidate: 2, Champion: 1, Policy: 1, Plan: plan}, 1)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(mirror *rollout.Answer) {
		o := rollout.Observation{Route: w.state.Route.Sequence, Arm: driftline.ArmChampion, Key: rollout.Key("customer"), Mirror: mirror}
		if _, err := w.step(rollout.Event{Kind: rollout.Tick, Observations: []rollout.Observation{o}}); err != nil {
			t.Fatal(err)
		}
	}
	ask(nil)
	if _, err := w.step(rollout.Event{Kind: rollout.Loaded}); err != nil {
		t.Fatal(err)
	}
	ask(nil)
	ask(&rollout.Answer{})
	ask(&rollout.Answer{})
	if v := w.state.Verdict; w.state.Phase != driftline.RolloutShadow || v.Pairs != 1 || v.Requests.Champion != 2 {
		t.Errorf("%s: %+v", w.state.Phase, v)
	}
}

func TestEvidenceMerges(t *testing.T) {
	whole, left, right := evidence(0, 1), evidence(0, 1), evidence(0, 1)
	guards := []driftline.Guard{{Kind: driftline.GuardMean, Value: "loss", Scale: 1, Worse: driftline.Higher}}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 1000 {
		part := left
		if i%2 == 0 {
			part = right
		}
		arm := []driftline.Arm{driftline.ArmCandidate, driftline.ArmChampion}[random.IntN(2)]
		o := rollout.Observation{Route: 1, Arm: arm, Key: rollout.Key(strconv.Itoa(i)), Answer: rollout.Answer{Values: map[string]float64{"loss": random.Float64()}}}
		if i%3 == 0 {
			o.Mirror = &rollout.Answer{Values: map[string]float64{"loss": random.Float64()}}
		}
		whole.Add(guards, &o)
		part.Add(guards, &o)
	}
	left.Merge(*right)
	left.Merge(*evidence(7, 9)) // of another route
	a, b := whole.Segments[0], left.Segments[0]
	if a.First != b.First || a.Dealt != b.Dealt || a.Pairs != b.Pairs || left.Strays != 7 ||
		math.Abs(a.Guards[0].Candidate.Mean-b.Guards[0].Candidate.Mean) > 1e-12 || !reflect.DeepEqual(a.Guards[0].Pairs, b.Guards[0].Pairs) {
		t.Errorf("whole  %+v\nmerged %+v, %d strays", a, b, left.Strays)
	}
}

// TestMeanGuards: in canary by confidence sequences, in shadow by pairs; each way of being worse.
func TestMeanGuards(t *testing.T) {
	for _, c := range []struct {
		worse driftline.Direction
		shift float64
		want  driftline.VerdictOutcome
	}{
		{driftline.Higher, 0.2, driftline.VerdictWorse}, {driftline.Higher, 0, driftline.VerdictSafe}, {driftline.Higher, -0.2, driftline.VerdictSafe},
		{driftline.Lower, -0.2, driftline.VerdictWorse}, {driftline.Lower, 0.2, driftline.VerdictSafe},
		{driftline.Either, -0.2, driftline.VerdictWorse}, {driftline.Either, 0.2, driftline.VerdictWorse}, {driftline.Either, 0, driftline.VerdictSafe},
	} {
		for _, phase := range []driftline.RolloutPhase{driftline.RolloutCanary, driftline.RolloutShadow} {
			plan := driftline.RolloutPlan{Guards: []driftline.Guard{{Kind: driftline.GuardMean, Value: "loss", Worse: c.worse, Margin: 0.1}}, Stages: []driftline.CanaryStage{{Weight: 50}}}
			share := 0.5
			if phase == driftline.RolloutShadow {
				plan.Shadow, share = &driftline.ShadowStage{}, 0
			}
			done := plan.Completed()
			e := rollout.Evidence{Segments: []rollout.Segment{{Route: 1, Phase: phase, Share: share, Guards: make([]rollout.GuardEvidence, 1)}}}
			random := rand.New(rand.NewPCG(1, 1))
			loss := func(arm driftline.Arm) rollout.Answer {
				v := 0.3 + 0.4*random.Float64()
				if arm == driftline.ArmCandidate {
					v += c.shift
				}
				return rollout.Answer{Values: map[string]float64{"loss": v}}
			}
			for i := range 6000 {
				o := rollout.Observation{Route: 1, Arm: driftline.ArmChampion}
				if phase == driftline.RolloutShadow {
					mirror := loss(driftline.ArmCandidate)
					o.Mirror = &mirror
				} else if i%2 == 0 {
					o.Arm = driftline.ArmCandidate
				}
				o.Answer = loss(o.Arm)
				e.Add(done.Guards, &o)
			}
			v := rollout.Judge(&done, &e)
			if v.Outcome != c.want {
				t.Errorf("%s, worse if %s, shift %v: %s (e-value %.3g, safe %.3g), want %s", phase, c.worse, c.shift, v.Outcome, float64(v.EValue), float64(v.Guards[0].Safe), c.want)
			}
			if d := float64(v.Guards[0].Difference.Value); math.Abs(math.Abs(d)-math.Abs(c.shift)) > 0.01 {
				t.Errorf("%s, worse if %s, shift %v: difference %v", phase, c.worse, c.shift, d)
			}
		}
	}
}

func TestNotFiniteScoresAreErrors(t *testing.T) {
	e := evidence(0, 1)
	for _, score := range []float64{math.Inf(1), math.Inf(-1), 0.5, math.NaN()} {
		e.Add(errorsOnly, &rollout.Observation{Route: 1, Arm: driftline.ArmCandidate, Answer: rollout.Answer{Score: score}})
	}
	if got := e.Segments[0].Guards[0].Events.Candidate; got != 2 {
		t.Errorf("%d of two infinities, a score and none are errors", got)
	}
}

// TestScoresBeyondTheChampions are counted after a baseline was frozen, and convict a
// candidate whose scores went to the extremes although it never fails.
func TestScoresBeyondTheChampions(t *testing.T) {
	w, _, err := newWorld(rollout.Spec{ID: "m-1", Model: "m", Candidate: 2, Champion: 1, Policy: 1,
		Plan: driftline.RolloutPlan{Guards: []driftline.Guard{{Kind: driftline.GuardScore}}, Stages: []driftline.CanaryStage{{Weight: 50}}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.step(rollout.Event{Kind: rollout.Loaded}); err != nil {
		t.Fatal(err)
	}
	w.tick(time.Minute, load{requests: 1000}, "")
	if low, high := float64(w.state.Evidence.Baselines[0].Low), float64(w.state.Evidence.Baselines[0].High); math.Abs(low-0.1) > 0.03 || math.Abs(high-0.9) > 0.03 {
		t.Fatalf("scores are extreme below %v and above %v", low, high)
	}
	seen := w.serve(load{requests: 1000})
	for i := range seen {
		if seen[i].Arm == driftline.ArmCandidate {
			seen[i].Answer.Score = math.Round(seen[i].Answer.Score)
		}
	}
	if _, err := w.step(rollout.Event{Kind: rollout.Tick, Observations: seen}); err != nil || w.state.Phase != driftline.RolloutRolledBack {
		t.Errorf("it is %s, %v: %s", w.state.Phase, err, w.state.Reason)
	}
}
