package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

var notANumber = driftline.Number(math.NaN())

// sampleReport has a column of every verdict and chart.
func sampleReport() *driftline.DriftReport {
	return &driftline.DriftReport{
		Reference: driftline.DriftSide{Name: "dataset/flights@1", Rows: 80789},
		Current:   driftline.DriftSide{Name: "dataset/flights@2", Rows: 86995},
		Alpha:     0.05, Margin: 0.05, Drifted: 2, Drift: true,
		Columns: []driftline.ColumnDrift{
			{
				Column: "temp", Type: driftline.Float64, Kind: "numeric", Test: "ks", DecidedBy: "ks", Statistic: 0.93, Effect: 0.93, EffectLow: 0.9, EffectHigh: 0.95, PValue: 0, QValue: 0, Location: 57.02,
				Verdict: driftline.Drift, ReferenceRows: 6400, CurrentRows: 6600, CurrentNulls: 3,
				Histogram: driftline.Histogram{Edges: []float64{10, 40, 60, 100}, Reference: []int64{5000, 1300, 100}, Current: []int64{0, 100, 6500}},
			},
			{
				Column: "carrier", Type: driftline.String, Kind: "categorical", Test: "chi2", Statistic: 1234.5, Effect: 0.12, PValue: 1e-9, QValue: 2e-9, Location: notANumber,
				Verdict: driftline.Drift, Note: "2 rare categories were tested as one", ReferenceRows: 6400, CurrentRows: 6600,
				Histogram: driftline.Histogram{Categories: []string{"UA", "", "(other)"}, Reference: []int64{4000, 2000, 400}, Current: []int64{4000, 2600, 0}},
			},
			{
				Column: "hour", Type: driftline.Int64, Kind: "numeric", Test: "ks", Statistic: 0.01, Effect: 0.01, PValue: 0.4, QValue: 0.4, Location: 7,
				Verdict: driftline.Same, ReferenceRows: 6400, CurrentRows: 6600,
			},
			{
				Column: "rare", Kind: "numeric", Test: "ks", Statistic: 0.4, Effect: 0.4, PValue: 0.2, QValue: 0.3, Location: 7,
				Verdict: driftline.NotEnoughData, ReferenceRows: 4, CurrentRows: 5,
			},
			{
				Column: "when", Type: driftline.Timestamp, Kind: "numeric", PValue: notANumber, QValue: notANumber, Effect: notANumber, Statistic: notANumber, Location: notANumber,
				Verdict: driftline.NotCompared, Note: "a time differs between any two windows",
			},
		},
	}
}

func draw(t *testing.T, drift *driftline.DriftReport) string {
	t.Helper()
	var page bytes.Buffer
	if err := report.DriftHTML(&page, drift); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

var (
	scripts = regexp.MustCompile(`(?s)<(script|style)>.*?</(script|style)>`)
	tags    = regexp.MustCompile(`(?s)<[^>]*>`)
)

// words is the page as it reads.
func words(page string) string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(scripts.ReplaceAllString(page, " "), " ")), " ")
}

func TestDriftReportSaysWhatHappened(t *testing.T) {
	text := words(draw(t, sampleReport()))
	for _, want := range []string{
		"2 of 4 columns drifted",
		"Most of all temp: up to 93 % of the values moved, current runs higher; the gap is widest at 57.02.",
		"dataset/flights@1 reference, 80,789 rows",
		"carrier string drift 0.120 V 2.0 × 10⁻⁹ 0 % → 0 %",
		"(empty) went from 31 % to 39 %.",
		"temp float64 drift 0.930 D &lt; 10⁻³⁰⁰ 0 % → &lt; 0.1 %",
		"2 rare categories were tested as one.",
		"rare numeric not enough data",
		"D 0.930 (0.900 to 0.950)",
		"Not compared when A time differs between any two windows",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("page lacks %q:\n%s", want, text)
		}
	}
}

func TestDriftReportSummaries(t *testing.T) {
	full := sampleReport()
	same, rare, untested := full.Columns[2], full.Columns[3], full.Columns[4]
	for _, c := range []struct {
		columns []driftline.ColumnDrift
		want    string
	}{
		{nil, "Nothing could be compared"},
		{[]driftline.ColumnDrift{untested}, "Nothing could be compared"},
		{[]driftline.ColumnDrift{rare}, "Not enough data to tell"},
		{[]driftline.ColumnDrift{same, untested}, "No drift in 1 column"},
		{[]driftline.ColumnDrift{same, same, rare}, "No drift found in 3 columns"},
	} {
		full.Columns = c.columns
		if page := draw(t, full); !strings.Contains(page, "<h1>"+c.want+"</h1>") {
			t.Errorf("%d columns: no headline %q", len(c.columns), c.want)
		}
	}
}

