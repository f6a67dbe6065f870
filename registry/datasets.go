package registry

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// featureTables is how the names of views' tables begin.
const featureTables = "features."

// Snapshot is one committed state of a table: what the ledger keeps of it.
type Snapshot struct {
	Table   string               `json:"table"` // "features.weather"
	ID      driftline.SnapshotID `json:"id"`
	Parent  driftline.SnapshotID `json:"parent,omitempty"` // 0 if Files are all that it has
	Cause   string               `json:"cause,omitempty"`  // "flush", "compaction"; old lines do not say
	Rows    int64                `json:"rows"`
	Files   []File               `json:"files,omitempty"`
	Created time.Time            `json:"created"` // of the line; filled in
}

// File is a data file of a snapshot.
type File struct {
	Hash  string `json:"hash"` // of its content
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
}

// Ref returns snapshot/table@id.
func (s *Snapshot) Ref() driftline.Ref { return driftline.SnapshotRef(s.Table, s.ID) }

// Ingests sums what was written to a view.
type Ingests struct {
	Writes int64     `json:"writes"`
	Rows   int64     `json:"rows"`
	Last   time.Time `json:"last,omitzero"` // when the last write was acknowledged

	OnlineOnly int64 `json:"online_only,omitempty"` // rows, of Rows, that are in no file
}

// AddIngest records that rows were written to a view. inputs are what the rows
// came from, if that is known.
func (tx *Tx) AddIngest(result driftline.IngestResult, inputs ...driftline.Ref) error {
	if _, err := tx.r.head.view(result.View); err != nil {
		return err
	}
	_, err := tx.add(RowsIngested, driftline.ViewRef(result.View), inputs, result)
	return err
}

// AddIngests records several writes to one view, which came at the same time, in one
// line: sum has the rows of all and the sequence of the first.
func (tx *Tx) AddIngests(sum driftline.IngestResult, writes int) error {
	if _, err := tx.r.head.view(sum.View); err != nil {
		return err
	}
	_, err := tx.add(RowsIngested, driftline.ViewRef(sum.View), nil, ingested{IngestResult: sum, Writes: int64(writes)})
	return err
}

// ingested is the body of a line that reports writes.
type ingested struct {
	driftline.IngestResult
	Writes int64 `json:"writes,omitempty"` // 0 in lines of one write
}

func foldIngest(s *state, line *Line) ([]effect, error) {
	result, err := body[ingested](line)
	if err != nil {
		return nil, err
	}
	sum := s.ingests[result.View]
	sum.Writes, sum.Rows, sum.Last = sum.Writes+max(1, result.Writes), sum.Rows+result.Rows, line.Time
	if result.To == driftline.OnlineOnly {
		sum.OnlineOnly += result.Rows
	}
	table := func(s *state) map[driftline.ViewName]Ingests { return s.ingests }
	return []effect{put(table, result.View, sum)}, nil
}

// Ingests returns what was written to a view so far; nothing for one that does not exist.
func (r *Registry) Ingests(view driftline.ViewName) Ingests {
	var sum Ingests
	r.read(func(s *state) { sum = s.ingests[view] })
	return sum
}

// WrittenBy returns the write sequence of the last row that a small write had brought by a
// time, to whatever view; 0 if there was none. Small writes get their sequences in the
// order of their lines, so the rows of small writes by then are those of at most that
// sequence.
func (r *Registry) WrittenBy(at time.Time) (uint64, error) {
	const lookBack = 64 // lines; doubled until one of a small write is among them
	end, err := r.firstAfter(at)
	if err != nil {
		return 0, err
	}
	for n := uint64(lookBack); end > 1; n *= 2 {
		begin := uint64(1)
		if end > n {
			begin = end - n
		}
		through, err := r.lastSmallWrite(begin, end)
		if through > 0 || err != nil {
			return through, err
		}
		end = begin
	}
	return 0, nil
}

// firstAfter returns the number of the first line after a time, or that of the next line
// to come. Times of lines never go backwards.
func (r *Registry) firstAfter(at time.Time) (uint64, error) {
	low, high := uint64(1), r.Newest().Sequence+1
	for low < high {
		middle := low + (high-low)/2
		for line, err := range r.Lines(middle) {
			if err != nil {
				return 0, err
			}
			if line.Time.After(at) {
				high = middle
			} else {
				low = middle + 1
			}
			break
		}
	}
	return low, nil
}

