package filter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry/filter"
)

// row is a row of a test: what it has, by "entity.key".
type row struct {
	texts    map[string]string
	numbers  map[string]float64
	datasets []map[string]string
}

func (r row) Text(f *filter.Field) (string, bool) {
	value, ok := r.texts[f.String()]
	return value, ok
}

func (r row) Number(f *filter.Field) (float64, bool) {
	value, ok := r.numbers[f.String()]
	return value, ok
}

func (r row) Any(f *filter.Field, match func(string) bool) bool {
	return slices.ContainsFunc(r.datasets, func(d map[string]string) bool {
		value, ok := d[f.Key]
		return ok && match(value)
	})
}

var tried = row{
	texts: map[string]string{
		"attribute.run_name": "merry-heron-417", "attribute.run_id": "a1", "attribute.status": "FINISHED", "attribute.user_id": "Åsa",
		"parameter.depth": "12", "parameter.lr": "1e-3", "parameter.solver": "lbfgs",
		"tag.mlflow.source.name": "train.py", "tag.note": "50% 'sure'", "tag.Team Name": "Blue", "tag.empty": "",
	},
	numbers: map[string]float64{
		"attribute.start_time": 1000, "metric.loss": 0.25, "metric.val loss": -1, "metric.bad": math.NaN(), "metric.inf": math.Inf(1),
	},
	datasets: []map[string]string{{"name": "iris", "digest": "abc", "context": "training"}, {"name": "wine", "digest": "def"}},
}

