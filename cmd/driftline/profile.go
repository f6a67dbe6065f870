package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/storage/durable"
	"github.com/spf13/cobra"
)

// profileFlags are what driftline profile was asked.
type profileFlags struct {
	request    driftline.ProfileRequest
	pane       string
	start, end string
	out, like  string
}

func (a *app) profileCommand() *cobra.Command {
	var flags profileFlags
	command := &cobra.Command{
		Use:   "profile TABLE",
		Short: "Keep what a table's columns look like, in a form that is compared without rows",
		Long: "Profile a table in one pass: counts, exact moments and range, 65,536 counts of the distribution, distinct values,\n" +
			"most frequent categories. The server keeps a profile for each pane of time, and any window of panes can be compared\n" +
			"with any other one without reading a row; see driftline profiles.\n\n" +
			"TABLE is view/NAME, dataset/NAME[@VERSION] or a SELECT, or a local file (.parquet, .csv, .arrow), which needs no\n" +
			"server: its profile is written to --out.",
		Example: "  driftline profile view/weather --pane 1d\n" +
			"  driftline profile june.parquet --out june.profile --like january.profile\n" +
			"  driftline profiles compare view/weather@2013-01-01/2013-02-01 view/weather@2013-07-01/2013-08-01",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error { return a.profile(c.Context(), args[0], flags) },
	}
	f := command.Flags()
	f.StringVar(&flags.request.Source, "source", "", "the name that the profiles are kept under (default: that of the table)")
	f.StringVar(&flags.request.Reference, "reference", "", "the source that these profiles are to be compared with")
	f.StringVar(&flags.pane, "pane", "", "cut by time: 1h, 1d, 7d … (default: one profile of all rows)")
	f.StringVar(&flags.request.Time, "time", "", "the column with the time (default: the view's event timestamp)")
	f.StringVar(&flags.start, "start", "", "leave out rows of before")
	f.StringVar(&flags.end, "end", "", "leave out rows of then or later")
	f.StringSliceVar(&flags.request.Columns, "columns", nil, "columns to profile (default: all)")
	f.StringSliceVar(&flags.request.Exclude, "exclude", nil, "columns to leave out")
	f.StringVar(&flags.out, "out", "", "write the profile of a local file to this file")
	f.StringVar(&flags.like, "like", "", "profile a local file so that it can be compared with this profile")
	return command
}

func (a *app) profile(ctx context.Context, table string, flags profileFlags) (err error) {
	from, err := parseSource("table", table)
	if err != nil {
		return err
	}
	if from.file != "" {
		return a.profileFile(ctx, from, flags)
	}
	req := flags.request
	req.Table = from.server
	if flags.out != "" || flags.like != "" {
		return usagef("--out and --like are for local files; driftline profiles export writes a kept one")
	}
	if flags.pane != "" {
		if req.Pane, err = driftline.ParseDuration(flags.pane); err != nil {
			return err
		}
	}
	if req.Start, err = flagTime("start", flags.start); err != nil {
		return err
	}
	if req.End, err = flagTime("end", flags.end); err != nil {
		return err
	}
	return a.withServer(ctx, func(c *client.Client) error {
		panes, err := c.ProfileTable(ctx, req)
		if err != nil {
			return err
		}
		return a.answerPanes(panes)
	})
}

// profileFile profiles a local file, without a server.
func (a *app) profileFile(ctx context.Context, from source, flags profileFlags) error {
	if flags.pane != "" || flags.start != "" || flags.end != "" || flags.request.Time != "" || flags.request.Reference != "" {
		return usagef("--pane, --time, --start, --end and --reference are for tables of the server")
	}
	var like *engine.ProfileData
	if flags.like != "" {
		raw, err := os.ReadFile(flags.like)
		if err != nil {
			return cannotRead(flags.like, err)
		}
		if like, err = engine.DecodeProfile(raw); err != nil {
			return err
		}
	}
	db, err := query.Open(nil)
	if err != nil {
		return err
	}
	defer db.Close()
	parts, err := db.OpenParts(ctx, from.file)
	if err != nil {
		return err
	}
	defer parts.Close()
	if flags.request.Source == "" {
		flags.request.Source = filepath.Base(from.file)
	}
	d, err := engine.ProfileParts(ctx, flags.request, parts.Schema, parts, like)
	if err != nil {
		return err
	}
	if flags.out != "" {
		raw, err := d.AppendTo(nil)
		if err != nil {
			return err
		}
		if err := writeProfile(flags.out, raw); err != nil {
			return err
		}
	}
	summary := d.Summary()
	return a.answer(summary, func(w io.Writer) error { return printProfile(w, summary) })
}

func writeProfile(path string, raw []byte) error {
	if err := durable.WriteBytes(path, raw); err != nil {
		return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", path, err).WithHint("choose a folder that exists and is writable")
	}
	return nil
}

