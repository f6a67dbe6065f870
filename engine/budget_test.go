package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/monitor"
)

// looked is a history of looks at tables that never drift.
type looked struct {
	schema  *arrow.Schema
	random  *rand.Rand
	columns int
}

func newLooked(seed uint64, columns int) *looked {
	var fields []arrow.Field
	for i := range columns {
		field := arrow.Field{Name: fmt.Sprint("c", i), Type: arrow.PrimitiveTypes.Float64, Nullable: true}
		if i%4 == 3 {
			field.Type = arrow.BinaryTypes.String
		}
		fields = append(fields, field)
	}
	return &looked{schema: arrow.NewSchema(fields, nil), random: rand.New(rand.NewPCG(seed, 5)), columns: columns}
}

// rows draws rows: normal, log-normal, missing in part, and categories, in turn.
func (l *looked) rows(n int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, l.schema)
	defer b.Release()
	for i, f := range b.Fields() {
		for range n {
			z := l.random.NormFloat64()
			switch column := f.(type) {
			case *array.StringBuilder:
				column.Append(string(rune('a' + l.random.IntN(6))))
			case *array.Float64Builder:
				switch {
				case i%4 == 1:
					column.Append(math.Exp(2 * z))
				case i%4 == 2 && l.random.IntN(5) == 0:
					column.AppendNull()
				default:
					column.Append(z)
				}
			}
		}
	}
	return b.NewRecordBatch()
}

func (l *looked) alarm(t *testing.T, level float64, reference, current []arrow.RecordBatch) bool {
	t.Helper()
	margin := 0.0
	report, err := engine.Compare(context.Background(), driftline.BatchesOf(l.schema, reference...), driftline.BatchesOf(l.schema, current...),
		driftline.DriftOptions{Alpha: level, Margin: &margin})
	if err != nil {
		t.Fatal(err)
	}
	return report.Drift
}

// TestABudgetOfFalseAlarmsIsKept: the levels that a monitor derives from its budget let
// through as many false alarms as it accepts: no more if panes overlap, and of a fixed
// reference as of a new one.
func TestABudgetOfFalseAlarmsIsKept(t *testing.T) {
	const looks, columns, rows = 600, 24, 120
	for _, c := range []struct {
		name     string
		window   driftline.Span
		overlap  int  // looks that a pane is as long as
		fixed    bool // one reference for all looks
		exactly  bool // looks do not depend on each other: a count below the band is wrong too
		expected float64
	}{
		{"each pane with a reference of its own", driftline.Span{Clock: time.Hour}, 1, false, true, 30},
		{"a reference for fifty panes", driftline.Span{Clock: time.Hour}, 1, true, false, 30},
		{"panes of four hours, looked at every hour", driftline.Span{Clock: 4 * time.Hour}, 4, false, false, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := &driftline.Monitor{Window: c.window, Schedule: driftline.MonitorSchedule{Cron: "@hourly"}, Created: watchedDay,
				Budget: &driftline.AlarmBudget{Alarms: c.expected, Per: driftline.Duration(looks * time.Hour)}}
			schedule, err := monitor.NewSchedule(m)
			if err != nil {
				t.Fatal(err)
			}
			l := newLooked(uint64(len(c.name)), columns)
			var hours []arrow.RecordBatch
			var reference []arrow.RecordBatch
			for range 2 * c.overlap {
				hours = append(hours, l.rows(rows/c.overlap))
			}
			alarms := 0.0
			pane := schedule.Next(time.Time{})
			for look := range looks {
				if look%50 == 0 {
					reference = []arrow.RecordBatch{l.rows(5 * rows)}
				}
				hours = append(hours[1:], l.rows(rows/c.overlap))
				against := hours[:c.overlap]
				if c.exactly {
					against = []arrow.RecordBatch{l.rows(rows)}
				}
				if c.fixed {
					against = reference
				}
				if l.alarm(t, schedule.Level(m, 0.05, pane), against, hours[c.overlap:]) {
					alarms++
				}
				pane = schedule.Next(pane.End)
			}
			// The 99 % band of a count of independent looks; those that share rows, and those
			// that share a reference a fifth of whose size they are, spread wider.
			half := 2.576 * math.Sqrt(c.expected*(1-c.expected/looks)*float64(c.overlap))
			if c.fixed {
				half *= math.Sqrt2
			}
			if alarms > c.expected+half+0.5 || c.exactly && alarms < c.expected-half-0.5 {
				t.Errorf("%v false alarms in %d looks, the budget is %v (band ± %.0f)", alarms, looks, c.expected, half)
			}
			t.Logf("%v false alarms in %d looks, the budget is %v", alarms, looks, c.expected)
		})
	}
}

