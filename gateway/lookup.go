package gateway

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/gateway/internal/wire"
)

// prepared is a request as one version gets it.
type prepared struct {
	request *wire.Request
	keys    []string // names of the columns of the request that features were looked up by; nil for none
}

// prepare makes of what was asked what a version is given: the features are looked up if the
// request brings their keys and not them.
func (g *Gateway) prepare(ctx context.Context, t *target, asked *wire.Request) (*prepared, error) {
	p := &prepared{request: asked}
	if t.features != nil {
		plan, err := g.engine.PlanOnline(*t.features)
		if err != nil {
			return nil, err
		}
		if t.looksUp(plan, asked) {
			if err := g.lookUp(ctx, p, t, plan, asked); err != nil {
				return nil, err
			}
		}
	}
	if p.request == asked && len(asked.Entities) > 0 {
		return nil, driftline.Errorf(driftline.Invalid, "no features are known of %s, so entities are no use", t.version.Ref()).WithRef(t.version.Ref()).
			WithHint("name them: driftline models serve-at … --service NAME, or give the inputs themselves")
	}
	return p, nil
}

// looksUp reports whether features are to be looked up: entities were given, or all keys are
// among the columns of the request and something that the model takes is not.
func (t *target) looksUp(plan *engine.OnlinePlan, asked *wire.Request) bool {
	if len(asked.Entities) > 0 {
		return true
	}
	if !asked.Table {
		return false
	}
	for _, key := range plan.Keys {
		if asked.Input(key.Column) == nil {
			return false
		}
	}
	for _, column := range t.takes() {
		if !column.Optional && asked.Input(column.Name) == nil {
			return true
		}
	}
	if len(t.takes()) > 0 {
		return false
	}
	return slices.ContainsFunc(plan.Features, func(f engine.OnlineFeature) bool { return asked.Input(f.Name) == nil })
}

func (g *Gateway) lookUp(ctx context.Context, p *prepared, t *target, plan *engine.OnlinePlan, asked *wire.Request) error {
	if !asked.Table {
		return driftline.Errorf(driftline.Invalid, "the request has entities, and inputs that are no columns of one value for each of them").
			WithHint("give the inputs as columns, or leave the entities out")
	}
	entities, err := entityBatch(plan, asked)
	if err != nil {
		return err
	}
	defer entities.Release()
	answer, err := g.engine.ReadOnline(ctx, plan, time.Time{}, entities)
	if err != nil {
		return err
	}
	looked := featureColumns(answer)
	full := *asked
	full.Body, full.Entities = "", asked.Entities
	if full.Inputs, err = t.choose(plan, looked, asked); err != nil {
		return err
	}
	p.request = &full
	for _, key := range plan.Keys {
		p.keys = append(p.keys, key.Column)
	}
	return nil
}

// choose puts together what the model takes: what the request brings comes before what was
// looked up, so that somebody can ask what would be if.
func (t *target) choose(plan *engine.OnlinePlan, looked []wire.Tensor, asked *wire.Request) ([]wire.Tensor, error) {
	next := 0 // of those looked up, which mostly come in the model's order
	find := func(name string) *wire.Tensor {
		if given := asked.Input(name); given != nil {
			return given
		}
		if next >= len(looked) || looked[next].Name != name {
			next = slices.IndexFunc(looked, func(t wire.Tensor) bool { return t.Name == name })
		}
		if next++; next > 0 {
			return &looked[next-1]
		}
		return nil
	}
	takes := t.takes()
	if len(takes) == 0 && len(asked.Inputs) == 0 {
		return looked, nil
	}
	chosen := make([]wire.Tensor, 0, max(len(takes), len(looked)))
	if len(takes) > 0 {
		for _, column := range takes {
			found := find(column.Name)
			if found == nil && column.Optional {
				continue
			}
			if found == nil {
				return nil, driftline.Errorf(driftline.Invalid, "%s takes %q, which is neither in the request nor a feature of it", t.version.Ref(), column.Name).
					WithRef(t.version.Ref()).WithHint("add a column %q to the request", column.Name)
			}
			chosen = append(chosen, *found)
		}
		return chosen, nil
	}
	for i := range looked {
		chosen = append(chosen, *find(looked[i].Name))
	}
	for i := range asked.Inputs {
		name := asked.Inputs[i].Name
		key := slices.ContainsFunc(plan.Keys, func(k engine.OnlineKey) bool { return k.Column == name })
		request := slices.ContainsFunc(plan.Request, func(k engine.OnlineKey) bool { return k.Column == name })
		feature := slices.ContainsFunc(looked, func(t wire.Tensor) bool { return t.Name == name })
		if !key && !request && !feature {
			chosen = append(chosen, asked.Inputs[i])
		}
	}
	return chosen, nil
}

// body is what the version's server gets.
func (t *target) body(r *wire.Request) []byte {
	server := &t.backend.server
	if r.Body != "" && r.Protocol == server.Protocol && server.Tensor == "" {
		return []byte(r.Body)
	}
	out := *r
	if server.Tensor != "" || t.signature.Tensors && out.Table {
		out.Inputs, out.Table = []wire.Tensor{matrix(server.Tensor, r)}, false
	}
	body := make([]byte, 0, out.BodySize())
	if server.Protocol == driftline.ProtocolMLflow {
		return wire.AppendMLflow(body, &out)
	}
	for i := range out.Inputs {
		if out.Inputs[i].Name == "" {
			out.Inputs = slices.Clone(out.Inputs)
			out.Inputs[i].Name = "input-" + strconv.Itoa(i)
		}
	}
	return wire.AppendOIP(body, &out, cmp.Or(r.ID, "0"))
}

