package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"time"
	"unicode/utf8"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Kind says what a ledger line reports. Kinds are added, never renamed: they are
// in every ledger ever written.
type Kind string

// The kinds of lines, each with the type of its body.
const (
	EntityApplied     Kind = "entity.applied"     // driftline.Entity
	ViewApplied       Kind = "view.applied"       // driftline.FeatureView
	OnDemandApplied   Kind = "on_demand.applied"  // driftline.OnDemandFeatureView; its Ref is that of a view
	ServiceApplied    Kind = "service.applied"    // driftline.FeatureService
	ViewSwitched      Kind = "view.switched"      // driftline.ViewSwitch
	RowsIngested      Kind = "rows.ingested"      // driftline.IngestResult, and the number of writes if it is not 1
	SnapshotCommitted Kind = "snapshot.committed" // Snapshot
	ViewMaterialized  Kind = "view.materialized"  // Materialized
	DatasetSaved      Kind = "dataset.saved"      // driftline.Dataset
	EntityErased      Kind = "entity.erased"      // erased
	ViewChecked       Kind = "view.checked"       // driftline.ViewCheck without examples
	RunCreated        Kind = "run.created"        // runCreated
	RunLogged         Kind = "run.logged"         // driftline.RunLog without metrics
	RunFinished       Kind = "run.finished"       // runFinished
	RunChanged        Kind = "run.changed"        // runChanged
	RunPurged         Kind = "run.purged"         // purged
	ExperimentCreated Kind = "experiment.created" // experimentCreated
	ExperimentChanged Kind = "experiment.changed" // experimentChanged
	ExperimentPurged  Kind = "experiment.purged"  // purged
	ArtifactLogged    Kind = "artifact.logged"    // artifactLogged
	ModelRegistered   Kind = "model.registered"   // driftline.ModelVersion
	AliasMoved        Kind = "alias.moved"        // aliasMoved
	MonitorApplied    Kind = "monitor.applied"    // driftline.Monitor
	MonitorChanged    Kind = "monitor.changed"    // monitorChanged
	PaneEvaluated     Kind = "pane.evaluated"     // paneEvaluated; its Ref is that of the monitor
	AlertChanged      Kind = "alert.changed"      // alertChanged
	NoticeSettled     Kind = "notice.settled"     // noticeSettled; its Ref is what it tells of
	PresetApplied     Kind = "preset.applied"     // driftline.Preset
	ValidationApplied Kind = "validation.applied" // driftline.Validation
	PolicyApplied     Kind = "policy.applied"     // driftline.Policy
	PolicyDeleted     Kind = "policy.deleted"     // policyDeleted
	RolloutChanged    Kind = "rollout.changed"    // rolloutChanged
	TrainingChanged   Kind = "training.changed"   // trainingChanged
	TriggerSuppressed Kind = "trigger.suppressed" // triggerSuppressed; its Ref is that of the policy
	ValidationRun     Kind = "validation.run"     // driftline.ValidationRun without the text of its table; its Ref is that of the set

	// What another system said, by OpenLineage: of a job, and, with that job as input, of each
	// table that it wrote.
	LineageReceived Kind = "lineage.received" // received

	// Models and their files. The Ref of model.created, changed, renamed, deleted and gated
	// has no version; renamed is of the old name.
	ArtifactRemoved Kind = "artifact.removed"      // artifactRemoved; its Ref is whose it was
	LoggedCreated   Kind = "logged_model.created"  // loggedModelCreated
	LoggedChanged   Kind = "logged_model.changed"  // driftline.LoggedModelChange
	LoggedDeleted   Kind = "logged_model.deleted"  // modelDeleted
	LoggedPurged    Kind = "logged_model.purged"   // purged
	ModelCreated    Kind = "model.created"         // driftline.RegisteredModelSpec
	ModelChanged    Kind = "model.changed"         // driftline.ModelChange
	ModelRenamed    Kind = "model.renamed"         // modelRenamed
	ModelDeleted    Kind = "model.deleted"         // modelDeleted
	ModelGated      Kind = "model.gated"           // modelGated
	ModelChecked    Kind = "model.checked"         // driftline.ModelCheck, of a version
	ModelEvaluated  Kind = "model.evaluated"       // driftline.Evaluation without what checks found; its Ref is that of the evaluation
	ModelApproved   Kind = "model.approved"        // driftline.ModelApproval, of a version
	VersionChanged  Kind = "model_version.changed" // driftline.ModelChange
	VersionDeleted  Kind = "model_version.deleted" // modelDeleted
	VersionStaged   Kind = "model_version.staged"  // versionStaged
	VersionServed   Kind = "model_version.served"  // driftline.ModelServerChange
)

// Line is one thing that happened. Whoever appends a line fills in Kind, Ref,
// Inputs and Body; the ledger fills in the rest.
type Line struct {
	Sequence uint64          `json:"seq"`
	Time     time.Time       `json:"time"` // UTC, whole microseconds
	Kind     Kind            `json:"kind"`
	Ref      driftline.Ref   `json:"ref"`              // what it happened to
	Inputs   []driftline.Ref `json:"inputs,omitempty"` // what Ref was made from
	Body     json.RawMessage `json:"body,omitempty"`   // the details; JSON, one type per kind
	Prev     Hash            `json:"-"`                // of the line before; zero for the first
	Hash     Hash            `json:"-"`

	decoded any // the body, where it was decoded beforehand; see [decodeBody]
}

// Hash is a SHA-256 digest, written in hex.
type Hash [sha256.Size]byte

// String returns 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

