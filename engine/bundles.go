package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/blobs"
	"github.com/driftline/driftline/storage/durable"
	"github.com/driftline/driftline/storage/kv"
)

// A bundle is one version of a model as a file that can be carried elsewhere: a tar of
//
//	bundle.json     what it is, with the size and hash of each file
//	bundle.sig      a signature of these bytes, by the key of the server that exported it
//	files/<path>    the files, in the order in which bundle.json lists them
//
// and nothing else. It is read as a stream, and never unpacked into a folder: a member that
// is not the next one listed, is no plain file, or is larger or smaller than listed ends
// the import, and what was stored until then is left to the collection.

const (
	bundleFormat   = 1
	bundleManifest = "bundle.json"
	bundleSig      = "bundle.sig"
	bundleFiles    = "files/"

	mostManifest = 64 << 20
	mostSig      = 4 << 10
)

// bundle is the content of bundle.json.
type bundle struct {
	Format   int                    `json:"format"`
	Exported time.Time              `json:"exported"`
	Version  driftline.ModelVersion `json:"version"`
}

// bundleSignature is the content of bundle.sig.
type bundleSignature struct {
	Key       string `json:"key"` // as SigningKey writes it
	Signature []byte `json:"signature"`
}

const keyPrefix = "ed25519:"

// SigningKey is the public half of the key that this server signs bundles with. The key is
// made when it is asked for first, and stays with the data folder.
func (e *Engine) SigningKey() (string, error) {
	key, err := e.signingKey()
	if err != nil {
		return "", err
	}
	return keyText(key.Public().(ed25519.PublicKey)), nil
}

func keyText(key ed25519.PublicKey) string { return keyPrefix + base64.StdEncoding.EncodeToString(key) }

func parseSigner(text string) (ed25519.PublicKey, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) != ed25519.PublicKeySize {
		return nil, driftline.Errorf(driftline.Invalid, "%.80q is no key", text).WithHint("keys are written ed25519:… ; driftline models key shows a server's own")
	}
	return key, nil
}

func (e *Engine) signingKey() (ed25519.PrivateKey, error) {
	seed, err := e.seed("bundle")
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// seed returns the secret that a key is made from, which is made when it is first needed.
func (e *Engine) seed(of string) ([]byte, error) {
	defer e.signing.lock(of)()
	folder := filepath.Join(e.dir, "keys")
	path := filepath.Join(folder, of+".key")
	text, err := os.ReadFile(path)
	if err == nil {
		seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, driftline.Errorf(driftline.DataLoss, "the %s key of this server is damaged", of).
				WithHint("restore keys/%s.key from a backup, or remove it to have another one made", of)
		}
		return seed, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // it cannot fail
	if err := durable.MkdirAll(folder); err != nil {
		return nil, err
	}
	if err := durable.WriteBytes(path, []byte(hex.EncodeToString(seed)+"\n")); err != nil {
		return nil, err
	}
	return seed, nil
}

// ExportModel returns a version as a bundle, as a function that writes it. What can be wrong
// with the version is found before; what is found while writing is damage.
func (e *Engine) ExportModel(ctx context.Context, name driftline.ModelName, selector string) (*driftline.ModelVersion, func(io.Writer) error, error) {
	version, err := e.registry.ModelVersion(name, selector)
	if err != nil {
		return nil, nil, err
	}
	files := registry.VersionFiles(version)
	if version.Status == driftline.ModelExternal || len(files) == 0 {
		return nil, nil, driftline.Errorf(driftline.FailedPrecondition, "the files of %s are not kept here", version.Ref()).WithRef(version.Ref()).
			WithHint("they are at %s", version.Source)
	}
	for _, f := range files {
		if !e.contents.Has(blobs.Blob{SHA256: f.SHA256, Size: f.Size}) {
			return nil, nil, artifactError(f, driftline.Errorf(driftline.DataLoss, "it is missing"))
		}
	}
	head, signature, err := e.sealBundle(version)
	if err != nil {
		return nil, nil, err
	}
	return version, func(w io.Writer) error { return e.writeBundle(ctx, w, head, signature, files) }, nil
}

// sealBundle returns the two members that come first.
func (e *Engine) sealBundle(version *driftline.ModelVersion) (head, signature []byte, err error) {
	key, err := e.signingKey()
	if err != nil {
		return nil, nil, err
	}
	now, exported := e.now().UTC(), *version
	exported.Server = nil // an address of this network means nothing in another one
	if head, err = json.MarshalIndent(bundle{Format: bundleFormat, Exported: now, Version: exported}, "", "  "); err != nil {
		return nil, nil, err
	}
	signature, err = json.Marshal(bundleSignature{Key: keyText(key.Public().(ed25519.PublicKey)), Signature: ed25519.Sign(key, head)})
	return head, signature, err
}

func (e *Engine) writeBundle(ctx context.Context, w io.Writer, head, signature []byte, files []driftline.Artifact) error {
	out := tar.NewWriter(w)
	at := e.now().UTC().Truncate(time.Second)
	member := func(name string, size int64, content io.Reader) error {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: at, Format: tar.FormatPAX}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.Copy(out, content)
		return err
	}
	if err := member(bundleManifest, int64(len(head)), bytes.NewReader(head)); err != nil {
		return err
	}
	if err := member(bundleSig, int64(len(signature)), bytes.NewReader(signature)); err != nil {
		return err
	}
	for _, f := range files {
		content, err := e.openContent(ctx, f)
		if err != nil {
			return err
		}
		if err := errors.Join(member(bundleFiles+f.Path, f.Size, content), content.Close()); err != nil {
			return err
		}
	}
	return out.Close()
}

