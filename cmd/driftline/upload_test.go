package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// A file in parts arrives as it is; an upload that was broken off is gone on with, and with
// another run or file it is refused.
func TestAFileIsUploadedInPartsAndGoneOnWith(t *testing.T) {
	address := startServer(t)
	s := &shell{environ: []string{"DRIFTLINE_SERVER=" + address}}
	server := dial(t, address)
	run, err := server.CreateRun(t.Context(), driftline.RunSpec{Experiment: "late"})
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("weights"), (uploadPartBytes+1<<20)/7)
	file := filepath.Join(t.TempDir(), "model.bin")
	if err := os.WriteFile(file, content, 0o666); err != nil {
		t.Fatal(err)
	}
	begun, err := server.BeginUpload(t.Context(), driftline.UploadSpec{Owner: driftline.RunRef(run.ID), Path: "model.bin"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.PutPart(t.Context(), begun.ID, 1, bytes.NewReader(content[:uploadPartBytes])); err != nil {
		t.Fatal(err)
	}
	if _, err := server.PutPart(t.Context(), begun.ID, 2, strings.NewReader("not what the file has")); err != nil {
		t.Fatal(err)
	}
	if out := s.run([]string{"runs", "upload", string(run.ID), file, "--resume", begun.ID, "--as", "other.bin"}); !strings.Contains(out, "not of other.bin") {
		t.Error(out)
	}
	if out := s.run([]string{"runs", "upload", string(run.ID), file, "--resume", begun.ID}); !strings.HasPrefix(out, string(run.ID)+" has model.bin: ") {
		t.Fatal(out)
	}
	got, err := server.Artifact(t.Context(), run.ID, "model.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if read, err := io.ReadAll(got); err != nil || !bytes.Equal(read, content) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(read), err, len(content))
	}
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if out := s.run([]string{"runs", "upload", string(run.ID), file, "--as", "logs/empty"}); !strings.Contains(out, "logs/empty: 0 bytes") {
		t.Error(out)
	}
	for _, bad := range [][]string{
		{"runs", "upload", string(run.ID), filepath.Join(t.TempDir(), "nothing")},
		{"runs", "upload", string(run.ID), t.TempDir()},
		{"runs", "upload", "nobody-1", file},
		{"runs", "upload", string(run.ID), file, "--as", "../etc/passwd"},
		{"runs", "upload", string(run.ID), file, "--resume", "../1"},
	} {
		if out := s.run(bad); !strings.Contains(out, "exit 1") || !strings.Contains(out, "error: ") {
			t.Errorf("%q: %s", bad, out)
		}
	}
}
