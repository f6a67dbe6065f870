package ipcverify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// recording keeps the messages that a writer sends, and plays them to a reader.
type recording []*flight.FlightData

func (r *recording) Send(data *flight.FlightData) error {
	*r = append(*r, &flight.FlightData{DataHeader: bytes.Clone(data.DataHeader), DataBody: bytes.Clone(data.DataBody)})
	return nil
}

func (r *recording) Recv() (*flight.FlightData, error) {
	if len(*r) == 0 {
		return nil, io.EOF
	}
	data := (*r)[0]
	*r = (*r)[1:]
	return data, nil
}

func (r recording) clone() recording {
	out := make(recording, len(r))
	for i, data := range r {
		out[i] = &flight.FlightData{DataHeader: bytes.Clone(data.DataHeader), DataBody: bytes.Clone(data.DataBody)}
	}
	return out
}

func record(t testing.TB, batch arrow.RecordBatch, options ...ipc.Option) recording {
	t.Helper()
	var messages recording
	writer := flight.NewRecordWriter(&messages, append(options, ipc.WithSchema(batch.Schema()))...)
	for _, piece := range []arrow.RecordBatch{batch, batch.NewSlice(0, 1), batch.NewSlice(0, 0)} {
		if err := writer.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return messages
}

// batchOf reads a batch of a schema from JSON rows.
func batchOf(t testing.TB, schema *arrow.Schema, rows string) arrow.RecordBatch {
	t.Helper()
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func field(name string, dt arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: dt, Nullable: true}
}

// samples are streams that must be accepted, by name.
func samples(t testing.TB) map[string]recording {
	pandas := arrow.NewMetadata([]string{"pandas"}, []string{`{"index_columns": []}`})
	ingest := arrow.NewSchema([]arrow.Field{
		field("airport", arrow.BinaryTypes.String), field("event_timestamp", driftline.Time),
		field("temp", arrow.PrimitiveTypes.Float64), field("gusts", arrow.FixedWidthTypes.Boolean),
		field("code", arrow.BinaryTypes.LargeString), field("raw", arrow.BinaryTypes.Binary),
	}, &pandas)
	nested := arrow.NewSchema([]arrow.Field{
		field("list", arrow.ListOf(arrow.PrimitiveTypes.Int32)),
		field("struct", arrow.StructOf(field("a", arrow.BinaryTypes.String), field("b", arrow.PrimitiveTypes.Int8))),
		field("map", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)),
		field("fixed", arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32)),
		field("large", arrow.LargeListOf(arrow.ListOf(arrow.BinaryTypes.String))),
	}, nil)
	rest := arrow.NewSchema([]arrow.Field{
		field("nothing", arrow.Null), field("view", arrow.BinaryTypes.StringView),
		field("decimal", &arrow.Decimal128Type{Precision: 10, Scale: 2}), field("date", arrow.FixedWidthTypes.Date32),
		field("time", arrow.FixedWidthTypes.Time64us), field("duration", arrow.FixedWidthTypes.Duration_ms),
		field("category", &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}),
		field("width", &arrow.FixedSizeBinaryType{ByteWidth: 3}),
	}, nil)
	return map[string]recording{
		"ingest": record(t, batchOf(t, ingest, `[
			{"airport": "JFK", "event_timestamp": "2013-01-01T05:00:00Z", "temp": 39.02, "gusts": true, "code": "x", "raw": "AAEC"},
			{"airport": "LGA", "event_timestamp": "2013-01-01T06:00:00Z", "temp": null, "gusts": false, "code": "", "raw": null},
			{"airport": "北京", "event_timestamp": null, "temp": -1e308, "gusts": null, "code": null, "raw": ""}]`)),
		"nested": record(t, batchOf(t, nested, `[
			{"list": [1, 2], "struct": {"a": "x", "b": 1}, "map": [{"key": "k", "value": 7}], "fixed": [1, 2], "large": [["a"], []]},
			{"list": null, "struct": null, "map": null, "fixed": null, "large": null}]`)),
		"rest": record(t, batchOf(t, rest, `[
			{"nothing": null, "view": "a string longer than the inline twelve bytes", "decimal": "12.34", "date": "2013-01-01",
			 "time": "05:00:00", "duration": 5, "category": "a", "width": "AAEC"},
			{"nothing": null, "view": "short", "decimal": null, "date": null, "time": null, "duration": null, "category": "b", "width": null}]`)),
		"no columns": record(t, array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 5)),
	}
}

