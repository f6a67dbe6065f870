package flight_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// profiled sends a thousand rows to be profiled, and returns the trailer of the answer.
func (d *door) profiled(t *testing.T, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := d.flight.DoExchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "amount", Type: arrow.PrimitiveTypes.Float64, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 1000 {
		b.Field(0).(*array.Float64Builder).Append(float64(i) / 4)
	}
	b.Field(0).AppendNull()
	rows := b.NewRecordBatch()
	defer rows.Release()
	w := arrowflight.NewRecordWriter(stream, ipc.WithSchema(schema))
	w.SetFlightDescriptor(&arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD, Cmd: []byte(command)})
	if err := w.Write(rows); err != nil && !errors.Is(err, io.EOF) { // the answer says why
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	trailer := ""
	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return trailer, nil
		}
		if err != nil {
			return "", err
		}
		if len(data.AppMetadata) > 0 {
			trailer = string(data.AppMetadata)
		}
	}
}

func TestRowsOfAStreamAreProfiled(t *testing.T) {
	d := open(t)
	answer, err := d.profiled(t, `{"op": "profile", "source": "orders", "start": "2013-06-01T00:00:00Z", "end": "2013-06-02T00:00:00Z"}`)
	if err != nil {
		t.Fatal(err)
	}
	panes, err := d.Engine.Profiles(t.Context(), driftline.ProfileWindow{Source: "orders"})
	if err != nil || len(panes) != 1 || panes[0].Rows != 1001 || panes[0].Start.Day() != 1 {
		t.Fatalf("kept are %+v (%v), answered was %s", panes, err, answer)
	}

	local, err := d.profiled(t, `{"op": "profile", "source": "elsewhere", "local": true}`)
	if err != nil {
		t.Fatal(err)
	}
	var file driftline.ProfileFile
	if err := json.Unmarshal([]byte(local), &file); err != nil || len(file.Data) == 0 {
		t.Fatalf("%v in %.200s", err, local)
	}
	if panes, err := d.Engine.Profiles(t.Context(), driftline.ProfileWindow{Source: "elsewhere"}); err == nil && len(panes) > 0 {
		t.Errorf("a profile that was to be sent back is kept: %+v", panes)
	}
	again, err := json.Marshal(file.Data)
	if err != nil {
		t.Fatal(err)
	}
	like, err := d.profiled(t, `{"op": "profile", "source": "elsewhere", "local": true, "like": `+string(again)+`}`)
	if err != nil || like != local {
		t.Errorf("made like itself, of the same rows, it is another profile (%v)", err)
	}
}

func TestRowsThatCannotBeProfiledAreRefused(t *testing.T) {
	d := open(t)
	for command, words := range map[string]string{
		`{"op": "profile", "source": "a", "columns": ["amout"]}`:        "amount",
		`{"op": "profile", "source": "a", "local": true, "like": "AA"}`: "",
		`{"op": "profile", "source": 7}`:                                "",
	} {
		if answer, err := d.profiled(t, command); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, answered was %.100s", command, err, answer)
		}
	}
}
