package main

import (
	"cmp"
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
	{"pit", pitParts},
	{"online", onlineParts},
	{"ingest", ingestParts},
	{"flight", flightParts},
	{"sql", sqlParts},
	{"tracking", trackingParts},
	{"drift", driftParts},
	{"drift-null", driftNullParts},
	{"drift-power", driftPowerParts},
	{"drift-concept", conceptParts},
	{"rollout", rolloutParts},
	{"gateway", gatewayParts},
	{"profile", profileParts},
}

// suite is a table of results.
type suite struct {
	name  string
	parts []part
}

// part is what can be run by itself. Parts of one run share a server and its tables.
type part struct {
	name string
	does string // in a line
	big  bool   // takes many minutes and gigabytes: full size only if it is named
	run  func(context.Context, *bench) error
}

// selves are the servers, and the caller, that this binary can be, so that a part has one in a process of its own.
var selves = map[string]func(io.Reader, io.Writer) error{
	floorCommand: serveFloor, modelCommand: serveModel, proxyCommand: serveProxy, attackCommand: attackServer,
}

func main() {
	if len(os.Args) == 2 && selves[os.Args[1]] != nil {
		fmt.Fprintln(os.Stderr, "bench:", selves[os.Args[1]](os.Stdin, os.Stdout))
		os.Exit(1)
	}
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
	quick := flags.Bool("quick", false, "tiny data and one pair: shows that everything works, measures nothing, keeps no results")
	only := flags.String("only", "", "parts to run, separated by commas; big ones run only if they are named here")
	binary := flags.String("driftline", "", "the server's binary; built from this repository if not given")
	folder := flags.String("results", "", "where results are kept; bench/results if not given")
	write := flags.Bool("write", false, "with report: put the tables into bench/RESULTS.md")
	name, args := firstWord(args)
	if err := flags.Parse(args); err != nil {
		return err
	}
	rest := flags.Args()
	if name == "" {
		name, rest = firstWord(rest)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%q is too much: write SUITE and then the flags", strings.Join(rest, " "))
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	results := cmp.Or(*folder, filepath.Join(root, "bench", "results"))
	switch name {
	case "report":
		return report(out, results, filepath.Join(root, "bench", "RESULTS.md"), *write)
	case "list":
		return list(out)
	}
	chosen, err := choose(name, *only, *quick)
	if err != nil {
		return err
	}
	var failed []error
	for _, s := range chosen {
		b := &bench{root: root, results: results, quick: *quick, out: out, trackers: map[string]*tracker{}}
		if *binary != "" {
			if b.binary, err = filepath.Abs(*binary); err != nil {
				return err
			}
		}
		if err := runSuite(ctx, s, b, results); err != nil {
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

// list prints all suites and parts.
func list(out io.Writer) error {
	for _, s := range suites {
		for _, p := range s.parts {
			line := fmt.Sprintf("%-14s %-10s %s", s.name, p.name, p.does)
			if p.big {
				line += " (big: -only)"
			}
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose returns the suites to run, each with those of its parts that are to run.
func choose(name, only string, quick bool) ([]suite, error) {
	if name == "all" && only != "" {
		return nil, errors.New("-only names parts of one suite; write it in place of all")
	}
	var chosen []suite
	for _, s := range suites {
		if name != "all" && name != s.name {
			continue
		}
		parts, err := s.choose(only, quick)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, suite{s.name, parts})
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("suite %q is not known; write one of %s, all, list, report", name, strings.Join(suiteNames(), ", "))
	}
	return chosen, nil
}

func (s suite) choose(only string, quick bool) ([]part, error) {
	if only == "" {
		return slices.DeleteFunc(slices.Clone(s.parts), func(p part) bool { return p.big && !quick }), nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(s.parts, func(p part) bool { return p.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("suite %s has no part %q; it has %s", s.name, name, strings.Join(s.partNames(), ", "))
		}
		chosen = append(chosen, s.parts[i])
	}
	return chosen, nil
}

func (s suite) partNames() (names []string) {
	for _, p := range s.parts {
		names = append(names, p.name)
	}
	return names
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

// runSuite gives the suite a folder of its own, and keeps the results of each part
// that ended, also in a failure. What a run that was interrupted has begun is not kept:
// half a part would replace a whole one.
func runSuite(ctx context.Context, s suite, b *bench, results string) (err error) {
	b.dir, err = os.MkdirTemp("", "driftline-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stopShared(), os.RemoveAll(b.dir)) }()
	b.machine = describeMachine(ctx, b.root, b.quick)
	fmt.Fprintf(b.out, "\n%s  (%s)\n%s\n", s.name, b.machine.summary(), tableHead())
	var ran []string
	var failed []error
	for _, p := range s.parts {
		b.part = p.name
		b.progress("%s: %s", p.name, p.does)
		err := p.run(ctx, b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("part %s: %w", p.name, err))
		}
		if b.quick || !b.hasRows(p.name) {
			continue
		}
		ran = append(ran, p.name)
		if err := keepResults(results, known(s.name), suiteResults{Machine: b.machine, Rows: b.rows}, ran); err != nil {
			return err
		}
	}
	return errors.Join(append(failed, b.failure())...)
}

func (b *bench) hasRows(part string) bool {
	return slices.ContainsFunc(b.rows, func(r row) bool { return r.Part == part })
}

// known is the suite of that name with all its parts.
func known(name string) suite {
	return suites[slices.IndexFunc(suites, func(s suite) bool { return s.name == name })]
}
