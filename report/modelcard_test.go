package report_test

import (
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// What people wrote beside a model is text in its card, never markup, and never a row or a
// heading of its own.
func TestAModelCardShowsTextsAsTheyAre(t *testing.T) {
	hostile := "x | y\n# heading <script>alert(1)</script> [link](http://evil) `code` ![](http://evil/x.png)\x00"
	card := &driftline.ModelCard{
		Model: driftline.RegisteredModel{Name: "late", Description: hostile},
		Version: driftline.ModelVersion{Model: "late", Version: 3, Description: hostile, Tags: map[string]string{hostile: hostile},
			Checks:    []driftline.ModelCheck{{Name: "auc", Summary: hostile, By: hostile}},
			Approvals: []driftline.ModelApproval{{Alias: "champion", Decision: driftline.ApprovalGiven, By: hostile, Reason: hostile}},
			Origin:    &driftline.ModelOrigin{Params: map[string]string{hostile: hostile}, Commit: hostile, Code: hostile}},
		Signature:   &driftline.ModelSignature{Inputs: []driftline.SignatureColumn{{Name: hostile, Type: hostile}}},
		Features:    []driftline.CardFeature{{Column: hostile, Description: hostile}},
		Datasets:    []driftline.CardDataset{{Ref: driftline.DatasetRef("late", 1)}},
		Environment: []driftline.CardFile{{Path: "requirements.txt", Text: "a\n</details># heading\n"}},
		Limits:      []string{hostile},
	}
	var out strings.Builder
	if err := report.ModelCardMarkdown(&out, card); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "# ") && line != "# late, version 3\n" {
			t.Errorf("a text became a heading: %q", line)
		}
		if strings.HasPrefix(line, "    ") {
			continue // a block of code, in which nothing is markup
		}
		for _, markup := range []string{"<script", "[link](", "![](", " `code`", "<b"} {
			if strings.Contains(line, markup) {
				t.Errorf("%s is in the line %q", markup, line)
			}
		}
	}
	for _, want := range []string{"## Limits", "## Data", "## Signature", "dataset/late@1", "check auc"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the card does not have %q:\n%s", want, out.String())
		}
	}
}