func lineKey(sequence uint64) []byte {
	return kv.AppendUint64([]byte{kv.Ledger}, sequence)
}

// The chain is the fixed-size end of a stored line: ,"prev":"…","hash":"…"}
const (
	chainPrev  = `,"prev":"`
	chainHash  = `","hash":"`
	chainEnd   = `"}`
	chainBytes = len(chainPrev) + 2*sha256.Size + len(chainHash) + 2*sha256.Size + len(chainEnd)
)

// encodeLine sets line.Hash and returns the bytes to store.
func encodeLine(line *Line) ([]byte, error) {
	for _, ref := range append([]driftline.Ref{line.Ref}, line.Inputs...) {
		if !utf8.ValidString(ref.Name) || !utf8.ValidString(ref.Version) {
			return nil, driftline.Errorf(driftline.Invalid, "reference %q is not UTF-8", ref.String())
		}
	}
	content, err := json.Marshal(line)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "ledger line %s %s cannot be written as JSON: %w", line.Kind, line.Ref, err)
	}
	content = content[:len(content)-1]
	line.Hash = hashLine(line.Prev, content)
	return appendChain(content, line.Prev, line.Hash), nil
}

func appendChain(content []byte, prev, hash Hash) []byte {
	content = append(content, chainPrev...)
	content = hex.AppendEncode(content, prev[:])
	content = append(content, chainHash...)
	content = hex.AppendEncode(content, hash[:])
	return append(content, chainEnd...)
}

// hashLine hashes prev and the JSON object whose bytes, without its last brace, are content.
func hashLine(prev Hash, content []byte) Hash {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(content)
	h.Write([]byte{'}'})
	return Hash(h.Sum(nil))
}

// decodeLine reads a stored line that must be number sequence and follow prev. Its body is
// a part of stored. Damage is a DataLoss error that names the line.
func decodeLine(stored []byte, sequence uint64, prev Hash) (Line, error) {
	if len(stored) <= chainBytes {
		return Line{}, damagedLine(sequence, "it is too short")
	}
	content := stored[:len(stored)-chainBytes]
	hash := hashLine(prev, content)
	if string(stored[len(content):]) != string(appendChain(make([]byte, 0, chainBytes), prev, hash)) {
		return Line{}, unchained(sequence)
	}
	line, err := readLine(content)
	if err != nil {
		return Line{}, damagedLine(sequence, "it is not readable")
	}
	if line.Sequence != sequence {
		return Line{}, damagedLine(sequence, "another line is in its place")
	}
	line.Prev, line.Hash = prev, hash
	return line, nil
}

func unchained(sequence uint64) error {
	return damagedLine(sequence, "its hash does not match its content and the line before")
}

func damagedLine(sequence uint64, how string) error {
	return driftline.Errorf(driftline.DataLoss, "ledger line %d is damaged: %s", sequence, how).
		WithHint("restore the data folder from a backup; the lines before it are intact")
}

// Lines yields the durable lines from sequence number from on (0 and 1 both mean
// the first), each checked against the one before it. It stops at the line
// that was the newest when the range began.
func (r *Registry) Lines(from uint64) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		from, newest := max(from, 1), r.Newest().Sequence
		if from > newest {
			return
		}
		prev, err := r.hashBefore(from)
		if err != nil {
			yield(Line{}, err)
			return
		}
		next := from
		for pair, err := range r.db.Scan(lineKey(from), lineKey(newest+1)) {
			if err != nil {
				yield(Line{}, err)
				return
			}
			line, err := decodeStored(pair.Key, pair.Value, next, prev)
			if !yield(line, err) || err != nil {
				return
			}
			next, prev = next+1, line.Hash
		}
		if next <= newest {
			yield(Line{}, damagedLine(next, "it is missing"))
		}
	}
}

func decodeStored(key, value []byte, sequence uint64, prev Hash) (Line, error) {
	if string(key) != string(lineKey(sequence)) {
		return Line{}, damagedLine(sequence, "it is missing")
	}
	line, err := decodeLine(value, sequence, prev)
	line.Body = bytes.Clone(line.Body)
	return line, err
}

// hashBefore returns the hash that the line of that sequence follows, as stored
// in the line itself: a reader that begins in the middle trusts its first line's past.
func (r *Registry) hashBefore(sequence uint64) (Hash, error) {
	if sequence == 1 {
		return Hash{}, nil
	}
	stored, err := r.db.Get(lineKey(sequence))
	if err != nil {
		return Hash{}, err
	}
	return storedPrev(stored, sequence)
}

// storedPrev is the hash of the line before, as a stored line says it.
func storedPrev(stored []byte, sequence uint64) (prev Hash, err error) {
	if len(stored) <= chainBytes {
		return Hash{}, damagedLine(sequence, "it is too short")
	}
	digits := stored[len(stored)-chainBytes+len(chainPrev):][:2*sha256.Size]
	if _, err := hex.Decode(prev[:], digits); err != nil {
		return Hash{}, damagedLine(sequence, "its chain is not readable")
	}
	return prev, nil
}

// Verify reads the whole ledger and checks every byte of it against the chain,
// and the chain's end against what this process wrote. Damage is a DataLoss
// error that names the first bad line.
func (r *Registry) Verify() error {
	newest := r.Newest()
	last := Line{}
	for line, err := range r.Lines(1) {
		if err != nil {
			return err
		}
		last = line
		if line.Sequence == newest.Sequence {
			break
		}
	}
	if last.Sequence != newest.Sequence || last.Hash != newest.Hash {
		return damagedLine(newest.Sequence, "it is not the line that was written")
	}
	return nil
}
