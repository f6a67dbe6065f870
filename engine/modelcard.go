package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// environmentFiles say what a model needs to run. They are shown whole.
var environmentFiles = []string{"requirements.txt", "python_env.yaml", "conda.yaml"}

// ModelCard gathers what there is to know of a version of a model.
func (e *Engine) ModelCard(ctx context.Context, name driftline.ModelName, selector string) (*driftline.ModelCard, error) {
	model, err := e.registry.Model(name)
	if err != nil {
		return nil, err
	}
	version, err := e.registry.ModelVersion(name, selector)
	if err != nil {
		return nil, err
	}
	card := &driftline.ModelCard{Model: *model, Version: *version}
	card.Model.Newest = nil
	steps := []func(context.Context, *driftline.ModelCard) error{
		e.cardSignature, e.cardData, e.cardMonitors, e.cardEnvironment, e.cardPast,
	}
	for _, step := range steps {
		if err := step(ctx, card); err != nil {
			return nil, err
		}
	}
	card.Limits = append(card.Limits, cardLimits(card)...)
	return card, nil
}

// cardSignature reads the signature; a file that cannot be read is a limit and no failure.
func (e *Engine) cardSignature(ctx context.Context, card *driftline.ModelCard) (err error) {
	card.Signature, err = e.modelSignature(ctx, &card.Version)
	switch driftline.CodeOf(err) {
	case driftline.Invalid:
		card.Limits = append(card.Limits, err.Error())
		return nil
	case driftline.DataLoss:
		card.Limits = append(card.Limits, "files of it are damaged: "+err.Error())
		return nil
	}
	return err
}

func (e *Engine) cardData(_ context.Context, card *driftline.ModelCard) error {
	if card.Version.Origin == nil {
		return nil
	}
	inputs := map[string]bool{}
	if card.Signature != nil {
		for _, c := range card.Signature.Inputs {
			inputs[c.Name] = true
		}
	}
	for _, used := range card.Version.Origin.Datasets {
		dataset, err := e.cardDataset(used.Ref)
		if driftline.CodeOf(err) == driftline.NotFound {
			card.Datasets = append(card.Datasets, driftline.CardDataset{Ref: used.Ref, Rows: used.Rows, ContentHash: used.ContentHash, Gone: true})
			continue
		}
		if err != nil {
			return err
		}
		shown := driftline.CardDataset{Ref: used.Ref, Created: dataset.Created, Rows: dataset.Report.Rows, ContentHash: used.ContentHash,
			Changed: used.ContentHash != dataset.ContentHash}
		shown.From, shown.To = eventTimes(dataset)
		card.Datasets = append(card.Datasets, shown)
		card.Features = append(card.Features, datasetFeatures(dataset, inputs)...)
	}
	return nil
}

// eventTimes are the first and the last event time of a dataset's rows.
func eventTimes(dataset *driftline.Dataset) (from, to time.Time) {
	column := dataset.Request.EventTimestamp
	if column == "" {
		column = "event_timestamp"
	}
	for _, c := range dataset.Statistics {
		if c.Column == column && c.Min != nil && c.Max != nil {
			return time.UnixMicro(int64(*c.Min)).UTC(), time.UnixMicro(int64(*c.Max)).UTC()
		}
	}
	return from, to
}

// datasetFeatures are the columns of a dataset with the views and features that they are of.
func datasetFeatures(dataset *driftline.Dataset, inputs map[string]bool) []driftline.CardFeature {
	var features []driftline.CardFeature
	for _, report := range dataset.Report.Columns {
		f := driftline.CardFeature{Column: report.Column, Type: report.Type, Input: inputs[report.Column],
			Rows: dataset.Report.Rows, Nulls: report.Nulls, NotYetKnown: report.NotYetKnown}
		f.View, f.Feature, f.Description = featureOf(dataset, report.Column)
		features = append(features, f)
	}
	for _, c := range dataset.Statistics { // of the spine, if the model takes them
		known := slices.ContainsFunc(features, func(f driftline.CardFeature) bool { return f.Column == c.Column })
		if inputs[c.Column] && !known {
			features = append(features, driftline.CardFeature{Column: c.Column, Type: c.Type, Input: true, Rows: c.Rows, Nulls: c.Nulls})
		}
	}
	return features
}