// matrix puts columns beside one another.
func matrix(name string, r *wire.Request) wire.Tensor {
	if !r.Table {
		one := r.Inputs[0]
		one.Name = name
		return one
	}
	cells := make([]string, 0, r.Rows*len(r.Inputs))
	for row := range r.Rows {
		for i := range r.Inputs {
			cells = append(cells, r.Inputs[i].Cells[row])
		}
	}
	datatype := "FP64"
	for i := range r.Inputs {
		if r.Inputs[i].Datatype == "BYTES" {
			datatype = "BYTES"
		}
	}
	return wire.Tensor{Name: name, Datatype: datatype, Shape: []int64{int64(r.Rows), int64(len(r.Inputs))}, Cells: cells}
}

// entityBatch makes the batch that features are looked up by.
func entityBatch(plan *engine.OnlinePlan, asked *wire.Request) (arrow.RecordBatch, error) {
	var fields []arrow.Field
	var columns []arrow.Array
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for _, key := range slices.Concat(plan.Keys, plan.Request) {
		from := asked.Input(key.Column)
		if from == nil {
			return nil, driftline.Errorf(driftline.Invalid, "join key %q is missing (view %q needs it)", key.Column, key.View).
				WithHint("give a value of %q for each row", key.Column)
		}
		column, err := cellsAs(key, from.Cells)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
		fields = append(fields, arrow.Field{Name: key.Column, Type: column.DataType(), Nullable: true})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(asked.Rows)), nil
}

// cellsAs reads cells as a join key's type.
func cellsAs(key engine.OnlineKey, cells []string) (arrow.Array, error) {
	builder := array.NewBuilder(memory.DefaultAllocator, key.Type.Arrow())
	defer builder.Release()
	for row, cell := range cells {
		value := wire.Any(cell)
		ok := true
		switch b := builder.(type) {
		case *array.StringBuilder:
			var text string
			if text, ok = value.(string); ok {
				b.Append(text)
			}
		case *array.Int64Builder:
			var n int64
			if n, ok = value.(int64); ok {
				b.Append(n)
			}
		case *array.Int32Builder:
			var n int64
			if n, ok = value.(int64); ok && n == int64(int32(n)) {
				b.Append(int32(n))
			} else {
				ok = false
			}
		case *array.Float64Builder:
			x := wire.Number(cell)
			if ok = !math.IsNaN(x); ok {
				b.Append(x)
			}
		case *array.BooleanBuilder:
			var is bool
			if is, ok = value.(bool); ok {
				b.Append(is)
			}
		case *array.TimestampBuilder:
			var at time.Time
			var err error
			if text, is := value.(string); is {
				at, err = time.Parse(time.RFC3339, text)
				ok = err == nil
			} else {
				ok = false
			}
			if ok {
				b.Append(arrow.Timestamp(at.UnixMicro()))
			}
		default:
			ok = value != nil && builder.AppendValueFromString(wire.Text(cell)) == nil
		}
		if value == nil {
			builder.AppendNull()
		} else if !ok {
			return nil, driftline.Errorf(driftline.Invalid, "%q is %s in row %d, want %s (view %q)", key.Column, clip(cell), row, key.Type, key.View)
		}
	}
	return builder.NewArray(), nil
}

// featureColumns writes looked-up values as cells.
func featureColumns(answer *engine.OnlineAnswer) []wire.Tensor {
	rows, features := answer.Rows(), answer.Plan.Features
	columns := make([]wire.Tensor, len(features))
	cells := make([]string, rows*len(features))
	ends := make([]int, len(cells))
	const usual = 20 // bytes of a number
	text := make([]byte, 0, usual*len(cells))
	for i := range features {
		for row := range rows {
			text = appendFeature(text, answer, i, row)
			ends[i*rows+row] = len(text)
		}
	}
	all, start := string(text), 0
	for i, end := range ends {
		cells[i], start = all[start:end], end
	}
	shape := []int64{int64(rows)}
	for i := range features {
		columns[i] = wire.Tensor{Name: features[i].Name, Datatype: datatypeOf(features[i].Type), Shape: shape, Cells: cells[i*rows : (i+1)*rows : (i+1)*rows]}
	}
	return columns
}

func appendFeature(to []byte, answer *engine.OnlineAnswer, feature, row int) []byte {
	values := answer.Values()
	if values.IsNull(feature, row) {
		return append(to, "null"...)
	}
	if nested := answer.Nested(feature); nested != nil {
		text, err := nested.(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
		if err != nil {
			return append(to, "null"...)
		}
		return append(to, wire.Element(string(text), row)...)
	}
	switch word := values.Word(feature, row); answer.Plan.Features[feature].Type {
	case driftline.Bool:
		return strconv.AppendBool(to, word != 0)
	case driftline.Float32, driftline.Float64:
		return wire.AppendFloat(to, math.Float64frombits(word))
	case driftline.Timestamp:
		return append(to, wire.Quote(time.UnixMicro(int64(word)).UTC().Format(time.RFC3339Nano))...)
	case driftline.String, driftline.Bytes:
		return append(to, wire.Quote(string(values.Text(feature, row)))...)
	default:
		return strconv.AppendInt(to, int64(word), 10)
	}
}

func datatypeOf(t driftline.Type) string {
	switch t {
	case driftline.Bool:
		return "BOOL"
	case driftline.Int32:
		return "INT32"
	case driftline.Int64:
		return "INT64"
	case driftline.Float32:
		return "FP32"
	case driftline.Float64:
		return "FP64"
	}
	return "BYTES"
}
