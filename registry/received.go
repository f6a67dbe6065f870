package registry

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// ReceivedJob is what another system says of a run of a job, or of a job as such.
type ReceivedJob struct {
	Job      driftline.Ref
	State    string // of the run, in the words of OpenLineage; "" if nothing is said of one
	Run      string // its id
	At       time.Time
	Producer string
	Inputs   []driftline.Ref
	Outputs  []ReceivedTable
}

// ReceivedTable is what it says of data that the job wrote. Ref may be a view or a dataset of ours.
type ReceivedTable struct {
	Ref     driftline.Ref
	Version string
	Rows    *int64
	Columns map[string][]driftline.Ref // column → columns that it was made from
}

// received is the body of lineage.received.
type received struct {
	State    string                     `json:"state,omitempty"`
	Run      string                     `json:"run,omitempty"`
	At       time.Time                  `json:"at"`
	Producer string                     `json:"producer,omitempty"`
	Version  string                     `json:"version,omitempty"`
	Rows     *int64                     `json:"rows,omitempty"`
	Columns  map[string][]driftline.Ref `json:"columns,omitempty"`

	runs int // how many ends of runs were told of
}

// The states of a run of another system that are its beginning or its end: worth a line each.
var toldStates = map[string]bool{"START": true, "COMPLETE": true, "FAIL": true, "ABORT": true}

// Receive records what another system says, and reports whether it was new. The same again,
// and what a run says while it goes on and that adds nothing to lineage, is not recorded.
func (r *Registry) Receive(job ReceivedJob) (recorded bool, err error) {
	err = r.write(func(tx *Tx) error {
		if !tx.r.head.tellsNews(&job) && !tx.addsEdges(&job) {
			return nil
		}
		recorded = true
		body := received{State: job.State, Run: job.Run, At: job.At, Producer: job.Producer}
		if _, err := tx.add(LineageReceived, job.Job, distinct(job.Inputs), body); err != nil {
			return err
		}
		for _, out := range job.Outputs {
			body := received{State: job.State, Run: job.Run, At: job.At, Producer: job.Producer, Version: out.Version, Rows: out.Rows, Columns: out.Columns}
			if _, err := tx.add(LineageReceived, out.Ref, []driftline.Ref{job.Job}, body); err != nil {
				return err
			}
		}
		return nil
	})
	return recorded, err
}

// tellsNews reports whether a job's run begins or ends, and that is not known yet.
func (s *state) tellsNews(job *ReceivedJob) bool {
	known, ok := s.told[job.Job]
	if !ok {
		return true
	}
	return toldStates[job.State] && (known.Run != job.Run || known.State != job.State) && !known.At.After(job.At)
}

// addsEdges reports whether what is said has a table or an edge that lineage has not. The
// graph may be behind the transactions under way; then the worst is a line that adds nothing.
func (tx *Tx) addsEdges(job *ReceivedJob) bool {
	tx.r.published.RLock()
	defer tx.r.published.RUnlock()
	g := tx.r.graph
	for _, in := range job.Inputs {
		if !g.has(job.Job, in) {
			return true
		}
	}
	for _, out := range job.Outputs {
		if known := tx.r.head.told[out.Ref]; !g.has(out.Ref, job.Job) || out.Columns != nil && (known == nil || known.Columns == nil) {
			return true
		}
	}
	return false
}

// has reports whether there is an edge.
func (g *graph) has(from, to driftline.Ref) bool {
	a, okA := g.number[from]
	b, okB := g.number[to]
	return okA && okB && slices.Contains(g.up[a], b)
}

func foldReceived(s *state, line *Line) ([]effect, error) {
	told, err := body[received](line)
	if err != nil {
		return nil, err
	}
	if before, ok := s.told[line.Ref]; ok {
		told.runs = before.runs
		if told.Columns == nil {
			told.Columns = before.Columns
		}
		if told.Rows == nil {
			told.Rows = before.Rows
		}
		told.Version = cmp.Or(told.Version, before.Version)
	}
	if told.State == "COMPLETE" || told.State == "FAIL" || told.State == "ABORT" {
		told.runs++
	}
	table := func(s *state) map[driftline.Ref]*received { return s.told }
	effects := []effect{put(table, line.Ref, told)}
	for _, in := range line.Inputs {
		if _, known := s.told[in]; !known && (in.Kind == driftline.KindTable || in.Kind == driftline.KindJob) {
			effects = append(effects, put(table, in, &received{At: told.At, Producer: told.Producer}))
		}
	}
	return effects, nil
}

func (s *state) resolveTold(ref driftline.Ref) (driftline.Ref, error) {
	if _, ok := s.told[ref]; ok {
		return ref, nil
	}
	var known []string
	for other := range s.told {
		if other.Kind == ref.Kind {
			known = append(known, other.Name)
		}
	}
	slices.Sort(known)
	return driftline.Ref{}, unknown(string(ref.Kind), clip(ref.Name), known, "other systems tell of themselves by POST /api/v1/lineage").WithRef(ref)
}

func (s *state) toldFacts(ref driftline.Ref) map[string]string {
	told, ok := s.told[ref]
	if !ok {
		return nil
	}
	facts := map[string]string{"told": instant(told.At)}
	for key, value := range map[string]string{"status": told.State, "run": told.Run, "version": told.Version, "producer": clip(told.Producer)} {
		if value != "" {
			facts[key] = value
		}
	}
	if told.Rows != nil {
		facts["rows"] = strconv.FormatInt(*told.Rows, 10)
	}
	if told.runs > 0 {
		facts["runs"] = strconv.Itoa(told.runs)
	}
	return facts
}

// addTold adds what other systems say of columns.
func (c *columnEdges) addTold(s *state) {
	for _, table := range slices.SortedFunc(maps.Keys(s.told), func(a, b driftline.Ref) int { return cmp.Compare(a.String(), b.String()) }) {
		columns := s.told[table].Columns
		for _, name := range slices.Sorted(maps.Keys(columns)) {
			column := toldColumn(table, name)
			if table.Kind == driftline.KindTable {
				c.add(table, column, "has column")
			}
			for _, from := range columns[name] {
				c.add(column, from, "made from")
			}
		}
	}
}

// toldColumn is a column of a table of another system, or of ours.
func toldColumn(table driftline.Ref, name string) driftline.Ref {
	switch table.Kind {
	case driftline.KindView:
		return driftline.ColumnRef("features."+table.Name, name)
	case driftline.KindDataset:
		return driftline.ColumnRef(datasetTable(table), name)
	}
	return driftline.ColumnRef(table.Name, name)
}
