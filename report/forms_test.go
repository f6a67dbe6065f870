package report_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// written is what a form of a report is, as text.
func written[R any](t *testing.T, form func(io.Writer, *R) error, outcome *R) string {
	t.Helper()
	var out bytes.Buffer
	if err := form(&out, outcome); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDriftMarkdown(t *testing.T) {
	text := written(t, report.DriftMarkdown, sampleReport())
	for _, want := range []string{
		"## 2 of 4 columns drifted\n",
		"`dataset/flights@1` (80,789 rows) → `dataset/flights@2` (86,995 rows)",
		"| `temp` | **drift** | 0.930 D (0.900 to 0.950) | &lt; 10⁻³⁰⁰ | 0 % → &lt; 0.1 % | Up to 93 % of the values moved, current runs higher; the gap is widest at 57.02 |",
		"| `rare` | not enough data |",
		"| `when` | not compared | – | – | 0 % | A time differs between any two windows |",
		"<summary>1 column the same</summary>\n\n| column",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if same := strings.Index(text, "`hour`"); same < strings.Index(text, "<details>") {
		t.Error("a column that is the same is not folded away")
	}
}

// Whatever a name holds, a row of the table stays a row with its cells, and nothing of
// the name is formatting, markup or a mention.
func TestDriftMarkdownKeepsHostileNamesInTheirCells(t *testing.T) {
	for _, name := range []string{"a|b", "`", "```\n# heading", "<script>alert(1)</script>", "@somebody", "[x](http://example.org)", "\x1b[31m", "", "\u202eevil", "\xff"} {
		sample := sampleReport()
		sample.Reference.Name = name
		for i := range sample.Columns {
			sample.Columns[i].Column, sample.Columns[i].Note = name, name
			for j := range sample.Columns[i].Histogram.Categories {
				sample.Columns[i].Histogram.Categories[j] = name
			}
		}
		text := written(t, report.DriftMarkdown, sample)
		rows := 0
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| :") {
				continue
			}
			rows++
			if cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); cells != 7 {
				t.Errorf("%q: a row of %d cells: %s", name, cells-1, line)
			}
		}
		if rows != 5+2 {
			t.Errorf("%q: %d rows and headings", name, rows)
		}
		outside := regexp.MustCompile("(`+)[^`].*?[^`](`+)").ReplaceAllString(text, "")
		for _, markup := range []string{"<script", "@somebody", "[x](", "\x1b", "\u202e", "\n# "} {
			if strings.Contains(outside, markup) || markup[0] < ' ' && strings.Contains(text, markup) {
				t.Errorf("%q: %q comes through in\n%s", name, markup, outside)
			}
		}
	}
}