// featureOf finds the view and the feature behind the name of a column: the feature's own
// name, or view__feature.
func featureOf(dataset *driftline.Dataset, column string) (driftline.ViewName, string, string) {
	for _, v := range dataset.Views {
		for _, f := range v.Offered() {
			if column == f.Name || strings.HasSuffix(column, "__"+f.Name) && strings.HasPrefix(column, string(v.Name)) {
				return v.Name, f.Name, f.Description
			}
		}
	}
	for _, v := range dataset.OnDemandViews {
		for _, f := range v.Features {
			if column == f.Name || column == string(v.Name)+"__"+f.Name {
				return v.Name, f.Name, f.Description
			}
		}
	}
	return "", "", ""
}

// cardMonitors are the monitors that compare with a dataset of the model, or that watch a
// view which it has features of.
func (e *Engine) cardMonitors(_ context.Context, card *driftline.ModelCard) error {
	watched := map[driftline.Ref]bool{}
	for _, d := range card.Datasets {
		watched[d.Ref] = true
	}
	for _, f := range card.Features {
		if f.View != "" {
			watched[driftline.ViewRef(f.View)] = true
		}
	}
	for _, m := range e.registry.Monitors() {
		if !watched[m.Source.Ref] && !watched[m.Reference.Ref] {
			continue
		}
		state, err := e.registry.MonitorState(m.Name)
		if err != nil {
			return err
		}
		shown := driftline.CardMonitor{Monitor: m.Name, Phase: state.Phase, Alert: state.Alert}
		if watched[m.Reference.Ref] {
			shown.Reference = m.Reference.Ref
		}
		card.Monitors = append(card.Monitors, shown)
	}
	return nil
}

func (e *Engine) cardEnvironment(ctx context.Context, card *driftline.ModelCard) error {
	for _, path := range environmentFiles {
		text, err := e.readModelFile(ctx, &card.Version, path)
		if driftline.CodeOf(err) == driftline.DataLoss {
			card.Limits = append(card.Limits, "files of it are damaged: "+err.Error())
			continue
		}
		if err != nil {
			return err
		}
		if len(text) > 0 && len(text) <= 64<<10 && utf8.Valid(text) {
			card.Environment = append(card.Environment, driftline.CardFile{Path: path, Text: string(text)})
		}
	}
	return nil
}

func (e *Engine) cardPast(_ context.Context, card *driftline.ModelCard) error {
	const steps = 4 // to the files
	lineage, err := e.registry.Lineage(card.Version.Ref(), driftline.Up, steps)
	if err != nil {
		return err
	}
	card.Lineage = lineage.Edges
	moves, err := e.registry.AliasHistory(card.Model.Name, "")
	for _, m := range moves {
		if m.From == card.Version.Version || m.To == card.Version.Version {
			card.History = append(card.History, m)
		}
	}
	return err
}

// cardLimits finds what whoever uses the model should know.
func cardLimits(card *driftline.ModelCard) []string {
	var limits []string
	say := func(format string, args ...any) { limits = append(limits, fmt.Sprintf(format, args...)) }
	v := &card.Version
	if v.Status == driftline.ModelExternal {
		say("its files are kept elsewhere (%s): nobody here looked at them", v.Source)
	}
	if v.Imported != nil {
		say("it was imported: what it was made from is as the server with the key %s said it", v.Imported.Key)
	}
	if len(card.Datasets) == 0 {
		say("no dataset is recorded: what it was trained on is not known here")
	}
	if v.Origin == nil || v.Origin.Commit == "" {
		say("the commit of the code that trained it is not recorded")
	}
	for _, d := range card.Datasets {
		switch {
		case d.Gone:
			say("%s is gone", d.Ref)
		case d.Changed:
			say("rows of %s were erased since: it cannot be made again as it was", d.Ref)
		}
	}
	for _, f := range card.Features {
		if f.NotYetKnown > 0 {
			say("%s: %d of %d values were not yet known at their rows' times, so the model saw the future", f.Column, f.NotYetKnown, f.Rows)
		}
		if f.Rows > 0 && f.Nulls*10 > f.Rows {
			say("%s: %.0f %% of the values were null in training", f.Column, 100*float64(f.Nulls)/float64(f.Rows))
		}
	}
	for _, c := range v.Checks {
		if !c.Passed {
			say("check %s failed: %s", c.Name, c.Summary)
		}
	}
	if len(card.Monitors) == 0 && len(card.Datasets) > 0 {
		say("no monitor compares what it is served with what it was trained on")
	}
	return limits
}
