package registry

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/driftline/driftline"
)

// EvaluationCheck is the name of the check that an evaluation is of a version. A gate can ask
// for it, as for any other.
const EvaluationCheck = "evaluation"

// evaluated is what is in memory of an evaluation.
type evaluated struct {
	place   EvaluationPlace
	version int
	outcome driftline.EvaluationOutcome
}

// EvaluationPlace is where what an evaluation found is kept: beside the ledger, by the line
// that made its model, which stays when the model is renamed.
type EvaluationPlace struct {
	Model  uint64
	Number int // counts the evaluations of a name, from 1
}

// AddModelEvaluation records an evaluation, of which the ledger keeps the outcome and the evidence
// but not what each check found, and its outcome as a check of the version. It fills in the
// id and the time. inputs are what it was made from.
func (tx *Tx) AddModelEvaluation(e *driftline.Evaluation, summary string, inputs []driftline.Ref) (EvaluationPlace, error) {
	s := tx.r.head
	m, err := s.model(e.Model)
	if err != nil {
		return EvaluationPlace{}, err
	}
	version, err := m.version(e.Candidate)
	if err != nil {
		return EvaluationPlace{}, err
	}
	if inputs, err = s.resolveAll(inputs); err != nil {
		return EvaluationPlace{}, err
	}
	number := s.evaluations[e.Model] + 1
	e.ID, e.Time = driftline.EvaluationID(fmt.Sprintf("%s-%d", e.Model, number)), tx.time
	kept := *e
	kept.Checks, kept.Segments, kept.Reliability, kept.ChampionReliability = nil, nil, nil, nil
	if _, err := tx.add(ModelEvaluated, e.Ref(), inputs, kept); err != nil {
		return EvaluationPlace{}, err
	}
	check := driftline.ModelCheck{Name: EvaluationCheck, Passed: e.Passed(), Summary: summary, By: e.By,
		Evidence: []driftline.Ref{e.Ref()}, Time: tx.time}
	_, err = tx.add(ModelChecked, version.Ref(), nil, check)
	return EvaluationPlace{m.id, number}, err
}

func foldModelEvaluated(s *state, line *Line) ([]effect, error) {
	e, err := body[driftline.Evaluation](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(e.Model)
	if err != nil {
		return nil, err
	}
	number := s.evaluations[e.Model] + 1
	counts := func(s *state) map[driftline.ModelName]int { return s.evaluations }
	table := func(s *state) map[driftline.EvaluationID]evaluated { return s.evaluated }
	return []effect{
		put(counts, e.Model, number),
		put(table, e.ID, evaluated{EvaluationPlace{m.id, number}, e.Candidate, e.Outcome}),
	}, nil
}

// EvaluationPlace returns where what an evaluation found is kept.
func (r *Registry) EvaluationPlace(id driftline.EvaluationID) (place EvaluationPlace, err error) {
	r.read(func(s *state) {
		var found evaluated
		found, err = s.evaluation(id)
		place = found.place
	})
	return place, err
}

// ModelLine returns the number of the line that made a model.
func (r *Registry) ModelLine(name driftline.ModelName) (uint64, error) {
	m, err := r.model(name)
	if err != nil {
		return 0, err
	}
	return m.id, nil
}

func (s *state) evaluation(id driftline.EvaluationID) (evaluated, error) {
	if found, ok := s.evaluated[id]; ok {
		return found, nil
	}
	return evaluated{}, unknown("evaluation", id, slices.Collect(maps.Keys(s.evaluated)), "evaluate a version with driftline gate").
		WithRef(driftline.EvaluationRef(clip(id)))
}

func (s *state) evaluationFacts(ref driftline.Ref) map[string]string {
	found, ok := s.evaluated[driftline.EvaluationID(ref.Name)]
	if !ok {
		return nil
	}
	return map[string]string{"outcome": string(found.outcome), "version": strconv.Itoa(found.version)}
}
