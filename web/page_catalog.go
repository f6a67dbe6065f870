package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// viewRow is one feature view of the catalogue.
type viewRow struct {
	driftline.FeatureView
	Status engine.ViewStatus
	Newest time.Time
}

type cataloguePage struct {
	*listing[viewRow]
	OnDemand []driftline.OnDemandFeatureView
	Services []driftline.FeatureService
	Entities []driftline.Entity
	Flight   string
}

func (s *Server) cataloguePage(w http.ResponseWriter, r *http.Request) error {
	catalogue := s.engine.Registry()
	body := cataloguePage{OnDemand: catalogue.OnDemandViews(), Services: catalogue.Services(), Entities: catalogue.Entities(), Flight: s.options.FlightAddress}
	var views []viewRow
	for _, view := range catalogue.Views() {
		status, newest, err := s.lookAt(r.Context(), &view)
		if err != nil {
			return err
		}
		views = append(views, viewRow{FeatureView: view, Status: status, Newest: newest})
	}
	var err error
	if body.listing, err = listed(r, views, viewColumns); err != nil {
		return err
	}
	return s.render(w, "catalogue", page{Title: "Catalogue", Section: "catalogue", Script: "follow.js", Body: body})
}

var viewColumns = []listColumn[viewRow]{
	{name: "view", label: "name", text: func(r *viewRow) string { return string(r.Name) + "\n" + r.Description }},
	{name: "rows", label: "rows", order: quantity(func(r *viewRow) int64 { return r.Status.Rows })},
	{name: "newest", label: "newest", order: moment(func(r *viewRow) time.Time { return r.Newest })},
	{name: "features", label: "features", text: func(r *viewRow) string {
		var names []string
		for _, f := range r.Features {
			names = append(names, f.Name)
		}
		return strings.Join(names, " ")
	}, order: quantity(func(r *viewRow) int { return len(r.Features) })},
	{label: "entities", text: func(r *viewRow) string { return fmt.Sprint(r.Entities) }},
}

// lookAt describes a view's rows to a person, to whom those that are still in the
// ingest log are rows like any other.
func (s *Server) lookAt(ctx context.Context, view *driftline.FeatureView) (engine.ViewStatus, time.Time, error) {
	status, err := s.engine.ViewStatus(ctx, view.Name)
	if err != nil {
		return status, time.Time{}, err
	}
	newest := s.freshness.newest(ctx, view, status)
	status.Rows += int64(status.Unflushed)
	return status, newest, nil
}

type viewPage struct {
	View          *driftline.FeatureView
	Status        engine.ViewStatus
	Newest        time.Time                  // event time; zero if there are no rows
	Services      []driftline.FeatureService // that use the view
	Distributions []distribution
	NullShares    map[string]float64   // by feature; empty if they are not known
	Checked       *driftline.ViewCheck // the last comparison of the two stores; nil if there was none
	Look          *entityLook          // nil if the view is not served online
	Table         string
	Snapshots     []driftline.Snapshot // the newest first
	MoreSnapshots int                  // that Snapshots leaves out
	Growth        *growth
	Damage        *damage
	HTTP, Flight  string
	Example       exampleRead
}

// exampleRead holds what the copyable examples of a view's page are made of.
type exampleRead struct {
	Features string // quoted refs, two at most
	Entities string // JSON
	Columns  string // of a SELECT
}

func (s *Server) viewPage(w http.ResponseWriter, r *http.Request) error {
	if computed, err := s.engine.Registry().OnDemandView(driftline.ViewName(r.PathValue("name"))); err == nil {
		http.Redirect(w, r, "/#on-demand-"+string(computed.Name), http.StatusSeeOther) // the catalogue shows all of it
		return nil
	}
	view, err := s.engine.Registry().View(driftline.ViewName(r.PathValue("name")))
	if err != nil {
		return err
	}
	status, newest, err := s.lookAt(r.Context(), view)
	if err != nil {
		return err
	}
	snapshots, err := s.snapshotsOf(r.Context(), viewTable(view.Name))
	if err != nil {
		return err
	}
	shown := snapshots[:min(len(snapshots), maxSnapshots)]
	body := viewPage{View: view, Status: status, HTTP: "http://" + r.Host, Flight: s.options.FlightAddress,
		Example: exampleOf(view), Newest: newest, Damage: s.damageOf(r.Context(), view.Name, status.Damaged),
		Table: viewTable(view.Name), Snapshots: shown, MoreSnapshots: len(snapshots) - len(shown), Growth: drawGrowth(snapshots, s.engine.Now()),
		Distributions: s.distributions(r.Context(), view, status.Rows), NullShares: s.nullShares(r.Context(), view, status.Rows),
		Look: s.lookUp(r.Context(), view, r.URL.Query())}
	if last, ok := s.engine.Registry().Checked(view.Name); ok {
		body.Checked = &last
	}
	for _, service := range s.engine.Registry().Services() {
		for _, projection := range service.Projections {
			if s.engine.Registry().Meant(projection.View) == view.Name {
				body.Services = append(body.Services, service)
				break
			}
		}
	}
	return s.render(w, "view", page{Title: string(view.Name), Section: "catalogue", Body: body})
}

