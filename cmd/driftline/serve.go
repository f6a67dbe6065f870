package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/executor"
	"github.com/driftline/driftline/flight"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/internal/replay"
	"github.com/driftline/driftline/openlineage"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/web"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

func (a *app) serveCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the server: HTTP, Arrow Flight and Flight SQL over one data folder",
		Long: "Run the server until SIGTERM or SIGINT, then finish what is running and stop. A second signal stops at once;\n" +
			"nothing that was acknowledged is lost either way.\n\n" +
			"It listens on this machine only. Other addresses need TLS and tokens, which are not there yet, so they need\n" +
			"--insecure: everyone who can reach the address can then read and write everything.",
		Example: "  driftline serve\n  driftline serve --data /var/lib/driftline --log-format json\n" +
			"  DRIFTLINE_HTTP=127.0.0.1:9000 driftline serve",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context()) },
	}
	addServerSettings(command.Flags())
	return command
}

// drainTime is how long running requests get once the server was told to stop.
const drainTime = 30 * time.Second

// threadsPerCore lets the kernel take turns between what works for long, such as a merge of
// files, and what answers: Go itself interrupts a goroutine after ten milliseconds only, for
// which a read would wait on a machine of few cores.
const threadsPerCore = 2

// raiseThreads gives goroutines more threads than there are cores, unless GOMAXPROCS says
// how many, and returns the number of cores.
func (a *app) raiseThreads() (cores int) {
	cores = runtime.GOMAXPROCS(0)
	if !slices.ContainsFunc(a.environ(), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") }) {
		runtime.GOMAXPROCS(threadsPerCore * cores)
	}
	return cores
}

