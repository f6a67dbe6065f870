package engine

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/driftline/driftline"
)

// unfit says why a version cannot answer: it is gone, or its files are not those that were
// registered; "" if it can, as far as that can be told here. Files that are kept elsewhere nobody can check.
// An error says that it cannot be told now.
func (e *Engine) unfit(ctx context.Context, model driftline.ModelName, version int) (string, error) {
	v, err := e.registry.ModelVersion(model, strconv.Itoa(version))
	switch {
	case driftline.CodeOf(err) == driftline.NotFound:
		return fmt.Sprintf("version %d was deleted", version), nil
	case err != nil:
		return "", err
	case v.Status != driftline.ModelReady:
		return "", nil
	}
	files := v.Files
	if len(files) == 0 && v.Artifact.SHA256 != "" {
		files = []driftline.Artifact{v.Artifact}
	}
	for _, file := range files {
		err := e.readThrough(ctx, file)
		switch driftline.CodeOf(err) {
		case "":
		case driftline.DataLoss, driftline.NotFound:
			return shownError(err), nil
		default:
			return "", err
		}
	}
	return "", nil
}

// readThrough reads a file, so that each of its bytes is compared with its checksum.
func (e *Engine) readThrough(ctx context.Context, file driftline.Artifact) error {
	content, err := e.openContent(ctx, file)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content)
	return artifactError(file, err)
}
