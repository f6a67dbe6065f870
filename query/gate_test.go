package query

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

func TestParseSelectAccepts(t *testing.T) {
	db := openDB(t)
	for _, test := range []struct {
		sql        string
		tables     string
		parameters int
	}{
		{"select 1", "", 0},
		{"SELECT 1;", "", 0},
		{"from features.weather", "features.weather", 0},
		{"select * from features.weather w join datasets.late d using (airport)", "datasets.late features.weather", 0},
		{"select a, count(*) filter (where b > 0) from features.weather group by all having count(*) > 1 order by 1 desc limit 3 offset 1", "features.weather", 0},
		{"select * from Features.Weather, features.weather", "features.weather", 0},
		{"with w as (select * from features.weather) select * from w, W", "features.weather", 0},
		{"with a as (select 1), b as (select * from a) select * from b", "", 0},
		{"with recursive n as (select 1 as x union all select x + 1 from n where x < 10) select sum(x) from n", "", 0},
		{"select * from (with t as (select 1) select * from t) x, t y", "t", 0},
		{"select * from t where x in (with t as (select 1 as x) select x from t)", "t", 0},
		{"with weather as (select * from weather) select * from weather", "weather", 0},
		{"select * from range(10) r(i), unnest([1, 2]) u, generate_series(1, 3)", "", 0},
		{"select row_number() over (partition by a order by b), sum(c) over w from m.t window w as (order by d rows 3 preceding)", "m.t", 0},
		{"select distinct on (a) a, b from m.t order by a, b", "m.t", 0},
		{"select * from m.a union all by name select * from m.b except select * from m.c", "m.a m.b m.c", 0},
		{"select * from m.a asof join m.b on a.k = b.k and a.t >= b.t", "m.a m.b", 0},
		{"select * from m.a positional join m.b", "m.a m.b", 0},
		{"select case when a then 1 else 2 end, cast(b as varchar), c::date, d between 1 and 2, e is null, not f, [x + 1 for x in [1, 2]], {'a': 1}, g[1], list_transform([1], lambda x: x + 1) from m.t", "m.t", 0},
		{"select * exclude (a) replace (b + 1 as b) from m.t", "m.t", 0},
		{"select columns('f.*') from m.t", "m.t", 0},
		{"select * from m.t using sample 10 rows", "m.t", 0},
		{"select * from m.t where a like '%x%' and b ilike ? and time >= $2", "m.t", 2},
		{"select ?, ?, ?", "", 3},
		{"select $2, $1, $1", "", 2},
		{"values (1, 'a'), (2, 'b')", "", 0},
		{"select date_trunc('hour', now()), epoch_ms(1), strftime(now(), '%Y'), regexp_matches('a', 'b'), median(a), quantile_cont(a, 0.5) from m.t", "m.t", 0},
		{"select interval 3 hours, timestamp '2020-01-01', date '2020-01-01', 'a' || 'b', 1e3, 12345678901234567890, x'00'", "", 0},
		{"select (select max(a) from m.u where u.k = t.k), exists (from m.v) from m.t", "m.t m.u m.v", 0},
		{"select * from m.t, lateral (select * from m.u where u.k = t.k)", "m.t m.u", 0},
		{"select * from m.t pivot (sum(a) for b in ('x', 'y'))", "m.t", 0},
		{`select "a""b", 'it''s' from "m"."t u"`, "m.t u", 0},
		{"select 1 -- ; drop table t", "", 0},
		{"select /* ; */ 1", "", 0},
		{"select $$ ; drop table t $$", "", 0},
		{"select grouping(a), sum(b) from m.t group by rollup (a)", "m.t", 0},
		{"select * from generate_series(timestamp '2020-01-01', timestamp '2020-01-02', interval 1 hour)", "", 0},
		{"select rpad('x', 10), repeat('ab', 3)", "", 0},
		{"select a::decimal(9, 2), b::int[], c::struct(d text), e::varchar(3) from m.t", "m.t", 0},
		{"select * from features.t at (version => 7)", "features.t at (version => 7)", 0},
		{"select w.a from features.t as w at (version => 'gold'), features.t", "features.t features.t at (version => 'gold')", 0},
		{"select t.a from features.t at (timestamp => timestamp '2020-01-01')", "features.t at (timestamp => timestamptz '2020-01-01t00:00:00z')", 0},
		{"select * from datasets.\"d@3\"", "datasets.d@3", 0},
		{"with s as (select 1) select p.x, sum(y) from point_in_time((select a, t as event_timestamp from features.u), features => ['v:x', 'w:y'], known_at => true) p join m.t using (a) group by all", "m.t", 0},
	} {
		sel, err := db.ParseSelect(context.Background(), test.sql)
		if err != nil {
			t.Errorf("%s: %v", test.sql, err)
			continue
		}
		names := make([]string, len(sel.Tables))
		for i, n := range sel.Tables {
			names[i] = strings.ToLower(n.String())
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != test.tables || sel.Parameters != test.parameters {
			t.Errorf("%s: tables %q and %d parameters, want %q and %d", test.sql, got, sel.Parameters, test.tables, test.parameters)
		}
	}
}

// attacks are texts that the gate must refuse; %s is a file that exists and may be
// neither read, nor changed, nor have company.
var attacks = []struct {
	sql  string
	code driftline.Code
}{
	{"", driftline.Invalid},
	{" ; ", driftline.Permission},
	{"selec 1", driftline.Invalid},
	{"select 1\x00; drop table t", driftline.Invalid},
	{"select '\xff'", driftline.Invalid},
	{"select 1; select 2", driftline.Permission},
	{"create table x as select 1; select 1", driftline.Permission},
	{"drop table features.t", driftline.Permission},
	{"insert into features.t values (1)", driftline.Permission},
	{"update features.t set a = 1", driftline.Permission},
	{"delete from features.t", driftline.Permission},
	{"with d as (delete from features.t returning *) select * from d", driftline.Invalid},
	{"explain analyze delete from features.t", driftline.Permission},
	{"explain analyze select 1", driftline.Permission},
	{"explain drop table features.t", driftline.Permission},
	{"explain explain select 1", driftline.Permission},
	{"explain (format json) select 1", driftline.Invalid},
	{"explain", driftline.Invalid},
	{"/* select */ drop table features.t", driftline.Permission},
	{"drop/**/table/**/features.t -- select 1", driftline.Permission},
	{"-- select 1\ndrop table features.t", driftline.Permission},
	{"select 1 -- ;\n; drop table features.t", driftline.Permission},
	{"select 1 /* ; /* ; */ */; drop table features.t", driftline.Permission},
	{"select ';' as \";\"; drop table features.t", driftline.Permission},
	{"select $a$ ; $a$; drop table features.t", driftline.Permission},
	{"$$select 1$$", driftline.Invalid},
	{"do $$ drop table features.t $$", driftline.Invalid},
	{"\u00a0drop table features.t", driftline.Permission},
	{"ｄｒｏｐ table features.t", driftline.Invalid},
	{"copy (select 1) to '%s.copy'", driftline.Permission},
	{"copy features.t from '%s'", driftline.Permission},
	{"export database '%s.dir'", driftline.Permission},
	{"attach '%s.db' as other", driftline.Permission},
	{"use memory", driftline.Permission},
	{"install httpfs", driftline.Permission},
	{"load json", driftline.Permission},
	{"set memory_limit = '100GB'", driftline.Permission},
	{"reset memory_limit", driftline.Permission},
	{"set variable x = 1", driftline.Permission},
	{"pragma database_list", driftline.Permission},
	{"call pragma_version()", driftline.Permission},
	{"begin", driftline.Permission},
	{"commit", driftline.Permission},
	{"checkpoint", driftline.Permission},
	{"vacuum", driftline.Permission},
	{"prepare p as select 1", driftline.Permission},
	{"execute p", driftline.Permission},
	{"create macro m() as 1", driftline.Permission},
	{"create temp view v as select 1", driftline.Permission},
	{"create type e as enum ('a')", driftline.Permission},
	{"create secret s (type s3)", driftline.Permission},
	{"show tables", driftline.Permission},
	{"describe features.t", driftline.Permission},
	{"select * from (describe select 1)", driftline.Permission},
	{"summarize features.t", driftline.Permission},
	{"select * from read_csv('%s')", driftline.Permission},
	{"select * from read_parquet('%s')", driftline.Permission},
	{"select * from read_text('%s')", driftline.Permission},
	{"select * from read_blob('%s')", driftline.Permission},
	{"select * from glob('/*')", driftline.Permission},
	{"select * from sniff_csv('%s')", driftline.Permission},
	{"select * from parquet_metadata('%s')", driftline.Permission},
	{"select * from duckdb_settings()", driftline.Permission},
	{"select * from pragma_database_list()", driftline.Permission},
	{"select * from query('drop table t')", driftline.Permission},
	{"select * from query_table('t')", driftline.Permission},
	{"select * from json_execute_serialized_sql(json_serialize_sql('select 1'))", driftline.Permission},
	{"select * from repeat_row(1, num_rows = 1000000000)", driftline.Permission},
	{"select getvariable('x')", driftline.Permission},
	{"select current_setting('memory_limit')", driftline.Permission},
	{"select getenv('HOME')", driftline.Permission},
	{"select nextval('s')", driftline.Permission},
	{"select repeat('x', 2000000000)", driftline.Permission},
	{"select repeat(repeat('x', 1000000), 1000000)", driftline.Permission},
	{"select lpad('x', 10, repeat('y', 1000000) || 'z')", driftline.Permission},
	{"select list_transform(range(1000000), x -> range(1000000))", driftline.Permission},
	{"select list_transform([1], x -> list_transform([1], y -> repeat('x', 1000000)))", driftline.Permission},
	{"select repeat('x', i) from range(10) r(i)", driftline.Permission},
	{"select repeat('x', $1)", driftline.Permission},
	{"select lpad('x', 2000000000)", driftline.Permission},
	{"select rpad('x', 1000 * 1000 * 1000, 'y')", driftline.Permission},
	{"select * from range(2000000000)", driftline.Permission},
	{"select * from range(-2000000000, 0)", driftline.Permission},
	{"select range('2000000000'::bigint)", driftline.Permission},
	{"select range('2000000000')", driftline.Permission},
	{"select list_resize([1], 2000000000)", driftline.Permission},
	{"select printf('%%1500000000d', 1)", driftline.Permission},
	{"select format('{:1500000000}', 1)", driftline.Permission},
	{"select levenshtein('a', 'b')", driftline.Permission},
	{"select 'aaaa' glob '*a*a*a*a*a*a*a*a*a*b'", driftline.Permission},
	{"select 'aaaa' like '%%a%%a%%a%%a%%a%%a%%a%%a%%a%%b'", driftline.Permission},
	{"select a like b from features.t", driftline.Permission},
	{"select mode(a) from features.t", driftline.Permission},
	{"select mode(a) over () from features.t", driftline.Permission},
	{"select * from features.t order by string_split(a, 'b')", driftline.Permission},
	{"select * from memory.features.t", driftline.NotFound},
	{"select $name", driftline.Invalid},
	{"select $2", driftline.Invalid},
	{"select * from features.t at (version => a)", driftline.Invalid},
	{"select * from features.t at (version => ?)", driftline.Invalid},
	{"select * from features.t at (timestamp => 'soon')", driftline.Invalid},
	{"select * from features.t at (timestamp => make_timestamp(2026, 1, 1, 0, 0, 0))", driftline.Invalid},
	{"select * from __at.\"features.t version => 1\"", driftline.NotFound},
	{"select * from __join.a", driftline.NotFound},
	{"select * from __inside.\"features.t\"", driftline.NotFound},
	{"select range(timestamp '2000-01-01', timestamp '2020-01-01', interval 1 microsecond)", driftline.Permission},
	{"select generate_series(timestamptz '2000-01-01', '2020-01-01', to_seconds(1))", driftline.Permission},
	{"select point_in_time((select 1), features => ['a:b'])", driftline.Invalid},
	{"select * from point_in_time()", driftline.Invalid},
	{"select * from point_in_time(features.t, features => ['a:b'])", driftline.Invalid},
	{"select * from point_in_time((select 1))", driftline.Invalid},
	{"select * from point_in_time((select 1), features => ['a:b'], feature_service => 'c')", driftline.Invalid},
	{"select * from point_in_time((select 1), features => a)", driftline.Invalid},
	{"select * from point_in_time((select 1), features => [1])", driftline.Invalid},
	{"select * from point_in_time((select 1), feature => ['a:b'])", driftline.Invalid},
	{"select * from point_in_time((select 1), ['a:b'])", driftline.Invalid},
	{"select * from point_in_time((select 1), features => ['a:b'], strict => 'maybe')", driftline.Invalid},
	{"select * from point_in_time((select ?), features => ['a:b'])", driftline.Invalid},
	{"select * from point_in_time((select * from read_text('%s')), features => ['a:b'])", driftline.Permission},
	{"select * from point_in_time((select * from point_in_time((select 1), features => ['a:b'])), features => ['a:b'])", driftline.Permission},
	{"select * from point_in_time(exists (select 1), features => ['a:b'])", driftline.Invalid},
}

func TestPointInTimeIsTakenOut(t *testing.T) {
	db := openDB(t)
	sel, err := db.ParseSelect(context.Background(), "select * from point_in_time((select a from features.u where a > 1), "+
		"features => ['v:x', 'w:y'], known_at => true, strict => false, full_feature_names => true, event_timestamp => 'a')")
	if err != nil || len(sel.PointInTime) != 1 {
		t.Fatalf("%v, %v", sel, err)
	}
	got := sel.PointInTime[0]
	want := driftline.HistoricalRequest{
		FeatureSet:     driftline.FeatureSet{Features: []string{"v:x", "w:y"}, FullFeatureNames: true},
		EventTimestamp: "a", KnownAt: true,
	}
	if fmt.Sprint(got.Request) != fmt.Sprint(want) || fmt.Sprint(got.Spine.Tables) != "[features.u]" {
		t.Errorf("%+v over %v, want %+v", got.Request, got.Spine.Tables, want)
	}
	if sel.text != "SELECT * FROM __join.a AS point_in_time" {
		t.Errorf("what runs is %q", sel.text)
	}
}

func TestParseSelectRefuses(t *testing.T) {
	db := openDB(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, attack := range attacks {
		sql := strings.ReplaceAll(strings.ReplaceAll(attack.sql, "%s", secret), "%%", "%")
		sel, err := db.ParseSelect(context.Background(), sql)
		if driftline.CodeOf(err) != attack.code {
			t.Errorf("%s: %v (%s), want %s", attack.sql, err, driftline.CodeOf(err), attack.code)
		}
		if sel != nil || err != nil && strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, %v", attack.sql, sel, err)
		}
	}
	long := "select '" + strings.Repeat("x", maxSQLBytes) + "'"
	if _, err := db.ParseSelect(context.Background(), long); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("long text: %v", err)
	}

	entries, err := os.ReadDir(dir)
	if content, _ := os.ReadFile(secret); err != nil || len(entries) != 1 || string(content) != "a\n1\n" {
		t.Errorf("files changed: %v, %q, %v", entries, content, err)
	}
	objects, err := db.parser.text(context.Background(),
		"SELECT (SELECT count(*) FROM duckdb_tables()) || ' ' || (SELECT count(*) FROM duckdb_views() WHERE NOT internal) || ' ' || (SELECT count(*) FROM duckdb_databases() WHERE NOT internal) || $1", "")
	if err != nil || objects != "0 0 1" {
		t.Errorf("the scratch database has tables, views, databases %q, %v; want none, none and itself", objects, err)
	}
}

