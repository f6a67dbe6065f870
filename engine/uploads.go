package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/blobs"
	"github.com/driftline/driftline/storage/durable"
	"github.com/driftline/driftline/storage/kv"
)

// Uploads in parts. A part is a file that is durable when its sender is told so; what is
// known of it is a row, written after the file:
//
//	uploads/<id>/<part's number>
//	'u' ∥ id → Upload          'u' ∥ id ∥ number → UploadPart
//
// Completing an upload stores the parts, one behind the other, as one content and logs the
// artifact. Its row stays for a while, so that a client that did not get the answer may
// ask again. The id is random and long: who knows it may go on with the upload.

const (
	mostUploads   = 1000 // under way at once
	mostParts     = 10_000
	idBytes       = 16
	uploadsFolder = "uploads"
)

var uploadID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func uploadKey(id string) []byte { return kv.AppendString([]byte{kv.Uploads}, id) }

func partKey(id string, number int) []byte { return kv.AppendInt64(uploadKey(id), int64(number)) }

// storedUpload is the row of an upload, without its parts.
type storedUpload struct {
	driftline.UploadSpec
	Created  time.Time           `json:"created"`
	Touched  time.Time           `json:"touched"` // when its last part came, or it was completed
	Artifact *driftline.Artifact `json:"artifact,omitempty"`
}

