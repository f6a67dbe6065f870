package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

func sampleValidation() *driftline.ValidationReport {
	zero, hundred := 0.0, 100.0
	cold, none := "-40.5", (*string)(nil)
	result := func(c driftline.Check, outcome driftline.CheckOutcome, found string) driftline.CheckResult {
		return driftline.CheckResult{Check: c, Title: c.Title(), Outcome: outcome, Found: found}
	}
	failed := result(driftline.Check{Check: driftline.CheckRange, Column: "temp", Min: &zero, Max: &hundred}, driftline.CheckFailed, "37 of 26115 out of range (0.142 %)")
	failed.Looked, failed.Bad = 26115, 37
	failed.Examples = &driftline.Examples{Columns: []string{"temp", "origin"}, Rows: [][]*string{{&cold, none}}}
	return &driftline.ValidationReport{
		Table: "view/weather", Rows: 26115, At: time.Date(2013, 12, 31, 9, 0, 0, 0, time.UTC), Failed: 1, Warned: 1,
		Results: []driftline.CheckResult{
			failed,
			result(driftline.Check{Check: driftline.CheckRows, Max: &hundred, Severity: driftline.CheckWarning}, driftline.CheckWarned, "26115 rows"),
			result(driftline.Check{Check: driftline.CheckUnique, Columns: []string{"origin", "event_timestamp"}}, driftline.CheckPassed, "26115 rows, all different"),
		},
	}
}

func TestValidationHTML(t *testing.T) {
	page := written(t, report.ValidationHTML, sampleValidation())
	text := words(page)
	for _, want := range []string{
		"1 of 3 checks failed", "view/weather 26,115 rows, checked 2013-12-31 09:00:00 UTC",
		"temp from 0 to 100 failed 37 of 26115 out of range (0.142 %) 1 of 37 temp origin -40.5 null",
		"rows at most 100 warning 26115 rows", "origin, event_timestamp is unique passed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("page lacks %q:\n%s", want, text)
		}
	}
	for _, outside := range []string{"http://", "https://", " src=", "<link", "@import"} {
		if strings.Contains(page, outside) {
			t.Errorf("page refers to something outside: %q", outside)
		}
	}
}

func TestValidationHeadlines(t *testing.T) {
	sample := sampleValidation()
	sample.Failed, sample.Results = 0, sample.Results[1:]
	if page := written(t, report.ValidationHTML, sample); !strings.Contains(page, "<h1>Passed, with 1 warning</h1>") {
		t.Error("a warning is not in the headline")
	}
	sample.Warned, sample.Results = 0, sample.Results[1:]
	if page := written(t, report.ValidationHTML, sample); !strings.Contains(page, "<h1>The check passed</h1>") {
		t.Error("no headline of one check that passed")
	}
}

func TestValidationMarkdown(t *testing.T) {
	text := written(t, report.ValidationMarkdown, sampleValidation())
	for _, want := range []string{
		"## 1 of 3 checks failed\n", "| temp from 0 to 100 | **failed** | 37 of 26115 out of range \\(0.142 %\\) |",
		"| `temp` | `origin` |\n| :-- | :-- |\n| `-40.5` | *null* |", "<summary>1 check passed</summary>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestValidationJUnit(t *testing.T) {
	parsed := parseJUnit(t, written(t, report.ValidationJUnit, sampleValidation()))
	if parsed.Tests != 3 || parsed.Failures != 1 || parsed.Skipped != 1 {
		t.Fatalf("tests %d, failures %d, skipped %d", parsed.Tests, parsed.Failures, parsed.Skipped)
	}
	cases := parsed.Suites[0].Cases
	if f := cases[0].Failure; f == nil || f.Text != "temp=-40.5, origin=null" {
		t.Errorf("failure %+v", f)
	}
	if s := cases[1].Skipped; s == nil || s.Message != "warning: 26115 rows" {
		t.Errorf("warning %+v", s)
	}
}

func TestValidationEscapesEverything(t *testing.T) {
	hostile := "\"><script>alert(1)</script>|`\n\x00"
	sample := sampleValidation()
	sample.Table = hostile
	for i := range sample.Results {
		r := &sample.Results[i]
		r.Title, r.Found, r.Check.Column = hostile, hostile, hostile
		r.Examples = &driftline.Examples{Columns: []string{hostile}, Rows: [][]*string{{&hostile}}}
	}
	if page := written(t, report.ValidationHTML, sample); strings.Count(page, "<script>") != 1 {
		t.Error("markup comes through to the page")
	}
	if parsed := parseJUnit(t, written(t, report.ValidationJUnit, sample)); len(parsed.Suites[0].Cases) != 3 {
		t.Error("the tests are not all there")
	}
	for line := range strings.Lines(written(t, report.ValidationMarkdown, sample)) {
		if strings.HasPrefix(line, "<script") || strings.Contains(line, "\x00") {
			t.Errorf("markup comes through: %q", line)
		}
	}
}

func TestValidationRows(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	batches, n, err := report.ValidationRows(mem, sampleValidation()).Collect()
	if err != nil || n != 3 {
		t.Fatalf("%d rows: %v", n, err)
	}
	defer driftline.ReleaseAll(batches)
	if got := batches[0].Column(4).(*array.String).Value(1); got != "warned" {
		t.Errorf("outcome %q", got)
	}
}