// lastSmallWrite returns the sequence of the last row of the last small write that the
// lines from begin up to end, exclusive, report; 0 if they report none.
func (r *Registry) lastSmallWrite(begin, end uint64) (through uint64, err error) {
	for line, err := range r.Lines(begin) {
		if err != nil {
			return 0, err
		}
		if line.Sequence >= end {
			break
		}
		if line.Kind != RowsIngested {
			continue
		}
		written, err := body[ingested](&line)
		if err != nil {
			return 0, err
		}
		if written.Snapshot == 0 && written.Rows > 0 {
			through = written.Sequence + uint64(written.Rows) - 1
		}
	}
	return through, nil
}

// Materialized is what a materialization did to one view.
type Materialized struct {
	View     driftline.ViewName   `json:"view"`
	Job      string               `json:"job"`
	Start    time.Time            `json:"start_ts,omitzero"` // of event times, inclusive; zero: from the first
	End      time.Time            `json:"end_ts"`            // inclusive
	Rows     int64                `json:"rows"`              // brought online
	Snapshot driftline.SnapshotID `json:"snapshot,omitempty"`
}

// AddMaterialization records that rows of a view which were offline only went online.
func (tx *Tx) AddMaterialization(m Materialized) error {
	_, err := tx.add(ViewMaterialized, driftline.ViewRef(m.View), nil, m)
	return err
}

// AddSnapshot records a committed snapshot, its files and, for the table of a
// view, the view. Recording it again changes nothing: a caller that does not know
// whether it did may repeat it.
func (tx *Tx) AddSnapshot(snapshot Snapshot, inputs ...driftline.Ref) error {
	ref := snapshot.Ref()
	if _, known := tx.r.head.snapshots[ref]; known {
		return nil
	}
	made := slices.Clone(inputs)
	if view, ok := strings.CutPrefix(snapshot.Table, featureTables); ok {
		made = append(made, driftline.ViewRef(driftline.ViewName(view)))
	}
	if snapshot.Parent != 0 {
		made = append(made, driftline.SnapshotRef(snapshot.Table, snapshot.Parent))
	}
	for _, file := range snapshot.Files {
		made = append(made, driftline.FileRef(snapshot.Table, file.Hash))
	}
	_, err := tx.add(SnapshotCommitted, ref, distinct(made), snapshot)
	return err
}

func foldSnapshot(_ *state, line *Line) ([]effect, error) {
	snapshot, err := body[Snapshot](line)
	if err != nil {
		return nil, err
	}
	snapshot.Created = line.Time
	effects := []effect{
		put(func(s *state) map[driftline.Ref]*Snapshot { return s.snapshots }, line.Ref, snapshot),
		put(func(s *state) map[string]driftline.SnapshotID { return s.newest }, snapshot.Table, snapshot.ID),
	}
	files := func(s *state) map[driftline.Ref]File { return s.files }
	for _, file := range snapshot.Files {
		effects = append(effects, put(files, driftline.FileRef(snapshot.Table, file.Hash), file))
	}
	return effects, nil
}

