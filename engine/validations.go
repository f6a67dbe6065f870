package engine

import (
	"context"
	"encoding/json"
	"math"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// What checking registered sets found is in kv, beside the ledger, which keeps the counts
// for ever:
//
//	'v' ∥ "runs" ∥ set ∥ −run (int64)  →  JSON of a ValidationReport, without examples
//	'v' ∥ "last" ∥ set                 →  the same of the last run, with examples
//
// Examples are rows of the table, so an erasure forgets those that may be of what it rewrites.
const (
	validationRuns = "runs"
	validationLast = "last"

	// keptValidationRuns is how many runs of a set can be looked at.
	keptValidationRuns = 1000

	// mostValidationRuns bounds one listing.
	mostValidationRuns = 1000
)

func validationRunKey(name driftline.ValidationName, run int) []byte {
	key := kv.AppendString([]byte{kv.ValidationRuns}, validationRuns)
	return kv.AppendInt64(kv.AppendString(key, string(name)), -int64(run))
}

func validationLastKey(name driftline.ValidationName) []byte {
	key := kv.AppendString([]byte{kv.ValidationRuns}, validationLast)
	return kv.AppendString(key, string(name))
}

// examples guards the rows that checks show against an erasure that runs meanwhile.
type examples struct {
	mu       sync.Mutex
	erasures int // that have forgotten examples
}

// RunValidation checks the table of a registered set, and keeps how it went. A table that
// cannot be checked is an error, of which nothing is kept.
func (e *Engine) RunValidation(ctx context.Context, name driftline.ValidationName) (*driftline.ValidationReport, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	v, err := e.registry.Validation(name)
	if err != nil {
		return nil, err
	}
	source, err := v.Source()
	if err != nil {
		return nil, err
	}
	erasures := e.examples.seen()
	reader := &paneReader{engine: e}
	if _, _, err := reader.from(source.Ref, source.SQL); err != nil {
		return nil, aboutValidation(v, err)
	}
	table, err := e.checkedTable(ctx, source)
	if err != nil {
		return nil, aboutValidation(v, err)
	}
	report, err := table.validate(ctx, v.Checks, e.now())
	if err != nil {
		return nil, aboutValidation(v, err)
	}
	report.Validation, report.Version = v.Name, v.Version
	return report, e.recordValidation(report, reader.inputs, erasures)
}

func (x *examples) seen() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.erasures
}

func aboutValidation(v *driftline.Validation, err error) error {
	return driftline.Errorf(driftline.CodeOf(err), "validation %q: %w", v.Name, err).WithRef(v.Ref())
}

// recordValidation fills in the report's run, and keeps it: without examples, if rows were
// erased since they were read.
func (e *Engine) recordValidation(report *driftline.ValidationReport, inputs []driftline.Ref, erasures int) error {
	e.examples.mu.Lock()
	defer e.examples.mu.Unlock()
	tx := e.registry.Begin()
	defer tx.Discard()
	run := report.RunOf()
	if err := tx.AddValidationRun(&run, inputs); err != nil {
		return err
	}
	report.Run, report.At = run.Run, run.At
	kept := report
	if e.examples.erasures != erasures {
		kept = withoutExamples(report)
	}
	if err := keepValidation(tx, kept); err != nil {
		return err
	}
	return tx.Commit()
}

func keepValidation(tx *registry.Tx, report *driftline.ValidationReport) error {
	whole, err := json.Marshal(report)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(withoutExamples(report))
	if err != nil {
		return err
	}
	batch := tx.Batch()
	batch.Set(validationLastKey(report.Validation), whole)
	batch.Set(validationRunKey(report.Validation, report.Run), plain)
	if old := report.Run - keptValidationRuns; old > 0 {
		batch.Delete(validationRunKey(report.Validation, old))
	}
	return nil
}

func withoutExamples(report *driftline.ValidationReport) *driftline.ValidationReport {
	plain := *report
	plain.Results = make([]driftline.CheckResult, len(report.Results))
	for i, result := range report.Results {
		result.Examples = nil
		plain.Results[i] = result
	}
	return &plain
}

