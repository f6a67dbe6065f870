package flight_test

import (
	"database/sql"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
)

// Go's database/sql, with the driver of arrow-go.
func TestDatabaseSQL(t *testing.T) {
	d := open(t)
	db, err := sql.Open("flightsql", "flightsql://"+d.address+"?timeout=60s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()
	var flag bool
	var small int32
	var large int64
	var number, nan float64
	var word string
	var at time.Time
	var nothing sql.NullInt64
	row := db.QueryRowContext(ctx, `SELECT true, 7::INTEGER, 7000000000, 0.5::DOUBLE, 'NaN'::DOUBLE, 'ä', TIMESTAMPTZ '2013-06-01 12:00:00.000001+02', NULL::BIGINT`)
	if err := row.Scan(&flag, &small, &large, &number, &nan, &word, &at, &nothing); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintln(flag, small, large, number, math.IsNaN(nan), word, at.UTC(), nothing.Valid); got != "true 7 7000000000 0.5 true ä 2013-06-01 10:00:00.000001 +0000 UTC false\n" {
		t.Errorf("values: %s", got)
	}

	statement, err := db.PrepareContext(ctx, "SELECT origin, temp FROM features.weather WHERE origin = ? AND temp > ?")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		origin string
		above  float64
		want   string
	}{{"JFK", 20, "JFK 20.5"}, {"LGA", 18, "LGA 19"}, {"LGA", 19, ""}} {
		var origin string
		var temp float64
		got := ""
		if err := statement.QueryRowContext(ctx, test.origin, test.above).Scan(&origin, &temp); err == nil {
			got = fmt.Sprint(origin, " ", temp)
		} else if err != sql.ErrNoRows {
			t.Fatal(err)
		}
		if got != test.want {
			t.Errorf("%v: got %q", test, got)
		}
	}
	if _, err := statement.QueryContext(ctx, "JFK"); err == nil || !strings.Contains(err.Error(), "expected 2 arguments, got 1") {
		t.Errorf("one parameter too few: %v", err)
	}
	if err := statement.Close(); err != nil {
		t.Error(err)
	}
	if _, err := db.QueryContext(ctx, "SELECT temprature FROM features.weather"); err == nil || !strings.Contains(err.Error(), `did you mean "temp"?`) {
		t.Errorf("a mistake: %v", err)
	}
}
