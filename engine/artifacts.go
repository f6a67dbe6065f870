package engine

import (
	"context"
	"encoding/hex"
	"io"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/blobs"
	"github.com/driftline/driftline/storage/kv"
)

// An artifact is a name, a hash and bytes, which three places keep: the ledger says what
// the name means, the registry's index finds it, and a content store has the bytes. The
// name that a client gives is a key in the first two, and never part of a file's name.

// contentStore keeps bytes by their hash. That of this machine's disk is [blobs.Store];
// what an object store has to do to take its place is this.
type contentStore interface {
	// Put keeps what r has. Nothing removes it before release is called.
	Put(ctx context.Context, r io.Reader) (blob blobs.Blob, release func(), err error)

	// Open opens a content whose every byte is checked before it is handed out.
	Open(ctx context.Context, blob blobs.Blob) (*blobs.Reader, error)

	// Has reports whether a content of that size is there, without reading it.
	Has(blob blobs.Blob) bool

	// Collect removes the contents written before a time that are not needed.
	Collect(ctx context.Context, before time.Time, needed func(sha256 string) (bool, error)) (blobs.Collected, error)
}

// piecesKey is the key under which the checksums of the pieces of a content are kept.
func piecesKey(sha256 string) []byte {
	digest, _ := hex.DecodeString(sha256) // of a content that was put
	return append([]byte{kv.ContentPieces}, digest...)
}

// PutArtifact stores content and logs it as an artifact of a running run under path. When it
// returns the bytes and the ledger line are durable. The same path may be logged again;
// the newest content counts.
func (e *Engine) PutArtifact(ctx context.Context, run driftline.RunID, path string, content io.Reader) (driftline.Artifact, error) {
	if _, err := e.registry.Run(run); err != nil {
		return driftline.Artifact{}, err
	}
	return e.putArtifact(ctx, path, content, func(batch *kv.Batch, artifact driftline.Artifact) error {
		return e.registry.AddArtifact(batch, run, artifact)
	})
}

// PutArtifactTo is [Engine.PutArtifact] for a logged model too, and for a run that has ended.
func (e *Engine) PutArtifactTo(ctx context.Context, owner driftline.Ref, path string, content io.Reader) (driftline.Artifact, error) {
	if err := e.registry.TakesArtifacts(owner); err != nil {
		return driftline.Artifact{}, err
	}
	return e.putArtifact(ctx, path, content, func(batch *kv.Batch, artifact driftline.Artifact) error {
		return e.registry.AddArtifactTo(batch, owner, artifact)
	})
}

