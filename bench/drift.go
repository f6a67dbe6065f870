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
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

var driftParts = []part{
	{name: "ks", does: "Kolmogorov-Smirnov of columns in memory, beside SciPy", run: driftColumns},
	{name: "report", does: "whole report of ten numeric columns from files, beside SciPy and Evidently", run: driftReports},
	{name: "categories", does: "20,000 categories, beside Evidently", run: driftCategories},
	{name: "mixed", does: "whole report of 100 mixed columns from files, beside Evidently", big: true, run: driftMixed},
}

// driftColumns measures the exact two-sample Kolmogorov–Smirnov test on one core.
func driftColumns(ctx context.Context, b *bench) error {
	values := pick(b, 200_000, 1_000_000)
	for _, s := range []shape{continuous, rounded, skewed} {
		if err := b.driftColumn(ctx, s, values, 40); err != nil {
			return err
		}
	}
	many := pick(b, 400_000, 10_000_000)
	if err := b.driftColumn(ctx, continuous, many, 25); err != nil {
		return err
	}
	return b.driftLimits(ctx, values, many)
}

// driftLimits measures time per value, and memory in multiples of the values' own.
func (b *bench) driftLimits(ctx context.Context, values, many int) error {
	perValue := workload{name: fmt.Sprintf("KS %s v %s, %s, a value", count(values), count(values), continuous.name), unit: "ns"}
	reference, current := drift.SampleOf(continuous.draw(values, 1, 0)), drift.SampleOf(continuous.draw(values, 2, smallShift))
	err := b.within(ctx, perValue, side{run: func(context.Context, bool) (measured, error) {
		start := time.Now()
		drift.KS(reference, current, drift.TwoSided)
		return measured{value: float64(time.Since(start).Nanoseconds()) / float64(2*values)}, nil
	}}, 8)
	if err != nil {
		return err
	}
	held := workload{name: fmt.Sprintf("KS %s v %s, memory of the values' own", count(many), count(many)), unit: "times", pairs: 1}
	reference, current = drift.SampleOf(continuous.draw(many, 1, 0)), drift.SampleOf(continuous.draw(many, 2, smallShift))
	return b.within(ctx, held, side{run: func(context.Context, bool) (measured, error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		drift.KS(reference, current, drift.TwoSided)
		runtime.ReadMemStats(&after) // all that was allocated is more than what was ever held
		own := float64(8 * 2 * many)
		return measured{value: (own + float64(after.TotalAlloc-before.TotalAlloc)) / own}, nil
	}}, 1.3)
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
func (b *bench) driftColumn(ctx context.Context, s shape, values int, goal float64) error {
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
	w := workload{name: fmt.Sprintf("KS %s v %s, %s", count(values), count(values), s.name), unit: "s", same: sameTests(0), goal: atLeast(goal)}
	return b.comparePeer(ctx, w, ours, peerSpec{name: "SciPy ks_2samp", module: "drift_scipy_column", config: config})
}

func writeFloats(path string, values []float64) error {
	bytes := make([]byte, 0, 8*len(values))
	for _, v := range values {
		bytes = binary.LittleEndian.AppendUint64(bytes, math.Float64bits(v))
	}
	return os.WriteFile(path, bytes, 0o644)
}

// sameTests compares pairs of a statistic and a p-value. A D must be equal in every bit;
// of a p-value, and of the χ² of the leading pairs, fewer digits are promised.
func sameTests(categorical int) func(ours, theirs answer) error {
	return func(ours, theirs answer) error {
		if len(ours.Numbers) != len(theirs.Numbers) {
			return fmt.Errorf("%d numbers, the peer has %d", len(ours.Numbers), len(theirs.Numbers))
		}
		for i := range ours.Numbers {
			a, t := ours.Numbers[i], theirs.Numbers[i]
			if exact := i%2 == 0 && i/2 >= categorical; exact && !sameReal(a, t) {
				return fmt.Errorf("test %d has D %v, the peer's %v", i/2+1, float64(a), float64(t))
			}
			if !closeReal(float64(a), float64(t)) {
				return fmt.Errorf("test %d has %v, the peer's %v", i/2+1, float64(a), float64(t))
			}
		}
		return nil
	}
}

const pValueTolerance = 1e-9 // relative

func closeReal(a, b float64) bool {
	return a == b || math.Abs(a-b) <= pValueTolerance*max(math.Abs(a), math.Abs(b))
}

// driftFiles are two Parquet files to compare, as the peers are told of them.
type driftFiles struct {
	Reference   string   `json:"reference"`
	Current     string   `json:"current"`
	Categorical []string `json:"categorical"` // columns; their names are before all others
}

func (b *bench) writeDriftFiles(ctx context.Context, of func(side int) generated, categorical ...string) (driftFiles, error) {
	files := driftFiles{filepath.Join(b.dir, "reference.parquet"), filepath.Join(b.dir, "current.parquet"), categorical}
	return files, errors.Join(writeParquet(files.Reference, of(0).batches()), writeParquet(files.Current, of(1).batches()), b.build(ctx))
}

// driftSide is the command line with all that its report has (histograms, false
// discovery rate), the start of the process included.
func (b *bench) driftSide(files driftFiles) side {
	return side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		start := time.Now()
		report, err := b.driftCommand(ctx, files.Reference, files.Current)
		elapsed := time.Since(start)
		return measured{value: elapsed.Seconds(), answer: answer{Numbers: testsByColumn(report)}}, err
	}}
}

