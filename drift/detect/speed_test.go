package detect_test

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkUpdate(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	errors, normal := make([]float64, 100_000), make([]float64, 100_000)
	for i := range errors {
		normal[i] = random.NormFloat64()
		if random.Float64() < 0.2 {
			errors[i] = 1
		}
	}
	for _, kind := range []string{"scan", "adwin", "kswin", "ddm", "hddm_a", "hddm_w", "page_hinkley"} {
		for name, values := range map[string][]float64{"errors": errors, "normal": normal} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				d := detector(b, kind, nil)
				for i := range b.N {
					d.Update(values[i%len(values)])
				}
			})
		}
	}
}
