package offline_test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// dataFiles are the paths of the files in all data folders under dir.
func dataFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*", "data", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func wantFiles(t *testing.T, dir string, want int) {
	t.Helper()
	if paths := dataFiles(t, dir); len(paths) != want {
		t.Errorf("data folder has %v, want %d files", paths, want)
	}
}

// allFiles are the paths of all files under dir.
func allFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// history makes a table with three commits and returns what each snapshot reads as.
func history(t *testing.T, dir string) []string {
	t.Helper()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	for _, rows := range []string{
		`[{"airport":"JFK","event_timestamp":"2013-01-01T02:00:00Z","temp":2},{"airport":"EWR","event_timestamp":"2013-01-01T02:00:00Z","temp":-3}]`,
		`[{"airport":"LGA","event_timestamp":"2013-01-02T00:00:00Z","temp":5}]`,
		`[{"airport":"JFK","event_timestamp":"2013-01-03T00:00:00Z","temp":null}]`,
	} {
		if _, err := s.Append(t.Context(), weather, rowsOf(t, weatherSchema, rows), offline.Order{Keys: []string{"airport"}}, map[string]string{"n": rows}); err != nil {
			t.Fatal(err)
		}
	}
	said, err := tell(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// tell opens the store anew and returns all that it says: the rows and summary of each snapshot.
func tell(t *testing.T, dir string) ([]string, error) {
	s, err := offline.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	snapshots, err := s.Snapshots(t.Context(), weather)
	if err != nil {
		return nil, err
	}
	var said []string
	for _, snapshot := range snapshots {
		text, err := readText(s, snapshot, nil)
		if err != nil {
			return nil, err
		}
		said = append(said, snapshot.Summary["n"]+"\n"+text+"\n"+snapshot.Time.String())
	}
	return said, nil
}

func TestEveryFlippedBitOfADataFileIsDetected(t *testing.T) {
	dir := t.TempDir()
	history(t, dir)
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		paths := dataFiles(t, dir)
		path := paths[random.IntN(len(paths))]
		undo := flip(t, path, random)
		_, err := tell(t, dir)
		hash := strings.TrimSuffix(filepath.Base(path), ".parquet")
		if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), "file "+hash+" of table features.weather is damaged") {
			t.Fatalf("got %v, want DataLoss naming table and file", err)
		}
		if strings.Contains(err.Error(), dir) {
			t.Fatalf("the error shows a path: %v", err)
		}
		undo()
	}
	if _, err := tell(t, dir); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFlippedBitOfMetadataIsDetectedOrHarmless(t *testing.T) {
	dir := t.TempDir()
	want := history(t, dir)
	random := rand.New(rand.NewPCG(3, 4))
	detected := 0
	for range 500 {
		paths := metadataFiles(t, dir)
		path := paths[random.IntN(len(paths))]
		undo := flip(t, path, random)
		if wantSameOrDataLoss(t, dir, filepath.Base(path)+" flipped", want) {
			detected++
		}
		undo()
	}
	if detected == 0 {
		t.Error("no flip was detected")
	}
}

func TestEveryTruncatedOrMissingFileIsDetectedOrHarmless(t *testing.T) {
	dir := t.TempDir()
	want := history(t, dir)
	for _, path := range allFiles(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		isData := filepath.Base(filepath.Dir(path)) == "data"
		for _, size := range []int{0, 1, len(content) / 2, len(content) - 1} {
			if err := os.WriteFile(path, content[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			if !wantSameOrDataLoss(t, dir, filepath.Base(path)+" truncated", want) && isData {
				t.Errorf("a truncated data file was not detected")
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if !wantSameOrDataLoss(t, dir, filepath.Base(path)+" removed", want) && isData {
			t.Errorf("a missing data file was not detected")
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// wantSameOrDataLoss fails the test if the store in dir silently says something
// else than want, and reports whether it said DataLoss.
func wantSameOrDataLoss(t *testing.T, dir, what string, want []string) (detected bool) {
	t.Helper()
	got, err := tell(t, dir)
	switch {
	case err == nil && strings.Join(got, "\n") == strings.Join(want, "\n"):
		return false
	case err == nil:
		t.Errorf("%s: silently reads\n%s", what, strings.Join(got, "\n"))
	case driftline.CodeOf(err) != driftline.DataLoss:
		t.Errorf("%s: got %v (%v), want DataLoss", what, err, driftline.CodeOf(err))
	}
	return true
}

func metadataFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	for _, path := range allFiles(t, dir) {
		if filepath.Base(filepath.Dir(path)) == "metadata" {
			paths = append(paths, path)
		}
	}
	return paths
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, random *rand.Rand) (undo func()) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at, bit := random.IntN(len(content)), byte(1)<<random.IntN(8)
	write := func() {
		content[at] ^= bit
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	return write
}
