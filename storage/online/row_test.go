package online

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// FuzzRowsAreDecodedSafely gives garbage to the decoders of rows and layouts. What
// they accept must be readable to the last value; all else they must refuse.
func FuzzRowsAreDecodedSafely(f *testing.F) {
	all, err := json.Marshal([]layoutField{
		{Name: "b", Type: driftline.Bool}, {Name: "s", Type: driftline.String}, {Name: "i", Type: driftline.Int32},
		{Name: "y", Type: driftline.Bytes}, {Name: "d", Type: driftline.Float64},
	})
	if err != nil {
		f.Fatal(err)
	}
	whole := append(make([]byte, prefixBytes), 0, 1, 2, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 'a', 'b', 'c')
	f.Add(all, whole)
	f.Add(all, whole[:len(whole)-1])
	f.Add([]byte(`[]`), make([]byte, prefixBytes))
	f.Add([]byte(`[{"name":"a","type":"string"},{"name":"a","type":"string"}]`), whole)
	f.Add([]byte(`[{"name":"a","type":"what"}]`), []byte{})
	f.Fuzz(func(t *testing.T, layoutText, value []byte) {
		var fields []layoutField
		if json.Unmarshal(layoutText, &fields) != nil {
			return
		}
		l, err := newLayout(layoutText, fields, false)
		if err != nil {
			return
		}
		_, _, _, rest, ok := splitHeader(value)
		if !ok {
			return
		}
		r, ok := l.split(rest)
		if !ok {
			return
		}
		texts := 0
		look := &lookup{view: "v"}
		types := make([]driftline.Type, len(l.fields))
		for i, field := range l.fields {
			types[i] = field.Type
			look.features = append(look.features, driftline.Field{Name: field.Name, Type: field.Type})
			if isText(field.Type) {
				texts += len(r.text(&l.fields[i]))
			}
		}
		route, err := look.routeThrough(l)
		if err != nil {
			t.Fatal(err)
		}
		values, err := NewValues(types, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range []int{0, 2} {
			if err := route.unpack(values, 0, row, &r); err != nil {
				t.Fatal(err)
			}
		}
		columns, err := values.Arrays()
		if err != nil {
			t.Fatal(err)
		}
		for _, column := range columns {
			if column.Len() != 3 || column.IsValid(1) || column.IsNull(0) != column.IsNull(2) {
				t.Fatalf("column %v", column)
			}
			column.Release()
		}
		if texts != len(r.texts) {
			t.Fatalf("texts of %d bytes in a row that has %d", texts, len(r.texts))
		}
	})
}

func TestALayoutIsReadAsItWasWritten(t *testing.T) {
	features := []driftline.Field{{Name: "temp", Type: driftline.Float64, Description: "not stored"}, {Name: "code", Type: driftline.String}}
	l, err := layoutOf(features, false)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"name":"temp","type":"float64"},{"name":"code","type":"string"}]`; string(l.text) != want {
		t.Fatalf("stored as %s, want %s", l.text, want)
	}
	again, err := parseLayout(l.id, l.text)
	if err != nil || !again.isOf(features) || again.isOf(features[:1]) || again.isOf([]driftline.Field{features[1], features[0]}) {
		t.Fatalf("read as %+v, %v", again, err)
	}
	for _, bad := range []string{``, `{}`, strings.ToUpper(string(l.text)), `[{"name":"temp","type":"float64"}]`} {
		if _, err := parseLayout(l.id, []byte(bad)); err == nil {
			t.Errorf("%q passes for the layout", bad)
		}
	}
}
