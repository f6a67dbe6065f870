package web_test

import (
	"net/http/httptest"
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

// A client that tries again by itself is told when, where trying again can help.
func TestExhaustedSaysWhenToAskAgain(t *testing.T) {
	for _, code := range driftline.Codes {
		w := httptest.NewRecorder()
		web.WriteError(w, httptest.NewRequest("POST", "/api/v1/sql", nil), driftline.Errorf(code, "no"))
		if after := w.Header().Get("Retry-After"); (after == "1") != (code == driftline.Exhausted) {
			t.Errorf("%s: status %d, Retry-After %q", code, w.Code, after)
		}
	}
}
