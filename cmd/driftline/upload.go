package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// uploadPartBytes is what is sent again at most after a connection broke.
const uploadPartBytes = 64 << 20

func (a *app) uploadCommand() *cobra.Command {
	var as, resume string
	command := &cobra.Command{
		Use:   "upload RUN FILE",
		Short: "Log a file as an artifact of a run, of any size, in parts",
		Long: "Log a file as an artifact of a run. It is sent in parts of 64 MiB; if that is interrupted, --resume goes on with the\n" +
			"upload that the error names: parts that are there are not sent again. An upload that nobody goes on with ends after a day.",
		Example: "  driftline runs upload late_departure-1 model.bin\n" +
			"  driftline runs upload late_departure-1 model.bin --resume 4f2a…",
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			spec := driftline.UploadSpec{Owner: driftline.RunRef(driftline.RunID(args[0])), Path: cmp.Or(as, filepath.Base(args[1]))}
			return a.withServer(c.Context(), func(server *client.Client) error {
				artifact, err := a.upload(c.Context(), server, args[1], resume, spec)
				if err != nil {
					return err
				}
				return a.answer(artifact, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%s has %s: %d bytes, sha256 %s\n", printable(args[0]), printable(artifact.Path), artifact.Size, artifact.SHA256)
					return err
				})
			})
		},
	}
	command.Flags().StringVar(&as, "as", "", "the artifact's path in the run; the file's name if left out")
	command.Flags().StringVar(&resume, "resume", "", "go on with the upload of this id")
	return command
}

// upload sends a file in parts, without those that the server has already.
func (a *app) upload(ctx context.Context, server *client.Client, path, resume string, spec driftline.UploadSpec) (*driftline.Artifact, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, cannotRead(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, driftline.Errorf(driftline.Invalid, "%s is no file", path).WithHint("upload the files of a folder one by one, with --as for their paths")
	}
	under, err := beginOrResume(ctx, server, resume, spec)
	if err != nil || under.Artifact != nil {
		return under.Artifact, err
	}
	artifact, err := a.sendParts(ctx, server, under, file, info.Size())
	if code := driftline.CodeOf(err); err != nil && code != driftline.Conflict && code != driftline.Invalid {
		return nil, fmt.Errorf("%w\ngo on with --resume %s", err, under.ID)
	}
	return artifact, err
}

func beginOrResume(ctx context.Context, server *client.Client, resume string, spec driftline.UploadSpec) (driftline.Upload, error) {
	if resume == "" {
		begun, err := server.BeginUpload(ctx, spec)
		if err != nil {
			return driftline.Upload{}, err
		}
		return *begun, nil
	}
	found, err := server.Upload(ctx, resume)
	if err != nil {
		return driftline.Upload{}, err
	}
	if found.Owner != spec.Owner || found.Path != spec.Path {
		return driftline.Upload{}, driftline.Errorf(driftline.Invalid, "upload %s is of %s of %s, not of %s of %s", resume, found.Path, found.Owner, spec.Path, spec.Owner).
			WithHint("name the run and the file that it was begun with")
	}
	return *found, nil
}

// sendParts sends what is missing or different, and completes the upload.
func (a *app) sendParts(ctx context.Context, server *client.Client, under driftline.Upload, file io.ReaderAt, size int64) (*driftline.Artifact, error) {
	bar := a.byteBar(size)
	defer func() { _ = bar.Finish() }()
	var parts []driftline.UploadPart
	for at := int64(0); at < size || len(parts) == 0; at += uploadPartBytes {
		number, part := len(parts)+1, io.NewSectionReader(file, at, min(uploadPartBytes, size-at))
		sum, err := sumOf(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, driftline.UploadPart{Number: number, SHA256: sum})
		there := slices.ContainsFunc(under.Parts, func(p driftline.UploadPart) bool { return p.Number == number && p.SHA256 == sum })
		if there {
			_ = bar.Add64(part.Size())
			continue
		}
		content := progressbar.NewReader(part, bar)
		if _, err := server.PutPart(ctx, under.ID, number, &content); err != nil {
			return nil, err
		}
	}
	return server.CompleteUpload(ctx, under.ID, parts)
}

// sumOf reads a part to its end and goes back to its beginning.
func sumOf(part *io.SectionReader) (string, error) {
	hash := sha256.New()
	_, err := io.Copy(hash, part)
	_, back := part.Seek(0, io.SeekStart)
	return hex.EncodeToString(hash.Sum(nil)), errors.Join(err, back)
}

// byteBar shows how many bytes were sent, on a terminal.
func (a *app) byteBar(size int64) *progressbar.ProgressBar {
	to := a.stderr
	if !isTerminal(a.stderr) || a.asJSON {
		to = io.Discard
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(to), progressbar.OptionSetDescription("upload"),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
}
