package engine_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// profiledTypes are all types whose columns are profiled, and how their values come about.
var profiledTypes = []struct {
	dt     arrow.DataType
	append func(b array.Builder, r *rand.Rand)
}{
	{arrow.PrimitiveTypes.Int8, func(b array.Builder, r *rand.Rand) { b.(*array.Int8Builder).Append(int8(r.Uint32())) }},
	{arrow.PrimitiveTypes.Int16, func(b array.Builder, r *rand.Rand) { b.(*array.Int16Builder).Append(int16(r.Uint32())) }},
	{arrow.PrimitiveTypes.Int32, func(b array.Builder, r *rand.Rand) { b.(*array.Int32Builder).Append(r.Int32N(50)) }},
	{arrow.PrimitiveTypes.Int64, func(b array.Builder, r *rand.Rand) { b.(*array.Int64Builder).Append(r.Int64() >> 12) }},
	{arrow.PrimitiveTypes.Uint8, func(b array.Builder, r *rand.Rand) { b.(*array.Uint8Builder).Append(uint8(r.Uint32())) }},
	{arrow.PrimitiveTypes.Uint16, func(b array.Builder, r *rand.Rand) { b.(*array.Uint16Builder).Append(uint16(r.Uint32())) }},
	{arrow.PrimitiveTypes.Uint32, func(b array.Builder, r *rand.Rand) { b.(*array.Uint32Builder).Append(r.Uint32()) }},
	{arrow.PrimitiveTypes.Uint64, func(b array.Builder, r *rand.Rand) { b.(*array.Uint64Builder).Append(r.Uint64()) }},
	{arrow.FixedWidthTypes.Float16, func(b array.Builder, r *rand.Rand) {
		b.(*array.Float16Builder).Append(float16.New(float32(r.NormFloat64())))
	}},
	{arrow.PrimitiveTypes.Float32, func(b array.Builder, r *rand.Rand) { b.(*array.Float32Builder).Append(float32(r.NormFloat64())) }},
	{arrow.PrimitiveTypes.Float64, func(b array.Builder, r *rand.Rand) {
		b.(*array.Float64Builder).Append([]float64{r.NormFloat64(), 0, math.NaN(), math.Inf(1), math.Inf(-1), 1e300}[max(0, r.IntN(20)-14)])
	}},
	{&arrow.Decimal128Type{Precision: 20, Scale: 2}, func(b array.Builder, r *rand.Rand) {
		b.(*array.Decimal128Builder).Append(decimal128.FromI64(r.Int64N(100_000)))
	}},
	{arrow.FixedWidthTypes.Timestamp_ms, func(b array.Builder, r *rand.Rand) {
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(r.Int64N(1e12)))
	}},
	{arrow.FixedWidthTypes.Date32, func(b array.Builder, r *rand.Rand) { b.(*array.Date32Builder).Append(arrow.Date32(r.Int32N(30_000))) }},
	{arrow.FixedWidthTypes.Time64us, func(b array.Builder, r *rand.Rand) {
		b.(*array.Time64Builder).Append(arrow.Time64(r.Int64N(86_400_000_000)))
	}},
	{arrow.FixedWidthTypes.Duration_s, func(b array.Builder, r *rand.Rand) {
		b.(*array.DurationBuilder).Append(arrow.Duration(r.Int64N(1000)))
	}},
	{arrow.FixedWidthTypes.Boolean, func(b array.Builder, r *rand.Rand) { b.(*array.BooleanBuilder).Append(r.IntN(3) == 0) }},
	{arrow.BinaryTypes.String, func(b array.Builder, r *rand.Rand) {
		b.(*array.StringBuilder).Append(fmt.Sprint("name ", r.IntN(9000)))
	}},
	{arrow.BinaryTypes.LargeString, func(b array.Builder, r *rand.Rand) {
		b.(*array.LargeStringBuilder).Append(fmt.Sprint("name ", r.IntN(5)))
	}},
	{arrow.BinaryTypes.Binary, func(b array.Builder, r *rand.Rand) {
		b.(*array.BinaryBuilder).Append([]byte{0xff, byte(r.IntN(40))})
	}},
	{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, func(b array.Builder, r *rand.Rand) {
		_ = b.(*array.BinaryDictionaryBuilder).AppendString(fmt.Sprint("word ", r.IntN(100)))
	}},
	{arrow.Null, func(b array.Builder, _ *rand.Rand) { b.AppendNull() }},
}

