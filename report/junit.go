package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/driftline/driftline"
)

// The elements that CI servers read. Of the many dialects these are what all of them know.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitOutcome `xml:"failure"`
		Error   *junitOutcome `xml:"error"`
		Skipped *junitSkipped `xml:"skipped"`
	}
	junitOutcome struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// DriftJUnit writes a comparison as a suite of tests, one for each column: drift is a
// failure; a column that could not be compared, or has too few values to tell, is
// skipped. So is one that drifted where the report's rule says that the data set has not,
// because too few columns did: a suite has failures if, and only if, report.Drift is set. If
// nothing at all could be compared, that is an error.
func DriftJUnit(w io.Writer, report *driftline.DriftReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no drift report to write")
	}
	content := newDriftPage(report)
	name := content.Reference.Name + " → " + content.Current.Name
	suite := junitSuite{Name: name, Properties: []junitProperty{
		{"reference_rows", fmt.Sprint(report.Reference.Rows)}, {"current_rows", fmt.Sprint(report.Current.Rows)},
		{"preset", report.Preset}, {"alpha", fmt.Sprint(report.Alpha)}, {"margin", fmt.Sprint(report.Margin)},
	}}
	for _, c := range append(content.Columns[:len(content.Columns):len(content.Columns)], content.Uncompared...) {
		suite.Cases = append(suite.Cases, driftCase(c, report.Drift))
	}
	if t := content.Together; t != nil && t.Chip == chipDrift {
		suite.Cases = append(suite.Cases, junitCase{Class: "drift", Name: "all columns together",
			Failure: &junitOutcome{Type: "drift", Message: "the columns do not hang together as they did", Text: t.Note}})
	}
	if report.Compared() == 0 {
		suite.Cases = append(suite.Cases, junitCase{Class: "drift", Name: "comparison",
			Error: &junitOutcome{Type: "nothing compared", Message: "no column could be compared"}})
	}
	return writeJUnit(w, "driftline drift", suite)
}

// driftCase is the test of a column of a data set that has drifted, or not.
func driftCase(c columnContent, drifted bool) junitCase {
	test := junitCase{Class: "drift", Name: c.Name}
	switch {
	case c.Chip == chipDrift && !drifted:
		test.Skipped = &junitSkipped{Message: "drift, but too few columns for the data set to count as drifted: " + c.Finding}
	case c.Chip == chipDrift:
		test.Failure = &junitOutcome{Type: "drift", Message: c.Finding, Text: strings.Join(nonEmpty(
			fmt.Sprintf("%s %s, adjusted p %s (%s)", c.EffectName, c.Effect, c.Q, c.Test),
			fmt.Sprintf("values: %s → %s, missing: %s → %s", whole(c.ReferenceRows), whole(c.CurrentRows), c.ReferenceMissing, c.CurrentMissing),
			c.Note), "\n")}
	case c.Chip == chipUnknown || c.Chip == chipUncompared:
		test.Skipped = &junitSkipped{Message: strings.Join(nonEmpty(c.Chip.Text, c.Note), ": ")}
	}
	return test
}

// writeJUnit counts the outcomes and writes the suite. Characters that XML cannot hold
// are replaced.
func writeJUnit(w io.Writer, name string, suite junitSuite) error {
	for _, test := range suite.Cases {
		suite.Tests++
		switch {
		case test.Failure != nil:
			suite.Failures++
		case test.Error != nil:
			suite.Errors++
		case test.Skipped != nil:
			suite.Skipped++
		}
	}
	text, err := xml.MarshalIndent(junitSuites{
		Name: name, Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Skipped: suite.Skipped, Suites: []junitSuite{suite},
	}, "", "  ")
	if err != nil {
		return driftline.Errorf(driftline.Internal, "the report cannot be written as JUnit: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}
