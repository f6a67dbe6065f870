// Package inference is the Open Inference Protocol over gRPC, as its proto file says it:
// generated, so that any client of the protocol finds what it knows.
//
// open_inference.proto is specification/protocol/open_inference_grpc.proto of the KServe
// project's open-inference-protocol, commit eeb043e2c95c1dd35f8b9185f5dadf44c7f10c9f, under the Apache
// License 2.0. The code is made of it by protoc, with protoc-gen-go v1.36.12 and
// protoc-gen-go-grpc v1.6.2 on the path:
//
//	protoc -I. --go_out=. --go-grpc_out=. \
//	  --go_opt=paths=source_relative,Mopen_inference.proto=github.com/driftline/driftline/gateway/internal/inference \
//	  --go-grpc_opt=paths=source_relative,Mopen_inference.proto=github.com/driftline/driftline/gateway/internal/inference \
//	  open_inference.proto
package inference
