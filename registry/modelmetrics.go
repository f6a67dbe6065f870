package registry

import (
	"cmp"
	"slices"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// modelPoint is the table of the points that are about logged models.
const modelPoint = 'o'

// ModelMetric is a point that a run measured of a logged model, on a dataset where the
// client said so.
type ModelMetric struct {
	driftline.Metric
	Run driftline.RunID
}

func (m *ModelMetric) key() []byte {
	key := kv.AppendString([]byte{kv.MetricPoints, modelPoint}, m.Model)
	key = kv.AppendString(key, m.Key)
	key = kv.AppendString(key, string(m.Run))
	key = kv.AppendString(key, m.Dataset)
	key = kv.AppendString(key, m.Digest)
	return pointPlace(&m.Metric, m.Time).append(key)
}

func takeModelMetric(key []byte) (m ModelMetric, err error) {
	rest := key[2:]
	for _, text := range []*string{&m.Model, &m.Key, (*string)(&m.Run), &m.Dataset, &m.Digest} {
		if *text, rest, err = kv.TakeString(rest); err != nil {
			return m, err
		}
	}
	at, err := takePlace(m.Key, rest)
	point := at.metric(m.Key)
	m.Value, m.Step, m.Time = point.Value, point.Step, point.Time
	return m, err
}

// stageModelMetrics writes the points that are about logged models beside the run's own.
func (r *Registry) stageModelMetrics(batch *kv.Batch, run driftline.RunID, metrics []driftline.Metric) []ModelMetric {
	var staged []ModelMetric
	now := r.now().UTC().Truncate(time.Microsecond)
	for _, m := range metrics {
		if m.Model == "" {
			continue
		}
		if m.Time.IsZero() {
			m.Time = now
		}
		point := ModelMetric{Metric: m, Run: run}
		batch.Set(point.key(), nil)
		staged = append(staged, point)
	}
	return staged
}

// showModelMetric makes a point visible. The caller holds published.
func (r *Registry) showModelMetric(m ModelMetric) {
	have := r.modelMetrics[m.Model]
	at, found := slices.BinarySearchFunc(have, m, compareModelMetrics)
	if found {
		return
	}
	next := make([]ModelMetric, 0, len(have)+1) // readers keep the old one
	next = append(append(append(next, have[:at]...), m), have[at:]...)
	r.modelMetrics[m.Model] = next
}

func compareModelMetrics(a, b ModelMetric) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Dataset, b.Dataset), cmp.Compare(a.Digest, b.Digest),
		pointPlace(&a.Metric, a.Time).compare(pointPlace(&b.Metric, b.Time)))
}

func (r *Registry) loadModelMetrics() error {
	for pair, err := range r.db.ScanPrefix([]byte{kv.MetricPoints, modelPoint}) {
		if err != nil {
			return err
		}
		m, err := takeModelMetric(pair.Key)
		if err != nil {
			return err
		}
		r.showModelMetric(m)
	}
	return nil
}

// ModelMetrics returns the points that runs measured of a logged model, by metric, run,
// dataset and place. The caller must not change them.
func (r *Registry) ModelMetrics(model string) []ModelMetric {
	r.published.RLock()
	defer r.published.RUnlock()
	return r.modelMetrics[model]
}
