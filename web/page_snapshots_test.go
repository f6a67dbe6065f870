package web_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/web"
)

// grow writes rows on three days, tags the first state and makes a dataset of the last.
func (s *site) grow(t testing.TB) []driftline.Snapshot {
	t.Helper()
	for day := range 3 {
		s.Clock.Set(time.Date(2013, 2, 1+day, 16, 0, 0, 0, time.UTC))
		for range day + 1 {
			s.mustAsk(t, "POST", "/push", observations)
		}
		s.mustAsk(t, "POST", "/api/v1/tables/features.weather/compact", "{}")
	}
	s.save(t)
	snapshots := decode[struct{ Snapshots []driftline.Snapshot }](t,
		s.mustAsk(t, "GET", "/api/v1/tables/features.weather/snapshots", "")).Snapshots
	s.mustAsk(t, "PUT", "/api/v1/tables/features.weather/tags/first_day", fmt.Sprintf(`{"snapshot": %d}`, snapshots[0].ID))
	return snapshots
}

func (s *site) viewPage(t testing.TB) string {
	t.Helper()
	return s.mustAsk(t, "GET", "/views/weather", "", "Accept: text/html")
}

func TestTheSnapshotsOfAView(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/apply", definitions)
	snapshots := s.grow(t)
	page := s.viewPage(t)
	oldest, newest := snapshots[0], snapshots[len(snapshots)-1]
	at := func(want string) int {
		t.Helper()
		i := strings.Index(page, want)
		if i < 0 {
			t.Fatalf("the page does not show %s:\n%s", want, page)
		}
		return i
	}
	row := func(s driftline.Snapshot) int { return at(fmt.Sprintf(`@%d">%[1]d</a>`, s.ID)) }
	if row(newest) > row(oldest) {
		t.Error("the newest snapshot is not the first")
	}
	at(`<td>flush</td>`)
	at(`<span class="pointer">first_day</span>`)
	at(`href="/datasets/late/1">dataset/late@1</a>`)
	at(fmt.Sprintf(`aria-label="Rows over time: at most %d"`, newest.Rows))
	at("2013-02-01 16:00")
	if strings.Contains(page, "ingest log") || strings.Contains(page, "damaged") {
		t.Errorf("all is in files and well, and the page says otherwise:\n%s", page)
	}
}

// Rows that are in the log only are rows: the page may not say that there are none.
func TestAViewWhoseRowsAreInTheLog(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	page := s.viewPage(t)
	for _, want := range []string{`<dt>Rows</dt><dd>4</dd>`, "4 rows are in the ingest log", "Histogram of temp"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(page, "has no rows yet") {
		t.Error("the page says that there are no rows")
	}
}

func TestAPageNamesDamagedFiles(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/apply", definitions)
	s.grow(t)
	files, err := filepath.Glob(filepath.Join(s.Dir, "warehouse", "features", "weather", "data", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(files[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustAsk(t, "POST", "/api/v1/tables/features.weather/scrub", "{}")
	hash := strings.TrimSuffix(filepath.Base(files[0]), ".parquet")
	page := s.viewPage(t)
	for _, want := range []string{"1 data file is damaged", "file/features.weather@" + hash, "driftline table scrub features.weather"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
}

func TestAPageOfAViewInQuarantine(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/apply", definitions)
	s.grow(t)
	if err := s.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	metadata, err := filepath.Glob(filepath.Join(s.Dir, "warehouse", "features", "weather", "metadata", "*.metadata.json"))
	if err != nil || len(metadata) == 0 {
		t.Fatalf("no metadata: %v", err)
	}
	for _, path := range metadata {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Reopen()
	s.server = web.New(s.Engine, nil)
	page := s.viewPage(t)
	for _, want := range []string{"This view is not served", "from a backup", "features.weather"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "has no rows yet") || strings.Contains(page, s.Dir) {
		t.Errorf("the page misleads or tells a path:\n%s", page)
	}
	if home := s.mustAsk(t, "GET", "/", "", "Accept: text/html"); !strings.Contains(home, "Not served") {
		t.Errorf("the catalogue does not say that the view is not served:\n%s", home)
	}
}
