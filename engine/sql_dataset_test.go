package engine_test

import (
	"context"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// TestSQLReadsEveryColumnOfADataset saves training sets whose spines have columns that
// no feature could be, and finds them under their own types.
func TestSQLReadsEveryColumnOfADataset(t *testing.T) {
	for _, c := range []struct {
		column string
		typ    arrow.DataType
		json   string
		want   string
		stored arrow.DataType
	}{
		{"day", arrow.FixedWidthTypes.Date32, `"2013-06-01"`, "2013-06-01", arrow.FixedWidthTypes.Date32},
		{"price", &arrow.Decimal128Type{Precision: 10, Scale: 2}, `"1.25"`, "1.25", &arrow.Decimal128Type{Precision: 10, Scale: 2}},
		{"clock", arrow.FixedWidthTypes.Time64us, `"01:02:03"`, "01:02:03.000000", arrow.FixedWidthTypes.Time64us},
		{"local", &arrow.TimestampType{Unit: arrow.Microsecond}, `"2013-06-01T01:02:03"`, "2013-06-01T01:02:03", &arrow.TimestampType{Unit: arrow.Microsecond}},
		{"count", arrow.PrimitiveTypes.Uint64, `"18446744073709551615"`, "18446744073709551615", &arrow.Decimal128Type{Precision: 20}},
		{"TEMP", arrow.PrimitiveTypes.Int64, `5`, "5", arrow.PrimitiveTypes.Int64}, // beside the feature temp
	} {
		t.Run(c.column, func(t *testing.T) {
			env := newWeatherWithRows(t)
			schema := arrow.NewSchema([]arrow.Field{
				{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
				{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
				{Name: c.column, Type: c.typ, Nullable: true},
			}, nil)
			req := weatherRequest()
			req.SaveAs = "flights"
			ctx := context.Background()
			spine := env.Rows(schema, `[{"origin": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "`+c.column+`": `+c.json+`}]`)
			if _, err := env.Engine.Historical(ctx, req, spine); err != nil {
				t.Fatal(err)
			}
			rows, err := env.Engine.SQL(ctx, "SELECT * FROM datasets.flights", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := rows.Schema.Field(2).Type; !arrow.TypeEqual(got, c.stored) {
				t.Errorf("type %s, want %s", got, c.stored)
			}
			if got, want := text(t, rows), "JFK 2013-06-01T11:00:00Z "+c.want+" 20.5 7 \n"; got != want {
				t.Errorf("rows %q, want %q", got, want)
			}
		})
	}
}
