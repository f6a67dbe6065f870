package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

// driftSuite measures the exact two-sample Kolmogorov–Smirnov test: one column in
// memory, and whole files through the command line.
func driftSuite(ctx context.Context, b *bench) error {
	values := pick(b, 200_000, 1_000_000)
	for _, s := range []shape{continuous, rounded, skewed} {
		if err := b.driftColumn(ctx, s, values); err != nil {
			return err
		}
	}
	return b.driftReport(ctx, pick(b, 100_000, 1_000_000))
}

// shape is a distribution: a value of it from a standard normal one.
type shape struct {
	name string
	of   func(normal float64) float64
}

var (
	continuous = shape{"continuous", func(z float64) float64 { return z }}
	rounded    = shape{"rounded, many ties", func(z float64) float64 { return math.Round(z*100) / 100 }}
	skewed     = shape{"log-normal", func(z float64) float64 { return math.Exp(2 * z) }}
)

// draw makes values of the shape. A small shift of the normal values leaves a
// p-value that is neither 0 nor 1, so that comparing it means something.
func (s shape) draw(values int, seed uint64, shift float64) []float64 {
	random := rand.New(rand.NewPCG(seed, uint64(values)))
	drawn := make([]float64, values)
	for i := range drawn {
		drawn[i] = s.of(random.NormFloat64() + shift)
	}
	return drawn
}

const smallShift = 0.002

// driftColumn gives the same bytes to the drift package and to SciPy.
func (b *bench) driftColumn(ctx context.Context, s shape, values int) error {
	reference, current := s.draw(values, 1, 0), s.draw(values, 2, smallShift)
	config := struct {
		Reference string `json:"reference"`
		Current   string `json:"current"`
	}{filepath.Join(b.dir, "reference.f64"), filepath.Join(b.dir, "current.f64")}
	if err := errors.Join(writeFloats(config.Reference, reference), writeFloats(config.Current, current)); err != nil {
		return err
	}
	ours := side{name: "Driftline", run: func(context.Context, bool) (measured, error) {
		start := time.Now()
		result := drift.KS(drift.SampleOf(reference), drift.SampleOf(current), drift.TwoSided)
		elapsed := time.Since(start)
		return measured{value: elapsed.Seconds(), answer: answer{Numbers: []exactReal{exactReal(result.D), exactReal(result.P)}}}, nil
	}}
	w := workload{name: fmt.Sprintf("KS %s v %s, %s", count(values), count(values), s.name), unit: "s", same: sameTests}
	return b.comparePeer(ctx, w, ours, peerSpec{name: "SciPy ks_2samp", module: "drift_scipy_column", config: config})
}

func writeFloats(path string, values []float64) error {
	bytes := make([]byte, 0, 8*len(values))
	for _, v := range values {
		bytes = binary.LittleEndian.AppendUint64(bytes, math.Float64bits(v))
	}
	return os.WriteFile(path, bytes, 0o644)
}

// sameTests compares pairs of a statistic, which must be equal in every bit, and a
// p-value, of which SciPy itself promises fewer digits.
func sameTests(ours, theirs answer) error {
	if len(ours.Numbers) != len(theirs.Numbers) {
		return fmt.Errorf("%d numbers, the peer has %d", len(ours.Numbers), len(theirs.Numbers))
	}
	for i := range ours.Numbers {
		a, t := ours.Numbers[i], theirs.Numbers[i]
		if i%2 == 0 && !sameReal(a, t) {
			return fmt.Errorf("test %d has D %v, the peer's %v", i/2+1, float64(a), float64(t))
		}
		if i%2 == 1 && !closeReal(float64(a), float64(t)) {
			return fmt.Errorf("test %d has p %v, the peer's %v", i/2+1, float64(a), float64(t))
		}
	}
	return nil
}

const pValueTolerance = 1e-9 // relative

func closeReal(a, b float64) bool {
	return a == b || math.Abs(a-b) <= pValueTolerance*max(math.Abs(a), math.Abs(b))
}

// driftReport compares two Parquet files of ten columns. Ours is the command line
// with all that its report has (histograms, false discovery rate), its start
// included; SciPy reads the files and tests column by column in a running Python.
func (b *bench) driftReport(ctx context.Context, rows int) error {
	config := struct {
		Reference string `json:"reference"`
		Current   string `json:"current"`
	}{filepath.Join(b.dir, "reference.parquet"), filepath.Join(b.dir, "current.parquet")}
	reference, current := driftTable(rows, 0), driftTable(rows, 1)
	if err := errors.Join(writeParquet(config.Reference, reference.batches()), writeParquet(config.Current, current.batches()), b.build(ctx)); err != nil {
		return err
	}
	ours := side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		start := time.Now()
		report, err := b.driftCommand(ctx, config.Reference, config.Current)
		elapsed := time.Since(start)
		return measured{value: elapsed.Seconds(), answer: answer{Numbers: testsByColumn(report)}}, err
	}}
	w := workload{name: fmt.Sprintf("report, %d columns, %s v %s", featureCount, count(rows), count(rows)), unit: "s", same: sameTests}
	return b.comparePeer(ctx, w, ours, peerSpec{name: "SciPy ks_2samp, column by column", module: "drift_scipy_table", config: config})
}

// driftTable has columns of all shapes; on side 1, some are shifted.
func driftTable(rows, side int) generated {
	shapes := []shape{continuous, rounded, skewed}
	return generated{schema: arrow.NewSchema(featureFields(featureNames("f", featureCount)), nil), rows: rows, fill: func(b *array.RecordBuilder, _ *rand.Rand, from, to int) {
		for i := range featureCount {
			shift := float64(side) * smallShift * float64(i)
			seed := uint64(from)<<8 | uint64(i)<<1 | uint64(side)
			b.Field(i).(*array.Float64Builder).AppendValues(shapes[i%len(shapes)].draw(to-from, seed, shift), nil)
		}
	}}
}

// exitDrift is the exit code of `driftline drift` that says: it worked, and there is drift.
const exitDrift = 3

func (b *bench) driftCommand(ctx context.Context, reference, current string) (report driftline.DriftReport, err error) {
	c := command(ctx, b.binary, "drift", "--reference", reference, "--current", current, "--json")
	c.Dir = b.dir
	c.Stderr = os.Stderr
	out, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == exitDrift) {
		return report, fmt.Errorf("driftline drift: %w", err)
	}
	return report, json.Unmarshal(out, &report)
}

// testsByColumn lists D and p of the columns in the order of their names.
func testsByColumn(report driftline.DriftReport) (numbers []exactReal) {
	slices.SortFunc(report.Columns, func(a, b driftline.ColumnDrift) int { return strings.Compare(a.Column, b.Column) })
	for _, c := range report.Columns {
		numbers = append(numbers, exactReal(c.Statistic), exactReal(c.PValue))
	}
	return numbers
}