func TestDriftReportSaysWhatElseDrifted(t *testing.T) {
	sample := sampleReport()
	gone := &sample.Columns[0]
	gone.MissingVerdict, gone.QValue, gone.ReferenceRows, gone.ReferenceNulls, gone.CurrentRows, gone.CurrentNulls = driftline.Drift, 0.5, 100, 0, 60, 40
	other := &sample.Columns[1]
	other.DecidedBy, other.UnseenShare = "psi", 0.04
	other.Others = []driftline.DriftStatistic{{Name: "psi", Value: 0.3, PValue: notANumber}}
	sample.Multivariate = &driftline.MultivariateDrift{Columns: []string{"temp", "hour"}, ReferenceRows: 90, CurrentRows: 80, Verdict: driftline.Drift,
		Tests: []driftline.DriftStatistic{{Name: "mmd", Value: 0.01, PValue: 0.002}}}
	text := words(draw(t, sample))
	for _, want := range []string{
		"Most of all temp: missing values went from 0 % to 40 %.",
		"(empty) went from 31 % to 39 %; 4.0 % is of categories that were not there before (found by PSI).",
		"PSI 0.3, p – decided",
		"All columns together drift Whether 2 columns hang together as they did; 90 → 80 complete rows. maximum mean discrepancy 0.01 p 0.002",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("page lacks %q:\n%s", want, text)
		}
	}
	if parsed := parseJUnit(t, written(t, report.DriftJUnit, sample)); parsed.Failures != 3 {
		t.Errorf("%d failures, want both columns and all together", parsed.Failures)
	}
}

func TestDriftReportNeedsNothingElse(t *testing.T) {
	page := draw(t, sampleReport())
	for _, pattern := range []string{`https?://`, `\b(src|srcset|action)\s*=`, `@import`, `url\(`, `\bfetch\(`, `<link`, `<img`, `<iframe`} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("page refers to something outside: %q", found)
		}
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(link[1], "#column-") {
			t.Errorf("link to %q", link[1])
		}
	}
}

func TestDriftReportIsWellFormed(t *testing.T) {
	body := regexp.MustCompile(`(?s)<main>.*</main>`).FindString(draw(t, sampleReport()))
	for d := xml.NewDecoder(strings.NewReader(body)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(body, `class="r-area"`); got != 3 { // two sparks, one chart
		t.Errorf("%d histograms of reference, want 3", got)
	}
}

func TestDriftReportEscapesEverything(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	sample := sampleReport()
	sample.Reference.Name, sample.Current.Name = hostile, hostile
	for i := range sample.Columns {
		c := &sample.Columns[i]
		c.Column, c.Kind, c.Test, c.Note, c.Type = hostile, hostile, hostile, hostile, hostile
		c.Verdict = hostile
		for j := range c.Histogram.Categories {
			c.Histogram.Categories[j] = hostile
		}
	}
	page := draw(t, sample)
	if strings.Count(page, "<script>") != 1 || strings.Contains(page, "<img") {
		t.Error("markup from the report is in the page")
	}
}

func TestDriftReportSurvivesHistogramsThatMakeNoSense(t *testing.T) {
	inf := math.Inf(1)
	for _, h := range []driftline.Histogram{
		{},
		{Edges: []float64{1}},
		{Edges: []float64{1, 2}, Reference: []int64{1}},
		{Edges: []float64{2, 1}, Reference: []int64{1}, Current: []int64{1}},
		{Edges: []float64{-inf, inf}, Reference: []int64{1}, Current: []int64{1}},
		{Edges: []float64{math.NaN(), 1}, Reference: []int64{1}, Current: []int64{1}},
		{Edges: []float64{1, 2}, Reference: []int64{0}, Current: []int64{0}},
		{Edges: []float64{-math.MaxFloat64, 0, math.MaxFloat64}, Reference: []int64{math.MaxInt64, -5}, Current: []int64{1, 1}},
		{Categories: []string{"a", "b"}, Reference: []int64{1}},
		{Categories: []string{"a"}, Reference: []int64{-1}, Current: []int64{0}},
	} {
		sample := sampleReport()
		for i := range sample.Columns {
			sample.Columns[i].Histogram = h
			sample.Columns[i].Location = driftline.Number(inf)
			sample.Columns[i].Statistic = driftline.Number(inf)
		}
		if page := scripts.ReplaceAllString(draw(t, sample), ""); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
			t.Errorf("%+v: the page says NaN or Inf", h)
		}
	}
	if err := report.DriftHTML(io.Discard, nil); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("no report: %v", err)
	}
}
