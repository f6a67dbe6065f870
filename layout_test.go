package driftline_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/driftline/driftline"

// mayImport is the house: what each package may import of this module, and why.
// Imports go down only, and siblings never import each other.
var mayImport = map[string]struct {
	packages []string
	why      string
}{
	".":                   {nil, "the nouns: everything imports them, they import nothing of ours"},
	"expression":          {[]string{"."}, "expressions over columns: usable, and provable against DuckDB, without the rest"},
	"drift":               {nil, "numbers only: usable, and testable against SciPy, without the rest"},
	"calendar":            {[]string{"."}, "when cron times in a zone are: under monitors and triggers, which must agree on it"},
	"monitor":             {[]string{".", "calendar", "drift"}, "what is due, at which level it is tested, and what an outcome means: pure, so that every history can be tried"},
	"routing":             {[]string{"."}, "who answers which request: the same for servers, clients and whoever checks the log, so it knows nothing else"},
	"predictions":         {[]string{"."}, "what a prediction log promises of memory, loss and labels: without tables, so that every order of events can be tried"},
	"evaluation":          {[]string{".", "drift/estimate"}, "whether a candidate may get traffic: pure, so that an evaluation can be made again"},
	"pipeline":            {[]string{"."}, "in which order steps run and which need not run again: pure, so that every history can be tried"},
	"pipeline/local":      {[]string{".", "pipeline", "storage/durable"}, "the programs of a pipeline on this machine; needs no server, so it is below the engine"},
	"trigger":             {[]string{".", "calendar", "drift/sequential"}, "when a model is trained, and by whom: pure, so that every history can be tried"},
	"rollout":             {[]string{".", "drift", "drift/sequential"}, "how a candidate becomes champion: pure, so that every history can be tried and every verdict made again"},
	"drift/detect":        {[]string{"drift"}, "detectors on a stream of numbers, and how they are measured; numbers only, as drift"},
	"drift/estimate":      {[]string{"drift"}, "how well a model does and why it does worse; numbers only, as drift"},
	"aggregate/exact":     {nil, "sums without rounding: under aggregations and profiles, which merge in any order"},
	"aggregate/distinct":  {nil, "how many different values: under aggregations and profiles, which merge in any order"},
	"drift/sequential":    {[]string{"drift"}, "evidence that grows and may be looked at any time: under rollouts and triggers; numbers only, as drift"},
	"drift/profile":       {[]string{"drift", "aggregate/exact", "aggregate/distinct"}, "numbers in, bytes out: what is kept of a column, without tables or files"},
	"aggregate":           {[]string{".", "aggregate/distinct", "aggregate/exact", "expression"}, "the arithmetic of aggregations, one for offline and online; under the two rooms that compute them"},
	"storage/durable":     {nil, "files that survive a crash: the one way in which any room writes one"},
	"storage/blobs":       {[]string{".", "storage/durable"}, "bytes by their hash; knows neither names nor who needs them"},
	"storage/kv":          {[]string{".", "storage/durable"}, "ordered durable keys, under the rooms that need them"},
	"storage/online":      {[]string{".", "aggregate", "expression", "storage/kv"}, "packed rows over kv, and what aggregations make of them"},
	"storage/columns":     {[]string{"."}, "reads columns of Parquet files in place; under the two rooms that read files"},
	"storage/offline":     {[]string{".", "storage/columns", "storage/durable"}, "immutable files and their snapshots; knows no keys"},
	"internal/ipcverify":  {[]string{"."}, "looks at Arrow messages before they are decoded; under the two rooms that get them from strangers"},
	"internal/publicaddr": {nil, "which addresses are public: under all that connect to where a user said"},
	"internal/flightdata": {nil, "reads the messages of the wire that carry rows; under both ends of it"},
	"query": {[]string{".", "aggregate", "expression", "storage/columns", "storage/durable", "internal/ipcverify"},
		"plans and runs joins and SQL over files it is told of; finds none itself"},
	"migrate":           {[]string{"."}, "outside: reads and writes servers by a protocol, and knows nothing of how ours keeps anything"},
	"openlineage":       {[]string{"."}, "a standard's events, names and receivers: knows neither the ledger nor routes, so that its forms are tested against its schema"},
	"registry":          {[]string{".", "expression", "monitor", "registry/filter", "rollout", "storage/kv", "trigger"}, "the ledger and its folds; checks what expressions, schedules and triggers mean when they are applied; knows no tables"},
	"registry/filter":   {[]string{"."}, "a language: pure, so that it can be fuzzed and compared with a loop"},
	"report":            {[]string{"."}, "what outcomes look like on paper: for every door, and for programs that have no server"},
	"internal/outbound": {[]string{"internal/publicaddr"}, "connects to hosts that users name, and to no private ones; under the rooms that send webhooks"},
	"executor":          {[]string{".", "internal/outbound"}, "an edge downward: starts jobs that train models, and says how they ended; knows nothing of who wants them"},
	"notify":            {[]string{".", "internal/outbound"}, "tells people of alerts; knows addresses and secrets, and nothing of how alerts come about"},
	"engine": {[]string{".", "aggregate", "drift", "drift/detect", "drift/estimate", "drift/profile", "evaluation", "executor", "expression", "monitor", "notify", "openlineage", "predictions", "query", "registry", "rollout", "routing", "storage/blobs", "storage/columns", "storage/durable", "storage/kv", "storage/offline", "storage/online", "trigger"},
		"the use cases: the only place where the rooms meet"},
	"flight":  {[]string{".", "engine", "registry", "internal/flightdata", "internal/ipcverify"}, "an edge: translates a wire into calls of the engine"},
	"gateway": {[]string{".", "engine", "internal/publicaddr", "routing"}, "an edge: asks other processes in the place of its callers, with pools and circuits that no other room needs"},
	"web":     {[]string{".", "engine", "openlineage", "gateway", "registry", "report", "storage/blobs", "internal/replay", "web/internal/plainjson", "web/mlflow"}, "an edge: translates a wire into calls of the engine"},
	"web/mlflow": {[]string{".", "engine", "registry", "web/internal/download", "web/internal/plainjson"},
		"an edge within the edge: a protocol with JSON rules, errors and limits of its own, mounted by web behind its gates"},
	"client": {[]string{".", "internal/flightdata"}, "outside: knows the nouns and the wire only, as any client does"},
	"cmd/driftline": {[]string{".", "client", "engine", "executor", "flight", "gateway", "internal/replay", "migrate", "notify", "openlineage", "pipeline", "pipeline/local", "query", "report", "storage/durable", "web"},
		"the binary: wires the rooms up and reads flags, environment and settings"},
	"bench":            {[]string{".", "client", "drift", "drift/detect", "rollout", "routing", "trigger"}, "outside: measures the product as its users meet it"},
	"internal/replay":  {[]string{"."}, "a clock that stands still: for tests, and for servers that go through the past"},
	"internal/testenv": {[]string{".", "engine", "internal/replay", "registry"}, "a whole engine in a test's folder"},
}

