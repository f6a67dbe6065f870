package driftline_test

import (
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

func TestUnknown(t *testing.T) {
	views := []string{"weather", "planes", "carrier_performance"}
	for _, test := range []struct{ name, want string }{
		{"wether", `view "wether" does not exist; did you mean "weather"?`},
		{"Weather", `view "Weather" does not exist; did you mean "weather"?`},
		{"wetaher", `view "wetaher" does not exist; did you mean "weather"?`},
		{"plane", `view "plane" does not exist; did you mean "planes"?`},
		{"carrier_perf", `view "carrier_perf" does not exist; known: carrier_performance, planes, weather`},
		{"x", `view "x" does not exist; known: carrier_performance, planes, weather`},
		{"wéäthér", `view "wéäthér" does not exist; did you mean "weather"?`},
	} {
		if got := driftline.Unknown("view", test.name, views).Error(); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A name of megabytes from the wire costs no more than reading it.
func TestUnknownOfAHostileName(t *testing.T) {
	name := strings.Repeat("x", 64<<20)
	message := driftline.Unknown("view", name, []string{"weather"}).Error()
	if len(message) > 200 || !strings.Contains(message, "known: weather") {
		t.Errorf("%d bytes: %.200s", len(message), message)
	}
}
