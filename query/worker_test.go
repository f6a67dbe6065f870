package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// openWorkers returns a DB whose SELECTs run in processes, whose batches must all be
// released and whose processes must be gone when the test ends.
func openWorkers(t testing.TB, opts SQLOptions) *DB {
	t.Helper()
	var err error
	if opts.Command, err = WorkerCommand(); err != nil {
		t.Fatal(err)
	}
	opts.Readable = append(opts.Readable, files)
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	db, err := Open(&Options{Allocator: mem, Threads: 2, SQL: opts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if n := len(db.workers.all); n > 0 {
			t.Errorf("%d processes are left", n)
		}
		mem.AssertSize(t, 0)
	})
	return db
}

// TestWorkersAnswerAsTheProcessItself runs the same SELECTs in both ways.
func TestWorkersAnswerAsTheProcessItself(t *testing.T) {
	apart, inside := openWorkers(t, SQLOptions{}), openDB(t)
	file, schema := numbers(t, 50_000)
	tail := func() driftline.Batches {
		batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"n": 50000, "name": "of the log"}]`))
		if err != nil {
			t.Fatal(err)
		}
		return driftline.BatchesOf(schema, batch)
	}
	tables := []Table{
		{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}, Tail: tail()}},
		{Schema: "meta", Name: "runs", Batches: tail},
		{Name: "local", Rows: Rows{Files: []string{file}}},
	}
	for _, test := range []struct {
		sql  string
		args []any
	}{
		{"select n, name from features.numbers where n > 49990 order by n", nil},
		{"select count(*), sum(n), max(name) from features.numbers", nil},
		{"select a.n, b.n from meta.runs a, META.Runs b", nil},
		{"select max(n) m from local", nil},
		{"select n from features.numbers where name = ? and n < $2", []any{"row 3", int64(4)}},
		{"select ?::timestamptz t, $2::blob b, $3 x, $4::double f", []any{time.UnixMicro(1), []byte{1}, nil, 2.5}},
		{"select 1 a, 2 a, 'it''s' b, [1, 2] l, {'a': 1, 'b': ['x']} s, 1.5::decimal(9, 2) d, null v, true w, uuid '00000000-0000-0000-0000-000000000001' u", nil},
		{"select date '2020-01-01' d, time '12:00' t, interval 1 day i, 'a'::enum('a', 'b') e, 1::hugeint h, x'00' b", nil},
		{"select n from features.numbers where false", nil},
		{"select * from features.number", nil},
		{"select nam from features.numbers", nil},
		{"select cast(name as int) from features.numbers", nil},
		{"select n from features.numbers where n = ?", nil},
		{"drop table features.numbers", nil},
		{"selec", nil},
		{"explain select 1", nil},
	} {
		want, wantErr := answer(inside, test.sql, tables, test.args...)
		got, err := answer(apart, test.sql, tables, test.args...)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || driftline.CodeOf(err) != driftline.CodeOf(wantErr) || err == nil && got != want {
			t.Errorf("%s:\n%s, %v\nin process:\n%s, %v", test.sql, got, err, want, wantErr)
		}
		sel, err := apart.ParseSelect(context.Background(), test.sql)
		if err != nil || wantErr != nil {
			continue
		}
		names, err := apart.SelectSchema(context.Background(), sel, tables)
		wantNames, wantErr := inside.SelectSchema(context.Background(), sel, tables)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && !names.Equal(wantNames) {
			t.Errorf("%s: schema %v, %v; in process %v, %v", test.sql, names, err, wantNames, wantErr)
		}
	}
}

// TestADescribedSelectKeepsItsDatabase runs a SELECT where it was described, once, and
// nothing else there: what is told of it is what it answers, and what others ask is not mixed up.
func TestADescribedSelectKeepsItsDatabase(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1})
	few, schema := numbers(t, 3)
	many, _ := numbers(t, 5)
	over := func(file string) []Table {
		return []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	}
	sel, err := db.ParseSelect(context.Background(), "select count(*) n from features.numbers")
	if err != nil {
		t.Fatal(err)
	}
	described := func() *worker {
		t.Helper()
		if _, err := db.SelectSchema(context.Background(), sel, over(few)); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { // one that prepared, and one for all others
			db.workers.mu.Lock()
			defer db.workers.mu.Unlock()
			return len(db.workers.idle) == 2
		})
		db.workers.mu.Lock()
		defer db.workers.mu.Unlock()
		at := slices.IndexFunc(db.workers.idle, func(w *worker) bool { return w.prepared != "" })
		if at < 0 {
			t.Fatal("no worker kept what it prepared")
		}
		return db.workers.idle[at]
	}
	for _, test := range []struct {
		sql, file, want string
		kept            bool // afterwards
	}{
		{"select count(*) n from features.numbers", few, "n\n3", false},
		{"select count(*) n from features.numbers", many, "n\n5", true},
		{"select 1 a", few, "a\n1", true},
		{"select nothing from features.numbers", few, "", true},
	} {
		w := described()
		got, err := answer(db, test.sql, over(test.file))
		if test.want != "" && (err != nil || got != test.want) {
			t.Errorf("%s: %q, %v, want %q", test.sql, got, err, test.want)
		}
		db.workers.mu.Lock()
		if kept := w.prepared != ""; kept != test.kept {
			t.Errorf("%s: the database is kept afterwards: %v", test.sql, kept)
		}
		db.workers.mu.Unlock()
	}
}

// TestTextsAreParsedOnce checks that a text is remembered whole, with its EXPLAIN or without.
func TestTextsAreParsedOnce(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1})
	for range 2 {
		for text, explain := range map[string]bool{"select 1 a": false, "explain select 1 a": true} {
			sel, err := db.ParseSelect(context.Background(), text)
			if err != nil || sel.Explain != explain {
				t.Errorf("%s: %+v, %v", text, sel, err)
			}
		}
		if _, err := db.ParseSelect(context.Background(), "drop table x"); driftline.CodeOf(err) != driftline.Permission {
			t.Errorf("what is refused once is refused again: %v", err)
		}
	}
	for i := range 3 * mostParses {
		db.parses.add(fmt.Sprint("select ", i), &Select{})
	}
	if n := len(db.parses.young) + len(db.parses.old); n > 2*mostParses {
		t.Errorf("%d parses are remembered", n)
	}
	if _, known := db.parses.get("select 1 a"); known {
		t.Error("a text that nobody asked for again is remembered for ever")
	}
}

// hostile are texts that pass the gate, or would if it had a hole, and what their
// caller is told. %s is a file that may not be read.
var hostile = []struct {
	name, sql string
	want      []driftline.Code
}{
	{"work without end", "select sum(hash(a.range * b.range * c.range)) from range(1000000) a, range(1000000) b, range(1000000) c", []driftline.Code{driftline.Deadline}},
	{"recursion without end", "with recursive r as (select 1 x union all select x + 1 from r) select count(*) from r", []driftline.Code{driftline.Deadline, driftline.Exhausted}},
	{"rows without end", "select a.range from range(1000000) a, range(1000000) b", []driftline.Code{driftline.Exhausted, driftline.Deadline}},
	{"a list of everything", "select list(a.range) from range(1000000) a, range(1000) b group by b.range", []driftline.Code{driftline.Exhausted}},
	{"text of gigabytes", "select repeat('x', 4000000000)", []driftline.Code{driftline.Exhausted, driftline.Invalid, driftline.Internal}},
	{"text of text", "select repeat(repeat('x', 1000000), 1000000)", []driftline.Code{driftline.Exhausted, driftline.Invalid, driftline.Internal}},
	{"a padded text", "select lpad('x', 2000000000, 'y')", []driftline.Code{driftline.Deadline, driftline.Exhausted, driftline.Invalid, driftline.Internal}},
	{"a list of gigabytes", "select len(range(3000000000))", []driftline.Code{driftline.Exhausted, driftline.Invalid, driftline.Internal}},
	{"lists in a lambda", "select sum(len(list_transform(range(1000000), x -> range(1000000))))", []driftline.Code{driftline.Exhausted, driftline.Invalid, driftline.Internal, driftline.Deadline}},
	{"a list resized", "select list_resize([1], 3000000000)", []driftline.Code{driftline.Exhausted, driftline.Invalid, driftline.Internal}},
	{"a number printed wide", "select printf('%1500000000d', 1)", []driftline.Code{driftline.Exhausted, driftline.Invalid, driftline.Internal}},
	{"an edit distance", "select levenshtein(repeat('a', 1000000), repeat('b', 1000000))", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal, driftline.Invalid}},
	{"a pattern that explodes", "select repeat('a', 100000) like '%a%a%a%a%a%a%a%a%a%a%a%a%a%a%ab%ac'", []driftline.Code{driftline.Deadline, ""}},
	{"a glob that explodes", "select repeat('a', 100000) glob '*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b'", []driftline.Code{driftline.Deadline, ""}},
	{"a distance with swaps", "select damerau_levenshtein(repeat('a', 100000), repeat('b', 100000))", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"a text formatted wide", "select format('{:1500000000d}', 1)", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"a text in pieces", "select len(str_split(repeat('a,', 100000000), ','))", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"all matches of a pattern", "select len(regexp_extract_all(repeat('a', 100000000), 'a'))", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"a list sorted", "select list_sort(range(300000000))[1]", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"a median of everything", "select median(a.range * b.range) from range(1000000) a, range(1000) b", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"a histogram of everything", "select len(map_keys(histogram(a.range * 1000 + b.range))) from range(1000000) a, range(1000) b", []driftline.Code{driftline.Exhausted, driftline.Deadline, driftline.Internal}},
	{"mode of everything", "select mode(repeat('x', 100000) || range) from range(1000000)", []driftline.Code{driftline.Exhausted, driftline.Internal, driftline.Deadline}},
	{"mode over nothing", "select mode(x) over (rows between 1 following and 1 preceding) from (select null::int x from range(10))", []driftline.Code{driftline.Internal, driftline.Invalid, ""}},
	{"a file of the system", "select * from read_text('/etc/passwd')", []driftline.Code{driftline.Permission}},
	{"a file beside the tables", "select * from read_text('%s')", []driftline.Code{driftline.Permission}},
	{"a copy", "copy (select 1) to '%s.copy'", []driftline.Code{driftline.Permission}},
	{"a database", "attach '%s.db'", []driftline.Code{driftline.Permission}},
	{"an extension", "install httpfs", []driftline.Code{driftline.Permission, driftline.DataLoss, driftline.Invalid}},
	{"the memory limit", "set memory_limit = '100GB'", []driftline.Code{driftline.Invalid, driftline.Permission}},
}

// TestHostileSelects checks that what the gate lets through, or would through a hole,
// ends with a clear error for its caller, and that another caller is answered meanwhile.
func TestHostileSelects(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the deadlines of its queries")
	}
	db := openWorkers(t, SQLOptions{MemoryBytes: 256 << 20, Timeout: 2 * time.Second, MaxRows: 5_000_000})
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, schema := numbers(t, 5)
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			honest, stop := context.WithCancel(context.Background())
			var others sync.WaitGroup
			others.Go(func() {
				for once := true; once || honest.Err() == nil; once = false {
					if got, err := answer(db, "select sum(n) s from features.numbers", tables); err != nil || got != "s\n10" {
						t.Errorf("another caller: %q, %v", got, err)
						return
					}
				}
			})
			batches, err := db.Select(context.Background(), &Select{text: strings.ReplaceAll(test.sql, "%s", secret)}, nil, nil)
			if err == nil {
				for _, err = range batches.All {
					if err != nil {
						break
					}
				}
			}
			stop()
			others.Wait()
			code := driftline.CodeOf(err)
			t.Log(code, err)
			for _, want := range test.want {
				if code == want {
					return
				}
			}
			t.Errorf("%v (%s), want one of %v", err, code, test.want)
		})
	}
	if entries, err := os.ReadDir(filepath.Dir(secret)); err != nil || len(entries) != 1 {
		t.Errorf("files were written: %v, %v", entries, err)
	}
}

// TestWideTextsEnd checks that the widest texts that are let in are answered or refused by
// their deadline, and that the next caller finds the parser and a worker at hand.
func TestWideTextsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the deadlines of its queries")
	}
	db := openWorkers(t, SQLOptions{MemoryBytes: 256 << 20, Timeout: 2 * time.Second})
	// fill repeats a part until the text is as long as any that is let in.
	fill := func(begin, part, end string) string {
		return begin + strings.Repeat(part, (maxSQLBytes-len(begin)-len(end))/len(part)) + end
	}
	for name, sql := range map[string]string{
		"unions":      fill("select 1", " union all select 1", ""),
		"conditions":  fill("select 1 where true", " and true", ""),
		"sums":        fill("select 1", "+1", ""),
		"a long IN":   fill("select 1 where 1 in (2", ",2", ")"),
		"parameters":  fill("select 1 where 1 in ($1", ",$1", ")"),
		"joins":       fill("select 1 from range(1)", ",range(1)", ""),
		"expressions": fill("with a as (select 1 x)", ", a as (select 1 x)", " select 1"),
		"columns":     fill("select 1", ",1", ""),
	} {
		t.Run(name, func(t *testing.T) {
			var args []any
			if strings.Contains(sql, "$1") {
				args = []any{int64(1)}
			}
			_, err := answer(db, sql, nil, args...)
			switch driftline.CodeOf(err) {
			case "", driftline.Deadline, driftline.Exhausted, driftline.Invalid, driftline.Permission:
			case driftline.Internal: // it ended its worker, as texts of gigabytes do
				t.Log(err)
			default:
				t.Errorf("%s: %v", driftline.CodeOf(err), err)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if got, err := answer(db, "select 1 as one", nil); err != nil || got != "one\n1" {
				t.Errorf("the next caller: %q, %v", got, err)
			}
		})
	}
	tooMany := "select 1 where 1 in (" + strings.TrimSuffix(strings.Repeat("?,", 100_000), ",") + ")"
	if _, err := db.ParseSelect(context.Background(), tooMany); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("100,000 parameters: %v", err)
	}
}

func TestAKilledWorkerIsReplaced(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 2})
	for range 3 {
		if got, err := answer(db, "select 1 a", nil); err != nil || got != "a\n1" {
			t.Fatalf("%q, %v", got, err)
		}
		db.workers.mu.Lock()
		for w := range db.workers.all {
			w.cmd.Process.Kill()
		}
		db.workers.mu.Unlock()
		// A caller who is given a process that is dying does not notice.
		if got, err := answer(db, "select 1 a", nil); err != nil || got != "a\n1" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// TestACrashOfAWorker ends a process as a fault of DuckDB does, in the middle of a query.
// DuckDB 1.5.6 has some, such as TRY(coalesce(x, y)) over some values of y.
func TestACrashOfAWorker(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1})
	for range 2 {
		failed := make(chan error, 1)
		go func() {
			_, err := db.Select(context.Background(), &Select{text: "select sum(hash(a.range * b.range)) from range(1000000) a, range(1000000) b"}, nil, nil)
			failed <- err
		}()
		until(t, func() bool {
			db.workers.mu.Lock()
			defer db.workers.mu.Unlock()
			for w := range db.workers.all {
				if db.workers.busy[0] == 1 && !slices.Contains(db.workers.idle, w) {
					return w.cmd.Process.Signal(syscall.SIGSEGV) == nil
				}
			}
			return false
		})
		err := <-failed
		if driftline.CodeOf(err) != driftline.Internal || !strings.Contains(err.Error(), "the query ended the process that it ran in; nothing else was touched") {
			t.Errorf("%v (%s)", err, driftline.CodeOf(err))
		}
		if got, err := answer(db, "select 1 a", nil); err != nil || got != "a\n1" {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	}
}

// breakArgument makes the test binary a worker, but one that ends while it starts as long as
// a file is missing.
const breakArgument = "__break"

func breakIfAsked() {
	if len(os.Args) != 3 || os.Args[1] != breakArgument {
		return
	}
	if _, err := os.Stat(os.Args[2]); err != nil {
		os.Exit(1)
	}
	os.Args = []string{os.Args[0], workerArgument}
}

// whenLogged is a handler of logs that calls itself for each line.
type whenLogged func(message string)

func (w whenLogged) Enabled(context.Context, slog.Level) bool { return true }
func (w whenLogged) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w whenLogged) WithGroup(string) slog.Handler            { return w }
func (w whenLogged) Handle(_ context.Context, r slog.Record) error {
	w(r.Message)
	return nil
}

// TestAWorkerThatIsKilledWhileItStarts checks that who waits for it does not notice, however
// often but the last time it is.
func TestAWorkerThatIsKilledWhileItStarts(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mended := filepath.Join(t.TempDir(), "mended")
	failed := 0
	logger := slog.New(whenLogged(func(message string) {
		if !strings.Contains(message, "started again") {
			return
		}
		if failed++; failed == mostStarts-1 {
			if err := os.WriteFile(mended, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}))
	db, err := Open(&Options{SQL: SQLOptions{Command: []string{program, breakArgument, mended}, Readable: []string{filepath.Dir(mended)}, Logger: logger}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := answer(db, "select 1 a", nil); err != nil || got != "a\n1" {
		t.Errorf("%q, %v", got, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatIsNoWorker(t *testing.T) {
	for _, command := range [][]string{{"/nonexistent"}, {"/bin/true"}, {"/bin/echo", "hello"}} {
		db, err := Open(&Options{SQL: SQLOptions{Command: command}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ParseSelect(context.Background(), "select 1"); driftline.CodeOf(err) != driftline.Unavailable {
			t.Errorf("%v: %v (%s)", command, err, driftline.CodeOf(err))
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSelectsWaitAndAreRefused(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1, Waiting: 1, Timeout: 20 * time.Second})
	endless, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() {
		_, err := db.Select(endless, &Select{text: "select sum(hash(a.range * b.range)) from range(1000000) a, range(1000000) b"}, nil, nil)
		running <- err
	}()
	until(t, func() bool { db.workers.mu.Lock(); defer db.workers.mu.Unlock(); return db.workers.busy[0] == 1 })
	waited := make(chan error, 1)
	go func() {
		_, err := db.ParseSelect(context.Background(), "select 1")
		waited <- err
	}()
	until(t, func() bool { db.workers.mu.Lock(); defer db.workers.mu.Unlock(); return len(db.workers.queue) == 1 })
	if _, err := db.ParseSelect(context.Background(), "select 1"); driftline.CodeOf(err) != driftline.Exhausted {
		t.Errorf("the third: %v (%s)", err, driftline.CodeOf(err))
	}
	cancel()
	if err := <-running; driftline.CodeOf(err) != driftline.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v (%s)", err, driftline.CodeOf(err))
	}
	if err := <-waited; err != nil {
		t.Errorf("the second, once the first had gone: %v", err)
	}
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	for range 10_000 {
		if condition() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it never came to be")
}

// TestAnAnswerNobodyReads leaves ranges early, late, and not begun at all.
func TestAnAnswerNobodyReads(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 2})
	file, schema := numbers(t, 300_000)
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	sel, err := db.ParseSelect(context.Background(), "select n, name, name || name twice from features.numbers")
	if err != nil {
		t.Fatal(err)
	}
	var kept driftline.Batches
	for range 4 {
		if kept, err = db.Select(context.Background(), sel, tables, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range kept.All {
		break
	}
	for range 2 { // the second range is a second query
		rows := int64(0)
		for batch, err := range kept.All {
			if err != nil {
				t.Fatal(err)
			}
			rows += batch.NumRows()
		}
		if rows != 300_000 {
			t.Errorf("%d rows", rows)
		}
	}
}

func TestASlowReaderIsLeft(t *testing.T) {
	db := openWorkers(t, SQLOptions{ReaderTimeout: 20 * time.Millisecond})
	sel := &Select{text: "select a.range, b.range from range(1000000) a, range(10) b"}
	batches, err := db.Select(context.Background(), sel, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range batches.All {
		if err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if driftline.CodeOf(err) != driftline.Deadline {
		t.Errorf("%v (%s)", err, driftline.CodeOf(err))
	}
}

// TestAHostileWorker reads what a worker that was taken over may write.
func TestAHostileWorker(t *testing.T) {
	for _, written := range []string{
		"", "a", "a\xff\xff\xff\xff", "a\x04\x00\x00\x00\xff\xff\xff\xff", "e\x00\x00\x00\x00", "z\x00\x00\x00\x00",
		"a\x08\x00\x00\x00\x04\x00\x00\x00\xff\xff\xff\x7f", "f\x02\x00\x00\x00{}",
	} {
		receiver := &arrowReceiver{r: strings.NewReader(written), mem: memory.DefaultAllocator}
		if message, err := receiver.Message(); err == nil {
			t.Errorf("%q is a message: %v", written, message)
		}
	}
}

// hangArgument makes the test binary a worker that is ready and answers nothing.
const hangArgument = "__hang"

func hangIfAsked() {
	if len(os.Args) != 2 || os.Args[1] != hangArgument {
		return
	}
	if _, _, err := readFrame(os.Stdin); err != nil {
		os.Exit(1)
	}
	if err := writeFrame(os.Stdout, frameReady); err != nil {
		os.Exit(1)
	}
	time.Sleep(time.Hour) // it is killed before
}

// TestAParserThatHangs checks that nobody waits for one.
func TestAParserThatHangs(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(&Options{SQL: SQLOptions{Command: []string{program, hangArgument}, Timeout: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	for code := driftline.Exhausted; code != driftline.Deadline; { // until a process has started
		_, err := db.ParseSelect(context.Background(), "select 1")
		if code = driftline.CodeOf(err); code != driftline.Exhausted && code != driftline.Deadline {
			t.Fatalf("%v (%s)", err, code)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkSelect(b *testing.B) {
	file, schema := numbers(b, 1000)
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	run := func(b *testing.B, db *DB) {
		for b.Loop() {
			if _, err := answer(db, "select sum(n) s from features.numbers", tables); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("in process", func(b *testing.B) { run(b, openDB(b)) })
	b.Run("in a worker", func(b *testing.B) { run(b, openWorkers(b, SQLOptions{})) })
}

func BenchmarkStartWorker(b *testing.B) {
	command, err := WorkerCommand()
	if err != nil {
		b.Fatal(err)
	}
	opts := SQLOptions{Command: command, Readable: []string{files}}.withDefaults()
	for b.Loop() {
		w, err := startWorker(opts, 2)
		if err != nil {
			b.Fatal(err)
		}
		b.Log(w.limits)
		w.end(nil)
		<-w.dead
	}
}
