package gateway

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

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

	// looked has the inputs that were looked up, texts and all: they are gone once it is given back.
	looked *lookedUp
}

// giveBack lets another request use what this one was looked up into. Nothing of its inputs may be kept.
func (p *prepared) giveBack() {
	if p == nil || p.looked == nil {
		return
	}
	p.looked.free()
	p.looked, p.request = nil, nil
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
	layout := t.layoutOf(plan)
	entities, err := layout.batch(asked)
	if err != nil {
		return err
	}
	defer entities.Release()
	answer, err := g.engine.ReadOnline(ctx, plan, time.Time{}, entities)
	if err != nil {
		return err
	}
	p.looked = lookedUps.Get().(*lookedUp)
	p.looked.read(answer)
	full := *asked
	full.Body = ""
	if full.Inputs, err = t.choose(p.looked, plan, asked); err != nil {
		return err
	}
	p.request, p.keys = &full, layout.keys
	return nil
}

// choose puts together what the model takes: what the request brings comes before what was
// looked up, so that somebody can ask what would be if.
func (t *target) choose(from *lookedUp, plan *engine.OnlinePlan, asked *wire.Request) ([]wire.Tensor, error) {
	looked := from.columns
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
	chosen := from.chosen[:0]
	defer func() { from.chosen = chosen }()
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

// body appends what the version's server gets.
func (t *target) body(to []byte, r *wire.Request) []byte {
	server := &t.backend.server
	if r.Body != "" && r.Protocol == server.Protocol && server.Tensor == "" {
		return append(to, r.Body...)
	}
	out := *r
	if server.Tensor != "" || t.signature.Tensors && out.Table {
		cells := cellBuffers.Get().(*[]string)
		one := matrix((*cells)[:0], server.Tensor, r)
		defer func() {
			*cells = one.Cells
			clear(*cells)
			cellBuffers.Put(cells)
		}()
		out.Inputs, out.Table = []wire.Tensor{one}, false
	}
	to = slices.Grow(to, out.BodySize())
	if server.Protocol == driftline.ProtocolMLflow {
		return wire.AppendMLflow(to, &out)
	}
	for i := range out.Inputs {
		if out.Inputs[i].Name == "" {
			out.Inputs = slices.Clone(out.Inputs)
			out.Inputs[i].Name = "input-" + strconv.Itoa(i)
		}
	}
	return wire.AppendOIP(to, &out, cmp.Or(r.ID, "0"))
}

// cellBuffers keep the cells of matrices from being allocated anew.
var cellBuffers = sync.Pool{New: func() any { return new([]string) }}

// matrix puts columns beside one another: their cells are appended to cells.
func matrix(cells []string, name string, r *wire.Request) wire.Tensor {
	if !r.Table {
		one := r.Inputs[0]
		one.Name, one.Cells = name, append(cells, one.Cells...)
		return one
	}
	cells = slices.Grow(cells, r.Rows*len(r.Inputs))
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

// keyLayout is how requests name the entities of a plan: their keys, and what is computed with.
type keyLayout struct {
	plan    *engine.OnlinePlan
	keys    []string // names of the join keys
	columns []engine.OnlineKey
	schema  *arrow.Schema
}

// layoutOf is the layout of a plan, worked out once for as long as the plan is the same.
func (t *target) layoutOf(plan *engine.OnlinePlan) *keyLayout {
	if known := t.layout.Load(); known != nil && known.plan == plan {
		return known
	}
	l := &keyLayout{plan: plan, columns: slices.Concat(plan.Keys, plan.Request)}
	for _, key := range plan.Keys {
		l.keys = append(l.keys, key.Column)
	}
	fields := make([]arrow.Field, len(l.columns))
	for i, key := range l.columns {
		fields[i] = arrow.Field{Name: key.Column, Type: key.Type.Arrow(), Nullable: true}
	}
	l.schema = arrow.NewSchema(fields, nil)
	t.layout.Store(l)
	return l
}

// batch makes the batch that features are looked up by.
func (l *keyLayout) batch(asked *wire.Request) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, len(l.columns))
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for _, key := range l.columns {
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
	}
	return array.NewRecordBatch(l.schema, columns, int64(asked.Rows)), nil
}

// wholeCells reads cells as Int64, if all are there and are that: a builder makes room for many more than one.
func wholeCells(cells []string) (arrow.Array, bool) {
	values := make([]int64, len(cells))
	for i, cell := range cells {
		n, ok := wire.Any(cell).(int64)
		if !ok {
			return nil, false
		}
		values[i] = n
	}
	data := array.NewData(arrow.PrimitiveTypes.Int64, len(values), []*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(values))}, nil, 0, 0)
	defer data.Release()
	return array.NewInt64Data(data), true
}

// textCells reads cells as String, if all are there and are that.
func textCells(cells []string) (arrow.Array, bool) {
	ends, text := make([]int32, 1, len(cells)+1), []byte{}
	for _, cell := range cells {
		s, ok := wire.Any(cell).(string)
		if !ok || len(text)+len(s) > math.MaxInt32 {
			return nil, false
		}
		text = append(text, s...)
		ends = append(ends, int32(len(text)))
	}
	data := array.NewData(arrow.BinaryTypes.String, len(cells),
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(ends)), memory.NewBufferBytes(text)}, nil, 0, 0)
	defer data.Release()
	return array.NewStringData(data), true
}

// cellsAs reads cells as a join key's type.
func cellsAs(key engine.OnlineKey, cells []string) (arrow.Array, error) {
	switch key.Type {
	case driftline.Int64:
		if column, ok := wholeCells(cells); ok {
			return column, nil
		}
	case driftline.String:
		if column, ok := textCells(cells); ok {
			return column, nil
		}
	}
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

// lookedUp is what a look-up is written to, in place of some kilobytes of each request of their own. It is given
// back when the request is answered and logged.
type lookedUp struct {
	columns []wire.Tensor
	chosen  []wire.Tensor // of them and of the request
	cells   []string
	ends    []int
	text    []byte
	shape   [1]int64
}

var lookedUps = sync.Pool{New: func() any { return &lookedUp{} }}

// free gives it back, unless it has become large.
func (l *lookedUp) free() {
	const mostCells, mostText = 1 << 14, 1 << 20
	if cap(l.cells) > mostCells || cap(l.text) > mostText {
		return
	}
	clear(l.chosen) // which may have values of the request
	lookedUps.Put(l)
}

// read writes looked-up values as cells.
func (l *lookedUp) read(answer *engine.OnlineAnswer) {
	rows, features := answer.Rows(), answer.Plan.Features
	l.ends, l.text = l.ends[:0], l.text[:0]
	for i := range features {
		for row := range rows {
			l.text = appendFeature(l.text, answer, i, row)
			l.ends = append(l.ends, len(l.text))
		}
	}
	all, start := unsafe.String(unsafe.SliceData(l.text), len(l.text)), 0 // until it is freed
	l.cells = slices.Grow(l.cells[:0], len(l.ends))
	for _, end := range l.ends {
		l.cells, start = append(l.cells, all[start:end]), end
	}
	l.shape[0] = int64(rows)
	l.columns = l.columns[:0]
	for i := range features {
		l.columns = append(l.columns, wire.Tensor{Name: features[i].Name, Datatype: datatypeOf(features[i].Type), Shape: l.shape[:], Cells: l.cells[i*rows : (i+1)*rows : (i+1)*rows]})
	}
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
