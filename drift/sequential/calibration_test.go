package sequential_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/driftline/driftline/drift/sequential"
)

// stream is a rollout of two stages whose requests fail at a rate that goes up and down.
type stream struct {
	random *rand.Rand
	ratio  float64 // of the candidate's rate to the champion's
	rates  sequential.Rates
}

// look deals requests to the arms, and reports how many went to the candidate.
func (s *stream) look(share float64, requests int, base float64) (candidate int) {
	if n := len(s.rates); n == 0 || s.rates[n-1].Share != share {
		s.rates = append(s.rates, sequential.Stretch{Share: share})
	}
	last := &s.rates[len(s.rates)-1]
	for range requests {
		if s.random.Float64() < share {
			candidate++
			if s.random.Float64() < base*s.ratio {
				last.Candidate++
			}
		} else if s.random.Float64() < base {
			last.Champion++
		}
	}
	return candidate
}

// TestEvidenceIsAsRareAsPromised looks after every hundred requests, over two shares and a rate that
// doubles and halves: without a regression it alarms in at most alpha of the streams, and at the margin
// it is safe in at most beta of them.
func TestEvidenceIsAsRareAsPromised(t *testing.T) {
	const streams, looks, alpha = 400, 200, 0.05
	worse, safe, covered := 0, 0, 0
	for seed := range uint64(streams) {
		same := stream{random: rand.New(rand.NewPCG(seed, 1)), ratio: 1}
		edge := stream{random: rand.New(rand.NewPCG(seed, 2)), ratio: 1.5}
		alarmed, passed, held := false, false, true
		for look := range looks {
			share, base := 0.1, 0.02*math.Exp(math.Sin(float64(look)/10)*math.Ln2)
			if look > looks/2 {
				share = 0.5
			}
			same.look(share, 100, base)
			edge.look(share, 100, base)
			alarmed = alarmed || same.rates.Worse() >= math.Log(1/alpha)
			passed = passed || edge.rates.Safe(1.5) >= math.Log(1/alpha)
			if look%10 == 0 {
				_, interval := edge.rates.Ratio(alpha)
				held = held && interval.Low <= 1.5 && interval.High >= 1.5
			}
		}
		worse, safe, covered = worse+count(alarmed), safe+count(passed), covered+count(held)
	}
	if most := band(streams, alpha); worse > most || safe > most || streams-covered > most {
		t.Errorf("of %d streams %d alarmed, %d were safe at the margin, %d intervals missed; at most %d may", streams, worse, safe, streams-covered, most)
	}
}

// TestRegressionsAreFound: at 5 % of the traffic and 2 % of errors, the median number of the candidate's
// requests until a regression is found, looking after every hundred of them.
func TestRegressionsAreFound(t *testing.T) {
	for _, c := range []struct {
		ratio float64
		most  int
	}{{10, 200}, {5, 300}, {2, 1500}} {
		var found []int
		for seed := range uint64(101) {
			s := stream{random: rand.New(rand.NewPCG(seed, 3)), ratio: c.ratio}
			requests := 0
			for s.rates.Worse() < math.Log(100) && requests < 20_000 {
				requests += s.look(0.05, 500, 0.02)
			}
			found = append(found, requests)
		}
		if got := median(found); got > c.most {
			t.Errorf("%gx: found after %d requests of the candidate, want at most %d", c.ratio, got, c.most)
		}
	}
}

