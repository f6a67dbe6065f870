package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// past remembers how many rows a view had after each moment.
type past struct {
	env  *testenv.Env
	rows int
	then []moment
}

type moment struct {
	time time.Time
	rows int
}

// tick ends a moment: what happens from now on belongs to a later one.
func (p *past) tick() {
	p.then = append(p.then, moment{p.env.Clock.Now(), p.rows})
	p.env.Clock.Set(p.env.Clock.Now().Add(time.Millisecond))
}

func (p *past) write(n int) {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"origin": "JFK", "event_timestamp": "2013-06-01T00:00:00Z", "temp": %d}`, p.rows+i)
	}
	p.env.Ingest("weather", "["+strings.Join(rows, ",")+"]")
	p.rows += n
}

// check reads the view as it was at each moment. Rows are numbered as they were
// acknowledged, so a count, and the greatest number, say which rows there are.
func (p *past) check(t *testing.T) {
	t.Helper()
	for _, m := range p.then {
		got, err := sqlText(t, p.env, fmt.Sprintf("SELECT count(*) n, count(DISTINCT temp) d, coalesce(max(temp), -1)::INT + 1 m FROM features.weather AT (TIMESTAMP => TIMESTAMP '%s')",
			m.time.Format("2006-01-02 15:04:05.000000")))
		if m.rows == 0 && driftline.CodeOf(err) == driftline.NotFound {
			continue
		}
		if want := fmt.Sprintf("n d m\n%[1]d %[1]d %[1]d", m.rows); err != nil || got != want {
			t.Fatalf("at %s: %q, %v; want %q", m.time.Format(time.StampMicro), got, err, want)
		}
	}
}

// A time of the past answers with every row that was acknowledged by then, whatever has
// become of the files and of the ingest log since.
func TestThePastIsWhatWasAcknowledgedByThen(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			env, random := newWeather(t), rand.New(rand.NewPCG(seed, 0))
			ctx := context.Background()
			p := &past{env: env}
			p.tick()
			for range 40 {
				switch random.IntN(8) {
				case 0:
					env.Engine.SetSmallRows(0) // a bulk write, with a snapshot of its own
					p.write(1 + random.IntN(3))
					env.Engine.SetSmallRows(1000)
				case 1:
					flush(t, env)
				case 2:
					if _, err := env.Engine.Compact(ctx, weatherTable); err != nil && driftline.CodeOf(err) != driftline.NotFound {
						t.Fatal(err)
					}
				case 3:
					env.Reopen()
				default:
					p.write(1 + random.IntN(3))
				}
				p.tick()
			}
			p.check(t)
			flush(t, env)
			env.Reopen()
			p.check(t)
		})
	}
}

// A row that is acknowledged while a flush is under way is in none of its files, and was
// there all the same before the flush ended.
func TestThePastHasRowsThatAFlushLeftBehind(t *testing.T) {
	env := newWeather(t)
	p := &past{env: env}
	p.write(2)
	p.tick()
	env.Engine.AtFirst(engine.Steps[1], func() {
		p.tick()
		p.write(1)
		p.tick()
	})
	flush(t, env)
	p.tick()
	p.check(t)
	flush(t, env)
	p.tick()
	p.check(t)
}

// Where what a past state consists of is not kept any more, nobody is given less than it was.
func TestAPastThatHasExpiredIsNoLessThanItWas(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	p := &past{env: env}
	p.write(1)
	flush(t, env)
	if err := env.Engine.TagSnapshot(ctx, weatherTable, "first", snapshotsOf(t, env)[0].ID); err != nil {
		t.Fatal(err)
	}
	p.tick()
	p.write(1)
	p.tick()
	for range 3 {
		flush(t, env)
		p.tick()
		p.write(1)
	}
	flush(t, env)
	if _, err := env.Engine.Expire(ctx, weatherTable, driftline.Retention{Last: 1}); err != nil {
		t.Fatal(err)
	}
	_, err := sqlText(t, env, fmt.Sprintf("SELECT count(*) FROM features.weather AT (TIMESTAMP => TIMESTAMP '%s')", p.then[1].time.Format("2006-01-02 15:04:05.000000")))
	if driftline.CodeOf(err) != driftline.FailedPrecondition || !strings.Contains(err.Error(), "have expired") {
		t.Errorf("%v; want that the state is not kept", err)
	}
}
