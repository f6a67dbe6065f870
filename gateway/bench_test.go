package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// BenchmarkInfer is what one prediction costs the gateway, without the HTTP server before it: 50 features are
// looked up by a key, a model server on a socket is asked, and the prediction is logged. The model server is in
// this process and does as little as a server can.
func BenchmarkInfer(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			g := benchGateway(b)
			b.ReportAllocs()
			b.SetParallelism(callers)
			if callers == 1 {
				for b.Loop() {
					infer(b, g)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					infer(b, g)
				}
			})
		})
	}
}

func infer(b *testing.B, g *Gateway) {
	r := httptest.NewRequest(http.MethodPost, "/v2/models/bench/infer", strings.NewReader(`{"entities":{"id":[7]}}`))
	r.SetPathValue("model", "bench")
	w := httptest.NewRecorder()
	if err := g.postInfer(w, r); err != nil || w.Code != http.StatusOK {
		b.Error(err, w.Code, w.Body.String())
	}
}

func benchGateway(b *testing.B) *Gateway {
	env := testenv.NewWith(b, func(o *engine.Options) { o.Allocator = memory.DefaultAllocator })
	e := env.Engine
	defs := driftline.Definitions{Entities: []driftline.Entity{{Name: "thing", JoinKeys: []driftline.Field{{Name: "id", Type: driftline.Int64}}}}}
	var features []string
	const views, each = 5, 10
	for v := range views {
		view := driftline.FeatureView{Name: driftline.ViewName(fmt.Sprint("view_", v)), Entities: []driftline.EntityName{"thing"}}
		for f := range each {
			name := fmt.Sprintf("feature_%d", v*each+f)
			view.Features = append(view.Features, driftline.Field{Name: name, Type: driftline.Float64})
			features = append(features, string(view.Name)+":"+name)
		}
		defs.FeatureViews = append(defs.FeatureViews, view)
	}
	env.Apply(defs)
	for v := range views {
		row := `{"id":7,"event_timestamp":"2013-05-31T12:00:00Z"`
		for f := range each {
			row += fmt.Sprintf(`,"feature_%d":%v`, v*each+f, float64(v*each+f)/7)
		}
		env.Ingest(driftline.ViewName(fmt.Sprint("view_", v)), "["+row+"}]")
	}
	if _, err := e.RegisterModel(context.Background(), driftline.ModelSpec{Model: "bench", Source: "s3://bench/model"}, true); err != nil {
		b.Fatal(err)
	}
	server := driftline.ModelServer{URL: "http://" + sumServer(b), Tensor: "x", Features: &driftline.FeatureSet{Features: features}}
	if _, err := e.Registry().SetModelServer("bench", "1", driftline.ModelServerChange{Server: &server}); err != nil {
		b.Fatal(err)
	}
	if _, err := e.Registry().MoveAlias("bench", driftline.AliasChampion, driftline.AliasMove{Version: 1}); err != nil {
		b.Fatal(err)
	}
	g := New(e, nil)
	b.Cleanup(g.Close)
	return g
}

// sumServer answers each request with the same prediction, and returns its address.
func sumServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	const body = `{"model_name":"bench","outputs":[{"name":"sum","shape":[1],"datatype":"FP64","data":[1.5]}]}`
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for from := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(from)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if _, err := io.WriteString(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
