package engine

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/online"
)

// OnlinePlan is how one set of features is read online: what does not depend on the
// entities, worked out once for many requests. It is shared and never changed.
type OnlinePlan struct {
	// Keys are the columns that entity rows must have.
	Keys []OnlineKey

	// Request are the columns that entity rows must have for features that are computed
	// on demand.
	Request []OnlineKey

	// Features are the columns of the answer, after those of the entities.
	Features []OnlineFeature

	uses   []onlineUse
	groups []onlineGroup
	types  []driftline.Type // of Features
	names  map[string]bool  // of Features

	computed *onDemandPlan // nil if all features are read; uses and groups are empty otherwise

	definitions uint64 // of the catalogue that it was made from
	joined      atomic.Pointer[joinedSchema]
}

// OnlineKey is a column of entity rows.
type OnlineKey struct {
	Column string
	Type   driftline.Type
	View   driftline.ViewName // the first that needs it
}

// OnlineFeature is a column of the answer.
type OnlineFeature struct {
	Name string
	Type driftline.Type
	use  int // of the view whose row has the value

	derived bool // by an aggregation
}

// onlineUse is a view, as the plan reads it.
type onlineUse struct {
	registry.Resolved
	group int
	first int // of its features in the plan's

	stored     registry.Resolved // those features that its rows have
	storedAt   []int             // places of those in the plan's
	aggregates *onlineAggregates // those that are derived; nil for none
}

// onlineGroup is uses that take the same columns as the same join keys.
type onlineGroup struct {
	stored   *online.Group
	joinKeys []driftline.Field
	columns  []string           // of the entities, one per join key
	view     driftline.ViewName // one of those that are read
	uses     []int              // in the order in which they were added to stored
}

// joinedSchema is the schema of an answer to entities of a schema.
type joinedSchema struct{ entities, answer *arrow.Schema }

// PlanOnline returns the plan of a feature set. It makes one only if there is none yet or
// definitions were applied since, so that it costs next to nothing to ask for it each time.
func (e *Engine) PlanOnline(set driftline.FeatureSet) (*OnlinePlan, error) {
	var scratch [4 << 10]byte
	key := appendFeatureSet(scratch[:0], set)
	definitions := e.registry.Definitions()
	if plan := e.onlinePlans.find(key); plan != nil && plan.definitions == definitions {
		return plan, nil
	}
	plan, err := e.makeOnlinePlan(set)
	if err != nil {
		return nil, err
	}
	plan.definitions = definitions
	e.onlinePlans.keep(key, plan)
	return plan, nil
}

func (e *Engine) makeOnlinePlan(set driftline.FeatureSet) (*OnlinePlan, error) {
	resolution, err := e.registry.Resolve(set)
	if err != nil {
		return nil, err
	}
	if err := checkServed(resolution.Reads); err != nil {
		return nil, err
	}
	if len(resolution.OnDemand) > 0 {
		return planOnDemand(resolution)
	}
	return planReads(resolution.Reads, set.FullFeatureNames)
}

