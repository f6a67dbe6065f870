package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) modelsDownloadCommand() *cobra.Command {
	var out string
	c := a.tableVerb("download URI", "Download the files that a models:/ or runs:/ URI names, each compared with its hash", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			found, err := server.Resolve(ctx, args[0])
			if err != nil {
				return err
			}
			if err := download(ctx, server, found, out); err != nil {
				return err
			}
			return a.answer(found, func(w io.Writer) error { return printDownload(w, found, out) })
		})
	c.Example = "  driftline models download models:/late_departure@champion --out model\n  driftline models download runs:/late-7/plots --out plots"
	c.Flags().StringVarP(&out, "out", "o", ".", "the folder to write into; it is made if it does not exist")
	return c
}

func printDownload(w io.Writer, found *client.Resolved, out string) error {
	total := int64(0)
	for _, file := range found.Files {
		total += file.Size
	}
	_, err := fmt.Fprintf(w, "%d files, %d bytes of %s are in %s, and their hashes are right\n", len(found.Files), total, printable(found.Owner.String()), out)
	return err
}

// download writes the files under a folder. What a server says their names are cannot
// lead out of it: the folder is a root of its own, for links too.
func download(ctx context.Context, server *client.Client, found *client.Resolved, out string) (err error) {
	if err := os.MkdirAll(out, 0o777); err != nil {
		return driftline.Errorf(driftline.Invalid, "cannot make the folder %s: %w", out, err).WithHint("choose another with --out")
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return driftline.Errorf(driftline.Invalid, "cannot open the folder %s: %w", out, err).WithHint("choose another with --out")
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, file := range found.Files {
		if err := downloadFile(ctx, server, root, found, file); err != nil {
			return err
		}
	}
	return nil
}

// localName is the name of a file below what was asked for.
func localName(asked, file string) string {
	if inside, ok := strings.CutPrefix(file, asked+"/"); ok && asked != "" {
		return inside
	}
	if asked == file {
		return path.Base(file)
	}
	return file
}

func downloadFile(ctx context.Context, server *client.Client, root *os.Root, found *client.Resolved, file driftline.Artifact) (err error) {
	name := localName(found.Path, file.Path)
	content, err := server.ArtifactOf(ctx, found.Owner, file.Path)
	if err != nil {
		return err
	}
	defer content.Close()
	if folder := path.Dir(name); folder != "." {
		if err := root.MkdirAll(folder, 0o777); err != nil {
			return cannotWriteFile(name, err)
		}
	}
	part := name + ".part"
	f, err := root.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
	if err != nil {
		return cannotWriteFile(name, err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), content)
	if err = errors.Join(err, f.Close()); err == nil && hex.EncodeToString(sum.Sum(nil)) != file.SHA256 {
		err = driftline.Errorf(driftline.DataLoss, "%s does not have the hash that the server says", file.Path).WithHint("download it again")
	}
	if err != nil {
		return errors.Join(err, root.Remove(part))
	}
	if err := root.Rename(part, name); err != nil {
		return cannotWriteFile(name, err)
	}
	return nil
}

func cannotWriteFile(name string, err error) error {
	return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", name, err).WithHint("choose another folder with --out")
}
