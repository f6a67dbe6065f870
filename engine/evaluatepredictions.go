package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/evaluation"
	"github.com/driftline/driftline/query"
)

const (
	// readFolder holds files of clients while a worker reads them. It is below the data folder.
	readFolder = "tmp/read"

	// mostPredictions bounds a file of predictions, in bytes.
	mostPredictions = 4 << 30

	predictionsFile = "predictions.parquet"

	defaultPrediction = "prediction"
	defaultScore      = "score"

	matchedByKeys  = "keys"
	matchedByPlace = "place"
)

// predictionTable is a table with the predictions of a version.
type predictionTable struct {
	*checkedTable
	from  string
	ref   driftline.Ref
	keyed bool   // rows must be found by keys: nothing else says which dataset they are of
	free  func() // drops what it is read from
}

// addPredictions reads what a version made of the rows, in their order.
func (v *evaluating) addPredictions(ctx context.Context, rows *evaluatedRows, side *evaluation.Side, version *driftline.ModelVersion, asked *driftline.PredictionSource, place int) error {
	source := driftline.PredictionSource{}
	if asked != nil {
		source = *asked
	}
	table, err := v.openPredictions(ctx, rows, version, source)
	if err != nil {
		return err
	}
	if table == nil {
		return v.askPredictions(ctx, rows, side, version, place)
	}
	defer table.free()
	used := &driftline.PredictionsUsed{From: table.from, Ref: table.ref}
	if err := v.matchPredictions(ctx, rows, side, table, source, used); err != nil {
		return driftline.Errorf(driftline.CodeOf(err), "the predictions in %s: %w", table.from, err)
	}
	used.Hash = hashOfNumbers(side.Predictions, side.Scores)
	if table.ref != (driftline.Ref{}) && !slices.Contains(v.inputs, table.ref) {
		v.inputs = append(v.inputs, table.ref)
	}
	v.used[place] = used
	return nil
}

// openPredictions opens what was asked for, or what was logged; nil if the version's server is to be asked.
func (v *evaluating) openPredictions(ctx context.Context, rows *evaluatedRows, version *driftline.ModelVersion, source driftline.PredictionSource) (*predictionTable, error) {
	table := source.Table != driftline.DriftSource{}
	switch {
	case table && source.Run != "":
		return nil, driftline.Errorf(driftline.Invalid, "predictions have two sources").WithHint("give either a table or a run")
	case source.Run != "":
		artifact, err := v.engine.registry.ArtifactOf(driftline.RunRef(source.Run), cmp.Or(source.Path, predictionsFile))
		if err != nil {
			return nil, err
		}
		return v.openFile(ctx, artifact, "runs:/"+string(source.Run)+"/"+artifact.Path, driftline.RunRef(source.Run))
	case table:
		return v.openTable(ctx, source.Table)
	}
	return v.findPredictions(ctx, rows, version)
}

func (v *evaluating) openTable(ctx context.Context, source driftline.DriftSource) (*predictionTable, error) {
	table, err := v.engine.checkedTable(ctx, source)
	if err != nil {
		return nil, err
	}
	found := &predictionTable{checkedTable: table, from: table.name, free: func() {}}
	if source.Ref != (driftline.Ref{}) {
		found.ref, err = v.engine.registry.ResolveRef(source.Ref)
		found.from = found.ref.String()
	}
	return found, err
}

// findPredictions looks where predictions may have been logged; nil if nowhere, and a server answers for the version.
func (v *evaluating) findPredictions(ctx context.Context, rows *evaluatedRows, version *driftline.ModelVersion) (*predictionTable, error) {
	exact := fmt.Sprintf("predictions/%s@%d.parquet", rows.dataset.Name, rows.dataset.Version)
	if version.Run != "" {
		if artifact, err := v.engine.registry.ArtifactOf(driftline.RunRef(version.Run), exact); err == nil {
			return v.openFile(ctx, artifact, "runs:/"+string(version.Run)+"/"+exact, driftline.RunRef(version.Run))
		}
	}
	for _, f := range version.Files {
		if f.Path == predictionsFile {
			return v.openUnnamed(ctx, f, version.Ref().String()+"/"+f.Path, driftline.Ref{})
		}
	}
	if version.Run != "" {
		if artifact, err := v.engine.registry.ArtifactOf(driftline.RunRef(version.Run), predictionsFile); err == nil {
			return v.openUnnamed(ctx, artifact, "runs:/"+string(version.Run)+"/"+predictionsFile, driftline.RunRef(version.Run))
		}
	}
	if v.engine.score != nil && version.Server != nil {
		return nil, nil
	}
	hint := "give them with the request: a dataset, a SELECT, or a Parquet file of a run"
	if version.Run != "" {
		hint += fmt.Sprintf("; or log them to run %s as %s", version.Run, exact)
	}
	if v.engine.score != nil {
		hint += fmt.Sprintf("; or say where it answers: driftline models serve-at %s@%d URL", version.Model, version.Version)
	}
	return nil, driftline.Errorf(driftline.FailedPrecondition, "there are no predictions of %s for %s", version.Ref(), rows.dataset.Ref()).
		WithRef(version.Ref()).WithHint("%s", hint)
}

