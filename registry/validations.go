package registry

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

func planValidation(s *state, v driftline.Validation) (plannedChange, error) {
	if err := s.completeValidation(&v); err != nil {
		return plannedChange{}, err
	}
	old := newestOf(s.validations[v.Name])
	v.Version, v.Created = 1, time.Time{}
	if old != nil {
		v.Version, v.Created = old.Version+1, old.Created
	}
	p := plannedChange{kind: ValidationApplied, object: v}
	var err error
	if p.inputs, err = s.validationInputs(&v); err != nil {
		return plannedChange{}, named("validation", v.Name, err)
	}
	if old == nil {
		p.Change = created(v.Ref())
	} else {
		p.Change = validationDifferences(old, &v)
	}
	s.validations[v.Name] = append(slices.Clip(s.validations[v.Name]), &v)
	return p, nil
}

// completeValidation checks a set, and leaves out what says nothing.
func (s *state) completeValidation(v *driftline.Validation) error {
	if err := driftline.CheckIdentifier("validation", v.Name); err != nil {
		return err
	}
	source, err := v.Source()
	if err == nil && len(source.SQL) > mostText {
		err = driftline.Errorf(driftline.Invalid, "table has %d bytes, want at most %d", len(source.SQL), mostText)
	}
	if err == nil {
		err = v.Validate()
	}
	if err == nil {
		err = checkNotes("validation", v.Name, v.Description, v.Owner, v.Tags)
	}
	if err != nil {
		return named("validation", v.Name, err)
	}
	v.Kind, v.Table = "", source.String()
	return nil
}

// validationInputs is the table that a set names, as it is meant now.
func (s *state) validationInputs(v *driftline.Validation) ([]driftline.Ref, error) {
	source, err := v.Source()
	switch ref := source.Ref; {
	case err != nil:
		return nil, err
	case ref.Kind == driftline.KindView:
		return s.resolveAll([]driftline.Ref{driftline.ViewRef(s.meant(driftline.ViewName(ref.Name)))})
	case ref.Kind == driftline.KindDataset:
		return s.resolveAll([]driftline.Ref{ref})
	}
	return nil, nil
}

func validationDifferences(old, now *driftline.Validation) driftline.Change {
	var d differences
	d.text("table", old.Table, now.Table)
	d.checks(old.Checks, now.Checks)
	d.text("description", old.Description, now.Description)
	d.text("owner", old.Owner, now.Owner)
	d.tags(old.Tags, now.Tags)
	return d.version(old.Ref(), now.Ref())
}

// checks compares checks by what they say; those that are gone come first.
func (d *differences) checks(old, now []driftline.Check) {
	words := func(checks []driftline.Check) []string {
		all := make([]string, len(checks))
		for i := range checks {
			if all[i] = checks[i].Title(); !checks[i].IsBlocking() {
				all[i] += " (warning)"
			}
		}
		return all
	}
	before, after := words(old), words(now)
	changes := len(*d)
	for _, word := range before {
		if !slices.Contains(after, word) {
			d.text("checks", word, "")
		}
	}
	for _, word := range after {
		if !slices.Contains(before, word) {
			d.text("checks", "", word)
		}
	}
	if len(*d) == changes { // their order, or what a title does not say
		d.value("checks", old, now)
	}
}

func foldValidation(s *state, line *Line) ([]effect, error) {
	v, err := body[driftline.Validation](line)
	if err != nil {
		return nil, err
	}
	if v.Created.IsZero() {
		v.Created = line.Time
	}
	versions := func(s *state) map[driftline.ValidationName][]*driftline.Validation { return s.validations }
	return []effect{put(versions, v.Name, append(slices.Clip(s.validations[v.Name]), v))}, nil
}

func foldValidationRun(_ *state, line *Line) ([]effect, error) {
	run, err := body[driftline.ValidationRun](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.ValidationName]*driftline.ValidationRun { return s.validated }
	return []effect{put(table, run.Validation, run)}, nil
}

// AddValidationRun records that a set was checked, with the tables that were read as inputs,
// and without what was found: the ledger never forgets. It fills in the run's number and time.
func (tx *Tx) AddValidationRun(run *driftline.ValidationRun, inputs []driftline.Ref) error {
	v, err := tx.r.head.validation(run.Validation)
	if err != nil {
		return err
	}
	run.Run, run.At = 1, tx.time
	if last := tx.r.head.validated[v.Name]; last != nil {
		run.Run = last.Run + 1
	}
	kept := *run
	kept.Table = ""
	_, err = tx.add(ValidationRun, driftline.ValidationRef(v.Name, run.Version), inputs, kept)
	return err
}

// Validations returns the newest version of every set of checks, by name. The caller must
// not change them.
func (r *Registry) Validations() (found []*driftline.Validation) {
	r.read(func(s *state) { found = newestOfEach(s.validations) })
	return found
}

// Validation returns the newest version of a set of checks. The caller must not change it.
func (r *Registry) Validation(name driftline.ValidationName) (found *driftline.Validation, err error) {
	r.read(func(s *state) { found, err = s.validation(name) })
	return found, err
}

// ValidationVersions returns every version of a set, from 1. The caller must not change them.
func (r *Registry) ValidationVersions(name driftline.ValidationName) (versions []*driftline.Validation, err error) {
	r.read(func(s *state) {
		if _, err = s.validation(name); err == nil {
			versions = slices.Clone(s.validations[name])
		}
	})
	return versions, err
}

// LastValidationRun returns how a set went when it was checked last, without the text of
// its table, and false if it never was.
func (r *Registry) LastValidationRun(name driftline.ValidationName) (last driftline.ValidationRun, ok bool) {
	r.read(func(s *state) {
		if found := s.validated[name]; found != nil {
			last, ok = *found, true
		}
	})
	return last, ok
}

func (s *state) validation(name driftline.ValidationName) (*driftline.Validation, error) {
	if v := newestOf(s.validations[name]); v != nil {
		return v, nil
	}
	return nil, unknown("validation", name, slices.Collect(maps.Keys(s.validations)), applyFirst).WithRef(driftline.ValidationRef(clip(name), 0))
}

func (s *state) resolveValidation(ref driftline.Ref) (driftline.Ref, error) {
	v, err := s.validation(driftline.ValidationName(ref.Name))
	if err != nil {
		return driftline.Ref{}, err
	}
	return versionMeant(ref, v.Ref(), v.Version)
}

func (s *state) validationFacts(ref driftline.Ref) map[string]string {
	v := newestOf(s.validations[driftline.ValidationName(ref.Name)])
	if v == nil {
		return nil
	}
	facts := map[string]string{"checks": fmt.Sprint(len(v.Checks))}
	if last := s.validated[v.Name]; last != nil {
		facts["last"] = "passed"
		if !last.Passed {
			facts["last"] = fmt.Sprintf("%d failed", last.Failed)
		}
	}
	return facts
}
