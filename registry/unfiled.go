package registry

import (
	"bytes"
	"encoding/binary"
	"iter"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

const (
	// A run that goes on keeps its points in the key-value store, where they come in, until they
	// are many or it is old: so the points of most runs come into one file.
	manyUnfiled = 64 << 10
	oldUnfiled  = 24 * time.Hour

	// A part of the points that are moved at once ends at whichever comes first. What is held of
	// it is its keys.
	mostUnfiledPoints = 1 << 20
	mostUnfiledKeys   = 32 << 20 // bytes
)

// LoggedPoints is how many points were logged since the registry was opened.
func (r *Registry) LoggedPoints() int64 { return r.logged.Load() }

// UnfiledPoints moves points from the key-value store into files, part by part, each like this:
//
//	Next ─► Rows are written to files ─► Mark ─► the files are committed ─► Remove
//
// It may end anywhere: a point that is in the store and in files is one point, and the next who
// moves points leaves out what files have. One at a time moves points, and nobody takes runs that
// were removed for good out of files meanwhile.
type UnfiledPoints struct {
	r    *Registry
	all  bool
	from []byte // the first key that may be in the next part; nil if there is none

	// of the present part
	keys   []byte // one after the other
	ends   []int  // of each
	runs   []driftline.RunID
	points int

	// Damage is why it is not known which points a damaged file has, if so: they may then be in
	// another one too.
	Damage error
}

// UnfiledPoints returns the points of runs that have ended, have very many, or are old; with all
// those of every run.
func (r *Registry) UnfiledPoints(all bool) *UnfiledPoints {
	return &UnfiledPoints{r: r, all: all, from: []byte{kv.MetricPoints, everyPoint}}
}

// Next goes to the next part, and is false once no points are left, or none that could be in one.
func (u *UnfiledPoints) Next() bool {
	u.keys, u.ends, u.runs, u.points = u.keys[:0], u.ends[:0], u.runs[:0], 0
	if u.from == nil {
		return false
	}
	for range u.r.db.ScanFrom(u.from, []byte{kv.MetricPoints, everyPoint}) {
		return true // or Rows says what is wrong
	}
	return false
}

// Points is how many points of the store the part has.
func (u *UnfiledPoints) Points() int { return u.points }

// Rows yields the points of the part that are in no file, sorted by run, metric, step, time and
// value, a few thousand at once. It is to be ranged over once, to its end.
func (u *UnfiledPoints) Rows() iter.Seq2[PointRows, error] {
	return func(yield func(PointRows, error) bool) {
		w := unfiledRows{r: u.r, yield: yield}
		defer w.filed.close()
		more := u.read(&w) && w.rest()
		if u.Damage = w.damage; !more && w.err != nil {
			yield(PointRows{}, w.err)
		}
	}
}

// read gives the entries of the part to w, and settles where the next one begins.
func (u *UnfiledPoints) read(w *unfiledRows) bool {
	for {
		var of metricOf
		var run, group []byte // the beginnings of the keys of the run, and of its metric
		var skip bool
		for pair, err := range u.r.db.ScanFrom(u.from, []byte{kv.MetricPoints, everyPoint}) {
			if err == nil && (group == nil || !bytes.HasPrefix(pair.Key, group)) {
				of, group, err = takeMetricPrefix(pair.Key)
			}
			if err == nil && (run == nil || !bytes.HasPrefix(pair.Key, run)) {
				run = pointsPrefix(everyPoint, of.run)
				skip, err = u.skips(of.run, run)
			}
			if err != nil {
				return w.fail(err)
			}
			if skip {
				break
			}
			if u.full() {
				u.from = bytes.Clone(pair.Key)
				return true
			}
			u.add(of.run, pair)
			if !w.entry(of, pair.Key[len(group):], pair.Value) {
				return false
			}
		}
		if !skip {
			u.from = nil
			return true
		}
		u.from = kv.After(run)
	}
}

func (u *UnfiledPoints) full() bool {
	return u.points >= mostUnfiledPoints || len(u.keys) >= mostUnfiledKeys
}

func (u *UnfiledPoints) add(run driftline.RunID, pair kv.Pair) {
	u.keys = append(u.keys, pair.Key...)
	u.ends = append(u.ends, len(u.keys))
	if n := len(u.runs); n == 0 || u.runs[n-1] != run {
		u.runs = append(u.runs, run)
	}
	u.points += pointsIn(pair.Value)
}

// pointsIn is how many points an entry has, by its value.
func pointsIn(value []byte) int {
	if len(value) == 0 {
		return 1
	}
	n, _ := binary.Uvarint(value)
	return int(min(n, mostInBlock))
}

// skips reports whether the points of a run stay where they are.
func (u *UnfiledPoints) skips(id driftline.RunID, prefix []byte) (bool, error) {
	var there, due bool
	u.r.read(func(s *state) {
		number, ok := s.runs.find(id)
		if there = ok; !there {
			return // its line is not durable yet, or it was removed for good
		}
		run := s.runs.at(number)
		due = u.all || run.status().Ended() || run.deleted || u.r.now().Sub(run.startedAt()) > oldUnfiled
	})
	if !there || due {
		return !there, nil
	}
	points := 0
	for pair, err := range u.r.db.ScanPrefix(prefix) {
		if err != nil {
			return false, err
		}
		if points += pointsIn(pair.Value); points >= manyUnfiled {
			return false, nil
		}
	}
	return true, nil
}

// Mark notes of the part's runs that they have points in files. When it returns, the points
// are durable: files must not have what a crash takes back.
func (u *UnfiledPoints) Mark() error {
	batch := u.r.db.NewBatch()
	for _, run := range u.runs {
		batch.Set(pointsPrefix(filedRun, run), nil)
	}
	return u.r.writeWith(batch, func(*Tx) error { return nil })
}

// Remove takes out of the key-value store what the part had when it was read.
func (u *UnfiledPoints) Remove() error {
	batch := u.r.db.NewBatch()
	defer batch.Close()
	begin := 0
	for _, end := range u.ends {
		batch.Delete(u.keys[begin:end])
		begin = end
	}
	return batch.Commit()
}

// unfiledRows makes rows of entries of the key-value store, without the points that files have.
type unfiledRows struct {
	r     *Registry
	yield func(PointRows, error) bool

	of     metricOf
	out    merger // of its points; its yield is nil until there are any
	filed  filedPlaces
	rows   PointRows // that are gathered
	err    error
	damage error
}

// entry takes the next entry, by the end of its key and its value, and reports whether more are wanted.
func (w *unfiledRows) entry(of metricOf, end, value []byte) bool {
	if (w.out.yield == nil || of != w.of) && !w.turn(of) {
		return false
	}
	begin, err := takePlace(of.metric, end)
	if err != nil {
		return w.fail(err)
	}
	more, err := w.out.entry(of.metric, begin, value)
	if err != nil {
		return w.fail(err)
	}
	return more
}

func (w *unfiledRows) fail(err error) bool {
	w.err = err
	return false
}

// turn goes on to another metric.
func (w *unfiledRows) turn(of metricOf) bool {
	if !w.rest() {
		return false
	}
	w.of, w.out, w.rows = of, merger{yield: w.take}, PointRows{Run: of.run, Metric: of.metric}
	may, err := w.r.isFiled(of.run)
	if err != nil {
		return w.fail(err)
	}
	if may {
		w.filed.open(w.r, of)
	}
	return true
}

// rest hands out all that was taken of the metric.
func (w *unfiledRows) rest() bool {
	defer w.filed.close()
	return w.out.rest() && w.hand()
}

func (w *unfiledRows) take(p place, _ error) bool {
	has, err := w.filed.has(p)
	if driftline.CodeOf(err) == driftline.DataLoss {
		w.damage, has, err = err, false, nil // a point that is there twice is one point
	}
	if err != nil {
		return w.fail(err)
	}
	if has {
		return true
	}
	rows := &w.rows
	rows.Steps, rows.Times, rows.Values = append(rows.Steps, p.step), append(rows.Times, p.time), append(rows.Values, float64(p.number()))
	return len(rows.Steps) < mostInBlock || w.hand()
}

func (w *unfiledRows) hand() bool {
	rows := w.rows
	w.rows = PointRows{rows.Run, rows.Metric, rows.Steps[:0], rows.Times[:0], rows.Values[:0]}
	return len(rows.Steps) == 0 || w.yield(rows, nil)
}

// filedPlaces are the points that files have of a metric, gone through in order.
type filedPlaces struct {
	next  func() (place, error, bool) // nil once there are no more
	stop  func()
	begun bool
	at    place // where they are gone through
}

func (f *filedPlaces) open(r *Registry, of metricOf) {
	f.next, f.stop = iter.Pull2(func(yield func(place, error) bool) {
		err := r.eachPlace(nil, of, func(metricOf) func(place, error) bool { return yield })
		if err != nil {
			yield(place{}, err)
		}
	})
}

// has reports whether files have a point, which comes after all that it was asked about before.
func (f *filedPlaces) has(p place) (bool, error) {
	for f.next != nil && (!f.begun || f.at.compare(p) < 0) {
		at, err, ok := f.next()
		if err != nil || !ok {
			f.close()
			return false, err
		}
		f.begun, f.at = true, at
	}
	return f.next != nil && f.at == p, nil
}

func (f *filedPlaces) close() {
	if f.stop != nil {
		f.stop()
	}
	*f = filedPlaces{}
}
