package engine

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"io"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// maxParts is how many parts a dataset can have.
const maxParts = 64

// checkSplit checks what a split says of itself; that its columns exist is checked
// when they are known.
func checkSplit(s *driftline.SplitSpec) error {
	if s == nil {
		return nil
	}
	kinds := []driftline.SplitKind{driftline.SplitRandom, driftline.SplitGroup, driftline.SplitTime}
	if !slices.Contains(kinds, s.Kind) {
		e := driftline.Unknown("split kind", s.Kind, kinds)
		e.Code = driftline.Invalid
		return e
	}
	if n := len(s.Parts); n < 2 || n > maxParts {
		return driftline.Errorf(driftline.Invalid, "the split has %d parts, want 2 to %d", n, maxParts)
	}
	seen := map[string]bool{}
	for _, p := range s.Parts {
		if err := driftline.CheckIdentifier("split part", p.Name); err != nil {
			return err
		}
		if seen[p.Name] {
			return driftline.Errorf(driftline.Invalid, "the split has two parts %q", p.Name).WithHint("give each part a name of its own")
		}
		seen[p.Name] = true
	}
	switch {
	case s.Kind == driftline.SplitGroup && s.Column == "":
		return driftline.Errorf(driftline.Invalid, "a split by group needs a column").
			WithHint("name the column whose equal values must stay in one part, for example a customer's id")
	case s.Kind != driftline.SplitGroup && s.Column != "":
		return driftline.Errorf(driftline.Invalid, "a %s split takes no column, and %q is given", s.Kind, s.Column).
			WithHint("use kind group, or leave the column out")
	case splitsAtTimes(s):
		return checkUntils(s)
	}
	return checkFractions(s)
}

// splitsAtTimes reports whether the parts are told apart by given times.
func splitsAtTimes(s *driftline.SplitSpec) bool {
	return s.Kind == driftline.SplitTime &&
		slices.ContainsFunc(s.Parts, func(p driftline.SplitPart) bool { return !p.Until.IsZero() })
}

func checkUntils(s *driftline.SplitSpec) error {
	last := len(s.Parts) - 1
	for i, p := range s.Parts {
		switch {
		case p.Fraction != 0:
			return driftline.Errorf(driftline.Invalid, "part %q has a fraction, where other parts have times", p.Name).
				WithHint("give all parts a fraction, or all but the last a time")
		case i < last && p.Until.IsZero():
			return driftline.Errorf(driftline.Invalid, "part %q has no time", p.Name).
				WithHint("every part but the last needs until, the time before which its rows are")
		case i == last && !p.Until.IsZero():
			return driftline.Errorf(driftline.Invalid, "the last part %q has a time: rows from it on would be in no part", p.Name).
				WithHint("leave until out of the last part")
		case i > 0 && i < last && !p.Until.After(s.Parts[i-1].Until):
			return driftline.Errorf(driftline.Invalid, "part %q ends before it begins", p.Name).WithHint("order the parts by time")
		}
	}
	return nil
}

func checkFractions(s *driftline.SplitSpec) error {
	sum := 0.0
	for _, p := range s.Parts {
		if !p.Until.IsZero() {
			return driftline.Errorf(driftline.Invalid, "part %q has a time, and the split is not by time", p.Name).WithHint("use kind time, or a fraction")
		}
		if !(p.Fraction > 0 && p.Fraction < 1) {
			return driftline.Errorf(driftline.Invalid, "part %q has the fraction %v, want more than 0 and less than 1", p.Name, p.Fraction)
		}
		sum += p.Fraction
	}
	if math.Abs(sum-1) > 1e-9 {
		return driftline.Errorf(driftline.Invalid, "the fractions of the split add up to %v, want 1", sum)
	}
	return nil
}

// noPart is the part of a row that is in none.
const noPart = -1

// partRule says the part of each row of a batch whose first row has the given number:
// a pure function of the rows and the split.
type partRule func(batch arrow.RecordBatch, first int64, parts []int)

// newPartRule returns the rule of a split of rows of the given schema. cuts are the
// times at which the parts of a split by time end.
func newPartRule(s *driftline.SplitSpec, schema *arrow.Schema, time string, cuts []int64) (partRule, error) {
	switch s.Kind {
	case driftline.SplitTime:
		return timeRule(schema.FieldIndices(time)[0], cuts), nil
	case driftline.SplitGroup:
		return groupRule(s, schema)
	}
	limits := limitsOf(s)
	return func(_ arrow.RecordBatch, first int64, parts []int) {
		for i := range parts {
			parts[i] = partAt(limits, mix(s.Seed, uint64(first)+uint64(i)))
		}
	}, nil
}