// onlyIn are the technologies that live in one room each.
var onlyIn = []struct {
	prefix string
	rooms  []string
	why    string
}{
	{"github.com/duckdb/", []string{"query"}, "DuckDB computes and keeps nothing; one room knows its traps"},
	{"github.com/cockroachdb/pebble", []string{"storage/kv"}, "one room knows how Pebble fails"},
	{"github.com/apache/iceberg-go", []string{"storage/offline"}, "one room knows the table format"},
	{"google.golang.org/grpc", []string{"flight", "client", "gateway", "internal/flightdata"}, "gRPC is a wire"},
	{"github.com/spf13/", []string{"cmd/driftline"}, "flags are read in one place"},
	{"github.com/knadh/koanf", []string{"cmd/driftline"}, "settings are read in one place"},
}

// listed is the part of `go list -json` that the tests read.
type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
}

// packages lists the module's packages, with paths relative to the module.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "duckdb_arrow", "-json=ImportPath,Doc,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = relative(p.ImportPath)
		all = append(all, p)
	}
}

func relative(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// room is the package that owns p: an internal package belongs to the room around it.
func room(p string) string {
	if owner, _, ok := strings.Cut(p, "/internal/"); ok {
		return owner
	}
	return p
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range packages(t) {
		rule, ok := mayImport[room(p.ImportPath)]
		if !ok {
			t.Errorf("package %s is not in the house: add it to mayImport, with the reason", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if imported != module && !strings.HasPrefix(imported, module+"/") {
				continue
			}
			target := relative(imported)
			if room(target) != room(p.ImportPath) && !slices.Contains(rule.packages, target) {
				t.Errorf("%s imports %s, but it is %s", p.ImportPath, target, rule.why)
			}
		}
	}
}

func TestTechnologiesLiveInOneRoom(t *testing.T) {
	for _, p := range packages(t) {
		for _, tech := range onlyIn {
			for _, imported := range p.Imports {
				if strings.HasPrefix(imported, tech.prefix) && !slices.Contains(tech.rooms, room(p.ImportPath)) {
					t.Errorf("%s imports %s, which belongs in %v: %s", p.ImportPath, imported, tech.rooms, tech.why)
				}
			}
		}
	}
}

func TestRootAndDriftHaveFewDependencies(t *testing.T) {
	allowed := map[string][]string{
		".":     {"github.com/apache/arrow-go/"},
		"drift": {"gonum.org/", "golang.org/x/sys/cpu"},
	}
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			prefixes, ok := allowed[p.ImportPath]
			standard := !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
			if !ok || standard {
				continue
			}
			if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(imported, prefix) }) {
				t.Errorf("%s imports %s; it may import the standard library and %v only", p.ImportPath, imported, prefixes)
			}
		}
	}
}

func TestPackagesHaveDocs(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("package %s has no doc: say in one sentence why it exists", p.ImportPath)
		}
	}
}

func TestNoPackageIsADrawer(t *testing.T) {
	for _, p := range packages(t) {
		if name := path.Base(p.ImportPath); slices.Contains([]string{"util", "utils", "common", "pkg", "mock", "mocks", "helpers"}, name) {
			t.Errorf("package %s: name it for what it holds", p.ImportPath)
		}
	}
}
