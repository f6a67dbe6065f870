package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/query"
	"github.com/spf13/cobra"
)

func (a *app) predictionsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "predictions",
		Short: "Log a model's predictions, and see what became of them",
		Long: "Log a model's predictions, and see what became of them. Each model has a prediction log, features.<model>_predictions;\n" +
			"predictions.<model> is each prediction with the label that it has by now. docs/predictions.md has the whole of it.",
	}
	command.AddCommand(a.predictionsListCommand(), a.predictionsShowCommand(), a.predictionsSetCommand(), a.predictionsLogCommand())
	return command
}

func (a *app) predictionsListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the logs that were written since the server started: served = logged + dropped + waiting",
		Args:  exactly(0),
		RunE:  listing(a, "logs", (*client.Client).PredictionLogs, printLogs),
	}
}

func (a *app) predictionsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show MODEL",
		Short: "Show how a model's predictions are logged, and what was logged and dropped",
		Args:  exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				status, err := server.PredictionLog(c.Context(), driftline.ModelName(args[0]))
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) error { return printLog(w, status) })
			})
		},
	}
}

func (a *app) predictionsSetCommand() *cobra.Command {
	var config driftline.PredictionLog
	var mode, overflow string
	command := &cobra.Command{
		Use:   "set MODEL",
		Short: "Say how a model's predictions are logged; what is left out has its default",
		Long: "Say how a model's predictions are logged; what is left out has its default. --mode sync loses nothing in a crash, and\n" +
			"whoever logs waits for an fsync; async loses the last 200 ms. --overflow says what gives way when predictions come faster\n" +
			"than they can be written. Fields that --fields does not name never reach the log.",
		Example: "  driftline predictions set late_departure --mode sync --overflow block --fields temp,wind,origin",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			config.Mode, config.Overflow = driftline.LogMode(mode), driftline.LogOverflow(overflow)
			return a.withServer(c.Context(), func(server *client.Client) error {
				status, err := server.ConfigurePredictionLog(c.Context(), driftline.ModelName(args[0]), config)
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) error { return printLog(w, status) })
			})
		},
	}
	command.Flags().StringVar(&mode, "mode", "", "async or sync (default async)")
	command.Flags().StringVar(&overflow, "overflow", "", "drop_oldest, block or sample (default drop_oldest)")
	command.Flags().StringSliceVar(&config.Fields, "fields", nil, "the features and join keys that may be kept (default: all)")
	command.Flags().IntVar(&config.MostBytes, "most-bytes", 0, "of an output, and of a record's features (default 65536)")
	return command
}

func (a *app) predictionsLogCommand() *cobra.Command {
	var entity []string
	command := &cobra.Command{
		Use:   "log MODEL SOURCE",
		Short: "Log predictions that are the rows of a file, a table or a SELECT",
		Long: "Log predictions that are the rows of a file (.parquet, .csv, .arrow), of dataset/NAME, view/NAME or a SELECT. Columns called\n" +
			"like those of the log (prediction_id, event_timestamp, model_version, arm, prediction, score, latency_ms …) are that, the\n" +
			"columns that --entity names are join keys, and all others are features. Sent again they change nothing.",
		Example: "  driftline predictions log late_departure scored.parquet --entity origin",
		Args:    exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.logRows(c.Context(), args[1], func(server *client.Client, rows driftline.Batches) error {
				receipt, err := server.LogPredictionRows(c.Context(), driftline.ModelName(args[0]), entity, rows)
				if err != nil {
					return err
				}
				return a.answer(receipt, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%d predictions of %s into %s\n", receipt.Predictions, printable(string(receipt.Model)), receipt.Log)
					return err
				})
			})
		},
	}
	command.Flags().StringSliceVar(&entity, "entity", nil, "the columns that are join keys")
	return command
}

// logRows hands the rows of a source, wherever it is, to who sends them.
func (a *app) logRows(ctx context.Context, text string, send func(*client.Client, driftline.Batches) error) error {
	from, err := parseSource("source", text)
	if err != nil {
		return err
	}
	return a.withServer(ctx, func(server *client.Client) error {
		return openHere(ctx, server, []source{from}, func(_ *query.DB, tables []opened) error {
			rows, done := a.progress(tables[0].rows, tables[0].name, -1)
			defer done()
			return send(server, rows)
		})
	})
}

