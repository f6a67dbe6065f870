package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/web/internal/plainjson"
)

// readOnlineRequest is [readJSON] of an onlineRequest. Bodies as programs write them are
// read by a decoder of their own, in a tenth of the time; whatever that does not know,
// all that is wrong included, is for encoding/json to read or to refuse.
func readOnlineRequest(r *http.Request) (onlineRequest, error) {
	if err := checkContentType(r); err != nil {
		return onlineRequest{}, err
	}
	buffer := buffers.Get().(*[]byte)
	defer recycle(buffer)
	body := bytes.NewBuffer((*buffer)[:0])
	_, err := body.ReadFrom(r.Body)
	*buffer = body.Bytes()
	if err != nil {
		return decodeJSON[onlineRequest](io.MultiReader(bytes.NewReader(body.Bytes()), failing{err}))
	}
	if request, ok := parseOnlineRequest(body.String()); ok {
		return request, nil
	}
	return decodeJSON[onlineRequest](bytes.NewReader(body.Bytes()))
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// parseOnlineRequest reads a body that has each field at most once, under its exact name
// and of its type, and text in ASCII without escapes. It is false for all others.
func parseOnlineRequest(text string) (request onlineRequest, ok bool) {
	p := plainjson.New(text)
	seen := map[string]bool{}
	for more := p.Open('{', '}'); more; more = p.Next('}') {
		name := p.Name()
		if seen[name] {
			return request, false
		}
		seen[name] = true
		switch name {
		case "entities":
			request.Entities = readColumns(p)
		case "features":
			request.Features = p.Texts()
		case "feature_service":
			request.FeatureService = driftline.ServiceName(p.Text())
		case "full_feature_names":
			request.FullFeatureNames = p.Bool()
		case "include_feature_view_version_metadata":
			request.VersionMetadata = p.Bool()
		case "at":
			request.At = p.Text()
		default:
			return request, false
		}
	}
	return request, p.Ended()
}

// readColumns reads an object of lists of equal length.
func readColumns(p *plainjson.Reader) jsonColumns {
	columns := jsonColumns{values: map[string][]any{}}
	for more := p.Open('{', '}'); more; more = p.Next('}') {
		name := p.Name()
		values := make([]any, 0, p.Elements())
		for more := p.Open('[', ']'); more; more = p.Next(']') {
			values = append(values, readValue(p))
		}
		_, twice := columns.values[name]
		p.Refuse(twice)
		columns.names, columns.values[name] = append(columns.names, name), values
	}
	p.Refuse(columns.checkLengths() != nil)
	return columns
}

// readValue reads a value that is neither list nor object.
func readValue(p *plainjson.Reader) any {
	switch c := p.Peek(); {
	case c == '"':
		return p.Text()
	case c == '-', '0' <= c && c <= '9':
		return json.Number(p.Number())
	case p.Word("null"):
		return nil
	}
	return p.Bool()
}