// driftReports compares two files of ten numeric columns. SciPy and Evidently read
// them and compare in a running Python; Evidently's own answer is another one, so its
// process is asked for SciPy's, outside of what is measured.
func driftReports(ctx context.Context, b *bench) error {
	rows := pick(b, 20_000, 1_000_000)
	files, err := b.writeDriftFiles(ctx, func(side int) generated { return driftTable(rows, side) })
	if err != nil {
		return err
	}
	ours := b.driftSide(files)
	w := workload{name: fmt.Sprintf("report, %d columns, %s v %s", featureCount, count(rows), count(rows)), unit: "s", same: sameTests(0)}
	if err := b.comparePeer(ctx, w, ours, peerSpec{name: "SciPy ks_2samp, column by column", module: "drift_scipy_table", config: files}); err != nil {
		return err
	}
	if err := b.within(ctx, w, ours, 0.5); err != nil {
		return err
	}
	w.goal, w.pairs = atLeast(150), 2 // Evidently takes about a minute
	return b.comparePeer(ctx, w, ours, evidently(files, nil))
}

func evidently(files driftFiles, limit *peerLimit) peerSpec {
	return peerSpec{name: "Evidently DataDriftPreset", module: "drift_evidently", config: files, limit: limit}
}

// driftMixed compares two files of 100 columns, half of them of strings, and shows
// that ten times the columns take ten times the time.
func driftMixed(ctx context.Context, b *bench) error {
	rows, columns := pick(b, 5_000, 1_000_000), pick(b, 20, 100)
	few, err := b.timeReport(ctx, rows, columns/10)
	if err != nil {
		return err
	}
	names := featureNames("c", columns/2)
	files, err := b.writeDriftFiles(ctx, func(side int) generated { return mixedTable(rows, columns, side) }, names...)
	if err != nil {
		return err
	}
	ours := b.driftSide(files)
	w := workload{name: fmt.Sprintf("report, %d mixed columns, %s v %s", columns, count(rows), count(rows)), unit: "s",
		same: sameTests(len(names)), goal: atLeast(50)}
	many, err := ours.run(ctx, false)
	if err != nil {
		return err
	}
	b.keepLimit(workload{name: w.name + ", time per column beside a tenth of them", unit: "times"}, []float64{many.value / few / 10}, 1.1)
	limit := &peerLimit{time: pick(b, time.Minute, 6*time.Minute), memory: 18e9} // Evidently takes longer, which is enough for the goal
	return b.comparePeer(ctx, w, ours, evidently(files, limit))
}

func (b *bench) timeReport(ctx context.Context, rows, columns int) (seconds float64, err error) {
	files, err := b.writeDriftFiles(ctx, func(side int) generated { return mixedTable(rows, columns, side) })
	if err != nil {
		return 0, err
	}
	var values []float64
	for range b.pairs() {
		m, err := b.driftSide(files).run(ctx, false)
		if err != nil {
			return 0, err
		}
		values = append(values, m.value)
	}
	return median(values), nil
}

// mixedTable has half its columns of strings, c…, and half of numbers, f….
func mixedTable(rows, columns, side int) generated {
	strings, numbers := columns/2, columns-columns/2
	var fields []arrow.Field
	for _, name := range featureNames("c", strings) {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String})
	}
	fields = append(fields, featureFields(featureNames("f", numbers))...)
	shapes := []shape{continuous, rounded, skewed}
	return generated{schema: arrow.NewSchema(fields, nil), rows: rows, seed: uint64(side), fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for i := range strings {
			column := b.Field(i).(*array.StringBuilder)
			for range to - from {
				column.Append(categoryNames[random.IntN(2+i%len(categoryNames[1:]))])
			}
		}
		for i := range numbers {
			seed := uint64(from)<<8 | uint64(i)<<1 | uint64(side)
			b.Field(strings+i).(*array.Float64Builder).AppendValues(shapes[i%len(shapes)].draw(to-from, seed, 0), nil)
		}
	}}
}

// categoryNames are enough for columns of 2 … 30 categories.
var categoryNames = featureNames("category_", 31)

// driftCategories compares two columns of 20,000 categories: one that is the same on both
// sides, and one of which a tenth of current moved to other categories. The
// statistics of many rare categories differ by how they are pooled, so that the
// verdicts are what is checked: ours must be right.
func driftCategories(ctx context.Context, b *bench) error {
	categories, rows := pick(b, 2_000, 20_000), pick(b, 20_000, 100_000)
	table := func(side int) generated {
		fields := []arrow.Field{{Name: "moved", Type: arrow.BinaryTypes.String}, {Name: "same", Type: arrow.BinaryTypes.String}}
		return generated{schema: arrow.NewSchema(fields, nil), rows: rows, seed: uint64(side), fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
			for range to - from {
				moved := random.IntN(categories)
				if side == 1 && random.IntN(10) == 0 {
					moved /= 20
				}
				b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("category %d", moved))
				b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("category %d", random.IntN(categories)))
			}
		}}
	}
	files, err := b.writeDriftFiles(ctx, table, "moved", "same")
	if err != nil {
		return err
	}
	ours := side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		start := time.Now()
		report, err := b.driftCommand(ctx, files.Reference, files.Current)
		elapsed := time.Since(start)
		if err != nil {
			return measured{}, err
		}
		for _, c := range report.Columns {
			if drifted := c.Verdict == driftline.Drift; drifted != (c.Column == "moved") {
				return measured{}, fmt.Errorf("column %q has the verdict %q", c.Column, c.Verdict)
			}
		}
		return measured{value: elapsed.Seconds()}, nil
	}}
	w := workload{name: fmt.Sprintf("report, 2 columns of %s categories, %s v %s", count(categories), count(rows), count(rows)), unit: "s", uncompared: true, goal: atLeast(50)}
	return b.comparePeer(ctx, w, ours, evidently(files, nil))
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
