package query

import (
	"testing"

	"github.com/driftline/driftline"
	"github.com/duckdb/duckdb-go/v2"
)

func TestFailuresWhileAResultBecomesArrow(t *testing.T) {
	for _, c := range []struct {
		says string
		code driftline.Code
		want string
	}{
		{
			`{"exception_type":"Out of Memory","exception_message":"ArrowBuffer: failed to allocate 16384 bytes\n\nPossible solutions"}`,
			driftline.Exhausted, "the query needs more memory than it may use: see the log of the server; ask for fewer rows or columns",
		},
		{
			`{"exception_type":"Invalid Input","exception_message":"a value does not fit\nin"}`,
			driftline.Invalid, "a value does not fit",
		},
		{
			`{"exception_type":"INTERNAL","exception_message":"assertion at /a/b/c.cpp"}`,
			driftline.Internal, "the query failed: see the log of the server",
		},
		{`{"a": "text of somebody's own"}`, driftline.Invalid, `{"a": "text of somebody's own"}`},
	} {
		err := failure(t.Context(), &duckdb.Error{Type: duckdb.ErrorTypeInvalid, Msg: c.says})
		if got := driftline.CodeOf(err); got != c.code || err.Error() != c.want {
			t.Errorf("%s\n got %v: %v\nwant %v: %v", c.says, got, err, c.code, c.want)
		}
	}
}
