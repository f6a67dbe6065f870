package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) runsCommand() *cobra.Command {
	var experiments []string
	var search driftline.RunSearch
	var groupBy string
	var metrics []string
	command := &cobra.Command{
		Use:   "runs [RUN]",
		Short: "List and search runs, or describe one",
		Example: `  driftline runs --experiment late_departure
  driftline runs --filter "metrics.auc > 0.7 AND (params.depth > 6 OR tags.team = 'ops')" --order-by "metrics.auc DESC"
  driftline runs --group-by params.depth --metric auc
  driftline runs late_departure-1 --json`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				if len(args) == 1 {
					run, err := server.Run(c.Context(), driftline.RunID(args[0]))
					if err != nil {
						return err
					}
					return a.answer(run, func(w io.Writer) error { return printRun(w, run) })
				}
				for _, name := range experiments {
					search.Experiments = append(search.Experiments, driftline.ExperimentName(name))
				}
				if groupBy != "" {
					return a.groupedRuns(c, server, groupBy, metrics, search)
				}
				found, err := server.SearchRuns(c.Context(), search)
				if err != nil {
					return err
				}
				return a.answer(found, func(w io.Writer) error { return printRuns(w, found, search) })
			})
		},
	}
	flags := command.Flags()
	flags.StringArrayVar(&experiments, "experiment", nil, "only runs of this experiment; may be repeated")
	flags.StringVar(&search.Filter, "filter", "", "only runs that this is true of (docs/mlflow.md has the language)")
	flags.StringArrayVar(&search.OrderBy, "order-by", nil, `such as "metrics.auc DESC"; may be repeated; the newest first if left out`)
	flags.BoolVar(&search.Deleted, "deleted", false, "deleted runs in place of the others")
	flags.StringVar(&groupBy, "group-by", "", "in groups by a param, a tag, parent or an attribute (params.depth), with what their metrics are")
	flags.StringArrayVar(&metrics, "metric", nil, "with --group-by: this metric; may be repeated; those that most runs have if left out")
	flags.IntVar(&search.Limit, "limit", 1000, "at most so many")
	flags.IntVar(&search.Offset, "offset", 0, "skip so many first")
	command.AddCommand(a.uploadCommand(), a.deleteRunCommand(), a.restoreRunCommand(), a.cleanUpRunsCommand())
	return command
}

func (a *app) deleteRunCommand() *cobra.Command {
	return a.changeRunsCommand(&cobra.Command{
		Use:     "delete RUN…",
		Short:   "Hide runs, until they are restored or removed for good",
		Example: "  driftline runs delete late_departure-1",
	}, (*client.Client).DeleteRun, "deleted")
}

func (a *app) restoreRunCommand() *cobra.Command {
	return a.changeRunsCommand(&cobra.Command{
		Use:     "restore RUN…",
		Short:   "Show deleted runs again",
		Example: "  driftline runs restore late_departure-1",
	}, (*client.Client).RestoreRun, "restored")
}

