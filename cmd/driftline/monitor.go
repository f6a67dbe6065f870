package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) monitorCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "monitor",
		Short: "Watch tables for drift over time",
		Long: "Monitors are defined in YAML (monitors:) and registered with driftline apply. The server evaluates each of\n" +
			"their panes once, when it closes, and raises an alert when panes drift.",
		Example: "  driftline monitor list\n  driftline monitor history weather_daily --late\n  driftline monitor snooze weather_daily --for 8h",
		Args:    exactly(0),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.monitorListCommand(), a.monitorShowCommand(), a.monitorRunCommand(), a.monitorSnoozeCommand(), a.monitorHistoryCommand(), a.monitorRowsCommand(),
		a.monitorDeedCommand("pause", "Evaluate no panes until the monitor is resumed", (*client.Client).PauseMonitor),
		a.monitorDeedCommand("resume", "Go on with a paused monitor", (*client.Client).ResumeMonitor))
	return command
}

func (a *app) monitorListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the monitors and where they stand", Example: "  driftline monitor list --json", Args: exactly(0),
		RunE: listing(a, "monitors", (*client.Client).Monitors, func(w io.Writer, all []driftline.MonitorStatus) error { return printMonitors(w, all...) }),
	}
}

func printMonitors(w io.Writer, all ...driftline.MonitorStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No monitor is registered yet.")
		return err
	}
	t := newTable("monitor", "phase", "last pane", "alert", ">panes", "next")
	for _, m := range all {
		next := stamp(m.Next)
		switch {
		case m.Monitor.Disabled:
			next = "disabled"
		case m.State.Paused:
			next = "paused"
		case m.Next.IsZero():
			next = "over"
		}
		t.add(string(m.Monitor.Name), string(m.State.Phase), orDash(string(m.State.Last)), orDash(string(m.State.Alert)), fmt.Sprint(m.State.Panes), next)
	}
	return t.print(w)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (a *app) monitorShowCommand() *cobra.Command {
	var pane, html string
	command := &cobra.Command{
		Use: "show MONITOR", Short: "Show a monitor, or what was found in one of its panes",
		Example: "  driftline monitor show weather_daily\n  driftline monitor show weather_daily --pane 2013-06-01T00:00:00Z --html june.html", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := driftline.MonitorName(args[0])
			at, err := parsePane(pane)
			if err != nil {
				return err
			}
			if html != "" && at.IsZero() {
				return usagef("--html writes the report of a pane: say of which with --pane")
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				if at.IsZero() {
					return a.showMonitor(c.Context(), server, name)
				}
				report, err := server.MonitorPane(c.Context(), name, at, 0)
				if err != nil {
					return err
				}
				if html != "" {
					if len(report.Reports) == 0 {
						return driftline.Errorf(driftline.FailedPrecondition, "the pane has no report: %s", orDash(report.Pane.Error))
					}
					if err := writeReports(reportFlags{html: html}, driftForms(&report.Reports[0].Report)); err != nil { // of all rows
						return err
					}
				}
				return a.answer(report, func(w io.Writer) error { return printPane(w, report) })
			})
		},
	}
	command.Flags().StringVar(&pane, "pane", "", "a time in the pane")
	command.Flags().StringVar(&html, "html", "", "write the report of all rows of the pane to this file, self-contained")
	return command
}

func parsePane(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, ok := parseTime(text)
	if !ok {
		return t, usagef("--pane is %q, want a time like 2013-01-31T15:00:00Z", text)
	}
	return t, nil
}

func (a *app) showMonitor(ctx context.Context, server *client.Client, name driftline.MonitorName) error {
	status, err := server.Monitor(ctx, name)
	if err != nil {
		return err
	}
	return a.answer(status, func(w io.Writer) error {
		m := status.Monitor
		source := m.Source.Ref.String()
		if source == "" {
			source = m.Source.SQL
		}
		fmt.Fprintf(w, "%s: %s, panes of %s\n", m.Ref(), printable(source), m.Window)
		if status.State.Error != "" {
			fmt.Fprintf(w, "the last %d panes failed: %s\n", status.State.Failures, printable(status.State.Error))
		}
		return printMonitors(w, *status)
	})
}

