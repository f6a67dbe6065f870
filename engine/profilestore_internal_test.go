package engine

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// Records are read as package json reads them, whatever columns and sources are called.
func TestRecordsOfPanesAreReadAsPackageJSONDoes(t *testing.T) {
	names := []string{"delay", "", "a b", `q"uote`, `back\slash`, "}", `},{"name":"x`, "Ä \u2028", "line\nfeed", `,"profiled":[`, "<&>", "\xff"}
	for _, columns := range [][]string{nil, names[:1], names[:3], names} {
		record := keptPane{ProfilePane: driftline.ProfilePane{Source: `s","profiled":[`, Rows: 7, Created: time.Unix(1, 0).UTC()}}
		record.Table.SQL = `SELECT ',"profiled":[' AS x`
		for i, name := range columns {
			record.Profiled = append(record.Profiled, columnRecord{Name: name, Kind: numeric, Fingerprint: uint64(i) << 60})
			if i%2 == 0 {
				record.Profiled[i].Type = driftline.Float64
			}
		}
		raw, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		texts := []string{string(raw), string(raw[:len(raw)-1]), string(raw) + "x", strings.Replace(string(raw), "]}", ",]}", 1), strings.Replace(string(raw), "},{", "}{", 1), `{"profiled":[]}`, `{"profiled":null}`, ""}
		for _, text := range texts {
			var want keptPane
			wrong := json.Unmarshal([]byte(text), &want)
			got, err := decodeKeptPane([]byte(text))
			if (err == nil) != (wrong == nil) || err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s\nwas read as %+v, %v\nwant %+v, %v", text, got, err, want, wrong)
			}
		}
	}
}
