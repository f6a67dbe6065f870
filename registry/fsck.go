package registry

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Everything beside the ledger can be made from it, or from the points of metrics: the
// folds are made anew each time that a registry is opened, and here are the tables that
// are kept on the disk, so that they need not be.

// mostProblems bounds what a report names; the rest is counted.
const mostProblems = 100

// fsck collects what is wrong, and the changes that would mend it.
type fsck struct {
	report driftline.FsckReport
	repair *kv.Batch // nil where nothing is to be mended
}

func (f *fsck) problem(format string, args ...any) {
	f.report.Problems++
	if len(f.report.Named) < mostProblems {
		f.report.Named = append(f.report.Named, fmt.Sprintf(format, args...))
	}
}

// Fsck reads the ledger again and compares the tables that were made from it, and from the
// points of metrics, with what they must be. With rebuild it mends them. Nobody may write
// meanwhile. A damaged ledger is a DataLoss error: nothing can be made from it.
func (r *Registry) Fsck(rebuild bool) (driftline.FsckReport, error) {
	f := fsck{report: driftline.FsckReport{Named: []string{}}}
	if err := r.Verify(); err != nil {
		return f.report, err
	}
	f.report.Lines = r.Newest().Sequence
	if rebuild {
		f.repair = r.db.NewBatch()
		defer f.repair.Close()
	}
	if err := r.checkPoints(&f); err != nil {
		return f.report, err
	}
	if err := r.checkArtifactIndex(&f); err != nil {
		return f.report, err
	}
	if f.report.Problems == 0 || !rebuild {
		return f.report, nil
	}
	if err := f.repair.Commit(); err != nil {
		return f.report, err
	}
	f.report.Repaired = true
	return f.report, nil
}

// checkPoints compares the table of greatest points with all points.
func (r *Registry) checkPoints(f *fsck) error {
	var key []byte // in the table of greatest points
	var of RunMetric
	var greatest place
	flush := func() error {
		if key == nil {
			return nil
		}
		stored, err := r.db.Get(key)
		if err != nil {
			return err
		}
		want := greatest.append(nil)
		if bytes.Equal(stored, want) {
			return nil
		}
		f.problem("metric %q of run %q: its last point is not the one that its history ends with", clip(of.Key), of.Run)
		if f.repair != nil {
			f.repair.Set(key, want)
		}
		return nil
	}
	for p, err := range r.EachPoint() {
		if err != nil {
			return err
		}
		f.report.Points++
		if key == nil || p.Run != of.Run || p.Key != of.Key {
			if err := flush(); err != nil {
				return err
			}
			of, key, greatest = p, metricPrefix(lastPoint, p.Run, p.Key), pointPlace(&p.Metric, p.Time)
		}
		if at := pointPlace(&p.Metric, p.Time); at.compare(greatest) > 0 {
			greatest = at
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return r.checkLastPoints(f)
}

// checkLastPoints looks for greatest points without a history, and for those of no run.
func (r *Registry) checkLastPoints(f *fsck) error {
	root := []byte{kv.MetricPoints, lastPoint}
	for pair, err := range r.db.ScanPrefix(root) {
		if err != nil {
			return err
		}
		rest := pair.Key[len(root):]
		history := append([]byte{kv.MetricPoints, everyPoint}, rest...)
		has, err := r.hasPrefix(history)
		if err != nil {
			return err
		}
		run, _, err := kv.TakeString(rest)
		if err != nil {
			return err
		}
		if has && r.exists(driftline.RunID(run)) {
			continue
		}
		f.problem("run %q: a metric has a last point and no history, or the run does not exist", clip(run))
		if f.repair != nil {
			f.repair.Delete(bytes.Clone(pair.Key))
			f.repair.DeletePrefix(history)
		}
	}
	return nil
}

func (r *Registry) hasPrefix(prefix []byte) (bool, error) {
	for _, err := range r.db.ScanPrefix(prefix) {
		return err == nil, err
	}
	return false, nil
}

// checkArtifactIndex compares the index of artifacts with the one that the ledger's lines make.
func (r *Registry) checkArtifactIndex(f *fsck) error {
	want, err := r.artifactsOfLedger()
	if err != nil {
		return err
	}
	f.report.Artifacts = int64(want.files)
	prefix := []byte{kv.ArtifactIndex}
	for pair, err := range r.db.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		key := string(pair.Key)
		if value, ok := want.rows[key]; ok && value == string(pair.Value) {
			delete(want.rows, key)
			continue
		}
		if _, ok := want.rows[key]; ok {
			continue // another value: it is still wanted
		}
		f.problem("the index of artifacts has an entry that no line of the ledger makes")
		if f.repair != nil {
			f.repair.Delete(bytes.Clone(pair.Key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.rows)) {
		f.problem("the index of artifacts has not, or has otherwise, an entry that the ledger makes")
		if f.repair != nil {
			f.repair.Set([]byte(key), []byte(want.rows[key]))
		}
	}
	return nil
}

// artifactTable is the index of artifacts in memory.
type artifactTable struct {
	rows  map[string]string
	files int
}

// artifactsOfLedger makes the index from the ledger.
func (r *Registry) artifactsOfLedger() (*artifactTable, error) {
	t, s, last := &artifactTable{rows: map[string]string{}}, newState(), uint64(0)
	for line, err := range r.Lines(1) {
		if err != nil {
			return nil, err
		}
		if aboutArtifacts(line.Kind) {
			last = line.Sequence
			if err := (artifactWriter{t, t}).apply(s, &line); err != nil {
				return nil, err
			}
		}
		effects, err := fold(s, &line)
		if err != nil {
			return nil, err
		}
		for _, e := range effects {
			e(s)
		}
	}
	for key := range t.rows {
		if key[1] == artifactRows {
			t.files++
		}
	}
	if last > 0 {
		t.Set([]byte{kv.ArtifactIndex, artifactLast}, binary.BigEndian.AppendUint64(nil, last))
	}
	return t, nil
}

// Set, Delete, Get and ScanPrefix let lines be written to t as they are to the disk.
func (t *artifactTable) Set(key, value []byte) { t.rows[string(key)] = string(value) }

func (t *artifactTable) Delete(key []byte) { delete(t.rows, string(key)) }

func (t *artifactTable) Get(key []byte) ([]byte, error) {
	value, ok := t.rows[string(key)]
	if !ok {
		return nil, nil
	}
	return append([]byte{}, value...), nil
}

func (t *artifactTable) ScanPrefix(prefix []byte) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(t.rows)) {
			if bytes.HasPrefix([]byte(key), prefix) && !yield(kv.Pair{Key: []byte(key), Value: []byte(t.rows[key])}, nil) {
				return
			}
		}
	}
}
