package mlflow

import (
	"fmt"
	"math"
	"testing"

	"github.com/driftline/driftline"
)

// readSlowly reads a batch as whatever the fast decoder does not know is read.
func readSlowly(text string) (driftline.RunID, []driftline.Metric, error) {
	q := &logBatchRequest{}
	if err := decodeBody([]byte(text), q); err != nil {
		return "", nil, err
	}
	if err := q.checkSizes(); err != nil {
		return "", nil, err
	}
	points := make([]driftline.Metric, len(q.Metrics))
	for i := range q.Metrics {
		var err error
		if points[i], err = q.Metrics[i].read(""); err != nil {
			return "", nil, err
		}
	}
	return q.id(), points, nil
}

func samePoints(a, b []driftline.Metric) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if math.Float64bits(float64(x.Value)) != math.Float64bits(float64(y.Value)) && !(math.IsNaN(float64(x.Value)) && math.IsNaN(float64(y.Value))) {
			return false
		}
		x.Value, y.Value = 0, 0
		if !x.Time.Equal(y.Time) || fmt.Sprint(x.Key, x.Step, x.Model) != fmt.Sprint(y.Key, y.Step, y.Model) {
			return false
		}
	}
	return true
}

// Batches as MLflow's client writes them are read fast.
func TestUsualBatchesAreReadFast(t *testing.T) {
	for _, text := range []string{
		`{"run_uuid": "a", "run_id": "a", "metrics": [{"key": "train/loss", "value": 0.5, "timestamp": 1600, "step": 1}, {"key": "acc", "value": 1, "timestamp": 1600, "step": 0}], "params": [], "tags": []}`,
		`{"run_id":"a","metrics":[{"key":"loss","value":"NaN","timestamp":1},{"key":"loss","value":-1.5e-300,"timestamp":2,"step":-3},{"key":"loss","value":"-Infinity","timestamp":3}]}`,
	} {
		id, points, ok := parsePoints(text)
		want, wantPoints, err := readSlowly(text)
		if !ok || err != nil || id != want || !samePoints(points, wantPoints) {
			t.Errorf("%s: %v %v %v, want %v %v %v", text, ok, id, points, want, wantPoints, err)
		}
	}
}

// readPointSlowly is readSlowly of a request of log-metric.
func readPointSlowly(text string) (driftline.RunID, []driftline.Metric, error) {
	q := &logMetricRequest{}
	if err := decodeBody([]byte(text), q); err != nil {
		return "", nil, err
	}
	point, err := q.read("")
	return q.id(), []driftline.Metric{point}, err
}

// A point by itself is read fast as clients write it; what is anything else is left to the general decoder.
func TestUsualPointsAreReadFast(t *testing.T) {
	for text, fast := range map[string]bool{
		`{"run_uuid": "a", "run_id": "a", "key": "train/loss", "value": 0.5, "timestamp": 1600, "step": 1}`: true,
		`{"run_id":"a","key":"loss","value":"NaN","timestamp":1}`:                                           true,
		`{"run_id":"a","key":"loss","value":1,"timestamp":1,"model_id":"m"}`:                                false,
		`{"run_id":"a","key":"loss","value":1,"value":2,"timestamp":1}`:                                     false,
		`{"run_id":"a","key":"loss","value":1}`:                                                             false,
		`{"run_uuid":"a","key":"loss","value":1,"timestamp":1}`:                                             false,
		`{"run_id":"a","key":"../loss","value":1,"timestamp":1}`:                                            false,
		`{"run_id":"a","key":"","value":1,"timestamp":1}`:                                                   false,
		`{"run_id":"a","key":"loss","value":1,"timestamp":1} x`:                                             false,
	} {
		id, points, ok := parsePoint(text)
		if ok != fast {
			t.Errorf("%s: read fast is %v", text, ok)
		}
		if want, wantPoints, err := readPointSlowly(text); ok && (err != nil || id != want || !samePoints(points, wantPoints)) {
			t.Errorf("%s: %v %v, want %v %v %v", text, id, points, want, wantPoints, err)
		}
	}
}

// What the fast decoder reads, the general one reads alike; all else it leaves alone.
func FuzzBatch(f *testing.F) {
	for _, text := range []string{
		`{"run_id":"a","metrics":[{"key":"loss","value":0.5,"timestamp":1,"step":2}],"params":[],"tags":[]}`,
		`{"run_id":"a","metrics":[{"key":"loss","value":"NaN","timestamp":"1"}]}`,
		`{"run_id":"a","metrics":[{"key":"a/../b","value":01,"timestamp":-1}]}`,
		`{"run_id":"a","metrics":[{"key":"a","value":1e999,"timestamp":1}],"run_id":"b"}`,
		"{\"run_id\":\"\u00e9\",\"metrics\":[{\"key\":\"a\",\"value\":.5,\"timestamp\":1.0,\"step\":null}]}",
	} {
		f.Add(text)
	}
	f.Add(`{"run_id":"a","key":"loss","value":-0,"timestamp":1,"step":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		id, points, ok := parsePoints(text)
		want, wantPoints, err := readSlowly(text)
		if !ok {
			if id, points, ok = parsePoint(text); !ok {
				return
			}
			want, wantPoints, err = readPointSlowly(text)
		}
		if err != nil || id != want || !samePoints(points, wantPoints) {
			t.Errorf("%q is read as %v %v, want %v %v %v", text, id, points, want, wantPoints, err)
		}
	})
}
