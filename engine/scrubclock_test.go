package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAServerThatIsRestartedOftenScrubs restarts the server before each week is over.
func TestAServerThatIsRestartedOftenScrubs(t *testing.T) {
	env := newWeather(t)
	pieces(env, 1)
	maintain := func() int {
		t.Helper()
		env.Reopen()
		if err := env.Engine.MaintainAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		return len(env.Engine.DamagedFiles(context.Background()))
	}
	maintain()
	files, err := filepath.Glob(filepath.Join(env.Dir, "warehouse", "features", "weather", "data", "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	const days = 24 * time.Hour
	for _, step := range []struct {
		wait    time.Duration
		damaged int
	}{{4 * days, 0}, {4 * days, 1}, {4 * days, 0}, {4 * days, 1}} {
		env.Clock.Set(env.Clock.Now().Add(step.wait))
		if got := maintain(); got != step.damaged {
			t.Errorf("at %s: %d files were found damaged, want %d", env.Clock.Now(), got, step.damaged)
		}
	}
}