func printPane(w io.Writer, report *driftline.PaneReport) error {
	for _, one := range report.Reports {
		if one.Segment != "" {
			fmt.Fprintf(w, "\nwhere %s: ", printable(one.Segment))
		}
		if err := printDrift(w, &one.Report); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) monitorRunCommand() *cobra.Command {
	var pane string
	command := &cobra.Command{
		Use: "run MONITOR", Short: "Evaluate the panes that are due now, or one pane again",
		Long: "Evaluate the panes of a monitor that are due and were not evaluated yet. With --pane, a pane that was closed is\n" +
			"evaluated again, with the rows that came late: the result is recorded beside the first, and changes no alert.",
		Example: "  driftline monitor run weather_daily\n  driftline monitor run weather_daily --pane 2013-06-01T00:00:00Z", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			at, err := parsePane(pane)
			if err != nil {
				return err
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				panes, err := server.RunMonitor(c.Context(), driftline.MonitorName(args[0]), driftline.MonitorRun{Pane: at})
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"panes": panes}, func(w io.Writer) error { return printPanes(w, panes) })
			})
		},
	}
	command.Flags().StringVar(&pane, "pane", "", "a time in the pane to evaluate again")
	return command
}

func (a *app) monitorHistoryCommand() *cobra.Command {
	var limit int
	var late bool
	command := &cobra.Command{
		Use: "history MONITOR", Short: "List the panes that were evaluated, the newest first",
		Example: "  driftline monitor history weather_daily --limit 10 --late", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				panes, err := server.MonitorPanes(c.Context(), driftline.MonitorName(args[0]), time.Time{}, limit, late)
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"panes": panes}, func(w io.Writer) error { return printPanes(w, panes) })
			})
		},
	}
	command.Flags().IntVar(&limit, "limit", 50, "at most so many")
	command.Flags().BoolVar(&late, "late", false, "count the rows that came after a pane was closed")
	return command
}

func printPanes(w io.Writer, panes []driftline.MonitorPane) error {
	if len(panes) == 0 {
		_, err := fmt.Fprintln(w, "No pane.")
		return err
	}
	t := newTable("from", "to", ">evaluation", "outcome", ">drifted", ">rows", ">late", "most of all")
	for _, p := range panes {
		late, most := "-", printable(p.Error)
		if p.Late != nil {
			late = fmt.Sprint(*p.Late)
		}
		if len(p.Columns) > 0 {
			most = printable(p.Columns[0].Column) + " " + figure(p.Columns[0].Effect)
		}
		outcome := string(p.Outcome)
		if !p.Early.IsZero() {
			outcome += ", early"
		}
		t.add(stamp(p.Start), stamp(p.End), fmt.Sprint(p.Evaluation), outcome, fmt.Sprintf("%d/%d", p.Drifted, p.Compared), fmt.Sprint(p.Rows), late, most)
	}
	return t.print(w)
}

func (a *app) monitorRowsCommand() *cobra.Command {
	var pane, bin string
	var ask driftline.PaneRowsRequest
	command := &cobra.Command{
		Use: "rows MONITOR", Short: "Show rows of a pane, or of its reference: those that changed",
		Long: "Show the rows behind a finding. With --column they are those in the bin of its histogram whose share rose most, or\n" +
			"in the one that --bin names; with --slice those of a slice that the alert names. They are the rows that there are now.",
		Example: "  driftline monitor rows weather_daily --pane 2013-06-01T00:00:00Z --column temp\n" +
			"  driftline monitor rows weather_daily --pane 2013-06-01T00:00:00Z --segment origin=JFK --side reference --json", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			at, err := parsePane(pane)
			if err != nil {
				return err
			}
			if at.IsZero() {
				return usagef("say of which pane with --pane")
			}
			if ask.Bin, err = parseBin(bin); err != nil {
				return err
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				rows, err := server.MonitorRows(c.Context(), driftline.MonitorName(args[0]), at, ask)
				if err != nil {
					return err
				}
				return a.answer(rows, func(w io.Writer) error { return printPaneRows(w, rows) })
			})
		},
	}
	command.Flags().StringVar(&pane, "pane", "", "a time in the pane")
	command.Flags().StringVar(&ask.Segment, "segment", "", "only of this segment, as results name it: origin=JFK")
	command.Flags().StringVar(&ask.Column, "column", "", "only those in a bin of this column's histogram")
	command.Flags().StringVar(&bin, "bin", "", "which bin, from 1, or missing (default the one whose share rose most)")
	command.Flags().IntVar(&ask.Slice, "slice", 0, "only of this slice of the pane, from 1")
	command.Flags().StringVar(&ask.Side, "side", "", "pane or reference (default pane)")
	command.Flags().IntVar(&ask.Evaluation, "evaluation", 0, "whose findings are meant (default the last)")
	command.Flags().IntVar(&ask.Limit, "limit", 20, "at most so many")
	return command
}

