package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/flight"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/web"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var definitions = driftline.Definitions{
	Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
	FeatureViews: []driftline.FeatureView{{
		Name: "weather", Entities: []driftline.EntityName{"airport"}, TTL: driftline.Duration(3 * time.Hour),
		Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "wind", Type: driftline.Int64}},
	}},
	FeatureServices: []driftline.FeatureService{{Name: "model", Projections: []driftline.Projection{{View: "weather"}}}},
}

// weatherSchema is the schema of the view weather.
var weatherSchema = arrow.NewSchema([]arrow.Field{
	{Name: "origin", Type: arrow.BinaryTypes.String},
	{Name: "event_timestamp", Type: driftline.Time},
	{Name: "temp", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "wind", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
}, nil)

var spineSchema = arrow.NewSchema([]arrow.Field{
	{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	{Name: "label", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
}, nil)

const hours = `[
	{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 20.5, "wind": 7},
	{"origin": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "temp": 21.5, "wind": null},
	{"origin": "LGA", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 19, "wind": 3}]`

// serve starts both doors of a new engine and returns a client.
func serve(t *testing.T) (*client.Client, *testenv.Env) {
	t.Helper()
	env := testenv.New(t)
	flightDoor, httpDoor := listen(t), listen(t)
	flightServer := flight.New(env.Engine, &flight.Options{Version: "test"})
	webServer := web.New(env.Engine, &web.Options{Version: "test", FlightAddress: flightDoor.Addr().String()})
	served := make(chan error, 2)
	go func() { served <- flightServer.Serve(flightDoor) }()
	go func() { served <- webServer.Serve(httpDoor) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(flightServer.Shutdown(ctx), webServer.Shutdown(ctx), <-served, <-served); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	c, err := client.Dial(t.Context(), "http://"+httpDoor.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c, env
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// must is for calls whose failure ends the test.
func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// withWeather is a server that holds the definitions and the rows of hours.
func withWeather(t *testing.T) (*client.Client, *testenv.Env) {
	t.Helper()
	c, env := serve(t)
	must[[]driftline.Change](t)(c.Apply(t.Context(), definitions))
	result := must[driftline.IngestResult](t)(c.Ingest(t.Context(), "weather", "first", env.Rows(weatherSchema, hours)))
	if result.Rows != 3 || result.Duplicate {
		t.Fatalf("ingest: %+v", result)
	}
	return c, env
}

// rowsOf prints the rows of a stream, one string each.
func rowsOf(t *testing.T, rows driftline.Batches) []string {
	t.Helper()
	var out []string
	for batch, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(batch.NumRows()) {
			values := make([]string, batch.NumCols())
			for i, column := range batch.Columns() {
				values[i] = column.ValueStr(row)
			}
			out = append(out, strings.Join(values, " "))
		}
	}
	return out
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  got  %q\n  want %q", what, got, want)
	}
}

func TestDefinitions(t *testing.T) {
	c, _ := serve(t)
	info := must[client.ServerInfo](t)(c.Server(t.Context()))
	if info.Version != "test" {
		t.Errorf("server says %+v", info)
	}
	planned := must[[]driftline.Change](t)(c.Plan(t.Context(), definitions))
	applied := must[[]driftline.Change](t)(c.Apply(t.Context(), definitions))
	if len(planned) != 3 || fmt.Sprint(planned) != fmt.Sprint(applied) {
		t.Errorf("planned %v, applied %v", planned, applied)
	}
	for _, change := range must[[]driftline.Change](t)(c.Apply(t.Context(), definitions)) {
		if change.Action != driftline.ChangeNone {
			t.Errorf("the second time: %v", change)
		}
	}
	if entities := must[[]driftline.Entity](t)(c.Entities(t.Context())); len(entities) != 1 || entities[0].Name != "airport" {
		t.Errorf("entities %v", entities)
	}
	if views := must[[]driftline.FeatureView](t)(c.FeatureViews(t.Context())); len(views) != 1 {
		t.Errorf("views %v", views)
	}
	if view := must[*driftline.FeatureView](t)(c.FeatureView(t.Context(), "weather")); !view.Schema().Equal(weatherSchema) {
		t.Errorf("schema %v", view.Schema())
	}
	if services := must[[]driftline.FeatureService](t)(c.FeatureServices(t.Context())); len(services) != 1 {
		t.Errorf("services %v", services)
	}
	if service := must[*driftline.FeatureService](t)(c.FeatureService(t.Context(), "model")); service.Name != "model" {
		t.Errorf("service %v", service)
	}
}

func TestRowsInAndOut(t *testing.T) {
	c, env := withWeather(t)
	again := must[driftline.IngestResult](t)(c.Ingest(t.Context(), "weather", "first", env.Rows(weatherSchema, hours)))
	if !again.Duplicate {
		t.Errorf("the same key again: %+v", again)
	}
	want := []string{
		"JFK 2013-06-01T10:00:00Z 20.5 7", "JFK 2013-06-01T11:00:00Z 21.5 (null)", "LGA 2013-06-01T10:00:00Z 19 3",
	}
	rows := must[driftline.Batches](t)(c.ReadView(t.Context(), "weather"))
	got := rowsOf(t, rows)
	slices.Sort(got)
	equal(t, "view", got, want)
	if !rows.Schema.Equal(weatherSchema) {
		t.Errorf("schema %v", rows.Schema)
	}
	query := must[driftline.Batches](t)(c.SQL(t.Context(), "SELECT origin, sum(temp) AS total FROM features.weather GROUP BY origin ORDER BY origin"))
	equal(t, "SQL", rowsOf(t, query), []string{"JFK 42", "LGA 19"})
	equal(t, "SQL, ranged over again", rowsOf(t, query), []string{"JFK 42", "LGA 19"})
}

func TestTrainingSet(t *testing.T) {
	c, env := withWeather(t)
	request := driftline.HistoricalRequest{SaveAs: "late"}
	request.Service = "model"
	set := must[*client.TrainingSet](t)(c.Historical(t.Context(), request, env.Rows(spineSchema, `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:30:00Z", "label": 1},
		{"origin": "LGA", "event_timestamp": "2013-06-01T13:00:00Z", "label": 0},
		{"origin": "LGA", "event_timestamp": "2013-06-01T13:00:01Z", "label": null},
		{"origin": null, "event_timestamp": "2013-06-01T11:00:00Z", "label": 2}]`)))
	want := []string{
		"JFK 2013-06-01T10:30:00Z 1 20.5 7", "LGA 2013-06-01T13:00:00Z 0 19 3",
		"LGA 2013-06-01T13:00:01Z (null) (null) (null)", "(null) 2013-06-01T11:00:00Z 2 (null) (null)",
	}
	equal(t, "training set", rowsOf(t, set.Batches), want)
	report := set.Report()
	if report.Rows != 4 || report.Dataset == nil || report.Dataset.Version != 1 {
		t.Fatalf("report %+v", report)
	}
	equal(t, "dataset", rowsOf(t, must[driftline.Batches](t)(c.ReadDataset(t.Context(), "late", 0))), want)
	dataset := must[*driftline.Dataset](t)(c.Dataset(t.Context(), "late", 1))
	if dataset.ContentHash != report.Dataset.ContentHash {
		t.Errorf("dataset %+v", dataset)
	}
	if all := must[[]driftline.Dataset](t)(c.Datasets(t.Context())); len(all) != 1 {
		t.Errorf("datasets %v", all)
	}
}

func TestTrainingSetOfAnEmptySpine(t *testing.T) {
	c, env := withWeather(t)
	request := driftline.HistoricalRequest{}
	request.Features = []string{"weather:temp"}
	set := must[*client.TrainingSet](t)(c.Historical(t.Context(), request, env.Rows(spineSchema, `[]`)))
	if rows := rowsOf(t, set.Batches); len(rows) != 0 || set.Report().Rows != 0 {
		t.Errorf("%q, %+v", rows, set.Report())
	}
	if names := set.Batches.Schema.Fields(); len(names) != 4 || names[3].Name != "temp" {
		t.Errorf("columns %v", names)
	}
}

// A spine of many batches is sent while the answer is read, also if nobody reads all of it.
func TestTrainingSetThatIsLeftHalfRead(t *testing.T) {
	c, env := withWeather(t)
	builder := array.NewRecordBuilder(env.Mem, spineSchema)
	defer builder.Release()
	for row := range 200_000 {
		builder.Field(0).(*array.StringBuilder).Append("JFK")
		builder.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(1370082600000000 + int64(row)))
		builder.Field(2).(*array.Int32Builder).Append(int32(row))
	}
	batch := builder.NewRecordBatch()
	defer batch.Release()
	request := driftline.HistoricalRequest{}
	request.Features = []string{"weather:temp"}
	spine := driftline.BatchesOf(spineSchema, slices.Repeat([]arrow.RecordBatch{batch}, 5)...)

	whole := must[*client.TrainingSet](t)(c.Historical(t.Context(), request, spine))
	var rows int64
	for piece, err := range whole.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
		for i, label := range piece.Column(2).(*array.Int32).Int32Values() {
			if label != int32((rows+int64(i))%200_000) {
				t.Fatalf("row %d has label %d: the order was lost", rows+int64(i), label)
			}
		}
		rows += piece.NumRows()
	}
	if rows != 1_000_000 || whole.Report().Rows != rows {
		t.Errorf("%d rows, report %+v", rows, whole.Report())
	}

	half := must[*client.TrainingSet](t)(c.Historical(t.Context(), request, spine))
	for range half.Batches.All {
		break
	}
	unread := must[*client.TrainingSet](t)(c.Historical(t.Context(), request, spine))
	unread.Close()
	unread.Close()
}

func TestAFailingSpineIsItsOwnError(t *testing.T) {
	c, _ := withWeather(t)
	broken := driftline.Batches{Schema: spineSchema, All: func(yield func(arrow.RecordBatch, error) bool) {
		yield(nil, driftline.Errorf(driftline.DataLoss, "the file is damaged"))
	}}
	request := driftline.HistoricalRequest{}
	request.Features = []string{"weather:temp"}
	_, err := c.Historical(t.Context(), request, broken)
	if driftline.CodeOf(err) != driftline.DataLoss {
		t.Errorf("historical: %v", err)
	}
	if _, err := c.Ingest(t.Context(), "weather", "", broken); driftline.CodeOf(err) != driftline.DataLoss {
		t.Errorf("ingest: %v", err)
	}
	if rows := rowsOf(t, must[driftline.Batches](t)(c.ReadView(t.Context(), "weather"))); len(rows) != 3 {
		t.Errorf("the view has %d rows", len(rows))
	}
}

func TestOnline(t *testing.T) {
	c, env := withWeather(t)
	schema := arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	entities, _, err := array.RecordFromJSON(env.Mem, schema, strings.NewReader(`[{"origin": "JFK"}, {"origin": "EWR"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer entities.Release()
	request := driftline.OnlineRequest{At: time.Date(2013, 6, 1, 12, 0, 0, 0, time.UTC)}
	request.Features, request.FullFeatureNames = []string{"weather:temp", "weather:wind"}, true

	response := must[*driftline.OnlineResponse](t)(c.Online(t.Context(), request, entities))
	defer response.Release()
	equal(t, "values", rowsOf(t, driftline.BatchesOf(response.Batch.Schema(), response.Batch)),
		[]string{"JFK 21.5 (null)", "EWR (null) (null)"})
	if len(response.Features) != 2 || response.Features[0].Name != "weather__temp" ||
		!slices.Equal(response.Features[0].Statuses, []driftline.Status{driftline.Present, driftline.NotPresent}) ||
		!slices.Equal(response.Features[1].Statuses, []driftline.Status{driftline.NullValue, driftline.NotPresent}) ||
		response.Features[0].EventTimes[0] != arrow.Timestamp(time.Date(2013, 6, 1, 11, 0, 0, 0, time.UTC).UnixMicro()) {
		t.Errorf("features %+v", response.Features)
	}

	stream := must[*client.OnlineStream](t)(c.OpenOnline(t.Context(), request, schema))
	for range 3 {
		answer := must[*driftline.OnlineResponse](t)(stream.Read(entities))
		if answer.Batch.NumRows() != 2 {
			t.Errorf("%d rows", answer.Batch.NumRows())
		}
		answer.Release()
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}

// TestReadsOfOneStreamDoNotWaitForEachOther asks from many goroutines at once, and every
// one gets the answer to its own question.
func TestReadsOfOneStreamDoNotWaitForEachOther(t *testing.T) {
	c, env := withWeather(t)
	schema := arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	request := driftline.OnlineRequest{At: time.Date(2013, 6, 1, 12, 0, 0, 0, time.UTC)}
	request.Features = []string{"weather:temp"}
	stream := must[*client.OnlineStream](t)(c.OpenOnline(t.Context(), request, schema, client.ValuesOnly()))
	var reading sync.WaitGroup
	for asker := range 8 {
		origin, want := "JFK", "JFK 21.5"
		if asker%2 == 1 {
			origin = fmt.Sprint("X", asker)
			want = origin + " (null)"
		}
		entities, _, err := array.RecordFromJSON(env.Mem, schema, strings.NewReader(fmt.Sprintf(`[{"origin": %q}]`, origin)))
		if err != nil {
			t.Fatal(err)
		}
		defer entities.Release()
		reading.Go(func() {
			for range 50 {
				answer, err := stream.Read(entities)
				if err != nil {
					t.Error(err)
					return
				}
				got := answer.Batch.Column(0).ValueStr(0) + " " + answer.Batch.Column(1).ValueStr(0)
				if answer.Release(); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	reading.Wait()
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}

func TestRunsModelsAndLineage(t *testing.T) {
	c, env := withWeather(t)
	ctx := t.Context()
	request := driftline.HistoricalRequest{SaveAs: "late"}
	request.Service = "model"
	set := must[*client.TrainingSet](t)(c.Historical(ctx, request, env.Rows(spineSchema, `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:30:00Z", "label": 1}]`)))
	rowsOf(t, set.Batches)
	run := must[*driftline.Run](t)(c.CreateRun(ctx, driftline.RunSpec{Experiment: "late", Params: map[string]string{"depth": "3"},
		Inputs: []driftline.Ref{driftline.DatasetRef("late", 1)}}))
	must[*driftline.Run](t)(c.LogRun(ctx, run.ID, driftline.RunLog{Metrics: []driftline.Metric{{Key: "auc", Value: 0.7}, {Key: "auc", Value: 0.8, Step: 1}}}))
	content := bytes.Repeat([]byte("model"), 1000)
	artifact := must[*driftline.Artifact](t)(c.PutArtifact(ctx, run.ID, "model/the model.joblib", bytes.NewReader(content)))
	if artifact.Size != 5000 {
		t.Errorf("artifact %+v", artifact)
	}
	stored := must[io.ReadCloser](t)(c.Artifact(ctx, run.ID, "model/the model.joblib"))
	if got := must[[]byte](t)(io.ReadAll(stored)); !bytes.Equal(got, content) {
		t.Errorf("the artifact came back as %d other bytes", len(got))
	}
	_ = stored.Close()
	finished := must[*driftline.Run](t)(c.FinishRun(ctx, run.ID, driftline.RunFinished))
	if finished.Status != driftline.RunFinished || finished.Metrics["auc"] != 0.8 {
		t.Errorf("run %+v", finished)
	}
	if history := must[[]driftline.Metric](t)(c.Metrics(ctx, run.ID, "auc")); len(history) != 2 {
		t.Errorf("history %v", history)
	}
	if runs := must[[]driftline.Run](t)(c.Runs(ctx, "late")); len(runs) != 1 || runs[0].ID != must[*driftline.Run](t)(c.Run(ctx, run.ID)).ID {
		t.Errorf("runs %v", runs)
	}

	keys := must[*driftline.RunKeys](t)(c.RunKeys(ctx, "late"))
	if want := []driftline.RunKey{{Key: "auc", Runs: 1}}; !slices.Equal(keys.Metrics, want) || len(keys.Params) != 1 || len(keys.Tags) != 0 {
		t.Errorf("keys %+v", keys)
	}
	fork := must[*driftline.Run](t)(c.CreateRun(ctx, driftline.RunSpec{Fork: &driftline.RunFork{Run: run.ID}, Heartbeat: driftline.Duration(time.Hour)}))
	if fork.Metrics["auc"] != 0.7 || fork.Params["depth"] != "3" {
		t.Errorf("fork %+v", fork)
	}
	must[*driftline.Run](t)(c.Heartbeat(ctx, fork.ID))
	many := env.Rows(client.PointsSchema, `[{"key": "loss", "value": 0.5, "step": 1, "time": "2026-01-01T00:00:00Z"}, {"key": "loss", "value": 0.25, "step": 2, "time": "2026-01-01T00:00:00Z"}]`)
	if n := must[int64](t)(c.LogHistory(ctx, fork.ID, many)); n != 2 {
		t.Errorf("%d points were logged", n)
	}
	if history := must[[]driftline.Metric](t)(c.Metrics(ctx, fork.ID, "loss")); len(history) != 2 || history[1].Value != 0.25 {
		t.Errorf("history %v", history)
	}
	for _, bad := range []struct{ rows, want string }{
		{`[{"key": null, "value": 1, "step": 1, "time": "2026-01-01T00:00:00Z"}]`, "a null"},
		{`[{"key": "", "value": 1, "step": 1, "time": "2026-01-01T00:00:00Z"}]`, "metric"},
	} {
		if _, err := c.LogHistory(ctx, fork.ID, env.Rows(client.PointsSchema, bad.rows)); driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v", bad.rows, err)
		}
	}
	if _, err := c.LogHistory(ctx, fork.ID, env.Rows(spineSchema, `[]`)); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("rows that are no points: %v", err)
	}
	if _, err := c.LogHistory(ctx, "nobody", env.Rows(client.PointsSchema, `[{"key": "a", "value": 1, "step": 1, "time": "2026-01-01T00:00:00Z"}]`)); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("points of no run: %v", err)
	}
	if changed := must[*driftline.Run](t)(c.ChangeRun(ctx, fork.ID, driftline.RunChange{Name: "second"})); changed.Name != "second" {
		t.Errorf("changed run %+v", changed)
	}
	must[*driftline.Run](t)(c.DeleteRun(ctx, fork.ID))
	if restored := must[*driftline.Run](t)(c.RestoreRun(ctx, fork.ID)); restored.Deleted {
		t.Errorf("restored run %+v", restored)
	}
	must[*driftline.Run](t)(c.DeleteRun(ctx, fork.ID))
	if removed := must[*driftline.RunsRemoved](t)(c.CleanUpRuns(ctx, driftline.RunCleanup{})); !slices.Equal(removed.Runs, []driftline.RunID{fork.ID}) {
		t.Errorf("removed %+v", removed)
	}

	version := must[*driftline.ModelVersion](t)(c.RegisterModel(ctx, driftline.ModelSpec{Model: "late", Run: run.ID, Artifact: artifact.Path}))
	must[*driftline.ModelVersion](t)(c.MoveAlias(ctx, "late", "champion", driftline.AliasMove{Version: version.Version}))
	if champion := must[*driftline.ModelVersion](t)(c.ModelVersion(ctx, "late", "champion")); champion.Version != 1 {
		t.Errorf("champion %+v", champion)
	}
	if models := must[[]driftline.ModelVersion](t)(c.Models(ctx)); len(models) != 1 {
		t.Errorf("models %v", models)
	}
	if model := must[*client.Model](t)(c.Model(ctx, "late")); len(model.Versions) != 1 || model.Aliases["champion"] != 1 {
		t.Errorf("model %+v", model)
	}
	lineage := must[*driftline.Lineage](t)(c.Lineage(ctx, driftline.ModelRef("late", 1), driftline.Up, 0))
	if !slices.ContainsFunc(lineage.Nodes, func(n driftline.LineageNode) bool { return n.Ref == driftline.DatasetRef("late", 1) }) {
		t.Errorf("lineage %+v", lineage)
	}
}

// A list of runs comes in pages of 1,000, of which who asks sees nothing.
func TestAllRunsAreListed(t *testing.T) {
	c, env := serve(t)
	want := map[driftline.RunID]bool{}
	var mu sync.Mutex
	var writers sync.WaitGroup
	for range 11 {
		writers.Go(func() {
			for range 91 {
				run, err := env.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "many"})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				want[run.ID] = true
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	for _, run := range must[[]driftline.Run](t)(c.Runs(t.Context(), "many")) {
		if !want[run.ID] {
			t.Errorf("run %s is listed twice, or is of another experiment", run.ID)
		}
		delete(want, run.ID)
	}
	if len(want) > 0 {
		t.Errorf("%d runs are not listed", len(want))
	}
}

func TestRunsInGroups(t *testing.T) {
	c, _ := withWeather(t)
	ctx := t.Context()
	for _, logged := range []struct {
		depth string
		auc   driftline.Number
	}{{"10", 0.75}, {"10", 0.25}, {"9", 0.5}, {"", 1}} {
		spec := driftline.RunSpec{Experiment: "late"}
		if logged.depth != "" {
			spec.Params = map[string]string{"depth": logged.depth}
		}
		run := must[*driftline.Run](t)(c.CreateRun(ctx, spec))
		must[*driftline.Run](t)(c.LogRun(ctx, run.ID, driftline.RunLog{Metrics: []driftline.Metric{{Key: "auc", Value: logged.auc}}}))
	}
	grouping := driftline.RunGrouping{By: "params.depth", Experiments: []driftline.ExperimentName{"late"}, Limit: 2}
	first := must[*driftline.FoundRunGroups](t)(c.GroupRuns(ctx, grouping))
	grouping.Offset = 2
	last := must[*driftline.FoundRunGroups](t)(c.GroupRuns(ctx, grouping))
	if first.Total != 3 || !first.More || len(first.Groups) != 2 || last.More || len(last.Groups) != 1 {
		t.Fatalf("pages %+v, %+v", first, last)
	}
	nine, ten, none := first.Groups[0], first.Groups[1], last.Groups[0]
	if nine.Value != "9" || ten.Value != "10" || !none.Missing || none.Runs != 1 {
		t.Errorf("groups %+v, %+v, %+v", nine, ten, none)
	}
	if want := (driftline.MetricSummary{Runs: 2, Mean: 0.5, Min: 0.25, Max: 0.75}); ten.Metrics["auc"] != want {
		t.Errorf("auc of depth 10 is %+v, want %+v", ten.Metrics["auc"], want)
	}
	found := must[*driftline.FoundRuns](t)(c.SearchRuns(ctx, driftline.RunSearch{Filter: ten.Filter}))
	if len(found.Runs) != ten.Runs {
		t.Errorf("the group's filter %q finds %d runs, want %d", ten.Filter, len(found.Runs), ten.Runs)
	}
	if _, err := c.GroupRuns(ctx, driftline.RunGrouping{By: "metrics.auc"}); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("groups by a metric: %v", err)
	}
}

func TestPerformance(t *testing.T) {
	c, _ := withWeather(t)
	report := must[*driftline.PerformanceReport](t)(c.Performance(t.Context(), driftline.PerformanceRequest{
		Source:             driftline.DriftSource{SQL: "SELECT i % 2 AS p, 1 AS y, 3 AS x FROM range(100) r(i)"},
		Reference:          driftline.DriftSource{SQL: "SELECT 1 AS p, 1 AS y, i AS x FROM range(100) r(i)"},
		PerformanceOptions: driftline.PerformanceOptions{Task: driftline.TaskClassification, Prediction: "p", Label: "y"},
	}))
	if accuracy := report.Windows[0].Metrics[0]; accuracy.Metric != "accuracy" || accuracy.Measured.Value != 0.5 || !report.Metrics[0].Worse || report.Explanation.Causes[0].Column != "x" {
		t.Errorf("report %+v", report)
	}
}

func TestDrift(t *testing.T) {
	c, env := withWeather(t)
	report := must[*driftline.DriftReport](t)(c.Drift(t.Context(), driftline.DriftRequest{
		Reference: driftline.DriftSource{SQL: "SELECT i::DOUBLE AS x FROM range(1000) r(i)"},
		Current:   driftline.DriftSource{SQL: "SELECT i::DOUBLE + 500 AS x FROM range(1000) r(i)"},
	}))
	if report.Drifted != 1 || report.Columns[0].Statistic != 0.5 {
		t.Errorf("report %+v", report)
	}
	page := must[io.ReadCloser](t)(c.DriftPage(t.Context(), report))
	if html := must[[]byte](t)(io.ReadAll(page)); !bytes.Contains(html, []byte("<html")) {
		t.Errorf("no page: %.100s", html)
	}
	_ = page.Close()

	numbers := func(fields []string, from, n int) driftline.Batches {
		var schema []arrow.Field
		for _, name := range fields {
			schema = append(schema, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Float64})
		}
		builder := array.NewRecordBuilder(env.Mem, arrow.NewSchema(schema, nil))
		defer builder.Release()
		for column := range fields {
			for i := range n {
				builder.Field(column).(*array.Float64Builder).Append(float64(from + i))
			}
		}
		batch := builder.NewRecordBatch()
		t.Cleanup(batch.Release)
		return driftline.BatchesOf(batch.Schema(), batch)
	}
	rows := must[*driftline.DriftReport](t)(c.DriftRows(t.Context(), driftline.DriftOptions{},
		client.DriftTable{Name: "before", Rows: 1000, Batches: numbers([]string{"extra", "x"}, 0, 1000)},
		client.DriftTable{Name: "after", Rows: 800, Batches: numbers([]string{"x"}, 0, 800)}))
	if rows.Reference != (driftline.DriftSide{Name: "before", Rows: 1000}) || rows.Current != (driftline.DriftSide{Name: "after", Rows: 800}) ||
		len(rows.Columns) != 1 || rows.Columns[0].Column != "x" || rows.Columns[0].Statistic < 0.199 || rows.Columns[0].Statistic > 0.201 {
		t.Errorf("report %+v", rows)
	}
	_, err := c.DriftRows(t.Context(), driftline.DriftOptions{},
		client.DriftTable{Rows: 10, Batches: numbers([]string{"x"}, 0, 4)}, client.DriftTable{Batches: numbers([]string{"x"}, 0, 4)})
	if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "2 rows before the end of the reference") {
		t.Errorf("too few rows: %v", err)
	}
}

