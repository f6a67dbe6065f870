package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// sensorView is a view of one int64 feature per name, keyed by id.
func sensorView(view driftline.ViewName, ttl time.Duration, features ...string) driftline.Definitions {
	v := driftline.FeatureView{Name: view, Entities: []driftline.EntityName{"sensor"}, TTL: driftline.Duration(ttl)}
	for _, name := range features {
		v.Features = append(v.Features, driftline.Field{Name: name, Type: driftline.Int64})
	}
	return driftline.Definitions{
		Entities:     []driftline.Entity{{Name: "sensor", JoinKeys: []driftline.Field{{Name: "id", Type: driftline.Int64}}}},
		FeatureViews: []driftline.FeatureView{v},
	}
}

// sensors is a batch of entities.
func sensors(env *testenv.Env, values ...int64) arrow.RecordBatch {
	b := array.NewRecordBuilder(env.Mem, arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil))
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues(values, nil)
	return b.NewRecordBatch()
}

func TestAPlanHoldsUntilDefinitionsChange(t *testing.T) {
	env := testenv.New(t)
	env.Apply(sensorView("readings", 0, "temp"))
	set := driftline.FeatureSet{Features: []string{"readings:temp"}}
	first, err := env.Engine.PlanOnline(set)
	if err != nil {
		t.Fatal(err)
	}
	env.Ingest("readings", `[{"id": 1, "event_timestamp": "2013-01-31T15:00:00Z", "temp": 40}]`)
	again, err := env.Engine.PlanOnline(driftline.FeatureSet{Features: []string{"readings:temp"}})
	if err != nil || again != first {
		t.Fatalf("a write made another plan, %v", err)
	}

	entities := sensors(env, 1)
	defer entities.Release()
	status := func() driftline.Status {
		t.Helper()
		at := time.Date(2013, 1, 31, 17, 0, 0, 0, time.UTC)
		answer, err := env.Engine.Online(context.Background(), driftline.OnlineRequest{FeatureSet: set, At: at}, entities)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Release()
		return answer.Features[0].Statuses[0]
	}
	if got := status(); got != driftline.Present {
		t.Errorf("without a TTL the value is %s", got)
	}
	env.Apply(sensorView("readings", time.Hour, "temp"))
	if got := status(); got != driftline.OutsideMaxAge {
		t.Errorf("two hours after, with a TTL of one, the value is %s", got)
	}
	if later, err := env.Engine.PlanOnline(set); err != nil || later == first {
		t.Errorf("the plan is still that of the definitions before, %v", err)
	}
}

// Large answers give way to online reads and writes, and not to a SELECT that waits for itself.
func TestOnlineReadsAndWritesAreToBeGivenWay(t *testing.T) {
	for name, serve := range map[string]func(*testenv.Env){
		"an online read": func(env *testenv.Env) {
			entities := sensors(env, 1)
			defer entities.Release()
			req := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{Features: []string{"readings:temp"}}}
			answer, err := env.Engine.Online(context.Background(), req, entities)
			if err != nil {
				t.Fatal(err)
			}
			answer.Release()
		},
		"a write": func(env *testenv.Env) {
			env.Ingest("readings", `[{"id": 1, "event_timestamp": "2013-01-31T15:00:00Z", "temp": 40}]`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t)
			env.Apply(sensorView("readings", 0, "temp"))
			if _, err := env.Engine.SQLSchema(context.Background(), "SELECT temp FROM features.readings"); err != nil {
				t.Fatal(err)
			}
			const nobody = time.Duration(math.MaxInt64)
			if since := env.Engine.SinceServed(); since != nobody {
				t.Errorf("before: somebody was served %s ago", since)
			}
			serve(env)
			if since := env.Engine.SinceServed(); since == nobody {
				t.Error("after: nobody was served")
			}
		})
	}
}

func TestPlansOfManySetsAreForgotten(t *testing.T) {
	env := testenv.New(t)
	env.Apply(sensorView("readings", 0, "temp"))
	for n := range 3000 {
		role := driftline.Projection{View: "readings", Role: fmt.Sprint("role_", n)}
		if _, err := env.Engine.PlanOnline(driftline.FeatureSet{Projections: []driftline.Projection{role}}); err != nil {
			t.Fatal(err)
		}
		if kept := env.Engine.OnlinePlansKept(); kept == 0 || kept > 1000 {
			t.Fatalf("%d plans are kept", kept)
		}
	}
}

// TestFeatureSetsAreToldApart compares random sets of tiny domains, so that many are equal
// and many differ in one place only.
func TestFeatureSetsAreToldApart(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	names := func(most int) (out []string) {
		for range random.IntN(most + 1) {
			out = append(out, []string{"a", "b", "ab", ""}[random.IntN(4)])
		}
		return out
	}
	set := func() (s driftline.FeatureSet) {
		s.FullFeatureNames = random.IntN(4) == 0
		if random.IntN(4) == 0 {
			s.Service = "a"
		}
		s.Features = names(2)
		for range random.IntN(3) {
			p := driftline.Projection{View: driftline.ViewName(fmt.Sprint(names(1))), Features: names(2), Lag: driftline.Duration(random.IntN(2))}
			if random.IntN(2) == 0 {
				p.Role = "a"
			}
			if keys := names(2); len(keys) > 0 {
				p.JoinKeyMap = map[string]string{}
				for _, key := range keys {
					p.JoinKeyMap[key] = fmt.Sprint(names(1))
				}
			}
			s.Projections = append(s.Projections, p)
		}
		return s
	}
	equal := 0
	for range 20_000 {
		a, b := set(), set()
		same := bytes.Equal(engine.FeatureSetKey(a), engine.FeatureSetKey(b))
		if same != reflect.DeepEqual(a, b) {
			t.Fatalf("%+v and %+v: equal keys is %v", a, b, same)
		}
		if same {
			equal++
		}
	}
	if equal < 10 {
		t.Fatalf("only %d pairs were equal", equal)
	}
}

// TestAnOnlineReadAllocatesLittle counts what a read of 100 entities × 50 features
// allocates, the values themselves included.
func TestAnOnlineReadAllocatesLittle(t *testing.T) {
	env := testenv.New(t)
	var features []string
	row := `"event_timestamp": "2013-01-31T15:00:00Z"`
	for i := range 10 {
		features = append(features, fmt.Sprint("f", i))
		row += fmt.Sprintf(`, "f%d": %d`, i, i)
	}
	var set driftline.FeatureSet
	for v := range 5 {
		name := driftline.ViewName(fmt.Sprint("view_", v))
		env.Apply(sensorView(name, 0, features...))
		rows := ""
		for id := range 100 {
			rows += fmt.Sprintf(`,{"id": %d, %s}`, id, row)
		}
		env.Ingest(name, "["+rows[1:]+"]")
		for _, f := range features {
			set.Features = append(set.Features, string(name)+":"+f)
		}
		set.FullFeatureNames = true
	}
	var asked []int64
	for id := range int64(100) {
		asked = append(asked, (id*37)%100)
	}
	entities := sensors(env, asked...)
	defer entities.Release()
	allocations := testing.AllocsPerRun(100, func() {
		plan, err := env.Engine.PlanOnline(set)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := env.Engine.ReadOnline(context.Background(), plan, time.Time{}, entities)
		if err != nil || answer.Status(49, 99) != driftline.Present {
			t.Fatal(err)
		}
	})
	if allocations > 20 {
		t.Errorf("%v allocations", allocations)
	}
}
