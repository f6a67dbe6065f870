package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// measures is a view of these features, which a service uses if it names some.
func measures(service []string, features ...driftline.Field) driftline.Definitions {
	definitions := driftline.Definitions{FeatureViews: []driftline.FeatureView{{Name: "measures", Features: features}}}
	if service != nil {
		definitions.FeatureServices = []driftline.FeatureService{{
			Name: "model", Projections: []driftline.Projection{{View: "measures", Features: service}},
		}}
	}
	return definitions
}

func feature(name string, t driftline.Type) driftline.Field {
	return driftline.Field{Name: name, Type: t}
}

func renamedTo(name, from string, t driftline.Type) driftline.Field {
	return driftline.Field{Name: name, Type: t, RenamedFrom: from}
}

// TestPlansSayHowAViewEvolves applies one definition after the other, and then the last
// one again, which must change nothing.
func TestPlansSayHowAViewEvolves(t *testing.T) {
	a, b := feature("a", "int32"), feature("b", "float32")
	tests := []struct {
		name  string
		steps []driftline.Definitions
		says  string // of the last step
		have  string // the features, and what each is stored as
	}{
		{"add", []driftline.Definitions{measures(nil, a), measures(nil, a, b)}, "features: + b float32", "a=a b=b"},
		{"drop", []driftline.Definitions{measures(nil, a, b), measures(nil, b)}, "features: - a int32", "b=b"},
		{"rename", []driftline.Definitions{measures(nil, a, b), measures(nil, renamedTo("c", "a", "int32"), b)}, "features: a → c", "c=a b=b"},
		{"rename under a service", []driftline.Definitions{measures([]string{"a"}, a, b), measures([]string{"c"}, renamedTo("c", "a", "int32"), b)},
			"features: a → c\nprojections: measures(a) → measures(c)", "c=a b=b"},
		{"drop under a service", []driftline.Definitions{measures([]string{"a", "b"}, a, b), measures([]string{"b"}, b)},
			"features: - a int32\nprojections: measures(a, b) → measures(b)", "b=b"},
		{"widen", []driftline.Definitions{measures(nil, a, b), measures(nil, feature("a", "int64"), feature("b", "double"))},
			"features.a.type: int32 → int64, features.b.type: float32 → float64", "a=a b=b"},
		{"rename and widen", []driftline.Definitions{measures(nil, a), measures(nil, renamedTo("c", "a", "int64"))},
			"features: a → c, features.c.type: int32 → int64", "c=a"},
		{"drop, and add again", []driftline.Definitions{measures(nil, a, b), measures(nil, b), measures(nil, a, b)}, "features: + a int32", "b=b a=a#1"},
		{"drop, and add again, twice", []driftline.Definitions{measures(nil, a, b), measures(nil, b), measures(nil, a, b), measures(nil, b), measures(nil, a, b)},
			"features: + a int32", "b=b a=a#2"},
		{"rename, and add another of the old name", []driftline.Definitions{measures(nil, b), measures(nil, renamedTo("c", "b", "float32"), feature("b", "string"))},
			"features: b → c, features: + b string", "c=b b=b#1"},
		{"rename that was done, and add another of the old name", []driftline.Definitions{measures(nil, a), measures(nil, renamedTo("c", "a", "int32")),
			measures(nil, renamedTo("c", "a", "int32"), a)}, "features: + a int32", "c=a a=a#1"},
		{"rename and back", []driftline.Definitions{measures(nil, a), measures(nil, renamedTo("c", "a", "int32")), measures(nil, renamedTo("a", "c", "int32"))},
			"features: c → a", "a=a"},
		{"new view that speaks of a rename", []driftline.Definitions{measures(nil, renamedTo("c", "a", "int32"))}, "", "c=c"},
		{"identities are the catalogue's", []driftline.Definitions{measures(nil, a), measures(nil, driftline.Field{Name: "a", Type: "int32", Column: "b", Description: "x"})},
			"features.a.description: + x", "a=a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := open(t)
			var last []driftline.Change
			for _, step := range test.steps {
				var err error
				if last, err = r.Apply(step); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, change := range last {
				if len(change.Fields) > 0 {
					got = append(got, strings.Join(change.Fields, ", "))
				}
			}
			if said := strings.Join(got, "\n"); said != test.says {
				t.Errorf("the plan says %q, want %q", said, test.says)
			}
			view, err := r.View("measures")
			if err != nil {
				t.Fatal(err)
			}
			have := ""
			for _, f := range view.Features {
				have += fmt.Sprintf(" %s=%s", f.Name, f.Identity())
				if f.RenamedFrom != "" {
					t.Errorf("the catalogue keeps that %s was %s", f.Name, f.RenamedFrom)
				}
			}
			if have != " "+test.have {
				t.Errorf("the view has%s, want %s", have, test.have)
			}
			again, err := r.Apply(test.steps[len(test.steps)-1])
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range again {
				if change.Action != driftline.ChangeNone {
					t.Errorf("applied again: %v", change)
				}
			}
		})
	}
}

func TestRenamesThatMeanNothingAreRefused(t *testing.T) {
	a, b := feature("a", "int32"), feature("b", "int32")
	tests := []struct {
		name string
		next driftline.Definitions
		code driftline.Code
		says []string
	}{
		{"of what is not there", measures(nil, renamedTo("c", "aa", "int32"), b), driftline.NotFound, []string{`feature "aa"`, "measures"}},
		{"of two into one", measures(nil, renamedTo("c", "a", "int32"), renamedTo("d", "a", "int32"), b), driftline.Invalid, []string{`"c" and "d"`, `renamed from "a"`}},
		{"of itself", measures(nil, renamedTo("a", "a", "int32"), b), driftline.Invalid, []string{"its own name"}},
		{"that swaps", measures(nil, renamedTo("a", "b", "int32"), renamedTo("b", "a", "int32")), driftline.Invalid, []string{"swap", "third name"}},
		{"under a service that keeps the old name", measures([]string{"a"}, renamedTo("c", "a", "int32"), b), driftline.NotFound, []string{`service "model"`, `"a"`}},
		{"of a join key", driftline.Definitions{Entities: []driftline.Entity{{Name: "port", JoinKeys: []driftline.Field{renamedTo("port", "airport", "string")}}}},
			driftline.Invalid, []string{`join key "port" cannot be renamed`, "port_v2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := open(t)
			if _, err := r.Apply(measures(nil, a, b)); err != nil {
				t.Fatal(err)
			}
			before := r.Newest()
			_, err := r.Apply(test.next)
			wantError(t, err, test.code, test.says...)
			if r.Newest() != before {
				t.Error("a refused apply wrote a line")
			}
		})
	}
}
