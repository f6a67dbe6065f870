package registry

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// graph is the inputs of the ledger's lines: an edge goes from a thing to what it
// was made from. Nodes are numbered so that an edge costs 8 bytes.
type graph struct {
	nodes  []driftline.Ref
	number map[driftline.Ref]int32
	up     [][]int32 // node → what it was made from, in the order of the lines
	down   [][]int32 // node → what was made from it
}

func newGraph() *graph { return &graph{number: map[driftline.Ref]int32{}} }

// add adds the line's edges. A definition that is applied again replaces its
// edges: it is what it says now.
func (g *graph) add(line *Line) {
	if len(line.Inputs) == 0 && isMany(line.Ref.Kind) {
		return // there may be hundreds of thousands that nothing is known of
	}
	from := g.node(line.Ref)
	if line.Kind == ModelRenamed {
		g.rename(line)
		return
	}
	if defines(line.Kind) {
		g.clear(from)
	}
	for _, ref := range line.Inputs {
		g.connect(from, g.node(ref))
	}
	g.addBeside(line, from)
}

// connect adds an edge that is not there yet.
func (g *graph) connect(from, to int32) {
	if to == from || slices.Contains(g.shorter(from, to)) {
		return
	}
	g.up[from] = append(g.up[from], to)
	g.down[to] = append(g.down[to], from)
}

// addBeside adds what a line says of things other than its own: where an alias points, what
// a monitor found.
func (g *graph) addBeside(line *Line, at int32) {
	switch line.Kind {
	case AliasMoved:
		g.moveAlias(line)
	case VersionDeleted:
		g.unpoint(slices.Clone(g.down[at]))
	case ModelDeleted:
		g.unpoint(g.aliasesOf(line.Ref.Name))
	case PaneEvaluated:
		result := g.node(driftline.ResultRef(driftline.MonitorName(line.Ref.Name), line.Sequence))
		g.connect(result, at)
		for _, ref := range line.Inputs {
			g.connect(result, g.node(ref))
		}
	case AlertChanged:
		if changed, err := body[alertChanged](line); err == nil && changed.Alert.Pane != 0 {
			g.connect(at, g.node(driftline.ResultRef(changed.Alert.Monitor, changed.Alert.Pane)))
		}
	}
}

// moveAlias makes an alias point where it points now, with what the decision rests on.
func (g *graph) moveAlias(line *Line) {
	moved, err := body[aliasMoved](line)
	if err != nil {
		return // the fold has refused the line
	}
	model := driftline.ModelName(line.Ref.Name)
	alias := g.node(driftline.AliasRef(model, moved.Alias))
	g.clear(alias)
	if moved.To == 0 {
		return
	}
	g.connect(alias, g.node(driftline.ModelRef(model, moved.To)))
	for _, ref := range moved.Evidence {
		g.connect(alias, g.node(ref))
	}
}

// unpoint takes away the edges of aliases among nodes.
func (g *graph) unpoint(nodes []int32) {
	for _, n := range nodes {
		if g.nodes[n].Kind == driftline.KindAlias {
			g.clear(n)
		}
	}
}

// aliasesOf are the nodes of a model's aliases.
func (g *graph) aliasesOf(model string) (found []int32) {
	for n, ref := range g.nodes {
		if ref.Kind == driftline.KindAlias && aliasedModel(ref) == driftline.ModelName(model) {
			found = append(found, int32(n))
		}
	}
	return found
}

// aliasedModel is the model of the ref of an alias.
func aliasedModel(ref driftline.Ref) driftline.ModelName {
	return driftline.ModelName(ref.Name[:max(0, strings.LastIndexByte(ref.Name, ':'))])
}

// rename gives the versions of a model their new names. The old ones still lead to them.
func (g *graph) rename(line *Line) {
	renamed, err := body[modelRenamed](line)
	if err != nil {
		return // the fold has refused the line
	}
	for _, n := range g.aliasesOf(line.Ref.Name) {
		ref := g.nodes[n]
		ref.Name = string(renamed.To) + ref.Name[strings.LastIndexByte(ref.Name, ':'):]
		g.nodes[n] = ref
		g.number[ref] = n
	}
	for n, ref := range g.nodes {
		if ref.Kind == driftline.KindModel && ref.Name == line.Ref.Name {
			ref.Name = string(renamed.To)
			g.nodes[n] = ref
			g.number[ref] = int32(n)
		}
	}
}

