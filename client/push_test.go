package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/web"
)

// oneRow is a batch of one row of weather. The caller releases it.
func oneRow(t *testing.T, origin string, hour int, temp float64) arrow.RecordBatch {
	t.Helper()
	text := fmt.Sprintf(`[{"origin": %q, "event_timestamp": "2013-06-01T%02d:00:00Z", "temp": %g, "wind": 1}]`, origin, hour, temp)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, weatherSchema, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func TestPusher(t *testing.T) {
	c, _ := withWeather(t)
	pusher := must[*client.Pusher](t)(c.OpenPusher(t.Context(), "weather", weatherSchema))
	const writers, each = 16, 10
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				row := oneRow(t, fmt.Sprintf("W%02d", w), 12, float64(i))
				result, err := pusher.Push(t.Context(), "", row)
				if row.Release(); err != nil || result.Rows != 1 || result.View != "weather" {
					t.Errorf("push: %+v, %v", result, err)
				}
			}
		})
	}
	wait.Wait()

	row := oneRow(t, "JFK", 12, 1)
	defer row.Release()
	first := must[driftline.IngestResult](t)(pusher.Push(t.Context(), "key", row))
	again := must[driftline.IngestResult](t)(pusher.Push(t.Context(), "key", row))
	if !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("again: %+v, first: %+v", again, first)
	}
	other := oneRow(t, "JFK", 12, 2)
	defer other.Release()
	if _, err := pusher.Push(t.Context(), "key", other); driftline.CodeOf(err) != driftline.Conflict || !strings.Contains(err.Error(), "use a new key") {
		t.Errorf("the same key with other rows: %v", err)
	}
	without := array.NewRecordBatch(arrow.NewSchema(weatherSchema.Fields()[:3], nil), row.Columns()[:3], 1)
	defer without.Release()
	if _, err := pusher.Push(t.Context(), "", without); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("rows of another schema: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pusher.Push(cancelled, "", row); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := errors.Join(pusher.Close(), pusher.Close()); err != nil {
		t.Error(err)
	}
	if _, err := pusher.Push(t.Context(), "", row); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("closed: %v", err)
	}
	rows := rowsOf(t, must[driftline.Batches](t)(c.SQL(t.Context(), "SELECT count(*) FROM features.weather WHERE origin LIKE 'W%'")))
	equal(t, "rows", rows, []string{fmt.Sprint(writers * each)})
}

func TestPushersThatCannotPush(t *testing.T) {
	c, _ := withWeather(t)
	row := oneRow(t, "JFK", 12, 1)
	defer row.Release()
	unused := must[*client.Pusher](t)(c.OpenPusher(t.Context(), "weather", weatherSchema))
	unknown := must[*client.Pusher](t)(c.OpenPusher(t.Context(), "wether", weatherSchema))
	for range 2 {
		if _, err := unknown.Push(t.Context(), "", row); driftline.CodeOf(err) != driftline.NotFound || !strings.Contains(err.Error(), "did you mean") {
			t.Errorf("unknown view: %v", err)
		}
	}
	if err := errors.Join(unused.Close(), unknown.Close()); err != nil {
		t.Error(err)
	}
}

// wire passes bytes on to a server until it is cut.
type wire struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func startWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{Listener: listen(t)}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			in, err := w.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
				wait.Go(func() {
					_, _ = io.Copy(ends[0], ends[1])
					_ = ends[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = w.Close()
		w.cut()
		wait.Wait()
	})
	return w
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = slices.Delete(w.conns, 0, len(w.conns))
}

// dialAt is a client that reaches the engine's Flight door at an address of its own.
func dialAt(t *testing.T, env *testenv.Env, flightAddress string) *client.Client {
	t.Helper()
	door := listen(t)
	server := web.New(env.Engine, &web.Options{Version: "test", FlightAddress: flightAddress})
	served := make(chan error, 1)
	go func() { served <- server.Serve(door) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	c := must[*client.Client](t)(client.Dial(t.Context(), door.Addr().String()))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// After a lost connection a pusher goes on with another.
func TestPusherAfterALostConnection(t *testing.T) {
	direct, env := serve(t)
	info := must[client.ServerInfo](t)(direct.Server(t.Context()))
	w := startWire(t, info.Flight)
	c := dialAt(t, env, w.Addr().String())
	must[[]driftline.Change](t)(c.Apply(t.Context(), definitions))
	pusher := must[*client.Pusher](t)(c.OpenPusher(t.Context(), "weather", weatherSchema))
	row := oneRow(t, "JFK", 12, 1)
	defer row.Release()
	first := must[driftline.IngestResult](t)(pusher.Push(t.Context(), "key", row))
	w.cut()
	var again driftline.IngestResult
	var err error
	for range 1000 { // at first the client may not know yet
		if again, err = pusher.Push(t.Context(), "key", row); driftline.CodeOf(err) != driftline.Unavailable {
			break
		}
	}
	if err != nil || !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("again: %+v, %v", again, err)
	}
	if err := pusher.Close(); err != nil {
		t.Error(err)
	}
}

func TestOnlineValuesOnly(t *testing.T) {
	c, env := withWeather(t)
	entities, _, err := array.RecordFromJSON(env.Mem, arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}}, nil),
		strings.NewReader(`[{"origin": "JFK"}, {"origin": "EWR"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer entities.Release()
	request := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{Service: "model"}}
	response := must[*driftline.OnlineResponse](t)(c.Online(t.Context(), request, entities, client.ValuesOnly()))
	defer response.Release()
	if response.Batch.NumCols() != 3 || len(response.Features) != 2 || response.Features[1].Name != "wind" || response.Features[1].Statuses != nil {
		t.Errorf("%v\n%+v", response.Batch, response.Features)
	}
}
