package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/driftline/driftline/engine"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what GET /metrics shows. Labels are routes, codes and view names,
// never what a caller typed, so their number is bounded.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	handler  http.Handler
}

func newMetrics(e *engine.Engine, f *freshness) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "driftline_http_requests_total", Help: "HTTP requests by route and status code.",
		}, []string{"route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "driftline_http_request_duration_seconds", Help: "Time from request to answer by route and status code.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}, []string{"route", "code"}),
	}
	m.registry.MustRegister(m.requests, m.duration, newViewCollector(e, f), newPredictionCollector(e), ingestCounter(e), damageGauge(e),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return m
}

// ingestCounter counts what came in through any door.
func ingestCounter(e *engine.Engine) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "driftline_ingested_rows_total", Help: "Rows acknowledged since the server started.",
	}, func() float64 { return float64(e.RowsIngested()) })
}

// damageGauge counts what is not served because it is damaged.
func damageGauge(e *engine.Engine) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "driftline_damaged", Help: "Feature views in quarantine, and data files found damaged or missing.",
	}, func() float64 {
		return float64(len(e.Quarantined()) + len(e.DamagedFiles(context.Background())))
	})
}

func (m *metrics) observe(route string, status int, took time.Duration) {
	code := strconv.Itoa(status)
	m.requests.WithLabelValues(route, code).Inc()
	m.duration.WithLabelValues(route, code).Observe(took.Seconds())
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) error {
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}

// viewCollector reads the state of every feature view when it is scraped, so
// that rows written over Flight count too.
type viewCollector struct {
	engine *engine.Engine
	fresh  *freshness
	rows   *prometheus.Desc
	bytes  *prometheus.Desc
	files  *prometheus.Desc
	newest *prometheus.Desc
	age    *prometheus.Desc
	differ *prometheus.Desc
}

func newViewCollector(e *engine.Engine, f *freshness) *viewCollector {
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("driftline_view_"+name, help, []string{"view"}, nil)
	}
	return &viewCollector{
		engine: e,
		fresh:  f,
		rows:   gauge("rows", "Rows of the feature view's history."),
		bytes:  gauge("bytes", "Size of the feature view's data files."),
		files:  gauge("files", "Number of the feature view's data files."),
		newest: gauge("newest_event_timestamp_seconds", "Greatest event time of the feature view, in seconds since 1970."),
		age:    gauge("freshness_seconds", "Time since the greatest event time of the feature view."),
		differ: gauge("check_differences", "Values that the online and the offline store did not agree on in the last check."),
	}
}

// Describe implements [prometheus.Collector].
func (c *viewCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.rows, c.bytes, c.files, c.newest, c.age, c.differ} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *viewCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, view := range c.engine.Registry().Views() {
		status, err := c.engine.ViewStatus(ctx, view.Name)
		if err != nil {
			out <- prometheus.NewInvalidMetric(c.rows, err)
			continue
		}
		send := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, string(view.Name))
		}
		send(c.rows, float64(status.Rows))
		send(c.bytes, float64(status.Bytes))
		send(c.files, float64(status.Files))
		if last, ok := c.engine.Registry().Checked(view.Name); ok {
			send(c.differ, float64(last.Differences))
		}
		if newest := c.fresh.flushed(ctx, &view, status); !newest.IsZero() {
			send(c.newest, float64(newest.UnixMicro())/1e6)
			send(c.age, c.engine.Now().Sub(newest).Seconds())
		}
	}
	for _, view := range c.engine.Registry().OnDemandViews() {
		if last, ok := c.engine.Registry().Checked(view.Name); ok {
			out <- prometheus.MustNewConstMetric(c.differ, prometheus.GaugeValue, float64(last.Differences), string(view.Name))
		}
	}
}

// predictionCollector reads what became of the predictions of each log when it is scraped: what was
// served is what was logged, dropped, or waits.
type predictionCollector struct {
	engine                                              *engine.Engine
	served, logged, dropped, waiting, bytes, duplicates *prometheus.Desc
}

func newPredictionCollector(e *engine.Engine) *predictionCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("driftline_predictions_"+name, help, append([]string{"log"}, labels...), nil)
	}
	return &predictionCollector{
		engine: e,
		served: desc("served_total", "Predictions that were handed to the log: logged, dropped and waiting ones."),
		logged: desc("logged_total", "Predictions that are durable."), dropped: desc("dropped_total", "Predictions that were not logged.", "reason"),
		waiting: desc("waiting", "Predictions in memory that are not durable yet."), bytes: desc("waiting_bytes", "Their memory."),
		duplicates: desc("duplicates_total", "Predictions that were sent again, and are counted in nothing else."),
	}
}

// Describe implements [prometheus.Collector].
func (c *predictionCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.served, c.logged, c.dropped, c.waiting, c.bytes, c.duplicates} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *predictionCollector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.engine.PredictionLogs() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, float64(v), append([]string{string(s.Log)}, labels...)...)
		}
		send(c.served, prometheus.CounterValue, s.Counts.Served)
		send(c.logged, prometheus.CounterValue, s.Counts.Logged)
		send(c.waiting, prometheus.GaugeValue, s.Counts.Waiting)
		send(c.bytes, prometheus.GaugeValue, s.Counts.WaitingBytes)
		send(c.duplicates, prometheus.CounterValue, s.Counts.Duplicates)
		for reason, n := range s.Counts.Dropped {
			send(c.dropped, prometheus.CounterValue, n, reason)
		}
	}
}