// isMany reports whether things of a kind are nodes only once they have an edge.
func isMany(kind driftline.RefKind) bool {
	return kind == driftline.KindRun || kind == driftline.KindExperiment
}

// shorter returns the shorter of the two lists that an edge would be in, and what to look for there.
func (g *graph) shorter(from, to int32) ([]int32, int32) {
	if len(g.up[from]) <= len(g.down[to]) {
		return g.up[from], to
	}
	return g.down[to], from
}

func (g *graph) clear(from int32) {
	for _, to := range g.up[from] {
		g.down[to] = slices.DeleteFunc(g.down[to], func(n int32) bool { return n == from })
	}
	g.up[from] = nil
}

func (g *graph) node(ref driftline.Ref) int32 {
	if n, ok := g.number[ref]; ok {
		return n
	}
	n := int32(len(g.nodes))
	g.number[ref] = n
	g.nodes = append(g.nodes, ref)
	g.up = append(g.up, nil)
	g.down = append(g.down, nil)
	return n
}

// walk visits the graph breadth first from root, depth steps far (0: all the
// way), and returns the nodes met, each once, and the edges walked.
func (g *graph) walk(root driftline.Ref, direction driftline.LineageDirection, depth int) ([]driftline.Ref, []driftline.LineageEdge) {
	refs, edges := []driftline.Ref{root}, []driftline.LineageEdge{}
	start, ok := g.number[root]
	if !ok {
		return refs, edges
	}
	seen := map[int32]bool{start: true}
	level := []int32{start}
	for step := 0; len(level) > 0 && (depth <= 0 || step < depth); step++ {
		var next []int32
		for _, at := range level {
			for _, other := range g.neighbours(at, direction) {
				edges = append(edges, g.edge(at, other, direction))
				if !seen[other] {
					seen[other] = true
					next = append(next, other)
					refs = append(refs, g.nodes[other])
				}
			}
		}
		level = next
	}
	return refs, edges
}

func (g *graph) neighbours(node int32, direction driftline.LineageDirection) []int32 {
	if direction == driftline.Down {
		return g.down[node]
	}
	return g.up[node]
}

func (g *graph) edge(at, other int32, direction driftline.LineageDirection) driftline.LineageEdge {
	from, to := g.nodes[at], g.nodes[other]
	if direction == driftline.Down {
		from, to = to, from
	}
	return driftline.LineageEdge{From: from, To: to, Kind: edgeKind(from, to)}
}

