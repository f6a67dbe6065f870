package download_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/blobs"
	"github.com/driftline/driftline/web/internal/download"
)

// kept is a content of several pieces behind a server.
type kept struct {
	content []byte
	file    string
	url     string
	noted   chan error // why an answer broke off
}

func serve(t *testing.T) kept {
	t.Helper()
	k := kept{content: make([]byte, 2*blobs.PieceBytes+17), noted: make(chan error, 1)}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range k.content {
		k.content[i] = byte(random.Uint32())
	}
	folder := t.TempDir()
	store, err := blobs.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	blob, release, err := store.Put(context.Background(), bytes.NewReader(k.content))
	if err != nil {
		t.Fatal(err)
	}
	release()
	k.file = filepath.Join(folder, blob.SHA256)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := store.Open(r.Context(), blob)
		if err != nil {
			t.Error(err)
			return
		}
		download.Send(w, r, content, driftline.Artifact{Path: "big.bin", SHA256: blob.SHA256, Size: blob.Size}, func(err error) { k.noted <- err })
	}))
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

// ask returns the answer to a request for some ranges, or for all, and what was read of it.
func (k kept) ask(t *testing.T, ranges string) (*http.Response, []byte, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, k.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		request.Header.Set("Range", ranges)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return &http.Response{}, nil, err // cut before anything had left
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	return answer, read, err
}

func TestRangesAreTheirBytesWhateverPiecesTheyLieIn(t *testing.T) {
	k := serve(t)
	const piece = blobs.PieceBytes
	for ranges, want := range map[string][]byte{
		"":                        k.content,
		"bytes=0-":                k.content,
		"bytes=5-9":               k.content[5:10],
		"bytes=1048570-1048585":   k.content[piece-6 : piece+10],
		"bytes=1048576-2097151":   k.content[piece : 2*piece],
		"bytes=-20":               k.content[2*piece-3:],
		"bytes=2097168-999999999": k.content[2*piece+16:],
	} {
		if answer, got, err := k.ask(t, ranges); err != nil || answer.StatusCode >= 300 || !bytes.Equal(got, want) {
			t.Errorf("%q is answered with %d and %d bytes, %v; want %d", ranges, answer.StatusCode, len(got), err, len(want))
		}
	}
	if answer, _, _ := k.ask(t, "bytes=2097169-"); answer.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end is answered with %d", answer.StatusCode)
	}
}

func TestSeveralRangesAreSeveralParts(t *testing.T) {
	k := serve(t)
	answer, got, err := k.ask(t, "bytes=0-3,1048574-1048577")
	if err != nil {
		t.Fatal(err)
	}
	_, of, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(bytes.NewReader(got), of["boundary"])
	for _, want := range [][]byte{k.content[:4], k.content[1048574:1048578]} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a part is %x, %v; want %x", got, err, want)
		}
	}
}

// What is damaged in its midst breaks off before the damage, and is told.
func TestDamageBreaksADownloadOff(t *testing.T) {
	k := serve(t)
	damaged := bytes.Clone(k.content)
	damaged[blobs.PieceBytes+5] ^= 1
	if err := os.WriteFile(k.file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ranges := range []string{"", "bytes=1000-2000000", "bytes=0-3,1048578-1048599"} {
		_, got, err := k.ask(t, ranges)
		if err == nil {
			t.Errorf("%q: %d bytes came as if they were all", ranges, len(got))
		}
		if code := driftline.CodeOf(<-k.noted); code != driftline.DataLoss {
			t.Errorf("%q: what was noted is %s", ranges, code)
		}
		if ranges == "" && !bytes.Equal(got, k.content[:blobs.PieceBytes]) {
			t.Errorf("%d bytes came, want the sound piece before", len(got))
		}
	}
}