func planReads(reads []registry.Resolved, full bool) (*OnlinePlan, error) {
	p := &OnlinePlan{names: map[string]bool{}}
	for _, r := range reads {
		if err := p.add(r, full); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add plans to read one view.
func (p *OnlinePlan) add(r registry.Resolved, full bool) error {
	use := onlineUse{Resolved: r, group: p.group(r), first: len(p.Features)}
	group := &p.groups[use.group]
	if err := group.stored.Add(r.View, r.Projection.Features, use.first); err != nil {
		return err
	}
	group.uses = append(group.uses, len(p.uses))
	var err error
	if use.stored, use.storedAt, use.aggregates, err = divide(r, use.first); err != nil {
		return err
	}
	for i, name := range r.Projection.Features {
		column := OnlineFeature{Name: r.Projection.OutputName(name, full), Type: use.typeOf(i), use: len(p.uses), derived: use.derives(use.first + i)}
		if p.names[column.Name] {
			return twice(column.Name)
		}
		p.names[column.Name] = true
		p.Features, p.types = append(p.Features, column), append(p.types, heldAs(column.Type))
	}
	p.uses = append(p.uses, use)
	return nil
}

func twice(column string) error {
	return driftline.Errorf(driftline.Invalid, "column %q would be there twice", column).
		WithHint("ask for full_feature_names, or give one use of the view a role")
}

// group returns the place of the group that r belongs to.
func (p *OnlinePlan) group(r registry.Resolved) int {
	columns := make([]string, len(r.View.JoinKeys))
	for i, k := range r.View.JoinKeys {
		columns[i] = r.Projection.KeyColumn(k.Name)
	}
	at := slices.IndexFunc(p.groups, func(g onlineGroup) bool {
		return slices.Equal(g.columns, columns) && slices.EqualFunc(g.joinKeys, r.View.JoinKeys, func(a, b driftline.Field) bool {
			return a.Name == b.Name && a.Type == b.Type
		})
	})
	if at >= 0 {
		return at
	}
	for i, k := range r.View.JoinKeys {
		p.addKey(OnlineKey{Column: columns[i], Type: k.Type, View: r.View.Name})
	}
	p.groups = append(p.groups, onlineGroup{
		stored: online.NewGroup(r.View.JoinKeys), joinKeys: r.View.JoinKeys, columns: columns, view: r.View.Name,
	})
	return len(p.groups) - 1
}

// addKey adds a column, once. Of two types it is of the one that fits both.
func (p *OnlinePlan) addKey(key OnlineKey) {
	for i := range p.Keys {
		if known := &p.Keys[i]; known.Column == key.Column {
			if known.Type.Holds(key.Type) {
				known.Type = key.Type
			}
			return
		}
	}
	p.Keys = append(p.Keys, key)
}

// checkEntities refuses entity columns that are called as a feature of the answer is.
func (p *OnlinePlan) checkEntities(entities *arrow.Schema) error {
	for i := range entities.NumFields() {
		if name := entities.Field(i).Name; p.names[name] {
			return twice(name)
		}
	}
	return nil
}

// schema returns the schema of an answer: the entities' columns and then the features.
func (p *OnlinePlan) schema(entities *arrow.Schema) *arrow.Schema {
	if known := p.joined.Load(); known != nil && known.entities == entities {
		return known.answer
	}
	fields := entities.Fields()
	for _, f := range p.Features {
		fields = append(fields, arrow.Field{Name: f.Name, Type: f.Type.Arrow(), Nullable: true})
	}
	answer := arrow.NewSchema(fields, nil)
	p.joined.Store(&joinedSchema{entities, answer})
	return answer
}

// onlinePlans are the plans that were asked for lately, by feature set. Services ask for
// few sets, again and again; what asks for ever new ones makes all be forgotten now and
// then, and takes no more than that.
type onlinePlans struct {
	mu    sync.RWMutex
	plans map[string]*OnlinePlan
	bytes int // of the keys, to which the plans are in proportion
}

// Bounds of what is kept.
const (
	maxOnlinePlans    = 1000
	maxOnlinePlanKeys = 4 << 20
)

func (o *onlinePlans) find(key []byte) *OnlinePlan {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.plans[string(key)]
}

func (o *onlinePlans) keep(key []byte, plan *OnlinePlan) {
	if len(key) > maxOnlinePlanKeys/4 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.plans == nil || len(o.plans) >= maxOnlinePlans || o.bytes+len(key) > maxOnlinePlanKeys {
		o.plans, o.bytes = map[string]*OnlinePlan{}, 0
	}
	if o.plans[string(key)] == nil {
		o.bytes += len(key)
	}
	o.plans[string(key)] = plan
}

// appendFeatureSet appends text that is equal for equal sets only: every part is led by
// its length.
func appendFeatureSet(to []byte, set driftline.FeatureSet) []byte {
	full := 0
	if set.FullFeatureNames {
		full = 1
	}
	to = binary.AppendUvarint(to, uint64(full))
	to = appendPart(to, string(set.Service))
	to = appendParts(to, set.Features)
	to = binary.AppendUvarint(to, uint64(len(set.Projections)))
	for i := range set.Projections {
		to = appendProjection(to, &set.Projections[i])
	}
	return to
}

func appendProjection(to []byte, p *driftline.Projection) []byte {
	to = appendPart(to, string(p.View))
	to = appendParts(to, p.Features)
	to = appendPart(to, p.Role)
	to = binary.AppendVarint(to, int64(p.Lag))
	mapped := make([]string, 0, len(p.JoinKeyMap))
	for key := range p.JoinKeyMap {
		mapped = append(mapped, key)
	}
	slices.Sort(mapped)
	to = appendParts(to, mapped)
	for _, key := range mapped {
		to = appendPart(to, p.JoinKeyMap[key])
	}
	return to
}

func appendParts(to []byte, parts []string) []byte {
	to = binary.AppendUvarint(to, uint64(len(parts)))
	for _, part := range parts {
		to = appendPart(to, part)
	}
	return to
}

func appendPart(to []byte, part string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(part))), part...)
}
