package substrait_test

import (
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	convert "github.com/apache/iceberg-go/table/substrait"
	"github.com/substrait-io/substrait-go/v8/extensions"

	_ "github.com/driftline/driftline/storage/offline/internal/substrait"
)

// What is loaded is what Iceberg's filters need, and no more: else every command would start late again.
func TestOnlyWhatFiltersNeedIsLoadedAndFiltersWork(t *testing.T) {
	all := extensions.GetDefaultCollectionWithNoError()
	arithmetic := extensions.ID{URN: extensions.SubstraitDefaultURNPrefix + "functions_arithmetic", Name: "add"}
	if f, ok := all.GetScalarFunc(arithmetic); ok {
		t.Errorf("%v was loaded", f.Name())
	}
	schema := iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "delay", Type: iceberg.PrimitiveTypes.Float64})
	filter := iceberg.NewAnd(iceberg.NewNot(iceberg.IsNull(iceberg.Reference("delay"))), iceberg.GreaterThan(iceberg.Reference("delay"), 3.0))
	bound, err := iceberg.BindExpr(schema, filter, true)
	if err != nil {
		t.Fatal(err)
	}
	_, translated, err := convert.ConvertExpr(schema, bound, true)
	if err != nil || !strings.Contains(translated.String(), "gt") {
		t.Errorf("the filter became %v, %v", translated, err)
	}
}
