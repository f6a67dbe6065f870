package online_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/online"
)

// BenchmarkRead reads 50 features of 5 views for some of 10,000 entities that
// are in tables on disk, as a service does for each request.
func BenchmarkRead(b *testing.B) {
	f := newFixture(b)
	const views, features, stored = 5, 10, 10_000
	var all []*driftline.FeatureView
	for v := range views {
		view := weather()
		view.Name, view.Features = driftline.ViewName(fmt.Sprint("view_", v)), nil
		for i := range features {
			view.Features = append(view.Features, field(fmt.Sprint("feature_", i), driftline.Int64))
		}
		all = append(all, view)
		var rows [][]any
		for e := range stored {
			row := []any{fmt.Sprint("entity-", e), int64(e), nil}
			for i := range features {
				row = append(row, int64(e*i))
			}
			rows = append(rows, row)
		}
		f.put(view, rows...)
	}
	f.reopen() // moves the rows from memory into tables
	for _, entities := range []int{1, 100} {
		b.Run(fmt.Sprint("entities=", entities), func(b *testing.B) {
			var keys [64][]arrow.Array
			for k := range keys {
				var asked [][]any
				for e := range entities {
					asked = append(asked, []any{fmt.Sprint("entity-", (e*7919+k*104729)%stored)})
				}
				keys[k] = f.keys(all[0], asked)
				defer release(keys[k])
			}
			group := online.NewGroup(all[0].JoinKeys)
			var types []driftline.Type
			for _, view := range all {
				f.check(group.Add(view, view.FeatureNames(), len(types)))
				for _, feature := range view.Features {
					types = append(types, feature.Type)
				}
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				values, err := online.NewValues(types, entities)
				f.check(err)
				found, err := f.store.Read(context.Background(), values, []online.Ask{{Group: group, Keys: keys[n%len(keys)]}})
				f.check(err)
				if !found[0].Has(0) {
					b.Fatal("the entity is not there")
				}
			}
		})
	}
}
