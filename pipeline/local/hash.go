package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/driftline/driftline"
)

// hashOf is a hash of the content of a file, or of the names and contents of all that is in a
// folder. A link counts as what it points at if it is named itself, and as its target's name in a folder.
func hashOf(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	if !info.IsDir() {
		return hashOfFile(ctx, path)
	}
	sum := sha256.New()
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == stateFolder {
				return filepath.SkipDir
			}
			return nil
		}
		inside, err := filepath.Rel(path, name)
		if err != nil {
			return err
		}
		content := ""
		switch {
		case entry.Type()&fs.ModeSymlink != 0:
			content, err = os.Readlink(name)
		case entry.Type().IsRegular():
			content, err = hashOfFile(ctx, name)
		}
		fmt.Fprintf(sum, "%d %s %d %s\n", len(inside), filepath.ToSlash(inside), len(content), content)
		return err
	})
	if err != nil {
		return "", unreadable(path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func hashOfFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, reader{ctx, f}); err != nil {
		return "", unreadable(path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// reader stops when its context ends.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func unreadable(path string, err error) error {
	return driftline.Errorf(driftline.NotFound, "%s cannot be read: %w", path, err)
}

// environment is what a list of NAME=value says, the last of each.
func environment(list []string) map[string]string {
	set := map[string]string{}
	for _, one := range list {
		if name, value, ok := strings.Cut(one, "="); ok {
			set[name] = value
		}
	}
	return set
}
