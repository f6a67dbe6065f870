package registry

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
	"unique"

	"github.com/driftline/driftline"
)

// run is what the ledger says of one run. There may be hundreds of thousands: what all have
// is packed, what few have is apart, and the last values of metrics are with the points.
type run struct {
	number  uint32 // in order of creation, over all experiments
	idBytes uint16 // of words
	deleted bool   // itself; see state.isDeleted
	words   string // the id and the name
	common  unique.Handle[runCommon]
	started int64 // microseconds
	ended   int64 // microseconds; 0 while it has not
	params  pairs
	tags    pairs
	more    *runMore // nil if it has none of it
}

// runCommon is what many runs have the same of, and is kept once.
type runCommon struct {
	experiment driftline.ExperimentID
	user       string
	status     driftline.RunStatus
}

// runMore is what few runs have.
type runMore struct {
	inputs       []driftline.Ref
	datasets     []datasetUse
	modelInputs  []string
	modelOutputs []driftline.ModelOutput
	heartbeat    driftline.Duration
	fork         *driftline.RunFork
	reason       string // why it has its status, if it does not say so itself
	deletedAt    int64  // microseconds; when it was deleted, if it is
}

// datasetUse is a run's use of data. Runs of an experiment share the description.
type datasetUse struct {
	dataset *driftline.DatasetInput // without Tags
	tags    map[string]string
}

// datasetKey is what identifies described data.
type datasetKey struct {
	experiment   driftline.ExperimentID
	name, digest string
}

var noMore runMore

// extra returns what few runs have, for reading.
func (r *run) extra() *runMore {
	if r.more == nil {
		return &noMore
	}
	return r.more
}

func (r *run) id() driftline.RunID { return driftline.RunID(r.words[:r.idBytes]) }

func (r *run) name() string { return r.words[r.idBytes:] }

// call sets the id, of which checkRunSpec has seen that it is short, and the name.
func (r *run) call(id driftline.RunID, name string) {
	r.words, r.idBytes = string(id)+name, uint16(len(id))
}

func (r *run) experiment() driftline.ExperimentID { return r.common.Value().experiment }

func (r *run) user() string { return r.common.Value().user }

func (r *run) status() driftline.RunStatus { return r.common.Value().status }

func (r *run) setStatus(status driftline.RunStatus) {
	common := r.common.Value()
	common.status = status
	r.common = unique.Make(common)
}

func (r *run) ref() driftline.Ref { return driftline.RunRef(r.id()) }

func (r *run) startedAt() time.Time { return time.UnixMicro(r.started).UTC() }

// addRun is the effect that adds the run with the next number.
func addRun(made *run) effect {
	return func(s *state) effect {
		s.runs.add(made)
		return func(s *state) effect {
			s.runs.removeLast(made)
			return nil
		}
	}
}

// putRun is the effect that replaces a run.
func putRun(next *run) effect {
	return func(s *state) effect {
		old := s.runs.at(next.number)
		s.runs.replace(next)
		return putRun(old)
	}
}

// withMore sets something of what few runs have.
func (r *run) withMore(set func(*runMore)) {
	more := *r.extra()
	set(&more)
	r.more = &more
}

// Limits of what clients say of data, in bytes.
const (
	mostDatasetName    = 2000
	mostInputTag       = 255 // characters of the key of a tag of a dataset
	mostDatasetSource  = 1 << 18
	mostDatasetSchema  = 4 << 20
	mostDatasetProfile = 64 << 20
	mostInputs         = 1000
)

// checkRunInputs checks what a run says of data and logged models.
func checkRunInputs(log *driftline.RunLog) error {
	if n := max(len(log.Datasets), len(log.ModelInputs), len(log.ModelOutputs)); n > mostInputs {
		return driftline.Errorf(driftline.Invalid, "%d inputs or outputs are given, and at most %d are kept at once", n, mostInputs)
	}
	for i := range log.Datasets {
		if err := checkDatasetInput(&log.Datasets[i]); err != nil {
			return err
		}
	}
	for _, id := range log.ModelInputs {
		if err := checkModelID(id); err != nil {
			return err
		}
	}
	for _, output := range log.ModelOutputs {
		if err := checkModelID(output.Model); err != nil {
			return err
		}
	}
	return nil
}

