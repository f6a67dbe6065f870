package flight

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/driftline/driftline"
)

// The ops of commands.
const (
	opIngest     = "ingest"
	opPush       = "push"
	opMetrics    = "metrics"
	opDataset    = "dataset"
	opView       = "view"
	opOnline     = "online"
	opHistory    = "history"
	opHistorical = "historical"
	opDrift      = "drift"
	opProfile    = "profile"
	opValidate   = "validate"

	opPredictions = "predictions"
	opLabels      = "labels"
)

// putCommand is the descriptor of a DoPut.
type putCommand struct {
	Op   string             `json:"op"`
	View driftline.ViewName `json:"view"`
	Run  driftline.RunID    `json:"run"` // of op metrics only, which has no view

	// Of op ingest only; a push has a key with each batch.
	IdempotencyKey string `json:"idempotency_key"`

	// To is the stores that the rows are for; both if left out. Of op ingest only.
	To driftline.Target `json:"to"`

	// Marked says that the last message will have an end marker. Without it nothing is
	// written by op ingest, and predictions and labels are reported to be not all.
	Marked bool `json:"marked"`

	// Of ops predictions and labels only, in the place of View: the model, and which columns
	// are join keys.
	Model  driftline.ModelName `json:"model"`
	Entity []string            `json:"entity"`
}

// readCommand is the ticket of a dataset or of a view.
type readCommand struct {
	Op      string `json:"op"`
	Name    string `json:"name"`
	Version int    `json:"version,omitempty"`

	// Of a dataset: one part of it only, or its rows made again from what it pins.
	Split   string `json:"split,omitempty"`
	Rebuild bool   `json:"rebuild,omitempty"`
}

// check refuses options that would be ignored.
func (c readCommand) check() error {
	switch {
	case c.Op == opView && (c.Split != "" || c.Rebuild):
		return driftline.Errorf(driftline.Invalid, "a view has no parts and cannot be made again").WithHint("leave split and rebuild out")
	case c.Split != "" && c.Rebuild:
		return driftline.Errorf(driftline.Invalid, "a dataset is made again as a whole").WithHint("leave split out")
	}
	return nil
}

func (c readCommand) ref() driftline.Ref {
	if c.Op == opView {
		return driftline.ViewRef(driftline.ViewName(c.Name))
	}
	return driftline.DatasetRef(driftline.DatasetName(c.Name), c.Version)
}

// path is the descriptor that lists show: features/weather, datasets/late/3.
func (c readCommand) path() []string {
	if c.Op == opView {
		return []string{"features", c.Name}
	}
	return []string{"datasets", c.Name, strconv.Itoa(c.Version)}
}

type onlineCommand struct {
	Op string `json:"op"`
	driftline.OnlineRequest

	// Metadata adds a status and an event timestamp per feature to the answer.
	Metadata bool `json:"metadata"`

	// Entities are the columns of join keys, in a ticket only.
	Entities map[string]json.RawMessage `json:"entities"`
}

type historyCommand struct {
	Op string `json:"op"`
	driftline.HistoryRequest
}

type historicalCommand struct {
	Op string `json:"op"`
	driftline.HistoricalRequest
}

type driftCommand struct {
	Op            string `json:"op"`
	ReferenceRows int64  `json:"reference_rows"` // of the stream; the others are current
	ReferenceName string `json:"reference_name"`
	CurrentName   string `json:"current_name"`
	driftline.DriftOptions
}

// profileCommand profiles the rows of the stream. They are kept as one pane of Source, from
// Start to End, or, with Local, sent back and kept nowhere; Like is a profile that they are
// then to be compared with.
type profileCommand struct {
	Op string `json:"op"`
	driftline.ProfileRequest
	Local bool   `json:"local"`
	Like  []byte `json:"like"`
}

type validateCommand struct {
	Op     string            `json:"op"`
	Name   string            `json:"name"` // of the rows, in the report
	Checks []driftline.Check `json:"checks"`
}

// isJSON tells our commands from Flight SQL's, which are protobuf and begin with
// the byte 0x0A.
func isJSON(command []byte) bool { return len(command) > 0 && command[0] == '{' }

// opOf returns the op of a JSON command.
func opOf(command []byte) (string, error) {
	var head struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(command, &head); err != nil {
		return "", badJSON(err)
	}
	return head.Op, nil
}

// parse reads a JSON command. A name that the op does not know is an error, because
// an option that is silently ignored gives wrong answers.
func parse[T any](command []byte) (T, error) {
	var out T
	decoder := json.NewDecoder(bytes.NewReader(command))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&out); err != nil {
		return out, badJSON(err)
	}
	return out, nil
}