func TestFiltersThatMatch(t *testing.T) {
	for _, text := range []string{
		"", "  ",
		"metrics.loss < 0.3", "metric.loss <= .25 AND metrics.loss>=2.5e-1", "metrics.`val loss` = -1", `metrics."val loss" != 0`,
		"metrics.bad != 0", "metrics.inf > 1e308",
		"params.solver = 'lbfgs'", `parameters.solver = "lbfgs"`, "param.solver LIKE 'l%s'", "params.solver ilike 'LB_GS'", "params.solver != 'adam'",
		"tags.mlflow.source.name = 'train.py'", "tags.`mlflow.source.name` LIKE '%.py'", "tag.note = '50% ''sure'''", "tags.\"Team Name\" = 'Blue'",
		"tags.note IS NOT NULL", "tags.nothing IS NULL", "params.depth is not null", "tags.empty = ''", "tags.empty LIKE '%'",
		"attributes.run_name LIKE 'merry%'", "attr.status = 'FINISHED'", "run.user_id = 'Åsa'", "status='FINISHED' and start_time > 999",
		"attribute.`Run Name` ILIKE 'MERRY%'", "Created = 1000", "run_id IN ('a1', 'b2')", "run_id NOT IN ('b2')", "`run name` = 'merry-heron-417'",
		"dataset.name = 'wine' AND datasets.digest LIKE 'a%'", "dataset.context = 'training'", "dataset.name IN ('iris')", "dataset.name != 'iris'",
		// Ours.
		"params.depth > 3", "params.lr = 0.001", "params.depth = 12.0", "NOT params.depth > 12",
		"metrics.loss > 1 OR params.solver = 'lbfgs'", "NOT (metrics.loss > 1 OR status = 'FAILED')", "NOT tags.nothing = 'x'",
		"metrics.loss > 1 AND status = 'FAILED' OR status = 'FINISHED'", "run_name RLIKE '^merry-.*-[0-9]+$'", "status IN ('FINISHED', 'FAILED')",
		"params.solver NOT LIKE 'a%'", "((status = 'FINISHED'))", "user_id LIKE '_sa'", "user_id ILIKE 'åSA'",
	} {
		f, err := filter.Parse(&filter.Runs, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !f.Match(tried) {
			t.Errorf("%s does not match", text)
		}
	}
}

func TestFiltersThatDoNotMatch(t *testing.T) {
	for _, text := range []string{
		"metrics.loss > 0.25", "metrics.missing != 3", "metrics.bad = 0", "metrics.bad < 1", "metrics.inf < 0",
		"params.solver = 'LBFGS'", "params.solver LIKE 'L%'", "params.missing != 'x'", "params.solver > 3", "params.solver != 3",
		"tags.note IS NULL", "params.missing IS NOT NULL", "run_id NOT IN ('a1')", "dataset.context = 'eval'", "end_time < 1", "end_time >= 0",
		"NOT status = 'FINISHED'", "status = 'FINISHED' AND NOT metrics.loss < 1", "tags.note LIKE '50_'", "tags.empty LIKE '_'",
	} {
		f, err := filter.Parse(&filter.Runs, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if f.Match(tried) {
			t.Errorf("%s matches", text)
		}
	}
}

func TestFiltersThatAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"metrics.loss > 'a'":          "Expected numeric value type for metric. Found 'a'",
		"metrics.loss LIKE 'a'":       "Expected numeric value type for metric",
		"params.a = b":                "Expected a quoted string value for parameter",
		"params.a > 'b'":              "Invalid comparator '>' for a text",
		"start_time = 'x'":            "Expected numeric value type for numeric attribute: start_time",
		"status = FINISHED":           "Expected a quoted string value for attributes. Got value 'FINISHED'",
		"status > 3":                  "Expected a quoted string value for attributes",
		"starttime > 3":               `did you mean "start_time"?`,
		"thing.a = 'b'":               "Invalid entity type 'thing'",
		"dataset.size = '3'":          "Invalid dataset key 'size'",
		"status IS NULL":              "only supported for tags and params",
		"metrics.a IS NULL":           "only supported for tags and params",
		"metrics.a":                   "Invalid comparator the end",
		"metrics.a >":                 "has no value",
		"metrics.a > 1 metrics.b > 2": "join conditions with AND or OR",
		"metrics.a > 1 AND":           "Expected a field at byte 17, found the end",
		"(metrics.a > 1":              "expected ')'",
		"metrics.a > 1)":              "')' at byte 13 is not expected",
		"run_id IN 'a'":               "expected '(' after IN",
		"run_id IN ()":                "expected string value",
		"run_id IN ('a' 'b')":         "expected ',' or ')'",
		"run_id IN (1)":               "expected string value",
		"params.a = 'b":               "the quote ' at byte 11 is not closed",
		"params.a ! 'b'":              "write !=",
		"params.a RLIKE '('":          "not a regular expression",
		"params.a LIKE 3":             "Invalid comparator 'LIKE' for a number",
		"params. = 'x'":               "Expected a key after 'params'",
		"; DROP TABLE runs":           `';' at byte 0 means nothing`,
		strings.Repeat("(", 200) + "metrics.a > 1":      "nested more than 100 deep",
		strings.Repeat("NOT ", 200) + "metrics.a > 1":   "nested more than 100 deep",
		strings.Repeat("status = 'a' AND ", 2000):       "more than 1000 conditions",
		"status = '" + strings.Repeat("x", 1<<16) + "'": "at most 65536 are read",
	} {
		_, err := filter.Parse(&filter.Runs, text)
		if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), says) || len(err.Error()) > 600 {
			t.Errorf("%.60s: %v, want %s", text, err, says)
		}
	}
}

func TestPromptsAreLeftOutAlsoWithoutTheirTag(t *testing.T) {
	text := "name LIKE 'm%' AND tag.`mlflow.prompt.is_prompt` != 'true'"
	f, err := filter.Parse(&filter.RegisteredModels, text)
	if err != nil {
		t.Fatal(err)
	}
	model := row{texts: map[string]string{"attribute.name": "m"}}
	prompt := row{texts: map[string]string{"attribute.name": "m", "tag.mlflow.prompt.is_prompt": "true"}}
	if !f.Match(model) || f.Match(prompt) {
		t.Errorf("%s matches a model: %v, a prompt: %v", text, f.Match(model), f.Match(prompt))
	}
}

