package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// sqlParts measure a user's SELECT: what it takes beside DuckDB in process, and what
// one user's query does to all others.
var sqlParts = []part{
	{name: "select", does: "SELECTs over 1M rows: DuckDB in process", run: sqlSelect},
	{name: "attack", does: "p99 of others while a hostile query runs", run: sqlAttack},
	{name: "respawn", does: "time to the next answer after all worker processes were killed", run: sqlRespawn},
}

func sqlHistory(b *bench) past { return history(pick(b, 200, 10_000), 100) }

// sqlQuery is written with {table} for the table. Its answer must not depend on the
// order in which numbers are added.
type sqlQuery struct {
	name, text string
	repeats    int // in one run
}

func sqlQueries() []sqlQuery {
	return []sqlQuery{
		{"one entity, 100 rows", "SELECT entity, event_timestamp, f0, f9 FROM {table} WHERE entity = 42", 20},
		{"count, min, max", "SELECT count(*) AS n, min(f0) AS low, max(f9) AS high FROM {table}", 20},
		{"1,000 groups", "SELECT entity % 1000 AS part, count(*) AS n, max(f0) AS high FROM {table} GROUP BY part", 20},
		{"top 100 of a window", "SELECT *, row_number() OVER (ORDER BY f0 DESC, entity) AS place FROM (SELECT entity, f0 FROM {table}) ORDER BY place LIMIT 100", 5},
		{"all rows, 4 columns", "SELECT entity, event_timestamp, f0, f1 FROM {table}", 3},
	}
}

func (q sqlQuery) over(table string) string { return strings.Replace(q.text, "{table}", table, 1) }

func sqlSelect(ctx context.Context, b *bench) error {
	s, table, err := b.sqlServer(ctx)
	if err != nil {
		return err
	}
	if err := b.parquetOnce(b.file(table.view), table.generated()); err != nil {
		return err
	}
	for _, q := range sqlQueries() {
		repeats := pick(b, 1, q.repeats)
		w := workload{name: fmt.Sprintf("SELECT, %s of %s", q.name, count(table.rows())), unit: "ms"}
		config := map[string]any{"query": q.over(fmt.Sprintf("read_parquet('%s')", b.file(table.view))), "repeats": repeats}
		peer := peerSpec{name: "DuckDB in process", module: "sql_duckdb", config: config}
		if err := b.comparePeer(ctx, w, s.sql(q.over("features."+table.view), repeats), peer); err != nil {
			return err
		}
	}
	return nil
}

// sqlServer is the shared server with the table that the SQL parts ask for.
func (b *bench) sqlServer(ctx context.Context) (*server, past, error) {
	table := sqlHistory(b)
	s, err := b.shared(ctx)
	if err != nil {
		return nil, table, err
	}
	return s, table, s.fillOnce(ctx, table.featureView(0), table.generated())
}

// sql runs a query some times in a row, and measures the mean in milliseconds.
func (s *server) sql(query string, repeats int) side {
	return side{name: "Driftline", run: func(ctx context.Context, check bool) (measured, error) {
		start := time.Now()
		for range repeats - 1 {
			if _, err := s.selectAll(ctx, query, false); err != nil {
				return measured{}, err
			}
		}
		last, err := s.selectAll(ctx, query, check)
		return measured{value: milliseconds(time.Since(start)) / float64(repeats), answer: last}, err
	}}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// selectAll receives the whole answer, and sums it up if that is wanted.
func (s *server) selectAll(ctx context.Context, query string, check bool) (answer, error) {
	rows, err := s.client.SQL(ctx, query)
	if err != nil {
		return answer{}, err
	}
	if check {
		return checksum(rows)
	}
	batches, received, err := rows.Collect()
	driftline.ReleaseAll(batches)
	return answer{Rows: received}, err
}

// attack is a query that passes for an honest one and asks for more than there is.
type attack struct{ name, query string }

func attacks(table past) []attack {
	name := "features." + table.view
	return []attack{
		{"CPU", fmt.Sprintf("SELECT count(*) FROM %[1]s a, %[1]s b WHERE a.f0 + b.f1 > 1.9", name)},
		{"memory", fmt.Sprintf("SELECT count(*) FROM (SELECT DISTINCT a.f0 + b.f1 FROM %[1]s a, %[1]s b)", name)},
		{"rows out", fmt.Sprintf("SELECT a.f0, b.f1 FROM %[1]s a, %[1]s b", name)},
	}
}

// sqlAttack measures what other callers wait, alone and while a query of another
// caller does its worst. Every answer of theirs is checked.
func sqlAttack(ctx context.Context, b *bench) error {
	s, table, err := b.sqlServer(ctx)
	if err != nil {
		return err
	}
	callers, err := s.callers(ctx, b, table)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range callers {
		for _, a := range attacks(table) {
			w := workload{name: fmt.Sprintf("%s p99, attack on %s", c.name, a.name), unit: "ms", goal: atMost(2), pairs: 3, uncompared: true}
			under := side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
				m, err := s.underAttack(ctx, a, c)
				_, settled := s.settle(ctx, table.view) // or the next run would not be alone
				return m, errors.Join(err, settled)
			}}
			alone := side{name: "ours, no attack", run: c.run}
			if err := b.compare(ctx, w, under, alone); err != nil {
				failed = append(failed, err) // the next attack is worth knowing too
			}
		}
	}
	return errors.Join(failed...)
}

// caller asks one question after the other for some time, and knows the answers.
type caller struct {
	name   string
	window time.Duration
	ask    func(ctx context.Context, i int) error
}

// questions is how many different things a caller asks for, in turn.
const questions = 20

