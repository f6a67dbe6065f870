package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// A source's files are whatever somebody else made: narrower types, times without a
// zone, columns that no view knows.
var sourceSchema = arrow.NewSchema([]arrow.Field{
	{Name: "origin", Type: arrow.BinaryTypes.LargeString, Nullable: true},
	{Name: "event_timestamp", Type: &arrow.TimestampType{Unit: arrow.Millisecond}, Nullable: true},
	{Name: "temp", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
	{Name: "remark", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

func writeSource(t *testing.T, env *testenv.Env, path, rows string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	writer, err := pqarrow.NewFileWriter(sourceSchema, file, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	for batch := range env.Rows(sourceSchema, rows).All {
		if err := writer.Write(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}

func sourceDefinitions(path string) driftline.Definitions {
	return driftline.Definitions{
		Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: "stations", Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}},
			Source:   &driftline.BatchSource{Format: driftline.ParquetSource, Path: path},
		}},
	}
}

// newSource returns an engine that may read a folder, and the folder.
func newSource(t *testing.T) (*testenv.Env, string) {
	folder := t.TempDir()
	env := testenv.NewWith(t, func(o *engine.Options) { o.Sources = []string{folder} })
	writeSource(t, env, filepath.Join(folder, "stations", "a.parquet"), `[
		{"origin": "JFK", "event_timestamp": "2013-06-01 10:00:00", "temp": 20.5, "remark": "unread"},
		{"origin": "JFK", "event_timestamp": "2013-06-01 11:00:00", "temp": 30},
		{"origin": "LGA", "event_timestamp": "2013-06-01 09:00:00", "temp": null}]`)
	writeSource(t, env, filepath.Join(folder, "stations", "b.parquet"), `[
		{"origin": "JFK", "event_timestamp": "2013-06-01 10:00:00", "temp": 21.5}]`)
	writeSource(t, env, filepath.Join(folder, "stations", "_tmp", "c.parquet"), `[
		{"origin": "JFK", "event_timestamp": "2013-06-01 10:15:00", "temp": 99}]`)
	return env, folder
}

func sourceRequest() driftline.HistoricalRequest {
	var req driftline.HistoricalRequest
	req.Features = []string{"stations:temp"}
	return req
}

// Of two rows of one key and time, the later in the order of the files counts.
const joinedSource = `JFK 2013-06-01T10:30:00Z true 21.5 
JFK 2013-06-01T10:30:00Z false 21.5 
(null) 2013-06-01T10:30:00Z true (null) 
LGA (null) (null) (null) 
LGA 2013-06-01T10:30:00Z (null) (null) 
`

func TestASourceIsReadInPlace(t *testing.T) {
	env, folder := newSource(t)
	env.Apply(sourceDefinitions(filepath.Join(folder, "stations")))
	got, report := train(t, env, sourceRequest())
	if got != joinedSource {
		t.Errorf("got\n%s want\n%s", got, joinedSource)
	}
	before := report.Pins[0].Source
	if before == "" || report.Pins[0].Snapshot != 0 {
		t.Errorf("the answer is pinned to %+v, want a fingerprint", report.Pins[0])
	}
	ctx := context.Background()
	rows, err := env.Engine.SQL(ctx, "SELECT count(*), sum(temp) FROM features.stations", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, rows); got != "4 72 \n" {
		t.Errorf("SQL sees %s", got)
	}
	whole, err := env.Engine.ReadView(ctx, "stations")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(text(t, whole), "\n"); got != 4 {
		t.Errorf("the whole view has %d rows, want 4", got)
	}

	writeSource(t, env, filepath.Join(folder, "stations", "c.parquet"), `[
		{"origin": "LGA", "event_timestamp": "2013-06-01 10:29:00", "temp": 5}]`)
	got, report = train(t, env, sourceRequest())
	if !strings.HasSuffix(got, "LGA 2013-06-01T10:30:00Z (null) 5 \n") {
		t.Errorf("a new file is not read:\n%s", got)
	}
	if report.Pins[0].Source == before {
		t.Error("the fingerprint is the same with another file")
	}
}

func TestASourceThatCannotBe(t *testing.T) {
	env, folder := newSource(t)
	outside := t.TempDir()
	writeSource(t, env, filepath.Join(outside, "x.parquet"), `[{"origin": "JFK"}]`)
	if err := os.Symlink(outside, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "linked"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "x.parquet"), filepath.Join(folder, "linked", "x.parquet")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "text.parquet"), []byte("not Parquet"), 0o666); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		change     func(*driftline.FeatureView)
		code       driftline.Code
		says       string
	}{
		{"outside", outside, nil, driftline.Permission, "in no folder that this server reads"},
		{"outside that is not there", outside + "/gone", nil, driftline.Permission, "in no folder"},
		{"a way out", folder + "/../" + filepath.Base(outside), nil, driftline.Permission, "in no folder"},
		{"a link out", folder + "/link", nil, driftline.Permission, "in no folder"},
		{"a linked file", folder + "/linked", nil, driftline.Permission, "in no folder"},
		{"missing", folder + "/gone", nil, driftline.NotFound, "does not exist"},
		{"empty", folder + "/empty", nil, driftline.NotFound, "no Parquet file"},
		{"not Parquet", folder + "/text.parquet", nil, driftline.Invalid, "a file that is not Parquet"},
		{"no table", folder + "/stations", func(v *driftline.FeatureView) { v.Source.Format = driftline.IcebergSource }, driftline.FailedPrecondition, "not an Iceberg table"},
		{"missing column", folder + "/stations", func(v *driftline.FeatureView) { v.Features[0].Name = "tmp" }, driftline.Invalid, `column "tmp" is missing`},
		{"wrong type", folder + "/stations", func(v *driftline.FeatureView) { v.Features[0].Type = driftline.String }, driftline.Invalid, `column "temp" is float32, want string`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defs := sourceDefinitions(test.path)
			if test.change != nil {
				test.change(&defs.FeatureViews[0])
			}
			_, err := env.Engine.Apply(context.Background(), defs)
			if driftline.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("apply answered %v, want %s and %q", err, test.code, test.says)
			}
			if len(env.Engine.Registry().Views()) != 0 {
				t.Error("the view is registered all the same")
			}
		})
	}
}

func TestASourceIsNotWrittenAndNotServed(t *testing.T) {
	env, folder := newSource(t)
	env.Apply(sourceDefinitions(filepath.Join(folder, "stations")))
	ctx := context.Background()
	_, err := env.Engine.Ingest(ctx, "stations", "", env.Rows(sourceSchema, `[]`))
	if driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("ingest answered %v", err)
	}
	var req driftline.OnlineRequest
	req.Features = []string{"stations:temp"}
	for entities := range env.Rows(spineSchema, spineRows).All {
		if _, err := env.Engine.Online(ctx, req, entities); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("an online read answered %v", err)
		}
	}
	env.Reopen()
	if got, _ := train(t, env, sourceRequest()); got != joinedSource {
		t.Errorf("after a restart got\n%s", got)
	}
}