// suites is what CI servers read of JUnit.
type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Suites   []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Cases    []struct {
			Class   string `xml:"classname,attr"`
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct {
				Message string `xml:"message,attr"`
			} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func parseJUnit(t *testing.T, text string) suites {
	t.Helper()
	var parsed suites
	if err := xml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return parsed
}

func TestDriftJUnit(t *testing.T) {
	parsed := parseJUnit(t, written(t, report.DriftJUnit, sampleReport()))
	if parsed.Tests != 5 || parsed.Failures != 2 || parsed.Errors != 0 || parsed.Skipped != 2 {
		t.Fatalf("tests %d, failures %d, errors %d, skipped %d", parsed.Tests, parsed.Failures, parsed.Errors, parsed.Skipped)
	}
	suite := parsed.Suites[0]
	if suite.Name != "dataset/flights@1 → dataset/flights@2" || suite.Tests != 5 || suite.Failures != 2 {
		t.Errorf("suite %q: %d tests, %d failures", suite.Name, suite.Tests, suite.Failures)
	}
	temp, hour, rare := suite.Cases[0], suite.Cases[2], suite.Cases[3]
	if temp.Name != "temp" || temp.Failure == nil || !strings.Contains(temp.Failure.Message, "93 % of the values moved") || !strings.Contains(temp.Failure.Text, "D 0.930") {
		t.Errorf("temp: %+v", temp)
	}
	if hour.Failure != nil || hour.Skipped != nil {
		t.Errorf("hour did not pass: %+v", hour)
	}
	if rare.Skipped == nil || rare.Skipped.Message != "not enough data" {
		t.Errorf("rare: %+v", rare)
	}
}

// A rule may ask for more than one drifted column. What it lets pass is no failure.
func TestJUnitFailsOnlyIfTheDataSetDrifted(t *testing.T) {
	sample := sampleReport()
	sample.Drift = false
	parsed := parseJUnit(t, written(t, report.DriftJUnit, sample))
	if parsed.Failures != 0 || parsed.Errors != 0 || parsed.Skipped != 4 {
		t.Fatalf("failures %d, errors %d, skipped %d", parsed.Failures, parsed.Errors, parsed.Skipped)
	}
	if temp := parsed.Suites[0].Cases[0]; temp.Skipped == nil || !strings.HasPrefix(temp.Skipped.Message, "drift, but too few columns") {
		t.Errorf("temp: %+v", temp)
	}
	if text := written(t, report.DriftMarkdown, sample); !strings.Contains(text, "Too few columns for the data set to count as drifted.") {
		t.Errorf("Markdown does not say it:\n%s", text)
	}
}

func TestJUnitOfNothingComparedIsAnError(t *testing.T) {
	sample := sampleReport()
	sample.Columns = sample.Columns[4:]
	if parsed := parseJUnit(t, written(t, report.DriftJUnit, sample)); parsed.Errors != 1 || parsed.Failures != 0 {
		t.Errorf("errors %d, failures %d", parsed.Errors, parsed.Failures)
	}
}

func TestJUnitHoldsAnyName(t *testing.T) {
	for _, name := range []string{`"><x>&`, "]]>", "a\x00b\x1b", "\xff\xfe", "\uffff"} {
		sample := sampleReport()
		sample.Reference.Name = name
		for i := range sample.Columns {
			sample.Columns[i].Column, sample.Columns[i].Note = name, name
		}
		parsed := parseJUnit(t, written(t, report.DriftJUnit, sample))
		if len(parsed.Suites) != 1 || len(parsed.Suites[0].Cases) != 5 {
			t.Errorf("%q: the tests are not all there", name)
		}
	}
}

func TestDriftRows(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	rows := report.DriftRows(mem, sampleReport())
	for range 2 { // any number of times
		batches, n, err := rows.Collect()
		if err != nil || n != 5 {
			t.Fatalf("%d rows: %v", n, err)
		}
		column := func(name string) any { return batches[0].Column(batches[0].Schema().FieldIndices(name)[0]) }
		if got := column("column").(*array.String).Value(0); got != "temp" {
			t.Errorf("column %q", got)
		}
		effects := column("effect").(*array.Float64)
		if got := effects.Value(1); got != 0.12 {
			t.Errorf("effect %v", got)
		}
		if !effects.IsNull(4) {
			t.Error("an effect that is not defined is not null")
		}
		driftline.ReleaseAll(batches)
	}
}

func TestNoReportIsAnError(t *testing.T) {
	for name, form := range map[string]func(io.Writer, *driftline.DriftReport) error{
		"html": report.DriftHTML, "markdown": report.DriftMarkdown, "junit": report.DriftJUnit,
	} {
		var out bytes.Buffer
		if err := form(&out, nil); driftline.CodeOf(err) != driftline.Invalid || out.Len() > 0 {
			t.Errorf("%s: %v, wrote %q", name, err, out.String())
		}
	}
}

// FuzzForms writes a report whose every text and number is arbitrary.
func FuzzForms(f *testing.F) {
	f.Add("temp", 0.5, int64(10))
	f.Add("</td>|`\n\x00\xff", math.NaN(), int64(-1))
	f.Add("", math.Inf(1), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, text string, number float64, count int64) {
		sample := sampleReport()
		sample.Current = driftline.DriftSide{Name: text, Rows: count}
		for i := range sample.Columns {
			c := &sample.Columns[i]
			n := driftline.Number(number)
			c.Column, c.Note, c.Kind, c.Type = text, text, text, driftline.Type(text)
			c.Statistic, c.PValue, c.QValue, c.Effect, c.Location = n, n, n, n, n
			c.ReferenceRows, c.CurrentNulls = count, count
			c.Histogram.Reference = slices.Repeat([]int64{count}, len(c.Histogram.Reference))
		}
		parseJUnit(t, written(t, report.DriftJUnit, sample))
		written(t, report.DriftMarkdown, sample)
		if page := written(t, report.DriftHTML, sample); strings.Count(page, "<script>") != 1 {
			t.Errorf("%q: markup comes through", text)
		}
	})
}
