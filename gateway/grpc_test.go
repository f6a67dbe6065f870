package gateway_test

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/driftline/driftline/flight"
	"github.com/driftline/driftline/gateway/internal/inference"
)

func dial(t testing.TB, s *stand) inference.GRPCInferenceServiceClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := flight.New(s.Engine, &flight.Options{Register: s.gateway.Register})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return inference.NewGRPCInferenceServiceClient(conn)
}

func TestGRPC(t *testing.T) {
	s := newStand(t, nil)
	client, ctx := dial(t, s), context.Background()
	if live, err := client.ServerLive(ctx, &inference.ServerLiveRequest{}); err != nil || !live.GetLive() {
		t.Errorf("live %v, %v", live, err)
	}
	if ready, err := client.ModelReady(ctx, &inference.ModelReadyRequest{Name: "late"}); err != nil || !ready.GetReady() {
		t.Errorf("ready %v, %v", ready, err)
	}
	if m, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: "late"}); err != nil || len(m.GetInputs()) != 3 || len(m.GetVersions()) != 2 {
		t.Errorf("metadata %v, %v", m, err)
	}
	tensor := func(name, datatype string, contents *inference.InferTensorContents) *inference.ModelInferRequest_InferInputTensor {
		return &inference.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: []int64{2}, Contents: contents}
	}
	airports := tensor("airport", "BYTES", &inference.InferTensorContents{BytesContents: [][]byte{[]byte("JFK"), []byte("LGA")}})
	raw := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 100), math.MaxUint64-99) // 100 and -100
	for name, request := range map[string]*inference.ModelInferRequest{
		"keys": {Inputs: []*inference.ModelInferRequest_InferInputTensor{airports,
			tensor("hour", "INT64", &inference.InferTensorContents{Int64Contents: []int64{100, -100}})}},
		"raw": {Inputs: []*inference.ModelInferRequest_InferInputTensor{tensor("airport", "BYTES", nil), tensor("hour", "INT64", nil)},
			RawInputContents: [][]byte{[]byte("\x03\x00\x00\x00JFK\x03\x00\x00\x00LGA"), raw}},
	} {
		request.ModelName, request.Id = "late", "42"
		var header metadata.MD
		answer, err := client.ModelInfer(metadata.AppendToOutgoingContext(ctx, "x-driftline-key", "ann"), request, grpc.Header(&header))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := answer.GetOutputs()[0].GetContents().GetFp64Contents()
		if len(got) != 2 || math.Abs(got[0]-1001.465) > 1e-9 || math.Abs(got[1]-999.5) > 1e-9 || answer.GetModelVersion() != "1" || answer.GetId() != "42" {
			t.Errorf("%s: %v", name, answer)
		}
		id := answer.GetParameters()["prediction_id"].GetStringParam()
		if header.Get("x-prediction-id")[0] != id || header.Get("x-arm")[0] != "champion" {
			t.Errorf("%s: header %v", name, header)
		}
		if row := s.row(id + "-1"); row["airport"] != "LGA" || row["route_key"] != "" && row["route_key"] != "ann" {
			t.Errorf("%s: logged %v", name, row)
		}
	}
	for name, c := range map[string]struct {
		request *inference.ModelInferRequest
		code    codes.Code
	}{
		"no model":     {&inference.ModelInferRequest{ModelName: "never", Inputs: []*inference.ModelInferRequest_InferInputTensor{airports}}, codes.NotFound},
		"no inputs":    {&inference.ModelInferRequest{ModelName: "late"}, codes.InvalidArgument},
		"short raw":    {&inference.ModelInferRequest{ModelName: "late", Inputs: []*inference.ModelInferRequest_InferInputTensor{tensor("hour", "INT64", nil)}, RawInputContents: [][]byte{{1, 2, 3}}}, codes.InvalidArgument},
		"long text":    {&inference.ModelInferRequest{ModelName: "late", Inputs: []*inference.ModelInferRequest_InferInputTensor{tensor("airport", "BYTES", nil)}, RawInputContents: [][]byte{{255, 255, 255, 255, 1}}}, codes.InvalidArgument},
		"wrong number": {&inference.ModelInferRequest{ModelName: "late", Inputs: []*inference.ModelInferRequest_InferInputTensor{airports}, RawInputContents: [][]byte{{}, {}}}, codes.InvalidArgument},
	} {
		if _, err := client.ModelInfer(ctx, c.request); status.Code(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	s.models[1].says(500, "")
	if _, err := client.ModelInfer(ctx, &inference.ModelInferRequest{ModelName: "late", Inputs: []*inference.ModelInferRequest_InferInputTensor{airports}}); status.Code(err) != codes.Unavailable {
		t.Errorf("of a broken model: %v", err)
	}
}