// clause is a filter as a tree, which the test writes as text and decides by itself.
type clause struct {
	join   string
	parts  []clause
	text   string
	decide func(row) bool
}

func (c clause) String() string {
	switch c.join {
	case "":
		return c.text
	case "NOT":
		return "NOT (" + c.parts[0].String() + ")"
	}
	texts := make([]string, len(c.parts))
	for i, p := range c.parts {
		texts[i] = "(" + p.String() + ")"
	}
	return strings.Join(texts, " "+c.join+" ")
}

func (c clause) holds(r row) bool {
	switch c.join {
	case "":
		return c.decide(r)
	case "NOT":
		return !c.parts[0].holds(r)
	case "AND":
		for _, p := range c.parts {
			if !p.holds(r) {
				return false
			}
		}
		return true
	}
	for _, p := range c.parts {
		if p.holds(r) {
			return true
		}
	}
	return false
}

// randomClause makes a clause over two keys of each kind and a few values.
func randomClause(random *rand.Rand, depth int) clause {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	if depth > 0 && random.IntN(2) == 0 {
		c := clause{join: pick("AND", "OR", "NOT")}
		for range 1 + random.IntN(3) {
			c.parts = append(c.parts, randomClause(random, depth-1))
		}
		return c
	}
	key := pick("a", "b")
	if random.IntN(2) == 0 {
		return numberClause("metric."+key, "metrics."+key, pick("<", "<=", ">", ">=", "=", "!="), pick("-1", "0", "1.5"))
	}
	value := pick("", "a", "ab", "A", "%", "a%", "_", "%b", "1.5")
	entity := pick("parameter", "tag")
	return textClause(entity+"."+key, entity+"s."+key, pick("=", "!=", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL", "IN", "NOT IN", "RLIKE", "<"), value)
}

func numberClause(key, written, op, value string) clause {
	want, _ := strconv.ParseFloat(value, 64)
	return clause{text: written + " " + op + " " + value, decide: func(r row) bool {
		x, ok := r.numbers[key]
		return ok && holdsOfNumbers(op, x, want)
	}}
}

func holdsOfNumbers(op string, x, want float64) bool {
	return map[string]bool{"<": x < want, "<=": x <= want, ">": x > want, ">=": x >= want, "=": x == want, "!=": x != want}[op]
}

func textClause(key, written, op, value string) clause {
	c := clause{text: written + " " + op + " '" + value + "'"}
	switch op {
	case "IS NULL", "IS NOT NULL":
		c.text = written + " " + op
	case "IN", "NOT IN":
		c.text = written + " " + op + " ('" + value + "', 'z')"
	case "<":
		c.text = written + " < 1.5"
	}
	like := "(?s)^" + strings.NewReplacer("%", ".*", "_", ".").Replace(value) + "$"
	c.decide = func(r row) bool {
		x, ok := r.texts[key]
		if !ok || op == "IS NULL" || op == "IS NOT NULL" {
			return (op == "IS NULL") == !ok && strings.HasPrefix(op, "IS")
		}
		switch op {
		case "LIKE":
			return regexp.MustCompile(like).MatchString(x)
		case "ILIKE":
			return regexp.MustCompile("(?i)" + like).MatchString(x)
		case "RLIKE":
			return regexp.MustCompile(value).MatchString(x)
		case "<":
			n, err := strconv.ParseFloat(x, 64)
			return err == nil && n < 1.5
		case "IN", "NOT IN":
			return (x == value || x == "z") == (op == "IN")
		}
		return (x == value) == (op == "=")
	}
	return c
}

func randomRow(random *rand.Rand) row {
	r := row{texts: map[string]string{}, numbers: map[string]float64{}}
	for _, key := range []string{"a", "b"} {
		if random.IntN(3) > 0 {
			r.numbers["metric."+key] = []float64{-1, 0, 1, 1.5, math.NaN(), math.Inf(-1)}[random.IntN(6)]
		}
		for _, entity := range []string{"parameter.", "tag."} {
			if random.IntN(3) > 0 {
				r.texts[entity+key] = []string{"", "a", "ab", "aab", "A", "B", "%", "_", "1", "2e0", "é"}[random.IntN(11)]
			}
		}
	}
	return r
}

// Random filters over random rows mean what a loop over their tree says.
func TestFiltersAgreeWithTheirTree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	matches := 0
	for range 20_000 {
		c := randomClause(random, 3)
		f, err := filter.Parse(&filter.Runs, c.String())
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		for range 5 {
			r := randomRow(random)
			if want := c.holds(r); f.Match(r) != want {
				t.Fatalf("%s is %v for %v, want %v", c, !want, r, want)
			} else if want {
				matches++
			}
		}
	}
	if matches < 10_000 {
		t.Errorf("only %d matches: the test tests little", matches)
	}
}

func TestOrders(t *testing.T) {
	values := []any{2.0, nil, math.NaN(), -1.0, math.Inf(1)}
	rows := make([]row, len(values))
	for i, v := range values {
		rows[i] = row{numbers: map[string]float64{}, texts: map[string]string{"attribute.run_id": fmt.Sprint(v)}}
		if v != nil {
			rows[i].numbers["metric.m"] = v.(float64)
		}
	}
	for clause, want := range map[string]string{
		"metrics.m":        "[-1 2 +Inf NaN <nil>]",
		"metrics.`m` DESC": "[+Inf 2 -1 NaN <nil>]",
		"metric.m asc":     "[-1 2 +Inf NaN <nil>]",
		"run_id":           "[+Inf -1 2 <nil> NaN]",
	} {
		keys, err := filter.ParseOrder(&filter.Runs, []string{clause})
		if err != nil {
			t.Fatal(err)
		}
		compare := func(a, b row) int { return keys[0].Compare(keys[0].ValueOf(a), keys[0].ValueOf(b)) }
		for n := 1; n <= len(rows); n++ {
			top := filter.NewTop(n, compare)
			for _, r := range rows {
				top.Add(r)
			}
			var got []string
			for _, r := range top.Items() {
				got = append(got, r.texts["attribute.run_id"])
			}
			if full := strings.Fields(strings.Trim(want, "[]")); !slices.Equal(got, full[:n]) {
				t.Errorf("first %d by %s are %v, want %v", n, clause, got, full[:n])
			}
		}
	}
	for _, clause := range []string{"", "metrics.m UP", "metrics.m DESC DESC", "dataset.name", "nothing", "metrics.m, metrics.n"} {
		if _, err := filter.ParseOrder(&filter.Runs, []string{clause}); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("order by %q: %v", clause, err)
		}
	}
}

// The first n of any items are those of a sort.
func TestTopIsTheBeginningOfASort(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		items := random.Perm(random.IntN(60))
		n := random.IntN(70)
		top := filter.NewTop(n, func(a, b int) int { return a - b })
		for _, x := range items {
			top.Add(x)
		}
		slices.Sort(items)
		if got := top.Items(); !slices.Equal(got, items[:min(n, len(items))]) || top.Added() != len(items) {
			t.Fatalf("first %d of %d are %v", n, len(items), got)
		}
	}
}

// Whatever the text, a filter is read or refused, and one that is read can be evaluated.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"metrics.loss < 0.3 AND params.a = 'b'", "NOT (tags.`x` IS NULL OR dataset.name IN ('a', \"b\"))", "a.b.c = '%_'", "((", "metrics.1 > .5e",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := filter.Parse(&filter.Runs, text)
		if err != nil {
			if driftline.CodeOf(err) != driftline.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		read.Match(tried)
		read.Match(row{})
		_, _ = filter.ParseOrder(&filter.Runs, []string{text})
	})
}
