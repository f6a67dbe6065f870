package web

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// modelRow is one registered model: its newest version and where its aliases point.
type modelRow struct {
	driftline.RegisteredModel
	Pointers []pointer
}

type pointer struct {
	Alias   driftline.Alias
	Version int
}

func (s *Server) modelsPage(w http.ResponseWriter, r *http.Request) error {
	var rows []modelRow
	for _, m := range s.engine.Registry().Models() {
		rows = append(rows, modelRow{RegisteredModel: m, Pointers: pointersOf(m.Aliases)})
	}
	body, err := listed(r, rows, modelColumns)
	if err != nil {
		return err
	}
	return s.render(w, "models", page{Title: "Models", Section: "models", Body: body})
}

var modelColumns = []listColumn[modelRow]{
	{name: "model", label: "Model", text: func(r *modelRow) string { return string(r.Name) + "\n" + r.Description }},
	{name: "version", label: "Newest", order: quantity(func(r *modelRow) int { return r.newest().Version })},
	{name: "aliases", label: "Aliases", text: func(r *modelRow) string {
		var names []string
		for _, p := range r.Pointers {
			names = append(names, string(p.Alias))
		}
		return strings.Join(names, " ")
	}},
	{name: "run", label: "From run", text: func(r *modelRow) string { return string(r.newest().Run) }},
	{name: "registered", label: "Registered", order: moment(func(r *modelRow) time.Time { return r.newest().Created })},
}

// newest is the zero version if there is none.
func (r *modelRow) newest() driftline.ModelVersion {
	if r.Newest == nil {
		return driftline.ModelVersion{}
	}
	return *r.Newest
}

func pointersOf(aliases map[driftline.Alias]int) []pointer {
	var found []pointer
	for alias, version := range aliases {
		found = append(found, pointer{Alias: alias, Version: version})
	}
	slices.SortFunc(found, func(a, b pointer) int { return cmp.Compare(a.Alias, b.Alias) })
	return found
}

// modelPage shows a model: its versions, where its aliases and stages are and were.
type modelPage struct {
	driftline.RegisteredModel
	Rows     []modelPageVersion // the newest first
	Pointers []modelPointer
	Moves    []driftline.AliasChange // the newest first
	Staged   []driftline.StageChange
	Logs     []driftline.ViewName // where its predictions may be
	Policy   bool                 // it has one

	Evaluations *listing[evaluationRow] // the newest first
}

// modelPointer is an alias, and where taking back its last move would bring it.
type modelPointer struct {
	pointer
	Back int // 0 if there is nothing to take back
}

type modelPageVersion struct {
	driftline.ModelVersion
	Ref     driftline.Ref
	Metrics map[string]driftline.Number // of the run
}

// maxVersionMetrics keeps a version's card short; its run's page has them all.
const maxVersionMetrics = 6

func (s *Server) modelPage(w http.ResponseWriter, r *http.Request) error {
	reg := s.engine.Registry()
	found, err := reg.Model(modelOf(r))
	if err != nil {
		return err
	}
	versions, err := reg.ModelVersions(found.Name)
	if err != nil {
		return err
	}
	body := modelPage{RegisteredModel: *found}
	for _, v := range slices.Backward(versions) {
		shown := modelPageVersion{ModelVersion: v, Ref: v.Ref()}
		if v.Origin != nil {
			shown.Metrics = firstOf(v.Origin.Metrics, maxVersionMetrics)
		}
		body.Rows = append(body.Rows, shown)
	}
	if body.Moves, err = reg.AliasHistory(found.Name, ""); err != nil {
		return err
	}
	slices.Reverse(body.Moves)
	if body.Staged, err = reg.StageHistory(found.Name); err != nil {
		return err
	}
	slices.Reverse(body.Staged)
	for _, p := range pointersOf(found.Aliases) {
		back, err := reg.AliasBefore(found.Name, p.Alias)
		if err != nil {
			back = 0 // it was nowhere else
		}
		body.Pointers = append(body.Pointers, modelPointer{p, back})
	}
	for _, v := range reg.Views() {
		if v.Predictions != nil {
			body.Logs = append(body.Logs, v.Name)
		}
	}
	_, err = reg.Policy(found.Name)
	body.Policy = err == nil
	if body.Evaluations, err = s.evaluationList(r, found.Name); err != nil {
		return err
	}
	return s.render(w, "model", page{Title: string(found.Name), Section: "models", Body: body})
}

// firstOf returns the first n of a map by their keys.
func firstOf(metrics map[string]driftline.Number, n int) map[string]driftline.Number {
	first := map[string]driftline.Number{}
	for _, key := range slices.Sorted(maps.Keys(metrics)) {
		if len(first) == n {
			break
		}
		first[key] = metrics[key]
	}
	return first
}

// versionPage shows one version: its card, its files, and what its gates say.
type versionPage struct {
	*driftline.ModelCard
	Ref   driftline.Ref
	Gates []gateState
}

// gateState is what a gate asks of this version, and what it has.
type gateState struct {
	driftline.ModelGate
	Checks   []checkState
	Approved int
}

type checkState struct {
	Name  string
	State string // passed, failed, or "never checked"
	By    *driftline.ModelCheck
}

func (s *Server) versionPage(w http.ResponseWriter, r *http.Request) error {
	card, err := s.modelCard(r)
	if err != nil {
		return err
	}
	body := versionPage{ModelCard: card, Ref: card.Version.Ref()}
	for _, gate := range card.Model.Gates {
		body.Gates = append(body.Gates, stateOfGate(gate, &card.Version))
	}
	return s.render(w, "version", page{Title: body.Ref.String(), Section: "models", Body: body})
}

func stateOfGate(gate driftline.ModelGate, version *driftline.ModelVersion) gateState {
	state := gateState{ModelGate: gate}
	for _, name := range gate.Checks {
		one := checkState{Name: name, State: "never checked"}
		for i := range version.Checks {
			if c := &version.Checks[i]; c.Name == name {
				one.By, one.State = c, "failed"
				if c.Passed {
					one.State = "passed"
				}
			}
		}
		state.Checks = append(state.Checks, one)
	}
	for _, a := range version.Approvals {
		if a.Alias == gate.Alias && a.Stage == gate.Stage && a.Decision == driftline.ApprovalGiven {
			state.Approved++
		}
	}
	return state
}

// rollbackForm takes back the last move of an alias, if it is still where the person saw it,
// and shows the model's page.
func (s *Server) rollbackForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return unfit("the form cannot be read")
	}
	expect, err := strconv.Atoi(r.PostForm.Get("expect"))
	if err != nil || r.PostForm.Get("sure") == "" {
		return driftline.Errorf(driftline.Invalid, "the rollback of alias %q is not confirmed", clip(string(aliasOf(r)))).
			WithHint("tick the box on the model's page")
	}
	back := driftline.AliasRollback{Expect: &expect, By: r.PostForm.Get("by"), Reason: r.PostForm.Get("reason")}
	if _, err := s.engine.Registry().RollbackAlias(modelOf(r), aliasOf(r), back); err != nil {
		return err
	}
	http.Redirect(w, r, "/models/"+url.PathEscape(string(modelOf(r))), http.StatusSeeOther)
	return nil
}