// TestMeansAndPairsAreCalibrated looks a hundred times at skewed values of equal means.
func TestMeansAndPairsAreCalibrated(t *testing.T) {
	const streams, looks, alpha = 400, 100, 0.05
	above, pairs, missed := 0, 0, 0
	for seed := range uint64(streams) {
		random := rand.New(rand.NewPCG(seed, 4))
		var means sequential.Means
		differences := sequential.Pairs{}
		alarmed, paired, outside := false, false, false
		for range looks {
			for range 50 {
				means.Champion.Add(random.ExpFloat64())
				means.Candidate.Add(random.ExpFloat64())
				differences.Add(float64(random.IntN(21)-10) / 10)
			}
			alarmed = alarmed || means.Above(0) >= math.Log(1/alpha)
			paired = paired || differences.Above() >= math.Log(1/alpha)
			if _, interval := means.Interval(alpha); interval.Low > 0 || interval.High < 0 {
				outside = true
			}
		}
		above, pairs, missed = above+count(alarmed), pairs+count(paired), missed+count(outside)
	}
	if most := band(streams, alpha); above > most || pairs > most || missed > most {
		t.Errorf("of %d streams %d means and %d pairs alarmed, %d intervals missed; at most %d may", streams, above, pairs, missed, most)
	}
	var shifted sequential.Means
	random, better := rand.New(rand.NewPCG(9, 9)), sequential.Pairs{}
	for range 3000 {
		shifted.Champion.Add(random.NormFloat64())
		shifted.Candidate.Add(random.NormFloat64() + 0.2)
		better.Add(float64(random.IntN(30)-20) / 100)
	}
	if shifted.Above(0) < 5 || shifted.Below(0.5) < 5 || better.Below(0.05) < 5 {
		t.Errorf("a fifth of σ: above %v, below ½σ %v; pairs %v", shifted.Above(0), shifted.Below(0.5), better.Below(0.05))
	}
}

// TestOneLookTooMany: the z-test, looked at as often, alarms several times as often as it promises.
func TestOneLookTooMany(t *testing.T) {
	const streams = 300
	ours, plain := 0, 0
	for seed := range uint64(streams) {
		s := stream{random: rand.New(rand.NewPCG(seed, 5)), ratio: 1}
		candidate, all, alarmed, peeked := 0, 0, false, false
		for range 100 {
			candidate += s.look(0.1, 1000, 0.02)
			all += 1000
			last := s.rates[0]
			p := (last.Candidate + last.Champion) / float64(all)
			z := (last.Candidate/float64(candidate) - last.Champion/float64(all-candidate)) /
				math.Sqrt(p*(1-p)*(1/float64(candidate)+1/float64(all-candidate)))
			peeked = peeked || z > 2.326
			alarmed = alarmed || s.rates.Worse() >= math.Log(100)
		}
		ours, plain = ours+count(alarmed), plain+count(peeked)
	}
	if ours > band(streams, 0.01) || plain < 5*3 {
		t.Errorf("of %d: ours %d, z-test %d", streams, ours, plain)
	}
}

// TestLostRequestsAreFound: one in five requests of the candidate is not recorded.
func TestLostRequestsAreFound(t *testing.T) {
	whole := sequential.Rates{{Share: 0.05, Candidate: 1010, Champion: 18_990}}
	lossy := sequential.Rates{{Share: 0.05, Candidate: 800, Champion: 19_000}}
	if whole.Dealt() > 0 || lossy.Dealt() < math.Log(1000) {
		t.Errorf("as dealt: %v, with a fifth lost: %v", whole.Dealt(), lossy.Dealt())
	}
}

// TestNeededRequestsSuffice: evidence goes the way that is foretold.
func TestNeededRequestsSuffice(t *testing.T) {
	rates := sequential.Rates{{Share: 0.05, Candidate: 4, Champion: 60}}
	const perRequest = 0.02
	needed := sequential.Needed(func(n float64) bool { return rates.Goes(n, perRequest, 1).Safe(1.5) >= math.Log(20) })
	if needed < 10_000 || needed > 60_000 {
		t.Errorf("%d requests to be safe, want some 30,000", needed)
	}
	if never := sequential.Needed(func(n float64) bool { return rates.Goes(n, perRequest, 1).Worse() >= math.Log(100) }); never != -1 {
		t.Errorf("an equal candidate alarms after %d requests", never)
	}
}

// band is the count that a share of n is above with a chance of 0.5 % at most.
func band(n int, share float64) int {
	return int(float64(n)*share + 2.576*math.Sqrt(float64(n)*share*(1-share)) + 1)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func median(values []int) int {
	slices.Sort(values)
	return values[len(values)/2]
}