// TestEarlyLooksTogetherHaveOneLevel: of panes that never drift, no more than the level lets
// through are called drifted at any of their looks, also where these are so many that
// a time-uniform bound is taken; and a plain comparison that is looked at as often breaks it.
func TestEarlyLooksTogetherHaveOneLevel(t *testing.T) {
	const panes, columns, level, margin = 60, 4, 0.05, 0.0
	for _, looks := range []int{20, 120} {
		l := newLooked(uint64(looks), columns)
		plain, early := 0.0, 0.0
		for range panes {
			reference := []arrow.RecordBatch{l.rows(1500)}
			var current []arrow.RecordBatch
			plainAlarm, earlyAlarm := false, false
			for look := 1; look <= looks; look++ {
				current = append(current, l.rows(1200/looks))
				if look%(looks/20) != 0 {
					continue // of many looks a sample is enough to break a plain comparison
				}
				compare := func(looks int) bool {
					margin := margin
					report, err := engine.CompareLooking(context.Background(), driftline.BatchesOf(l.schema, reference...), driftline.BatchesOf(l.schema, current...),
						driftline.DriftOptions{Alpha: level, Margin: &margin}, looks)
					if err != nil {
						t.Fatal(err)
					}
					return report.Drift
				}
				plainAlarm, earlyAlarm = plainAlarm || compare(0), earlyAlarm || compare(looks)
			}
			if plainAlarm {
				plain++
			}
			if earlyAlarm {
				early++
			}
		}
		if most := panes*level + 2.576*math.Sqrt(panes*level) + 0.5; early > most || plain < 2*panes*level {
			t.Errorf("%d looks: %v of %d panes drift at one of them, want at most %.0f; by plain comparisons %v", looks, early, panes, most, plain)
		}
	}
}

// TestABudgetThatCannotBeKeptIsRefused: rules that decide by constants would break the promise.
func TestABudgetThatCannotBeKeptIsRefused(t *testing.T) {
	env := testenv.New(t)
	env.Apply(driftline.Definitions{
		Entities:     []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{Name: "weather", Entities: []driftline.EntityName{"airport"}, Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}}}},
	})
	level, smallest := 0.01, 0.2
	for _, c := range []struct {
		tests driftline.DriftOptions
		want  string // "" if the monitor is fine
	}{
		{driftline.DriftOptions{}, ""},
		{driftline.DriftOptions{Correction: "by", Tests: []driftline.ColumnTest{{Test: "psi", Kind: "categorical", Threshold: &smallest}}}, ""},
		{driftline.DriftOptions{Preset: "evidently"}, `monitor "hourly": budget cannot be kept: preset "evidently" decides by constants`},
		{driftline.DriftOptions{Correction: "none"}, `monitor "hourly": budget cannot be kept: each column is an alarm of its own without a correction`},
		{driftline.DriftOptions{Tests: []driftline.ColumnTest{{Test: "ks", Threshold: &level}}}, `monitor "hourly": budget cannot be kept: test "ks" has a level of its own, 0.01`},
	} {
		m := driftline.Monitor{Name: "hourly", Source: driftline.MonitorSource{Ref: driftline.ViewRef("weather")}, Window: driftline.Span{Clock: time.Hour},
			Reference: driftline.MonitorReference{Moving: driftline.Span{Days: 1}}, Tests: c.tests,
			Budget: &driftline.AlarmBudget{Alarms: 1, Per: driftline.Duration(720 * time.Hour)}}
		_, err := env.Engine.Apply(context.Background(), driftline.Definitions{Monitors: []driftline.Monitor{m}})
		if (c.want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.tests, err, c.want)
		}
	}
}
