package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/driftline/driftline/drift"
)

// A year of hourly looks at many columns that never drift: how many looks find drift all
// the same, with the levels that a budget of one false alarm in 30 days comes to. Beside
// it stands a level of 5 % for each look, which is what a monitor without a budget has. Drift
// is decided as the engine does: the values of a column and the share of what is missing are
// questions of their own, corrected together.

// yearBudget is the promise.
var yearBudget = drift.Budget{Alarms: 1, Per: 30 * 24 * time.Hour, Every: time.Hour}

// yearly is one way in which panes and references come about.
type yearly struct {
	name      string
	hours     int  // that a pane is long
	rows      int  // of an hour
	reference int  // rows of it
	fixed     bool // one reference for the whole year
}

var years = []yearly{
	{"a reference for all panes", 1, 200, 2000, true},
	{"a reference for each pane", 1, 200, 1000, false},
	{"panes of a day, every hour", 24, 25, 2000, true},
}

// A year is counted month by month, and what was counted is kept: a run goes on where the last one
// of the same revision ended, and reports the months that there are after yearTime.
const (
	yearMonths = 12
	monthLooks = 365 * 24 / yearMonths
	yearTime   = 15 * time.Minute
)

// yearTally is what was counted so far, by name of the way.
type yearTally struct {
	Driftline string                 `json:"driftline"`
	Columns   int                    `json:"columns"`
	Looks     int                    `json:"looks"` // of a month
	Months    map[string][]lookCount `json:"months"`
}

// lookCount is how many looks of a month found drift.
type lookCount struct {
	Ours  int `json:"ours"`
	Plain int `json:"plain"` // at a level of 5 % for each look
}

func yearPart(ctx context.Context, b *bench) error {
	columns, looks, months := pick(b, 40, 400), pick(b, 48, monthLooks), pick(b, 1, yearMonths)
	yearBudget.Columns = columns
	tally := b.readYear(columns, looks)
	for end := time.Now().Add(yearTime); time.Now().Before(end); {
		y, month := tally.next()
		if month == months {
			break
		}
		count, err := y.alarms(ctx, columns, month, looks)
		if err != nil {
			return err
		}
		b.progress("%s, month %d: %+v", y.name, month+1, count)
		tally.Months[y.name] = append(tally.Months[y.name], count)
		if err := b.writeYear(tally); err != nil {
			return err
		}
	}
	for _, y := range years {
		b.keepYear(y, tally)
	}
	return nil
}

// next is the way of which the fewest months were counted, and how many.
func (t *yearTally) next() (yearly, int) {
	y := slices.MinFunc(years, func(x, y yearly) int { return len(t.Months[x.name]) - len(t.Months[y.name]) })
	return y, len(t.Months[y.name])
}

func (b *bench) keepYear(y yearly, tally *yearTally) {
	months := tally.Months[y.name]
	if len(months) == 0 {
		return
	}
	var sum lookCount
	for _, m := range months {
		sum.Ours += m.Ours
		sum.Plain += m.Plain
	}
	looks := len(months) * tally.Looks
	promised := float64(looks) * yearBudget.Level()
	w := workload{name: fmt.Sprintf("%d hourly looks at %s columns, %s", looks, count(tally.Columns), y.name), unit: "alarms"}
	b.keepAlarms(w, "at most 1 in 30 days", sum.Ours, promised, float64(sum.Ours) <= poissonBand(promised, y.hours))
	b.keepAlarms(w, "5 % a look", sum.Ours, float64(sum.Plain), true)
}

func (b *bench) yearFile() string { return filepath.Join(b.results, "drift-null-year.json") }

// readYear returns what was counted in the same way by the same revision.
func (b *bench) readYear(columns, looks int) *yearTally {
	fresh := &yearTally{Driftline: b.machine.Driftline, Columns: columns, Looks: looks, Months: map[string][]lookCount{}}
	text, err := os.ReadFile(b.yearFile())
	var kept yearTally
	if b.quick || err != nil || json.Unmarshal(text, &kept) != nil || kept.Months == nil ||
		kept.Driftline != fresh.Driftline || kept.Columns != columns || kept.Looks != looks {
		return fresh
	}
	return &kept
}

