package engine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// startRun starts run e-1.
func startRun(t *testing.T, env *testenv.Env) driftline.Ref {
	t.Helper()
	run, err := env.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	return run.Ref()
}

func putArtifact(t *testing.T, env *testenv.Env, owner driftline.Ref, path, content string) driftline.Artifact {
	t.Helper()
	a, err := env.Engine.PutArtifactTo(context.Background(), owner, path, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func readArtifact(t *testing.T, env *testenv.Env, owner driftline.Ref, path string) string {
	t.Helper()
	r, _, err := env.Engine.OpenArtifactOf(context.Background(), owner, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func contents(t *testing.T, env *testenv.Env) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(env.Dir, "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func collect(t *testing.T, env *testenv.Env) driftline.ArtifactCollection {
	t.Helper()
	done, err := env.Engine.CollectArtifacts(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// A version keeps the files that it was registered from, whatever becomes of the run's.
// Bytes go when nobody has them any more, and not before.
func TestBytesGoWhenNobodyNeedsThem(t *testing.T) {
	env := testenv.New(t)
	reg := env.Engine.Registry()
	run := startRun(t, env)
	putArtifact(t, env, run, "model/MLmodel", "first")
	putArtifact(t, env, run, "model/data.bin", strings.Repeat("weights", 400_000)) // more than one piece
	putArtifact(t, env, run, "notes.txt", "first")                                 // the same bytes as MLmodel
	putArtifact(t, env, run, "scratch", "scratch")
	if _, err := reg.RegisterModel(driftline.ModelSpec{Model: "late", Source: "runs:/e-1/model"}); err != nil {
		t.Fatal(err)
	}
	version := driftline.ModelRef("late", 1)
	if n := contents(t, env); n != 3 {
		t.Fatalf("%d contents, want 3", n)
	}
	if done := collect(t, env); done.Contents != 0 {
		t.Fatalf("collected %+v of what is needed", done)
	}

	putArtifact(t, env, run, "model/MLmodel", "second")
	if got := readArtifact(t, env, version, "MLmodel"); got != "first" {
		t.Errorf("the version's file is %q, want that of its registration", got)
	}
	if _, err := env.Engine.PutArtifactTo(context.Background(), version, "MLmodel", strings.NewReader("x")); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("writing to a version: %v", err)
	}
	for _, path := range []string{"scratch", "model", "notes.txt"} {
		if _, err := env.Engine.RemoveArtifacts(run, path, "ada", "cleaning"); err != nil {
			t.Fatal(err)
		}
	}
	if done := collect(t, env); done.Contents != 2 || done.Bytes != int64(len("scratch")+len("second")) {
		t.Errorf("collected %+v, want scratch and second", done)
	}
	if got := readArtifact(t, env, version, "data.bin"); len(got) != 2_800_000 {
		t.Errorf("the version's file has %d bytes", len(got))
	}
	if err := reg.DeleteModelVersion("late", "1", "", ""); err != nil {
		t.Fatal(err)
	}
	if done := collect(t, env); done.Contents != 2 {
		t.Errorf("collected %+v, want both files of the version", done)
	}
	if n := contents(t, env); n != 0 {
		t.Errorf("%d contents are left", n)
	}
	if _, err := env.Engine.CollectArtifacts(context.Background(), -time.Second); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("negative grace: %v", err)
	}
}

// Collections and uploads of the same bytes at once: what was logged is there.
func TestCollectingLosesNothingThatIsBeingUploaded(t *testing.T) {
	env := testenv.New(t)
	run := startRun(t, env)
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				collect(t, env)
			}
		}
	})
	for i := range 60 {
		content := strings.Repeat("x", i%3)
		putArtifact(t, env, run, "file", content)
		if got := readArtifact(t, env, run, "file"); got != content {
			t.Fatalf("round %d: %q came back as %q", i, content, got)
		}
		if i%2 == 1 {
			if _, err := env.Engine.RemoveArtifacts(run, "file", "", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	group.Wait()
}

func TestAnUploadInPartsIsGoneOnWithAfterARestart(t *testing.T) {
	env := testenv.New(t)
	ctx := context.Background()
	run := startRun(t, env)
	parts := []string{strings.Repeat("a", 1<<20), strings.Repeat("b", 1<<20+1), "the end"}
	whole := strings.Join(parts, "")
	sum := sha256.Sum256([]byte(whole))
	upload, err := env.Engine.BeginUpload(ctx, driftline.UploadSpec{Owner: run, Path: "model/large.bin", SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	put := func(number int, content string) driftline.UploadPart {
		t.Helper()
		part, err := env.Engine.PutPart(ctx, upload.ID, number, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return part
	}
	put(30, parts[2]) // in any order, and with gaps
	put(10, "wrong")
	put(10, parts[0]) // again
	_, err = env.Engine.PutPart(ctx, upload.ID, 20, io.MultiReader(strings.NewReader("half"), brokenReader{}))
	if err == nil {
		t.Fatal("a part that broke off was accepted")
	}
	env.Reopen()
	found, err := env.Engine.Upload(upload.ID)
	if err != nil || len(found.Parts) != 2 || found.Parts[0].Number != 10 || found.Parts[0].Size != 1<<20 {
		t.Fatalf("after the restart there is %+v, %v", found, err)
	}
	if _, err := env.Engine.CompleteUpload(ctx, upload.ID, nil); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("completing without a part: %v, want a conflict of hashes", err)
	}
	put(20, parts[1])
	if _, err := env.Engine.CompleteUpload(ctx, upload.ID, []driftline.UploadPart{{Number: 10}, {Number: 20}}); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("completing with another list: %v", err)
	}
	for range 2 { // the answer may have been lost
		a, err := env.Engine.CompleteUpload(ctx, upload.ID, []driftline.UploadPart{{Number: 30}, {Number: 10}, {Number: 20}})
		if err != nil || a.Size != int64(len(whole)) || a.Path != "model/large.bin" {
			t.Fatalf("completed as %+v, %v", a, err)
		}
	}
	if got := readArtifact(t, env, run, "model/large.bin"); got != whole {
		t.Errorf("%d bytes came back", len(got))
	}
	if _, err := env.Engine.PutPart(ctx, upload.ID, 40, strings.NewReader("more")); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("a part after the end: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(env.Dir, "uploads", "*", "*")); len(files) > 0 {
		t.Errorf("parts are left: %v", files)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestUploadsEndWhenNobodyGoesOnWithThem(t *testing.T) {
	env := testenv.New(t)
	ctx := context.Background()
	run := startRun(t, env)
	begin := func() string {
		t.Helper()
		upload, err := env.Engine.BeginUpload(ctx, driftline.UploadSpec{Owner: run, Path: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.PutPart(ctx, upload.ID, 1, bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		return upload.ID
	}
	aborted, old, young := begin(), begin(), begin()
	if err := env.Engine.AbortUpload(aborted); err != nil {
		t.Fatal(err)
	}
	env.Clock.Set(env.Clock.Now().Add(2 * time.Hour))
	if _, err := env.Engine.PutPart(ctx, young, 2, bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	done, err := env.Engine.CollectArtifacts(ctx, time.Hour)
	if err != nil || done.Uploads != 1 {
		t.Fatalf("collected %+v, %v, want one upload", done, err)
	}
	for id, want := range map[string]driftline.Code{aborted: driftline.NotFound, old: driftline.NotFound, young: "",
		"../../etc": driftline.NotFound, "": driftline.NotFound, strings.Repeat("0", 32): driftline.NotFound} {
		if _, err := env.Engine.Upload(id); driftline.CodeOf(err) != want {
			t.Errorf("upload %q: %v", id, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(env.Dir, "uploads", "of-a-crash"), 0o700); err != nil {
		t.Fatal(err)
	}
	env.Reopen()
	folders, _ := os.ReadDir(filepath.Join(env.Dir, "uploads"))
	if len(folders) != 1 || folders[0].Name() != young {
		t.Errorf("folders of uploads are %v, want %s alone", folders, young)
	}
	for _, spec := range []driftline.UploadSpec{{Owner: run, Path: "../x"}, {Owner: driftline.RunRef("e-9"), Path: "x"}, {Path: "x"}, {Owner: driftline.ViewRef("v"), Path: "x"}} {
		if _, err := env.Engine.BeginUpload(ctx, spec); err == nil {
			t.Errorf("upload of %+v was accepted", spec)
		}
	}
	for _, number := range []int{0, -1, 10_001} {
		if _, err := env.Engine.PutPart(ctx, young, number, bytes.NewReader(nil)); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("part %d: %v", number, err)
		}
	}
}

// Contents that were stored before their pieces had checksums are read through once, and
// are found damaged as those with checksums are.
func TestContentsWithoutChecksumsOfTheirPiecesAreRead(t *testing.T) {
	env := testenv.New(t)
	run := startRun(t, env)
	content := strings.Repeat("weights", 400_000)
	a := putArtifact(t, env, run, "model.bin", content)
	env.Engine.LosePieces(t)
	for range 2 {
		if got := readArtifact(t, env, run, "model.bin"); got != content {
			t.Fatalf("%d bytes came back", len(got))
		}
	}
	damaged := []byte(content)
	damaged[2_000_000] ^= 1
	if err := os.WriteFile(filepath.Join(env.Dir, "artifacts", a.SHA256), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, err := env.Engine.OpenArtifactOf(context.Background(), run, "model.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); driftline.CodeOf(err) != driftline.DataLoss || n != 1<<20 {
		t.Errorf("%d bytes of a damaged content were read, %v", n, err)
	}
}

// A18: of a file that breaks off on its way, or is not the one that it is said to be, nothing is seen and nothing is left.
func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	env := testenv.New(t)
	run := startRun(t, env)
	half := io.MultiReader(strings.NewReader(strings.Repeat("w", 3<<20)), brokenReader{})
	if _, err := env.Engine.PutArtifactTo(context.Background(), run, "model/weights.bin", half); err == nil {
		t.Fatal("half a file was accepted")
	}
	if _, _, err := env.Engine.OpenArtifactOf(context.Background(), run, "model/weights.bin"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("half a file can be read: %v", err)
	}
	if _, err := env.Engine.Registry().RegisterModel(driftline.ModelSpec{Model: "late", Run: driftline.RunID(run.Name), Artifact: "model"}); err == nil {
		t.Error("a version was made of half a file")
	}
	if n := contents(t, env); n != 0 {
		t.Errorf("%d files are left", n)
	}
}