// Validations returns every registered set and how it went last, by name.
func (e *Engine) Validations() ([]driftline.ValidationStatus, error) {
	all := []driftline.ValidationStatus{}
	for _, v := range e.registry.Validations() {
		status, err := e.validationStatus(v)
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

// Validation returns one registered set and how it went last.
func (e *Engine) Validation(name driftline.ValidationName) (driftline.ValidationStatus, error) {
	v, err := e.registry.Validation(name)
	if err != nil {
		return driftline.ValidationStatus{}, err
	}
	return e.validationStatus(v)
}

func (e *Engine) validationStatus(v *driftline.Validation) (driftline.ValidationStatus, error) {
	status := driftline.ValidationStatus{Validation: *v}
	runs, err := e.storedValidations(v.Name, 0, 1)
	if err != nil {
		return status, err
	}
	for _, report := range runs {
		run := report.RunOf()
		status.Last = &run
	}
	return status, nil
}

// ValidationRuns returns how a set went, the newest run first: limit at most, of runs before
// one, if it is not 0. The newest thousand are kept.
func (e *Engine) ValidationRuns(name driftline.ValidationName, before, limit int) ([]driftline.ValidationReport, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if _, err := e.registry.Validation(name); err != nil {
		return nil, err
	}
	if limit < 1 || limit > mostValidationRuns {
		return nil, driftline.Errorf(driftline.Invalid, "limit is %d, want 1 to %d", limit, mostValidationRuns)
	}
	return e.storedValidations(name, before, limit)
}

// storedValidations returns reports without examples, the newest first.
func (e *Engine) storedValidations(name driftline.ValidationName, before, limit int) ([]driftline.ValidationReport, error) {
	prefix := kv.AppendString(kv.AppendString([]byte{kv.ValidationRuns}, validationRuns), string(name))
	if before == 0 {
		before = math.MaxInt32
	}
	found := []driftline.ValidationReport{}
	for pair, err := range e.kv.ScanFrom(validationRunKey(name, before-1), prefix) {
		if err != nil {
			return nil, err
		}
		if len(found) == limit {
			break
		}
		report, err := decodeValidation(name, pair.Value)
		if err != nil {
			return nil, err
		}
		found = append(found, *report)
	}
	return found, nil
}

// ValidationRun returns what a run of a set found, of the last one with examples of rows
// that break checks. Run 0 is the last.
func (e *Engine) ValidationRun(name driftline.ValidationName, run int) (*driftline.ValidationReport, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	last, ok := e.registry.LastValidationRun(name)
	if _, err := e.registry.Validation(name); err != nil {
		return nil, err
	}
	if run == 0 && ok {
		run = last.Run
	}
	if run == last.Run && ok {
		if raw, err := e.kv.Get(validationLastKey(name)); err != nil || raw != nil {
			return decodeFound(name, raw, err)
		}
	}
	raw, err := e.kv.Get(validationRunKey(name, run))
	if err == nil && raw == nil {
		err = driftline.Errorf(driftline.NotFound, "validation %q has no run %d", name, run).WithRef(driftline.ValidationRef(name, 0)).
			WithHint("driftline validations history %s lists those that are kept", name)
	}
	return decodeFound(name, raw, err)
}

func decodeFound(name driftline.ValidationName, raw []byte, err error) (*driftline.ValidationReport, error) {
	if err != nil {
		return nil, err
	}
	return decodeValidation(name, raw)
}

func decodeValidation(name driftline.ValidationName, raw []byte) (*driftline.ValidationReport, error) {
	report := &driftline.ValidationReport{}
	if err := json.Unmarshal(raw, report); err != nil {
		return nil, driftline.Errorf(driftline.DataLoss, "the record of a run of validation %q is damaged", name).
			WithHint("restore the data folder from a backup")
	}
	return report, nil
}

// forgetExamples forgets rows that checks showed, where they may be of one of the tables.
func (e *Engine) forgetExamples(ctx context.Context, tables []driftline.Ref) error {
	e.examples.mu.Lock()
	defer e.examples.mu.Unlock()
	e.examples.erasures++
	b := e.kv.NewBatch()
	defer b.Close()
	for _, v := range e.registry.Validations() {
		versions, err := e.registry.ValidationVersions(v.Name)
		if err != nil {
			return err
		}
		for _, one := range versions { // the last run may be of an older definition
			if source, err := one.Source(); err != nil || e.readsOneOf(ctx, source, tables) {
				b.Delete(validationLastKey(v.Name))
			}
		}
	}
	return b.Commit()
}
