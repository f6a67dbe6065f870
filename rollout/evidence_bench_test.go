package rollout_test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// BenchmarkEvidenceIsWritten is what a tick with new requests writes, after so many keys: the whole evidence. Its
// size has a bound that TestKeysSurviveJSON holds, however many keys there were.
func BenchmarkEvidenceIsWritten(b *testing.B) {
	for _, keys := range []int{100, 10_000, 400_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			e := evidence(keys, 1)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				kept, err := json.Marshal(e)
				if err != nil {
					b.Fatal(err)
				}
				size = len(kept)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