func (v *evaluating) openUnnamed(ctx context.Context, artifact driftline.Artifact, from string, ref driftline.Ref) (*predictionTable, error) {
	table, err := v.openFile(ctx, artifact, from, ref)
	if err == nil {
		table.keyed = true
	}
	return table, err
}

// openFile opens a Parquet file of a client. Nobody has vouched for it, so it is read by a worker,
// from a copy whose bytes were checked on the way.
func (v *evaluating) openFile(ctx context.Context, artifact driftline.Artifact, from string, ref driftline.Ref) (_ *predictionTable, err error) {
	if artifact.Size > mostPredictions {
		return nil, driftline.Errorf(driftline.Exhausted, "%s has %d bytes, want at most %d", from, artifact.Size, int64(mostPredictions)).
			WithHint("save the predictions as a dataset")
	}
	path, err := v.engine.copyOut(ctx, artifact)
	if err != nil {
		return nil, err
	}
	free := func() { _ = os.Remove(path) } // what is left is removed at the next start
	defer func() {
		if err != nil {
			free()
		}
	}()
	table := &query.Table{Name: "data", Rows: query.Rows{Files: []string{path}}}
	file := LocalTable{data: *table}
	file.schema, err = v.engine.fileSchema(ctx, table)
	switch driftline.CodeOf(err) {
	case "":
	case driftline.Internal, driftline.DataLoss, driftline.Invalid: // as the reader of our own files says it
		return nil, driftline.Errorf(driftline.Invalid, "%s is no Parquet file", from).WithHint("write it as Parquet")
	default:
		return nil, err
	}
	return &predictionTable{checkedTable: file.checked(v.engine.query), from: from, ref: ref, free: free}, nil
}

// copyOut writes an artifact to a file of its own. The caller removes it.
func (e *Engine) copyOut(ctx context.Context, artifact driftline.Artifact) (path string, err error) {
	content, err := e.openContent(ctx, artifact)
	if err != nil {
		return "", err
	}
	defer content.Close()
	f, err := os.CreateTemp(filepath.Join(e.dir, readFolder), "*.parquet")
	if err != nil {
		return "", spoolError(err)
	}
	_, err = io.Copy(f, contextReader{ctx, content})
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return filepath.Abs(f.Name())
}

func (e *Engine) fileSchema(ctx context.Context, table *query.Table) (*arrow.Schema, error) {
	selection, err := e.query.ParseSelect(ctx, "SELECT * FROM data")
	if err != nil {
		return nil, err
	}
	return e.query.SelectSchema(ctx, selection, []query.Table{*table})
}

// matchPredictions brings predictions into the order of the rows.
func (v *evaluating) matchPredictions(ctx context.Context, rows *evaluatedRows, side *evaluation.Side, table *predictionTable, source driftline.PredictionSource, used *driftline.PredictionsUsed) error {
	names, err := predictionColumns(table.schema, source)
	if err != nil {
		return err
	}
	by := &evaluatedRows{}
	if rows.keyed() && hasColumns(table.schema, append(slices.Clone(rows.keys), rows.time)) {
		by.keys, by.time = rows.keys, rows.time
	} else if table.keyed {
		return driftline.Errorf(driftline.FailedPrecondition, "nothing says which rows they are of").
			WithHint("write the columns %s beside them, or log them as predictions/%s@%d.parquet",
				strings.Join(append(slices.Clone(rows.keys), datasetTime(rows.dataset)), ", "), rows.dataset.Name, rows.dataset.Version)
	}
	read, err := readPredictions(ctx, table, names, by)
	if err != nil {
		return err
	}
	used.Match = matchedByPlace
	if by.keyed() {
		used.Match = matchedByKeys
		read = read.inOrderOf(rows.hashes)
	} else if read.count != len(rows.labels) {
		return driftline.Errorf(driftline.FailedPrecondition, "there are %d, and %s has %d rows", read.count, rows.dataset.Ref(), len(rows.labels)).
			WithHint("write the columns %s beside them, so that rows can be found", strings.Join(append(slices.Clone(rows.keys), datasetTime(rows.dataset)), ", "))
	}
	side.Predictions, side.Scores = read.values[defaultPrediction], read.values[defaultScore]
	return nil
}

