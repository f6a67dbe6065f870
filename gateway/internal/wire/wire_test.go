package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"

	"github.com/driftline/driftline"
)

// TestRequests reads requests and shows what they are in both protocols, or what is wrong with them:
//
//	oip|mlflow
//	{body}
//	----
//	rows 2, a table
//	oip: {…}
//	mlflow: {…}
func TestRequests(t *testing.T) {
	datadriven.RunTest(t, "testdata/requests", func(t *testing.T, d *datadriven.TestData) string {
		parse := ParseOIP
		if d.Cmd == "mlflow" {
			parse = ParseMLflow
		}
		r, err := parse(d.Input)
		if err != nil {
			if driftline.CodeOf(err) != driftline.Invalid && driftline.CodeOf(err) != driftline.Exhausted {
				t.Errorf("%s: code %s", d.Pos, driftline.CodeOf(err))
			}
			return err.Error() + "\n"
		}
		var b strings.Builder
		fmt.Fprintf(&b, "rows %d, table %v", r.Rows, r.Table)
		for _, e := range r.Entities {
			fmt.Fprintf(&b, ", entity %s %v", e.Name, e.Cells)
		}
		for _, named := range [][2]string{{"id", r.ID}, {"key", r.Key}, {"version", r.Version}} {
			if named[1] != "" {
				fmt.Fprintf(&b, ", %s %s", named[0], named[1])
			}
		}
		oip, mlflow := AppendOIP(nil, r, "0"), AppendMLflow(nil, r)
		for _, body := range [][]byte{oip, mlflow} {
			if !json.Valid(body) {
				t.Errorf("%s: wrote what is no JSON: %s", d.Pos, body)
			}
		}
		return fmt.Sprintf("%s\noip: %s\nmlflow: %s\n", b.String(), oip, mlflow)
	})
}

// TestAnswers reads answers to a number of rows, and shows what is wrong with them, or what
// the log keeps of each row.
func TestAnswers(t *testing.T) {
	datadriven.RunTest(t, "testdata/answers", func(t *testing.T, d *datadriven.TestData) string {
		protocol, rows := driftline.ProtocolOIP, 0
		if d.Cmd == "mlflow" {
			protocol = driftline.ProtocolMLflow
		}
		if d.HasArg("rows") {
			d.ScanArgs(t, "rows", &rows)
		}
		a, err := ParseAnswer(protocol, d.Input)
		if err != nil {
			return "schema: " + err.Error() + "\n"
		}
		fault, why := a.Check(rows)
		if fault == "" && d.HasArg("signature") {
			var kind string
			d.ScanArgs(t, "signature", &kind)
			fault, why = a.CheckSignature([]driftline.SignatureColumn{{Type: kind}})
		}
		if fault != "" {
			return string(fault) + ": " + why + "\n"
		}
		var b strings.Builder
		for row := range max(1, rows) {
			r := a.Read(row, rows)
			fmt.Fprintf(&b, "%s: prediction %v", a.AppendRow(nil, row, rows), r.Prediction)
			if r.Score != nil {
				fmt.Fprintf(&b, ", score %v", *r.Score)
			}
			if r.Values != nil {
				fmt.Fprintf(&b, ", values %v", r.Values)
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "oip: %s\nmlflow: %s\n", a.AppendOutputs(nil), a.AppendPredictions(nil))
		return b.String()
	})
}

func TestAverage(t *testing.T) {
	read := func(body string) *Answer {
		a, err := ParseAnswer(driftline.ProtocolMLflow, body)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	mean, ok := Average([]*Answer{read(`{"predictions":[[1,2],[3,4]]}`), read(`{"predictions":[[3,2],[5,0]]}`)}, []float64{0.75, 0.25})
	if got := string(mean.AppendPredictions(nil)); !ok || got != `[[1.5,2],[3.5,3]]` {
		t.Errorf("the average is %s, %v", got, ok)
	}
	for _, other := range []string{`{"predictions":["a","b"]}`, `{"predictions":[1]}`, `{"predictions":[{"a":1,"b":2},{"a":1,"b":2}]}`} {
		if _, ok := Average([]*Answer{read(`{"predictions":[1,2]}`), read(other)}, []float64{0.5, 0.5}); ok {
			t.Errorf("%s has an average with numbers", other)
		}
	}
}

// What the scanner takes for JSON is what encoding/json does, but for depth, which it bounds, and what
// encoding/json mends: text that is not UTF-8.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e+3,"x\u00e9\n",null,true]}`, `[[1,2],[3]]`, `"\ud800"`, `01`, `-`, `1.`, ` [ ] `, "\"\t\"", `{"a":1,}`, `NaN`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := newScanner(text)
		cell := s.value()
		s.end()
		if depth(text) > mostDepth || !utf8.ValidString(text) {
			return
		}
		if valid := json.Valid([]byte(text)); valid != (s.err == nil) {
			t.Fatalf("encoding/json says %v of %q, the scanner says %v", valid, text, s.err)
		}
		if s.err != nil {
			return
		}
		var want any
		if json.Unmarshal([]byte(text), &want) != nil {
			return // a number that is too large for a float64
		}
		switch got := Any(cell).(type) {
		case int64:
			if want != float64(got) {
				t.Fatalf("%q is %d, want %v", text, got, want)
			}
		case json.RawMessage:
			var again any
			if err := json.Unmarshal(got, &again); err != nil || !reflect.DeepEqual(again, want) {
				t.Fatalf("%q is %s, want %v", text, got, want)
			}
		default:
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%q is %v, want %v", text, got, want)
			}
		}
	})
}

