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
	next, stop := iter.Pull2(r.histories(f))
	defer stop()
	of, err, more := next()
	wanting := func(until *metricOf) error {
		for ; more && err == nil && (until == nil || of.metricOf.compare(*until) < 0); of, err, more = next() {
			f.wrongLast(of)
		}
		return err
	}
	for pair, scanErr := range r.db.ScanPrefix([]byte{kv.MetricPoints, lastPoint}) {
		if scanErr != nil {
			return scanErr
		}
		last, _, takeErr := takeMetricPrefix(pair.Key)
		if takeErr != nil {
			return takeErr
		}
		if err := wanting(&last); err != nil {
			return err
		}
		if !more || of.metricOf != last {
			f.lastOfNobody(last, pair.Key)
			continue
		}
		if !bytes.Equal(pair.Value, of.greatest.append(nil)) {
			f.wrongLast(of)
		}
		of, err, more = next()
	}
	if err := wanting(nil); err != nil {
		return err
	}
	return r.checkFiled(f)
}

// history is a metric with the point that its history ends with.
type history struct {
	metricOf
	greatest place
}

// histories yields every metric of every run, sorted, and counts their points.
func (r *Registry) histories(f *fsck) iter.Seq2[history, error] {
	return func(yield func(history, error) bool) {
		var of history
		for p, err := range r.EachPoint() {
			if err != nil {
				yield(of, err)
				return
			}
			next := metricOf{p.Run, p.Key}
			if f.report.Points > 0 && next != of.metricOf && !yield(of, nil) {
				return
			}
			f.report.Points++
			of = history{next, pointPlace(&p.Metric, p.Time)} // they are in order
		}
		if f.report.Points > 0 {
			yield(of, nil)
		}
	}
}

func (f *fsck) wrongLast(of history) {
	f.problem("metric %q of run %q: its last point is not the one that its history ends with", clip(of.metric), of.run)
	if f.repair != nil {
		f.repair.Set(metricPrefix(lastPoint, of.run, of.metric), of.greatest.append(nil))
	}
}

// lastOfNobody is a greatest point without a history, or of no run.
func (f *fsck) lastOfNobody(of metricOf, key []byte) {
	f.problem("run %q: a metric has a last point and no history, or the run does not exist", clip(of.run))
	if f.repair != nil {
		f.repair.Delete(key)
		f.repair.DeletePrefix(metricPrefix(everyPoint, of.run, of.metric))
	}
}

// checkFiled compares what is noted of runs with the points that are in files.
func (r *Registry) checkFiled(f *fsck) error {
	if r.filed == nil {
		return nil
	}
	sequences, release := r.filed("", "")
	defer release()
	seen := map[driftline.RunID]bool{}
	for _, rows := range sequences {
		for part, err := range rows {
			if err == nil && !seen[part.Run] {
				seen[part.Run] = true
				err = r.checkFiledRun(f, part.Run)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Registry) checkFiledRun(f *fsck, id driftline.RunID) error {
	mark, problem := byte(filedRun), "run %q: it is not noted that some of its points are in files"
	if !r.exists(id) {
		mark, problem = unwantedRun, "run %q: its points are in files, and it does not exist"
	}
	key := pointsPrefix(mark, id)
	noted, err := r.db.Get(key)
	if noted != nil || err != nil {
		return err
	}
	f.problem(problem, clip(id))
	if f.repair != nil {
		f.repair.Set(key, nil)
	}
	return nil
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
