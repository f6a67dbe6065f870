package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitDrift  = 3
)

// app is one run of the command line: its streams and its flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        func() []string

	flags  *pflag.FlagSet // of the command that runs
	asJSON bool
}

// usageError is a mistake in how the command line was written.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errDrift says that drift was found. It has been reported already.
var errDrift = errors.New("drift was found")

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errDrift) || errors.Is(err, errDifferent) || errors.Is(err, errProblems) || errors.Is(err, errChecksFailed) || errors.Is(err, errNotPromoted) || errors.Is(err, errGateClosed) || errors.Is(err, errStepSaysNo) {
		return exitDrift
	}
	if errors.Is(err, errStepFailed) {
		return exitFailed
	}
	a.printError(err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(a.stderr, "See %s --help.\n", command.CommandPath())
		return exitUsage
	}
	return exitFailed
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "driftline",
		Short: "Feature store and drift analytics in one binary",
		Long: "Driftline keeps features, training sets, experiments and models as columnar data,\n" +
			"serves them to training and to production from one definition, and says when they have drifted.",
		Example: "  driftline serve &\n" +
			"  driftline init example && driftline apply example/definitions.yaml\n" +
			"  driftline ingest weather example/weather.csv\n" +
			"  driftline online --features weather:temp --entity airport=JFK,EWR --at 2013-01-31T15:30:00Z",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return c.Help()
		},
		PersistentPreRun: func(c *cobra.Command, _ []string) { a.flags = c.Flags() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().BoolVar(&a.asJSON, "json", false, "answer as JSON")
	addClientSettings(root.PersistentFlags())
	root.AddCommand(a.predictionsCommand(), a.labelCommand(), a.labelsCommand(), a.askLabelsCommand())
	root.AddCommand(a.serveCommand(), a.initCommand(), a.applyCommand(), a.planCommand(), a.ingestCommand(), a.importCommand(),
		a.datasetCommand(), a.historicalCommand(), a.onlineCommand(), a.historyCommand(), a.sqlCommand(), a.driftCommand(), a.validateCommand(), a.validationsCommand(), a.presetsCommand(), a.profileCommand(), a.profilesCommand(), a.detectCommand(), a.performanceCommand(), a.monitorCommand(), a.alertCommand(), a.policyCommand(), a.trainCommand(), a.trainingCommand(),
		a.experimentsCommand(), a.runsCommand(),
		a.modelsCommand(), a.timelineCommand(), a.eventsCommand(), a.routeCommand(), a.predictCommand(), a.rolloutCommand(), a.gateCommand(), a.promoteCommand(), a.runCommand(), a.pipelineCommand(), a.exportCommand(), a.lineageCommand(), a.whyCommand(), a.tableCommand(), a.materializeCommand(), a.switchCommand(), a.checkCommand(), a.fsckCommand(), a.eraseCommand(), a.clockCommand(), a.versionCommand(), completionCommand())
	for _, group := range root.Commands() {
		refuseStrangers(group)
	}
	return root
}

// refuseStrangers has a group of commands refuse a word that is none of them, which cobra would answer with the
// group's help, as if all were well.
func refuseStrangers(group *cobra.Command) {
	takes := func(args ...string) bool { return group.Args(group, args) == nil }
	if !group.HasSubCommands() || group.Args != nil && (!takes() || takes("word")) {
		return
	}
	group.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(c, args[0])
	}
	for _, sub := range group.Commands() {
		refuseStrangers(sub)
	}
}

func unknownCommand(group *cobra.Command, name string) error {
	var known []string
	for _, c := range group.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	if near := driftline.Nearest(name, known); near != "" {
		return usagef("there is no command %q; did you mean %q?", name, near)
	}
	if group.HasParent() {
		return usagef("%s has no command %q; it has %s", group.CommandPath(), name, strings.Join(known, ", "))
	}
	return usagef("there is no command %q", name)
}

// exactly, and its kin below, make cobra's complaints about arguments usage errors.
func exactly(n int) cobra.PositionalArgs { return asUsage(cobra.ExactArgs(n)) }

func atLeast(n int) cobra.PositionalArgs { return asUsage(cobra.MinimumNArgs(n)) }

func atMost(n int) cobra.PositionalArgs { return asUsage(cobra.MaximumNArgs(n)) }

func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// printError tells a person or, with --json, a program what went wrong.
func (a *app) printError(err error) {
	var e *driftline.Error
	if !errors.As(err, &e) {
		e = &driftline.Error{Code: driftline.Internal, Message: err.Error()}
		var usage usageError
		if errors.As(err, &usage) {
			e.Code = driftline.Invalid
		}
	}
	if a.asJSON {
		if text, err := json.Marshal(e); err == nil {
			fmt.Fprintf(a.stderr, "%s\n", text)
			return
		}
	}
	paint := painter(a.stderr)
	fmt.Fprintf(a.stderr, "%s %s\n", paint(red, "error:"), e.Message)
	if e.Hint != "" {
		fmt.Fprintf(a.stderr, "%s %s\n", paint(dim, "hint:"), e.Hint)
	}
}

// connect dials the server of the settings. The caller closes the client.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	chosen, err := a.settings()
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, chosen.Server)
}

// settings reads the settings when a command needs them: a mistake in a settings
// file does not keep driftline version from working.
func (a *app) settings() (settings, error) { return loadSettings(a.flags, a.environ()) }

// withServer runs f with a connected client.
func (a *app) withServer(ctx context.Context, f func(*client.Client) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

// listing is the run of a command that lists all of a kind. In JSON they are under name.
func listing[T any](a *app, name string, ask func(*client.Client, context.Context) ([]T, error), print func(io.Writer, []T) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		return a.withServer(c.Context(), func(server *client.Client) error {
			all, err := ask(server, c.Context())
			if err != nil {
				return err
			}
			return a.answer(map[string]any{name: all}, func(w io.Writer) error { return print(w, all) })
		})
	}
}

// answer prints value as JSON if that was asked for, and by human otherwise.
func (a *app) answer(value any, human func(w io.Writer) error) error {
	if !a.asJSON {
		return human(a.stdout)
	}
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// isTerminal reports whether a person is watching w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