func (e *Engine) putArtifact(ctx context.Context, path string, content io.Reader, add func(*kv.Batch, driftline.Artifact) error) (driftline.Artifact, error) {
	if err := registry.CheckArtifactPath(path); err != nil {
		return driftline.Artifact{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Artifact{}, err
	}
	defer e.end()
	blob, release, err := e.contents.Put(ctx, content)
	if err != nil {
		return driftline.Artifact{}, err
	}
	defer release()
	artifact := driftline.Artifact{Path: path, Size: blob.Size, SHA256: blob.SHA256}
	batch := e.kv.NewBatch() // the transaction takes it over
	if blob.Pieces != nil {
		batch.Set(piecesKey(blob.SHA256), blob.Pieces)
	}
	return artifact, add(batch, artifact)
}

// OpenArtifact opens the newest content that a run logged under path. Every byte is
// checked before it is handed out. The caller closes the reader.
func (e *Engine) OpenArtifact(ctx context.Context, run driftline.RunID, path string) (*blobs.Reader, driftline.Artifact, error) {
	return e.OpenArtifactOf(ctx, driftline.RunRef(run), path)
}

// OpenArtifactOf is [Engine.OpenArtifact] for a logged model, or a version of a model, too.
func (e *Engine) OpenArtifactOf(ctx context.Context, owner driftline.Ref, path string) (*blobs.Reader, driftline.Artifact, error) {
	artifact, err := e.registry.ArtifactOf(owner, path)
	if err != nil {
		return nil, driftline.Artifact{}, err
	}
	content, err := e.openContent(ctx, artifact)
	return content, artifact, err
}

func (e *Engine) openContent(ctx context.Context, artifact driftline.Artifact) (*blobs.Reader, error) {
	blob := blobs.Blob{SHA256: artifact.SHA256, Size: artifact.Size}
	known := artifact.Size <= blobs.PieceBytes
	if !known {
		var err error
		if blob.Pieces, err = e.kv.Get(piecesKey(artifact.SHA256)); err != nil {
			return nil, err
		}
		known = blob.Pieces != nil
	}
	content, err := e.contents.Open(ctx, blob)
	if err != nil {
		return nil, artifactError(artifact, err)
	}
	if !known {
		e.keepPieces(content.Blob())
	}
	return content, nil
}

// keepPieces notes the checksums of a content that was stored before there were any, so
// that it is read through only this once. If it fails, it is read through again.
func (e *Engine) keepPieces(blob blobs.Blob) {
	batch := e.kv.NewBatch()
	defer batch.Close()
	batch.Set(piecesKey(blob.SHA256), blob.Pieces)
	if err := batch.Commit(); err != nil {
		e.log.Warn("the checksums of an artifact could not be kept", "sha256", blob.SHA256, "error", err)
	}
}

// artifactError names the artifact whose content is damaged.
func artifactError(artifact driftline.Artifact, err error) error {
	if driftline.CodeOf(err) != driftline.DataLoss {
		return err
	}
	return driftline.Errorf(driftline.DataLoss, "artifact %q: %w", artifact.Path, err).
		WithRef(driftline.ArtifactRef(artifact.SHA256)).WithHint("restore the file from a backup, or log the artifact again")
}

// RemoveArtifacts takes a file, a folder, or, for "", everything from a run or a logged
// model, and returns what that was. The bytes go with the next collection, unless somebody
// else has them: another run, or a model that was registered from them.
func (e *Engine) RemoveArtifacts(owner driftline.Ref, path, by, reason string) ([]driftline.Artifact, error) {
	if path != "" {
		if err := registry.CheckArtifactPath(path); err != nil {
			return nil, err
		}
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	return e.registry.RemoveArtifacts(owner, path, by, reason)
}

// CollectArtifacts removes contents that nobody needs and that are older than grace, and
// uploads that nobody went on with for as long. A content that is just being uploaded is
// left alone, whatever its age.
func (e *Engine) CollectArtifacts(ctx context.Context, grace time.Duration) (driftline.ArtifactCollection, error) {
	if grace < 0 {
		return driftline.ArtifactCollection{}, driftline.Errorf(driftline.Invalid, "the grace of %s is negative", grace).
			WithHint("0 collects all that nobody needs now")
	}
	if err := e.begin(); err != nil {
		return driftline.ArtifactCollection{}, err
	}
	defer e.end()
	return e.collectArtifacts(ctx, grace)
}

func (e *Engine) collectArtifacts(ctx context.Context, grace time.Duration) (driftline.ArtifactCollection, error) {
	var done driftline.ArtifactCollection
	uploads, err := e.expireUploads(grace)
	if err != nil {
		return done, err
	}
	done.Uploads = uploads
	// Files carry the machine's time, so their ages are told by it, and not by the engine's clock.
	collected, err := e.contents.Collect(ctx, time.Now().Add(-grace), e.contentNeeded)
	done.Contents, done.Bytes = collected.Contents, collected.Bytes
	return done, err
}

// contentNeeded reports whether somebody has a content, as far as that is durable: what
// takes a content from its last owner must not be forgotten after the bytes are gone.
func (e *Engine) contentNeeded(sha256 string) (bool, error) {
	used, err := e.registry.ArtifactUsed(sha256)
	if used || err != nil {
		return true, err
	}
	if err := e.registry.Settle(); err != nil {
		return true, err
	}
	return e.registry.ArtifactUsed(sha256)
}
