package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

var profileParts = []part{
	{name: "table", does: "profile of 43 mixed columns from a file, beside DuckDB's SUMMARIZE and whylogs", run: profileTables},
	{name: "windows", does: "two kept windows of 1,000 columns compared, without reading rows", run: profileWindows},
}

// profileTables profiles a file of 43 columns: 20 of decimals (normal, rounded, log-normal;
// every fourth with nulls), 12 of whole numbers, 8 of text with nulls, 2 truth values, a time.
func profileTables(ctx context.Context, b *bench) error {
	rows, sample := pick(b, 20_000, 10_000_000), pick(b, 20_000, 500_000)
	if err := b.build(ctx); err != nil {
		return err
	}
	table, part := profiledTable(rows), profiledTable(sample)
	files := []string{filepath.Join(b.dir, "table.parquet"), filepath.Join(b.dir, "sample.parquet")}
	if err := errors.Join(writeParquet(files[0], table.batches(), fewValues()...), writeParquet(files[1], part.batches(), fewValues()...)); err != nil {
		return err
	}
	columns := table.schema.NumFields()
	w := workload{name: fmt.Sprintf("profile, %d columns × %s rows", columns, count(rows)), unit: "values/s", same: sameProfiles}
	ours := b.profileSide(files[0], rows*columns)
	if err := b.within(ctx, w, ours, 100e6); err != nil {
		return err
	}
	if err := b.comparePeer(ctx, w, ours, profilePeer("DuckDB SUMMARIZE", "profile_duckdb", "", files[0], table.schema)); err != nil {
		return err
	}
	w.name = fmt.Sprintf("profile, %d columns × %s rows", columns, count(sample))
	return b.comparePeer(ctx, w, b.profileSide(files[1], sample*columns), profilePeer("whylogs", "profile_whylogs", ".venv-whylogs", files[1], part.schema))
}

func profilePeer(name, module, venv, file string, schema *arrow.Schema) peerSpec {
	config := struct {
		File    string   `json:"file"`
		Columns []string `json:"columns"` // by name
		Numbers []string `json:"numbers"` // those with moments
	}{File: file}
	for _, f := range schema.Fields() {
		config.Columns = append(config.Columns, f.Name)
		if hasMoments(f.Type) {
			config.Numbers = append(config.Numbers, f.Name)
		}
	}
	slices.Sort(config.Columns)
	return peerSpec{name: name, module: module, venv: venv, config: config}
}

func hasMoments(dt arrow.DataType) bool {
	return dt.ID() == arrow.FLOAT64 || dt.ID() == arrow.INT64
}

// profileSide is the command line, with the start of its process and all that a profile has
// (65,536 counts of each distribution, exact moments, distinct values, categories), which it
// writes to a file.
func (b *bench) profileSide(file string, values int) side {
	return side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		c := command(ctx, b.binary, "profile", file, "--out", filepath.Join(b.dir, "table.profile"), "--json")
		c.Dir = b.dir
		c.Stderr = os.Stderr
		start := time.Now()
		out, err := c.Output()
		elapsed := time.Since(start)
		if err != nil {
			return measured{}, fmt.Errorf("driftline profile: %w", err)
		}
		var found driftline.Profile
		err = json.Unmarshal(out, &found)
		return measured{value: float64(values) / elapsed.Seconds(), answer: profileAnswer(found)}, err
	}}
}

// profileNumbers are what both sides say of a column: rows, nulls, different values, and of
// numbers the least, the greatest, mean and deviation.
const profileNumbers = 7

func profileAnswer(p driftline.Profile) (a answer) {
	slices.SortFunc(p.Columns, func(a, b driftline.ColumnProfile) int { return strings.Compare(a.Column, b.Column) })
	for _, c := range p.Columns {
		a.Numbers = append(a.Numbers, exactReal(c.Rows), exactReal(c.Nulls), exactReal(c.Distinct))
		for _, v := range []*driftline.Number{c.Min, c.Max, c.Mean, c.StdDev} {
			if v == nil || c.Type != driftline.Float64 && c.Type != driftline.Int64 {
				a.Numbers = append(a.Numbers, exactReal(math.NaN()))
			} else {
				a.Numbers = append(a.Numbers, exactReal(*v))
			}
		}
	}
	return a
}

// sameProfiles wants counts and ranges exactly, moments closely, and the number of different
// values, which is an estimate on both sides, within six standard errors of it, if the peer
// has one.
func sameProfiles(ours, theirs answer) error {
	if len(ours.Numbers) != len(theirs.Numbers) {
		return fmt.Errorf("%d numbers, the peer has %d", len(ours.Numbers), len(theirs.Numbers))
	}
	for i := range ours.Numbers {
		a, t := float64(ours.Numbers[i]), float64(theirs.Numbers[i])
		same := a == t || math.IsNaN(a) && math.IsNaN(t)
		switch i % profileNumbers {
		case 2:
			same = same || math.IsNaN(t) || math.Abs(a-t) <= 0.14*max(a, t)
		case 5, 6:
			same = same || closeReal(a, t)
		}
		if !same {
			return fmt.Errorf("column %d, number %d: %v, the peer has %v", i/profileNumbers+1, i%profileNumbers+1, a, t)
		}
	}
	return nil
}