func (a *app) profilesCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "profiles",
		Short: "Look at profiles that are kept, and compare them",
		Long: "A window is SOURCE, or SOURCE@START/END for the panes from START until before END (either may be left out),\n" +
			"or a file that driftline profile --out has written.",
		Example: "  driftline profiles list\n  driftline profiles show view/weather@2013-01-01/2013-02-01\n" +
			"  driftline profiles compare view/weather@2013-01-01/2013-02-01 view/weather@2013-07-01/2013-08-01",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.profilesListCommand(), a.profilesShowCommand(), a.profilesCompareCommand(), a.profilesExportCommand(), a.profilesDropCommand())
	return command
}

// parseWindow reads a window; that of a file has its data.
func parseWindow(text string) (w driftline.ProfileWindow, err error) {
	if strings.HasSuffix(text, ".profile") {
		if w.Data, err = os.ReadFile(text); err != nil {
			return w, cannotRead(text, err)
		}
		return w, nil
	}
	switch strings.ToLower(filepath.Ext(text)) {
	case ".parquet", ".csv", ".arrow":
		return w, usagef("%s is a table and no profile: driftline profile %s --out NAME.profile makes one", text, text)
	}
	w.Source = text
	at := strings.LastIndexByte(text, '@')
	if at < 0 || !strings.Contains(text[at:], "/") {
		return w, nil
	}
	w.Source = text[:at]
	start, end, _ := strings.Cut(text[at+1:], "/")
	if w.Start, err = flagTime("start", start); err != nil {
		return w, err
	}
	w.End, err = flagTime("end", end)
	return w, err
}

func (a *app) profilesListCommand() *cobra.Command {
	return a.profilesVerb("list [WINDOW]", "List the panes that are kept", 0, 1, func(ctx context.Context, c *client.Client, windows []driftline.ProfileWindow) error {
		window := driftline.ProfileWindow{}
		if len(windows) > 0 {
			window = windows[0]
		}
		panes, err := c.Profiles(ctx, window)
		if err != nil {
			return err
		}
		return a.answerPanes(panes)
	})
}

// profilesVerb makes a subcommand that asks the server about windows.
func (a *app) profilesVerb(use, short string, least, most int, do func(ctx context.Context, c *client.Client, windows []driftline.ProfileWindow) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: asUsage(cobra.RangeArgs(least, most)), RunE: func(c *cobra.Command, args []string) error {
		var windows []driftline.ProfileWindow
		for _, arg := range args {
			window, err := parseWindow(arg)
			if err != nil {
				return err
			}
			windows = append(windows, window)
		}
		return a.withServer(c.Context(), func(server *client.Client) error { return do(c.Context(), server, windows) })
	}}
}

func (a *app) profilesShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show WINDOW", Short: "Show what is kept of a window", Args: exactly(1), RunE: func(c *cobra.Command, args []string) error {
		window, err := parseWindow(args[0])
		if err != nil {
			return err
		}
		if window.Data != nil {
			d, err := engine.DecodeProfile(window.Data)
			if err != nil {
				return err
			}
			return a.answer(d.Summary(), func(w io.Writer) error { return printProfile(w, d.Summary()) })
		}
		return a.withServer(c.Context(), func(server *client.Client) error {
			p, err := server.Profile(c.Context(), window)
			if err != nil {
				return err
			}
			return a.answer(p, func(w io.Writer) error { return printProfile(w, p) })
		})
	}}
}

func (a *app) profilesCompareCommand() *cobra.Command {
	var req driftline.ProfileComparison
	var margin float64
	command := &cobra.Command{
		Use:   "compare REFERENCE CURRENT",
		Short: "Compare two windows by what is kept of them",
		Long: "Compare two windows by their profiles, without reading a row. A profile tells D to within an interval, and the\n" +
			"verdict holds for all of it; where it does not, it is \"not enough data\", unless --exact has the rows read again.\n" +
			"Two files need no server.\n\nExit code: 0 no drift, 3 drift was found, 1 the comparison failed or no column could be compared.",
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if c.Flags().Changed("margin") {
				req.Margin = &margin
			}
			if req.Reference, err = parseWindow(args[0]); err != nil {
				return err
			}
			if req.Current, err = parseWindow(args[1]); err != nil {
				return err
			}
			return a.compareProfiles(c.Context(), req)
		},
	}
	f := command.Flags()
	f.BoolVar(&req.Exact, "exact", false, "read the rows again where the profiles leave a verdict open")
	f.StringSliceVar(&req.Columns, "columns", nil, "columns to compare (default: all that both have)")
	f.StringSliceVar(&req.Exclude, "exclude", nil, "columns to leave out")
	f.Float64Var(&req.Alpha, "alpha", 0.05, "rate of false alarms over all columns")
	f.Float64Var(&margin, "margin", 0.01, "smallest effect that matters")
	return command
}