func hasColumns(schema *arrow.Schema, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !schema.HasField(name) })
}

// predictionColumns are the columns of predictions and scores that there are, by their role.
func predictionColumns(schema *arrow.Schema, source driftline.PredictionSource) (map[string]string, error) {
	names := map[string]string{}
	for _, c := range []struct{ role, asked, usual string }{
		{defaultPrediction, source.Prediction, defaultPrediction}, {defaultScore, source.Score, defaultScore}} {
		if c.asked == "" && !schema.HasField(c.usual) {
			continue
		}
		name := cmp.Or(c.asked, c.usual)
		side, wrong := findColumn(schema, name, "the table")
		if wrong != nil {
			return nil, wrong
		}
		if err := checkRole(c.role, side.field); err != nil {
			return nil, err
		}
		names[c.role] = name
	}
	if len(names) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "there is no column %q and no column %q", defaultPrediction, defaultScore).
			WithHint("name the columns that have the predictions or the scores")
	}
	return names, nil
}

// readValues are columns of predictions, by role.
type readValues struct {
	values map[string][]float64
	hashes []uint64
	count  int
}

func readPredictions(ctx context.Context, table *predictionTable, names map[string]string, by *evaluatedRows) (*readValues, error) {
	var roles, columns []string
	for _, role := range []string{defaultPrediction, defaultScore} {
		if name, ok := names[role]; ok {
			roles, columns = append(roles, role), append(columns, quoted(name))
		}
	}
	batches, err := table.ask(ctx, "SELECT "+strings.Join(append(columns, by.keySQL()...), ", ")+" FROM data")
	if err != nil {
		return nil, err
	}
	read := &readValues{values: map[string][]float64{}}
	for batch, err := range batches.All {
		if err != nil {
			return nil, err
		}
		read.count += int(batch.NumRows())
		for i, role := range roles {
			read.values[role] = (&performanceColumn{}).read(read.values[role], batch.Column(i))
		}
		if by.keyed() {
			if read.hashes, err = appendRowKeys(read.hashes, batch.Columns()[len(roles):]); err != nil {
				return nil, err
			}
		}
	}
	for _, role := range roles {
		if read.values[role] == nil {
			read.values[role] = []float64{}
		}
	}
	return read, nil
}

// inOrderOf finds the values of rows, NaN where there are none. The k-th of equal rows gets the
// k-th of equal predictions, or the last.
func (r *readValues) inOrderOf(rows []uint64) *readValues {
	places := make(map[uint64][]int32, len(r.hashes))
	for i, hash := range r.hashes {
		places[hash] = append(places[hash], int32(i))
	}
	ordered := &readValues{values: map[string][]float64{}, count: len(rows)}
	for role := range r.values {
		ordered.values[role] = make([]float64, len(rows))
	}
	for i, hash := range rows {
		found := places[hash]
		for role, values := range r.values {
			if ordered.values[role][i] = math.NaN(); len(found) > 0 {
				ordered.values[role][i] = values[found[0]]
			}
		}
		if len(found) > 1 {
			places[hash] = found[1:]
		}
	}
	return ordered
}

func hashOfNumbers(columns ...[]float64) string {
	sum := sha256.New()
	var word [8]byte
	for _, column := range columns {
		binary.LittleEndian.PutUint64(word[:], uint64(len(column)))
		sum.Write(word[:])
		for _, v := range column {
			binary.LittleEndian.PutUint64(word[:], math.Float64bits(v))
			sum.Write(word[:])
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}
