package client

import (
	"context"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/driftline/driftline"
)

// OnlineOption changes what an online read answers.
type OnlineOption func(*onlineOptions)

type onlineOptions struct{ valuesOnly bool }

// ValuesOnly leaves the statuses and event timestamps out of the answer, which is
// then a third as wide: the response's Features have names only, and a value that is
// not there is null.
func ValuesOnly() OnlineOption { return func(o *onlineOptions) { o.valuesOnly = true } }

// Online returns the newest feature values of the entities, one row per row. A
// service that asks often keeps an [OnlineStream] open instead.
func (c *Client) Online(ctx context.Context, request driftline.OnlineRequest, entities arrow.RecordBatch, options ...OnlineOption) (*driftline.OnlineResponse, error) {
	stream, err := c.OpenOnline(ctx, request, entities.Schema(), options...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	return stream.Read(entities)
}

// History returns the newest rows that a view keeps online of each of the entities, newest
// first. The caller releases them.
func (c *Client) History(ctx context.Context, request driftline.HistoryRequest, entities arrow.RecordBatch) (arrow.RecordBatch, error) {
	x, err := c.startExchange(ctx, struct {
		Op string `json:"op"`
		driftline.HistoryRequest
	}{"history", request}, driftline.BatchesOf(entities.Schema(), entities))
	if err != nil {
		return nil, err
	}
	defer x.close()
	if !x.reader.Next() {
		if err := x.reader.Err(); err != nil {
			return nil, x.cause(err)
		}
		return nil, driftline.Errorf(driftline.Unavailable, "the server did not answer").WithHint("try again")
	}
	rows := x.reader.RecordBatch()
	rows.Retain()
	return rows, nil
}

// OnlineStream asks one question, of many batches of entities, over one call. It is safe
// for concurrent use: the next batch is sent while the answer to the one before is made.
type OnlineStream struct {
	stream flight.FlightService_DoExchangeClient
	cancel context.CancelFunc

	sending sync.Mutex // guards writer and last
	writer  *flight.Writer
	last    chan struct{} // closed once the read that was sent last has its answer

	reader *flight.Reader // of whose turn it is: answers come in the order of questions

	onlineOptions
}

// OpenOnline starts a stream of online reads of entities with that schema. It
// lives until Close, or until ctx ends.
func (c *Client) OpenOnline(ctx context.Context, request driftline.OnlineRequest, entities *arrow.Schema, options ...OnlineOption) (*OnlineStream, error) {
	var chosen onlineOptions
	for _, choose := range options {
		choose(&chosen)
	}
	descriptor, err := commandDescriptor(struct {
		Op string `json:"op"`
		driftline.OnlineRequest
		Metadata bool `json:"metadata"`
	}{"online", request, !chosen.valuesOnly})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.flight.DoExchange(ctx)
	if err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	writer := flight.NewRecordWriter(stream, ipc.WithSchema(entities))
	writer.SetFlightDescriptor(descriptor)
	none := make(chan struct{})
	close(none)
	return &OnlineStream{stream: stream, writer: writer, cancel: cancel, last: none, onlineOptions: chosen}, nil
}

// Read returns the values of one batch of entities. The caller releases the
// response. After an error the stream is over.
func (s *OnlineStream) Read(entities arrow.RecordBatch) (*driftline.OnlineResponse, error) {
	s.sending.Lock()
	sent := s.writer.Write(entities)
	before, answered := s.last, make(chan struct{})
	s.last = answered
	s.sending.Unlock()
	defer close(answered)
	<-before
	if err := endedEarly(sent); err != nil {
		return nil, err
	}
	return s.receive(int(entities.NumCols()))
}

// receive returns the next answer.
func (s *OnlineStream) receive(requestColumns int) (*driftline.OnlineResponse, error) {
	if s.reader == nil {
		reader, err := flight.NewRecordReader(s.stream)
		if err != nil {
			return nil, fromStatus(err)
		}
		s.reader = reader
	}
	if !s.reader.Next() {
		if err := s.reader.Err(); err != nil {
			return nil, fromStatus(err)
		}
		return nil, driftline.Errorf(driftline.Unavailable, "the server ended the stream of online reads").
			WithHint("open a new stream")
	}
	if s.valuesOnly {
		return valuesResponse(s.reader.RecordBatch(), requestColumns), nil
	}
	return onlineResponse(s.reader.RecordBatch(), requestColumns)
}

// Close ends the call, and reads that have no answer yet with an error.
func (s *OnlineStream) Close() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.writer.Close()
	err := s.stream.CloseSend()
	s.cancel()
	<-s.last
	if s.reader != nil {
		s.reader.Release()
		s.reader = nil
	}
	return fromStatus(err)
}

// valuesResponse is an answer without statuses and event timestamps.
func valuesResponse(answer arrow.RecordBatch, requestColumns int) *driftline.OnlineResponse {
	answer.Retain()
	response := &driftline.OnlineResponse{Batch: answer}
	for i := requestColumns; i < int(answer.NumCols()); i++ {
		response.Features = append(response.Features, driftline.OnlineColumn{Name: answer.ColumnName(i)})
	}
	return response
}

// onlineResponse takes an answer apart. Its columns are the request's, then one
// per feature, then a status and an event timestamp per feature.
func onlineResponse(answer arrow.RecordBatch, requestColumns int) (*driftline.OnlineResponse, error) {
	features := (int(answer.NumCols()) - requestColumns) / 3
	first := requestColumns + features
	response := &driftline.OnlineResponse{}
	for i := range features {
		statuses, ok1 := answer.Column(first + 2*i).(*array.String)
		times, ok2 := answer.Column(first + 2*i + 1).(*array.Timestamp)
		if !ok1 || !ok2 {
			return nil, driftline.Errorf(driftline.Internal, "cannot read the server's answer: column %d is no status", first+2*i)
		}
		column := driftline.OnlineColumn{Name: answer.ColumnName(requestColumns + i)}
		column.EventTimes = slices.Clone(times.TimestampValues())
		for row := range statuses.Len() {
			column.Statuses = append(column.Statuses, driftline.Status(statuses.Value(row)))
			if times.IsNull(row) {
				column.EventTimes[row] = 0
			}
		}
		response.Features = append(response.Features, column)
	}
	schema := arrow.NewSchema(answer.Schema().Fields()[:first], nil)
	response.Batch = array.NewRecordBatch(schema, answer.Columns()[:first], answer.NumRows())
	return response, nil
}
