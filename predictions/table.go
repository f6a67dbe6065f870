package predictions

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// The columns of a log that the server made. Each feature and each join key that it met has
// a column of its own beside them, called as it is; those that cannot have one (a name that is
// no column's, a list, too many) are in Features, a JSON object.
const (
	ID        = "prediction_id"
	Model     = driftline.DefaultPredictionModel
	Version   = driftline.DefaultPredictionVersion
	Status    = "status"
	Arm       = "arm"
	Route     = "route"
	Rollout   = "rollout"
	Key       = "routing_key"
	Pinned    = "pinned"
	FellBack  = "fell_back"
	Fault     = "fault"
	LatencyMS = "latency_ms"
	Number    = "prediction"      // a class or a number
	Text      = "prediction_text" // a class that has a name
	Score     = "score"
	Output    = "output"   // JSON, as answered
	Entity    = "entity"   // JSON, see [EntityText]
	Features  = "features" // JSON, of those without a column
	Values    = "reported" // JSON

	MirrorVersion   = "mirror_version"
	MirrorFault     = "mirror_fault"
	MirrorLatencyMS = "mirror_latency_ms"
	MirrorNumber    = "mirror_prediction"
	MirrorText      = "mirror_prediction_text"
	MirrorScore     = "mirror_score"
	MirrorDiffers   = "mirror_differs"
)

// MostColumns is how many features and join keys of a log have columns of their own.
const MostColumns = 512

// own is a column of every log, and how a record fills it.
type own struct {
	field driftline.Field
	fill  func(b array.Builder, r *driftline.PredictionRecord)
}

var owns = []own{
	{field(Model, driftline.String, "that was asked"), text(func(r *driftline.PredictionRecord) string { return string(r.Model) })},
	{field(Version, driftline.Int64, "that answered"), whole(func(r *driftline.PredictionRecord) int64 { return int64(r.Version) })},
	{field(Status, driftline.Int64, "of the answer, as of HTTP"), whole(func(r *driftline.PredictionRecord) int64 { return int64(r.Status) })},
	{field(Arm, driftline.String, "of the rollout"), text(func(r *driftline.PredictionRecord) string { return string(r.Arm) })},
	{field(Route, driftline.Int64, "its sequence"), whole(func(r *driftline.PredictionRecord) int64 { return int64(r.Route) })},
	{field(Rollout, driftline.String, "that dealt the request"), text(func(r *driftline.PredictionRecord) string { return r.Rollout })},
	{field(Key, driftline.String, "that the request was dealt by"), text(func(r *driftline.PredictionRecord) string { return r.Key })},
	{field(Pinned, driftline.Bool, "not dealt, but sent to this version"), boolean(func(r *driftline.PredictionRecord) bool { return r.Pinned })},
	{field(FellBack, driftline.Bool, "the arm failed, and the champion answered"), boolean(func(r *driftline.PredictionRecord) bool { return r.FellBack })},
	{field(Fault, driftline.String, "why there was no proper answer"), text(func(r *driftline.PredictionRecord) string { return string(r.Fault) })},
	{field(LatencyMS, driftline.Float64, "of the arm's answer, in milliseconds"), number(func(r *driftline.PredictionRecord) float64 { return millis(r.Latency) })},
	{field(Number, driftline.Float64, "a class or a number"), number(func(r *driftline.PredictionRecord) float64 { return numberOf(r.Prediction) })},
	{field(Text, driftline.String, "a class that has a name"), text(func(r *driftline.PredictionRecord) string { return textOf(r.Prediction) })},
	{field(Score, driftline.Float64, "the probability, or what else ranks"), number(func(r *driftline.PredictionRecord) float64 { return driftline.ScoreOf(r.Score) })},
	{field(Output, driftline.String, "the answer, JSON"), text(func(r *driftline.PredictionRecord) string { return string(r.Output) })},
	{field(Entity, driftline.String, "the join keys, JSON"), text(func(r *driftline.PredictionRecord) string { return EntityText(r.Entity) })},
	{field(Values, driftline.String, "numbers that were reported with it, JSON"), text(func(r *driftline.PredictionRecord) string { return valuesText(r.Values) })},
	{field(MirrorVersion, driftline.Int64, "that got the request too, unseen"), whole(func(r *driftline.PredictionRecord) int64 { return int64(mirror(r).Version) })},
	{field(MirrorFault, driftline.String, ""), text(func(r *driftline.PredictionRecord) string { return string(mirror(r).Fault) })},
	{field(MirrorLatencyMS, driftline.Float64, ""), number(func(r *driftline.PredictionRecord) float64 { return millis(mirror(r).Latency) })},
	{field(MirrorNumber, driftline.Float64, ""), number(func(r *driftline.PredictionRecord) float64 { return numberOf(mirror(r).Prediction) })},
	{field(MirrorText, driftline.String, ""), text(func(r *driftline.PredictionRecord) string { return textOf(mirror(r).Prediction) })},
	{field(MirrorScore, driftline.Float64, ""), number(func(r *driftline.PredictionRecord) float64 { return driftline.ScoreOf(mirror(r).Score) })},
	{field(MirrorDiffers, driftline.Bool, "its prediction was another one"), boolean(func(r *driftline.PredictionRecord) bool { return mirror(r).Differs })},
}

