package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// TestADataFolderMayHaveAnyName writes, merges, joins and reads in folders whose names
// mean something to somebody on the way: to URLs, to globs, to SQL.
func TestADataFolderMayHaveAnyName(t *testing.T) {
	for _, name := range []string{"a b", "a#b", "a?b", "a%20b", "50%", "söt 🌧", "it's", "[a]*", "{b,c}", `"q"`, "-x", "a:b", `back\slash`} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			env := testenv.New(t)
			env.Dir = filepath.Join(env.Dir, name)
			env.Reopen()
			env.Apply(weather)
			for range 5 { // enough for files to be merged
				env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
				if _, err := env.Engine.Compact(ctx, "features.weather"); err != nil {
					t.Fatal(err)
				}
			}
			req := weatherRequest()
			req.SaveAs = "saved"
			req.Spine = &driftline.SpineSource{SQL: `SELECT origin, event_timestamp FROM features.weather`}
			d := save(t, env, req, driftline.Batches{})
			env.Reopen()
			if n := countRows(t, env.Engine, "weather"); n != 5 {
				t.Errorf("%d rows, want 5", n)
			}
			rebuilds(t, env, d)
			if done, err := env.Engine.Scrub(ctx, "features.weather"); err != nil || done.Verified == 0 || len(done.Damaged) > 0 {
				t.Errorf("scrub %+v, %v", done, err)
			}
			if _, err := os.Stat(filepath.Join(env.Dir, "warehouse", "features", "weather", "metadata", "version-hint.text")); err != nil {
				t.Errorf("the table is elsewhere: %v", err)
			}
		})
	}
}