// edgeKinds are the words for an edge, read "From … To".
var edgeKinds = map[[2]driftline.RefKind]string{
	{driftline.KindModel, driftline.KindRun}:         "registered from",
	{driftline.KindModel, driftline.KindArtifact}:    "stored in",
	{driftline.KindArtifact, driftline.KindRun}:      "logged by",
	{driftline.KindRun, driftline.KindDataset}:       "trained on",
	{driftline.KindRun, driftline.KindModel}:         "used model",
	{driftline.KindRun, driftline.KindSnapshot}:      "read snapshot",
	{driftline.KindRun, driftline.KindRun}:           "continued from",
	{driftline.KindDataset, driftline.KindSnapshot}:  "read snapshot",
	{driftline.KindDataset, driftline.KindDataset}:   "derived from",
	{driftline.KindDataset, driftline.KindService}:   "defined by",
	{driftline.KindDataset, driftline.KindView}:      "read",
	{driftline.KindRun, driftline.KindView}:          "read",
	{driftline.KindSnapshot, driftline.KindFile}:     "stored in",
	{driftline.KindSnapshot, driftline.KindView}:     "ingested as",
	{driftline.KindSnapshot, driftline.KindSnapshot}: "follows",
	{driftline.KindService, driftline.KindView}:      "defined by",
	{driftline.KindView, driftline.KindEntity}:       "keyed by",
	{driftline.KindView, driftline.KindView}:         "computed from",
	{driftline.KindMonitor, driftline.KindView}:      "watches",
	{driftline.KindMonitor, driftline.KindDataset}:   "compared with",
	{driftline.KindMonitor, driftline.KindSnapshot}:  "read snapshot",
	{driftline.KindAlert, driftline.KindMonitor}:     "raised by",
	{driftline.KindAlert, driftline.KindResult}:      "raised for",
	{driftline.KindResult, driftline.KindMonitor}:    "found by",
	{driftline.KindResult, driftline.KindSnapshot}:   "read snapshot",
	{driftline.KindResult, driftline.KindView}:       "about",
	{driftline.KindResult, driftline.KindDataset}:    "compared with",
	{driftline.KindAlias, driftline.KindModel}:       "points at",
	{driftline.KindPrediction, driftline.KindModel}:  "made by",
	{driftline.KindPrediction, driftline.KindView}:   "logged in",

	{driftline.KindMonitor, driftline.KindPreset}: "decided by",

	{driftline.KindPolicy, driftline.KindView}:         "watches",
	{driftline.KindPolicy, driftline.KindMonitor}:      "listens to",
	{driftline.KindPolicy, driftline.KindService}:      "watches",
	{driftline.KindPolicy, driftline.KindDataset}:      "trains and evaluates on",
	{driftline.KindEvaluation, driftline.KindModel}:    "measured",
	{driftline.KindEvaluation, driftline.KindDataset}:  "measured on",
	{driftline.KindEvaluation, driftline.KindRun}:      "read predictions of",
	{driftline.KindEvaluation, driftline.KindView}:     "read predictions of",
	{driftline.KindEvaluation, driftline.KindArtifact}: "read predictions of",
	{driftline.KindTraining, driftline.KindPolicy}:     "begun by",
	{driftline.KindTraining, driftline.KindAlert}:      "caused by",
	{driftline.KindTraining, driftline.KindDataset}:    "trained on",

	{driftline.KindValidation, driftline.KindView}:     "checks",
	{driftline.KindValidation, driftline.KindDataset}:  "checks",
	{driftline.KindValidation, driftline.KindSnapshot}: "read snapshot",

	{driftline.KindJob, driftline.KindTable}:     "read",
	{driftline.KindJob, driftline.KindView}:      "read",
	{driftline.KindJob, driftline.KindDataset}:   "read",
	{driftline.KindTable, driftline.KindJob}:     "written by",
	{driftline.KindView, driftline.KindJob}:      "written by",
	{driftline.KindDataset, driftline.KindTable}: "made from",
	{driftline.KindRun, driftline.KindTable}:     "read",

	{driftline.KindModel, driftline.KindModel}:          "copied from",
	{driftline.KindModel, driftline.KindLoggedModel}:    "registered from",
	{driftline.KindLoggedModel, driftline.KindRun}:      "logged by",
	{driftline.KindArtifact, driftline.KindLoggedModel}: "part of",
}

func edgeKind(from, to driftline.Ref) string {
	if from.Kind == driftline.KindDataset && to.Kind == driftline.KindSnapshot && to.Name == datasetTable(from) {
		return "stored in"
	}
	if word, ok := edgeKinds[[2]driftline.RefKind{from.Kind, to.Kind}]; ok {
		return word
	}
	if from.Kind == driftline.KindAlias {
		return "decided on"
	}
	return "made from"
}

// Lineage returns what ref was made from (Up) or what was made from it (Down),
// depth steps far; depth 0 is all the way. A model's alias and the newest version
// ("") are resolved first: Root is the thing itself. Edges between two nodes that
// are both depth steps away are not walked.
func (r *Registry) Lineage(ref driftline.Ref, direction driftline.LineageDirection, depth int) (driftline.Lineage, error) {
	if err := CheckWalk(direction, depth); err != nil {
		return driftline.Lineage{}, err
	}
	r.published.RLock()
	defer r.published.RUnlock()
	root, err := r.lineageRoot(ref)
	if err != nil {
		return driftline.Lineage{}, err
	}
	refs, edges := r.walk(root, direction, depth)
	nodes := make([]driftline.LineageNode, len(refs))
	for i, ref := range refs {
		nodes[i] = driftline.LineageNode{Ref: ref, Facts: r.facts(ref)}
	}
	return driftline.Lineage{Root: root, Nodes: nodes, Edges: edges}, nil
}

// CheckWalk refuses a direction that is not known and a negative depth.
func CheckWalk(direction driftline.LineageDirection, depth int) error {
	if direction != driftline.Up && direction != driftline.Down {
		return driftline.Errorf(driftline.Invalid, "lineage direction %q is not known", clip(direction)).WithHint("use up or down")
	}
	if depth < 0 {
		return driftline.Errorf(driftline.Invalid, "lineage depth %d is negative", depth).WithHint("leave the depth out to go all the way")
	}
	return nil
}