// timeRule puts a row into the first part that ends after its time.
func timeRule(column int, cuts []int64) partRule {
	return func(batch arrow.RecordBatch, _ int64, parts []int) {
		times := batch.Column(column).(*array.Timestamp)
		for i := range parts {
			if times.IsNull(i) {
				parts[i] = noPart
				continue
			}
			at := int64(times.Value(i))
			parts[i], _ = slices.BinarySearchFunc(cuts, at, func(cut, at int64) int {
				if cut <= at {
					return -1
				}
				return 1
			})
		}
	}
}

// untils are the cuts of a split at given times.
func untils(s *driftline.SplitSpec) []int64 {
	cuts := make([]int64, len(s.Parts)-1)
	for i := range cuts {
		cuts[i] = s.Parts[i].Until.UnixMicro()
	}
	return cuts
}

// groupRule keeps rows of equal value in one part. Null is a value too.
func groupRule(s *driftline.SplitSpec, schema *arrow.Schema) (partRule, error) {
	found := schema.FieldIndices(s.Column)
	if len(found) == 0 {
		e := driftline.Unknown("column", s.Column, fieldNames(schema))
		e.Code = driftline.Invalid
		e.Message = "the split's column " + `"` + s.Column + `" is not in the training set`
		return nil, e
	}
	if !canGroup(schema.Field(found[0]).Type) {
		return nil, driftline.Errorf(driftline.Invalid, "column %q is %s, which has no groups", s.Column, schema.Field(found[0]).Type).
			WithHint("split by a column of text, whole numbers, truth values or times")
	}
	limits := limitsOf(s)
	return func(batch arrow.RecordBatch, _ int64, parts []int) {
		column := batch.Column(found[0])
		for i := range parts {
			parts[i] = partAt(limits, mix(s.Seed, groupHash(column, i)))
		}
	}, nil
}

func canGroup(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.BOOL, arrow.INT32, arrow.INT64, arrow.STRING, arrow.BINARY, arrow.TIMESTAMP, arrow.DATE32:
		return true
	}
	return false
}

// groupHash hashes one value. The same whole number has the same hash in every width.
func groupHash(column arrow.Array, i int) uint64 {
	h := fnv.New64a()
	if column.IsNull(i) {
		return h.Sum64()
	}
	whole := func(v int64) {
		var raw [8]byte
		binary.LittleEndian.PutUint64(raw[:], uint64(v))
		h.Write([]byte{'i'})
		h.Write(raw[:])
	}
	switch c := column.(type) {
	case *array.Boolean:
		h.Write([]byte{'b', column.ValueStr(i)[0]})
	case *array.Int32:
		whole(int64(c.Value(i)))
	case *array.Int64:
		whole(c.Value(i))
	case *array.Timestamp:
		whole(int64(c.Value(i)))
	case *array.Date32:
		whole(int64(c.Value(i)))
	case *array.String:
		io.WriteString(h, "s"+c.Value(i))
	case *array.Binary:
		h.Write([]byte{'s'})
		h.Write(c.Value(i))
	}
	return h.Sum64()
}

// limitsOf are the shares of the range of uint64 at which the parts end, but for the last.
func limitsOf(s *driftline.SplitSpec) []uint64 {
	limits, sum := make([]uint64, len(s.Parts)-1), 0.0
	for i := range limits {
		sum += s.Parts[i].Fraction
		limits[i] = uint64(min(sum, 1-0x1p-53) * 0x1p64)
	}
	return limits
}

func partAt(limits []uint64, hash uint64) int {
	for i, limit := range limits {
		if hash < limit {
			return i
		}
	}
	return len(limits)
}

// mix spreads seed and value over all of uint64: two rounds of SplitMix64.
func mix(seed, value uint64) uint64 { return splitMix(splitMix(seed) ^ value) }

