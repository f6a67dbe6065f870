package registry

import (
	"iter"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The two tables under the prefix of metric points (drawn in doc.go).
const (
	everyPoint = 'p'
	lastPoint  = 'l'
)

func pointsPrefix(table byte, run driftline.RunID) []byte {
	return kv.AppendString([]byte{kv.MetricPoints, table}, string(run))
}

func metricPrefix(table byte, run driftline.RunID, metric string) []byte {
	return kv.AppendString(pointsPrefix(table, run), metric)
}

// appendPlace adds step ∥ time ∥ value, 24 bytes whose order is that of the points.
func appendPlace(key []byte, m driftline.Metric) []byte {
	key = kv.AppendInt64(key, m.Step)
	key = kv.AppendInt64(key, m.Time.UnixMicro())
	return kv.AppendFloat64(key, float64(m.Value))
}

// takePlace reads the rest of a point's key.
func takePlace(metric string, place []byte) (driftline.Metric, error) {
	step, rest, err := kv.TakeInt64(place)
	if err != nil {
		return driftline.Metric{}, err
	}
	micros, rest, err := kv.TakeInt64(rest)
	if err != nil {
		return driftline.Metric{}, err
	}
	value, rest, err := kv.TakeFloat64(rest)
	if err == nil && len(rest) > 0 {
		err = driftline.Errorf(driftline.DataLoss, "a stored point of metric %q is too long", metric)
	}
	return driftline.Metric{Key: metric, Value: driftline.Number(value), Step: step, Time: time.UnixMicro(micros).UTC()}, err
}

// stagePoints fills a batch with the points of metrics, before its transaction
// begins, and returns the greatest of each metric.
func (r *Registry) stagePoints(run driftline.RunID, metrics []driftline.Metric) (lastMetrics, *kv.Batch) {
	batch, now, last := r.db.NewBatch(), r.now(), lastMetrics{}
	for _, m := range metrics {
		if m.Time.IsZero() {
			m.Time = now
		}
		place := appendPlace(nil, m)
		batch.Set(append(metricPrefix(everyPoint, run, m.Key), place...), nil)
		last.observe(run, m.Key, string(place))
	}
	for metric, place := range last[run] {
		batch.Max(metricPrefix(lastPoint, run, metric), []byte(place))
	}
	return last, batch
}

// Metrics yields the history of one metric of a run, by step, then time, then value.
func (r *Registry) Metrics(id driftline.RunID, metric string) iter.Seq2[driftline.Metric, error] {
	return func(yield func(driftline.Metric, error) bool) {
		if err := r.checkMetric(id, metric); err != nil {
			yield(driftline.Metric{}, err)
			return
		}
		prefix := metricPrefix(everyPoint, id, metric)
		for pair, err := range r.db.ScanPrefix(prefix) {
			var m driftline.Metric
			if err == nil {
				m, err = takePlace(metric, pair.Key[len(prefix):])
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func (r *Registry) checkMetric(id driftline.RunID, metric string) error {
	r.published.RLock()
	defer r.published.RUnlock()
	if _, err := r.durable.run(id); err != nil {
		return err
	}
	if _, ok := r.metrics[id][metric]; ok {
		return nil
	}
	var known []string
	for key := range r.metrics[id] {
		known = append(known, key)
	}
	return named("run", id, unknown("metric", metric, known, "log a point of it first").WithRef(driftline.RunRef(id)))
}

// lastMetrics holds the greatest place of every metric of every run. It is no
// fold of the ledger, but of the points: the order in which they come is no matter.
type lastMetrics map[driftline.RunID]map[string]string

func (l lastMetrics) observe(run driftline.RunID, metric, place string) {
	metrics := l[run]
	if metrics == nil {
		metrics = map[string]string{}
		l[run] = metrics
	}
	metrics[metric] = max(metrics[metric], place)
}

func (l lastMetrics) merge(other lastMetrics) {
	for run, metrics := range other {
		for metric, place := range metrics {
			l.observe(run, metric, place)
		}
	}
}

// load reads the table of greatest points.
func (l lastMetrics) load(db *kv.DB) error {
	prefix := []byte{kv.MetricPoints, lastPoint}
	for pair, err := range db.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		run, rest, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return err
		}
		metric, _, err := kv.TakeString(rest)
		if err != nil {
			return err
		}
		if _, err := takePlace(metric, pair.Value); err != nil {
			return err
		}
		l.observe(driftline.RunID(run), metric, string(pair.Value))
	}
	return nil
}

// of returns the last values of a run's metrics, or nil if it has none.
func (l lastMetrics) of(run driftline.RunID) map[string]driftline.Number {
	if len(l[run]) == 0 {
		return nil
	}
	values := make(map[string]driftline.Number, len(l[run]))
	for metric, place := range l[run] {
		m, _ := takePlace(metric, []byte(place)) // every place was made by appendPlace or checked by load
		values[metric] = m.Value
	}
	return values
}