func (r *Registry) walk(root driftline.Ref, direction driftline.LineageDirection, depth int) ([]driftline.Ref, []driftline.LineageEdge) {
	if isColumn(root) {
		return r.newColumnWalk(direction).walk(depth, root)
	}
	return r.graph.walk(root, direction, depth)
}

// lineageRoot resolves ref, which must be something that the ledger speaks of.
func (r *Registry) lineageRoot(ref driftline.Ref) (driftline.Ref, error) {
	if n, ok := r.graph.number[ref]; ok && ref.Version != "" {
		return r.graph.nodes[n], nil // a model may have been renamed
	}
	if isColumn(ref) {
		return ref, r.checkColumn(ref)
	}
	root, err := r.durable.resolveRef(ref)
	if err != nil {
		return driftline.Ref{}, err
	}
	if _, ok := r.graph.number[root]; !ok && !isMany(root.Kind) {
		return driftline.Ref{}, driftline.Errorf(driftline.NotFound, "%s is not in the ledger", root).WithRef(root).
			WithHint("see driftline models, driftline runs or driftline dataset for what is")
	}
	return root, nil
}

// LineageEdges returns every edge, by From in the order in which things were first spoken of.
func (r *Registry) LineageEdges() []driftline.LineageEdge {
	r.published.RLock()
	defer r.published.RUnlock()
	edges := []driftline.LineageEdge{}
	for from := range r.graph.nodes {
		for _, to := range r.graph.up[from] {
			edges = append(edges, r.graph.edge(int32(from), to, driftline.Up))
		}
	}
	return edges
}

// ResolveRef returns ref with its alias or left-out version replaced by the
// version that is meant, or NotFound with the nearest name. Files and artifacts are taken as they are.
func (r *Registry) ResolveRef(ref driftline.Ref) (driftline.Ref, error) {
	var resolved driftline.Ref
	var err error
	r.read(func(s *state) { resolved, err = s.resolveRef(ref) })
	return resolved, err
}

func (s *state) resolveRef(ref driftline.Ref) (driftline.Ref, error) {
	switch ref.Kind {
	case driftline.KindEntity:
		_, err := s.entity(driftline.EntityName(ref.Name))
		return driftline.EntityRef(driftline.EntityName(ref.Name)), err
	case driftline.KindView:
		if _, computed := s.onDemand[driftline.ViewName(ref.Name)]; computed {
			return driftline.ViewRef(driftline.ViewName(ref.Name)), nil
		}
		_, err := s.view(driftline.ViewName(ref.Name))
		return driftline.ViewRef(driftline.ViewName(ref.Name)), err
	case driftline.KindService:
		_, err := s.service(driftline.ServiceName(ref.Name))
		return driftline.ServiceRef(driftline.ServiceName(ref.Name)), err
	case driftline.KindRun:
		_, err := s.run(driftline.RunID(ref.Name))
		return driftline.RunRef(driftline.RunID(ref.Name)), err
	case driftline.KindExperiment:
		e, err := s.experiment(driftline.ExperimentID(ref.Name))
		if err != nil {
			return driftline.Ref{}, err
		}
		return e.ref(), nil
	case driftline.KindDataset:
		return s.resolveDataset(ref)
	case driftline.KindModel:
		return s.resolveModel(ref)
	case driftline.KindLoggedModel:
		_, err := s.loggedModel(driftline.LoggedModelID(ref.Name))
		return ref, err
	case driftline.KindSnapshot:
		return s.resolveSnapshot(ref)
	case driftline.KindAlias:
		return s.resolveAlias(ref)
	case driftline.KindJob, driftline.KindTable:
		return s.resolveTold(ref)
	case driftline.KindFile, driftline.KindArtifact, driftline.KindResult:
		return ref, nil
	case driftline.KindMonitor:
		return s.resolveMonitor(ref)
	case driftline.KindValidation:
		return s.resolveValidation(ref)
	case driftline.KindPolicy:
		return s.resolvePolicy(ref)
	case driftline.KindTraining:
		_, err := s.training(driftline.TrainingID(ref.Name))
		return driftline.TrainingRef(driftline.TrainingID(ref.Name)), err
	case driftline.KindPreset:
		return s.resolvePreset(ref)
	case driftline.KindRollout:
		_, err := s.rollout(driftline.RolloutID(ref.Name))
		return driftline.RolloutRef(driftline.RolloutID(ref.Name)), err
	case driftline.KindEvaluation:
		_, err := s.evaluation(driftline.EvaluationID(ref.Name))
		return driftline.EvaluationRef(driftline.EvaluationID(ref.Name)), err
	case driftline.KindAlert:
		_, err := s.alert(driftline.AlertID(ref.Name))
		return driftline.AlertRef(driftline.AlertID(ref.Name)), err
	}
	return driftline.Ref{}, driftline.Errorf(driftline.Invalid, "reference %q is not valid", clip(ref.String())).
		WithHint("write kind/name or kind/name@version, for example model/late_departure@1")
}