// decode verifies and reads a stream as the server does and returns the rows read.
func decode(messages recording) (rows int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var stream Stream
	for _, data := range messages {
		if err := stream.Verify(data.DataHeader, int64(len(data.DataBody))); err != nil {
			return 0, err
		}
	}
	reader, err := flight.NewRecordReader(&messages)
	if err != nil {
		return 0, err
	}
	defer reader.Release()
	for reader.Next() {
		batch := reader.RecordBatch()
		if err := Values(batch); err != nil {
			return rows, err
		}
		touch(batch)
		rows += batch.NumRows()
	}
	return rows, reader.Err()
}

// touch reads every value of the first rows.
func touch(batch arrow.RecordBatch) {
	some := batch.NewSlice(0, min(batch.NumRows(), 1000))
	defer some.Release()
	for _, column := range some.Columns() {
		for i := range column.Len() {
			_ = column.ValueStr(i)
		}
	}
}

func TestAcceptsWhatWritersWrite(t *testing.T) {
	want := map[string]int64{"ingest": 4, "nested": 3, "rest": 3, "no columns": 6}
	for name, messages := range samples(t) {
		if rows, err := decode(messages); err != nil || rows != want[name] {
			t.Errorf("%s: %d rows, %v; want %d", name, rows, err, want[name])
		}
	}
}

func TestRefuses(t *testing.T) {
	one := func(dt arrow.DataType, rows string, options ...ipc.Option) func(testing.TB) recording {
		return func(t testing.TB) recording {
			return record(t, batchOf(t, arrow.NewSchema([]arrow.Field{field("x", dt)}, nil), rows), options...)
		}
	}
	ints := one(arrow.PrimitiveTypes.Int64, `[{"x": 1}, {"x": 2}]`)
	deep := arrow.DataType(arrow.PrimitiveTypes.Int8)
	for range MaxDepth {
		deep = arrow.ListOf(deep)
	}
	wide := make([]arrow.Field, MaxFields+1)
	for i := range wide {
		wide[i] = field("x", arrow.Null)
	}
	tests := []struct {
		name string
		make func(testing.TB) recording
		want string
	}{
		{"compressed bodies", one(arrow.PrimitiveTypes.Int64, `[{"x": 1}]`, ipc.WithZstd()), "compressed batches are not accepted"},
		{"unions", func(t testing.TB) recording {
			union := arrow.SparseUnionOf([]arrow.Field{field("a", arrow.PrimitiveTypes.Int8)}, []arrow.UnionTypeCode{0})
			return record(t, batchOf(t, arrow.NewSchema([]arrow.Field{field("x", union)}, nil), `[{"x": [0, 1]}]`))
		}, `column "x": a union is not accepted`},
		{"run-end encoding", one(arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int8), `[{"x": 1}]`), "run-end encoded is not accepted"},
		{"too deep", one(deep, `[{"x": null}]`), "nested more than 32 deep"},
		{"too many fields", func(t testing.TB) recording {
			var messages recording
			_ = flight.NewRecordWriter(&messages, ipc.WithSchema(arrow.NewSchema(wide, nil))).Close()
			return messages
		}, "more than 4096 fields"},
		{"a long name", func(t testing.TB) recording {
			var messages recording
			schema := arrow.NewSchema([]arrow.Field{field(strings.Repeat("x", MaxName+1), arrow.Null)}, nil)
			_ = flight.NewRecordWriter(&messages, ipc.WithSchema(schema)).Close()
			return messages
		}, "name has 1025 bytes"},
		{"too many rows", func(t testing.TB) recording {
			schema := arrow.NewSchema([]arrow.Field{field("x", arrow.Null)}, nil)
			return record(t, array.NewRecordBatch(schema, []arrow.Array{array.NewNull(MaxRows + 1)}, MaxRows+1))
		}, "a batch of 16777217 rows"},
		{"no schema first", func(t testing.TB) recording { return ints(t)[1:] }, "does not begin with a schema"},
		{"two schemas", func(t testing.TB) recording { m := ints(t); return recording{m[0], m[0]} }, "a second schema"},
		{"another schema's batch", func(t testing.TB) recording {
			return recording{one(arrow.BinaryTypes.String, `[{"x": "a"}]`)(t)[0], ints(t)[1]}
		}, "it has 2 buffers, and its schema calls for 3"},
		{"a body that is cut short", func(t testing.TB) recording {
			m := ints(t)
			m[1].DataBody = m[1].DataBody[:8]
			return m
		}, "says that its body has"},
		{"an empty message", func(testing.TB) recording { return recording{{}} }, "points outside itself"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stream Stream
			var err error
			for _, data := range test.make(t) {
				err = errors.Join(err, stream.Verify(data.DataHeader, int64(len(data.DataBody))))
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if driftline.CodeOf(err) != driftline.Invalid {
				t.Errorf("code is %q", driftline.CodeOf(err))
			}
		})
	}
}