// everyType has a column of each type, one in ten of whose values is null.
func everyType(t testing.TB, rows int) driftline.Batches {
	t.Helper()
	var fields []arrow.Field
	for i, p := range profiledTypes {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("%d %s", i, p.dt), Type: p.dt, Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	r := rand.New(rand.NewPCG(uint64(rows), 7))
	for range rows {
		for i, p := range profiledTypes {
			if r.IntN(10) == 0 {
				b.Field(i).AppendNull()
			} else {
				p.append(b.Field(i), r)
			}
		}
	}
	batch := b.NewRecordBatch()
	t.Cleanup(batch.Release)
	return driftline.BatchesOf(schema, batch)
}

func profileOf(t testing.TB, rows driftline.Batches, like *engine.ProfileData) *engine.ProfileData {
	t.Helper()
	d, err := engine.ProfileRows(t.Context(), driftline.ProfileRequest{Source: "rows"}, rows, like)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func bytesOf(t testing.TB, d *engine.ProfileData) []byte {
	t.Helper()
	raw, err := d.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestPartsInAnyOrderAreTheWhole cuts rows of every type into batches, and batches into
// profiles, which it merges in a random tree: to the last bit the outcome is the profile of
// all rows at once.
func TestPartsInAnyOrderAreTheWhole(t *testing.T) {
	rows := everyType(t, 60_000) // enough for counts, and for names that are left out
	like := profileOf(t, everyType(t, 500), nil)
	want := bytesOf(t, profileOf(t, rows, like))
	whole, _, err := rows.Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(whole)
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		var parts []*engine.ProfileData
		for from := int64(0); from < whole[0].NumRows(); {
			var batches []arrow.RecordBatch
			for range 1 + r.IntN(4) {
				to := min(from+1+r.Int64N(9000), whole[0].NumRows())
				slice := whole[0].NewSlice(from, to)
				defer slice.Release()
				batches, from = append(batches, slice), to
			}
			parts = append(parts, profileOf(t, driftline.BatchesOf(rows.Schema, batches...), like))
		}
		for len(parts) > 1 {
			i := r.IntN(len(parts))
			one := parts[i]
			parts = slices.Delete(parts, i, i+1)
			if err := parts[r.IntN(len(parts))].Merge(one); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(bytesOf(t, parts[0]), want) {
			t.Error("the merged parts are not the profile of the whole")
		}
	}
	if n := len(profileOf(t, rows, like).Summary().Columns); n != len(profiledTypes)-1 { // one has no type to profile
		t.Errorf("%d columns of %d types", n, len(profiledTypes))
	}
}

func FuzzDecodeProfile(f *testing.F) {
	for _, rows := range []int{0, 1, 300} {
		f.Add(bytesOf(f, profileOf(f, everyType(f, rows), nil)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if n := len(raw) - 8; n >= 0 { // so that the fuzzer gets behind the checksum
			raw = binary.LittleEndian.AppendUint64(slices.Clone(raw[:n]), xxhash.Sum64(raw[:n]))
		}
		d, err := engine.DecodeProfile(raw)
		if err != nil {
			if driftline.CodeOf(err) != driftline.Invalid {
				t.Errorf("%s: %v", driftline.CodeOf(err), err)
			}
			return
		}
		d.Summary()
		written := bytesOf(t, d)
		again, err := engine.DecodeProfile(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !bytes.Equal(bytesOf(t, again), written) {
			t.Error("the profile is not what was written")
		}
		if report, err := engine.CompareProfileData(t.Context(), d, again, driftline.DriftOptions{}); err != nil || report.Drift {
			t.Errorf("a profile differs from itself: %v", err)
		}
		if err := d.Merge(again); err != nil {
			t.Error(err)
		}
	})
}
