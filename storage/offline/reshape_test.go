package offline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// shape is columns of the form identity:name, all of one type.
func shape(dt arrow.DataType, columns ...string) []offline.ShapedColumn {
	var of []offline.ShapedColumn
	for _, column := range columns {
		identity, name, _ := strings.Cut(column, ":")
		of = append(of, offline.ShapedColumn{Identity: identity, Field: nullable(name, dt)})
	}
	return of
}

func reshape(t *testing.T, s *offline.Store, columns []offline.ShapedColumn) {
	t.Helper()
	if err := s.Reshape(t.Context(), weather, columns); err != nil {
		t.Fatal(err)
	}
}

// TestATableTakesAnyShapeByIdentity goes through shapes whose names say the opposite of
// what the columns are, and reads a row of the first shape in each of them.
func TestATableTakesAnyShapeByIdentity(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	int32s, int64s := arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64
	first := arrow.NewSchema([]arrow.Field{nullable("a", int32s), nullable("b", int32s)}, nil)
	mustCreate(t, s, weather, first)
	oldest := appendRows(t, s, first, `[{"a": 1, "b": 2}]`)
	tests := []struct {
		shape []offline.ShapedColumn
		want  string
	}{
		{shape(int32s, "a:a", "b:b"), "1 2"},
		{shape(int32s, "a:b", "b:a"), "1 2"}, // names swapped at once
		{shape(int32s, "b:b"), "2"},
		{shape(int32s, "b:b", "a#1:a"), "2 (null)"},
		{shape(int64s, "b:a", "a#1:b"), "2 (null)"},
		{shape(int64s, "a#2:a"), "(null)"},
	}
	for i, test := range tests {
		reshape(t, s, test.shape)
		s = reopen(t, dir)
		reshape(t, s, test.shape) // again, which is nothing to do
		if changed, err := s.Reshaped(t.Context(), oldest); err != nil || changed != (i > 0) {
			t.Errorf("%v: reshaped is %v (%v)", test.shape, changed, err)
		}
		now, err := s.Commit(t.Context(), weather, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var identities []string
		for _, c := range test.shape {
			identities = append(identities, c.Identity)
		}
		if got := now.Identities(); !slices.Equal(got, identities) {
			t.Errorf("identities are %v, want %v", got, identities)
		}
		if changed, err := s.Reshaped(t.Context(), now); err != nil || changed {
			t.Errorf("the snapshot just made is reshaped: %v (%v)", changed, err)
		}
		wantRows(t, s, now, "\n"+test.want)
		then, err := s.At(t.Context(), weather, oldest.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := then.Identities(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("the oldest snapshot has %v", got)
		}
		wantRows(t, s, then, "\n1 2")
	}
	wantFiles(t, dir, 1)
	err := s.Reshape(t.Context(), weather, shape(arrow.BinaryTypes.String, "a#2:a"))
	wantCode(t, err, driftline.FailedPrecondition, `column "a" is long and cannot become string`)
}