func checkDatasetInput(d *driftline.DatasetInput) error {
	if d.Name == "" || d.Digest == "" {
		return driftline.Errorf(driftline.Invalid, "a dataset of a run has no name or no digest").WithHint("give both: they are what identifies it")
	}
	for _, field := range []struct {
		what, text string
		most       int
	}{
		{"dataset name", d.Name, mostDatasetName}, {"dataset digest", d.Digest, mostKey}, {"dataset source type", d.SourceType, mostDatasetName},
		{"dataset source", d.Source, mostDatasetSource}, {"dataset schema", d.Schema, mostDatasetSchema}, {"dataset profile", d.Profile, mostDatasetProfile},
	} {
		if len(field.text) > field.most || !utf8.ValidString(field.text) {
			return driftline.Errorf(driftline.Invalid, "%s %q is longer than %d bytes or not UTF-8", field.what, clip(field.text), field.most)
		}
	}
	return checkLongPairs("dataset tag", d.Tags, mostInputTag)
}

func checkModelID(id string) error {
	if runID.MatchString(id) {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "logged model id %q is not valid", clip(id)).WithHint("use the id that the server gave it: m- and 32 digits")
}

// InputsTag is the tag with which clients that know tags only, as MLflow's, say what a run
// read: references, separated by commas.
const InputsTag = "driftline.inputs"

// taggedInputs are the references in the tag that mean something here. Others are ignored: a
// tag is a note, and a run must not fail because of one.
func (s *state) taggedInputs(tags map[string]string) []driftline.Ref {
	var inputs []driftline.Ref
	for text := range strings.SplitSeq(tags[InputsTag], ",") {
		ref, err := driftline.ParseRef(strings.TrimSpace(text))
		if err != nil {
			continue
		}
		if resolved, err := s.resolveRef(ref); err == nil {
			inputs = append(inputs, resolved)
		}
	}
	return inputs
}

// newInputs adds to news what log has and the run has not, and returns the new inputs that
// are ours, resolved. A dataset that the experiment knows is named by name and digest only.
func (tx *Tx) newInputs(run *run, log, news *driftline.RunLog) ([]driftline.Ref, error) {
	inputs, err := tx.r.head.resolveAll(log.Inputs)
	if err != nil {
		return nil, err
	}
	inputs = distinct(append(inputs, tx.r.head.taggedInputs(log.Tags)...))
	more := run.extra()
	inputs = slices.DeleteFunc(inputs, func(ref driftline.Ref) bool { return slices.Contains(more.inputs, ref) })
	for _, d := range log.Datasets {
		if more.uses(d.Name, d.Digest) || slices.ContainsFunc(news.Datasets, func(n driftline.DatasetInput) bool { return n.Name == d.Name && n.Digest == d.Digest }) {
			continue
		}
		if _, known := tx.r.head.described[datasetKey{run.experiment(), d.Name, d.Digest}]; known {
			d = driftline.DatasetInput{Name: d.Name, Digest: d.Digest, Tags: d.Tags}
		}
		news.Datasets = append(news.Datasets, d)
	}
	for _, id := range log.ModelInputs {
		if !slices.Contains(more.modelInputs, id) && !slices.Contains(news.ModelInputs, id) {
			news.ModelInputs = append(news.ModelInputs, id)
		}
	}
	for _, output := range log.ModelOutputs {
		if !slices.Contains(more.modelOutputs, output) && !slices.Contains(news.ModelOutputs, output) {
			news.ModelOutputs = append(news.ModelOutputs, output)
		}
	}
	return inputs, nil
}

func (m *runMore) uses(name, digest string) bool {
	return slices.ContainsFunc(m.datasets, func(u datasetUse) bool { return u.dataset.Name == name && u.dataset.Digest == digest })
}

// addInputs adds to next what a line says that it read and made, and returns the effects
// that describe data which is new in the experiment.
func (s *state) addInputs(next *run, inputs []driftline.Ref, log *driftline.RunLog) []effect {
	if len(inputs)+len(log.Datasets)+len(log.ModelInputs)+len(log.ModelOutputs) == 0 {
		return nil
	}
	more := *next.extra()
	next.more = &more
	more.inputs = slices.Concat(more.inputs, inputs)
	more.modelInputs = slices.Concat(more.modelInputs, log.ModelInputs)
	more.modelOutputs = slices.Concat(more.modelOutputs, log.ModelOutputs)
	more.datasets = slices.Clip(more.datasets)
	var effects []effect
	for _, d := range log.Datasets {
		key := datasetKey{next.experiment(), d.Name, d.Digest}
		description, known := s.described[key]
		if !known {
			copied := d
			copied.Tags = nil
			description = &copied
			effects = append(effects, put(func(s *state) map[datasetKey]*driftline.DatasetInput { return s.described }, key, description))
		}
		more.datasets = append(more.datasets, datasetUse{dataset: description, tags: d.Tags})
	}
	return effects
}
