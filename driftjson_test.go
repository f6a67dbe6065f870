package driftline_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/driftline/driftline"
)

func TestReportsAreWrittenAndReadAsPackageJSONDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for range 300 {
		var report driftline.DriftReport
		fillAtRandom(r, reflect.ValueOf(&report).Elem())
		text := appendReport(t, &report)
		if want := encodeReport(t, &report); text != want {
			t.Fatalf("written as\n%s\nwant\n%s", text, want)
		}
		sameReport(t, text)
	}
}

// A byte of a text is changed, so that it is no JSON, or no report, or another one.
func TestReportsOfOthersAreReadAsPackageJSONDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 2))
	for range 3000 {
		var report driftline.DriftReport
		fillAtRandom(r, reflect.ValueOf(&report).Elem())
		report.Multivariate = nil // which package json reads
		text := []byte(appendReport(t, &report))
		at, odd := r.IntN(len(text)), []byte("\"\\0.-eE+,:{}[] anN<\x00\xff")
		switch r.IntN(3) {
		case 0:
			text[at] = odd[r.IntN(len(odd))]
		case 1:
			text = append(text[:at], text[at+1:]...)
		default:
			text = append(text[:at], append([]byte{odd[r.IntN(len(odd))]}, text[at:]...)...)
		}
		sameReport(t, string(text))
	}
	for _, text := range []string{"", "null", "{}", "[]", "{\"columns\":null}\n", `{"alpha":1,"alpha":2}`, "{} {}", `{"Columns":[{}]}`} {
		sameReport(t, text)
	}
}

func TestAReportWithoutAnAlphaIsRefusedAsPackageJSONDoes(t *testing.T) {
	report := driftline.DriftReport{Alpha: math.NaN()}
	if text, err := report.AppendJSON(nil); err == nil {
		t.Errorf("written as %s", text)
	}
}

// sameReport wants a text to be read as package json alone would.
func sameReport(t *testing.T, text string) {
	t.Helper()
	var got, want driftline.DriftReport
	err, refused := got.ReadJSON([]byte(text)), json.Unmarshal([]byte(text), &want)
	if (err == nil) != (refused == nil) {
		t.Fatalf("%q: %v, by package json %v", text, err, refused)
	}
	if got, want := encodeReport(t, &got), encodeReport(t, &want); err == nil && got != want {
		t.Fatalf("%q read as\n%s\nby package json as\n%s", text, got, want)
	}
}

func appendReport(t *testing.T, report *driftline.DriftReport) string {
	t.Helper()
	text, err := report.AppendJSON([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimPrefix(text, []byte("before")))
}

func encodeReport(t *testing.T, report *driftline.DriftReport) string {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(report); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
}

// fillAtRandom fills all fields, those of what they hold too; every fourth is left empty.
func fillAtRandom(r *rand.Rand, v reflect.Value) {
	texts := []string{"ks", "a <b> & c", `"quoted" \`, "ärger\u2028", "tab\tbell\a", "\xff", "drift"}
	numbers := []float64{0, math.Copysign(0, -1), 1, -0.1, 1e-7, 9.9e-7, 1e21, 5e-324, -math.MaxFloat64, 0.05, 20000}
	if v.Kind() != reflect.Struct && r.IntN(4) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillAtRandom(r, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillAtRandom(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			fillAtRandom(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() >> r.IntN(64) * int64(1-2*r.IntN(2)))
	case reflect.Float64:
		v.SetFloat(numbers[r.IntN(len(numbers))])
		if v.Type() == reflect.TypeFor[driftline.Number]() && r.IntN(4) == 0 {
			v.SetFloat([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}[r.IntN(3)])
		}
	default:
		panic("a report has a field of a kind that this test does not know: " + v.Kind().String())
	}
}
