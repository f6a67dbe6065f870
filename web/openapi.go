package web

import (
	_ "embed"
	"net/http"
)

// openAPI is kept by hand; a test compares its paths with the route table.
//
//go:embed openapi.json
var openAPI []byte

func getOpenAPI(w http.ResponseWriter, r *http.Request) error {
	sendJSON(w, http.StatusOK, openAPI)
	return nil
}
