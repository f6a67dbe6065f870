package web

import (
	"reflect"
	"strings"
	"testing"
)

// plainBodies are bodies as programs write them.
var plainBodies = []string{
	`{"entities": {"airport": ["JFK", "EWR", null]}, "features": ["weather:temp", "weather:wind"]}`,
	`{"feature_service":"delay_model","entities":{"id":[1,-2,3.5,1e3,0,-0.5E-2],"b":[true,false,null,"","x","y"]},"full_feature_names":true}`,
	" {\n\t\"entities\" : { } ,\r\"features\" : [ ] } ",
	`{"entities": {"id": []}, "at": "2013-01-31T15:00:00Z", "include_feature_view_version_metadata": false}`,
	`{}`,
}

func TestPlainBodiesAreReadByTheirOwnDecoder(t *testing.T) {
	for _, text := range plainBodies {
		got, ok := parseOnlineRequest(text)
		want, err := decodeJSON[onlineRequest](strings.NewReader(text))
		if !ok || err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read as %+v (%v), want %+v (%v)", text, got, ok, want, err)
		}
	}
}

// FuzzOnlineRequestsAreReadAlike: what the own decoder reads is what encoding/json reads.
func FuzzOnlineRequestsAreReadAlike(f *testing.F) {
	for _, text := range plainBodies {
		f.Add(text)
	}
	for _, text := range []string{
		`{"features": ["a:b"], "features": ["c:d"]}`, `{"Features": ["a:b"]}`, `{"features": ["\u0061:b"]}`, `{"features": ["é:b"]}`,
		`{"entities": {"a": [1, 2], "b": [1]}}`, `{"entities": {"a": [1], "a": [2]}}`, `{"entities": {"a": [[1]]}}`, `{"entities": {"a": 1}}`,
		`{"entities": {"a": [01]}}`, `{"entities": {"a": [1.]}}`, `{"entities": {"a": [-]}}`, `{"entities": {"a": [1e]}}`, `{"entities": {"a": [+1]}}`,
		`{"features": ["a:b",]}`, `{"features": null}`, `{"at": 1}`, `{"full_feature_names": truex}`, `{} {}`, `{`, ``, `[]`, "{\"at\": \"\x00\"}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseOnlineRequest(text)
		if !ok {
			return
		}
		want, err := decodeJSON[onlineRequest](strings.NewReader(text))
		if err != nil {
			t.Fatalf("%q is read, and is no request: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is read as %+v, want %+v", text, got, want)
		}
	})
}