// Bytes that are referred to again and again multiply the work of a decoder: a
// schema whose fields all are one field with a large name is small to send only.
func TestRefusesSharedBytes(t *testing.T) {
	const references = 100
	fields := make([]arrow.Field, references)
	for i := range fields {
		fields[i] = field("x", arrow.Null)
	}
	fields[references-1].Name = strings.Repeat("x", MaxName)
	var messages recording
	if err := flight.NewRecordWriter(&messages, ipc.WithSchema(arrow.NewSchema(fields, nil))).Close(); err != nil {
		t.Fatal(err)
	}
	header := messages[0].DataHeader
	message, err := (&buffer{bytes: header, budget: len(header)}).root()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := message.required(2, "header")
	if err != nil {
		t.Fatal(err)
	}
	start, n, err := schema.vector(1, 4)
	if err != nil || n != references {
		t.Fatalf("%d fields, %v", n, err)
	}
	last := start + 4*(n-1)
	target := last + int(binary.LittleEndian.Uint32(header[last:]))
	if target < start {
		t.Fatal("the shared field must lie behind the vector")
	}
	for at := start; at < last; at += 4 {
		binary.LittleEndian.PutUint32(header[at:], uint32(target-at))
	}
	err = new(Stream).Verify(header, 0)
	if err == nil || !strings.Contains(err.Error(), "too often") {
		t.Errorf("got %v", err)
	}
}

// Each 32-bit word of each message's metadata is replaced by each value that has
// killed a decoder. The process must live, and must not be made to allocate.
func TestSurvivesEveryHostileWord(t *testing.T) {
	hostile := []uint32{0, 1, 4, 0x7fff, 0xffff, 0x0100_0000, 0x1000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff}
	for name, messages := range samples(t) {
		for m := range messages {
			for at := 0; at+4 <= len(messages[m].DataHeader); at += 2 {
				for _, word := range hostile {
					mutant := messages.clone()
					binary.LittleEndian.PutUint32(mutant[m].DataHeader[at:], word)
					survive(t, fmt.Sprintf("%s: message %d, word at %d = %#x", name, m, at, word), mutant)
				}
			}
		}
	}
}

func TestSurvivesRandomDamage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	all := samples(t)
	for _, name := range slices.Sorted(keys(all)) {
		for i := range 5000 {
			mutant := all[name].clone()
			for range 1 + random.IntN(4) {
				damage(random, mutant)
			}
			survive(t, fmt.Sprintf("%s: mutant %d", name, i), mutant)
		}
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func damage(random *rand.Rand, messages recording) {
	data := messages[random.IntN(len(messages))]
	bytes := data.DataHeader
	if len(data.DataBody) > 0 && random.IntN(3) == 0 {
		bytes = data.DataBody
	}
	at := random.IntN(len(bytes))
	switch random.IntN(4) {
	case 0:
		bytes[at] ^= 1 << random.IntN(8)
	case 1:
		bytes[at] = byte(random.Uint32())
	case 2:
		copy(bytes[at:], bytes[random.IntN(len(bytes)):])
	case 3:
		if at &^= 3; at+4 <= len(bytes) {
			binary.LittleEndian.PutUint32(bytes[at:], uint32(random.IntN(2*len(bytes))))
		}
	}
}

// most is far above what a decoder needs for these few rows, and far below what harms.
const most = 64 << 20

func survive(t testing.TB, name string, messages recording) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = decode(messages)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > most {
		t.Errorf("%s: decoding allocated %d MiB", name, used>>20)
	}
}

// FuzzDecode feeds pairs of metadata and body to the verifier and, if they are
// accepted, to the decoder. It fails when the process dies.
func FuzzDecode(f *testing.F) {
	for _, messages := range samples(f) {
		for _, data := range messages[1:] {
			f.Add(messages[0].DataHeader, data.DataHeader, data.DataBody)
		}
	}
	f.Fuzz(func(t *testing.T, schema, header, body []byte) {
		survive(t, "input", recording{{DataHeader: schema}, {DataHeader: header, DataBody: body}})
	})
}
