package flight_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/flight"
	"github.com/driftline/driftline/internal/testenv"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var definitions = driftline.Definitions{
	Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
	FeatureViews: []driftline.FeatureView{{
		Name: "weather", Entities: []driftline.EntityName{"airport"},
		Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "wind", Type: driftline.Int64}},
	}},
}

// door is a server with a client that speaks plain Flight and Flight SQL, as
// programs do that know nothing of Driftline.
type door struct {
	*testenv.Env
	flight  arrowflight.Client
	sql     *flightsql.Client
	log     *lines
	address string
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T) *door {
	t.Helper()
	d := &door{Env: testenv.New(t), log: &lines{}}
	d.Apply(definitions)
	d.Ingest("weather", `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 20.5, "wind": 7},
		{"origin": "LGA", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 19, "wind": 3}]`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := flight.New(d.Engine, &flight.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(d.log, nil))})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	d.address = l.Addr().String()
	d.flight, err = arrowflight.NewClientWithMiddleware(d.address, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	d.sql = &flightsql.Client{Client: d.flight, Alloc: memory.DefaultAllocator}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(d.flight.Close(), server.Shutdown(ctx), server.Close(), <-served); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return d
}

// get prints the rows of a ticket.
func (d *door) get(ticket []byte) ([]string, error) {
	stream, err := d.flight.DoGet(d.T.(*testing.T).Context(), &arrowflight.Ticket{Ticket: ticket})
	if err != nil {
		return nil, err
	}
	reader, err := arrowflight.NewRecordReader(stream)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	var out []string
	for reader.Next() {
		out = append(out, rowsOf(reader.RecordBatch())...)
	}
	return out, reader.Err()
}

func rowsOf(batch arrow.RecordBatch) (out []string) {
	for row := range int(batch.NumRows()) {
		values := make([]string, batch.NumCols())
		for i, column := range batch.Columns() {
			values[i] = column.ValueStr(row)
		}
		out = append(out, strings.Join(values, " "))
	}
	return out
}

func (d *door) mustGet(ticket []byte) []string {
	d.T.Helper()
	rows, err := d.get(ticket)
	if err != nil {
		d.T.Fatal(err)
	}
	return rows
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  got  %q\n  want %q", what, got, want)
	}
}