func printLogs(w io.Writer, logs []driftline.PredictionLogStatus) error {
	t := newTable("model", "log", ">served", ">logged", ">dropped", ">waiting", ">sent again", "state")
	for _, s := range logs {
		state := "ok"
		if s.Error != "" {
			state = printable(s.Error)
		}
		t.add(printable(string(s.Model)), string(s.Log), rowsText(s.Counts.Served), rowsText(s.Counts.Logged), rowsText(s.Counts.AllDropped()),
			rowsText(s.Counts.Waiting), rowsText(s.Counts.Duplicates), state)
	}
	return t.print(w)
}

func rowsText(n int64) string { return strconv.FormatInt(n, 10) }

func printLog(w io.Writer, s *driftline.PredictionLogStatus) error {
	if err := printLogs(w, []driftline.PredictionLogStatus{*s}); err != nil {
		return err
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Counts.Dropped)) {
		if n := s.Counts.Dropped[reason]; n > 0 {
			fmt.Fprintf(w, "dropped, %s: %d\n", reason, n)
		}
	}
	if s.Counts.Trimmed > 0 {
		fmt.Fprintf(w, "logged without what was too large: %d\n", s.Counts.Trimmed)
	}
	mode, overflow := s.Config.Mode, s.Config.Overflow
	if mode == "" {
		mode = driftline.Async
	}
	if overflow == "" {
		overflow = driftline.DropOldest
	}
	fmt.Fprintf(w, "mode %s, overflow %s", mode, overflow)
	if len(s.Config.Fields) > 0 {
		fmt.Fprintf(w, ", only %s", printable(strings.Join(s.Config.Fields, ", ")))
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (a *app) labelCommand() *cobra.Command {
	var entity []string
	command := &cobra.Command{
		Use:   "label MODEL SOURCE",
		Short: "Say the truth of predictions: late, again, corrected, as it comes",
		Long: "Say the truth of predictions, as the rows of a file (.parquet, .csv, .arrow), of dataset/NAME, view/NAME or a SELECT. Columns:\n\n" +
			"  prediction_id                      which prediction, or\n" +
			"  prediction_time and join keys      those made for an entity at a time; name the join keys with --entity\n" +
			"  label or label_text                a number, or the name of a class; null takes a label back\n" +
			"  event_timestamp                    when it became known (default: now)\n" +
			"  labelled_by                        who says so\n\n" +
			"Of several labels of a prediction the one that became known last counts. Sent again they change nothing.",
		Example: "  driftline label late_departure truth.csv\n  driftline label late_departure \"SELECT flight, event_timestamp AS prediction_time, late AS label FROM features.departures\" --entity flight",
		Args:    exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.logRows(c.Context(), args[1], func(server *client.Client, rows driftline.Batches) error {
				receipt, err := server.LogLabelRows(c.Context(), driftline.ModelName(args[0]), entity, rows)
				if err != nil {
					return err
				}
				return a.answer(receipt, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%d labels of %s into %s\n", receipt.Labels, printable(string(receipt.Model)), receipt.View)
					return err
				})
			})
		},
	}
	command.Flags().StringSliceVar(&entity, "entity", nil, "the columns that are join keys")
	return command
}

func (a *app) labelsCommand() *cobra.Command {
	var since string
	command := &cobra.Command{
		Use:     "labels MODEL",
		Short:   "Show how many predictions have a label so far, and how late labels come",
		Example: "  driftline labels late_departure --since 2013-06-01T00:00:00Z",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			var from time.Time
			if since != "" {
				var err error
				if from, err = time.Parse(time.RFC3339, since); err != nil {
					return usagef("--since is %q, want a time like 2013-06-01T00:00:00Z", since)
				}
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				status, err := server.Labels(c.Context(), driftline.ModelName(args[0]), from)
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) error { return printLabels(w, status) })
			})
		},
	}
	command.Flags().StringVar(&since, "since", "", "only predictions made since then")
	return command
}

