package main

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// printRows writes a stream of rows as an aligned table, CSV or JSON.
func printRows(w io.Writer, rows driftline.Batches, format string) error {
	out := bufio.NewWriter(w)
	var err error
	switch format {
	case "csv":
		err = printCSV(out, rows)
	case "json":
		err = printJSON(out, rows)
	default:
		err = printAligned(out, w, rows)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// alignedRows is how many rows a table's widths are measured on; later, wider
// cells stick out, so that an answer of any size needs bounded memory.
const alignedRows = 1000

func printAligned(out *bufio.Writer, terminal io.Writer, rows driftline.Batches) error {
	var header []string
	for _, f := range rows.Schema.Fields() {
		name := printable(f.Name)
		if arrow.IsInteger(f.Type.ID()) || arrow.IsFloating(f.Type.ID()) || arrow.IsDecimal(f.Type.ID()) {
			name = ">" + name
		}
		header = append(header, name)
	}
	t, paint := newTable(header...), painter(terminal)
	var widths []int
	flush := func() error {
		if widths == nil {
			widths = t.widths()
			if err := t.printRow(out, t.header, widths, func(s string) string { return paint(dim, s) }); err != nil {
				return err
			}
		}
		for _, row := range t.rows {
			if err := t.printRow(out, row, widths, nil); err != nil {
				return err
			}
		}
		t.rows = t.rows[:0]
		return nil
	}
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		for i := range int(batch.NumRows()) {
			t.add(cells(batch, i, "NULL")...)
			if len(t.rows) == alignedRows {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

func cells(batch arrow.RecordBatch, row int, null string) []string {
	line := make([]string, batch.NumCols())
	for j, column := range batch.Columns() {
		line[j] = null
		if !column.IsNull(row) {
			line[j] = printable(cellText(column, row))
		}
	}
	return line
}

// cellText is one value that is not null, for people.
func cellText(column arrow.Array, i int) string {
	switch c := column.(type) {
	case *array.Float64:
		return strconv.FormatFloat(c.Value(i), 'g', -1, 64)
	case *array.Float32:
		return strconv.FormatFloat(float64(c.Value(i)), 'g', -1, 32)
	case *array.Timestamp:
		t := c.Value(i).ToTime(c.DataType().(*arrow.TimestampType).Unit)
		return t.UTC().Format(time.RFC3339Nano)
	case *array.Map, *array.List:
		if text, err := json.Marshal(jsonValue(column, i)); err == nil {
			return string(text)
		}
	}
	return column.ValueStr(i)
}

func printCSV(out *bufio.Writer, rows driftline.Batches) error {
	writer := csv.NewWriter(out)
	var header []string
	for _, f := range rows.Schema.Fields() {
		header = append(header, f.Name)
	}
	if err := writer.Write(header); err != nil {
		return err
	}
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		line := make([]string, batch.NumCols())
		for i := range int(batch.NumRows()) {
			for j, column := range batch.Columns() {
				line[j] = ""
				if !column.IsNull(i) {
					line[j] = cellText(column, i)
				}
			}
			if err := writer.Write(line); err != nil {
				return err
			}
		}
	}
	writer.Flush()
	return writer.Error()
}

// printJSON writes a list of objects, one row a line.
func printJSON(out *bufio.Writer, rows driftline.Batches) error {
	lead := "[\n"
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		for i := range int(batch.NumRows()) {
			line, err := rowJSON(rows.Schema, batch, i)
			if err != nil {
				return err
			}
			out.WriteString(lead)
			out.Write(line)
			lead = ",\n"
		}
	}
	if lead == "[\n" {
		out.WriteString("[")
	}
	_, err := out.WriteString("\n]\n")
	return err
}

func rowJSON(schema *arrow.Schema, batch arrow.RecordBatch, row int) ([]byte, error) {
	line := []byte{'{'}
	for j, column := range batch.Columns() {
		if j > 0 {
			line = append(line, ", "...)
		}
		name, err := json.Marshal(schema.Field(j).Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(jsonValue(column, row))
		if err != nil {
			return nil, err
		}
		line = append(append(append(line, name...), ": "...), value...)
	}
	return append(line, '}'), nil
}

// jsonValue is one value as Go's JSON encoder takes it: floats with NaN as a
// string, times in RFC 3339, bytes in base64.
func jsonValue(column arrow.Array, i int) any {
	if column.IsNull(i) {
		return nil
	}
	switch c := column.(type) {
	case *array.Float64:
		return driftline.Number(c.Value(i))
	case *array.Float32:
		return driftline.Number(c.Value(i))
	case *array.Binary:
		return base64.StdEncoding.EncodeToString(c.Value(i))
	case *array.Timestamp:
		return cellText(column, i)
	case *array.Map:
		object := map[string]any{}
		from, to := c.ValueOffsets(i)
		for at := int(from); at < int(to); at++ {
			object[c.Keys().ValueStr(at)] = jsonValue(c.Items(), at)
		}
		return object
	case *array.List:
		from, to := c.ValueOffsets(i)
		elements := make([]any, 0, to-from)
		for at := int(from); at < int(to); at++ {
			elements = append(elements, jsonValue(c.ListValues(), at))
		}
		return elements
	}
	return column.GetOneForMarshal(i)
}
