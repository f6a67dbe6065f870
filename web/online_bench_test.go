package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/web"
)

// BenchmarkGetOnlineFeatures asks for 50 int64 features of five views, named one by one,
// through all of the server but the socket.
func BenchmarkGetOnlineFeatures(b *testing.B) {
	env := testenv.NewWith(b, func(o *engine.Options) { o.Allocator = memory.DefaultAllocator })
	env.Clock.Set(time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC))
	var features []string
	for v := range 5 {
		view := driftline.FeatureView{Name: driftline.ViewName(fmt.Sprint("feature_view_", v)), Entities: []driftline.EntityName{"entity"}}
		row := ""
		for i := range 10 {
			name := fmt.Sprint("feature_", 10*v+i)
			view.Features = append(view.Features, driftline.Field{Name: name, Type: driftline.Int64})
			features = append(features, fmt.Sprintf("%q", string(view.Name)+":"+name))
			row += fmt.Sprintf(`, %q: %d`, name, 123_456+i)
		}
		env.Apply(driftline.Definitions{
			Entities:     []driftline.Entity{{Name: "entity", JoinKeys: []driftline.Field{{Name: "entity", Type: driftline.Int64}}}},
			FeatureViews: []driftline.FeatureView{view},
		})
		rows := make([]string, 100)
		for id := range rows {
			rows[id] = fmt.Sprintf(`{"entity": %d, "event_timestamp": "2025-01-01T00:00:00Z"%s}`, id, row)
		}
		env.Ingest(view.Name, "["+strings.Join(rows, ",")+"]")
	}
	handler := web.New(env.Engine, &web.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}).Handler()
	for _, entities := range []int{1, 100} {
		b.Run(fmt.Sprint("entities=", entities), func(b *testing.B) {
			ids := make([]string, entities)
			for i := range ids {
				ids[i] = fmt.Sprint(i)
			}
			body := fmt.Appendf(nil, `{"entities": {"entity": [%s]}, "features": [%s]}`, strings.Join(ids, ","), strings.Join(features, ","))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://127.0.0.1/get-online-features", bytes.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