// Snapshots returns the recorded snapshots of a table, or all for "", oldest first.
func (r *Registry) Snapshots(table string) []Snapshot {
	found := []Snapshot{}
	r.read(func(s *state) {
		for _, snapshot := range s.snapshots {
			if table == "" || snapshot.Table == table {
				found = append(found, *cloneSnapshot(snapshot))
			}
		}
	})
	slices.SortFunc(found, func(a, b Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Table, b.Table), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// AddDataset records the next version of a dataset, numbers it and returns it.
// Its inputs are its own snapshot, the snapshots and service that it was made
// from, and those given (its spine). A version that is set must be the next one.
func (tx *Tx) AddDataset(dataset driftline.Dataset, inputs ...driftline.Ref) (*driftline.Dataset, error) {
	if err := driftline.CheckIdentifier("dataset", dataset.Name); err != nil {
		return nil, err
	}
	next := len(tx.r.head.datasets[dataset.Name]) + 1
	if dataset.Version != 0 && dataset.Version != next {
		return nil, driftline.Errorf(driftline.Conflict, "dataset %q: the next version is %d, not %d", dataset.Name, next, dataset.Version).
			WithRef(dataset.Ref()).WithHint("leave the version out")
	}
	resolved, err := tx.r.head.resolveAll(inputs)
	if err != nil {
		return nil, err
	}
	dataset.Version, dataset.Created = next, tx.time
	dataset.Report.Dataset = nil // the report of a saved set points back at it
	made := append(datasetInputs(&dataset), resolved...)
	line, err := tx.keepStatistics(dataset)
	if err != nil {
		return nil, err
	}
	if _, err := tx.add(DatasetSaved, dataset.Ref(), distinct(made), line); err != nil {
		return nil, err
	}
	return cloneDataset(&dataset), nil
}

func datasetInputs(dataset *driftline.Dataset) []driftline.Ref {
	var made []driftline.Ref
	if dataset.Snapshot != 0 {
		made = append(made, driftline.SnapshotRef(dataset.Table(), dataset.Snapshot))
	}
	for _, pin := range dataset.Report.Pins {
		if pin.Snapshot == 0 { // the view had no files yet
			made = append(made, driftline.ViewRef(pin.View))
			continue
		}
		made = append(made, driftline.SnapshotRef(featureTables+string(pin.View), pin.Snapshot))
	}
	if dataset.Request.Service != "" {
		made = append(made, driftline.ServiceRef(dataset.Request.Service))
	}
	return made
}

// AddDataset is [Tx.AddDataset] in a transaction of its own.
func (r *Registry) AddDataset(dataset driftline.Dataset, inputs ...driftline.Ref) (*driftline.Dataset, error) {
	var added *driftline.Dataset
	err := r.write(func(tx *Tx) (err error) {
		added, err = tx.AddDataset(dataset, inputs...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

func foldDataset(s *state, line *Line) ([]effect, error) {
	dataset, err := body[driftline.Dataset](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.DatasetName][]*driftline.Dataset { return s.datasets }
	return []effect{put(table, dataset.Name, append(s.datasets[dataset.Name], dataset))}, nil
}

// Dataset returns one version of a dataset; version 0 is the newest.
func (r *Registry) Dataset(name driftline.DatasetName, version int) (*driftline.Dataset, error) {
	var found *driftline.Dataset
	var err error
	r.read(func(s *state) { found, err = s.dataset(name, version) })
	if err != nil {
		return nil, err
	}
	out := cloneDataset(found)
	return out, r.withStatistics(out)
}

// Datasets returns every version of every dataset, by name and version, without its
// column statistics.
func (r *Registry) Datasets() []driftline.Dataset {
	found := []driftline.Dataset{}
	r.read(func(s *state) {
		for _, name := range slices.Sorted(maps.Keys(s.datasets)) {
			for _, dataset := range s.datasets[name] {
				found = append(found, *cloneDataset(dataset))
			}
		}
	})
	return found
}

func (s *state) dataset(name driftline.DatasetName, version int) (*driftline.Dataset, error) {
	versions, ok := s.datasets[name]
	if !ok {
		return nil, unknown("dataset", name, slices.Collect(maps.Keys(s.datasets)), "save a training set first").
			WithRef(driftline.DatasetRef(clip(name), 0))
	}
	if version == 0 {
		version = len(versions)
	}
	if version < 1 || version > len(versions) {
		return nil, noVersion("dataset", string(name), strconv.Itoa(version), len(versions)).WithRef(driftline.DatasetRef(name, version))
	}
	return versions[version-1], nil
}

func noVersion(kind, name, version string, newest int) *driftline.Error {
	return driftline.Errorf(driftline.NotFound, "%s %q has no version %s", kind, clip(name), clip(version)).
		WithHint("its versions are 1 to %d", newest)
}

// distinct returns refs without repetitions, in order.
func distinct(refs []driftline.Ref) []driftline.Ref {
	seen := map[driftline.Ref]bool{}
	return slices.DeleteFunc(refs, func(ref driftline.Ref) bool {
		again := seen[ref]
		seen[ref] = true
		return again
	})
}
