package replay

import (
	"testing"
	"time"

	"github.com/driftline/driftline"
)

func TestTimePassesOnlyWhenItIsMoved(t *testing.T) {
	april := time.Date(2013, 4, 1, 0, 0, 0, 0, time.UTC)
	c := At(april)
	c.Advance(time.Hour)
	if err := c.AdvanceTo(april.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Now(), april.AddDate(0, 0, 1); !got.Equal(want) || c.Uptime() != 24*time.Hour {
		t.Errorf("it is %s after %s, want %s after 24h", got, c.Uptime(), want)
	}
	if err := c.AdvanceTo(april); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("going back: %v", err)
	}
	c.Set(april)
	if got := c.Now(); !got.Equal(april) || c.Uptime() != 24*time.Hour {
		t.Errorf("set back it is %s after %s, want %s after 24h", got, c.Uptime(), april)
	}
}
