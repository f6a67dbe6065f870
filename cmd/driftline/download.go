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
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/report"
	"github.com/driftline/driftline/storage/durable"
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

func (a *app) modelsCardCommand() *cobra.Command {
	return a.tableVerb("card MODEL[@VERSION]", "Write the card of a version as Markdown: data, features, metrics, checks, lineage, limits", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			name, version, _ := cutVersion(args[0])
			if version == "" {
				newest, err := server.Model(ctx, driftline.ModelName(name))
				if err != nil {
					return err
				}
				if len(newest.Versions) == 0 {
					return driftline.Errorf(driftline.NotFound, "model %q has no version yet", name).WithHint("register one first")
				}
				version = strconv.Itoa(newest.Versions[len(newest.Versions)-1].Version)
			}
			card, err := server.ModelCard(ctx, driftline.ModelName(name), version)
			if err != nil {
				return err
			}
			return a.answer(card, func(w io.Writer) error { return report.ModelCardMarkdown(w, card) })
		})
}

func (a *app) modelsExportCommand() *cobra.Command {
	var out string
	c := a.tableVerb("export MODEL@VERSION", "Write a version as a signed bundle that another server can import", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			name, version, one := cutVersion(args[0])
			if !one {
				return usagef("%q names no version; write MODEL@VERSION or MODEL@ALIAS", args[0])
			}
			if out == "" {
				return usagef("--out is missing: the file to write")
			}
			bundle, err := server.ExportModel(ctx, driftline.ModelName(name), version)
			if err != nil {
				return err
			}
			defer bundle.Close()
			size := int64(0)
			err = durable.WriteFile(out, func(w io.Writer) (err error) {
				size, err = io.Copy(w, bundle)
				return err
			})
			if err != nil {
				return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", out, err).WithHint("try again, or choose another file with --out")
			}
			return a.answer(map[string]any{"file": out, "bytes": size}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is in %s, %d bytes\n", printable(args[0]), out, size)
				return err
			})
		})
	c.Flags().StringVarP(&out, "out", "o", "", "the file to write, such as late.tar")
	return c
}

func (a *app) modelsImportCommand() *cobra.Command {
	var name, trust, by string
	c := a.tableVerb("import FILE", "Register what a bundle holds as the next version of its model", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			bundle, err := os.Open(args[0])
			if err != nil {
				return driftline.Errorf(driftline.NotFound, "cannot open %s: %w", args[0], err)
			}
			defer bundle.Close()
			v, err := server.ImportModel(ctx, driftline.ModelName(name), trust, by, bundle)
			if err != nil {
				return err
			}
			return a.answerVersion(v, nil, "is imported from "+printable(v.Imported.Ref.String()))
		})
	c.Long = "Register what a bundle holds as the next version of its model.\n" +
		"The bundle must be signed by this server, or by the key that --trust names; driftline models key shows a server's key."
	c.Flags().StringVar(&name, "name", "", "another name for the model")
	c.Flags().StringVar(&trust, "trust", "", "the key of the server that made the bundle: ed25519:…")
	c.Flags().StringVar(&by, "by", person(), "who imports it")
	return c
}

func (a *app) modelsKeyCommand() *cobra.Command {
	return a.tableVerb("key", "Show the key that this server signs bundles with", 0, func(ctx context.Context, server *client.Client, _ []string) error {
		key, err := server.SigningKey(ctx)
		if err != nil {
			return err
		}
		return a.answer(map[string]string{"key": key}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, key)
			return err
		})
	})
}
