package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/driftline/driftline"
)

const (
	featureCount = 10
	entityKey    = "entity"
	eventTime    = driftline.DefaultEventTimestamp
	createdTime  = "created"
)

// The year of all generated data, in microseconds.
var (
	yearStart = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	year      = (365 * 24 * time.Hour).Microseconds()
)

// batchRows is how many rows generated batches have.
const batchRows = 1 << 16

// generated is a table made from a seed: ranging over it again makes the same rows.
type generated struct {
	schema *arrow.Schema
	rows   int
	fill   func(b *array.RecordBuilder, random *rand.Rand, from, to int)
}

// batches follows the rule of [driftline.Batches]; they can be ranged over any
// number of times. The random numbers of a batch depend on its first row alone.
func (g generated) batches() driftline.Batches {
	return driftline.Batches{Schema: g.schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		builder := array.NewRecordBuilder(memory.DefaultAllocator, g.schema)
		defer builder.Release()
		for from := 0; from < g.rows; from += batchRows {
			to := min(from+batchRows, g.rows)
			builder.Reserve(to - from)
			g.fill(builder, rand.New(rand.NewPCG(uint64(g.rows), uint64(from))), from, to)
			batch := builder.NewRecordBatch()
			more := yield(batch, nil)
			batch.Release()
			if !more {
				return
			}
		}
	}}
}

// history makes rowsPerEntity rows of each entity, ordered by entity and time, as a
// sorted table would hold them. No two rows of an entity share a time, so that
// every correct join gives the same answer. An entity falls silent after the first
// half of the year or later, so that some values outlive a TTL.
func history(entities, rowsPerEntity int) generated {
	schema := arrow.NewSchema(append([]arrow.Field{
		{Name: entityKey, Type: arrow.PrimitiveTypes.Int64},
		{Name: eventTime, Type: driftline.Time},
	}, featureFields()...), nil)
	return generated{schema: schema, rows: entities * rowsPerEntity, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			entity, i := row/rowsPerEntity, row%rowsPerEntity
			step := lifetime(entity) / int64(rowsPerEntity)
			b.Field(0).(*array.Int64Builder).UnsafeAppend(int64(entity))
			b.Field(1).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(yearStart + int64(i)*step + random.Int64N(step)))
			appendFeatures(b, 2, random)
		}
	}}
}

// lifetime is between half a year and a year.
func lifetime(entity int) int64 {
	return year/2 + rand.New(rand.NewPCG(uint64(entity), 1)).Int64N(year/2)
}

// spine makes rows that ask for a random entity at a random time of the year. The
// label is the row's number, so that no two rows are equal. Some entities have no history.
func spine(rows, entities int) generated {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: entityKey, Type: arrow.PrimitiveTypes.Int64},
		{Name: eventTime, Type: driftline.Time},
		{Name: "label", Type: arrow.PrimitiveTypes.Int64},
	}, nil)
	return generated{schema: schema, rows: rows, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			b.Field(0).(*array.Int64Builder).UnsafeAppend(random.Int64N(int64(entities + entities/50)))
			b.Field(1).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(yearStart + random.Int64N(year)))
			b.Field(2).(*array.Int64Builder).UnsafeAppend(int64(row))
		}
	}}
}

// everyEntityOnce in place of a number of entities makes row i of entity i.
const everyEntityOnce = 0

// events makes rows in the order in which things happen: the time rises from row
// to row, and each row is of a random entity, created up to a minute later.
func events(rows, entities int) generated {
	schema := arrow.NewSchema(append([]arrow.Field{
		{Name: entityKey, Type: arrow.PrimitiveTypes.Int64},
		{Name: eventTime, Type: driftline.Time},
		{Name: createdTime, Type: driftline.Time},
	}, featureFields()...), nil)
	step := year / int64(rows)
	return generated{schema: schema, rows: rows, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			happened := yearStart + int64(row)*step
			entity := int64(row)
			if entities != everyEntityOnce {
				entity = random.Int64N(int64(entities))
			}
			b.Field(0).(*array.Int64Builder).UnsafeAppend(entity)
			b.Field(1).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(happened))
			b.Field(2).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(happened + random.Int64N(60_000_000)))
			appendFeatures(b, 3, random)
		}
	}}
}

func featureFields() []arrow.Field {
	fields := make([]arrow.Field, featureCount)
	for i := range fields {
		fields[i] = arrow.Field{Name: featureName(i), Type: arrow.PrimitiveTypes.Float64, Nullable: true}
	}
	return fields
}

func featureName(i int) string { return fmt.Sprintf("f%d", i) }

func appendFeatures(b *array.RecordBuilder, first int, random *rand.Rand) {
	for i := range featureCount {
		b.Field(first + i).(*array.Float64Builder).UnsafeAppend(random.Float64())
	}
}

// generatedView is the feature view that holds rows of history or events.
func generatedView(name string, created bool, ttl time.Duration) driftline.FeatureView {
	view := driftline.FeatureView{Name: driftline.ViewName(name), Entities: []driftline.EntityName{entityKey}, TTL: driftline.Duration(ttl)}
	for i := range featureCount {
		view.Features = append(view.Features, driftline.Field{Name: featureName(i), Type: driftline.Float64})
	}
	if created {
		view.CreatedTimestamp = createdTime
	}
	return view
}

// definitions registers views over the one generated entity.
func definitions(views ...driftline.FeatureView) driftline.Definitions {
	key := driftline.Field{Name: entityKey, Type: driftline.Int64}
	return driftline.Definitions{
		Entities:     []driftline.Entity{{Name: entityKey, JoinKeys: []driftline.Field{key}}},
		FeatureViews: views,
	}
}

// plainRowGroup is the row group that DuckDB reads best.
const plainRowGroup = 122_880

// writeParquet writes rows for peers: Snappy, and no dictionaries, which random
// numbers only make larger.
func writeParquet(path string, rows driftline.Batches) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy),
		parquet.WithDictionaryDefault(false), parquet.WithMaxRowGroupLength(plainRowGroup))
	writer, err := pqarrow.NewFileWriter(rows.Schema, file, properties, pqarrow.DefaultWriterProps())
	if err != nil {
		return errors.Join(err, file.Close())
	}
	defer func() { err = errors.Join(err, writer.Close()) }() // closes the file too
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		if err := writer.WriteBuffered(batch); err != nil {
			return err
		}
	}
	return nil
}