func (s *state) resolveDataset(ref driftline.Ref) (driftline.Ref, error) {
	version := 0
	if ref.Version != "" {
		number, err := strconv.Atoi(ref.Version)
		if err != nil || number < 1 {
			return driftline.Ref{}, driftline.Errorf(driftline.Invalid, "dataset %q: version %q is not a number", ref.Name, clip(ref.Version)).
				WithHint("versions count from 1")
		}
		version = number
	}
	dataset, err := s.dataset(driftline.DatasetName(ref.Name), version)
	if err != nil {
		return driftline.Ref{}, err
	}
	return dataset.Ref(), nil
}

func (s *state) resolveModel(ref driftline.Ref) (driftline.Ref, error) {
	m, err := s.model(driftline.ModelName(ref.Name))
	if err != nil {
		return driftline.Ref{}, err
	}
	version, err := m.selected(ref.Version)
	if err != nil {
		return driftline.Ref{}, err
	}
	return version.Ref(), nil
}

func (s *state) resolveSnapshot(ref driftline.Ref) (driftline.Ref, error) {
	newest, ok := s.newest[ref.Name]
	if !ok {
		known := make([]string, 0, len(s.newest))
		for table := range s.newest {
			known = append(known, table)
		}
		return driftline.Ref{}, unknown("table", ref.Name, known, "ingest rows first").WithRef(ref)
	}
	if ref.Version == "" {
		return driftline.SnapshotRef(ref.Name, newest), nil
	}
	if _, ok := s.snapshots[ref]; !ok {
		return driftline.Ref{}, driftline.Errorf(driftline.NotFound, "table %q has no snapshot %s", ref.Name, clip(ref.Version)).WithRef(ref).
			WithHint("its newest is %d", newest)
	}
	return ref, nil
}

// resolveAll resolves each ref once; what is not there is an error.
func (s *state) resolveAll(refs []driftline.Ref) ([]driftline.Ref, error) {
	var resolved []driftline.Ref
	for _, ref := range refs {
		one, err := s.resolveRef(ref)
		if err != nil {
			return nil, err
		}
		resolved = append(resolved, one)
	}
	return distinct(resolved), nil
}

// facts are those of the state and of the index. The caller holds published.
func (r *Registry) facts(ref driftline.Ref) map[string]string {
	switch ref.Kind {
	case driftline.KindArtifact:
		return r.artifactFacts(ref.Name)
	case driftline.KindResult:
		return r.resultFacts(ref)
	}
	return r.durable.facts(ref)
}

// facts returns the few things worth showing beside a name. Numbers are in
// decimal, times RFC 3339, hashes the first 12 digits.
func (s *state) facts(ref driftline.Ref) map[string]string {
	switch ref.Kind {
	case driftline.KindEntity:
		return s.entityFacts(driftline.EntityName(ref.Name))
	case driftline.KindView:
		return s.viewFacts(driftline.ViewName(ref.Name))
	case driftline.KindService:
		return s.serviceFacts(driftline.ServiceName(ref.Name))
	case driftline.KindSnapshot:
		return s.snapshotFacts(ref)
	case driftline.KindFile:
		return s.fileFacts(ref)
	case driftline.KindDataset:
		return s.datasetFacts(ref)
	case driftline.KindRun:
		return s.runFacts(driftline.RunID(ref.Name))
	case driftline.KindExperiment:
		return s.experimentFacts(driftline.ExperimentID(ref.Name))
	case driftline.KindLoggedModel:
		return s.loggedModelFacts(driftline.LoggedModelID(ref.Name))
	case driftline.KindModel:
		return s.modelFacts(ref)
	case driftline.KindMonitor:
		return s.monitorFacts(ref)
	case driftline.KindValidation:
		return s.validationFacts(ref)
	case driftline.KindEvaluation:
		return s.evaluationFacts(ref)
	case driftline.KindAlert:
		return s.alertFacts(ref)
	case driftline.KindRollout:
		return s.rolloutFacts(ref)
	case driftline.KindTraining:
		return s.trainingFacts(ref)
	case driftline.KindAlias:
		return s.aliasFacts(ref)
	case driftline.KindJob, driftline.KindTable:
		return s.toldFacts(ref)
	}
	return nil
}