func depth(text string) (deepest int) {
	now := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			now++
			deepest = max(deepest, now)
		case ']', '}':
			now--
		}
	}
	return deepest
}

// A request that is read can be written in both protocols, and reading that again gives the same.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`{"inputs":[{"name":"a","shape":[2],"datatype":"FP64","data":[1,2.5]}]}`,
		`{"id":"7","parameters":{"routing_key":"u1"},"inputs":[{"name":"x","shape":[1,2,2],"datatype":"INT64","data":[[[1,2],[3,4]]]}],"outputs":[{"name":"y"}]}`,
		`{"dataframe_split":{"columns":["a","b"],"index":[0],"data":[[1,"x"]]},"params":{"p":1}}`,
		`{"dataframe_records":[{"a":1},{"b":null}]}`, `{"instances":[[1,2],[3,4]]}`, `{"instances":[{"a":1}]}`,
		`{"inputs":{"a":[1,2],"b":[[1],[2]]}}`, `{"inputs":[1,2]}`, `{"entities":{"airport":["JFK"]}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if r, err := ParseOIP(body); err == nil {
			if !json.Valid([]byte(body)) {
				t.Fatalf("%q was read", body)
			}
			again(t, r)
		}
		if r, err := ParseMLflow(body); err == nil {
			if !json.Valid([]byte(body)) {
				t.Fatalf("%q was read", body)
			}
			again(t, r)
		}
	})
}

func again(t *testing.T, r *Request) {
	t.Helper()
	if len(r.Inputs) == 0 {
		return
	}
	out := *r
	out.Entities = nil
	written := AppendMLflow(nil, &out)
	if !json.Valid(written) {
		t.Fatalf("wrote %s", written)
	}
	if !r.Table {
		return
	}
	read, err := ParseMLflow(string(written))
	if err != nil {
		t.Fatalf("%s is not read again: %v", written, err)
	}
	if read.Rows != r.Rows || len(read.Inputs) != len(r.Inputs) {
		t.Fatalf("%s has %d rows of %d columns, want %d of %d", written, read.Rows, len(read.Inputs), r.Rows, len(r.Inputs))
	}
	for i := range r.Inputs {
		if read.Inputs[i].Name != r.Inputs[i].Name || !reflect.DeepEqual(read.Inputs[i].Cells, r.Inputs[i].Cells) {
			t.Fatalf("column %q %v came back as %q %v", r.Inputs[i].Name, r.Inputs[i].Cells, read.Inputs[i].Name, read.Inputs[i].Cells)
		}
	}
}

// No answer, however broken, does more than be one, or have a fault.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{"predictions":[0.5,NaN]}`, `{"predictions":[{"a":1}]}`, `{"outputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[0.1,0.9]}]}`,
		`{"predictions":{"a":[1],"b":["x"]}}`, `{"predictions":3}`, `{"outputs":[]}`, `{"predictions":[[1],[2,3]]}`} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, body string, rows int) {
		for _, protocol := range driftline.ModelProtocols {
			a, err := ParseAnswer(protocol, body)
			if err != nil {
				continue
			}
			if fault, _ := a.Check(rows); fault != "" {
				continue
			}
			for row := range min(rows, 100) {
				if r := a.Read(row, rows); r.Score != nil && (math.IsNaN(*r.Score) || math.IsInf(*r.Score, 0)) {
					t.Fatalf("row %d of %q has score %v", row, body, *r.Score)
				}
				if out := a.AppendRow(nil, row, rows); !json.Valid(out) {
					t.Fatalf("row %d of %q is %s", row, body, out)
				}
			}
		}
	})
}
