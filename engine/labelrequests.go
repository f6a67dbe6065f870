package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
)

const (
	usualLabelBudget = 100
	mostLabelBudget  = 100_000

	// How many features decide which predictions are unlike those with a label.
	mostComparedNumbers = 50
	mostComparedTexts   = 20
)

// AskForLabels chooses predictions without a label that would teach most if they had one, and keeps
// them, with their features, as the next version of a dataset. It is Invalid to ask for nothing, and
// FailedPrecondition if there is nothing to ask for.
func (e *Engine) AskForLabels(ctx context.Context, model driftline.ModelName, req driftline.LabelRequest) (*driftline.LabelAsk, error) {
	joined, view, err := e.joinedText(model)
	if err != nil {
		return nil, err
	}
	if req.Budget == 0 {
		req.Budget = usualLabelBudget
	}
	if req.By == "" {
		req.By = driftline.ChooseBoth
	}
	if req.SaveAs == "" {
		log, _ := strings.CutSuffix(string(predictions.LogName(model)), "_predictions")
		req.SaveAs = driftline.DatasetName(log + "_to_label")
	}
	switch {
	case req.Budget < 0 || req.Budget > mostLabelBudget:
		return nil, driftline.Errorf(driftline.Invalid, "budget is %d, want 1 to %d", req.Budget, mostLabelBudget)
	case !slices.Contains(driftline.LabelChoices, req.By):
		return nil, invalid(driftline.Unknown("choice", req.By, driftline.LabelChoices))
	}
	q := labelQuery{engine: e, view: view, joined: joined, req: req}
	text := q.text()
	n := int64(0)
	if err := e.eachRow(ctx, "SELECT count(*) FROM ("+text+")", func(v []int64) { n = v[0] }); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "model %q has no prediction to ask for", model).
			WithHint("all have a label, or were asked for by an earlier version of dataset %s", req.SaveAs)
	}
	projection := driftline.Projection{View: view.Name, Features: q.features()}
	set, err := e.Historical(ctx, driftline.HistoricalRequest{
		FeatureSet: driftline.FeatureSet{Projections: []driftline.Projection{projection}}, EventTimestamp: view.EventTimestamp,
		Spine: &driftline.SpineSource{SQL: text}, SaveAs: req.SaveAs,
	}, driftline.Batches{})
	if err != nil {
		return nil, err
	}
	for _, err := range set.Batches.All { // until then its report is not complete
		if err != nil {
			return nil, err
		}
	}
	return &driftline.LabelAsk{Model: model, Dataset: set.Report().Dataset.Ref(), Rows: set.Report().Rows}, nil
}

// labelQuery makes the SELECT of the predictions to ask for.
type labelQuery struct {
	engine *Engine
	view   *driftline.FeatureView
	joined string
	req    driftline.LabelRequest
}

// features are what whoever labels is shown: those of the model, and what it said.
func (q *labelQuery) features() []string {
	var names []string
	for _, f := range q.view.Features {
		said := f.Name == predictions.Number || f.Name == predictions.Text || f.Name == predictions.Score
		if said || !predictions.Own(f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

func (q *labelQuery) text() string {
	id, at := quoted(q.view.Predictions.ID), quoted(q.view.EventTimestamp)
	fresh := []string{"label IS NULL", "label_text IS NULL"}
	if !q.req.Since.IsZero() {
		fresh = append(fresh, at+" >= "+timeLiteral(q.req.Since))
	}
	for _, d := range q.engine.registry.Datasets() {
		if d.Name == q.req.SaveAs {
			fresh = append(fresh, fmt.Sprintf("%s NOT IN (SELECT %[1]s FROM %s.%s)", id, schemaDatasets, quoted(fmt.Sprintf("%s@%d", d.Name, d.Version))))
		}
	}
	stats, distances := q.distances()
	order := map[driftline.LabelChoice]string{driftline.ChooseUncertain: "by_doubt", driftline.ChooseDrifted: "by_distance", driftline.ChooseBoth: "least(by_doubt, by_distance)"}[q.req.By]
	return fmt.Sprintf(`WITH j AS (%s),
fresh AS (SELECT * FROM j%s),
known AS (SELECT %s FROM j WHERE label IS NOT NULL OR label_text IS NOT NULL),
scored AS (SELECT fresh.%s, fresh.%s, %s AS doubt, %s AS distance FROM fresh CROSS JOIN known),
ranked AS (SELECT *, row_number() OVER (ORDER BY doubt DESC, %[4]s) AS by_doubt, row_number() OVER (ORDER BY distance DESC NULLS LAST, %[4]s) AS by_distance FROM scored)
SELECT %[4]s, %[5]s, CASE WHEN by_doubt <= by_distance THEN 'uncertain' ELSE 'drifted' END AS asked_because, doubt, distance
FROM ranked ORDER BY %[8]s, by_doubt LIMIT %[9]d`,
		q.joined, conditions(fresh), stats, id, at, q.doubt(), distances, order, q.req.Budget)
}

// doubt is from 0 to 1: 1 for a score of one half, and where the other arm said something else.
func (q *labelQuery) doubt() string {
	doubt := "0.0"
	if f, ok := q.view.Feature(predictions.Score); ok && (f.Type == driftline.Float64 || f.Type == driftline.Float32) {
		doubt = "coalesce(greatest(1 - 2 * abs(score - 0.5), 0), 0)"
	}
	if f, ok := q.view.Feature(predictions.MirrorDiffers); ok && f.Type == driftline.Bool {
		doubt = "CASE WHEN mirror_differs THEN 1.0 ELSE " + doubt + " END"
	}
	return doubt
}

// distances are what is kept of the predictions with a label, and how far a row is from it on average
// over the features: 10 at most for each, 3 for a text that was never seen.
func (q *labelQuery) distances() (stats, distance string) {
	stat, terms := []string{"count(*) AS n"}, []string{}
	numbers, texts := 0, 0
	for _, f := range q.view.Features {
		name := quoted(f.Name)
		switch {
		case predictions.Own(f.Name):
		case slices.Contains([]driftline.Type{driftline.Float64, driftline.Float32, driftline.Int64, driftline.Int32}, f.Type) && numbers < mostComparedNumbers:
			stat = append(stat, fmt.Sprintf("median(%s) AS middle_%d, quantile_cont(%[1]s, 0.75) - quantile_cont(%[1]s, 0.25) AS width_%[2]d", name, numbers))
			terms = append(terms, fmt.Sprintf("coalesce(least(10, abs(fresh.%s - middle_%d) / greatest(width_%[2]d, 1e-9)), 0)", name, numbers))
			numbers++
		case f.Type == driftline.String && texts < mostComparedTexts:
			stat = append(stat, fmt.Sprintf("list(DISTINCT %s) AS seen_%d", name, texts))
			terms = append(terms, fmt.Sprintf("CASE WHEN fresh.%s IS NULL OR list_contains(seen_%d, fresh.%[1]s) THEN 0 ELSE 3 END", name, texts))
			texts++
		}
	}
	if len(terms) == 0 {
		return stat[0], "NULL::DOUBLE"
	}
	return strings.Join(stat, ", "), fmt.Sprintf("CASE WHEN n > 0 THEN (%s) / %d.0 END", strings.Join(terms, " + "), len(terms))
}