// changeRunsCommand does something to each run that is named.
func (a *app) changeRunsCommand(command *cobra.Command, change func(*client.Client, context.Context, driftline.RunID) (*driftline.Run, error), done string) *cobra.Command {
	command.Args = cobra.MinimumNArgs(1)
	command.RunE = func(c *cobra.Command, args []string) error {
		return a.withServer(c.Context(), func(server *client.Client) error {
			var runs []driftline.Run
			for _, id := range args {
				run, err := change(server, c.Context(), driftline.RunID(id))
				if err != nil {
					return err
				}
				runs = append(runs, *run)
			}
			return a.answer(map[string]any{"runs": runs}, func(w io.Writer) error {
				for _, run := range runs {
					if _, err := fmt.Fprintf(w, "%s is %s.\n", run.ID, done); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return command
}

func (a *app) cleanUpRunsCommand() *cobra.Command {
	var cleanup driftline.RunCleanup
	var runs, experiments []string
	var older string
	command := &cobra.Command{
		Use:   "gc",
		Short: "Remove for good what was deleted: runs, logged models, experiments",
		Long: "Remove for good runs, logged models and experiments that were deleted before: their metrics, their files and\n" +
			"their places in every list. Their lines stay in the ledger, and versions of registered models keep their files.\n" +
			"The bytes of files that nobody else has go with the next collection, within a day.",
		Example: "  driftline runs gc --dry-run\n  driftline runs gc --older-than 30d --reason 'kept for a month'",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if cleanup.OlderThan, err = driftline.ParseDuration(older); err != nil {
				return err
			}
			for _, id := range runs {
				cleanup.Runs = append(cleanup.Runs, driftline.RunID(id))
			}
			for _, id := range experiments {
				cleanup.Experiments = append(cleanup.Experiments, driftline.ExperimentID(id))
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				removed, err := server.CleanUpRuns(c.Context(), cleanup)
				if err != nil {
					return err
				}
				return a.answer(removed, func(w io.Writer) error { return printRemovedRuns(w, removed, cleanup.DryRun) })
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&older, "older-than", "", "only what was deleted so long ago: 30d")
	flags.StringArrayVar(&runs, "run", nil, "only this run, and the logged models that it made; may be repeated")
	flags.StringArrayVar(&experiments, "experiment-id", nil, "only what is in this experiment; may be repeated")
	flags.BoolVar(&cleanup.DryRun, "dry-run", false, "say what would be removed, and remove nothing")
	flags.StringVar(&cleanup.Reason, "reason", "", "why, for the ledger")
	flags.StringVar(&cleanup.By, "by", "", "who, for the ledger")
	return command
}

func printRemovedRuns(w io.Writer, removed *driftline.RunsRemoved, dry bool) error {
	if len(removed.Runs)+len(removed.LoggedModels)+len(removed.Experiments) == 0 {
		_, err := fmt.Fprintln(w, "Nothing that was deleted is like that.")
		return err
	}
	word := "removed"
	if dry {
		word = "would be removed"
	}
	t := newTable(word, "id")
	for _, id := range removed.Runs {
		t.add("run", string(id))
	}
	for _, id := range removed.LoggedModels {
		t.add("logged model", string(id))
	}
	for _, id := range removed.Experiments {
		t.add("experiment", string(id))
	}
	return t.print(w)
}

func printRuns(w io.Writer, found *driftline.FoundRuns, search driftline.RunSearch) error {
	if len(found.Runs) == 0 {
		text := "No run is logged yet."
		if search.Filter != "" || search.Deleted || search.Offset > 0 || len(search.Experiments) > 0 {
			text = "No run is like that."
		}
		_, err := fmt.Fprintln(w, text)
		return err
	}
	t := newTable("run", "experiment", "name", "status", "started", "metrics")
	for _, r := range found.Runs {
		t.add(string(r.ID), printable(string(r.Experiment)), printable(r.Name), string(r.Status), stamp(r.Started), metricsText(r.Metrics))
	}
	if err := t.print(w); err != nil || !found.More {
		return err
	}
	_, err := fmt.Fprintf(w, "There are more: --offset %d\n", search.Offset+len(found.Runs))
	return err
}

func (a *app) experimentsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "experiments",
		Short: "List experiments",
		Args:  atMost(0),
		RunE:  listing(a, "experiments", (*client.Client).Experiments, printExperiments),
	}
}

func printExperiments(w io.Writer, experiments []driftline.Experiment) error {
	t := newTable("id", "name", "runs", "last run", "")
	for _, e := range experiments {
		last, deleted := "", ""
		if !e.Last.IsZero() {
			last = stamp(e.Last)
		}
		if e.Deleted {
			deleted = "deleted"
		}
		t.add(string(e.ID), printable(string(e.Name)), strconv.Itoa(e.Runs), last, deleted)
	}
	return t.print(w)
}

func metricsText(metrics map[string]driftline.Number) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(metrics)) {
		parts = append(parts, printable(key)+"="+metricText(metrics[key]))
	}
	return strings.Join(parts, " ")
}

func printRun(w io.Writer, r *driftline.Run) error {
	name := ""
	if r.Name != "" {
		name = " (" + printable(r.Name) + ")"
	}
	status := string(r.Status)
	if r.Reason != "" {
		status += ", " + printable(r.Reason)
	}
	fmt.Fprintf(w, "%s%s: %s, experiment %s, started %s\n", r.ID, name, status, printable(string(r.Experiment)), stamp(r.Started))
	if r.Fork != nil {
		fmt.Fprintf(w, "forked from %s at step %d\n", r.Fork.Run, r.Fork.Step)
	}
	for _, input := range r.Inputs {
		fmt.Fprintf(w, "read %s\n", input)
	}
	for _, d := range r.Datasets {
		fmt.Fprintf(w, "read data %s, digest %s\n", printable(d.Name), printable(d.Digest))
	}
	t := newTable("kind", "name", "value")
	for _, key := range slices.Sorted(maps.Keys(r.Params)) {
		t.add("param", printable(key), printable(r.Params[key]))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metrics)) {
		t.add("metric", printable(key), metricText(r.Metrics[key]))
	}
	for _, artifact := range r.Artifacts {
		t.add("artifact", printable(artifact.Path), fmt.Sprintf("%d bytes, sha256 %s", artifact.Size, artifact.SHA256))
	}
	if len(t.rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return t.print(w)
}

func (a *app) lineageCommand() *cobra.Command {
	var down bool
	var depth int
	command := &cobra.Command{
		Use:   "lineage REF",
		Short: "Show what a thing was made from, or what was made from it",
		Long: "Show, as a tree, what a thing was made from, back to snapshots and files.\n" +
			"A reference is kind/name or kind/name@version: model/late_departure@champion, dataset/late_departure@1, view/weather, run/late_departure-1.",
		Example: "  driftline lineage model/late_departure@1\n  driftline lineage view/weather --down",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := driftline.ParseRef(args[0])
			if err != nil {
				return err
			}
			if depth < 0 {
				return usagef("--depth is %d, want 0 (all) or more", depth)
			}
			direction := driftline.Up
			if down {
				direction = driftline.Down
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				lineage, err := server.Lineage(c.Context(), ref, direction, depth)
				if err != nil {
					return err
				}
				return a.answer(lineage, func(w io.Writer) error { return printLineage(w, lineage, direction) })
			})
		},
	}
	command.Flags().BoolVar(&down, "down", false, "show what was made from it")
	command.Flags().IntVar(&depth, "depth", 0, "how many steps to go (default all)")
	return command
}

// lineageTree prints a graph as a tree; what was shown before is not unfolded again.
type lineageTree struct {
	w     io.Writer
	down  bool // an edge's words are then about the lower end: "run/late-1 trained on ↑"
	next  map[driftline.Ref][]driftline.LineageEdge
	facts map[driftline.Ref]map[string]string
	shown map[driftline.Ref]bool
	paint func(style, text string) string
}

func printLineage(w io.Writer, l *driftline.Lineage, direction driftline.LineageDirection) error {
	tree := lineageTree{w: w, down: direction == driftline.Down, next: map[driftline.Ref][]driftline.LineageEdge{}, facts: map[driftline.Ref]map[string]string{},
		shown: map[driftline.Ref]bool{}, paint: painter(w)}
	for _, e := range l.Edges {
		if direction == driftline.Down {
			e.From, e.To = e.To, e.From
		}
		tree.next[e.From] = append(tree.next[e.From], e)
	}
	for _, node := range l.Nodes {
		tree.facts[node.Ref] = node.Facts
	}
	fmt.Fprintln(w, tree.name(l.Root)+tree.about(l.Root))
	tree.shown[l.Root] = true
	return tree.children(l.Root, "")
}

func (t *lineageTree) name(ref driftline.Ref) string { return t.paint(bold, printable(ref.String())) }

// about is what is known of a thing, to stand behind its name.
func (t *lineageTree) about(ref driftline.Ref) (text string) {
	facts := t.facts[ref]
	for _, key := range slices.Sorted(maps.Keys(facts)) {
		text += t.paint(dim, "  "+printable(key)+"="+printable(facts[key]))
	}
	return text
}

func (t *lineageTree) children(of driftline.Ref, indent string) error {
	edges := t.next[of]
	for i, e := range edges {
		branch, deeper := "├─ ", "│  "
		if i == len(edges)-1 {
			branch, deeper = "└─ ", "   "
		}
		edge := e.Kind + " " + t.name(e.To)
		if t.down {
			edge = t.name(e.To) + " " + e.Kind + " ↑"
		}
		if t.shown[e.To] {
			if _, err := fmt.Fprintf(t.w, "%s%s%s %s\n", indent, branch, edge, t.paint(dim, "(above)")); err != nil {
				return err
			}
			continue
		}
		t.shown[e.To] = true
		if _, err := fmt.Fprintf(t.w, "%s%s%s%s\n", indent, branch, edge, t.about(e.To)); err != nil {
			return err
		}
		if err := t.children(e.To, indent+deeper); err != nil {
			return err
		}
	}
	return nil
}

// metricText prints four digits. A run may well have logged NaN.
func metricText(n driftline.Number) string { return strconv.FormatFloat(float64(n), 'g', 4, 64) }