func TestDiscovery(t *testing.T) {
	d := open(t)
	ctx := t.Context()
	stream, err := d.flight.ListFlights(ctx, &arrowflight.Criteria{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("one view only was listed otherwise: %v", err)
	}
	equal(t, "path", info.FlightDescriptor.Path, []string{"features", "weather"})
	byPath, err := d.flight.GetFlightInfo(ctx, info.FlightDescriptor)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := arrowflight.DeserializeSchema(byPath.Schema, memory.DefaultAllocator)
	if err != nil || schema.NumFields() != 4 {
		t.Errorf("schema %v, %v", schema, err)
	}
	rows := d.mustGet(byPath.Endpoint[0].Ticket.Ticket)
	slices.Sort(rows)
	equal(t, "rows", rows, []string{"JFK 2013-06-01T10:00:00Z 20.5 7", "LGA 2013-06-01T10:00:00Z 19 3"})
	result, err := d.flight.GetSchema(ctx, info.FlightDescriptor)
	if err != nil || !bytes.Equal(result.Schema, byPath.Schema) {
		t.Errorf("GetSchema: %v", err)
	}
}

func TestOnlineByTicket(t *testing.T) {
	d := open(t)
	equal(t, "values", d.mustGet([]byte(`{"op": "online", "features": ["weather:temp"], "at": "2013-06-01T12:00:00Z",
		"entities": {"origin": ["LGA", "EWR", null]}}`)), []string{"LGA 19", "EWR (null)", "(null) (null)"})
	equal(t, "values with metadata", d.mustGet([]byte(`{"op": "online", "features": ["weather:temp", "weather:wind"], "metadata": true,
		"at": "2013-06-01T12:00:00Z", "entities": {"origin": ["LGA"]}}`)),
		[]string{"LGA 19 3 PRESENT 2013-06-01T10:00:00Z PRESENT 2013-06-01T10:00:00Z"})
}

// Every failure says what is wrong, with the code first for clients that see the text only.
func TestCommandsThatFail(t *testing.T) {
	d := open(t)
	for _, test := range []struct {
		ticket string
		code   codes.Code
		want   string
	}{
		{`{"op": "view", "name": "wether"}`, codes.NotFound, `not_found: feature view "wether" does not exist; did you mean "weather"?`},
		{`{"op": "dataset", "name": "late", "version": 2}`, codes.NotFound, "not_found: "},
		{`{"op": "vew", "name": "weather"}`, codes.NotFound, `not_found: DoGet op "vew" does not exist; did you mean "view"?`},
		{`{"op": "view", "nane": "weather"}`, codes.InvalidArgument, `unknown field "nane"`},
		{`{"op": "view", "name": 7}`, codes.InvalidArgument, `invalid: the command's field "name" is a number, want string`},
		{`{"op": "view"`, codes.InvalidArgument, "invalid: the command cannot be read"},
		{`not JSON`, codes.InvalidArgument, "invalid: the ticket is neither JSON nor Flight SQL"},
		{``, codes.InvalidArgument, "invalid: "},
		{`{"op": "online", "features": ["weather:temp"], "entities": {"origin": "JFK"}}`, codes.InvalidArgument, `entity column "origin" is not a list of string`},
		{`{"op": "online", "features": ["weather:temp"], "entities": {"airport": ["JFK"]}}`, codes.InvalidArgument, `"airport" is not a join key`},
		{`{"op": "online", "features": ["weather:temp"]}`, codes.InvalidArgument, `"origin"`},
		{`{"op": "online", "features": ["weather:tmp"], "entities": {"origin": ["JFK"]}}`, codes.NotFound, `did you mean`},
		{`{"op": "online", "at": "yesterday", "features": ["weather:temp"]}`, codes.InvalidArgument, "invalid: "},
	} {
		_, err := d.get([]byte(test.ticket))
		if s := status.Convert(err); s.Code() != test.code || !strings.Contains(s.Message(), test.want) {
			t.Errorf("%s:\n  got  %v\n  want %s %q", test.ticket, err, test.code, test.want)
		}
	}
	for _, hostile := range []string{
		`{"op": "` + strings.Repeat("x", 3<<20) + `"}`,
		`{"op": "view", "name": "` + strings.Repeat("x", 3<<20) + `"}`,
		`{"op": "dataset", "name": "` + strings.Repeat("x", 3<<20) + `"}`,
		`{"op": "online", "features": ["weather:` + strings.Repeat("x", 3<<20) + `"]}`,
		`{"op": "online", "service": "` + strings.Repeat("x", 3<<20) + `"}`,
		`{"op": "view", "` + strings.Repeat("x", 3<<20) + `": 1}`,
	} {
		if _, err := d.get([]byte(hostile)); status.Code(err) != codes.NotFound && status.Code(err) != codes.InvalidArgument {
			t.Errorf("%.40s…: %.200v", hostile, err)
		}
	}
	if n := len(d.log.String()); n > 64<<10 {
		t.Errorf("%d bytes were logged", n)
	}
	_, err := d.flight.GetFlightInfo(t.Context(), &arrowflight.FlightDescriptor{Type: arrowflight.DescriptorPATH, Path: []string{"weather"}})
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), "paths are features/<view>") {
		t.Errorf("path: %v", err)
	}
}

