package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// mostRows is how many rows an answer in JSON may have. It is put together in memory,
// so that a query that fails half-way is an error and not half an answer.
const mostRows = 100_000

// sqlRequest is the body of POST /api/v1/sql.
type sqlRequest struct {
	Query string `json:"query"`
}

// runSQL answers one SELECT:
//
//	{"columns": [{"name": "origin", "type": "utf8"}, …], "rows": [["JFK", 20.5], …]}
//
// Values are as in /get-online-features, but times are text in RFC 3339 and what is
// nested is JSON.
func (s *Server) runSQL(w http.ResponseWriter, r *http.Request) error {
	req, err := readJSON[sqlRequest](r)
	if err != nil {
		return err
	}
	rows, err := s.engine.SQL(r.Context(), req.Query, nil)
	if err != nil {
		return err
	}
	body, err := appendRows([]byte{'{'}, rows)
	if err != nil {
		return err
	}
	sendJSON(w, http.StatusOK, append(body, '}'))
	return nil
}

// appendRows appends "columns" and "rows", which belong in an object.
func appendRows(body []byte, rows driftline.Batches) ([]byte, error) {
	body = append(append(body, `"columns":[`...), columnsJSON(rows.Schema)...)
	body = append(body, `],"rows":[`...)
	n := int64(0)
	for batch, err := range rows.All {
		if err != nil {
			return nil, err
		}
		if n+batch.NumRows() > mostRows {
			return nil, driftline.Errorf(driftline.Exhausted, "the answer has more than %d rows", mostRows).
				WithHint("add a LIMIT, or read it by Flight SQL, which streams")
		}
		for i := range int(batch.NumRows()) {
			body = appendRow(comma(body, int(n)+i), batch, i)
		}
		n += batch.NumRows()
	}
	return append(body, ']'), nil
}

func columnsJSON(schema *arrow.Schema) []byte {
	var out []byte
	for i, f := range schema.Fields() {
		out = append(comma(out, i), `{"name":`...)
		out = append(appendString(out, f.Name), `,"type":`...)
		out = append(appendString(out, f.Type.String()), '}')
	}
	return out
}

func appendRow(dst []byte, batch arrow.RecordBatch, row int) []byte {
	dst = append(dst, '[')
	for i, column := range batch.Columns() {
		dst = appendSQLValue(comma(dst, i), column, row)
	}
	return append(dst, ']')
}

func appendSQLValue(dst []byte, column arrow.Array, i int) []byte {
	if column.IsNull(i) {
		return append(dst, "null"...)
	}
	switch c := column.(type) {
	case *array.Timestamp:
		t := c.DataType().(*arrow.TimestampType)
		return appendString(dst, c.Value(i).ToTime(t.Unit).Format(time.RFC3339Nano))
	case *array.Boolean, *array.Int32, *array.Int64, *array.Float32, *array.Float64, *array.String, *array.Binary:
		return appendCell(dst, column, i)
	case *array.Map:
		return appendMap(dst, c, i, appendSQLValue)
	case *array.List:
		return appendList(dst, c, i, appendSQLValue)
	}
	text, err := json.Marshal(column.GetOneForMarshal(i))
	if err != nil {
		return appendString(dst, column.ValueStr(i)) // what is not finite, nested
	}
	return append(dst, text...)
}