func parseBin(text string) (int, error) {
	switch text {
	case "":
		return 0, nil
	case "missing":
		return driftline.MissingBin, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, usagef("--bin is %q, want a number from 1, or missing", text)
	}
	return n, nil
}

func printPaneRows(w io.Writer, rows *client.PaneRows) error {
	if len(rows.Rows) == 0 {
		_, err := fmt.Fprintln(w, "No rows.")
		return err
	}
	names := make([]string, len(rows.Columns))
	for i, c := range rows.Columns {
		names[i] = printable(c.Name)
	}
	t := newTable(names...)
	for _, row := range rows.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = "-"; cell != nil {
				cells[i] = printable(fmt.Sprint(cell))
			}
		}
		t.add(cells...)
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d rows", len(rows.Rows), rows.Count)
	if err == nil && rows.Where != "" {
		_, err = fmt.Fprintf(w, " where %s", printable(rows.Where))
	}
	fmt.Fprintln(w)
	return err
}

func (a *app) monitorDeedCommand(verb, short string, do func(*client.Client, context.Context, driftline.MonitorName) (*driftline.MonitorStatus, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " MONITOR", Short: short, Example: "  driftline monitor " + verb + " weather_daily", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				status, err := do(server, c.Context(), driftline.MonitorName(args[0]))
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) error { return printMonitors(w, *status) })
			})
		},
	}
}

func (a *app) monitorSnoozeCommand() *cobra.Command {
	var length time.Duration
	command := &cobra.Command{
		Use: "snooze MONITOR", Short: "Keep quiet about new alerts for a while",
		Example: "  driftline monitor snooze weather_daily --for 8h\n  driftline monitor snooze weather_daily --for 0s", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			var until time.Time
			if length != 0 {
				until = time.Now().Add(length)
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				status, err := server.SnoozeMonitor(c.Context(), driftline.MonitorName(args[0]), until)
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) error { return printMonitors(w, *status) })
			})
		},
	}
	command.Flags().DurationVar(&length, "for", time.Hour, "how long; 0s ends a snooze")
	return command
}

func (a *app) alertCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "alert", Short: "See what monitors found, and say that somebody looks after it",
		Example: "  driftline alert list\n  driftline alert ack weather_daily-3 --by ann", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.alertListCommand(), a.alertShowCommand(), a.alertDoCommand(),
		a.alertDeedCommand("ack", "Say that somebody looks after an alert: nobody else is told of it", false, (*client.Client).AcknowledgeAlert),
		a.alertDeedCommand("snooze", "Keep quiet about an alert; if it still drifts after, it is told again", true, (*client.Client).SnoozeAlert),
		a.alertDeedCommand("resolve", "End an alert by hand; the next drift begins another", false, (*client.Client).ResolveAlert))
	return command
}

func (a *app) alertListCommand() *cobra.Command {
	var of, state string
	command := &cobra.Command{
		Use: "list", Short: "List alerts, the newest first", Example: "  driftline alert list --state firing", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				alerts, err := server.Alerts(c.Context(), driftline.MonitorName(of), driftline.AlertState(state))
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"alerts": alerts}, func(w io.Writer) error { return printAlerts(w, alerts...) })
			})
		},
	}
	command.Flags().StringVar(&of, "monitor", "", "only of this monitor")
	command.Flags().StringVar(&state, "state", "", "only those that are firing, or resolved")
	return command
}

