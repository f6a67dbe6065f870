package gateway

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what GET /metrics shows of the gateway. Models and versions are those of the
// registry, so their number is bounded.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	mirrors  *prometheus.CounterVec
	unlogged prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "driftline_gateway_requests_total", Help: "Requests that were dealt, by model, version that was to answer, arm and fault; fault fell_back_ and the fault if the champion answered in its place.",
		}, []string{"model", "version", "arm", "fault"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "driftline_gateway_model_seconds", Help: "Time from the request to the model's answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}, []string{"model", "version"}),
		mirrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "driftline_gateway_mirrored_total", Help: "Requests that were to be mirrored, by model and what became of them: answered, a fault, or dropped.",
		}, []string{"model", "outcome"}),
		unlogged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "driftline_gateway_unlogged_total", Help: "Predictions that the prediction log refused.",
		}),
	}
}

// Collectors are the gateway's metrics.
func (g *Gateway) Collectors() []prometheus.Collector {
	return []prometheus.Collector{g.metrics.requests, g.metrics.latency, g.metrics.mirrors, g.metrics.unlogged}
}

func (m *metrics) count(e *entry) {
	fault := string(e.fault)
	if e.fellBack {
		fault = "fell_back_" + fault
	}
	model, version := string(e.call.model), strconv.Itoa(e.decision.Version)
	m.requests.WithLabelValues(model, version, string(e.decision.Arm), fault).Inc()
	m.latency.WithLabelValues(model, version).Observe(e.took.Seconds())
}

func (m *metrics) dropped(e *entry) { m.mirrors.WithLabelValues(string(e.call.model), "dropped").Inc() }

func (m *metrics) mirrored(e *entry, o *outcome) {
	outcome := string(o.fault)
	if outcome == "" {
		outcome = "answered"
	}
	m.mirrors.WithLabelValues(string(e.call.model), outcome).Inc()
}
