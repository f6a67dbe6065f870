package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/inference"
	"github.com/driftline/driftline/gateway/internal/wire"
)

// Register makes a gRPC server answer the Open Inference Protocol. The server's interceptors
// make statuses of errors.
func (g *Gateway) Register(server grpc.ServiceRegistrar) {
	inference.RegisterGRPCInferenceServiceServer(server, &grpcService{gateway: g})
}

type grpcService struct {
	inference.UnimplementedGRPCInferenceServiceServer
	gateway *Gateway
}

// ServerLive implements the protocol.
func (s *grpcService) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

// ServerReady implements the protocol.
func (s *grpcService) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

// ServerMetadata implements the protocol.
func (s *grpcService) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	return &inference.ServerMetadataResponse{Name: serverName, Version: s.gateway.options.Version}, nil
}

// ModelReady implements the protocol. A model whose server is away is not ready; one that
// there is not is an error.
func (s *grpcService) ModelReady(ctx context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	err := s.gateway.modelReady(ctx, driftline.ModelName(r.GetName()), r.GetVersion())
	if code := driftline.CodeOf(err); err != nil && code != driftline.Unavailable {
		return nil, err
	}
	return &inference.ModelReadyResponse{Ready: err == nil}, nil
}

// ModelMetadata implements the protocol.
func (s *grpcService) ModelMetadata(ctx context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	m, err := s.gateway.describe(ctx, driftline.ModelName(r.GetName()), r.GetVersion())
	if err != nil {
		return nil, err
	}
	tensors := func(from []tensorMetadata) (to []*inference.ModelMetadataResponse_TensorMetadata) {
		for _, t := range from {
			to = append(to, &inference.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape})
		}
		return to
	}
	return &inference.ModelMetadataResponse{Name: m.Name, Versions: m.Versions, Platform: m.Platform, Inputs: tensors(m.Inputs), Outputs: tensors(m.Outputs)}, nil
}

// ModelInfer implements the protocol. Who answered is in the headers and the parameters of the answer.
func (s *grpcService) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	g := s.gateway
	size := int64(0)
	for _, raw := range r.GetRawInputContents() {
		size += int64(len(raw))
	}
	if err := g.hold(size); err != nil {
		return nil, err
	}
	defer g.release(size)
	request, err := requestOf(r)
	if err != nil {
		return nil, err
	}
	c := &call{model: driftline.ModelName(r.GetModelName()), request: request, time: g.engine.Now()}
	incoming, _ := metadata.FromIncomingContext(ctx)
	get := func(name string) string {
		if values := incoming.Get(name); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	if err := c.ask(get(KeyHeader), cmpOr(r.GetModelVersion(), get(VersionHeader)), get(PredictionHeader)); err != nil {
		return nil, err
	}
	answered, err := g.predict(ctx, c)
	var failed *failure
	if errors.As(err, &failed) {
		_ = grpc.SetHeader(ctx, failed.metadata()) // it fails only where nobody reads it
		return nil, failed.grpcError(c.model)
	}
	if err != nil {
		return nil, err
	}
	_ = grpc.SetHeader(ctx, answered.metadata())
	return answerOf(c, answered)
}

// grpcError is the failure as an error of ours.
func (f *failure) grpcError(model driftline.ModelName) error {
	code := driftline.Unavailable
	if f.fault == driftline.FaultRejected {
		code = driftline.Invalid
	}
	return driftline.Errorf(code, "%s: %s", model, f.Error())
}

func (r *reply) metadata() metadata.MD {
	md := metadata.Pairs(VersionHeader, strconv.Itoa(r.version), PredictionHeader, r.id)
	if r.arm != "" {
		md.Set(ArmHeader, string(r.arm))
	}
	if r.fellBack != "" {
		md.Set(FallbackHeader, string(r.fellBack))
	}
	return md
}

// requestOf reads a request.
func requestOf(r *inference.ModelInferRequest) (*wire.Request, error) {
	inputs := make([]wire.Tensor, len(r.GetInputs()))
	raw := r.GetRawInputContents()
	if len(raw) > 0 && len(raw) != len(inputs) {
		return nil, driftline.Errorf(driftline.Invalid, "the request has %d raw_input_contents for %d inputs", len(raw), len(inputs)).
			WithHint("give one for each input, or none")
	}
	for i, in := range r.GetInputs() {
		inputs[i] = wire.Tensor{Name: in.GetName(), Datatype: in.GetDatatype(), Shape: in.GetShape()}
		var ok bool
		if len(raw) > 0 {
			inputs[i].Cells, ok = rawCells(in.GetDatatype(), raw[i])
		} else {
			inputs[i].Cells, ok = cellsOf(in.GetDatatype(), in.GetContents())
		}
		if !ok {
			return nil, driftline.Errorf(driftline.Invalid, "the contents of input %q are not %s", clip(in.GetName()), clip(in.GetDatatype()))
		}
	}
	request, err := wire.NewRequest(r.GetId(), inputs)
	if err != nil {
		return nil, err
	}
	parameters := r.GetParameters()
	request.Key, request.Version = textOf(parameters["routing_key"]), textOf(parameters["model_version"])
	return request, nil
}

func textOf(p *inference.InferParameter) string {
	switch v := p.GetParameterChoice().(type) {
	case *inference.InferParameter_StringParam:
		return v.StringParam
	case *inference.InferParameter_Int64Param:
		return strconv.FormatInt(v.Int64Param, 10)
	case *inference.InferParameter_Uint64Param:
		return strconv.FormatUint(v.Uint64Param, 10)
	}
	return ""
}

