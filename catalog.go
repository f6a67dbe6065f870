package driftline

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// Entity is a thing that features are about. Its join keys are the columns that
// identify one: usually one column, several for a composite key.
type Entity struct {
	Name        EntityName        `json:"name"`
	JoinKeys    []Field           `json:"join_keys"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// Field is a named, typed column.
type Field struct {
	Name        string `json:"name"`
	Type        Type   `json:"type"`
	Description string `json:"description,omitempty"`

	// RenamedFrom is the name that a feature of the view had until now: its values then
	// are those of the old name. It says nothing once the feature has its new name, and
	// the catalogue does not keep it.
	RenamedFrom string `json:"renamed_from,omitempty"`

	// Column is what a feature is stored as, where that is not its name: filled in by
	// the catalogue, see [Field.Identity].
	Column string `json:"column,omitempty"`
}

// Identity is what a feature is stored as, in every store. It stays when the feature is
// renamed, and a feature never gets one that another feature of its view had before.
func (f Field) Identity() string {
	if f.Column != "" {
		return f.Column
	}
	return f.Name
}

// FeatureView is a table of features over time: rows of (join keys, event
// timestamp, optional created timestamp, features). A view without entities
// holds one global row per time.
type FeatureView struct {
	Name     ViewName     `json:"name"`
	Entities []EntityName `json:"entities,omitempty"`
	Features []Field      `json:"features"`

	// EventTimestamp is the column that says when the values became true.
	// It is "event_timestamp" if left empty.
	EventTimestamp string `json:"event_timestamp,omitempty"`

	// CreatedTimestamp is the column that says when the row was written down;
	// "" if the view has none. Among rows of equal event time the later one wins.
	CreatedTimestamp string `json:"created_timestamp,omitempty"`

	// TTL bounds how old a value may be when it is used, inclusive. 0 means any age.
	TTL Duration `json:"ttl,omitempty"`

	// KnownAt makes every read of this view ignore rows created after the
	// time asked for. It needs a created timestamp.
	KnownAt bool `json:"known_at,omitempty"`

	// Horizon makes this a label view: its rows are outcomes, which a training set
	// looks up ahead of a row's time t, not behind it. The row of the least event
	// time in (t, t + Horizon] counts, and of several the greatest (created
	// timestamp, write sequence). Labels have no TTL and are not served online.
	Horizon Duration `json:"horizon,omitempty"`

	// Aggregations derive further features from the view's rows, which then are events.
	Aggregations []Aggregation `json:"aggregations,omitempty"`

	// EventID is the feature that tells events of equal join keys and event time apart.
	// Rows that are equal in all three are versions of one event, of which aggregations
	// see the greatest (created timestamp, write sequence): a correction. "", or a null,
	// makes each row an event of its own.
	EventID string `json:"event_id,omitempty"`

	// History keeps more rows of each entity online than the newest, to be read back.
	// Nil keeps none, but for those that the aggregations need.
	History *History `json:"history,omitempty"`

	// Predictions makes the view a log of predictions. Nil, for nearly all views, is none.
	Predictions *PredictionLog `json:"predictions,omitempty"`

	// Source keeps the view's rows outside of the store, in files that somebody else
	// writes. Nil, for nearly all views, means that rows are ingested.
	Source *BatchSource `json:"source,omitempty"`

	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	// JoinKeys are the join keys of Entities in order, filled in by the
	// catalogue when the view is registered.
	JoinKeys []Field `json:"join_keys,omitempty"`

	// Shape counts the definitions that dropped or renamed features, filled in by the
	// catalogue: with it, identities are never used twice.
	Shape int `json:"shape,omitempty"`
}

// DefaultEventTimestamp is the event timestamp column of a view that names none.
const DefaultEventTimestamp = "event_timestamp"

// SequenceColumn is the hidden last column of a view's files: the write sequence of
// each row, which decides between rows of equal event and created time.
const SequenceColumn = "__sequence"

// Schema is the Arrow schema of a registered view's rows: join keys, event
// timestamp, created timestamp if there is one, features. Join keys and event
// timestamp are not nullable.
func (v *FeatureView) Schema() *arrow.Schema {
	fields := make([]arrow.Field, 0, len(v.JoinKeys)+2+len(v.Features))
	for _, k := range v.JoinKeys {
		fields = append(fields, arrow.Field{Name: k.Name, Type: k.Type.Arrow()})
	}
	fields = append(fields, arrow.Field{Name: v.EventTimestamp, Type: Time})
	if v.CreatedTimestamp != "" {
		fields = append(fields, arrow.Field{Name: v.CreatedTimestamp, Type: Time, Nullable: true})
	}
	for _, f := range v.Features {
		fields = append(fields, arrow.Field{Name: f.Name, Type: f.Type.Arrow(), Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// StoredSchema is the schema of the view's files: [FeatureView.Schema] and, last, the
// hidden write sequence.
func (v *FeatureView) StoredSchema() *arrow.Schema { return Sequenced(v.Schema()) }

// Sequenced is a schema of some of a view's columns and, last, the hidden write sequence.
func Sequenced(schema *arrow.Schema) *arrow.Schema {
	return arrow.NewSchema(append(schema.Fields(), arrow.Field{Name: SequenceColumn, Type: arrow.PrimitiveTypes.Int64}), nil)
}

// Feature returns the feature of that name.
func (v *FeatureView) Feature(name string) (Field, bool) {
	for _, f := range v.Features {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// FeatureNames returns the names of the view's features in order.
func (v *FeatureView) FeatureNames() []string {
	names := make([]string, len(v.Features))
	for i, f := range v.Features {
		names[i] = f.Name
	}
	return names
}

// KeyNames returns the names of the view's join keys in order.
func (v *FeatureView) KeyNames() []string {
	names := make([]string, len(v.JoinKeys))
	for i, k := range v.JoinKeys {
		names[i] = k.Name
	}
	return names
}

// History says which rows of an entity are kept online besides the newest: those that
// one of its fields keeps, if it is not 0.
type History struct {
	Last   int      `json:"last,omitempty"`    // the newest so many
	MaxAge Duration `json:"max_age,omitempty"` // those whose event time is not longer ago
}

// MostHistory is the greatest [History.Last].
const MostHistory = 10_000

// KeepsHistory reports whether rows of the view are kept online besides the newest.
func (v *FeatureView) KeepsHistory() bool { return v.History != nil || len(v.Aggregations) > 0 }

// ServedOnline reports whether rows of the view go to the online store. Those of a prediction log
// do not: each is of an entity of its own, by whose ID nobody serves, and a store that is made to
// find the newest row of an entity has nothing to do but to keep all. A log that keeps a history, or
// has aggregations, is served.
func (v *FeatureView) ServedOnline() bool { return v.Predictions == nil || v.KeepsHistory() }

// BatchSource is a table that somebody else writes and that is read in place, where
// the server can see it. Its rows are in training sets and SQL, never online, and
// the pins of a dataset name its files by size and time of change, not by content.
type BatchSource struct {
	Format SourceFormat `json:"format"`
	Path   string       `json:"path"` // a file or a folder, on the server's machine
}

// SourceFormat is how a [BatchSource] is stored.
type SourceFormat string

// The formats of batch sources.
const (
	ParquetSource SourceFormat = "parquet" // one file, or all *.parquet files below a folder
	IcebergSource SourceFormat = "iceberg" // a table's folder; its newest snapshot is read
)

// Projection is the part of a view that a request or a service uses: some of its
// features, and, to use one view twice, a role with its own key mapping.
type Projection struct {
	View ViewName `json:"view"`

	// Features are the names wanted, in order; empty means all.
	Features []string `json:"features,omitempty"`

	// Role names this use of the view ("origin", "destination"). Output
	// columns are then called role__feature. "" means the view itself.
	Role string `json:"role,omitempty"`

	// Lag gives the values as they were this long before the time asked for:
	// every rule of the join holds with t − Lag in the place of t.
	Lag Duration `json:"lag,omitempty"`

	// JoinKeyMap maps the view's join keys to columns of the spine
	// (airport → dest). Keys that are not mapped keep their name.
	JoinKeyMap map[string]string `json:"join_key_map,omitempty"`
}

// Prefix is what full feature names of the projection begin with: its role, or its view.
func (p Projection) Prefix() string {
	if p.Role != "" {
		return p.Role
	}
	base, _, err := p.View.Version()
	if err != nil {
		return string(p.View)
	}
	return string(base)
}

// OutputName is the column that a feature gets in an answer: prefixed if the request
// asks for full names or the projection has a role, bare otherwise.
func (p Projection) OutputName(feature string, full bool) string {
	if full || p.Role != "" {
		return p.Prefix() + "__" + feature
	}
	return feature
}

// KeyColumn returns the spine column that carries the view's join key.
func (p Projection) KeyColumn(joinKey string) string {
	if c, ok := p.JoinKeyMap[joinKey]; ok {
		return c
	}
	return joinKey
}

// FeatureService is the named set of features that one model uses, in training
// and in serving.
type FeatureService struct {
	Name        ServiceName       `json:"name"`
	Projections []Projection      `json:"projections"`
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// ParseFeatureRef reads "view:feature" as a projection of one feature.
func ParseFeatureRef(s string) (Projection, error) {
	view, feature, ok := strings.Cut(s, ":")
	if !ok || view == "" || feature == "" {
		return Projection{}, Errorf(Invalid, "feature reference %q is not valid", clip(s)).
			WithHint("write view:feature, for example weather:temp")
	}
	return Projection{View: ViewName(view), Features: []string{feature}}, nil
}

// Definitions is what a user declares, in YAML or in Python, and applies as one.
type Definitions struct {
	Entities             []Entity              `json:"entities,omitempty"`
	FeatureViews         []FeatureView         `json:"feature_views,omitempty"`
	OnDemandFeatureViews []OnDemandFeatureView `json:"on_demand_feature_views,omitempty"`
	FeatureServices      []FeatureService      `json:"feature_services,omitempty"`
	Monitors             []Monitor             `json:"monitors,omitempty"`
	Validations          []Validation          `json:"validations,omitempty"`
	Presets              []Preset              `json:"presets,omitempty"`
	Policies             []Policy              `json:"policies,omitempty"`
}

// Change is one difference between the definitions and the catalogue.
type Change struct {
	Action string   `json:"action"`           // ChangeCreate, ChangeUpdate or ChangeNone
	Ref    Ref      `json:"ref"`              // the object
	Fields []string `json:"fields,omitempty"` // what differs, for people: "ttl: 3h0m0s → 6h0m0s"

	// Affects is what was made from features that the change drops, renames or gives
	// another type.
	Affects []Dependent `json:"affects,omitempty"`
}

// What applying does to an object. Objects that the definitions do not name are left alone.
const (
	ChangeCreate = "create"
	ChangeUpdate = "update"
	ChangeNone   = "none"
)

// Duration is a time.Duration that is written "3h0m0s" in JSON; "7d" and "90d" are understood too.
type Duration time.Duration

// ParseDuration reads a Go duration, or a whole number of days ("7d").
func ParseDuration(s string) (Duration, error) {
	if s == "" || s == "0" {
		return 0, nil
	}
	text, unit := s, time.Duration(1)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, unit = days+"h", 24
	}
	d, err := time.ParseDuration(text)
	const most = time.Duration(1<<63-1) / 24
	if err != nil || d < 0 || d > most {
		return 0, Errorf(Invalid, "duration %q is not valid", clip(s)).WithHint("write it like 90s, 3h, 1h30m or 7d")
	}
	return Duration(d * unit), nil
}

// Microseconds returns d in the unit of every stored time.
func (d Duration) Microseconds() int64 { return time.Duration(d).Microseconds() }

// String returns the Go form, for example "3h0m0s".
func (d Duration) String() string { return time.Duration(d).String() }

// Short returns d as people write it, in letters and digits only: 7d, 3h, 1h30m, 250ms.
// What is below a microsecond is left out.
func (d Duration) Short() string {
	var b strings.Builder
	rest := time.Duration(d)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}} {
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.size
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// MarshalJSON writes the form of String.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what [ParseDuration] reads.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return Errorf(Invalid, "duration is %s, want a string", clip(string(data))).WithHint("write it like \"3h\" or \"7d\"")
	}
	parsed, err := ParseDuration(s)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
