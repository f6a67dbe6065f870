package mlflow

import (
	"encoding/base64"
	"encoding/json"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// A page token is the base64 of {"offset":N}, as MLflow's own. Clients treat it as opaque.
type pageToken struct {
	Offset int `json:"offset"`
}

// offsetOf returns where a page begins: at 0 without a token.
func offsetOf(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	text, err := base64.StdEncoding.DecodeString(token)
	var at pageToken
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil || at.Offset < 0 {
		return 0, driftline.Errorf(driftline.Invalid, "Invalid page token: %q", clip(token)).
			WithHint("pass on next_page_token of the answer before, or leave it out")
	}
	return at.Offset, nil
}

// tokenAt returns the token of the page that begins at offset.
func tokenAt(offset int) string {
	text, _ := json.Marshal(pageToken{Offset: offset}) // of a number, which never fails
	return base64.StdEncoding.EncodeToString(text)
}

// nextToken returns the token of the page after the one asked for, and "" if there is none.
func nextToken(asked registry.Search, more bool) string {
	if !more {
		return ""
	}
	return tokenAt(asked.Offset + asked.Limit)
}

// mostResults returns how many results a page has: asked, standard if it is nil.
func mostResults(asked *integer, standard, most int) (int, error) {
	switch {
	case asked == nil:
		return standard, nil
	case *asked < 1 || *asked > integer(most):
		return 0, driftline.Errorf(driftline.Invalid,
			"Invalid value %d for parameter 'max_results' supplied: It must be between 1 and %d", *asked, most)
	}
	return int(*asked), nil
}
