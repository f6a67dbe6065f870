package registry

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Points are a set, so they may be in the key-value store, in files, or in both: what is read is
// always both as one. They go from the store to files and never back, so whoever looks at the
// state of the store first and at the files then misses none.

// PointRows are points of one metric of a run that follow each other in a file, column by column.
// Whoever gets them keeps none of the slices.
type PointRows struct {
	Run    driftline.RunID
	Metric string
	Steps  []int64
	Times  []int64 // microseconds
	Values []float64
}

// PointFiles has the points that are in files: those of a metric of a run, or all for "" and "".
// The rows of each sequence are sorted by run, metric, step, time and value, of which -0 and +0
// may be in any order. The files stay until release is called.
type PointFiles func(run driftline.RunID, metric string) (sequences []iter.Seq2[PointRows, error], release func())

// The tables of runs under the prefix of metric points, which hold nothing but the run.
const (
	filedRun    = 'f' // some of its points are in files, or were going to be
	unwantedRun = 'x' // it was removed for good, and its points are still to be taken out of files
)

// metricOf is a metric of a run.
type metricOf struct {
	run    driftline.RunID
	metric string
}

func (m metricOf) compare(o metricOf) int {
	return cmp.Or(cmp.Compare(m.run, o.run), cmp.Compare(m.metric, o.metric))
}

// eachPlace yields the points that have a key with the prefix, or are of a metric in files (all of
// them for the zero one), by run, metric and place, each once: to what begin returns for the metric,
// nil for points that nobody wants. Without a prefix it yields those in files. It ends once no more
// are wanted.
func (r *Registry) eachPlace(prefix []byte, in metricOf, begin func(metricOf) func(place, error) bool) error {
	m := pointsMerge{begin: begin}
	defer m.close()
	var of metricOf
	var group []byte // the beginning of its keys
	for pair, err := range r.scanPoints(prefix) {
		if err == nil && group == nil {
			err = m.open(r, in)
		}
		if err == nil && (group == nil || !bytes.HasPrefix(pair.Key, group)) {
			of, group, err = takeMetricPrefix(pair.Key)
		}
		if err != nil {
			return err
		}
		if more, err := m.entry(of, pair.Key[len(group):], pair.Value); !more || err != nil {
			return err
		}
	}
	if group == nil {
		if err := m.open(r, in); err != nil {
			return err
		}
	}
	_, err := m.rest()
	return err
}

func (r *Registry) scanPoints(prefix []byte) iter.Seq2[kv.Pair, error] {
	if prefix == nil {
		return func(func(kv.Pair, error) bool) {}
	}
	return r.db.ScanPrefix(prefix)
}

// isFiled reports whether points of a run may be in files.
func (r *Registry) isFiled(id driftline.RunID) (bool, error) {
	if r.filed == nil {
		return false, nil
	}
	mark, err := r.db.Get(pointsPrefix(filedRun, id))
	return mark != nil, err
}

// pointsMerge puts entries of the key-value store and points of files in order.
type pointsMerge struct {
	begin   func(metricOf) func(place, error) bool
	files   []*filedSequence // those that have points left
	release func()           // of the files; nil if none were opened

	begun bool
	of    metricOf // that is read
	out   merger   // of its points
}

// open finds the files that have points of a metric, or all for the zero one.
func (m *pointsMerge) open(r *Registry, in metricOf) error {
	if r.filed == nil {
		return nil
	}
	if in != (metricOf{}) {
		if may, err := r.isFiled(in.run); !may || err != nil {
			return err
		}
	}
	sequences, release := r.filed(in.run, in.metric)
	m.release = release
	for _, rows := range sequences {
		s := &filedSequence{}
		s.next, s.stop = iter.Pull2(rows)
		m.files = append(m.files, s)
		if err := m.advance(s); err != nil {
			return err
		}
	}
	return nil
}

func (m *pointsMerge) close() {
	for _, s := range m.files {
		s.stop()
	}
	if m.release != nil {
		m.release()
	}
}

// advance goes to the next block of a sequence, which is left out once it is over.
func (m *pointsMerge) advance(s *filedSequence) error {
	if err := s.advance(); err != nil {
		return err
	}
	if len(s.block) == 0 {
		s.stop()
		m.files = slices.DeleteFunc(m.files, func(other *filedSequence) bool { return other == s })
	}
	return nil
}

