package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

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