func printAlerts(w io.Writer, alerts ...driftline.Alert) error {
	if len(alerts) == 0 {
		_, err := fmt.Fprintln(w, "No alert.")
		return err
	}
	t := newTable("alert", "severity", "state", "raised", "resolved", "looked after by", "what")
	for _, alert := range alerts {
		resolved := "-"
		if !alert.Resolved.IsZero() {
			resolved = stamp(alert.Resolved)
		}
		t.add(string(alert.ID), string(alert.Severity), string(alert.State), stamp(alert.Raised), resolved, orDash(printable(alert.AcknowledgedBy)), printable(alert.Summary))
	}
	return t.print(w)
}

func (a *app) alertShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ALERT", Short: "Show an alert, and who was told of it", Example: "  driftline alert show weather_daily-3", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				alert, err := server.Alert(c.Context(), driftline.AlertID(args[0]))
				if err != nil {
					return err
				}
				notices, err := server.AlertNotices(c.Context(), alert.ID)
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"alert": alert, "notices": notices}, func(w io.Writer) error { return printAlert(w, alert, notices) })
			})
		},
	}
}

func printAlert(w io.Writer, alert *driftline.Alert, notices []driftline.Notice) error {
	if err := printAlerts(w, *alert); err != nil {
		return err
	}
	for i, s := range alert.Slices {
		fmt.Fprintf(w, "  slice %d, %s: %s rose from %s to %s, %s more than elsewhere, q %s\n", i+1, printable(strings.Join(s.Conditions, " and ")),
			printable(s.Change), figure(s.Before), figure(s.After), figure(s.Excess.Value), figure(s.QValue))
	}
	for _, c := range alert.Columns {
		where := ""
		if c.Segment != "" {
			where = " where " + printable(c.Segment)
		}
		fmt.Fprintf(w, "  %s%s: effect %s, q %s\n", printable(c.Column), where, figure(c.Effect), figure(c.QValue))
	}
	if err := printRemedies(w, alert.Remedies); err != nil || len(notices) == 0 {
		return err
	}
	t := newTable("notice", "tells", "state", ">attempts", "error")
	for _, n := range notices {
		t.add(n.ID, string(n.Kind), string(n.State), fmt.Sprint(n.Attempts), orDash(printable(n.Error)))
	}
	return t.print(w)
}

func printRemedies(w io.Writer, remedies []driftline.Remedy) error {
	if len(remedies) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable("what could be done", "command")
	for _, r := range remedies {
		t.add(printable(r.Text), printable(r.Command))
	}
	return t.print(w)
}

// alertDoCommand does what alert show says could be done.
func (a *app) alertDoCommand() *cobra.Command {
	var who whoFlags
	var model string
	c := a.tableVerb("do ALERT ACTION", "Do what could be done about an alert: retrain, roll_back, label, re_reference, snooze or ignore", 2,
		func(ctx context.Context, server *client.Client, args []string) error {
			request := driftline.RemedyRequest{Model: driftline.ModelName(model), By: who.by, Reason: who.reason}
			done, err := server.DoRemedy(ctx, driftline.AlertID(args[0]), driftline.RemedyAction(args[1]), request)
			if err != nil {
				return err
			}
			return a.answer(done, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: %s\n", done.Ref, printable(done.Text))
				return err
			})
		})
	c.Example = "  driftline alert show weather_daily-3\n  driftline alert do weather_daily-3 retrain --model late_departure"
	c.Flags().StringVar(&model, "model", "", "whose; needed where it could be of several")
	who.add(c)
	return c
}

func (a *app) alertDeedCommand(verb, short string, snooze bool, do func(*client.Client, context.Context, driftline.AlertID, driftline.AlertChange) (*driftline.Alert, error)) *cobra.Command {
	var change driftline.AlertChange
	var length time.Duration
	command := &cobra.Command{
		Use: verb + " ALERT", Short: short, Example: "  driftline alert " + verb + " weather_daily-3", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if snooze {
				change.Until = time.Now().Add(length)
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				alert, err := do(server, c.Context(), driftline.AlertID(args[0]), change)
				if err != nil {
					return err
				}
				return a.answer(alert, func(w io.Writer) error { return printAlerts(w, *alert) })
			})
		},
	}
	command.Flags().StringVar(&change.By, "by", "", "who you are")
	command.Flags().StringVar(&change.Comment, "comment", "", "what there is to say")
	if snooze {
		command.Flags().DurationVar(&length, "for", time.Hour, "how long")
	}
	return command
}