// callers are a user of SQL and a service that reads online.
func (s *server) callers(ctx context.Context, b *bench, table past) ([]caller, error) {
	long := func(full time.Duration) time.Duration { return pick(b, 200*time.Millisecond, full) } // some hundred questions
	askSQL, err := s.sqlCaller(ctx, table)
	if err != nil {
		return nil, err
	}
	askOnline, err := s.onlineCaller(ctx, table)
	return []caller{{"SELECT of one entity", long(6 * time.Second), askSQL}, {"online read", long(2 * time.Second), askOnline}}, err
}

func (s *server) sqlCaller(ctx context.Context, table past) (func(context.Context, int) error, error) {
	var queries []string
	var answers []answer
	for i := range questions {
		query := fmt.Sprintf("SELECT * FROM features.%s WHERE entity = %d", table.view, i*table.entities/questions)
		found, err := s.selectAll(ctx, query, true)
		if err != nil {
			return nil, err
		}
		if found.Rows != int64(table.rowsPerEntity) {
			return nil, fmt.Errorf("%q has %d rows of %d", query, found.Rows, table.rowsPerEntity)
		}
		queries, answers = append(queries, query), append(answers, found)
	}
	return func(ctx context.Context, i int) error {
		found, err := s.selectAll(ctx, queries[i%questions], true)
		if err != nil {
			return err
		}
		return sameBits(found, answers[i%questions])
	}, nil
}

func (s *server) onlineCaller(ctx context.Context, table past) (func(context.Context, int) error, error) {
	load := onlineLoad{url: s.url + "/get-online-features", connections: 1}
	for i := range questions {
		load.bodies = append(load.bodies, fmt.Appendf(nil, `{"features": ["%[1]s:f0", "%[1]s:f9"], "entities": {"%[2]s": [%[3]d]}}`,
			table.view, entityKey, i*table.entities/questions))
	}
	known, err := load.run(ctx, true)
	client := &http.Client{}
	return func(ctx context.Context, i int) error {
		found, err := post(ctx, client, load.url, load.bodies[i%questions])
		if err == nil && string(found) != string(known.answers[i%questions]) {
			err = fmt.Errorf("the online answer was %.200s and is %.200s", known.answers[i%questions], found)
		}
		return err
	}, err
}

// run asks for the time of the window, and measures the 99th percentile of the waits.
func (c caller) run(ctx context.Context, _ bool) (measured, error) {
	var result loadResult
	for started, i := time.Now(), 0; time.Since(started) < c.window; i++ {
		asked := time.Now()
		if err := c.ask(ctx, i); err != nil {
			return measured{}, fmt.Errorf("%s: %w", c.name, err)
		}
		result.latencies = append(result.latencies, time.Since(asked))
	}
	slices.Sort(result.latencies)
	return measured{value: result.percentile(99)}, nil
}

// underAttack is a run of the caller while an attacker asks without a pause, from a process of
// its own as the server's callers have. What the attacker is answered does not matter here;
// tests of the product look at that.
func (s *server) underAttack(ctx context.Context, a attack, c caller) (measured, error) {
	_, stop, err := s.b.startSelf(ctx, s.url+"\n"+a.query, attackCommand)
	if err != nil {
		return measured{}, err
	}
	m, err := c.run(ctx, false)
	if err = errors.Join(err, stop()); err != nil {
		err = fmt.Errorf("under an attack on %s: %w", a.name, err)
	}
	return m, err
}

// attackCommand makes the bench's own binary an attacker.
const attackCommand = "__attack"

// attackServer reads the address of a server and a query, and asks until it is killed.
func attackServer(in io.Reader, out io.Writer) error {
	told, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	url, query, _ := strings.Cut(string(told), "\n")
	c, err := client.Dial(context.Background(), url)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "attacking"); err != nil {
		return err
	}
	for {
		_ = (&server{client: c}).drain(context.Background(), query)
	}
}

// drain receives an answer of any size, a batch at a time.
func (s *server) drain(ctx context.Context, query string) error {
	rows, err := s.client.SQL(ctx, query)
	if err != nil {
		return err
	}
	for _, err := range rows.All {
		if err != nil {
			return err
		}
	}
	return nil
}

// sqlRespawn kills the server's worker processes and waits for the next right answer.
func sqlRespawn(ctx context.Context, b *bench) error {
	const maxMilliseconds = 1_000
	s, table, err := b.sqlServer(ctx)
	if err != nil {
		return err
	}
	w := workload{name: "SELECT after the workers were killed", unit: "ms"}
	ask, err := s.sqlCaller(ctx, table)
	if err != nil {
		return err
	}
	var values []float64
	for i := range b.pairs() {
		killed, err := s.killWorkers(ctx, attacks(table)[0])
		if err != nil {
			return err
		}
		if killed == 0 {
			b.skip(w, "worker processes", "the server has none, not even while a query runs")
			return nil
		}
		start := time.Now()
		if err := ask(ctx, i); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		values = append(values, milliseconds(time.Since(start)))
	}
	b.keepLimit(w, values, maxMilliseconds)
	return nil
}

// killWorkers kills all processes that the server has started, while a query runs, as
// the kernel does when memory is out. It returns how many there were.
func (s *server) killWorkers(ctx context.Context, a attack) (killed int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var query sync.WaitGroup
	query.Go(func() { _ = s.drain(ctx, a.query) })
	defer func() { cancel(); query.Wait() }()
	const patience = 2 * time.Second
	var workers []int
	for deadline := time.Now().Add(patience); len(workers) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		workers = descendants(s.pid())
	}
	for _, worker := range workers {
		if err := syscall.Kill(worker, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return killed, err
		}
		killed++
	}
	return killed, nil
}