// BeginUpload begins an upload in parts.
func (e *Engine) BeginUpload(_ context.Context, spec driftline.UploadSpec) (*driftline.Upload, error) {
	if err := registry.CheckArtifactPath(spec.Path); err != nil {
		return nil, err
	}
	if err := e.registry.TakesArtifacts(spec.Owner); err != nil {
		return nil, err
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if err := e.admitUpload(); err != nil {
		return nil, err
	}
	var random [idBytes]byte
	_, _ = rand.Read(random[:]) // it cannot fail
	id := hex.EncodeToString(random[:])
	now := e.now().UTC()
	if err := e.writeUpload(id, storedUpload{UploadSpec: spec, Created: now, Touched: now}); err != nil {
		return nil, err
	}
	return e.Upload(id)
}

// admitUpload bounds how many there are.
func (e *Engine) admitUpload() error {
	under := 0
	for stored, err := range e.storedUploads() {
		if err != nil {
			return err
		}
		if stored.upload.Artifact == nil {
			under++
		}
	}
	if under < mostUploads {
		return nil
	}
	return driftline.Errorf(driftline.Exhausted, "%d uploads are under way", under).
		WithHint("complete or abort some; those that nobody goes on with end after a day")
}

func (e *Engine) writeUpload(id string, stored storedUpload) error {
	row, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	batch := e.kv.NewBatch()
	defer batch.Close()
	batch.Set(uploadKey(id), row)
	return batch.Commit()
}

func (e *Engine) readUpload(id string) (storedUpload, error) {
	var stored storedUpload
	var row []byte
	if uploadID.MatchString(id) {
		var err error
		if row, err = e.kv.Get(uploadKey(id)); err != nil {
			return stored, err
		}
	}
	if row == nil {
		return stored, driftline.Errorf(driftline.NotFound, "there is no upload of this id").
			WithHint("it may have been aborted, or ended because nobody went on with it; begin another")
	}
	return stored, json.Unmarshal(row, &stored)
}

// Upload returns an upload with the parts that are there.
func (e *Engine) Upload(id string) (*driftline.Upload, error) {
	stored, err := e.readUpload(id)
	if err != nil {
		return nil, err
	}
	parts, err := e.uploadParts(id)
	return &driftline.Upload{ID: id, UploadSpec: stored.UploadSpec, Created: stored.Created, Parts: parts, Artifact: stored.Artifact}, err
}

func (e *Engine) uploadParts(id string) ([]driftline.UploadPart, error) {
	parts := []driftline.UploadPart{}
	prefix := uploadKey(id)
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		if len(pair.Key) == len(prefix) {
			continue // the upload itself
		}
		var part driftline.UploadPart
		if err := json.Unmarshal(pair.Value, &part); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// PutPart stores one part of an upload. When it returns the part is durable.
func (e *Engine) PutPart(ctx context.Context, id string, number int, content io.Reader) (driftline.UploadPart, error) {
	if number < 1 || number > mostParts {
		return driftline.UploadPart{}, driftline.Errorf(driftline.Invalid, "part %d is not possible", number).
			WithHint("parts count from 1 to %d; make them larger", mostParts)
	}
	if err := e.begin(); err != nil {
		return driftline.UploadPart{}, err
	}
	defer e.end()
	defer e.uploads.lock(fmt.Sprint(id, "/", number))()
	stored, err := e.readUpload(id)
	if err != nil {
		return driftline.UploadPart{}, err
	}
	if stored.Artifact != nil {
		return driftline.UploadPart{}, completed(stored)
	}
	part, err := e.writePart(ctx, id, number, content)
	if err != nil {
		return part, err
	}
	return part, e.notePart(id, part)
}

func completed(stored storedUpload) error {
	return driftline.Errorf(driftline.FailedPrecondition, "the upload of %q is complete already", stored.Path).
		WithHint("begin another to replace the file")
}

func (e *Engine) writePart(ctx context.Context, id string, number int, content io.Reader) (driftline.UploadPart, error) {
	folder := e.uploadFolder(id)
	if err := durable.MkdirAll(folder); err != nil {
		return driftline.UploadPart{}, err
	}
	sum := sha256.New()
	part := driftline.UploadPart{Number: number}
	err := durable.WriteFile(e.partFile(id, number), func(w io.Writer) (err error) {
		part.Size, err = io.Copy(io.MultiWriter(w, sum), contextReader{ctx, content})
		return err
	})
	part.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return part, blobs.DiskFull(err)
}

// notePart makes a part one of the upload's, unless that has ended meanwhile.
func (e *Engine) notePart(id string, part driftline.UploadPart) error {
	defer e.uploads.lock(id)()
	stored, err := e.readUpload(id)
	if err != nil {
		return errors.Join(err, removeFolder(e.uploadFolder(id)))
	}
	if stored.Artifact != nil {
		return completed(stored)
	}
	row, err := json.Marshal(part)
	if err != nil {
		return err
	}
	stored.Touched = e.now().UTC()
	upload, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	batch := e.kv.NewBatch()
	defer batch.Close()
	batch.Set(uploadKey(id), upload)
	batch.Set(partKey(id, part.Number), row)
	return batch.Commit()
}

func (e *Engine) uploadFolder(id string) string { return filepath.Join(e.dir, uploadsFolder, id) }

func (e *Engine) partFile(id string, number int) string {
	return filepath.Join(e.uploadFolder(id), fmt.Sprintf("%05d", number))
}

// CompleteUpload puts the parts together, in the order of their numbers, and logs the file.
// Parts, if there are any, are those that the caller means to have sent: another list is
// a Conflict. Completing again gives the same answer.
func (e *Engine) CompleteUpload(ctx context.Context, id string, parts []driftline.UploadPart) (driftline.Artifact, error) {
	if err := e.begin(); err != nil {
		return driftline.Artifact{}, err
	}
	defer e.end()
	defer e.uploads.lock(id)()
	stored, err := e.readUpload(id)
	if err != nil {
		return driftline.Artifact{}, err
	}
	if stored.Artifact != nil {
		return *stored.Artifact, nil
	}
	have, err := e.uploadParts(id)
	if err != nil {
		return driftline.Artifact{}, err
	}
	if err := sameParts(have, parts); err != nil {
		return driftline.Artifact{}, err
	}
	artifact, err := e.joinParts(ctx, id, stored.UploadSpec, have)
	if err != nil {
		return driftline.Artifact{}, err
	}
	stored.Artifact, stored.Touched = &artifact, e.now().UTC()
	if err := e.writeUpload(id, stored); err != nil {
		return driftline.Artifact{}, err
	}
	return artifact, e.dropParts(id)
}

// sameParts compares the parts that are there with those that the caller says to have sent.
func sameParts(have, said []driftline.UploadPart) error {
	if len(have) == 0 {
		return driftline.Errorf(driftline.FailedPrecondition, "no part has been uploaded").WithHint("send the parts first")
	}
	if len(said) == 0 {
		return nil
	}
	said = slices.Clone(said)
	slices.SortFunc(said, func(a, b driftline.UploadPart) int { return a.Number - b.Number })
	same := slices.EqualFunc(have, said, func(a, b driftline.UploadPart) bool {
		return a.Number == b.Number && (b.SHA256 == "" || a.SHA256 == strings.Trim(b.SHA256, `"`))
	})
	if same {
		return nil
	}
	return driftline.Errorf(driftline.Conflict, "the parts named are not the %d that were uploaded", len(have)).
		WithHint("ask for the upload, and send what is missing or different again")
}

// joinParts stores the content of the parts and logs it. They are read and written once more: they may have come
// in any order, and again, so nothing that was computed when they came is the hash of the whole, whose
// name the content lies under; and their bytes may have been damaged since.
func (e *Engine) joinParts(ctx context.Context, id string, spec driftline.UploadSpec, parts []driftline.UploadPart) (driftline.Artifact, error) {
	files := partReader{open: func(n int) (*os.File, error) { return os.Open(e.partFile(id, n)) }, parts: parts}
	defer files.close()
	return e.putArtifact(ctx, spec.Path, &files, func(batch *kv.Batch, artifact driftline.Artifact) error {
		if spec.SHA256 != "" && !strings.EqualFold(spec.SHA256, artifact.SHA256) {
			return errors.Join(batch.Close(), driftline.Errorf(driftline.Conflict, "what was uploaded for %q has the hash %s, not %s", spec.Path, artifact.SHA256, spec.SHA256).
				WithHint("send the parts that differ again"))
		}
		return e.registry.AddArtifactTo(batch, spec.Owner, artifact)
	})
}

// partReader reads parts one behind the other, each compared with its hash.
type partReader struct {
	open  func(number int) (*os.File, error)
	parts []driftline.UploadPart
	file  *os.File
	sum   interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int64
}

func (p *partReader) Read(b []byte) (int, error) {
	for {
		if p.file == nil {
			if len(p.parts) == 0 {
				return 0, io.EOF
			}
			file, err := p.open(p.parts[0].Number)
			if err != nil {
				return 0, damagedPart(p.parts[0], err)
			}
			p.file, p.sum, p.size = file, sha256.New(), 0
		}
		n, err := p.file.Read(b)
		_, _ = p.sum.Write(b[:n]) // a hash does not fail
		p.size += int64(n)
		if err == nil || n > 0 {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, damagedPart(p.parts[0], err)
		}
		part := p.parts[0]
		p.close()
		if hex.EncodeToString(p.sum.Sum(nil)) != part.SHA256 {
			return 0, damagedPart(part, nil)
		}
		p.parts = p.parts[1:]
	}
}

func (p *partReader) close() {
	if p.file != nil {
		_ = p.file.Close() // it was only read
		p.file = nil
	}
}

func damagedPart(part driftline.UploadPart, cause error) error {
	err := driftline.Errorf(driftline.Conflict, "part %d of the upload is damaged", part.Number).
		WithHint("send it again, then complete the upload")
	err.Err = cause
	return err
}

// AbortUpload forgets an upload and its parts. What it made, if it was complete, stays.
func (e *Engine) AbortUpload(id string) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	defer e.uploads.lock(id)()
	if _, err := e.readUpload(id); err != nil {
		return err
	}
	return e.forgetUpload(id)
}

func (e *Engine) forgetUpload(id string) error {
	batch := e.kv.NewBatch()
	defer batch.Close()
	batch.DeletePrefix(uploadKey(id))
	if err := batch.Commit(); err != nil {
		return err
	}
	return removeFolder(e.uploadFolder(id))
}

func (e *Engine) dropParts(id string) error {
	batch := e.kv.NewBatch()
	defer batch.Close()
	parts, err := e.uploadParts(id)
	if err != nil {
		return err
	}
	for _, part := range parts {
		batch.Delete(partKey(id, part.Number))
	}
	if err := batch.Commit(); err != nil {
		return err
	}
	return removeFolder(e.uploadFolder(id))
}

func removeFolder(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	err := durable.SyncDir(filepath.Dir(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no part was ever stored
	}
	return err
}

// uploadRow is an upload as the store has it.
type uploadRow struct {
	id     string
	upload storedUpload
}

// storedUploads yields every upload. It stops after the first error.
func (e *Engine) storedUploads() func(func(uploadRow, error) bool) {
	return func(yield func(uploadRow, error) bool) {
		for pair, err := range e.kv.ScanPrefix([]byte{kv.Uploads}) {
			var row uploadRow
			var rest []byte
			if err == nil {
				row.id, rest, err = kv.TakeString(pair.Key[1:])
			}
			if err == nil && len(rest) > 0 {
				continue // a part
			}
			if err == nil {
				err = json.Unmarshal(pair.Value, &row.upload)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// expireUploads forgets uploads that nobody touched for grace.
func (e *Engine) expireUploads(grace time.Duration) (int, error) {
	before, expired := e.now().Add(-grace), []string(nil)
	for row, err := range e.storedUploads() {
		if err != nil {
			return 0, err
		}
		if row.upload.Touched.Before(before) {
			expired = append(expired, row.id)
		}
	}
	for _, id := range expired {
		if err := e.expireUpload(id, before); err != nil {
			return 0, err
		}
	}
	return len(expired), nil
}

func (e *Engine) expireUpload(id string, before time.Time) error {
	defer e.uploads.lock(id)()
	stored, err := e.readUpload(id)
	if err != nil || !stored.Touched.Before(before) {
		return nil // somebody was faster
	}
	return e.forgetUpload(id)
}

// cleanUploads removes the files of uploads that there are no rows of: a crash may have
// come between the two.
func (e *Engine) cleanUploads() error {
	folders, err := os.ReadDir(filepath.Join(e.dir, uploadsFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if _, err := e.readUpload(folder.Name()); driftline.CodeOf(err) != driftline.NotFound {
			continue
		}
		if err := removeFolder(e.uploadFolder(folder.Name())); err != nil {
			return err
		}
	}
	return nil
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