func TestHealthcheck(t *testing.T) {
	d := open(t)
	stream, err := d.flight.DoAction(t.Context(), &arrowflight.Action{Type: "healthcheck"})
	if err != nil {
		t.Fatal(err)
	}
	result, err := stream.Recv()
	if err != nil || string(result.Body) != `{"status":"ok","version":"test"}` {
		t.Errorf("%s, %v", result.GetBody(), err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, err := d.sql.BeginTransaction(t.Context()); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "has no transactions") {
		t.Errorf("transaction: %v", err)
	}
}

// TestRoute: whoever serves models without the gateway is told over Flight who answers, as over HTTP.
func TestRoute(t *testing.T) {
	d := open(t)
	ask := func(body string) (string, error) {
		stream, err := d.flight.DoAction(t.Context(), &arrowflight.Action{Type: "route", Body: []byte(body)})
		if err != nil {
			return "", err
		}
		result, err := stream.Recv()
		return string(result.GetBody()), err
	}
	r := d.Engine.Registry()
	if _, err := r.RegisterModel(driftline.ModelSpec{Model: "late", Source: "s3://models/late"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(`{"model": "late", "key": "user-42"}`); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("without a champion: %v", err)
	}
	if _, err := r.MoveAlias("late", driftline.AliasChampion, driftline.AliasMove{Version: 1}); err != nil {
		t.Fatal(err)
	}
	decision, err := d.Engine.RouteOf("late", "user-42")
	if err != nil {
		t.Fatal(err)
	}
	router, err := d.Engine.Router("late")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]any{`{"model": "late", "key": "user-42"}`: decision, `{"model": "late"}`: router.Route()} {
		wanted, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(body); err != nil || got != string(wanted) {
			t.Errorf("%s: %s, %v, want %s", body, got, err, wanted)
		}
	}
	for body, want := range map[string]codes.Code{
		`{"model": "nobody"}`: codes.NotFound, `{"model": "late", "user": "42"}`: codes.InvalidArgument, `{`: codes.InvalidArgument, ``: codes.InvalidArgument,
		`{"model": "late", "key": "` + strings.Repeat("k", driftline.MostRouteKey+1) + `"}`: codes.InvalidArgument,
	} {
		if got, err := ask(body); status.Code(err) != want {
			t.Errorf("%.40s: %s, %v, want %s", body, got, err, want)
		}
	}
}

func TestOneLogLinePerCall(t *testing.T) {
	d := open(t)
	d.mustGet([]byte(`{"op": "view", "name": "weather"}`))
	if _, err := d.get([]byte(`{"op": "view", "name": "wether"}`)); err == nil {
		t.Error("no error")
	}
	// The client may have its answer before the line is written.
	waitFor(t, func() bool { return strings.Count(d.log.String(), "\n") >= 2 })
	got := strings.Split(strings.TrimSpace(d.log.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[0], `level=INFO msg=request op="DoGet view" ref=view/weather code=ok`) || !strings.HasSuffix(got[0], "rows=2") ||
		!strings.Contains(got[1], `ref=view/wether error=`) || !strings.Contains(got[1], "code=not_found") {
		t.Errorf("log:\n%s", strings.Join(got, "\n"))
	}
}

// waitFor waits for what happens soon, with a limit that only a broken build reaches.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never happened")
}

func TestBatchesOutAreSmall(t *testing.T) {
	d := open(t)
	info, err := d.sql.Execute(t.Context(), "SELECT i, repeat('x', 1000) AS s FROM range(20000) r(i)")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := d.flight.DoGet(t.Context(), info.Endpoint[0].Ticket)
	if err != nil {
		t.Fatal(err)
	}
	largest := 0
	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(data.DataBody))
	}
	if largest > 2<<20+4096 || largest < 1<<20 {
		t.Errorf("the largest body has %d bytes", largest)
	}
}

func TestSQLMetadata(t *testing.T) {
	d := open(t)
	ctx := t.Context()
	read := func(info *arrowflight.FlightInfo, err error) []string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d.mustGet(info.Endpoint[0].Ticket.Ticket)
	}
	equal(t, "catalogs", read(d.sql.GetCatalogs(ctx)), []string{""})
	equal(t, "table types", read(d.sql.GetTableTypes(ctx)), []string{"TABLE"})
	features, one := "feat%", "_eather"
	equal(t, "schemas", read(d.sql.GetDBSchemas(ctx, &flightsql.GetDBSchemasOpts{DbSchemaFilterPattern: &features})), []string{" features"})
	equal(t, "tables", read(d.sql.GetTables(ctx, &flightsql.GetTablesOpts{TableNameFilterPattern: &one})), []string{" features weather TABLE"})
	equal(t, "tables of another type", read(d.sql.GetTables(ctx, &flightsql.GetTablesOpts{TableTypes: []string{"VIEW"}})), nil)
	equal(t, "primary keys", read(d.sql.GetPrimaryKeys(ctx, flightsql.TableRef{Table: "weather"})), nil)
	schema := "features"
	equal(t, "primary keys of newest rows", read(d.sql.GetPrimaryKeys(ctx, flightsql.TableRef{DBSchema: &schema, Table: "weather_latest"})),
		[]string{" features weather_latest origin 1 (null)"})
	equal(t, "primary keys elsewhere", read(d.sql.GetPrimaryKeys(ctx, flightsql.TableRef{DBSchema: &schema, Table: "wether_latest"})), nil)
	number := int32(12)
	if types := read(d.sql.GetXdbcTypeInfo(ctx, &number)); len(types) != 1 || !strings.HasPrefix(types[0], "VARCHAR 12 ") {
		t.Errorf("types %q", types)
	}
	if infos := read(d.sql.GetSqlInfo(ctx, []flightsql.SqlInfo{flightsql.SqlInfoFlightSqlServerName, 9999})); len(infos) != 1 || !strings.Contains(infos[0], "Driftline") {
		t.Errorf("info %q", infos)
	}
	info, err := d.sql.GetTables(ctx, &flightsql.GetTablesOpts{TableNameFilterPattern: &one, IncludeSchema: true})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := d.sql.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	for reader.Next() {
		encoded := reader.RecordBatch().Column(4).(*array.Binary).Value(0)
		if schema, err := arrowflight.DeserializeSchema(encoded, memory.DefaultAllocator); err != nil || !schema.HasField("temp") {
			t.Errorf("schema %v, %v", schema, err)
		}
	}
}

