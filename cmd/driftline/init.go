package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/driftline/driftline"
	"github.com/spf13/cobra"
)

//go:embed example
var example embed.FS

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "init DIR",
		Short:   "Write a small example: definitions, rows, and what to do with them",
		Example: "  driftline init example && driftline apply example/definitions.yaml",
		Args:    exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := writeExample(args[0])
			if err != nil {
				return err
			}
			return a.answer(map[string]any{"files": files}, func(w io.Writer) error {
				for _, file := range files {
					fmt.Fprintf(w, "wrote %s\n", file)
				}
				_, err := fmt.Fprintf(w, "Next: driftline apply %s\n", filepath.Join(args[0], "definitions.yaml"))
				return err
			})
		},
	}
}

// writeExample copies the example into dir. It never replaces a file: if one is
// in the way, nothing is written.
func writeExample(dir string) ([]string, error) {
	entries, err := fs.ReadDir(example, "example")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		target := filepath.Join(dir, entry.Name())
		if _, err := os.Lstat(target); err == nil {
			return nil, driftline.Errorf(driftline.AlreadyExists, "%s exists already", target).WithHint("choose another folder")
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, cannotWrite(dir, err)
	}
	var files []string
	for _, entry := range entries {
		content, err := fs.ReadFile(example, "example/"+entry.Name())
		if err != nil {
			return nil, err
		}
		target := filepath.Join(dir, entry.Name())
		if err := os.WriteFile(target, content, 0o666); err != nil {
			return nil, cannotWrite(target, err)
		}
		files = append(files, target)
	}
	return files, nil
}

func cannotWrite(path string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", path, err).WithHint("choose a folder that you may write to")
}