func profiledTable(rows int) generated {
	var fields []arrow.Field
	add := func(n int, prefix string, dt arrow.DataType) {
		for _, name := range featureNames(prefix, n) {
			fields = append(fields, arrow.Field{Name: name, Type: dt, Nullable: true})
		}
	}
	add(20, "decimal", arrow.PrimitiveTypes.Float64)
	add(12, "whole", arrow.PrimitiveTypes.Int64)
	add(8, "text", arrow.BinaryTypes.String)
	add(2, "truth", arrow.FixedWidthTypes.Boolean)
	add(1, "time", driftline.Time)
	return generated{schema: arrow.NewSchema(fields, nil), rows: rows, seed: 43, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for i := range fields {
			fillProfiled(b.Field(i), i, random, from, to)
		}
	}}
}

// wholeRanges are of how many values the columns of whole numbers are.
var wholeRanges = []int64{2, 10, 100, 1440, 100_000, 1 << 40}

// fewValues are the columns of whole numbers that writers keep in dictionaries.
func fewValues() (names []string) {
	for i, name := range featureNames("whole", 12) {
		if wholeRange(20+i) <= 1440 {
			names = append(names, name)
		}
	}
	return names
}

// wholeRange is of how many values the i-th column is.
func wholeRange(i int) int64 { return wholeRanges[i%len(wholeRanges)] }

// textRanges are of how many categories the columns of text are.
var textRanges = []int{3, 30, 300, 3000}

func fillProfiled(to array.Builder, i int, random *rand.Rand, from, end int) {
	shapes := []shape{continuous, rounded, skewed}
	switch to := to.(type) {
	case *array.Float64Builder:
		values := shapes[i%len(shapes)].draw(end-from, uint64(from)<<8|uint64(i), 0)
		to.AppendValues(values, someValid(i%4 == 3, end-from, random))
	case *array.Int64Builder:
		for range end - from {
			to.Append(random.Int64N(wholeRange(i)))
		}
	case *array.StringBuilder:
		for range end - from {
			if i%2 == 0 && random.IntN(20) == 0 {
				to.AppendNull()
				continue
			}
			n := textRanges[i%len(textRanges)]
			to.Append(textNames[min(random.IntN(n), random.IntN(n))])
		}
	case *array.BooleanBuilder:
		for range end - from {
			to.Append(random.IntN(4) == 0)
		}
	case *array.TimestampBuilder:
		for row := from; row < end; row++ {
			to.Append(arrow.Timestamp(yearStart + int64(row)*1000))
		}
	}
}

var textNames = featureNames("category number ", 3000)

// someValid says of one in twenty that it is null, or nil if none is.
func someValid(nulls bool, n int, random *rand.Rand) []bool {
	if !nulls {
		return nil
	}
	valid := make([]bool, n)
	for i := range valid {
		valid[i] = random.IntN(20) > 0
	}
	return valid
}

// profileWindows keeps profiles of two windows, of which one is shifted in every tenth column,
// and compares them. The rows are those of a SELECT, and are nowhere.
func profileWindows(ctx context.Context, b *bench) error {
	columns, rows := pick(b, 50, 1000), pick(b, 2_000, 20_000)
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	for i, source := range []string{"monday", "tuesday"} {
		req := driftline.ProfileRequest{Source: source, Table: driftline.DriftSource{SQL: windowSQL(columns, rows, i)}}
		if i > 0 {
			req.Reference = "monday"
		}
		if _, err := s.client.ProfileTable(ctx, req); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("two kept windows compared, %s columns", count(columns))
	if err := b.compareWindows(ctx, s, workload{name: name + ", histograms of what drifted", unit: "ms"}, driftline.HistogramsDrifted, columns); err != nil {
		return err
	}
	return b.compareWindows(ctx, s, workload{name: name, unit: "ms"}, driftline.HistogramsAll, columns)
}

// compareWindows asks for a comparison of which every tenth column must have drifted.
func (b *bench) compareWindows(ctx context.Context, s *server, w workload, histograms string, columns int) error {
	return b.within(ctx, w, side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		start := time.Now()
		report, err := s.client.CompareProfiles(ctx, driftline.ProfileComparison{
			Reference: driftline.ProfileWindow{Source: "monday"}, Current: driftline.ProfileWindow{Source: "tuesday"}, Histograms: histograms,
		})
		elapsed := time.Since(start)
		if err != nil {
			return measured{}, err
		}
		if report.Compared() != columns || report.Drifted != columns/10 {
			return measured{}, fmt.Errorf("%d of %d columns drifted, want %d of %d", report.Drifted, report.Compared(), columns/10, columns)
		}
		return measured{value: 1000 * elapsed.Seconds()}, nil
	}}, 50)
}

// windowSQL makes columns of numbers by hashing; of the second window, every tenth is shifted.
func windowSQL(columns, rows, window int) string {
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
