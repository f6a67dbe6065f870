package engine_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// TestRowsMayComeInAnotherLayout writes the same row in every layout that holds it.
func TestRowsMayComeInAnotherLayout(t *testing.T) {
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64
	naive := func(unit arrow.TimeUnit) arrow.DataType { return &arrow.TimestampType{Unit: unit} }
	for _, c := range []struct {
		what              string
		origin, time      arrow.DataType
		temp, wind        arrow.DataType
		timeText, refused string
	}{
		{what: "as stored", origin: text, time: driftline.Time, temp: number, wind: arrow.PrimitiveTypes.Int64},
		{what: "a dictionary of strings", origin: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: text}, time: driftline.Time, temp: number, wind: arrow.PrimitiveTypes.Int64},
		{what: "large strings, naive seconds", origin: arrow.BinaryTypes.LargeString, time: naive(arrow.Second), temp: arrow.PrimitiveTypes.Float32, wind: arrow.PrimitiveTypes.Int32},
		{what: "naive nanoseconds, narrow integers", origin: text, time: naive(arrow.Nanosecond), temp: arrow.PrimitiveTypes.Int32, wind: arrow.PrimitiveTypes.Uint8},
		{what: "milliseconds of another zone", origin: text, time: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "America/New_York"}, temp: number, wind: arrow.PrimitiveTypes.Uint32},
		{what: "a column of nulls", origin: text, time: driftline.Time, temp: number, wind: arrow.Null},
		{what: "days", origin: text, time: arrow.FixedWidthTypes.Date32, temp: number, wind: arrow.PrimitiveTypes.Int64, timeText: "2013-06-01"},
		{what: "numbers as text", origin: text, time: driftline.Time, temp: text, wind: arrow.PrimitiveTypes.Int64, refused: `column "temp" is string, want float64`},
		{what: "unsigned 64 bits", origin: text, time: driftline.Time, temp: number, wind: arrow.PrimitiveTypes.Uint64, refused: `column "wind" is uint64, want int64`},
	} {
		t.Run(c.what, func(t *testing.T) {
			env := testenv.New(t)
			env.Apply(weather)
			schema := arrow.NewSchema([]arrow.Field{
				{Name: "wind", Type: c.wind, Nullable: true}, {Name: "temp", Type: c.temp, Nullable: true},
				{Name: "created", Type: arrow.Null, Nullable: true}, {Name: "event_timestamp", Type: c.time}, {Name: "origin", Type: c.origin},
			}, nil)
			when, wind, temp := "2013-06-01T00:00:00", "7", "20"
			if ts, ok := c.time.(*arrow.TimestampType); ok && ts.TimeZone != "" {
				when += "Z"
			}
			if c.timeText != "" {
				when = c.timeText
			}
			if c.wind.ID() == arrow.NULL {
				wind = "null"
			}
			if c.temp.ID() == arrow.STRING {
				temp = `"20"`
			}
			rows := env.Rows(schema, `[{"wind": `+wind+`, "temp": `+temp+`, "created": null, "event_timestamp": "`+when+`", "origin": "JFK"}]`)
			_, err := env.Engine.Ingest(context.Background(), "weather", "", rows)
			if c.refused != "" {
				if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("error = %v, want %s", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := "20 PRESENT"
			if got := onlineTemp(t, env, "JFK", at(0)); got != want {
				t.Errorf("online = %s, want %s", got, want)
			}
		})
	}
}

// TestTimesThatAreNone sends the three numbers of microseconds that some reader does
// not take for a time. The writes are bulk writes: these are refused before anything
// of them is committed, and the folder opens again.
func TestTimesThatAreNone(t *testing.T) {
	for _, column := range []int{1, 2} {
		for _, us := range []int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64} {
			env := newWeather(t)
			env.Engine.SetSmallRows(10)
			view, _ := env.Engine.Registry().View("weather")
			b := array.NewRecordBuilder(env.Mem, view.Schema())
			for i := range 300 {
				b.Field(0).(*array.StringBuilder).Append("JFK")
				b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
				b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
				b.Field(3).AppendNull()
				b.Field(4).AppendNull()
			}
			batch := b.NewRecordBatch()
			b.Release()
			batch.Column(column).(*array.Timestamp).TimestampValues()[299] = arrow.Timestamp(us)
			_, err := env.Engine.Ingest(context.Background(), "weather", "", driftline.BatchesOf(view.Schema(), batch))
			batch.Release()
			if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "(row 299)") {
				t.Errorf("column %d, %d: %v", column, us, err)
			}
			env.Reopen()
			if n := countRows(t, env.Engine, "weather"); n != 0 {
				t.Errorf("column %d, %d: %d rows", column, us, n)
			}
		}
	}
}
