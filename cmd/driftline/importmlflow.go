package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/migrate"
	"github.com/spf13/cobra"
)

func (a *app) importCommand() *cobra.Command {
	c := &cobra.Command{Use: "import", Short: "Bring what another system has into the server"}
	c.AddCommand(a.importMLflowCommand())
	return c
}

func (a *app) importMLflowCommand() *cobra.Command {
	var experiments []string
	var program, files string
	c := &cobra.Command{
		Use:   "mlflow URL|PATH",
		Short: "Copy experiments, runs, files and models of an MLflow server, a folder mlruns or an SQLite file",
		Long: "Copy what an MLflow server has, over its REST API: experiments, runs with every point of their metrics, files, logged\n" +
			"models, registered models with versions, stages, aliases and tags. Ids of runs and logged models, numbers of versions and\n" +
			"times are kept. What came over is counted on both sides. An import that was interrupted goes on where it was when it is\n" +
			"begun again, and one that was finished changes nothing; runs that still went on are completed then.\n\n" +
			"A folder or an SQLite file is read by a server of MLflow, which is started for it. Credentials are read from\n" +
			"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
		Example: "  driftline import mlflow http://mlflow.example:5000\n  driftline import mlflow http://127.0.0.1:5000 --experiment late_departure\n" +
			"  driftline import mlflow ./mlruns\n  driftline import mlflow mlflow.db --mlflow .venv/bin/mlflow",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.importMLflow(c.Context(), args[0], mlflowStore{program: program, files: files}, experiments)
		},
	}
	c.Flags().StringArrayVar(&experiments, "experiment", nil, "copy this experiment, and the models made in it (again for another)")
	c.Flags().StringVar(&program, "mlflow", "mlflow", "the program that serves a folder or a file")
	c.Flags().StringVar(&files, "artifacts", "", "the folder of a folder's or file's artifacts, if a server kept them (default mlartifacts beside it)")
	return c
}

// mlflowStore is how a store on disk is served.
type mlflowStore struct{ program, files string }

func (a *app) importMLflow(ctx context.Context, source string, on mlflowStore, experiments []string) (err error) {
	chosen, err := a.settings()
	if err != nil {
		return err
	}
	address := source
	if !strings.Contains(source, "://") {
		served, stop, err := on.serve(ctx, source, a.stderr)
		if err != nil {
			return err
		}
		defer stop()
		address = served
	}
	m := migrate.Migration{Experiments: experiments, Progress: a.importProgress(),
		From: &migrate.Server{URL: address, User: a.variable("MLFLOW_TRACKING_USERNAME"), Password: a.variable("MLFLOW_TRACKING_PASSWORD"), Token: a.variable("MLFLOW_TRACKING_TOKEN")},
		To:   &migrate.Server{URL: chosen.Server},
	}
	if address != source {
		m.Origin = "file:" + absolute(source)
	}
	report, err := m.Run(ctx)
	if err != nil {
		return importStopped(report, err)
	}
	if err := a.answer(report, func(w io.Writer) error { return printImport(w, report) }); err != nil {
		return err
	}
	if !report.Complete() {
		return driftline.Errorf(driftline.FailedPrecondition, "not everything was copied").WithHint("begin the import again; what is here already is not copied twice")
	}
	return nil
}

// importStopped says how far an import came.
func importStopped(report *migrate.Report, err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("it was stopped")
	}
	return driftline.Errorf(driftline.Unavailable, "the import ended after %d runs: %w", report.Runs.Here, err).
		WithHint("begin it again: it goes on where it was")
}

// variable is the value of an environment variable, "" if there is none.
func (a *app) variable(name string) string {
	for _, one := range a.environ() {
		if value, ok := strings.CutPrefix(one, name+"="); ok {
			return value
		}
	}
	return ""
}