func (s *state) entityFacts(name driftline.EntityName) map[string]string {
	entity, ok := s.entities[name]
	if !ok {
		return nil
	}
	return map[string]string{"join_keys": columnList(entity.JoinKeys)}
}

func (s *state) viewFacts(name driftline.ViewName) map[string]string {
	if view, ok := s.onDemand[name]; ok {
		return map[string]string{"features": strconv.Itoa(len(view.Features)), "on_demand": "yes"}
	}
	view, ok := s.views[name]
	if !ok {
		return nil
	}
	facts := map[string]string{"features": strconv.Itoa(len(view.Features))}
	if view.TTL != 0 {
		facts["ttl"] = view.TTL.String()
	}
	if sum := s.ingests[name]; sum.Writes > 0 {
		facts["rows"], facts["last_write"] = strconv.FormatInt(sum.Rows, 10), instant(sum.Last)
	}
	return facts
}

func (s *state) serviceFacts(name driftline.ServiceName) map[string]string {
	service, ok := s.services[name]
	if !ok {
		return nil
	}
	return map[string]string{"projections": projectionList(service.Projections)}
}

func (s *state) snapshotFacts(ref driftline.Ref) map[string]string {
	snapshot, ok := s.snapshots[ref]
	if !ok {
		return nil
	}
	return map[string]string{
		"created": instant(snapshot.Created),
		"files":   strconv.Itoa(len(snapshot.Files)),
		"rows":    strconv.FormatInt(snapshot.Rows, 10),
	}
}

func (s *state) fileFacts(ref driftline.Ref) map[string]string {
	file, ok := s.files[ref]
	if !ok {
		return nil
	}
	return map[string]string{
		"bytes": strconv.FormatInt(file.Bytes, 10),
		"rows":  strconv.FormatInt(file.Rows, 10),
	}
}

func (s *state) datasetFacts(ref driftline.Ref) map[string]string {
	version, err := strconv.Atoi(ref.Version)
	if err != nil {
		return nil
	}
	dataset, err := s.dataset(driftline.DatasetName(ref.Name), version)
	if err != nil {
		return nil
	}
	return map[string]string{
		"content_hash": short(dataset.ContentHash),
		"created":      instant(dataset.Created),
		"rows":         strconv.FormatInt(dataset.Report.Rows, 10),
		"version":      ref.Version,
	}
}

func (s *state) runFacts(id driftline.RunID) map[string]string {
	run, err := s.run(id)
	if err != nil {
		return nil
	}
	facts := map[string]string{
		"created":    instant(run.startedAt()),
		"experiment": string(s.experiments[run.experiment()].name),
		"status":     string(run.status()),
	}
	if run.name() != "" {
		facts["name"] = clip(run.name())
	}
	return facts
}

func (s *state) experimentFacts(id driftline.ExperimentID) map[string]string {
	e, ok := s.experiments[id]
	if !ok {
		return nil
	}
	return map[string]string{"name": clip(string(e.name)), "runs": strconv.Itoa(len(e.runs) - e.purged)}
}

// artifactFacts is nil for a content that nobody has any more.
func (r *Registry) artifactFacts(sha256 string) map[string]string {
	digest, err := hex.DecodeString(sha256)
	if err != nil {
		return nil
	}
	prefix := hashPrefix(digest)
	for pair, err := range r.db.ScanPrefix(prefix) {
		if err != nil {
			return nil
		}
		owner, rest, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return nil
		}
		path, _, err := kv.TakeString(rest)
		if err != nil {
			return nil
		}
		row, err := r.db.Get(artifactKey(owner, path))
		if err != nil || row == nil {
			return nil
		}
		artifact, err := decodeArtifact(path, row)
		if err != nil {
			return nil
		}
		return map[string]string{"bytes": strconv.FormatInt(artifact.Size, 10), "path": artifact.Path}
	}
	return nil
}