// ownNames are the columns that no feature can have.
var ownNames = func() map[string]bool {
	names := map[string]bool{ID: true, Features: true, driftline.DefaultEventTimestamp: true,
		Label: true, LabelText: true, KnownAt: true, By: true} // which are beside them once labels are joined
	for _, o := range owns {
		names[o.field.Name] = true
	}
	return names
}()

// Own reports whether a column is of every log, and so none of a feature or a join key.
func Own(name string) bool { return ownNames[name] }

func field(name string, kind driftline.Type, description string) driftline.Field {
	return driftline.Field{Name: name, Type: kind, Description: description}
}

var none driftline.MirrorAnswer

func mirror(r *driftline.PredictionRecord) *driftline.MirrorAnswer {
	if r.Mirror == nil {
		return &none
	}
	return r.Mirror
}

// What a record does not have is null: zero, "", false and NaN.

func text(of func(*driftline.PredictionRecord) string) func(array.Builder, *driftline.PredictionRecord) {
	return func(b array.Builder, r *driftline.PredictionRecord) {
		if s := of(r); s != "" {
			b.(*array.StringBuilder).Append(strings.ToValidUTF8(s, "\uFFFD"))
			return
		}
		b.AppendNull()
	}
}

func whole(of func(*driftline.PredictionRecord) int64) func(array.Builder, *driftline.PredictionRecord) {
	return func(b array.Builder, r *driftline.PredictionRecord) {
		if n := of(r); n != 0 {
			b.(*array.Int64Builder).Append(n)
			return
		}
		b.AppendNull()
	}
}

func number(of func(*driftline.PredictionRecord) float64) func(array.Builder, *driftline.PredictionRecord) {
	return func(b array.Builder, r *driftline.PredictionRecord) {
		if x := of(r); x == x {
			b.(*array.Float64Builder).Append(x)
			return
		}
		b.AppendNull()
	}
}

func boolean(of func(*driftline.PredictionRecord) bool) func(array.Builder, *driftline.PredictionRecord) {
	return func(b array.Builder, r *driftline.PredictionRecord) {
		if of(r) {
			b.(*array.BooleanBuilder).Append(true)
			return
		}
		b.AppendNull()
	}
}

func millis(d driftline.Duration) float64 {
	if d == 0 {
		return math.NaN()
	}
	return float64(d) / 1e6
}

// numberOf is a prediction as a number, NaN if it is none.
func numberOf(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case float32:
		return float64(v)
	case int64:
		return float64(v)
	case int:
		return float64(v)
	case int32:
		return float64(v)
	case bool:
		if v {
			return 1
		}
		return 0
	case json.Number:
		if x, err := v.Float64(); err == nil {
			return x
		}
	}
	return math.NaN()
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// EntityText is the one form of join keys as text: a JSON object, its names in order, its
// numbers as short as they can be. Labels name an entity by it.
func EntityText(entity map[string]any) string {
	if len(entity) == 0 {
		return ""
	}
	return string(appendObject(nil, entity, nil))
}

