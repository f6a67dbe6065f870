package flight

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/flight"
)

// queries are those that are being answered, by ticket, so that whoever has a query's
// FlightInfo can end it: from another thread or connection than the one that reads.
type queries struct {
	mu      sync.Mutex
	running map[string]map[*query]struct{}
}

type query struct{ cancel context.CancelFunc }

func newQueries() *queries { return &queries{running: make(map[string]map[*query]struct{})} }

// run calls answer with a context that ends when the ticket is cancelled.
func (q *queries) run(ctx context.Context, ticket []byte, answer func(context.Context) error) error {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	this := &query{cancel}
	q.add(string(ticket), this)
	defer q.remove(string(ticket), this)
	err := answer(within)
	if err != nil && within.Err() != nil {
		return context.Canceled // whatever it became on its way
	}
	return err
}

func (q *queries) add(ticket string, this *query) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[ticket] == nil {
		q.running[ticket] = make(map[*query]struct{})
	}
	q.running[ticket][this] = struct{}{}
}

func (q *queries) remove(ticket string, this *query) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running[ticket], this)
	if len(q.running[ticket]) == 0 {
		delete(q.running, ticket)
	}
}

// cancel ends the queries of a ticket and reports whether there were any.
func (q *queries) cancel(ticket []byte) bool {
	q.mu.Lock()
	found := slices.Collect(maps.Keys(q.running[string(ticket)]))
	q.mu.Unlock()
	for _, this := range found {
		this.cancel()
	}
	return len(found) > 0
}

// CancelFlightInfo ends the queries that are being answered for a FlightInfo. CancelQuery,
// which is older, comes here too. A query that is not running cannot be cancelled, and
// need not be: nothing waits for its ticket on the server.
func (s *sqlService) CancelFlightInfo(_ context.Context, request *flight.CancelFlightInfoRequest) (flight.CancelFlightInfoResult, error) {
	status := flight.CancelStatusNotCancellable
	for _, endpoint := range request.GetInfo().GetEndpoint() {
		if s.queries.cancel(endpoint.GetTicket().GetTicket()) {
			status = flight.CancelStatusCancelled
		}
	}
	return flight.CancelFlightInfoResult{Status: status}, nil
}

// A statement's handle is its text and, after a zero byte, what makes the ticket one of
// its kind: two clients that ask the same must not cancel each other's query. Handles
// without that are answered too.
func newHandle(text string) []byte {
	return append(append([]byte(text), 0), rand.Text()...)
}

func textOf(handle []byte) string {
	if end := bytes.LastIndexByte(handle, 0); end >= 0 {
		handle = handle[:end]
	}
	return string(handle)
}