// ImportModel registers what a bundle holds as the next version of a model, named as in
// the bundle if name is "". It must be signed by this server's own key, or by trusted.
func (e *Engine) ImportModel(ctx context.Context, name driftline.ModelName, trusted, by string, r io.Reader) (*driftline.ModelVersion, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	in := &bundleReader{tar: tar.NewReader(contextReader{ctx, r})}
	sealed, signed, err := in.open()
	if err != nil {
		return nil, err
	}
	if err := e.trusts(sealed, signed, trusted); err != nil {
		return nil, err
	}
	version := sealed.Version
	if name != "" {
		version.Model = name
	}
	delete(version.Tags, TrainingTag) // runs here have such names too, and it was made in none of them
	if err := registry.CheckImport(&version); err != nil {
		return nil, err
	}
	batch := e.kv.NewBatch() // the transaction takes it over
	release, err := e.storeBundle(ctx, in, &version, batch)
	defer release()
	if err != nil {
		return nil, errors.Join(err, batch.Close())
	}
	digest := sha256.Sum256(sealed.raw)
	return e.registry.ImportModel(batch, version, driftline.ModelImport{
		Ref: sealed.Version.Ref(), Key: signed.Key, SHA256: hex.EncodeToString(digest[:]), Exported: sealed.Exported, By: by,
	})
}

// sealedBundle is a manifest with the bytes that were signed.
type sealedBundle struct {
	bundle
	raw []byte
}

// trusts checks the signature, and that somebody vouches for its key.
func (e *Engine) trusts(sealed *sealedBundle, signed *bundleSignature, trusted string) error {
	key, err := parseSigner(signed.Key)
	if err != nil {
		return badBundle("its signature is not valid: %s", err.Error())
	}
	if !ed25519.Verify(key, sealed.raw, signed.Signature) {
		return badBundle("it was changed after it was signed")
	}
	own, err := e.SigningKey()
	if err != nil {
		return err
	}
	if signed.Key == own || signed.Key == trusted {
		return nil
	}
	if trusted != "" {
		if _, err := parseSigner(trusted); err != nil {
			return err
		}
	}
	return driftline.Errorf(driftline.Permission, "the bundle is signed by %s, which nobody here vouches for", signed.Key).
		WithHint("ask whoever sent it for their key (driftline models key), and if it is this one, import with --trust %s", signed.Key)
}

func badBundle(format string, args ...any) error {
	return driftline.Errorf(driftline.Invalid, "this is no bundle of a model: "+format, args...).
		WithHint("make one with driftline models export")
}

// storeBundle stores the files. Nothing removes them before release is called.
func (e *Engine) storeBundle(ctx context.Context, in *bundleReader, version *driftline.ModelVersion, batch *kv.Batch) (release func(), err error) {
	var releases []func()
	release = func() {
		for _, r := range releases {
			r()
		}
	}
	for _, f := range registry.VersionFiles(version) {
		content, err := in.next(bundleFiles+f.Path, f.Size, f.Size)
		if err != nil {
			return release, err
		}
		blob, done, err := e.contents.Put(ctx, content)
		if err != nil {
			return release, in.explain(err)
		}
		releases = append(releases, done)
		if blob.SHA256 != f.SHA256 || blob.Size != f.Size {
			return release, badBundle("file %q is not the one that was signed", f.Path)
		}
		if blob.Pieces != nil {
			batch.Set(piecesKey(blob.SHA256), blob.Pieces)
		}
	}
	return release, in.end()
}

// bundleReader reads the members of a bundle, each of which must be the one expected.
type bundleReader struct{ tar *tar.Reader }

// open reads the manifest and its signature.
func (b *bundleReader) open() (*sealedBundle, *bundleSignature, error) {
	sealed, signed := &sealedBundle{}, &bundleSignature{}
	var err error
	if sealed.raw, err = b.read(bundleManifest, mostManifest); err != nil {
		return nil, nil, err
	}
	raw, err := b.read(bundleSig, mostSig)
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(raw, signed); err != nil {
		return nil, nil, badBundle("%s cannot be read", bundleSig)
	}
	if err := json.Unmarshal(sealed.raw, &sealed.bundle); err != nil {
		return nil, nil, badBundle("%s cannot be read", bundleManifest)
	}
	if sealed.Format != bundleFormat {
		return nil, nil, badBundle("it has format %d, this driftline reads %d", sealed.Format, bundleFormat)
	}
	return sealed, signed, nil
}

func (b *bundleReader) read(name string, most int64) ([]byte, error) {
	content, err := b.next(name, 0, most)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(content)
	if err != nil {
		return nil, b.explain(err)
	}
	return raw, nil
}

// next is the member of that name, which must be a plain file of at least and at most so
// many bytes.
func (b *bundleReader) next(name string, least, most int64) (io.Reader, error) {
	header, err := b.tar.Next()
	if err != nil {
		return nil, b.explain(err)
	}
	switch {
	case header.Typeflag != tar.TypeReg:
		return nil, badBundle("member %.80q is no plain file", header.Name)
	case header.Name != name:
		return nil, badBundle("member %.80q is where %.80q should be", header.Name, name)
	case header.Size < least || header.Size > most:
		return nil, badBundle("member %.80q has %d bytes", header.Name, header.Size)
	}
	return b.tar, nil
}

// end checks that nothing follows.
func (b *bundleReader) end() error {
	header, err := b.tar.Next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return b.explain(err)
	}
	return badBundle("member %.80q is too many", header.Name)
}

// explain says that the archive is broken, if it is not the connection.
func (b *bundleReader) explain(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badBundle("it ends too early")
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, tar.ErrInsecurePath), errors.Is(err, tar.ErrWriteTooLong):
		return badBundle("it is no tar archive")
	}
	return err
}
