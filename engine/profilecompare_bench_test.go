package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// BenchmarkCompareKeptProfiles compares two kept windows of 1,000 columns of 20,000 numbers, of which every
// tenth is shifted, and writes and reads the JSON of the answer.
func BenchmarkCompareKeptProfiles(b *testing.B) {
	env := testenv.New(b)
	for i, source := range []string{"monday", "tuesday"} {
		req := driftline.ProfileRequest{Source: source, Table: driftline.DriftSource{SQL: windowOfColumns(1000, 20_000, i)}}
		if i > 0 {
			req.Reference = "monday"
		}
		if _, err := env.Engine.Profile(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
	comparison := driftline.ProfileComparison{Reference: driftline.ProfileWindow{Source: "monday"}, Current: driftline.ProfileWindow{Source: "tuesday"}}
	b.Run("compare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			report, err := env.Engine.CompareProfiles(b.Context(), comparison)
			if err != nil || report.Drifted != 100 {
				b.Fatalf("%d drifted, %v", report.Drifted, err)
			}
		}
	})
	report, err := env.Engine.CompareProfiles(b.Context(), comparison)
	if err != nil {
		b.Fatal(err)
	}
	text, err := report.AppendJSON(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := report.AppendJSON(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if err := new(driftline.DriftReport).ReadJSON(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// windowOfColumns makes columns of numbers by hashing; of the second window, every tenth is shifted.
func windowOfColumns(columns, rows, window int) string {
	var fields []string
	for i := range columns {
		shift := 0.0
		if window == 1 && i%10 == 0 {
			shift = 0.2
		}
		fields = append(fields, fmt.Sprintf("hash(i, %d) / 18446744073709551616.0 + %v AS c%d", 2*i+window, shift, i))
	}
	return fmt.Sprintf("SELECT %s FROM range(%d) t(i)", strings.Join(fields, ", "), rows)
}
