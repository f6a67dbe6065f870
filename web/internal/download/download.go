// Package download sends the bytes of artifacts: for our own API and for MLflow's.
package download

import (
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/blobs"
)

// Send sends bytes, or the ranges of them that were asked for, as a download, never as a
// page: whoever logs a run could otherwise run a script in this origin. It closes content.
// If content turns out to be damaged when a part of it was sent, note is told why, and
// the connection is cut: that is the only way left to say it.
func Send(w http.ResponseWriter, r *http.Request, content *blobs.Reader, kept driftline.Artifact, note func(error)) {
	defer content.Close()
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", `attachment; filename="`+name(kept.Path)+`"`)
	head.Set("ETag", `"`+kept.SHA256+`"`)
	head.Set("X-Content-SHA256", kept.SHA256)
	head.Set("Content-Security-Policy", "sandbox")
	watched := &watchedReader{Reader: content}
	http.ServeContent(pieceWriter{w}, r, "", time.Time{}, watched)
	if watched.err != nil {
		note(watched.err)
		panic(http.ErrAbortHandler)
	}
}

// watchedReader remembers why a read failed, which http.ServeContent keeps to itself.
type watchedReader struct {
	*blobs.Reader
	err error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.watch(err)
	return n, err
}

func (w *watchedReader) watch(err error) {
	if err != nil && driftline.CodeOf(err) == driftline.DataLoss {
		w.err = err
	}
}

// pieceWriter takes whole pieces of a content from its reader, where http.ServeContent would copy 32 KiB at
// a time: a gigabyte is then a thousand writes to the socket, and not thirty thousand with a copy before each.
type pieceWriter struct{ http.ResponseWriter }

// ReadFrom is what io.CopyN asks for, whose source is the reader up to where a range ends.
func (w pieceWriter) ReadFrom(from io.Reader) (int64, error) {
	limited, ok := from.(*io.LimitedReader)
	if !ok {
		return io.Copy(w.ResponseWriter, from)
	}
	watched, ok := limited.R.(*watchedReader)
	if !ok {
		return io.Copy(w.ResponseWriter, from) // several ranges: their parts come through a pipe
	}
	n, err := watched.WriteN(w.ResponseWriter, limited.N)
	watched.watch(err)
	limited.N -= n
	return n, err
}

// name keeps what is safe inside a quoted header value.
func name(artifact string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '_'
		}
		return c
	}, path.Base(artifact))
}
