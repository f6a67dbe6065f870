package web_test

import (
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/web"
)

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range driftline.Codes {
		if web.Statuses[code] < 400 {
			t.Errorf("code %s has status %d", code, web.Statuses[code])
		}
	}
}