func TestColumnsThatAreWrittenOutAreBounded(t *testing.T) {
	db := openDB(t)
	columns := "1" + strings.Repeat(",1", maxWritten-1)
	if _, err := db.ParseSelect(t.Context(), "select "+columns); err != nil {
		t.Errorf("as many as are allowed: %v", err)
	}
	_, err := db.ParseSelect(t.Context(), "select count(*) from (select "+columns+",1)")
	if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "a SELECT writes out 4097 columns, at most 4096 are allowed") {
		t.Errorf("one more: %v", err)
	}
}

func TestDeepNestingIsAnError(t *testing.T) {
	db := openDB(t)
	for _, sql := range []string{
		"select " + strings.Repeat("(", 20000) + "1" + strings.Repeat(")", 20000),
		"select " + strings.Repeat("not ", 15000) + "true",
		"select " + strings.Repeat("-", 1) + strings.Repeat("- ", 20000) + "1",
		strings.Repeat("select * from (", 4000) + "select 1" + strings.Repeat(")", 4000),
	} {
		if _, err := db.ParseSelect(context.Background(), sql); err == nil {
			t.Errorf("%.40s… was accepted", sql)
		} else if driftline.CodeOf(err) == driftline.Internal {
			t.Errorf("%.40s…: %v", sql, err)
		}
	}
}