func splitMix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// divided yields rows with the column [driftline.SplitColumn] after their own.
func divided(mem memory.Allocator, rows driftline.Batches, s *driftline.SplitSpec, rule partRule) driftline.Batches {
	fields := append(rows.Schema.Fields(), arrow.Field{Name: driftline.SplitColumn, Type: arrow.BinaryTypes.String, Nullable: true})
	schema := arrow.NewSchema(fields, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		var first int64
		for batch, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			parts := make([]int, batch.NumRows())
			rule(batch, first, parts)
			first += batch.NumRows()
			names := partNames(mem, s, parts)
			whole := array.NewRecordBatch(schema, append(slices.Clone(batch.Columns()), names), batch.NumRows())
			names.Release()
			more := yield(whole, nil)
			whole.Release()
			if !more {
				return
			}
		}
	}}
}

func partNames(mem memory.Allocator, s *driftline.SplitSpec, parts []int) arrow.Array {
	b := array.NewStringBuilder(mem)
	defer b.Release()
	b.Reserve(len(parts))
	for _, part := range parts {
		if part == noPart {
			b.AppendNull()
			continue
		}
		b.Append(s.Parts[part].Name)
	}
	return b.NewArray()
}

// addParts counts the rows of each part of a divided batch.
func addParts(parts map[string]int64, batch arrow.RecordBatch) {
	last := int(batch.NumCols()) - 1
	if last < 0 || batch.ColumnName(last) != driftline.SplitColumn {
		return
	}
	names, ok := batch.Column(last).(*array.String)
	if !ok {
		return // a spine's own column of that name
	}
	for i := range names.Len() {
		if names.IsValid(i) {
			parts[names.Value(i)]++
		}
	}
}

// countParts returns the split with the rows of its parts filled in.
func countParts(s *driftline.SplitSpec, rows map[string]int64) *driftline.SplitSpec {
	if s == nil {
		return nil
	}
	counted := *s
	counted.Parts = slices.Clone(s.Parts)
	for i := range counted.Parts {
		counted.Parts[i].Rows = rows[counted.Parts[i].Name]
	}
	return &counted
}

// ReadPart yields the rows of one part of a divided dataset, without the column that
// says so.
func (e *Engine) ReadPart(ctx context.Context, name driftline.DatasetName, version int, part string) (driftline.Batches, error) {
	d, err := e.registry.Dataset(name, version)
	if err != nil {
		return driftline.Batches{}, err
	}
	if d.Request.Split == nil {
		return driftline.Batches{}, driftline.Errorf(driftline.FailedPrecondition, "dataset %q is not divided", d.Ref()).WithRef(d.Ref()).
			WithHint("read it whole, or save a version with a split")
	}
	var names []string
	for _, p := range d.Request.Split.Parts {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, part) {
		return driftline.Batches{}, driftline.Unknown("part", part, names).WithRef(d.Ref())
	}
	rows, err := e.ReadDataset(ctx, d.Name, d.Version)
	if err != nil {
		return driftline.Batches{}, err
	}
	return e.partOf(ctx, rows, part), nil
}

func (e *Engine) partOf(ctx context.Context, rows driftline.Batches, part string) driftline.Batches {
	last := rows.Schema.NumFields() - 1
	schema := arrow.NewSchema(rows.Schema.Fields()[:last], nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			own, err := e.rowsOfPart(ctx, batch, schema, part)
			if err != nil {
				yield(nil, err)
				return
			}
			more := own.NumRows() == 0 || yield(own, nil)
			own.Release()
			if !more {
				return
			}
		}
	}}
}

// rowsOfPart returns the rows of a batch that are of one part. The caller releases them.
func (e *Engine) rowsOfPart(ctx context.Context, batch arrow.RecordBatch, schema *arrow.Schema, part string) (arrow.RecordBatch, error) {
	last := schema.NumFields()
	names := batch.Column(last).(*array.String)
	var rows []int64
	for i := range names.Len() {
		if names.IsValid(i) && names.Value(i) == part {
			rows = append(rows, int64(i))
		}
	}
	whole := array.NewRecordBatch(schema, batch.Columns()[:last], batch.NumRows())
	defer whole.Release()
	if from, n := firstOf(rows), int64(len(rows)); n == 0 || rows[n-1]-from == n-1 {
		return whole.NewSlice(from, from+n), nil // they lie together
	}
	return takeRows(ctx, e.mem, whole, rows)
}

func firstOf(rows []int64) int64 {
	if len(rows) == 0 {
		return 0
	}
	return rows[0]
}
