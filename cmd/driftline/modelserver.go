package main

import (
	"context"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) modelsServeAtCommand() *cobra.Command {
	var who whoFlags
	var server driftline.ModelServer
	var protocol, service string
	var timeout, delay time.Duration
	var features []string
	var full bool
	c := a.tableVerb("serve-at MODEL@VERSION URL", "Declare where a version answers: the server that the gateway forwards to", 2,
		func(ctx context.Context, conn *client.Client, args []string) error {
			name, version, err := parseModelVersion(args[0])
			if err != nil {
				return err
			}
			server.URL, server.Protocol, server.Timeout = args[1], driftline.ModelProtocol(protocol), driftline.Duration(timeout)
			server.BatchDelay = driftline.Duration(delay)
			if service != "" || len(features) > 0 {
				server.Features = &driftline.FeatureSet{Service: driftline.ServiceName(service), Features: features, FullFeatureNames: full}
			}
			v, err := conn.SetModelServer(ctx, name, version, driftline.ModelServerChange{Server: &server, By: who.by, Reason: who.reason})
			return a.answerVersion(v, err, "is served at "+printable(args[1])+" now")
		})
	c.Long = "Declare where a version answers. The gateway forwards there what POST /v2/models/MODEL/infer and\n" +
		"POST /models/MODEL/invocations are asked, for whichever version the rollout of the model chooses.\n\n" +
		"The server speaks the Open Inference Protocol (oip) or that of `mlflow models serve` (mlflow). Where a request\n" +
		"brings join keys in the place of features, those are looked up online: the ones of the training set, or the ones named here."
	c.Example = "  driftline models serve-at late_departure@2 http://127.0.0.1:5001 --protocol mlflow\n" +
		"  driftline models serve-at late_departure@3 http://127.0.0.1:8080 --name late --service delay_model --timeout 500ms"
	flags := c.Flags()
	flags.StringVar(&protocol, "protocol", string(driftline.ProtocolOIP), "oip or mlflow")
	flags.StringVar(&server.Name, "name", "", "what an OIP server calls the model (default: the registered name)")
	flags.StringVar(&server.Version, "version", "", "the version that it is asked for (default: the server chooses)")
	flags.DurationVar(&timeout, "timeout", driftline.DefaultModelTimeout, "how long an answer may take")
	flags.IntVar(&server.Concurrency, "concurrency", driftline.DefaultModelConcurrency, "how many requests it gets at a time")
	flags.IntVar(&server.MaxBatch, "max-batch", 0, "join requests that come at the same time, up to so many rows (default: none)")
	flags.DurationVar(&delay, "batch-delay", 0, "how long a request waits for others while one is under way (default 1ms, with --max-batch)")
	flags.StringVar(&server.Tensor, "tensor", "", "name of the one input, a matrix, that all columns become (default: an input each)")
	flags.StringVar(&service, "service", "", "feature service whose features are looked up (default: the training set's features)")
	flags.StringSliceVar(&features, "features", nil, "or the features, as view:feature")
	flags.BoolVar(&full, "full-feature-names", false, "the model knows features as view__feature")
	who.add(c)
	return c
}

func (a *app) modelsUnserveCommand() *cobra.Command {
	var who whoFlags
	c := a.tableVerb("unserve MODEL@VERSION", "Declare that a version does not answer any more", 1, func(ctx context.Context, conn *client.Client, args []string) error {
		name, version, err := parseModelVersion(args[0])
		if err != nil {
			return err
		}
		v, err := conn.RemoveModelServer(ctx, name, version, who.by, who.reason)
		return a.answerVersion(v, err, "is not served any more")
	})
	who.add(c)
	return c
}

// parseModelVersion reads MODEL@VERSION, where the version is a number or an alias.
func parseModelVersion(text string) (driftline.ModelName, string, error) {
	name, version, _ := cutVersion(text)
	if name == "" || version == "" {
		return "", "", usagef("%q is not a version of a model: write MODEL@VERSION, for example late_departure@2", text)
	}
	return driftline.ModelName(name), version, nil
}
