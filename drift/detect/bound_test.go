package detect

import (
	"math/rand/v2"
	"testing"
)

// What is cheap to compute must never say that there is nothing where the logarithms would have said
// that there is something.
func TestDivergenceIsNoLessThanTheLikelihoodRatio(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		n := float64(2 + random.IntN(1<<(1+random.IntN(20))))
		n1 := float64(1 + random.IntN(int(n)-1))
		ones1 := float64(random.IntN(int(n1) + 1))
		ones := ones1 + float64(random.IntN(int(n-n1)+1))
		if ones == 0 || ones == n { // a stream of one value, which is never tested
			continue
		}
		exact := likelihood(ones1, n1) + likelihood(ones-ones1, n-n1) - likelihood(ones, n)
		bound := divergence(ones1, n1, ones/n) + divergence(ones-ones1, n-n1, ones/n)
		if bound*(1+scanSlack)+1e-6 < exact {
			t.Fatalf("%v of %v values, %v of the newest %v: at most %v, but it is %v", ones, n, ones1, n1, bound, exact)
		}
	}
}