func badJSON(err error) error {
	var failure *driftline.Error
	if errors.As(err, &failure) {
		return failure
	}
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return driftline.Errorf(driftline.Invalid, "the command's field %q is a %s, want %s", mismatch.Field, mismatch.Value, mismatch.Type.Kind())
	}
	return driftline.Errorf(driftline.Invalid, "the command cannot be read: %w", err).
		WithHint("commands are JSON objects: docs/formats.md lists them")
}

func unknownOp(method, op string, known ...string) error {
	return driftline.Unknown(method+" op", op, known)
}

// readCommandOf understands the descriptors that name rows that are there: a path
// that ListFlights shows, or the ticket's JSON.
func readCommandOf(descriptor *flight.FlightDescriptor) (readCommand, error) {
	if descriptor.GetType() == flight.DescriptorPATH {
		return readCommandOfPath(descriptor.GetPath())
	}
	op, err := opOf(descriptor.GetCmd())
	if err != nil {
		return readCommand{}, err
	}
	if op != opDataset && op != opView {
		return readCommand{}, unknownOp("GetFlightInfo", op, opDataset, opView)
	}
	return parse[readCommand](descriptor.GetCmd())
}

func readCommandOfPath(path []string) (readCommand, error) {
	switch {
	case len(path) == 2 && path[0] == "features":
		return readCommand{Op: opView, Name: path[1]}, nil
	case len(path) == 2 && path[0] == "datasets":
		return readCommand{Op: opDataset, Name: path[1]}, nil
	case len(path) == 3 && path[0] == "datasets":
		version, err := strconv.Atoi(path[2])
		if err != nil || version < 1 {
			return readCommand{}, driftline.Errorf(driftline.Invalid, "dataset version %q is not a number from 1 up", path[2])
		}
		return readCommand{Op: opDataset, Name: path[1], Version: version}, nil
	}
	return readCommand{}, driftline.Errorf(driftline.Invalid, "the path %q names nothing", path).
		WithHint("paths are features/<view> and datasets/<name>/<version>")
}

// putCommandOf understands the descriptor of a DoPut.
// ref is what the rows are put into.
func (c putCommand) ref() driftline.Ref {
	if c.Op == opMetrics {
		return driftline.RunRef(c.Run)
	}
	if c.Model != "" {
		return driftline.Ref{Kind: driftline.KindModel, Name: string(c.Model)}
	}
	return driftline.ViewRef(c.View)
}

// checkOfRun refuses options that would be ignored.
func (c putCommand) checkOfRun() error {
	if c.Run != "" && c.View == "" && c.Model == "" && len(c.Entity) == 0 && c.IdempotencyKey == "" && c.To == "" {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "a stream of points names a run, and nothing else").
		WithHint(`write {"op": "metrics", "run": "late-1"}; a point that is sent again is the same point`)
}

// checkOfModel refuses options that would be ignored.
func (c putCommand) checkOfModel() error {
	switch {
	case c.Model == "":
		return driftline.Errorf(driftline.Invalid, "op %s names no model", c.Op).WithHint("set model")
	case c.View != "" || c.To != "" || c.IdempotencyKey != "":
		return driftline.Errorf(driftline.Invalid, "op %s has a model and an entity, and no view, target or key", c.Op).
			WithHint("predictions and labels may be sent again: they have no idempotency_key, and are no rows of a view")
	}
	return nil
}

func putCommandOf(descriptor *flight.FlightDescriptor) (putCommand, error) {
	if descriptor.GetType() == flight.DescriptorPATH {
		read, err := readCommandOfPath(descriptor.GetPath())
		if err == nil && read.Op != opView {
			err = driftline.Errorf(driftline.Invalid, "rows cannot be put into a dataset").
				WithHint("datasets are made by a historical request with save_as")
		}
		return putCommand{Op: opIngest, View: driftline.ViewName(read.Name)}, err
	}
	op, err := opOf(descriptor.GetCmd())
	if err != nil {
		return putCommand{}, err
	}
	if !slices.Contains([]string{opIngest, opPush, opPredictions, opLabels, opMetrics}, op) {
		return putCommand{}, unknownOp("DoPut", op, opIngest, opPush, opPredictions, opLabels, opMetrics)
	}
	command, err := parse[putCommand](descriptor.GetCmd())
	if err == nil && op == opMetrics {
		return command, command.checkOfRun()
	}
	if err == nil && (op == opPredictions || op == opLabels) {
		return command, command.checkOfModel()
	}
	if err == nil && (command.Model != "" || len(command.Entity) > 0) {
		return command, driftline.Errorf(driftline.Invalid, "op %s writes to a view: it has no model and no entity", op)
	}
	if err == nil && op == opPush && (command.IdempotencyKey != "" || command.Marked || command.To != "") {
		err = driftline.Errorf(driftline.Invalid, "a push stream has an idempotency_key with each batch, no end marker, and goes to both stores").
			WithHint(`send {"idempotency_key": "…"} as the metadata of a batch`)
	}
	return command, err
}