func exampleOf(view *driftline.FeatureView) exampleRead {
	var refs, entities []string
	for i, f := range view.Features {
		if i < 2 {
			refs = append(refs, fmt.Sprintf("%q", string(view.Name)+":"+f.Name))
		}
	}
	for _, key := range view.JoinKeys {
		value := `"…"`
		switch key.Type {
		case driftline.Int32, driftline.Int64:
			value = "1"
		case driftline.Bool:
			value = "true"
		}
		entities = append(entities, fmt.Sprintf("%q: [%s]", key.Name, value))
	}
	columns := append(view.KeyNames(), view.EventTimestamp)
	columns = append(columns, view.FeatureNames()[:min(2, len(view.Features))]...)
	return exampleRead{Features: strings.Join(refs, ", "), Entities: "{" + strings.Join(entities, ", ") + "}",
		Columns: strings.Join(columns, ", ")}
}

// Pictures are made while the page is waited for, so they must be cheap.
const (
	pictureRows     = 5_000_000
	picturePatience = 3 * time.Second
	pictureColumns  = 24
)

// distributions draws each numeric feature of a view. A picture is a nicety:
// whatever keeps it from being drawn leaves it out.
func (s *Server) distributions(ctx context.Context, view *driftline.FeatureView, rows int64) []distribution {
	var names []string
	for _, f := range view.Features {
		switch f.Type {
		case driftline.Int32, driftline.Int64, driftline.Float32, driftline.Float64:
			names = append(names, f.Name)
		}
	}
	names = names[:min(len(names), pictureColumns)]
	if len(names) == 0 || rows == 0 || rows > pictureRows {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, picturePatience)
	defer cancel()
	drawn, err := s.summaries(ctx, view.Name, names)
	if err != nil {
		s.log.DebugContext(ctx, "no pictures", "view", view.Name, "error", err)
		return nil
	}
	if err := s.countBins(ctx, view.Name, drawn); err != nil {
		s.log.DebugContext(ctx, "no pictures", "view", view.Name, "error", err)
		return nil
	}
	return drawn
}

// summaries reads range, mean and nulls of each column in one scan.
func (s *Server) summaries(ctx context.Context, view driftline.ViewName, names []string) ([]distribution, error) {
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf(`min(%[1]s) FILTER (isfinite(%[1]s)), max(%[1]s) FILTER (isfinite(%[1]s)), avg(%[1]s) FILTER (isfinite(%[1]s)), count(%[1]s), count(*) - count(%[1]s)`,
			finite(name)))
	}
	row, err := numbers(ctx, s.engine, fmt.Sprintf("SELECT %s FROM features.%s", strings.Join(parts, ", "), quoteName(string(view))))
	if err != nil || len(row) != 1 {
		return nil, err
	}
	drawn := make([]distribution, len(names))
	for i, name := range names {
		v := row[0][5*i:]
		drawn[i] = distribution{Feature: name, Low: v[0], High: v[1], Mean: v[2], Rows: int64(v[3]), Nulls: int64(v[4])}
	}
	return drawn, nil
}

// finite is a column as double, so that one function fits every numeric type.
func finite(name string) string { return quoteName(name) + "::DOUBLE" }

// countBins counts the values of every column over equal bins, in one query.
func (s *Server) countBins(ctx context.Context, view driftline.ViewName, drawn []distribution) error {
	var parts []string
	for i, d := range drawn {
		if !(d.High > d.Low) {
			continue
		}
		parts = append(parts, fmt.Sprintf(
			`SELECT %d, least(floor((%[2]s - %[3]v) / %[4]v * %[5]d), %[6]d), count(*) FROM features.%[7]s WHERE isfinite(%[2]s) GROUP BY 2`,
			i, finite(d.Feature), float64(d.Low), float64(d.High-d.Low), histogramBins, histogramBins-1, quoteName(string(view))))
	}
	counts := make([][]int64, len(drawn))
	for i := range counts {
		counts[i] = make([]int64, histogramBins)
	}
	if len(parts) > 0 {
		rows, err := numbers(ctx, s.engine, strings.Join(parts, " UNION ALL "))
		if err != nil {
			return err
		}
		for _, row := range rows {
			counts[int(row[0])][min(max(int(row[1]), 0), histogramBins-1)] = int64(row[2])
		}
	}
	for i := range drawn {
		drawn[i].Bars = bars(counts[i])
	}
	return nil
}

// numbers runs a SELECT of numeric columns and returns its rows; null is NaN.
func numbers(ctx context.Context, e *engine.Engine, query string) ([][]driftline.Number, error) {
	answer, err := e.SQL(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	var rows [][]driftline.Number
	for batch, err := range answer.All {
		if err != nil {
			return nil, err
		}
		for i := range int(batch.NumRows()) {
			row := make([]driftline.Number, batch.NumCols())
			for j, column := range batch.Columns() {
				row[j] = cellNumber(column, i)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func cellNumber(column arrow.Array, i int) driftline.Number {
	if column.IsNull(i) {
		return driftline.Number(nan)
	}
	switch c := column.(type) {
	case *array.Int32:
		return driftline.Number(c.Value(i))
	case *array.Int64:
		return driftline.Number(c.Value(i))
	case *array.Float64:
		return driftline.Number(c.Value(i))
	}
	return driftline.Number(nan)
}

// quoteName quotes an SQL name. Catalogue names hold no quote; this keeps it so.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

type servicePage struct {
	Service *driftline.FeatureService
	HTTP    string
}

func (s *Server) servicePage(w http.ResponseWriter, r *http.Request) error {
	service, err := s.engine.Registry().Service(driftline.ServiceName(r.PathValue("name")))
	if err != nil {
		return err
	}
	return s.render(w, "service", page{Title: string(service.Name), Section: "catalogue",
		Body: servicePage{Service: service, HTTP: "http://" + r.Host}})
}