func (b *bench) writeYear(tally *yearTally) error {
	if b.quick {
		return nil
	}
	text, err := json.MarshalIndent(tally, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.yearFile(), append(text, '\n'), 0o644)
}

func (b *bench) keepAlarms(w workload, peer string, ours int, theirs float64, kept bool) {
	mine := float64(ours)
	b.keep(row{Workload: w.name, Peer: peer, Unit: w.unit, Ours: &mine, Theirs: &theirs, SameAnswer: kept, Pairs: 1, Uncompared: true})
}

// poissonBand is what a count with this mean exceeds with a chance of half a percent, if
// alarms come in clusters of this many at most.
func poissonBand(mean float64, cluster int) float64 {
	return mean + 2.576*math.Sqrt(mean*float64(cluster)) + 1
}

// alarms counts the looks of a month that find drift. Columns are drawn one after the other, on all
// cores, each from seeds of its own, so that the outcome does not depend on the machine.
func (y yearly) alarms(ctx context.Context, columns, month, looks int) (found lookCount, err error) {
	values, missing := make([][]float64, columns), make([][]float64, columns)
	var group sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for c := range next {
				values[c], missing[c] = y.column(ctx, c, month, looks)
			}
		})
	}
	for c := range columns {
		next <- c
	}
	close(next)
	group.Wait()
	if ctx.Err() != nil {
		return found, ctx.Err()
	}
	p := make([]float64, 2*columns)
	for look := range looks {
		for c := range columns {
			p[2*c], p[2*c+1] = values[c][look], missing[c][look]
		}
		least := 1.0
		for _, q := range drift.AdjustBH(p) {
			if q == q {
				least = min(least, q)
			}
		}
		found.Ours += oneIf(least <= yearBudget.Level())
		found.Plain += oneIf(least <= nominal)
	}
	return found, nil
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// column draws one column for a month, of a reference that is the same in all months, and returns the p-values of its values, and of what
// is missing in them, look by look.
func (y yearly) column(ctx context.Context, column, month, looks int) (values, missing []float64) {
	random := rand.New(rand.NewPCG(uint64(column), uint64(y.rows+y.hours)))
	draw := yearColumns[column%len(yearColumns)]
	some := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = draw(random)
		}
		return x
	}
	reference := some(y.reference)
	random = rand.New(rand.NewPCG(uint64(column), uint64(month+1)<<32|uint64(y.rows+y.hours)))
	var hours [][]float64
	for range y.hours {
		hours = append(hours, some(y.rows))
	}
	for range looks {
		if ctx.Err() != nil {
			return nil, nil
		}
		hours = append(hours[1:], some(y.rows))
		if !y.fixed {
			reference = some(y.reference)
		}
		p, gone := compareYear(reference, slices.Concat(hours...), column%len(yearColumns) >= yearCategories)
		values, missing = append(values, p), append(missing, gone)
	}
	return values, missing
}

// yearColumns are the kinds of columns, in turn. From yearCategories on they are categories.
var yearColumns = []func(*rand.Rand) float64{
	(*rand.Rand).NormFloat64,
	func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) },
	func(r *rand.Rand) float64 { return math.Round(3 * r.NormFloat64()) },
	func(r *rand.Rand) float64 { return nullOr(r, r.NormFloat64()) },
	func(r *rand.Rand) float64 { return nullOr(r, r.ExpFloat64()) },
	func(r *rand.Rand) float64 { return float64(r.IntN(2)) },
	func(r *rand.Rand) float64 { return float64(r.IntN(10)) },
	func(r *rand.Rand) float64 { return math.Floor(100 * math.Abs(r.NormFloat64())) }, // some 300, many of them rare
}

const yearCategories = 5

func compareYear(x, y []float64, categories bool) (values, missing float64) {
	if categories {
		a, b := drift.CountValues(drift.SampleOf(x), drift.SampleOf(y))
		return drift.CompareCategories(a, b).P, math.NaN()
	}
	reference, current := drift.SampleOf(x), drift.SampleOf(y)
	missing = math.NaN()
	if before, now := reference.Missing(), current.Missing(); before+now > 0 {
		missing = drift.SharesP(before, int64(len(x)), now, int64(len(y)))
	}
	return drift.CompareNumbers(reference, current).P, missing
}
