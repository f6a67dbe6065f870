package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/driftline/driftline/gateway/internal/inference"
)

// BenchmarkWires asks for one prediction by the key of an airport, over HTTP and over gRPC, by many callers at a
// time, through the servers that are before the gateway. Callers, servers and the model share the machine.
func BenchmarkWires(b *testing.B) {
	s := newStand(b, nil)
	const callers = 8
	b.Run("http", func(b *testing.B) {
		server := newServer(b, s)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		b.SetParallelism(callers)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				response, err := client.Post(server.URL+infer, "application/json", strings.NewReader(`{"entities":{"airport":["JFK"]}}`))
				if err != nil {
					b.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					b.Errorf("%d %s, %v", response.StatusCode, body, err)
				}
			}
		})
	})
	b.Run("grpc", func(b *testing.B) {
		client := dial(b, s)
		b.ReportAllocs()
		b.SetParallelism(callers)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				answer, err := client.ModelInfer(context.Background(), &inference.ModelInferRequest{ModelName: "late",
					Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "airport", Datatype: "BYTES", Shape: []int64{1},
						Contents: &inference.InferTensorContents{BytesContents: [][]byte{[]byte("JFK")}}}}})
				if err != nil || len(answer.GetOutputs()) != 1 {
					b.Error(answer, err)
					return
				}
			}
		})
	})
}