func namesPrivateTables(sel *Select) bool {
	return len(sel.PointInTime) > 0 || slices.ContainsFunc(sel.Tables, func(t TableName) bool { return t.At != At{} })
}

func FuzzParseSelect(f *testing.F) {
	for _, a := range attacks {
		f.Add(a.sql)
	}
	f.Add("with t as (select 1) select * from t, (values (?)) v where a like '%x'")
	db, err := Open(&Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	f.Fuzz(func(t *testing.T, sql string) {
		sel, err := db.ParseSelect(context.Background(), sql)
		if err != nil {
			if driftline.CodeOf(err) == driftline.Internal {
				t.Errorf("internal error: %v", err)
			}
			return
		}
		if namesPrivateTables(sel) {
			return // those that stand for earlier states and joins have names that nobody can write
		}
		again, err := db.ParseSelect(context.Background(), sel.text)
		if err != nil {
			t.Fatalf("%q passed, but not what it was written back to, %q: %v", sql, sel.text, err)
		}
		if fmt.Sprint(again.Tables) != fmt.Sprint(sel.Tables) {
			t.Errorf("%q reads %v, written back %v", sql, sel.Tables, again.Tables)
		}
		switch first := strings.ToLower(strings.TrimLeft(sel.text, "( \n\t")); {
		case strings.HasPrefix(first, "select"), strings.HasPrefix(first, "with"), strings.HasPrefix(first, "from"), strings.HasPrefix(first, "values"):
		default:
			t.Errorf("%q runs as %q", sql, sel.text)
		}
	})
}