func (s *state) loggedModelFacts(id driftline.LoggedModelID) map[string]string {
	m, ok := s.logged[id]
	if !ok {
		return nil
	}
	return map[string]string{"created": instant(m.Created), "experiment": string(m.ExperimentID), "name": clip(m.Name), "status": string(m.Status)}
}

func (s *state) modelFacts(ref driftline.Ref) map[string]string {
	m, ok := s.models[driftline.ModelName(ref.Name)]
	if !ok {
		return nil
	}
	number, err := strconv.Atoi(ref.Version)
	if err != nil {
		return nil
	}
	stored, err := m.version(number)
	if err != nil {
		return nil
	}
	version := m.copyVersion(stored)
	facts := map[string]string{
		"artifact":     cmp.Or(version.Artifact.Path, version.Source),
		"content_hash": short(version.Artifact.SHA256),
		"created":      instant(version.Created),
		"version":      ref.Version,
	}
	if len(version.Aliases) > 0 {
		facts["aliases"] = aliasList(version.Aliases)
	}
	return facts
}

// resolveAlias takes the ref of an alias that points somewhere.
func (s *state) resolveAlias(ref driftline.Ref) (driftline.Ref, error) {
	m, err := s.model(aliasedModel(ref))
	if err != nil {
		return driftline.Ref{}, err
	}
	alias := driftline.Alias(ref.Name[len(aliasedModel(ref))+1:])
	if m.aliases[alias] == 0 {
		return driftline.Ref{}, m.noAlias(alias)
	}
	return driftline.AliasRef(m.name, alias), nil
}

// aliasFacts say where an alias points, since when, and who decided it.
func (s *state) aliasFacts(ref driftline.Ref) map[string]string {
	m, err := s.model(aliasedModel(ref))
	if err != nil {
		return nil
	}
	alias := driftline.Alias(ref.Name[len(aliasedModel(ref))+1:])
	facts := map[string]string{}
	for _, move := range m.moves {
		if move.Alias == alias {
			facts = map[string]string{"version": strconv.Itoa(move.To), "since": instant(move.Time)}
			for key, value := range map[string]string{"by": move.By, "reason": clip(move.Reason)} {
				if value != "" {
					facts[key] = value
				}
			}
		}
	}
	return facts
}

// resultFacts are read from the ledger line that the result is named after.
func (r *Registry) resultFacts(ref driftline.Ref) map[string]string {
	sequence, err := strconv.ParseUint(ref.Version, 10, 64)
	if err != nil {
		return nil
	}
	stored, err := r.db.Get(lineKey(sequence))
	if err != nil || len(stored) <= chainBytes {
		return nil
	}
	var line Line
	if json.Unmarshal(append(stored[:len(stored)-chainBytes:len(stored)-chainBytes], '}'), &line) != nil || line.Kind != PaneEvaluated {
		return nil
	}
	evaluated, err := body[paneEvaluated](&line)
	if err != nil {
		return nil
	}
	pane := &evaluated.Pane
	return map[string]string{"outcome": string(pane.Outcome), "from": instant(pane.Start), "to": instant(pane.End),
		"drifted": strconv.Itoa(pane.Drifted), "compared": strconv.Itoa(pane.Compared), "rows": strconv.FormatInt(pane.Rows, 10)}
}

func aliasList(aliases []driftline.Alias) string {
	list := ""
	for i, alias := range aliases {
		if i > 0 {
			list += ", "
		}
		list += string(alias)
	}
	return list
}

func instant(t time.Time) string { return t.Format(time.RFC3339) }

// short is the beginning of a hash: enough to tell it from any other by eye.
func short(hash string) string { return hash[:min(12, len(hash))] }

// datasetTable is the table of a dataset's version.
func datasetTable(ref driftline.Ref) string {
	version, _ := strconv.Atoi(ref.Version)
	d := driftline.Dataset{Name: driftline.DatasetName(ref.Name), Version: version}
	return d.Table()
}