func valuesText(values map[string]float64) string {
	if len(values) == 0 {
		return ""
	}
	all := make(map[string]any, len(values))
	for name, v := range values {
		all[name] = v
	}
	return string(appendObject(nil, all, nil))
}

// appendObject appends those values that keep accepts, as a JSON object.
func appendObject(b []byte, values map[string]any, keep func(name string) bool) []byte {
	b = append(b, '{')
	first := true
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if keep != nil && !keep(name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendJSON(b, name)
		b = append(b, ':')
		b = appendJSON(b, values[name])
	}
	return append(b, '}')
}

func appendJSON(b []byte, v any) []byte {
	switch x := v.(type) {
	case float64:
		return appendFloat(b, x)
	case float32:
		return appendFloat(b, float64(x))
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return strconv.AppendInt(b, n, 10)
		}
		if f, err := x.Float64(); err == nil {
			return appendFloat(b, f)
		}
	case time.Time:
		v = x.UTC().Format(time.RFC3339Nano)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil { // a NaN within a list, or no value of JSON at all
		return append(b, "null"...)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

func appendFloat(b []byte, x float64) []byte {
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return strconv.AppendInt(b, int64(x), 10)
	}
	raw, err := driftline.Number(x).MarshalJSON()
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, raw...)
}

// LogName is the name of the view that is a model's log if nobody declared another one.
func LogName(model driftline.ModelName) driftline.ViewName { return named(model, "_predictions") }

// LabelsName is the name of the view with a model's labels.
func LabelsName(model driftline.ModelName) driftline.ViewName { return named(model, "_labels") }

// named makes the name of a view of a model's. Models may be called what views may not be.
func named(model driftline.ModelName, suffix string) driftline.ViewName {
	const most = 63
	plain := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '_'
	}, string(model))
	if plain == "" || plain[0] < 'a' || plain[0] > 'z' {
		plain = "m" + plain
	}
	if plain != string(model) || len(plain)+len(suffix) > most {
		h := fnv.New32a()
		h.Write([]byte(model))
		mark := "_" + strconv.FormatUint(uint64(h.Sum32()), 36)
		plain = plain[:min(len(plain), most-len(suffix)-len(mark))] + mark
	}
	return driftline.ViewName(plain + suffix)
}

// servedFor is how long rows of logs and labels can be read online: they are read by SQL, and the online
// store should not grow with them for ever.
const servedFor = driftline.Duration(7 * 24 * time.Hour)

// LogView is the log of a model, with columns for these features and join keys.
func LogView(model driftline.ModelName, entity driftline.EntityName, fields []driftline.Field) driftline.FeatureView {
	view := driftline.FeatureView{
		Name: LogName(model), Entities: []driftline.EntityName{entity}, EventTimestamp: driftline.DefaultEventTimestamp, TTL: servedFor,
		Predictions: &driftline.PredictionLog{ID: ID, Model: Model, Version: Version},
		Description: "Predictions of " + string(model) + ", written by the server", Tags: map[string]string{MadeTag: string(model)},
	}
	for _, o := range owns {
		view.Features = append(view.Features, o.field)
	}
	view.Features = append(view.Features, field(Features, driftline.String, "those without a column of their own, JSON"))
	return Grown(view, fields)
}

// MadeTag is on views that the server made, and whose columns it adds to.
const MadeTag = "driftline.prediction_log"

// Grown returns the log with columns for more features, as far as it can have them.
func Grown(view driftline.FeatureView, fields []driftline.Field) driftline.FeatureView {
	view.Features = slices.Clone(view.Features)
	for _, f := range fields {
		_, there := view.Feature(f.Name)
		if there || ownNames[f.Name] || f.Type.Nested() || driftline.CheckColumn(f.Name) != nil || len(view.Features) >= MostColumns+len(owns) {
			continue
		}
		view.Features = append(view.Features, driftline.Field{Name: f.Name, Type: f.Type, Description: f.Description})
	}
	return view
}