// entry takes the next entry of the key-value store, by the end of its key and its value, after
// the points of files that come before it, and reports whether more are wanted.
func (m *pointsMerge) entry(of metricOf, end, value []byte) (more bool, err error) {
	begin, err := takePlace(of.metric, end)
	if err != nil {
		return false, err
	}
	for s := m.least(); s != nil && cmp.Or(s.of.compare(of), s.block[0].compare(begin)) <= 0; s = m.least() {
		if more, err := m.take(s); !more || err != nil {
			return more, err
		}
	}
	if !m.turn(of) {
		return false, nil
	}
	if m.out.yield == nil {
		return true, nil
	}
	return m.out.entry(of.metric, begin, value)
}

// rest takes what files have left, and hands out all that waits.
func (m *pointsMerge) rest() (more bool, err error) {
	for s := m.least(); s != nil; s = m.least() {
		if more, err := m.take(s); !more || err != nil {
			return more, err
		}
	}
	return m.out.rest(), nil
}

// least is the sequence whose next block begins first; nil if all are over.
func (m *pointsMerge) least() *filedSequence {
	var least *filedSequence
	for _, s := range m.files {
		if least == nil || cmp.Or(s.of.compare(least.of), s.block[0].compare(least.block[0])) < 0 {
			least = s
		}
	}
	return least
}

// take takes the next block of a sequence.
func (m *pointsMerge) take(s *filedSequence) (more bool, err error) {
	if !m.turn(s.of) {
		return false, nil
	}
	if m.out.yield != nil {
		if !m.out.before(s.block[0]) {
			return false, nil
		}
		m.out.add(s.block)
	}
	return true, m.advance(s)
}

// turn goes on to another metric, and reports whether more are wanted.
func (m *pointsMerge) turn(of metricOf) bool {
	if m.begun && m.of == of {
		return true
	}
	if !m.out.rest() {
		return false
	}
	m.begun, m.of, m.out = true, of, merger{yield: m.begin(of)}
	return true
}

// filedSequence reads the points of files that follow each other, a block at a time.
type filedSequence struct {
	next func() (PointRows, error, bool)
	stop func()
	left PointRows // not yet in a block

	of    metricOf
	block []place // of one metric, in order; empty at the end
}

// advance makes the next block.
func (s *filedSequence) advance() error {
	s.block = s.block[:0]
	for {
		if len(s.left.Steps) == 0 {
			rows, err, ok := s.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			s.left = rows
			continue
		}
		of := metricOf{s.left.Run, s.left.Metric}
		if len(s.block) > 0 && s.of != of {
			break
		}
		if s.of = of; !s.fill() {
			break
		}
	}
	if !slices.IsSortedFunc(s.block, place.compare) {
		slices.SortFunc(s.block, place.compare)
	}
	return nil
}

// fill moves rows that are left into the block, and is false once there is no room for the next.
// The two zeros of one step and time, which may be in any order, are in one block.
func (s *filedSequence) fill() bool {
	rows := &s.left
	for i := range rows.Steps {
		p := makePlace(rows.Steps[i], rows.Times[i], rows.Values[i])
		if n := len(s.block); n >= mostInBlock && !s.block[n-1].zeroBeside(p) {
			*rows = rows.from(i)
			return false
		}
		s.block = append(s.block, p)
	}
	*rows = rows.from(len(rows.Steps))
	return true
}

func (r *PointRows) from(i int) PointRows {
	return PointRows{r.Run, r.Metric, r.Steps[i:], r.Times[i:], r.Values[i:]}
}

// zeroBeside reports whether both points are zeros of one step and time.
func (p place) zeroBeside(o place) bool {
	return p.step == o.step && p.time == o.time && p.number() == 0 && o.number() == 0
}

// UnwantedRuns are the runs that were removed for good and whose points are still to be taken out
// of files.
func (r *Registry) UnwantedRuns() ([]driftline.RunID, error) {
	var runs []driftline.RunID
	root := []byte{kv.MetricPoints, unwantedRun}
	for pair, err := range r.db.ScanPrefix(root) {
		if err != nil {
			return nil, err
		}
		run, _, err := kv.TakeString(pair.Key[len(root):])
		if err != nil {
			return nil, err
		}
		runs = append(runs, driftline.RunID(run))
	}
	return runs, nil
}

// TakenOut notes that no file has points of runs that were removed for good any more.
func (r *Registry) TakenOut(runs []driftline.RunID) error {
	batch := r.db.NewBatch()
	defer batch.Close()
	for _, run := range runs {
		batch.Delete(pointsPrefix(unwantedRun, run))
		batch.Delete(pointsPrefix(filedRun, run))
	}
	return batch.Commit()
}
