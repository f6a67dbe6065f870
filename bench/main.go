package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// suites in the order in which "all" runs them.
var suites = []suite{
	{"pit", pitSuite},
	{"online", onlineSuite},
	{"ingest", ingestSuite},
	{"flight", flightSuite},
	{"drift", driftSuite},
}

type suite struct {
	name string
	run  func(context.Context, *bench) error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "small data and 3 pairs: at most 2 minutes per suite")
	write := flags.Bool("write", false, "with report: put the tables into bench/RESULTS.md")
	name, args := firstWord(args)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if name == "" {
		name = flags.Arg(0)
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	results := filepath.Join(root, "bench", "results")
	if name == "report" {
		return report(out, results, filepath.Join(root, "bench", "RESULTS.md"), *write)
	}
	chosen := chooseSuites(name)
	if len(chosen) == 0 {
		return fmt.Errorf("suite %q is not known; write one of %s, all, report", name, strings.Join(suiteNames(), ", "))
	}
	var failed []error
	for _, s := range chosen {
		if err := runSuite(ctx, s, &bench{root: root, quick: *quick, out: out}, results); err != nil {
			failed = append(failed, fmt.Errorf("suite %s: %w", s.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// firstWord lets the suite stand before the flags, where the flag package would stop.
func firstWord(args []string) (word string, rest []string) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0], args[1:]
	}
	return "", args
}

func chooseSuites(name string) []suite {
	if name == "all" {
		return suites
	}
	i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return suites[i : i+1]
}

func suiteNames() (names []string) {
	for _, s := range suites {
		names = append(names, s.name)
	}
	return names
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("run it inside the repository: go run ./bench SUITE")
	}
	return filepath.Dir(file), nil
}

// runSuite gives the suite a folder of its own, and keeps its results, also those
// of a suite that failed half way.
func runSuite(ctx context.Context, s suite, b *bench, results string) (err error) {
	b.dir, err = os.MkdirTemp("", "driftline-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.machine = describeMachine(ctx, b.root, b.quick)
	fmt.Fprintf(b.out, "\n%s  (%s)\n%s\n", s.name, b.machine.summary(), tableHead())
	err = s.run(ctx, b)
	if ctx.Err() != nil {
		return ctx.Err() // half a suite would replace a whole one
	}
	return errors.Join(err, b.failure(), writeResults(results, s.name, suiteResults{Machine: b.machine, Rows: b.rows}))
}