func (a *app) compareProfiles(ctx context.Context, req driftline.ProfileComparison) error {
	if req.Reference.Data != nil && req.Current.Data != nil && !req.Exact {
		reference, err := engine.DecodeProfile(req.Reference.Data)
		if err != nil {
			return err
		}
		current, err := engine.DecodeProfile(req.Current.Data)
		if err != nil {
			return err
		}
		report, err := engine.CompareProfileData(ctx, reference, current, req.DriftOptions)
		if err != nil {
			return err
		}
		return a.answerDrift(report)
	}
	return a.withServer(ctx, func(c *client.Client) error {
		report, err := c.CompareProfiles(ctx, req)
		if err != nil {
			return err
		}
		return a.answerDrift(report)
	})
}

// answerDrift prints a report, and sets the exit code.
func (a *app) answerDrift(report *driftline.DriftReport) error {
	if err := a.answer(report, func(w io.Writer) error { return printDrift(w, report) }); err != nil {
		return err
	}
	if report.Drifted > 0 {
		return errDrift
	}
	if report.Compared() == 0 {
		return nothingCompared(report)
	}
	return nil
}

func (a *app) profilesExportCommand() *cobra.Command {
	var out string
	command := a.profilesVerb("export WINDOW…", "Write windows, put together, to a file that needs no server", 1, 1000, func(ctx context.Context, c *client.Client, windows []driftline.ProfileWindow) error {
		if out == "" {
			return usagef("give --out, the file to write, such as june.profile")
		}
		merged, err := c.MergeProfiles(ctx, windows...)
		if err != nil {
			return err
		}
		if err := writeProfile(out, merged.Data); err != nil {
			return err
		}
		return a.answer(&merged.Profile, func(w io.Writer) error { return printProfile(w, &merged.Profile) })
	})
	command.Flags().StringVar(&out, "out", "", "the file to write, NAME.profile")
	return command
}

func (a *app) profilesDropCommand() *cobra.Command {
	return a.profilesVerb("drop WINDOW", "Forget the panes of a window, or a source", 1, 1, func(ctx context.Context, c *client.Client, windows []driftline.ProfileWindow) error {
		panes, err := c.DropProfiles(ctx, windows[0])
		if err != nil {
			return err
		}
		return a.answer(map[string]int{"panes": panes}, func(w io.Writer) error {
			said := "%d panes are forgotten\n"
			if panes == 1 {
				said = "%d pane is forgotten\n"
			}
			_, err := fmt.Fprintf(w, said, panes)
			return err
		})
	})
}

func (a *app) answerPanes(panes []driftline.ProfilePane) error {
	return a.answer(panes, func(w io.Writer) error {
		if len(panes) == 0 {
			_, err := fmt.Fprintln(w, "There are no profiles: driftline profile TABLE makes some.")
			return err
		}
		t := newTable("source", "start", "end", ">rows", ">columns", ">bytes")
		for _, p := range panes {
			t.add(printable(p.Source), paneEdge(p.Start), paneEdge(p.End), strconv.FormatInt(p.Rows, 10), strconv.Itoa(p.Columns), strconv.FormatInt(p.Bytes, 10))
		}
		return t.print(w)
	})
}

func paneEdge(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func printProfile(w io.Writer, p *driftline.Profile) error {
	fmt.Fprintf(w, "%s: %d rows\n\n", printable(p.Source), p.Rows)
	t := newTable("column", "type", ">nulls", ">distinct", ">min", ">median", ">mean", ">max", ">stddev", "most frequent")
	for _, c := range p.Columns {
		t.add(printable(c.Column), string(c.Type), strconv.FormatInt(c.Nulls+c.NaN, 10), about(c), optional(c.Min), median(c), optional(c.Mean), optional(c.Max), optional(c.StdDev), frequent(c))
	}
	return t.print(w)
}

func about(c driftline.ColumnProfile) string {
	text := strconv.FormatFloat(float64(c.Distinct), 'f', 0, 64)
	if c.DistinctExact {
		return text
	}
	return "~" + text
}

func optional(n *driftline.Number) string {
	if n == nil {
		return "-"
	}
	return figure(*n)
}

// median shows an interval where it is one.
func median(c driftline.ColumnProfile) string {
	for _, q := range c.Quantiles {
		low, high := figure(q.Low), figure(q.High)
		switch {
		case q.Q != 0.5:
		case low == high:
			return low
		default:
			return low + " … " + high
		}
	}
	return "-"
}

func frequent(c driftline.ColumnProfile) string {
	var names []string
	for _, top := range c.Top[:min(len(c.Top), 3)] {
		names = append(names, fmt.Sprintf("%s (%d)", printable(top.Name), top.Rows))
	}
	return strings.Join(names, ", ")
}
