package registry

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The index of artifacts says which bytes lie under which name. It is derived from the
// ledger's lines and written in the batches that write these, so that it needs no memory
// and is never behind; whoever lists artifacts may see them a moment before they are
// durable. A list of files is a range of keys.
//
//	'a' 'o' ∥ owner ∥ path → size ∥ sha256 ∥ time     what an owner has
//	'a' 'h' ∥ sha256 ∥ owner ∥ path → (nothing)       who has a content
//	'a' 'l' → sequence of the last line that is in it
//
// An owner is a run ("run/late-1"), a logged model ("logged_model/m-…") or a registered
// version, which is named by the line that registered it ("version/17"), so that a
// renamed model keeps its files.
const (
	artifactRows   = 'o'
	artifactHashes = 'h'
	artifactLast   = 'l'
)

const (
	ownerRun     = string(driftline.KindRun) + "/"
	ownerVersion = "version/"
)

func runOwner(id driftline.RunID) string { return ownerRun + string(id) }

func versionOwner(line uint64) string { return ownerVersion + strconv.FormatUint(line, 10) }

// artifactRemoved is the body of artifact.removed. The line's ref is the owner.
type artifactRemoved struct {
	Paths  []string `json:"paths"`
	By     string   `json:"by,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// artifactPrefix begins the keys of what owner has under folder, "" for everything. The
// terminator of a string sorts before every character of a path, so the files of a
// folder follow each other.
func artifactPrefix(owner, folder string) []byte {
	key := kv.AppendString([]byte{kv.ArtifactIndex, artifactRows}, owner)
	if folder == "" {
		return key
	}
	return append(append(key, folder...), '/')
}

func artifactKey(owner, path string) []byte {
	return kv.AppendString(artifactPrefix(owner, ""), path)
}

func hashPrefix(digest []byte) []byte {
	return append([]byte{kv.ArtifactIndex, artifactHashes}, digest...)
}

func hashKey(digest []byte, owner, path string) []byte {
	return kv.AppendString(kv.AppendString(hashPrefix(digest), owner), path)
}

const (
	digestBytes      = len(Hash{})
	artifactRowBytes = 8 + digestBytes + 8
)

func encodeArtifact(a *driftline.Artifact, at time.Time) ([]byte, error) {
	digest, err := hex.DecodeString(a.SHA256)
	if err != nil || len(digest) != digestBytes {
		return nil, driftline.Errorf(driftline.DataLoss, "artifact %q has the hash %q", a.Path, clip(a.SHA256))
	}
	row := binary.BigEndian.AppendUint64(make([]byte, 0, artifactRowBytes), uint64(a.Size))
	row = append(row, digest...)
	return binary.BigEndian.AppendUint64(row, uint64(at.UnixMicro())), nil
}

func decodeArtifact(path string, row []byte) (driftline.Artifact, error) {
	if len(row) != artifactRowBytes {
		return driftline.Artifact{}, driftline.Errorf(driftline.DataLoss, "the index of artifacts is damaged at %q", clip(path)).
			WithHint("restore the data folder from a backup; the ledger, which it is made from, is checked apart")
	}
	return driftline.Artifact{
		Path: path, Size: int64(binary.BigEndian.Uint64(row)), SHA256: hex.EncodeToString(row[8:][:digestBytes]),
		Time: time.UnixMicro(int64(binary.BigEndian.Uint64(row[8+digestBytes:]))).UTC(),
	}, nil
}

// artifactWriter writes the index's part of lines: on the disk into a batch, and for
// [Registry.Fsck] into a table in memory.
type artifactWriter struct {
	db interface {
		Get(key []byte) ([]byte, error)
		ScanPrefix(prefix []byte) iter.Seq2[kv.Pair, error]
	}
	batch interface {
		Set(key, value []byte)
		Delete(key []byte)
	}
}

// put gives owner a file. What it had under the path is forgotten.
func (w artifactWriter) put(owner string, a *driftline.Artifact, at time.Time) error {
	row, err := encodeArtifact(a, at)
	if err != nil {
		return err
	}
	if err := w.remove(owner, a.Path); err != nil {
		return err
	}
	w.batch.Set(artifactKey(owner, a.Path), row)
	w.batch.Set(hashKey(row[8:][:digestBytes], owner, a.Path), nil)
	return nil
}

func (w artifactWriter) remove(owner, path string) error {
	old, err := w.db.Get(artifactKey(owner, path))
	if err != nil || old == nil {
		return err
	}
	if len(old) == artifactRowBytes {
		w.batch.Delete(hashKey(old[8:][:digestBytes], owner, path))
	}
	w.batch.Delete(artifactKey(owner, path))
	return nil
}

// removeAll takes everything from owner.
func (w artifactWriter) removeAll(owner string) error {
	prefix := artifactPrefix(owner, "")
	for pair, err := range w.db.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		path, _, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return err
		}
		if len(pair.Value) == artifactRowBytes {
			w.batch.Delete(hashKey(pair.Value[8:][:digestBytes], owner, path))
		}
		w.batch.Delete(slices.Clone(pair.Key))
	}
	return nil
}

// aboutArtifacts reports whether the index rests on lines of a kind.
func aboutArtifacts(kind Kind) bool {
	switch kind {
	case ArtifactLogged, ArtifactRemoved, ModelRegistered, VersionDeleted, ModelDeleted, RunPurged, LoggedPurged:
		return true
	}
	return false
}

// line writes what a line means for the index. s is the state before the line.
func (w artifactWriter) line(s *state, line *Line) error {
	if !aboutArtifacts(line.Kind) {
		return nil
	}
	if err := w.apply(s, line); err != nil {
		return err
	}
	w.batch.Set([]byte{kv.ArtifactIndex, artifactLast}, binary.BigEndian.AppendUint64(nil, line.Sequence))
	return nil
}

func (w artifactWriter) apply(s *state, line *Line) error {
	switch line.Kind {
	case ArtifactLogged:
		logged, err := body[artifactLogged](line)
		if err != nil {
			return err
		}
		return w.put(logged.owner(), &logged.Artifact, line.Time)
	case ArtifactRemoved:
		return w.removed(line)
	case ModelRegistered:
		return w.registered(line)
	case RunPurged, LoggedPurged:
		return w.removeAll(line.Ref.String())
	case VersionDeleted:
		version, err := s.modelVersionOf(line.Ref)
		if err != nil {
			return err
		}
		return w.removeAll(versionOwner(version.Line))
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name)) // it was deleted
	if err != nil {
		return err
	}
	for _, version := range m.versions {
		if err := w.removeAll(versionOwner(version.Line)); err != nil {
			return err
		}
	}
	return nil
}

func (w artifactWriter) removed(line *Line) error {
	removed, err := body[artifactRemoved](line)
	if err != nil {
		return err
	}
	for _, path := range removed.Paths {
		if err := w.remove(line.Ref.String(), path); err != nil {
			return err
		}
	}
	return nil
}

// registered gives a new version its files.
func (w artifactWriter) registered(line *Line) error {
	version, err := body[driftline.ModelVersion](line)
	if err != nil {
		return err
	}
	for _, file := range versionFiles(version) {
		if err := w.put(versionOwner(line.Sequence), &file, line.Time); err != nil {
			return err
		}
	}
	return nil
}

// versionFiles are the files of a version under the names that they have in it.
func versionFiles(version *driftline.ModelVersion) []driftline.Artifact {
	if len(version.Files) > 0 || version.Artifact.SHA256 == "" {
		return version.Files
	}
	file := version.Artifact
	file.Path = file.Path[strings.LastIndexByte(file.Path, '/')+1:]
	return []driftline.Artifact{file}
}

// indexArtifacts makes the index again if lines are missing in it: those of a ledger
// that is older than the index. newest is the last line that concerns it.
func (r *Registry) indexArtifacts(newest uint64) error {
	stored, err := r.db.Get([]byte{kv.ArtifactIndex, artifactLast})
	if err != nil {
		return err
	}
	if newest == 0 || len(stored) == 8 && binary.BigEndian.Uint64(stored) == newest {
		return nil
	}
	return r.rebuildArtifacts()
}

// rebuildArtifacts makes the index from the ledger, line by line: each line may
// replace what one before it wrote.
func (r *Registry) rebuildArtifacts() error {
	clear := r.db.NewBatch()
	defer clear.Close()
	clear.DeletePrefix([]byte{kv.ArtifactIndex})
	if err := clear.Commit(); err != nil {
		return err
	}
	s := newState()
	for line, err := range r.Lines(1) {
		if err != nil {
			return err
		}
		if err := r.indexLine(s, &line); err != nil {
			return err
		}
		effects, err := fold(s, &line)
		if err != nil {
			return err
		}
		for _, e := range effects {
			e(s)
		}
	}
	return nil
}

func (r *Registry) indexLine(s *state, line *Line) error {
	batch := r.db.NewBatch()
	defer batch.Close()
	if err := (artifactWriter{r.db, batch}).line(s, line); err != nil {
		return err
	}
	return batch.Commit()
}

// Artifact returns what a run has under a path.
func (r *Registry) Artifact(id driftline.RunID, path string) (driftline.Artifact, error) {
	run, err := r.Run(id)
	if err != nil {
		return driftline.Artifact{}, err
	}
	return r.ownedArtifact(run.Ref(), path)
}

// ArtifactOf returns what a run, a logged model or a version of a model has under a path.
func (r *Registry) ArtifactOf(owner driftline.Ref, path string) (driftline.Artifact, error) {
	name, err := r.artifactOwner(owner)
	if err != nil {
		return driftline.Artifact{}, err
	}
	return r.artifact(name, owner, path)
}

func (r *Registry) ownedArtifact(owner driftline.Ref, path string) (driftline.Artifact, error) {
	return r.artifact(owner.String(), owner, path)
}

func (r *Registry) artifact(name string, owner driftline.Ref, path string) (driftline.Artifact, error) {
	row, err := r.db.Get(artifactKey(name, path))
	if err != nil {
		return driftline.Artifact{}, err
	}
	if row != nil {
		return decodeArtifact(path, row)
	}
	return driftline.Artifact{}, r.noArtifact(name, owner, path)
}

// noArtifact says what is there instead.
func (r *Registry) noArtifact(name string, owner driftline.Ref, path string) error {
	const few = 1000
	var known []string
	for a, err := range r.artifactsUnder(name, "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(a.Path, path+"/") {
			return driftline.Errorf(driftline.NotFound, "%s: %q is a folder, not a file", owner, clip(path)).WithRef(owner).
				WithHint("name one of its files, for example %q", clip(a.Path))
		}
		if known = append(known, a.Path); len(known) == few {
			break
		}
	}
	return named(string(owner.Kind), owner.Name, unknown("artifact", path, known, "log a file first").WithRef(owner))
}

// artifactOwner is the name in the index of a run, a logged model or a version.
func (r *Registry) artifactOwner(owner driftline.Ref) (name string, err error) {
	r.read(func(s *state) { name, err = s.artifactOwner(owner) })
	return name, err
}

func (s *state) artifactOwner(owner driftline.Ref) (string, error) {
	switch owner.Kind {
	case driftline.KindRun:
		_, err := s.run(driftline.RunID(owner.Name))
		return owner.String(), err
	case driftline.KindLoggedModel:
		_, err := s.loggedModel(driftline.LoggedModelID(owner.Name))
		return owner.String(), err
	case driftline.KindModel:
		resolved, err := s.resolveModel(owner)
		if err != nil {
			return "", err
		}
		version, err := s.modelVersionOf(resolved)
		if err != nil {
			return "", err
		}
		return versionOwner(version.Line), nil
	}
	return "", driftline.Errorf(driftline.Invalid, "%s has no artifacts", clip(owner.String())).
		WithHint("name a run, a logged model or a version of a model")
}

// Artifacts yields the files that a run, a logged model or a version has under a folder,
// "" for all of them, in the order of their paths.
func (r *Registry) Artifacts(owner driftline.Ref, folder string) ([]driftline.Artifact, error) {
	name, err := r.artifactOwner(owner)
	if err != nil {
		return nil, err
	}
	return r.listArtifacts(name, folder)
}

// ArtifactsAt returns the file that is at a path, or the files that are under it.
func (r *Registry) ArtifactsAt(owner driftline.Ref, path string) ([]driftline.Artifact, error) {
	name, err := r.artifactOwner(owner)
	if err != nil {
		return nil, err
	}
	files, err := r.artifactsAt(name, path)
	if err == nil && len(files) == 0 && path != "" {
		err = r.noArtifact(name, owner, path)
	}
	return files, err
}

func (r *Registry) listArtifacts(name, folder string) ([]driftline.Artifact, error) {
	var found []driftline.Artifact
	for a, err := range r.artifactsUnder(name, folder) {
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return found, nil
}

// artifactsUnder yields the files under a folder. It stops after the first error.
func (r *Registry) artifactsUnder(name, folder string) func(func(driftline.Artifact, error) bool) {
	all, prefix := artifactPrefix(name, ""), artifactPrefix(name, folder)
	return func(yield func(driftline.Artifact, error) bool) {
		for pair, err := range r.db.ScanPrefix(prefix) {
			var a driftline.Artifact
			var path string
			if err == nil {
				path, _, err = kv.TakeString(pair.Key[len(all):])
			}
			if err == nil {
				a, err = decodeArtifact(path, pair.Value)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// ArtifactEntry is a file or a folder in a folder.
type ArtifactEntry struct {
	Path   string    `json:"path"` // from the owner's root
	Folder bool      `json:"folder,omitempty"`
	Size   int64     `json:"size"` // of a file
	SHA256 string    `json:"sha256,omitempty"`
	Time   time.Time `json:"time,omitzero"`
}

// Key orders the entries of a folder and names one of them: its path, and a slash behind
// a folder's.
func (e *ArtifactEntry) Key() string {
	if e.Folder {
		return e.Path + "/"
	}
	return e.Path
}

// ListArtifacts returns what lies directly in a folder of a run, a logged model or a
// version, "" for its root, behind the entry whose key is after, at most limit of them (0:
// all). It skips what lies deeper, however much that is. A file, or nothing, has no entries.
func (r *Registry) ListArtifacts(owner driftline.Ref, folder, after string, limit int) ([]ArtifactEntry, error) {
	name, err := r.artifactOwner(owner)
	if err != nil {
		return nil, err
	}
	next := artifactPrefix(name, folder)
	if after != "" {
		next = behindEntry(name, after)
	}
	entries := []ArtifactEntry{}
	for limit == 0 || len(entries) < limit {
		entry, found, err := r.firstEntry(name, folder, next)
		if err != nil || !found {
			return entries, err
		}
		entries = append(entries, entry)
		next = behindEntry(name, entry.Key())
	}
	return entries, nil
}

// behindEntry is the least key behind a file, or behind all files of a folder.
func behindEntry(name, key string) []byte {
	if folder, ok := strings.CutSuffix(key, "/"); ok {
		return append(append(artifactPrefix(name, ""), folder...), '/'+1)
	}
	return append(artifactKey(name, key), 0)
}

// firstEntry is the first file, or folder, of a folder at the key from or behind it.
func (r *Registry) firstEntry(name, folder string, from []byte) (ArtifactEntry, bool, error) {
	root := len(artifactPrefix(name, ""))
	for pair, err := range r.db.ScanFrom(from, artifactPrefix(name, folder)) {
		if err != nil {
			return ArtifactEntry{}, false, err
		}
		path, _, err := kv.TakeString(pair.Key[root:])
		if err != nil {
			return ArtifactEntry{}, false, err
		}
		begin := 0
		if folder != "" {
			begin = len(folder) + 1
		}
		if deeper := strings.IndexByte(path[begin:], '/'); deeper >= 0 {
			return ArtifactEntry{Path: path[:begin+deeper], Folder: true}, true, nil
		}
		a, err := decodeArtifact(path, pair.Value)
		return ArtifactEntry{Path: path, Size: a.Size, SHA256: a.SHA256, Time: a.Time}, true, err
	}
	return ArtifactEntry{}, false, nil
}

// ArtifactUsed reports whether somebody has a content.
func (r *Registry) ArtifactUsed(sha256 string) (bool, error) {
	digest, err := hex.DecodeString(sha256)
	if err != nil || len(digest) != digestBytes {
		return false, driftline.Errorf(driftline.Invalid, "sha256 %q is not 64 hexadecimal digits", clip(sha256))
	}
	for _, err := range r.db.ScanPrefix(hashPrefix(digest)) {
		return err == nil, err
	}
	return false, nil
}

// EachArtifact visits every file that a run, a logged model or a version has.
func (r *Registry) EachArtifact(visit func(owner string, a driftline.Artifact)) error {
	prefix := []byte{kv.ArtifactIndex, artifactRows}
	for pair, err := range r.db.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		owner, rest, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return err
		}
		path, _, err := kv.TakeString(rest)
		if err != nil {
			return err
		}
		a, err := decodeArtifact(path, pair.Value)
		if err != nil {
			return err
		}
		visit(owner, a)
	}
	return nil
}

// AddArtifact records a file that the running run keeps; its bytes must be stored
// before. A path that the run has already gets the new content; models
// registered from the old content keep it.
// The batch, which may hold what is to be kept with it, is taken over; nil for none.
func (r *Registry) AddArtifact(batch *kv.Batch, id driftline.RunID, artifact driftline.Artifact) error {
	return r.writeWith(batch, func(tx *Tx) error {
		if _, err := tx.r.head.running(id); err != nil {
			return err
		}
		return tx.addArtifact(driftline.RunRef(id), artifact)
	})
}

// AddArtifactTo is [Registry.AddArtifact] for a logged model too, and for a run that has
// ended: MLflow's clients log to both.
func (r *Registry) AddArtifactTo(batch *kv.Batch, owner driftline.Ref, artifact driftline.Artifact) error {
	return r.writeWith(batch, func(tx *Tx) error {
		if err := tx.r.head.takesArtifacts(owner); err != nil {
			return err
		}
		return tx.addArtifact(owner, artifact)
	})
}

// TakesArtifacts returns why an owner cannot have another file, so that its bytes need
// not be received first.
func (r *Registry) TakesArtifacts(owner driftline.Ref) (err error) {
	r.read(func(s *state) { err = s.takesArtifacts(owner) })
	return err
}

func (s *state) takesArtifacts(owner driftline.Ref) error {
	if owner.Kind == driftline.KindModel {
		return driftline.Errorf(driftline.FailedPrecondition, "%s does not change: its files were fixed when it was registered", owner).
			WithRef(owner).WithHint("log the file to a run and register the next version")
	}
	if owner.Kind == driftline.KindRun {
		_, err := s.active(driftline.RunID(owner.Name))
		return err
	}
	_, err := s.artifactOwner(owner)
	return err
}

func (tx *Tx) addArtifact(owner driftline.Ref, artifact driftline.Artifact) error {
	if err := checkArtifact(&artifact); err != nil {
		return err
	}
	artifact.Time = time.Time{} // it is the line's
	if err := tx.checkNesting(owner, artifact.Path); err != nil {
		return err
	}
	old, err := tx.r.db.Get(artifactKey(owner.String(), artifact.Path))
	if err != nil {
		return err
	}
	if old != nil {
		had, err := decodeArtifact(artifact.Path, old)
		if err == nil && had.SHA256 == artifact.SHA256 && had.Size == artifact.Size {
			return nil
		}
	}
	logged := artifactLogged{Artifact: artifact}
	if owner.Kind == driftline.KindRun {
		logged.Run = driftline.RunID(owner.Name)
	} else {
		logged.Owner = owner
	}
	_, err = tx.add(ArtifactLogged, driftline.ArtifactRef(artifact.SHA256), []driftline.Ref{owner}, logged)
	return err
}

// checkNesting refuses a file where a folder is, and a folder where a file is: nobody
// could download both.
func (tx *Tx) checkNesting(owner driftline.Ref, path string) error {
	for a, err := range tx.r.artifactsUnder(owner.String(), path) {
		if err != nil {
			return err
		}
		return driftline.Errorf(driftline.Conflict, "%s: %q is a folder already, with %q in it", owner, clip(path), clip(a.Path)).WithRef(owner).
			WithHint("choose another name, or delete the folder first")
	}
	for at := strings.IndexByte(path, '/'); at >= 0; {
		row, err := tx.r.db.Get(artifactKey(owner.String(), path[:at]))
		if err != nil {
			return err
		}
		if row != nil {
			return driftline.Errorf(driftline.Conflict, "%s: %q is a file already and cannot be a folder", owner, clip(path[:at])).WithRef(owner).
				WithHint("choose another name, or delete the file first")
		}
		more := strings.IndexByte(path[at+1:], '/')
		if more < 0 {
			break
		}
		at += 1 + more
	}
	return nil
}

// RemoveArtifacts makes an owner forget a file, or all files of a folder, or, for "",
// everything, and returns what that was. The bytes go once nobody else has them.
// Models that were registered from the files keep theirs.
func (r *Registry) RemoveArtifacts(owner driftline.Ref, path, by, reason string) ([]driftline.Artifact, error) {
	var removed []driftline.Artifact
	err := r.write(func(tx *Tx) (err error) {
		removed, err = tx.removeArtifacts(owner, path, by, reason)
		return err
	})
	return removed, err
}

func (tx *Tx) removeArtifacts(owner driftline.Ref, path, by, reason string) ([]driftline.Artifact, error) {
	if err := cmp.Or(checkText("name", by), checkText("reason", reason)); err != nil {
		return nil, err
	}
	if err := tx.r.head.takesArtifacts(owner); err != nil {
		return nil, err
	}
	removed, err := tx.r.artifactsAt(owner.String(), path)
	if err != nil {
		return nil, err
	}
	if len(removed) == 0 {
		if path == "" {
			return nil, nil
		}
		return nil, tx.r.noArtifact(owner.String(), owner, path)
	}
	paths := make([]string, len(removed))
	for i, a := range removed {
		paths[i] = a.Path
	}
	_, err = tx.add(ArtifactRemoved, owner, nil, artifactRemoved{Paths: paths, By: by, Reason: reason})
	return removed, err
}

// artifactsAt is the file at a path, or all files of the folder.
func (r *Registry) artifactsAt(name, path string) ([]driftline.Artifact, error) {
	if path == "" {
		return r.listArtifacts(name, "")
	}
	row, err := r.db.Get(artifactKey(name, path))
	if err != nil {
		return nil, err
	}
	if row == nil {
		return r.listArtifacts(name, path)
	}
	a, err := decodeArtifact(path, row)
	return []driftline.Artifact{a}, err
}
