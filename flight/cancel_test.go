package flight_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
)

// long is a query whose answer is far larger than what is on its way at one time.
const long = "SELECT a.range FROM range(1000000) a, range(20) b"

// begun asks a query and reads its first batch.
func (d *door) begun(t *testing.T, info *arrowflight.FlightInfo) *arrowflight.Reader {
	t.Helper()
	reader, err := d.sql.DoGet(t.Context(), info.Endpoint[0].Ticket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Release)
	if !reader.Next() {
		t.Fatal(reader.Err())
	}
	return reader
}

func TestAQueryIsCancelledByItsFlightInfo(t *testing.T) {
	cancels := map[string]func(*door, *arrowflight.FlightInfo) (bool, error){
		"CancelFlightInfo": func(d *door, info *arrowflight.FlightInfo) (bool, error) {
			result, err := d.sql.CancelFlightInfo(t.Context(), &arrowflight.CancelFlightInfoRequest{Info: info})
			return result.GetStatus() == arrowflight.CancelStatusCancelled, err
		},
		"CancelQuery": func(d *door, info *arrowflight.FlightInfo) (bool, error) {
			//lint:ignore SA1019 older clients call it
			result, err := d.sql.CancelQuery(t.Context(), info)
			return result == flightsql.CancelResultCancelled, err
		},
	}
	for name, cancel := range cancels {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			prepared, err := d.sql.Prepare(t.Context(), long)
			if err != nil {
				t.Fatal(err)
			}
			asked := map[string]func() (*arrowflight.FlightInfo, error){
				"a statement":          func() (*arrowflight.FlightInfo, error) { return d.sql.Execute(t.Context(), long) },
				"a prepared statement": func() (*arrowflight.FlightInfo, error) { return prepared.Execute(t.Context()) },
			}
			for kind, ask := range asked {
				info, err := ask()
				if err != nil {
					t.Fatal(err)
				}
				if done, err := cancel(d, info); err != nil || done {
					t.Errorf("%s that is not running: cancelled %v, %v", kind, done, err)
				}
				reader := d.begun(t, info)
				if done, err := cancel(d, info); err != nil || !done {
					t.Errorf("%s that is running: cancelled %v, %v", kind, done, err)
				}
				for reader.Next() { // what was on its way
				}
				if status.Code(reader.Err()) != codes.Canceled {
					t.Errorf("%s ended with %v", kind, reader.Err())
				}
			}
		})
	}
}

// Two clients that ask the same have a query each.
func TestACancelledQueryIsNobodyElses(t *testing.T) {
	d := open(t)
	mine, err := d.sql.Execute(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := d.sql.Execute(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	reader := d.begun(t, theirs)
	rows := reader.RecordBatch().NumRows()
	d.begun(t, mine)
	if _, err := d.sql.CancelFlightInfo(t.Context(), &arrowflight.CancelFlightInfoRequest{Info: mine}); err != nil {
		t.Fatal(err)
	}
	for reader.Next() {
		rows += reader.RecordBatch().NumRows()
	}
	if reader.Err() != nil || rows != 20_000_000 {
		t.Errorf("the other query gave %d rows and %v", rows, reader.Err())
	}
}