func (a *app) serve(ctx context.Context) (err error) {
	pace := startGCPace()
	defer pace.stop()
	chosen, err := a.settings()
	if err != nil {
		return err
	}
	for _, address := range []string{chosen.HTTP, chosen.Flight} {
		if err := checkAddress(ctx, address, chosen.Insecure); err != nil {
			return err
		}
	}
	log := chosen.logger(a.stderr)
	stopTracing, err := startTracing(ctx, chosen.OTelEndpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopTracing()) }()

	httpListener, err := listen(ctx, "http", chosen.HTTP)
	if err != nil {
		return err
	}
	defer httpListener.Close() // closed twice in the good case, which does no harm
	flightListener, err := listen(ctx, "flight", chosen.Flight)
	if err != nil {
		return err
	}
	defer flightListener.Close()

	limits, err := chosen.sqlOptions()
	if err != nil {
		return err
	}
	sink, err := openlineage.Open(openlineage.Settings{URL: chosen.OpenLineage, Namespace: chosen.OpenLineageNamespace, APIKey: chosen.OpenLineageAPIKey})
	if err != nil {
		return err
	}
	channels, checks, err := readChannels(chosen.Channels, a.environ(), log)
	if err != nil {
		return err
	}
	jobs, err := chosen.jobs(a.environ(), httpListener.Addr().String(), flightListener.Addr().String())
	if err != nil {
		return err
	}
	clock, err := chosen.replayClock()
	if err != nil {
		return err
	}
	networks, err := chosen.modelNetworks()
	if err != nil {
		return err
	}
	scorer := gateway.NewScorer(networks)
	defer scorer.Close()
	options := &engine.Options{
		Logger: log, Channels: channels, CheckChannels: checks, Jobs: executor.New(jobs), Restored: chosen.Restored, Threads: a.raiseThreads(), Sources: chosen.AllowSource, SQL: limits,
		Retention:           driftline.Retention{Last: chosen.KeepSnapshots, MaxAge: driftline.Duration(chosen.KeepAge)},
		CompactionBandwidth: chosen.compactionBandwidth(),

		OpenLineage: sink, Score: scorer.Score,
	}
	if clock != nil {
		options.Now, options.Uptime = clock.Now, clock.Uptime
	}
	e, err := engine.Open(ctx, chosen.Data, options)
	if err != nil && ctx.Err() != nil { // it goes on when the folder is opened again
		fmt.Fprintln(a.stdout, "Stopped.")
		return nil
	}
	if err != nil {
		return aboutFolder(chosen.Data, err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	models := gateway.New(e, &gateway.Options{Logger: log, Version: buildVersion(), Networks: networks})
	defer models.Close()
	pace.release()
	return a.answerUntil(ctx, e, models, clock, log, chosen.Data, httpListener, flightListener)
}

// sqlOptions make SELECTs run in processes of this program.
func (s *settings) sqlOptions() (query.SQLOptions, error) {
	command, err := query.WorkerCommand()
	return query.SQLOptions{Command: command, Workers: s.SQLWorkers, MemoryBytes: s.SQLMemory << 20, Timeout: s.SQLTimeout}, err
}

// aboutFolder names the folder as the user did; the engine's messages name no path,
// because they may go over the wire.
func aboutFolder(folder string, err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Message = folder + ": " + e.Message
	return &named
}

// answerUntil serves both doors until ctx ends or one of them fails.
func (a *app) answerUntil(ctx context.Context, e *engine.Engine, models *gateway.Gateway, clock *replay.Clock, log *slog.Logger, folder string, httpListener, flightListener net.Listener) error {
	flightAddress := flightListener.Addr().String()
	httpServer := web.New(e, &web.Options{Logger: log, Version: buildVersion(), FlightAddress: flightAddress, Gateway: models, Replay: clock})
	flightServer := flight.New(e, &flight.Options{Logger: log, Version: buildVersion(), Register: models.Register})
	failed := make(chan error, 2)
	go func() { failed <- httpServer.Serve(httpListener) }()
	go func() { failed <- flightServer.Serve(flightListener) }()

	fmt.Fprintf(a.stdout, "Driftline %s is serving %s\n", buildVersion(), folder)
	if clock != nil {
		fmt.Fprintf(a.stdout, "  It goes through the past. It is %s until driftline clock --to says otherwise.\n", clock.Now().UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(a.stdout, "  UI and HTTP API     http://%s\n", httpListener.Addr())
	fmt.Fprintf(a.stdout, "  Flight, Flight SQL  grpc://%s\n", flightAddress)

	running := 2
	var errs []error
	select {
	case <-ctx.Done():
		log.Info("stopping", "drain", drainTime)
	case err := <-failed:
		running--
		errs = append(errs, err)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	// At once, so that a slow request at one door leaves the other its time to drain.
	var httpErr, flightErr error
	var doors sync.WaitGroup
	doors.Go(func() { httpErr = httpServer.Shutdown(drain) })
	doors.Go(func() { flightErr = flightServer.Shutdown(drain) })
	doors.Wait()
	errs = append(errs, httpErr, flightErr)
	for range running {
		errs = append(errs, <-failed)
	}
	fmt.Fprintln(a.stdout, "Stopped.")
	return errors.Join(errs...)
}

// logger is what background work and every request log through.
func (s *settings) logger(w io.Writer) *slog.Logger {
	level, _ := s.level() // checked when the settings were read
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// checkAddress refuses addresses that other machines can reach, until there is
// TLS and a token to guard them.
func checkAddress(ctx context.Context, address string, insecure bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("address %q is not valid: write host:port", address)
	}
	if insecure {
		return nil
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if host != "" && err != nil {
		return driftline.Errorf(driftline.Invalid, "address %q: host %q is not known", address, host)
	}
	for _, found := range addresses {
		if !found.IP.IsLoopback() {
			host = ""
		}
	}
	if host == "" {
		return driftline.Errorf(driftline.Permission, "address %q can be reached by other machines, and this version has no TLS and no tokens yet", address).
			WithHint("listen on 127.0.0.1, or add --insecure if everyone who can reach it may read and write everything")
	}
	return nil
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, driftline.Errorf(driftline.Unavailable, "address %s is in use", address).
			WithHint("is another driftline serve running? choose another address with --%s", flag)
	case errors.Is(err, syscall.EACCES):
		return nil, driftline.Errorf(driftline.Permission, "address %s may not be used by this user", address).
			WithHint("choose a port above 1023 with --%s", flag)
	}
	return nil, driftline.Errorf(driftline.Unavailable, "cannot listen on %s: %w", address, err).
		WithHint("choose another address with --%s", flag)
}

// startTracing sends spans to an OTLP collector; without an endpoint spans cost
// nothing and go nowhere.
func startTracing(ctx context.Context, endpoint string) (stop func() error, err error) {
	if endpoint == "" {
		return func() error { return nil }, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "tracing to %q cannot be started: %w", endpoint, err).WithHint("write host:port, or leave --otel-endpoint out")
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "driftline"), attribute.String("service.version", buildVersion()))))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() error {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = provider.Shutdown(flush) // a collector that is away is no reason to fail
		return nil
	}, nil
}