// The same failure has the same code, message and hint through both doors.
func TestErrorsThroughBothDoors(t *testing.T) {
	c, env := withWeather(t)
	ctx := t.Context()
	_, overHTTP := c.FeatureView(ctx, "wether")
	_, overFlight := c.ReadView(ctx, "wether")
	var a, b *driftline.Error
	if !errors.As(overHTTP, &a) || !errors.As(overFlight, &b) {
		t.Fatalf("HTTP: %v, Flight: %v", overHTTP, overFlight)
	}
	if a.Code != driftline.NotFound || a.Hint == "" || a.Code != b.Code || a.Message != b.Message || a.Hint != b.Hint || a.Ref != b.Ref {
		t.Errorf("\n  HTTP   %#v\n  Flight %#v", a, b)
	}
	wrong := arrow.NewSchema(weatherSchema.Fields()[:3], nil)
	spineless := driftline.HistoricalRequest{EventTimestamp: "when"}
	spineless.Features = []string{"weather:temp"}
	nearly := driftline.HistoricalRequest{}
	nearly.Features = []string{"weather:tmp"}
	for _, test := range []struct {
		what string
		call func() error
		code driftline.Code
		want string
	}{
		{"a missing column", func() error {
			_, err := c.Ingest(ctx, "weather", "", env.Rows(wrong, `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`))
			return err
		}, driftline.Invalid, "wind"},
		{"a spine without its time", func() error {
			_, err := c.Historical(ctx, spineless, env.Rows(spineSchema, `[]`))
			return err
		}, driftline.Invalid, "when"},
		{"an unknown feature", func() error {
			_, err := c.Historical(ctx, nearly, env.Rows(spineSchema, `[]`))
			return err
		}, driftline.NotFound, `did you mean "temp"?`},
		{"an unknown dataset", func() error { _, err := c.ReadDataset(ctx, "late", 3); return err }, driftline.NotFound, "late"},
		{"a statement that is no SELECT", func() error { _, err := c.SQL(ctx, "DROP TABLE features.weather"); return err }, driftline.Permission, "SELECT"},
		{"an unknown table", func() error { _, err := c.SQL(ctx, "SELECT * FROM features.wether"); return err }, driftline.NotFound, "weather"},
		{"a reused key", func() error {
			_, err := c.Ingest(ctx, "weather", "first", env.Rows(weatherSchema, `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1, "wind": 1}]`))
			return err
		}, driftline.Conflict, "first"},
		{"an unknown run", func() error { _, err := c.Run(ctx, "nobody-1"); return err }, driftline.NotFound, "nobody-1"},
	} {
		err := test.call()
		if driftline.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v (%s), want %s with %q", test.what, err, driftline.CodeOf(err), test.code, test.want)
		}
	}
}

func TestACancelledCallEnds(t *testing.T) {
	c, _ := withWeather(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows := must[driftline.Batches](t)(c.SQL(ctx, "SELECT i, repeat('x', 100) AS s FROM range(1000000) r(i)"))
	var last error
	for _, err := range rows.All {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v", last)
	}
}

func TestServersThatAreNotThere(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	_ = l.Close()
	for _, test := range []struct {
		url  string
		code driftline.Code
	}{
		{"http://" + address, driftline.Unavailable},
		{address, driftline.Unavailable},
		{"ftp://" + address, driftline.Invalid},
		{"http://", driftline.Invalid},
	} {
		if _, err := client.Dial(t.Context(), test.url); driftline.CodeOf(err) != test.code {
			t.Errorf("%s: %v", test.url, err)
		}
	}
}
