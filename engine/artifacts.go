package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/durable"
)

// Artifacts are stored once per content, named by their SHA-256:
//
//	artifacts/<64 hexadecimal digits>
//
// The path that a client gives is a key in the ledger and never part of a file name.

// PutArtifact stores content and logs it as an artifact of a run under path. When it
// returns the bytes and the ledger line are durable. The same path may be logged again;
// the newest content counts.
func (e *Engine) PutArtifact(ctx context.Context, run driftline.RunID, path string, content io.Reader) (driftline.Artifact, error) {
	if err := registry.CheckArtifactPath(path); err != nil {
		return driftline.Artifact{}, err
	}
	if _, err := e.registry.Run(run); err != nil {
		return driftline.Artifact{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Artifact{}, err
	}
	defer e.end()
	artifact := driftline.Artifact{Path: path}
	sum := sha256.New()
	folder := filepath.Join(e.dir, "artifacts")
	if err := durable.MkdirAll(folder); err != nil {
		return driftline.Artifact{}, err
	}
	_, err := durable.WriteNamed(folder, func(w io.Writer) (string, error) {
		n, err := io.Copy(io.MultiWriter(w, sum), contextReader{ctx, content})
		if err != nil {
			return "", err
		}
		artifact.Size, artifact.SHA256 = n, hex.EncodeToString(sum.Sum(nil))
		return artifact.SHA256, nil
	})
	if err != nil {
		return driftline.Artifact{}, err
	}
	return artifact, e.registry.AddArtifact(run, artifact)
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

// OpenArtifact opens the newest content that a run logged under path. The bytes are
// checked against their hash before the first one is handed out. The caller closes it.
func (e *Engine) OpenArtifact(ctx context.Context, run driftline.RunID, path string) (io.ReadCloser, driftline.Artifact, error) {
	artifact, err := e.registry.Artifact(run, path)
	if err != nil {
		return nil, driftline.Artifact{}, err
	}
	f, err := os.Open(filepath.Join(e.dir, "artifacts", artifact.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, driftline.Artifact{}, damagedArtifact(artifact, "is missing")
	}
	if err != nil {
		return nil, driftline.Artifact{}, err
	}
	if err := verifyArtifact(ctx, f, artifact); err != nil {
		return nil, driftline.Artifact{}, errors.Join(err, f.Close())
	}
	return f, artifact, nil
}

// verifyArtifact hashes f and leaves it at its start.
func verifyArtifact(ctx context.Context, f *os.File, artifact driftline.Artifact) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, f}); err != nil {
		return err
	}
	want, err := hex.DecodeString(artifact.SHA256)
	if err != nil || !bytes.Equal(sum.Sum(nil), want) {
		return damagedArtifact(artifact, "is damaged: its content does not have the hash that was logged")
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

func damagedArtifact(a driftline.Artifact, what string) error {
	return driftline.Errorf(driftline.DataLoss, "artifact %q %s", a.Path, what).
		WithRef(driftline.ArtifactRef(a.SHA256)).WithHint("restore the file from a backup, or log the artifact again")
}