func TestPreparedStatements(t *testing.T) {
	d := open(t)
	ctx := t.Context()
	prepared, err := d.sql.Prepare(ctx, "SELECT origin, temp FROM features.weather WHERE temp > ? ORDER BY origin")
	if err != nil {
		t.Fatal(err)
	}
	if schema := prepared.DatasetSchema(); schema == nil || schema.NumFields() != 2 {
		t.Errorf("schema %v", schema)
	}
	run := func(atLeast string) []string {
		t.Helper()
		schema := arrow.NewSchema([]arrow.Field{{Name: "1", Type: arrow.PrimitiveTypes.Float64}}, nil)
		batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"1": `+atLeast+`}]`))
		if err != nil {
			t.Fatal(err)
		}
		defer batch.Release()
		prepared.SetParameters(batch)
		info, err := prepared.Execute(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return d.mustGet(info.Endpoint[0].Ticket.Ticket)
	}
	equal(t, "above 19.5", run("19.5"), []string{"JFK 20.5"})
	equal(t, "above 0", run("0"), []string{"JFK 20.5", "LGA 19"})

	info, err := prepared.Execute(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d.Clock.Set(d.Clock.Now().Add(61 * time.Minute))
	if _, err := d.get(info.Endpoint[0].Ticket.Ticket); status.Code(err) != codes.NotFound {
		t.Errorf("an expired statement: %v", err)
	}
	if err := prepared.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := d.sql.Prepare(ctx, "DELETE FROM features.weather"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a DELETE: %v", err)
	}
}

func TestStatementsThatAreNotOffered(t *testing.T) {
	d := open(t)
	if _, err := d.sql.ExecuteUpdate(t.Context(), "DELETE FROM features.weather"); status.Code(err) != codes.Unimplemented ||
		!strings.Contains(err.Error(), "single SELECT statements") {
		t.Errorf("update: %v", err)
	}
	if _, err := d.sql.ExecuteSubstrait(t.Context(), flightsql.SubstraitPlan{Plan: []byte("x")}); status.Code(err) != codes.Unimplemented {
		t.Errorf("substrait: %v", err)
	}
	var attacks = []string{"SELECT 1; DROP TABLE x", "SELECT * FROM read_csv('/etc/passwd')", "COPY (SELECT 1) TO 'x'", ""}
	for _, query := range attacks {
		_, err := d.sql.Execute(t.Context(), query)
		if code := status.Code(err); code != codes.InvalidArgument && code != codes.PermissionDenied {
			t.Errorf("%q: %v", query, err)
		}
		// A ticket is text that anybody can write, so it is checked like the query.
		ticket, err := flightsql.CreateStatementQueryTicket([]byte(query))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.get(ticket); status.Code(err) != codes.InvalidArgument && status.Code(err) != codes.PermissionDenied {
			t.Errorf("ticket %q: %v", query, err)
		}
	}
}

// put sends messages as they are and returns the answer or the error.
func (d *door) put(messages ...*arrowflight.FlightData) (string, error) {
	ctx, cancel := context.WithCancel(d.T.(*testing.T).Context())
	defer cancel()
	stream, err := d.flight.DoPut(ctx)
	if err != nil {
		return "", err
	}
	for _, message := range messages {
		if stream.Send(message) != nil {
			break // the server has said why
		}
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	result, err := stream.Recv()
	return string(result.GetAppMetadata()), err
}

// messages are what a writer sends to ingest rows of weather, as JSON.
func (d *door) messages(rows string) recording {
	d.T.Helper()
	view, err := d.Engine.Registry().View("weather")
	if err != nil {
		d.T.Fatal(err)
	}
	var sent recording
	writer := arrowflight.NewRecordWriter(&sent, ipc.WithSchema(view.Schema()))
	for batch := range d.Rows(view.Schema(), rows).All {
		if err := writer.Write(batch); err != nil {
			d.T.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		d.T.Fatal(err)
	}
	sent[0].FlightDescriptor = &arrowflight.FlightDescriptor{Type: arrowflight.DescriptorPATH, Path: []string{"features", "weather"}}
	return sent
}

type recording []*arrowflight.FlightData

func (r *recording) Send(data *arrowflight.FlightData) error {
	*r = append(*r, &arrowflight.FlightData{DataHeader: bytes.Clone(data.DataHeader), DataBody: bytes.Clone(data.DataBody)})
	return nil
}

const oneRow = `[{"origin": "EWR", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1, "wind": 2}]`

func TestIngestByPath(t *testing.T) {
	d := open(t)
	answer, err := d.put(d.messages(oneRow)...)
	if err != nil {
		t.Fatal(err)
	}
	var result driftline.IngestResult
	if err := json.Unmarshal([]byte(answer), &result); err != nil || result.Rows != 1 || result.View != "weather" {
		t.Errorf("%s, %v", answer, err)
	}
	// A descriptor may come before the schema, and metadata alone between batches.
	sent := d.messages(oneRow)
	descriptor := &arrowflight.FlightData{FlightDescriptor: sent[0].FlightDescriptor}
	note := &arrowflight.FlightData{AppMetadata: []byte("note")}
	sent[0].FlightDescriptor = nil
	if answer, err = d.put(descriptor, sent[0], note, sent[1], note); err != nil || !strings.Contains(answer, `"rows":1`) {
		t.Errorf("%s, %v", answer, err)
	}
}

// Messages that kill arrow-go, and others that are merely wrong, are refused, change
// nothing, and leave the server as it was.
func TestHostileIngest(t *testing.T) {
	d := open(t)
	header := len(d.messages(oneRow)[0].DataHeader)
	refused := 0
	for at := 0; at+4 <= header; at += 4 {
		for _, word := range []uint32{0x7fff_ffff, 0x1000_0000, uint32(-at)} {
			sent := d.messages(oneRow)
			binary.LittleEndian.PutUint32(sent[0].DataHeader[at:], word)
			_, err := d.put(sent...)
			if err == nil {
				continue // the word meant nothing
			}
			refused++
			if code := status.Code(err); code != codes.InvalidArgument {
				t.Errorf("word %d = %#x: %v", at, word, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no message was refused")
	}
	for what, send := range map[string]func() []*arrowflight.FlightData{
		"no message":    func() []*arrowflight.FlightData { return nil },
		"no descriptor": func() []*arrowflight.FlightData { s := d.messages(oneRow); s[0].FlightDescriptor = nil; return s },
		"no schema":     func() []*arrowflight.FlightData { return d.messages(oneRow)[1:] },
		"descriptor alone": func() []*arrowflight.FlightData {
			return []*arrowflight.FlightData{{FlightDescriptor: d.messages(oneRow)[0].FlightDescriptor}}
		},
		"an empty command": func() []*arrowflight.FlightData {
			s := d.messages(oneRow)
			s[0].FlightDescriptor = &arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD}
			return s
		},
		"a body of another length": func() []*arrowflight.FlightData {
			s := d.messages(oneRow)
			s[1].DataBody = s[1].DataBody[:len(s[1].DataBody)-8]
			return s
		},
		"offsets beyond the data": func() []*arrowflight.FlightData {
			s := d.messages(oneRow)
			for i := range s[1].DataBody {
				s[1].DataBody[i] = 0x7f
			}
			return s
		},
	} {
		_, err := d.put(send()...)
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.HasPrefix(s.Message(), "invalid: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for size, want := range map[int]string{17: "exhausted: a message of 17 MiB; send batches of at most 16 MiB", 40: "larger than max"} {
		large := d.messages(oneRow)
		large[1].DataBody = make([]byte, size<<20)
		if _, err := d.put(large...); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), want) {
			t.Errorf("a message of %d MiB: %v", size, err)
		}
	}
	if rows := d.mustGet([]byte(`{"op": "view", "name": "weather"}`)); slices.ContainsFunc(rows, func(row string) bool {
		return !strings.HasPrefix(row, "JFK") && !strings.HasPrefix(row, "LGA") && !strings.HasPrefix(row, "EWR")
	}) {
		t.Errorf("rows %q", rows)
	}
}

// A client that goes away in the middle of an answer leaves nothing behind; the
// engine's allocator and the leak check say so when the test ends.
func TestClientsThatGoAway(t *testing.T) {
	d := open(t)
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		info, err := d.sql.Execute(ctx, fmt.Sprintf("SELECT i, repeat('x', 500) AS s FROM range(%d) r(i)", 100_000+i))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := d.flight.DoGet(ctx, info.Endpoint[0].Ticket)
		if err != nil {
			t.Fatal(err)
		}
		for range i {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
	}
	waitFor(t, func() bool { return strings.Count(d.log.String(), "code=cancelled") == 5 })
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	env := testenv.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := flight.New(env.Engine, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	c, err := arrowflight.NewClientWithMiddleware(l.Addr().String(), nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	stream, err := c.DoExchange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	command := &arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD, Cmd: []byte(`{"op": "online"}`)}
	if err := stream.Send(&arrowflight.FlightData{FlightDescriptor: command}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream still lives")
	}
}

// Clients that go away in the middle of an answer, by call or with their connection,
// leave nothing behind: the allocator is checked when the test ends.
func TestAnswersThatAreNotReadToTheirEnd(t *testing.T) {
	d := open(t)
	info, err := d.sql.Execute(t.Context(), "SELECT i, i * 2 AS twice FROM range(1000000) r(i)")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := d.flight.DoGet(ctx, info.Endpoint[0].Ticket)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
	}
	stream, err := d.flight.DoGet(t.Context(), info.Endpoint[0].Ticket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	} // and the connection is closed by open's cleanup
}

// A query runs once for each row of its parameters.
func TestSeveralRowsOfParameters(t *testing.T) {
	d := open(t)
	ctx := t.Context()
	prepared, err := d.sql.Prepare(ctx, "SELECT origin, temp FROM features.weather WHERE origin = ? ORDER BY origin")
	if err != nil {
		t.Fatal(err)
	}
	if got := prepared.ParameterSchema(); got.NumFields() != 1 || got.Field(0).Type.ID() != arrow.STRING {
		t.Errorf("parameters: %v", got)
	}
	run := func(rows string) ([]string, error) {
		batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, prepared.ParameterSchema(), strings.NewReader(rows))
		if err != nil {
			t.Fatal(err)
		}
		defer batch.Release()
		prepared.SetParameters(batch)
		info, err := prepared.Execute(ctx)
		if err != nil {
			return nil, err
		}
		return d.get(info.Endpoint[0].Ticket.Ticket)
	}
	got, err := run(`[{"1": "LGA"}, {"1": "EWR"}, {"1": "JFK"}, {"1": null}, {"1": "LGA"}]`)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "answers", got, []string{"LGA 19", "JFK 20.5", "LGA 19"})
	if _, err := run("[" + strings.Repeat(`{"1": "LGA"},`, 1000) + `{"1": "LGA"}]`); status.Code(err) != codes.ResourceExhausted ||
		!strings.Contains(err.Error(), "join it") {
		t.Errorf("too many: %v", err)
	}
	if err := prepared.Close(ctx); err != nil {
		t.Error(err)
	}
}

// A client that cancels an exchange ends the query, though its spine has not ended.
func TestACancelledExchangeEndsItsQuery(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := d.flight.DoExchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time}}, nil)
	spine, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer spine.Release()
	writer := arrowflight.NewRecordWriter(stream, ipc.WithSchema(schema))
	writer.SetFlightDescriptor(&arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD,
		Cmd: []byte(`{"op": "historical", "features": ["weather:temp"], "event_timestamp": "event_timestamp"}`)})
	for range 10 {
		if err := writer.Write(spine); err != nil {
			t.Fatal(err)
		}
	}
	// The engine waits for the rest of the spine by then, or soon.
	time.AfterFunc(200*time.Millisecond, cancel)
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("the call ended with %v", err)
	}
	waitFor(t, func() bool {
		return strings.Contains(d.log.String(), `op="DoExchange`) || strings.Contains(d.log.String(), "op=DoExchange")
	})
	if !strings.Contains(d.log.String(), "code=cancelled") {
		t.Errorf("the query went on:\n%s", d.log)
	}
}