// Table makes rows of a log of records.
type Table struct {
	view   *driftline.FeatureView
	schema *arrow.Schema
	cells  []cell
	typed  map[string]bool // the features and join keys that have a column
	rest   int             // the column of Features, -1 if there is none
	grows  bool            // the server may add columns
}

// cell is a column: of every log, or of a feature.
type cell struct {
	fill func(array.Builder, *driftline.PredictionRecord)
	name string // of a feature or a join key; "" if fill says it
	kind driftline.Type
}

// NewTable returns the table of a registered log. Columns that are nothing of a record's are null.
func NewTable(view *driftline.FeatureView) *Table {
	t := &Table{view: view, schema: view.Schema(), typed: map[string]bool{}, rest: -1, grows: view.Tags[MadeTag] != ""}
	log := view.Predictions
	known := map[string]func(array.Builder, *driftline.PredictionRecord){}
	for _, o := range owns {
		known[o.field.Name] = o.fill
	}
	for i, f := range t.schema.Fields() {
		c := cell{name: f.Name}
		c.kind, _ = driftline.TypeOf(f.Type)
		fill, standard := known[f.Name]
		switch {
		case f.Name == log.ID:
			c.fill = scalar(c.kind, func(r *driftline.PredictionRecord) any { return r.ID })
		case f.Name == view.EventTimestamp:
			c.fill = scalar(driftline.Timestamp, func(r *driftline.PredictionRecord) any { return r.Time })
		case f.Name == log.Model:
			c.fill = scalar(c.kind, func(r *driftline.PredictionRecord) any { return string(r.Model) })
		case f.Name == log.Version:
			c.fill = scalar(c.kind, func(r *driftline.PredictionRecord) any { return int64(r.Version) })
		case f.Name == Features && c.kind == driftline.String:
			t.rest = i
		case standard && c.kind == ownType(f.Name):
			c.fill = fill
		default:
			t.typed[f.Name] = true
		}
		t.cells = append(t.cells, c)
	}
	return t
}

func ownType(name string) driftline.Type {
	return owns[slices.IndexFunc(owns, func(o own) bool { return o.field.Name == name })].field.Type
}

func scalar(kind driftline.Type, of func(*driftline.PredictionRecord) any) func(array.Builder, *driftline.PredictionRecord) {
	return func(b array.Builder, r *driftline.PredictionRecord) { Append(b, kind, of(r)) }
}

// Missing returns columns that the records' features would have if the log had them.
func (t *Table) Missing(records []driftline.PredictionRecord) []driftline.Field {
	if !t.grows {
		return nil
	}
	found := map[string]driftline.Type{}
	for i := range records {
		for _, values := range []map[string]any{records[i].Entity, records[i].Features} {
			for name, v := range values {
				if t.typed[name] || ownNames[name] {
					continue
				}
				if kind, ok := typeOf(v); ok && found[name] == "" {
					found[name] = kind
				}
			}
		}
	}
	var fields []driftline.Field
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if driftline.CheckColumn(name) == nil && len(t.view.Features)+len(fields) < MostColumns+len(owns) {
			fields = append(fields, driftline.Field{Name: name, Type: found[name]})
		}
	}
	return fields
}

// typeOf is the type of the column for a value. Numbers of JSON are float64: of 3 nobody can
// say whether 3.5 comes next.
func typeOf(v any) (driftline.Type, bool) {
	switch v.(type) {
	case bool:
		return driftline.Bool, true
	case int64, int, int32:
		return driftline.Int64, true
	case float64, float32, json.Number:
		return driftline.Float64, true
	case string:
		return driftline.String, true
	case time.Time:
		return driftline.Timestamp, true
	case []byte:
		return driftline.Bytes, true
	}
	return "", false
}

