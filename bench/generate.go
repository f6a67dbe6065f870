package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
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
// Only one batch of it is in memory at a time.
type generated struct {
	schema *arrow.Schema
	rows   int
	seed   uint64
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
			g.fill(builder, rand.New(rand.NewPCG(uint64(g.rows)+g.seed<<40, uint64(from))), from, to)
			batch := builder.NewRecordBatch()
			more := yield(batch, nil)
			batch.Release()
			if !more {
				return
			}
		}
	}}
}

// past is the history of a feature view: rowsPerEntity rows of each entity, ordered by
// entity and time, as a sorted table would hold them. No two rows of an entity share
// a time, so that every correct join gives the same answer; an entity falls silent
// after the first half of the year or later, so that some values outlive a TTL.
type past struct {
	view                    string
	entities, rowsPerEntity int
	features                int
	prefix                  string // of the features' names

	// corrected adds a created timestamp, and makes every sixth row a correction of the
	// row before it, with its event time, from a day to a month later. So about 20 % of
	// what happened was corrected. No two rows of an entity share a created time.
	corrected bool
}

const correctedEvery = 6

// history is the usual past.
func history(entities, rowsPerEntity int) past {
	return past{view: "history", entities: entities, rowsPerEntity: rowsPerEntity, features: featureCount, prefix: "f"}
}

func (p past) rows() int { return p.entities * p.rowsPerEntity }

// names are those of the features.
func (p past) names() []string { return featureNames(p.prefix, p.features) }

func (p past) timeColumns() []string {
	if p.corrected {
		return []string{eventTime, createdTime}
	}
	return []string{eventTime}
}

func (p past) generated() generated {
	fields := []arrow.Field{{Name: entityKey, Type: arrow.PrimitiveTypes.Int64}}
	for _, name := range p.timeColumns() {
		fields = append(fields, arrow.Field{Name: name, Type: driftline.Time})
	}
	fields = append(fields, featureFields(p.names())...)
	seed := uint64(crc32.ChecksumIEEE([]byte(p.view))) >> 8 // views differ in their values
	return generated{schema: arrow.NewSchema(fields, nil), rows: p.rows(), seed: seed, fill: p.fill}
}

func (p past) fill(b *array.RecordBuilder, random *rand.Rand, from, to int) {
	entities, events := b.Field(0).(*array.Int64Builder), b.Field(1).(*array.TimestampBuilder)
	var created *array.TimestampBuilder
	if p.corrected {
		created = b.Field(2).(*array.TimestampBuilder)
	}
	entity, step := -1, int64(0)
	for row := from; row < to; row++ {
		if row/p.rowsPerEntity != entity {
			entity = row / p.rowsPerEntity
			step = lifetime(entity) / int64(p.rowsPerEntity)
		}
		i := row % p.rowsPerEntity
		event := p.happened(entity, i, step)
		entities.UnsafeAppend(int64(entity))
		events.UnsafeAppend(arrow.Timestamp(event))
		if created != nil {
			created.UnsafeAppend(arrow.Timestamp(p.createdAt(event, i, random)))
		}
	}
	appendFeatures(b, 1+len(p.timeColumns()), p.features, to-from, random)
}

// corrects tells whether the i-th row of an entity corrects the one before it.
func (p past) corrects(i int) bool { return p.corrected && i%correctedEvery == correctedEvery-1 }

// happened is the event time of the i-th row of an entity: a function of its
// arguments alone, so that a correction that begins a batch knows its row's time.
func (p past) happened(entity, i int, step int64) int64 {
	if p.corrects(i) {
		i--
	}
	jitter := mix(uint64(entity)<<20|uint64(i)) % uint64(step)
	return yearStart + int64(i)*step + int64(jitter)
}

// createdAt is up to an hour after the event and, of a correction, a day to a month.
// The low digits are the row's number, so that no two rows of an entity share one.
func (p past) createdAt(event int64, i int, random *rand.Rand) int64 {
	const hour = 3_600_000_000
	after := random.Int64N(hour)
	if p.corrects(i) {
		after = 24*hour + random.Int64N(29*24*hour)
	}
	rows := int64(p.rowsPerEntity)
	return (event+after)/rows*rows + rows + int64(i)
}

// mix is SplitMix64: random numbers by position instead of one after the other.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// lifetime is between half a year and a year.
func lifetime(entity int) int64 {
	return year/2 + int64(mix(uint64(entity))%uint64(year/2))
}

// featureView is the view that holds the past.
func (p past) featureView(ttl time.Duration) driftline.FeatureView {
	view := driftline.FeatureView{Name: driftline.ViewName(p.view), Entities: []driftline.EntityName{entityKey}, TTL: driftline.Duration(ttl)}
	for _, name := range p.names() {
		view.Features = append(view.Features, driftline.Field{Name: name, Type: driftline.Float64})
	}
	if p.corrected {
		view.CreatedTimestamp = createdTime
	}
	return view
}

// spine makes rows that ask for a random entity at a random time of the year. The
// label is the row's number, so that no two rows are equal. Some entities have no history.
func spine(rows, entities int) generated {
	return spineOf(rows, func(random *rand.Rand) int64 { return random.Int64N(int64(entities + max(1, entities/50))) })
}

// spineOfSome asks for a few entities only, evenly spread over all.
func spineOfSome(rows, entities, some int) generated {
	return spineOf(rows, func(random *rand.Rand) int64 { return random.Int64N(int64(some)) * int64(entities/some) })
}

func spineOf(rows int, entity func(*rand.Rand) int64) generated {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: entityKey, Type: arrow.PrimitiveTypes.Int64},
		{Name: eventTime, Type: driftline.Time},
		{Name: "label", Type: arrow.PrimitiveTypes.Int64},
	}, nil)
	return generated{schema: schema, rows: rows, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			b.Field(0).(*array.Int64Builder).UnsafeAppend(entity(random))
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
	}, featureFields(featureNames("f", featureCount))...), nil)
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
		}
		appendFeatures(b, 3, featureCount, to-from, random)
	}}
}

func featureNames(prefix string, features int) []string {
	names := make([]string, features)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return names
}

func featureFields(names []string) (fields []arrow.Field) {
	for _, name := range names {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	}
	return fields
}

// appendFeatures appends random numbers to so many columns from the first on.
func appendFeatures(b *array.RecordBuilder, first, features, rows int, random *rand.Rand) {
	for i := range features {
		column := b.Field(first + i).(*array.Float64Builder)
		for range rows {
			column.UnsafeAppend(random.Float64())
		}
	}
}

// eventsView is a feature view that holds rows of events.
func eventsView(name string) driftline.FeatureView {
	view := history(1, 1)
	view.view, view.corrected = name, true
	return view.featureView(0)
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

// writeParquet writes rows for peers: Snappy, and dictionaries of text and of the columns that
// are named, as most writers make them of what has few values; random numbers they only make
// larger.
func writeParquet(path string, rows driftline.Batches, dictionaries ...string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	options := []parquet.WriterProperty{parquet.WithCompression(compress.Codecs.Snappy),
		parquet.WithDictionaryDefault(false), parquet.WithMaxRowGroupLength(plainRowGroup)}
	for _, f := range rows.Schema.Fields() {
		if f.Type.ID() == arrow.STRING || slices.Contains(dictionaries, f.Name) {
			options = append(options, parquet.WithDictionaryFor(f.Name, true))
		}
	}
	properties := parquet.NewWriterProperties(options...)
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
