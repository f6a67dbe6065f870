package registry_test

import (
	"testing"
	"time"

	"github.com/driftline/driftline"
)

func TestAVersionSaysWhereItAnswers(t *testing.T) {
	r := registered(t, 2)
	server := &driftline.ModelServer{URL: "http://127.0.0.1:5001/", Protocol: driftline.ProtocolMLflow}
	v, err := r.SetModelServer("late", "2", driftline.ModelServerChange{Server: server, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	want := driftline.ModelServer{URL: "http://127.0.0.1:5001", Protocol: driftline.ProtocolMLflow,
		Timeout: driftline.Duration(5 * time.Second), Concurrency: 64}
	if v.Server == nil || *v.Server != want {
		t.Fatalf("served at %+v, want %+v", v.Server, want)
	}
	before := r.Newest()
	must(t)(r.SetModelServer("late", "2", driftline.ModelServerChange{Server: server, By: "ada"}))
	if r.Newest() != before {
		t.Error("the same declaration again wrote a line")
	}
	if other, err := r.ModelVersion("late", "1"); err != nil || other.Server != nil {
		t.Fatalf("version 1 is served at %+v, %v", other.Server, err)
	}
	v, err = r.SetModelServer("late", "2", driftline.ModelServerChange{By: "ada"})
	if err != nil || v.Server != nil {
		t.Fatalf("after it was taken away: %+v, %v", v.Server, err)
	}
}

func TestModelServersThatCannotBe(t *testing.T) {
	r := registered(t, 1)
	for _, c := range []struct {
		server driftline.ModelServer
		want   string
	}{
		{driftline.ModelServer{}, "it is empty"},
		{driftline.ModelServer{URL: "127.0.0.1:5001"}, "cannot be read"},
		{driftline.ModelServer{URL: "file:///etc/passwd"}, "neither http:// nor https://"},
		{driftline.ModelServer{URL: "http://ada:secret@h"}, "it has a user in it"},
		{driftline.ModelServer{URL: "http://"}, "names no host"},
		{driftline.ModelServer{URL: "http://h/?x=1"}, "a query or a fragment"},
		{driftline.ModelServer{URL: "http://h", Protocol: "grpc"}, `protocol "grpc"`},
		{driftline.ModelServer{URL: "http://h", Timeout: -1}, "timeout"},
		{driftline.ModelServer{URL: "http://h", Timeout: driftline.Duration(time.Hour)}, "timeout 1h0m0s is not possible"},
		{driftline.ModelServer{URL: "http://h", Concurrency: -1}, "concurrency -1"},
		{driftline.ModelServer{URL: "http://h", MaxBatch: -1}, "max_batch -1"},
		{driftline.ModelServer{URL: "http://h", MaxBatch: driftline.MostModelBatch + 1}, "max_batch 10001"},
		{driftline.ModelServer{URL: "http://h", MaxBatch: 8, BatchDelay: driftline.Duration(time.Minute)}, "batch_delay 1m0s"},
		{driftline.ModelServer{URL: "http://h", BatchDelay: driftline.Duration(time.Millisecond)}, "max_batch is not"},
		{driftline.ModelServer{URL: "http://h", Name: "a\nb"}, "name of the model"},
		{driftline.ModelServer{URL: "http://h", Protocol: driftline.ProtocolMLflow, Name: "late"}, "has one model"},
	} {
		_, err := r.SetModelServer("late", "1", driftline.ModelServerChange{Server: &c.server})
		wantError(t, err, driftline.Invalid, c.want)
	}
	_, err := r.SetModelServer("late", "1", driftline.ModelServerChange{
		Server: &driftline.ModelServer{URL: "http://h", Features: &driftline.FeatureSet{Service: "none"}}})
	wantError(t, err, driftline.NotFound, "none")
	if v, err := r.ModelVersion("late", "1"); err != nil || v.Server != nil {
		t.Fatalf("a refused declaration left %+v, %v", v.Server, err)
	}
}