// Rows returns the records as rows of the log's schema. The caller releases them.
func (t *Table) Rows(mem memory.Allocator, records []driftline.PredictionRecord) arrow.RecordBatch {
	b := array.NewRecordBuilder(mem, t.schema)
	defer b.Release()
	b.Reserve(len(records))
	for i := range records {
		t.row(b, &records[i])
	}
	return b.NewRecordBatch()
}

func (t *Table) row(b *array.RecordBuilder, r *driftline.PredictionRecord) {
	placed := 0
	var misfits map[string]bool
	for i := range t.cells {
		c := &t.cells[i]
		switch {
		case i == t.rest: // last, below
		case c.fill != nil:
			c.fill(b.Field(i), r)
		default:
			v, ok := r.Features[c.name]
			if !ok {
				Append(b.Field(i), c.kind, r.Entity[c.name])
				continue
			}
			if !Append(b.Field(i), c.kind, v) {
				if misfits == nil {
					misfits = map[string]bool{}
				}
				misfits[c.name] = true
				continue
			}
			placed++
		}
	}
	if t.rest < 0 {
		return
	}
	rest := b.Field(t.rest).(*array.StringBuilder)
	if placed == len(r.Features) {
		rest.AppendNull()
		return
	}
	rest.Append(strings.ToValidUTF8(string(appendObject(nil, r.Features, func(name string) bool { return !t.typed[name] || misfits[name] })), "\uFFFD"))
}

// Append appends a value to a column of a type, or a null and false if it has another type.
func Append(b array.Builder, kind driftline.Type, v any) bool {
	if v == nil {
		b.AppendNull()
		return true
	}
	switch kind {
	case driftline.Bool:
		if x, ok := v.(bool); ok {
			b.(*array.BooleanBuilder).Append(x)
			return true
		}
	case driftline.Float64, driftline.Float32:
		if _, isBool := v.(bool); isBool {
			break
		}
		if x := numberOf(v); x == x || isNaN(v) {
			if kind == driftline.Float32 {
				b.(*array.Float32Builder).Append(float32(x))
			} else {
				b.(*array.Float64Builder).Append(x)
			}
			return true
		}
	case driftline.Int64, driftline.Int32:
		if n, ok := wholeOf(v); ok {
			if kind == driftline.Int64 {
				b.(*array.Int64Builder).Append(n)
				return true
			}
			if n >= math.MinInt32 && n <= math.MaxInt32 {
				b.(*array.Int32Builder).Append(int32(n))
				return true
			}
		}
	case driftline.String:
		if s, ok := v.(string); ok {
			b.(*array.StringBuilder).Append(strings.ToValidUTF8(s, "\uFFFD"))
			return true
		}
		if n, ok := v.(int64); ok { // a version in a log that has texts for them
			b.(*array.StringBuilder).Append(strconv.FormatInt(n, 10))
			return true
		}
	case driftline.Bytes:
		if x, ok := v.([]byte); ok {
			b.(*array.BinaryBuilder).Append(x)
			return true
		}
	case driftline.Timestamp:
		if at, ok := timeOf(v); ok {
			b.(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMicro()))
			return true
		}
	}
	b.AppendNull()
	return false
}

func isNaN(v any) bool {
	switch x := v.(type) {
	case float64:
		return x != x
	case float32:
		return x != x
	}
	return false
}

func wholeOf(v any) (int64, bool) {
	switch x := v.(type) {
	case int64:
		return x, true
	case int:
		return int64(x), true
	case int32:
		return int64(x), true
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n, true
		}
		f, err := x.Float64()
		return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53
	case float64:
		return int64(x), x == math.Trunc(x) && math.Abs(x) < 1<<53
	case string:
		n, err := strconv.ParseInt(x, 10, 64)
		return n, err == nil
	}
	return 0, false
}

func timeOf(v any) (time.Time, bool) {
	switch x := v.(type) {
	case time.Time:
		return x, true
	case string:
		at, err := time.Parse(time.RFC3339Nano, x)
		return at, err == nil
	}
	return time.Time{}, false
}