func cellsOf(datatype string, c *inference.InferTensorContents) ([]string, bool) {
	switch datatype {
	case "BOOL":
		return each(c.GetBoolContents(), strconv.FormatBool), true
	case "INT8", "INT16", "INT32":
		return each(c.GetIntContents(), func(n int32) string { return strconv.FormatInt(int64(n), 10) }), true
	case "INT64":
		return each(c.GetInt64Contents(), func(n int64) string { return strconv.FormatInt(n, 10) }), true
	case "UINT8", "UINT16", "UINT32":
		return each(c.GetUintContents(), func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }), true
	case "UINT64":
		return each(c.GetUint64Contents(), func(n uint64) string { return strconv.FormatUint(n, 10) }), true
	case "FP32":
		return each(c.GetFp32Contents(), float32Cell), true
	case "FP64":
		return each(c.GetFp64Contents(), float64Cell), true
	case "BYTES":
		return each(c.GetBytesContents(), func(b []byte) string { return wire.Quote(string(b)) }), true
	}
	return nil, false
}

func each[T any](values []T, cell func(T) string) []string {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = cell(v)
	}
	return cells
}

func float64Cell(x float64) string { return string(wire.AppendFloat(nil, x)) }

func float32Cell(x float32) string {
	if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
		return "null"
	}
	return strconv.FormatFloat(float64(x), 'g', -1, 32)
}

// rawCells reads the raw form of a tensor: little-endian, and texts led by their length.
func rawCells(datatype string, raw []byte) ([]string, bool) {
	width := map[string]int{"BOOL": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "INT32": 4, "UINT32": 4, "FP32": 4, "INT64": 8, "UINT64": 8, "FP64": 8}[datatype]
	if datatype == "BYTES" {
		return rawTexts(raw)
	}
	if width == 0 || len(raw)%width != 0 {
		return nil, false
	}
	cells := make([]string, 0, len(raw)/width)
	for ; len(raw) > 0; raw = raw[width:] {
		var eight [8]byte
		copy(eight[:], raw[:width])
		word := binary.LittleEndian.Uint64(eight[:])
		switch datatype {
		case "BOOL":
			cells = append(cells, strconv.FormatBool(word != 0))
		case "FP32":
			cells = append(cells, float32Cell(math.Float32frombits(uint32(word))))
		case "FP64":
			cells = append(cells, float64Cell(math.Float64frombits(word)))
		case "UINT8", "UINT16", "UINT32", "UINT64":
			cells = append(cells, strconv.FormatUint(word, 10))
		default:
			shift := 64 - 8*width
			cells = append(cells, strconv.FormatInt(int64(word<<shift)>>shift, 10))
		}
	}
	return cells, true
}

func rawTexts(raw []byte) (cells []string, ok bool) {
	const lead = 4
	for len(raw) > 0 {
		if len(raw) < lead {
			return nil, false
		}
		n := int64(binary.LittleEndian.Uint32(raw))
		if raw = raw[lead:]; n > int64(len(raw)) {
			return nil, false
		}
		cells, raw = append(cells, wire.Quote(string(raw[:n]))), raw[n:]
	}
	return cells, true
}

// answerOf writes an answer. Values are in contents, never raw.
func answerOf(c *call, r *reply) (*inference.ModelInferResponse, error) {
	text := func(s string) *inference.InferParameter {
		return &inference.InferParameter{ParameterChoice: &inference.InferParameter_StringParam{StringParam: s}}
	}
	answer := &inference.ModelInferResponse{
		ModelName: string(c.model), ModelVersion: strconv.Itoa(r.version), Id: c.request.ID,
		Parameters: map[string]*inference.InferParameter{"arm": text(string(r.arm)), "prediction_id": text(r.id)},
	}
	for i := range r.answer.Outputs {
		t := &r.answer.Outputs[i]
		datatype := t.DatatypeOrGuess()
		contents, datatype := contentsOf(datatype, t.Cells)
		answer.Outputs = append(answer.Outputs, &inference.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: datatype, Shape: t.Shape, Contents: contents})
	}
	return answer, nil
}

// contentsOf puts cells where a datatype has its values. Halves have no place of their own and
// become FP32.
func contentsOf(datatype string, cells []string) (*inference.InferTensorContents, string) {
	c := &inference.InferTensorContents{}
	switch datatype {
	case "BOOL":
		c.BoolContents = from(cells, func(cell string) bool { return wire.Number(cell) != 0 })
	case "INT8", "INT16", "INT32":
		c.IntContents = from(cells, func(cell string) int32 { return int32(wire.Number(cell)) })
	case "INT64":
		c.Int64Contents = from(cells, func(cell string) int64 {
			if n, ok := wire.Any(cell).(int64); ok {
				return n
			}
			return int64(wire.Number(cell))
		})
	case "UINT8", "UINT16", "UINT32":
		c.UintContents = from(cells, func(cell string) uint32 { return uint32(wire.Number(cell)) })
	case "UINT64":
		c.Uint64Contents = from(cells, func(cell string) uint64 {
			n, err := strconv.ParseUint(cell, 10, 64)
			if err != nil {
				return uint64(wire.Number(cell))
			}
			return n
		})
	case "FP64":
		c.Fp64Contents = from(cells, wire.Number)
	case "BYTES":
		c.BytesContents = from(cells, func(cell string) []byte { return []byte(wire.Text(cell)) })
	default:
		datatype = "FP32"
		c.Fp32Contents = from(cells, func(cell string) float32 { return float32(wire.Number(cell)) })
	}
	return c, datatype
}

func from[T any](cells []string, value func(string) T) []T {
	values := make([]T, len(cells))
	for i, cell := range cells {
		values[i] = value(cell)
	}
	return values
}
