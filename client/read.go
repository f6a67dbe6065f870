package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// readCommand is a ticket of DoGet.
type readCommand struct {
	Op      string `json:"op"`
	Name    string `json:"name"`
	Version int    `json:"version,omitempty"`
	Split   string `json:"split,omitempty"`
	Rebuild bool   `json:"rebuild,omitempty"`
}

// ReadDataset streams the rows of a saved dataset; version 0 is the newest. The
// rows can be ranged over any number of times while ctx lives.
func (c *Client) ReadDataset(ctx context.Context, name driftline.DatasetName, version int) (driftline.Batches, error) {
	return c.read(ctx, readCommand{Op: "dataset", Name: string(name), Version: version})
}

// ReadPart streams the rows of one part of a divided dataset, as [Client.ReadDataset] does.
func (c *Client) ReadPart(ctx context.Context, name driftline.DatasetName, version int, part string) (driftline.Batches, error) {
	return c.read(ctx, readCommand{Op: "dataset", Name: string(name), Version: version, Split: part})
}

// ReadRebuilt makes a dataset again on the server, from its spine and the snapshots that
// it pins, and streams the rows. The range fails at its end if they are not those saved.
func (c *Client) ReadRebuilt(ctx context.Context, name driftline.DatasetName, version int) (driftline.Batches, error) {
	return c.read(ctx, readCommand{Op: "dataset", Name: string(name), Version: version, Rebuild: true})
}

// Rebuild makes a dataset again on the server and says whether it came out the same;
// version 0 is the newest.
func (c *Client) Rebuild(ctx context.Context, name driftline.DatasetName, version int) (*driftline.Rebuild, error) {
	d, err := c.Dataset(ctx, name, version)
	if err != nil {
		return nil, err
	}
	return ask[driftline.Rebuild](ctx, c, http.MethodPost, path("datasets", string(d.Name), strconv.Itoa(d.Version), "rebuild"), struct{}{})
}

// ReadView streams the whole history of a feature view, as [Client.ReadDataset] does.
func (c *Client) ReadView(ctx context.Context, name driftline.ViewName) (driftline.Batches, error) {
	return c.read(ctx, readCommand{Op: "view", Name: string(name)})
}

func (c *Client) read(ctx context.Context, command readCommand) (driftline.Batches, error) {
	descriptor, err := commandDescriptor(command)
	if err != nil {
		return driftline.Batches{}, err
	}
	info, err := c.flight.GetFlightInfo(ctx, descriptor)
	if err != nil {
		return driftline.Batches{}, fromStatus(err)
	}
	return c.fetch(ctx, info)
}

// SQL runs one SELECT over features.*, datasets.* and meta.*. The query runs
// anew each time the answer is ranged over.
func (c *Client) SQL(ctx context.Context, query string) (driftline.Batches, error) {
	info, err := c.sql.Execute(ctx, query)
	if err != nil {
		return driftline.Batches{}, fromStatus(err)
	}
	return c.fetch(ctx, info)
}

// fetch streams what info describes. Nothing is asked of the server before the
// range begins.
func (c *Client) fetch(ctx context.Context, info *flight.FlightInfo) (driftline.Batches, error) {
	schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	if err != nil {
		return driftline.Batches{}, driftline.Errorf(driftline.Internal, "cannot read the schema that the server sent: %w", err)
	}
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for _, endpoint := range info.Endpoint {
			if !c.fetchTicket(ctx, endpoint.Ticket, yield) {
				return
			}
		}
	}}, nil
}

// fetchTicket yields the batches of one ticket and reports whether to go on.
func (c *Client) fetchTicket(ctx context.Context, ticket *flight.Ticket, yield func(arrow.RecordBatch, error) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.flight.DoGet(ctx, ticket)
	if err != nil {
		return yield(nil, fromStatus(err)) && false
	}
	reader, err := flight.NewRecordReader(stream)
	if err != nil {
		return yield(nil, fromStatus(err)) && false
	}
	defer reader.Release()
	for reader.Next() {
		if !yield(reader.RecordBatch(), nil) {
			return false
		}
	}
	if err := reader.Err(); err != nil {
		return yield(nil, fromStatus(err)) && false
	}
	return true
}

func commandDescriptor(command any) (*flight.FlightDescriptor, error) {
	encoded, err := json.Marshal(command)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "cannot write the request as JSON: %w", err)
	}
	return &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: encoded}, nil
}