func printLabels(w io.Writer, s *driftline.LabelStatus) error {
	fmt.Fprintf(w, "%d of %d predictions have a label (%s)\n", s.Labelled, s.Predictions, shareText(s.Labelled, s.Predictions))
	fmt.Fprintf(w, "%d labels: %d wait for their prediction, %d were superseded, %d taken back", s.Labels, s.Orphans, s.Superseded, s.Withdrawn)
	if s.Early > 0 {
		fmt.Fprintf(w, ", %d were known before their prediction", s.Early)
	}
	fmt.Fprintln(w)
	if s.Labelled > 0 {
		fmt.Fprintf(w, "they come after %s (median), %s (9 of 10), %s (99 of 100), %s (the last so far)\n\n",
			s.Delay.Median.Short(), s.Delay.P90.Short(), s.Delay.P99.Short(), s.Delay.Most.Short())
	}
	most := int64(1)
	for _, c := range s.Delay.Counts {
		most = max(most, c.Labels)
	}
	t := newTable(">within", ">labels", "")
	for _, c := range s.Delay.Counts {
		within := "later"
		if c.Within > 0 {
			within = c.Within.Short()
		}
		t.add(within, rowsText(c.Labels), strings.Repeat("█", int(30*c.Labels/most)))
	}
	if len(s.Delay.Counts) > 0 {
		if err := t.print(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	const shown = 30
	days := s.Days[max(0, len(s.Days)-shown):]
	t = newTable("day", ">predictions", ">labelled", ">share", "")
	for _, d := range days {
		t.add(d.Day.Format(time.DateOnly), rowsText(d.Predictions), rowsText(d.Labelled), shareText(d.Labelled, d.Predictions),
			strings.Repeat("█", int(30*d.Labelled/max(1, d.Predictions))))
	}
	return t.print(w)
}

func shareText(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

func (a *app) askLabelsCommand() *cobra.Command {
	var req driftline.LabelRequest
	var by, name string
	command := &cobra.Command{
		Use:   "ask-labels MODEL",
		Short: "Choose predictions that are worth a label, and keep them as a dataset to be labelled",
		Long: "Choose predictions without a label that would teach most if they had one: those that the model doubts (uncertain), those\n" +
			"whose features are least like those of predictions with a label (drifted), or both by turns. They become the next version of a\n" +
			"dataset, with their features; nothing is asked for twice. The answers go in by driftline label, by prediction_id.",
		Example: "  driftline ask-labels late_departure --budget 200\n  driftline dataset download late_departure_to_label to_label.csv",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			req.By, req.SaveAs = driftline.LabelChoice(by), driftline.DatasetName(name)
			return a.withServer(c.Context(), func(server *client.Client) error {
				asked, err := server.AskForLabels(c.Context(), driftline.ModelName(args[0]), req)
				if err != nil {
					return err
				}
				return a.answer(asked, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%d predictions of %s in %s\n", asked.Rows, printable(string(asked.Model)), asked.Dataset)
					return err
				})
			})
		},
	}
	command.Flags().IntVar(&req.Budget, "budget", 100, "how many to ask for at most")
	command.Flags().StringVar(&by, "by", "both", "uncertain, drifted or both")
	command.Flags().StringVar(&name, "save-as", "", "the dataset (default: the model's name and _to_label)")
	return command
}

// modelPerformance measures a model by its prediction log.
func (a *app) modelPerformance(ctx context.Context, model driftline.ModelName, req driftline.ModelPerformanceRequest) error {
	return a.withServer(ctx, func(server *client.Client) error {
		outcome, err := server.ModelPerformance(ctx, model, req)
		if err != nil {
			return err
		}
		if err := a.answer(outcome, func(w io.Writer) error { return printModelPerformance(w, outcome) }); err != nil {
			return err
		}
		if slices.ContainsFunc(outcome.Groups, func(g driftline.PerformanceGroup) bool { return g.Report != nil && g.Report.Fell }) {
			return errDrift
		}
		return nil
	})
}

func printModelPerformance(w io.Writer, m *driftline.ModelPerformance) error {
	for _, g := range m.Groups {
		names := []string{}
		for _, name := range m.By {
			value, ok := g.Of[name]
			if !ok {
				value = "null"
			}
			names = append(names, name+" "+value)
		}
		if len(names) > 0 {
			fmt.Fprintf(w, "== %s\n", printable(strings.Join(names, ", ")))
		}
		fmt.Fprintf(w, "%d predictions, %d with a label\n", g.Predictions, g.Labelled)
		if g.Report != nil {
			if err := printPerformance(w, g.Report); err != nil {
				return err
			}
		} else if g.Error != "" {
			fmt.Fprintf(w, "note: %s\n", printable(g.Error))
		}
		if err := printCustom(w, g.Custom); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	for _, note := range m.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(note))
	}
	return nil
}

func printCustom(w io.Writer, custom []driftline.CustomMetric) error {
	if len(custom) == 0 {
		return nil
	}
	t := newTable("window", "metric", ">labels", "value")
	for _, c := range custom {
		for _, window := range c.Windows {
			t.add(window.Start.Format(time.RFC3339), printable(c.Name), rowsText(window.Rows), intervalText(&window.Interval))
		}
	}
	return t.print(w)
}