// importProgress says now and then how far an import is.
func (a *app) importProgress() func(migrate.Report) {
	var last time.Time
	return func(r migrate.Report) {
		if a.asJSON || time.Since(last) < 2*time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintf(a.stderr, "%d of %d runs seen are here, %d points, %d files (%d MiB), %d versions\n",
			r.Runs.Here, r.Runs.There, r.Points.Here, r.Files.Here, r.Bytes.Here>>20, r.Versions.Here)
	}
}

func printImport(w io.Writer, r *migrate.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tthere\there\t")
	for _, row := range []struct {
		name  string
		count migrate.Count
	}{
		{"experiments", r.Experiments}, {"runs", r.Runs}, {"params", r.Params}, {"metric points", r.Points}, {"files", r.Files}, {"bytes", r.Bytes},
		{"logged models", r.LoggedModels}, {"models", r.Models}, {"versions", r.Versions}, {"aliases", r.Aliases},
	} {
		mark := ""
		if row.count.There != row.count.Here {
			mark = "differs"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", row.name, row.count.There, row.count.Here, mark)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Before > 0 {
		fmt.Fprintf(w, "%d runs were copied by an earlier import.\n", r.Before)
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(w, "not copied:", printable(problem))
	}
	return nil
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// startTime is how long a server of MLflow may take until it answers.
const startTime = 5 * time.Minute

// serve starts a server of MLflow over a folder or a file of SQLite, on a free port of this
// machine. stop ends it.
func (on mlflowStore) serve(ctx context.Context, path string, log io.Writer) (address string, stop func(), err error) {
	store, err := storeOf(path)
	if err != nil {
		return "", nil, err
	}
	found, err := exec.LookPath(on.program)
	if err != nil {
		return "", nil, driftline.Errorf(driftline.FailedPrecondition, "%s is read by a server of MLflow, and there is no program %q", path, on.program).
			WithHint("say where it is with --mlflow, or start `mlflow server` yourself and give its URL")
	}
	port, err := freePort(ctx)
	if err != nil {
		return "", nil, err
	}
	running, cancel := context.WithCancel(ctx)
	command := exec.CommandContext(running, found, "server", "--host", "127.0.0.1", "--port", port, "--workers", "1", "--backend-store-uri", store,
		"--artifacts-destination", cmp.Or(on.files, filepath.Join(filepath.Dir(absolute(path)), "mlartifacts")))
	command.Env = append(os.Environ(), "MLFLOW_ALLOW_FILE_STORE=true")
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	setGroup(command)
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		cancel()
		return "", nil, driftline.Errorf(driftline.FailedPrecondition, "%q cannot be started: %w", on.program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait(); close(ended) }()
	stop = func() {
		cancel()
		for range ended { // until it is closed
		}
	}
	address = "http://127.0.0.1:" + port
	fmt.Fprintf(log, "%s is served by %s\n", path, found)
	if err := awaitMLflow(ctx, address, ended); err != nil {
		stop()
		tail := said.String()
		return "", nil, driftline.Errorf(driftline.FailedPrecondition, "the server of MLflow over %s does not answer: %w", path, err).
			WithHint("it said: %s", strings.TrimSpace(tail[max(0, len(tail)-600):]))
	}
	return address, stop, nil
}

// storeOf is how MLflow names a store on disk.
func storeOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", driftline.Errorf(driftline.NotFound, "there is no file or folder %s", path).WithHint("give the URL of a server, a folder mlruns, or a file of SQLite")
	}
	if info.IsDir() {
		return absolute(path), nil
	}
	return "sqlite:///" + absolute(path), nil
}

func freePort(ctx context.Context) (string, error) {
	l, err := listen(ctx, "server", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

func awaitMLflow(ctx context.Context, address string, ended <-chan error) error {
	deadline := time.After(startTime)
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/health", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return fmt.Errorf("it ended: %v", err)
		case <-deadline:
			return errors.New("it takes too long")
		case <-time.After(200 * time.Millisecond):
		}
	}
}
