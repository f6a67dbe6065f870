package notify

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"

	"github.com/driftline/driftline"
)

// logger writes to the server's log.
type logger struct{ log *slog.Logger }

func (l logger) deliver(ctx context.Context, n *driftline.Notice) error {
	level := slog.LevelWarn
	if h := n.Happening; h != nil {
		if !h.Trouble() {
			level = slog.LevelInfo
		}
		l.log.Log(ctx, level, oneLine(title(n)), "notice", n.ID, "ref", oneLine(h.Ref.String()), "summary", oneLine(h.Text))
		return nil
	}
	if n.Kind == driftline.AlertResolved {
		level = slog.LevelInfo
	}
	l.log.Log(ctx, level, title(n), "notice", n.ID, "alert", string(n.Alert.ID), "monitor", string(n.Alert.Monitor), "summary", oneLine(n.Alert.Summary))
	return nil
}

// file appends to a file, which another program may read or rotate.
type file struct {
	path string
	mu   sync.Mutex // one line at a time
}

func (f *file) deliver(_ context.Context, n *driftline.Notice) (err error) {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	to, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return cannotWrite(err)
	}
	_, err = to.Write(append(line, '\n'))
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return cannotWrite(err)
	}
	return nil
}

// cannotWrite leaves out the path: it is the server's.
func cannotWrite(err error) error {
	var about *os.PathError
	if errors.As(err, &about) {
		err = about.Err
	}
	return driftline.Errorf(driftline.Unavailable, "the channel's file cannot be written: %w", err)
}
