package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/driftline/driftline"
)

// RolloutVerdict says in a line what a verdict says: e-value, and how many more requests would decide it.
func RolloutVerdict(v *driftline.RolloutVerdict) string {
	if v == nil {
		return "no verdict yet"
	}
	text := fmt.Sprintf("%s: e-value %.3g of %.3g", v.Outcome, float64(v.EValue), float64(v.Threshold))
	switch {
	case v.Blind != "":
		text += "; held, because " + v.Blind
	case v.Needs > 0:
		text += fmt.Sprintf("; some %s more requests would decide", whole(v.Needs))
	case v.Needs < 0:
		text += "; no number of requests can be foretold to decide"
	}
	return text
}

// GuardEffect is the ratio or the difference that a guard found, with its interval, or "".
func GuardEffect(g *driftline.GuardVerdict) string {
	switch {
	case g.Ratio != nil && g.Ratio.Value == g.Ratio.Value:
		return fmt.Sprintf("%.3g times (%.3g to %.3g)", float64(g.Ratio.Value), float64(g.Ratio.Low), float64(g.Ratio.High))
	case g.Difference != nil && g.Difference.Value == g.Difference.Value:
		return fmt.Sprintf("%+.3g (%+.3g to %+.3g)", float64(g.Difference.Value), float64(g.Difference.Low), float64(g.Difference.High))
	}
	return ""
}

// RolloutMarkdown writes how a rollout went, change by change, and its last verdict.
func RolloutMarkdown(w io.Writer, rollout *driftline.RolloutStatus, changes []driftline.RolloutChange) error {
	var page strings.Builder
	fmt.Fprintf(&page, "## %s: version %d is %s\n\n%s\n\n", code(string(rollout.ID)), rollout.Candidate, prose(rollout.Title()), prose(rollout.Reason))
	page.WriteString("| time | phase | candidate gets | why | by |\n| :-- | :-- | --: | :-- | :-- |\n")
	for i := range changes {
		c := &changes[i]
		fmt.Fprintf(&page, "| %s | %s | %g %% | %s | %s |\n", c.Time.UTC().Format("2006-01-02 15:04:05"), prose(changeTitle(rollout, c)), c.Weight, prose(c.Reason), prose(c.By))
	}
	if v := rollout.Verdict; v != nil {
		fmt.Fprintf(&page, "\nThe last verdict is %s.\n\n| guard | outcome | candidate to champion | events | requests |\n| :-- | :-- | :-- | --: | --: |\n", prose(RolloutVerdict(v)))
		for i := range v.Guards {
			g := &v.Guards[i]
			fmt.Fprintf(&page, "| %s | %s | %s | %s : %s | %s : %s |\n", prose(g.Guard), g.Outcome, prose(GuardEffect(g)),
				whole(g.Events.Candidate), whole(g.Events.Champion), whole(g.Requests.Candidate), whole(g.Requests.Champion))
		}
	}
	_, err := io.WriteString(w, page.String())
	return err
}

func changeTitle(r *driftline.RolloutStatus, c *driftline.RolloutChange) string {
	then := driftline.Rollout{Phase: c.To, Stage: c.Stage, Plan: r.Plan}
	return then.Title()
}

// RolloutJUnit writes a rollout as a suite of tests: one for each phase that it was in, of which the last
// one fails if the candidate is not champion at the end, and is skipped while it goes on; and one
// for each guard of the last verdict.
func RolloutJUnit(w io.Writer, rollout *driftline.RolloutStatus, changes []driftline.RolloutChange) error {
	suite := junitSuite{Name: string(rollout.ID), Properties: []junitProperty{
		{"model", string(rollout.Model)}, {"candidate", fmt.Sprint(rollout.Candidate)}, {"champion", fmt.Sprint(rollout.Champion)},
	}}
	for i := range changes {
		c := &changes[i]
		test := junitCase{Class: "rollout.phase", Name: fmt.Sprintf("%d %s", c.Sequence, changeTitle(rollout, c))}
		switch {
		case c.To == driftline.RolloutRolledBack || c.To == driftline.RolloutFailed || c.To == driftline.RolloutSuperseded:
			test.Failure = &junitOutcome{Type: string(c.Cause), Message: c.Reason, Text: RolloutVerdict(c.Verdict)}
		case i == len(changes)-1 && c.To != driftline.RolloutPromoted && c.To != driftline.RolloutBaking:
			test.Skipped = &junitSkipped{Message: "it goes on: " + c.Reason}
		}
		suite.Cases = append(suite.Cases, test)
	}
	if v := rollout.Verdict; v != nil {
		for i := range v.Guards {
			suite.Cases = append(suite.Cases, guardCase(&v.Guards[i]))
		}
	}
	return writeJUnit(w, "driftline rollout", suite)
}

func guardCase(g *driftline.GuardVerdict) junitCase {
	test := junitCase{Class: "rollout.guard", Name: g.Guard}
	switch g.Outcome {
	case driftline.VerdictWorse:
		test.Failure = &junitOutcome{Type: "worse", Message: GuardEffect(g), Text: g.Note}
	case driftline.VerdictInconclusive:
		test.Skipped = &junitSkipped{Message: "inconclusive: " + GuardEffect(g)}
	}
	return test
}
