package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/report"
	"github.com/spf13/cobra"
)

// driftFlags are what driftline drift was asked.
type driftFlags struct {
	reference, current string
	reports            reportFlags
	margin, share      float64
	tests              []string
	options            driftline.DriftOptions
}

func (a *app) driftCommand() *cobra.Command {
	var flags driftFlags
	command := &cobra.Command{
		Use:   "drift --reference SOURCE --current SOURCE",
		Short: "Compare current data with reference data, column by column",
		Long: "Compare two tables: the exact two-sample Kolmogorov–Smirnov test on numeric columns, a chi-square test of\n" +
			"homogeneity on the others, and the false discovery rate controlled over all columns.\n\n" +
			"A source is a local file (.parquet, .csv, .arrow), dataset/NAME[@VERSION], view/NAME, or a SELECT.\n" +
			"Two local files need no server.\n\n" +
			"Exit code: 0 no drift, 3 drift was found, 1 the comparison failed or no column could be compared. One drifted\n" +
			"column is drift, but for --preset evidently or --drift-share: then it takes that share of them.",
		Example: "  driftline drift --reference january.parquet --current june.parquet --html report.html --junit drift.xml\n" +
			"  driftline drift --reference dataset/late_departure@1 \\\n" +
			"    --current \"SELECT * FROM features.weather WHERE event_timestamp >= '2013-06-01'\"",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if flags.reference == "" || flags.current == "" {
				return usagef("give both --reference and --current")
			}
			if c.Flags().Changed("margin") {
				flags.options.Margin = &flags.margin
			}
			if c.Flags().Changed("drift-share") {
				flags.options.DriftShare = &flags.share
			}
			for _, text := range flags.tests {
				test, err := parseColumnTest(text)
				if err != nil {
					return err
				}
				flags.options.Tests = append(flags.options.Tests, test)
			}
			return a.drift(c.Context(), flags)
		},
	}
	command.Flags().StringVar(&flags.reference, "reference", "", "what the data should look like")
	command.Flags().StringVar(&flags.current, "current", "", "what the data looks like now")
	flags.reports.add(command.Flags())
	command.Flags().StringSliceVar(&flags.options.Columns, "columns", nil, "columns to compare (default: all that both have)")
	command.Flags().StringSliceVar(&flags.options.Exclude, "exclude", nil, "columns to leave out")
	command.Flags().StringVar(&flags.options.Preset, "preset", "", "rules that decide: driftline, evidently, nannyml (default driftline)")
	command.Flags().StringArrayVar(&flags.tests, "test", nil, "test of a column, [COLUMN=]TEST[:THRESHOLD]; numeric= and categorical= mean all of a kind; may be repeated")
	command.Flags().Float64Var(&flags.options.Alpha, "alpha", 0.05, "rate of false alarms over all columns")
	command.Flags().StringVar(&flags.options.Correction, "correction", "", "for many columns: bh, by, e-bh, none (default bh)")
	command.Flags().Float64Var(&flags.margin, "margin", 0.01, "smallest effect that matters")
	command.Flags().Float64Var(&flags.share, "drift-share", 0, "share of drifted columns from which on the data set has drifted (default the preset's)")
	command.Flags().StringSliceVar(&flags.options.Multivariate, "multivariate", nil, "tests of all columns together: mmd, classifier")
	return command
}

func (a *app) drift(ctx context.Context, flags driftFlags) error {
	if err := checkOut(flags.reports.out); err != nil {
		return err
	}
	outcome, err := a.compare(ctx, flags)
	if err != nil {
		return err
	}
	forms := driftForms(outcome)
	if err := writeReports(flags.reports, forms); err != nil {
		return err
	}
	if err := a.printReport(flags.reports, outcome, forms, func(w io.Writer) error { return printDrift(w, outcome) }); err != nil {
		return err
	}
	if outcome.Drift {
		return errDrift
	}
	if outcome.Compared() == 0 {
		return nothingCompared(outcome)
	}
	return nil
}

// parseColumnTest reads [COLUMN=]TEST[:THRESHOLD].
func parseColumnTest(text string) (driftline.ColumnTest, error) {
	var test driftline.ColumnTest
	name, rule, named := cutLast(text, "=")
	switch {
	case !named:
		rule = text
	case name == "numeric" || name == "categorical":
		test.Kind = name
	default:
		test.Columns = []string{name}
	}
	var threshold string
	var hasThreshold bool
	test.Test, threshold, hasThreshold = strings.Cut(rule, ":")
	if hasThreshold {
		value, err := strconv.ParseFloat(threshold, 64)
		if err != nil {
			return test, usagef("--test %s: the threshold %q is not a number", text, threshold)
		}
		test.Threshold = &value
	}
	if test.Test == "" || named && name == "" {
		return test, usagef("--test is %q, want [COLUMN=]TEST[:THRESHOLD], such as delay=psi:0.2", text)
	}
	return test, nil
}

// cutLast cuts at the last separator, because column names may hold one.
func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// nothingCompared is what a gate must hear: a report without a test proves nothing.
func nothingCompared(report *driftline.DriftReport) error {
	switch failed := driftline.FailedPrecondition; {
	case report.Reference.Rows == 0:
		return driftline.Errorf(failed, "no column could be compared: the reference has no rows").WithHint("look at what --reference selects")
	case report.Current.Rows == 0:
		return driftline.Errorf(failed, "no column could be compared: the current data has no rows").WithHint("look at what --current selects")
	default:
		return driftline.Errorf(failed, "no column could be compared").WithHint("the notes say why, column by column; a time is compared if --columns names it")
	}
}

// source is one side of a comparison: a local file, or something of the server.
type source struct {
	file   string
	server driftline.DriftSource
}

func parseSource(side, text string) (source, error) {
	if ref, err := driftline.ParseRef(text); err == nil && (ref.Kind == driftline.KindDataset || ref.Kind == driftline.KindView) {
		return source{server: driftline.DriftSource{Ref: ref}}, nil
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), " ")
	if first = strings.TrimSpace(first); strings.HasPrefix(first, "select") || first == "with" || strings.HasPrefix(first, "from") {
		return source{server: driftline.DriftSource{SQL: text}}, nil
	}
	switch strings.ToLower(filepath.Ext(text)) {
	case ".parquet", ".csv", ".arrow":
		if _, err := os.Stat(text); err != nil {
			return source{}, cannotRead(text, err)
		}
		return source{file: text}, nil
	}
	return source{}, usagef("--%s is %q, want a file (.parquet, .csv, .arrow), dataset/NAME, view/NAME or a SELECT", side, text)
}

// compare asks the server if it has both sides, and computes here otherwise.
func (a *app) compare(ctx context.Context, flags driftFlags) (*driftline.DriftReport, error) {
	reference, err := parseSource("reference", flags.reference)
	if err != nil {
		return nil, err
	}
	current, err := parseSource("current", flags.current)
	if err != nil {
		return nil, err
	}
	if reference.file != "" && current.file != "" {
		return compareHere(ctx, nil, reference, current, flags.options)
	}
	var report *driftline.DriftReport
	err = a.withServer(ctx, func(c *client.Client) (err error) {
		if reference.file == "" && current.file == "" {
			report, err = c.Drift(ctx, driftline.DriftRequest{Reference: reference.server, Current: current.server, DriftOptions: flags.options})
			return err
		}
		report, err = compareHere(ctx, c, reference, current, flags.options)
		return err
	})
	return report, err
}

func compareHere(ctx context.Context, c *client.Client, reference, current source, options driftline.DriftOptions) (*driftline.DriftReport, error) {
	db, err := query.Open(nil)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	referenceRows, referenceName, err := reference.rows(ctx, db, c)
	if err != nil {
		return nil, err
	}
	currentRows, currentName, err := current.rows(ctx, db, c)
	if err != nil {
		return nil, err
	}
	report, err := engine.Compare(ctx, referenceRows, currentRows, options)
	if err != nil {
		return nil, err
	}
	report.Reference.Name, report.Current.Name = referenceName, currentName
	return report, nil
}

func (s source) rows(ctx context.Context, db *query.DB, c *client.Client) (driftline.Batches, string, error) {
	switch ref := s.server.Ref; {
	case s.file != "":
		rows, err := db.ReadFile(ctx, s.file)
		return rows, filepath.Base(s.file), err
	case s.server.SQL != "":
		rows, err := c.SQL(ctx, s.server.SQL)
		return rows, s.server.SQL, err
	case ref.Kind == driftline.KindView:
		rows, err := c.ReadView(ctx, driftline.ViewName(ref.Name))
		return rows, ref.String(), err
	default:
		version := 0
		if ref.Version != "" {
			var err error
			if version, err = strconv.Atoi(ref.Version); err != nil {
				return driftline.Batches{}, "", driftline.Errorf(driftline.Invalid, "%s has no version number", ref)
			}
		}
		rows, err := c.ReadDataset(ctx, driftline.DatasetName(ref.Name), version)
		return rows, ref.String(), err
	}
}

func printDrift(w io.Writer, report *driftline.DriftReport) error {
	paint := painter(w)
	fmt.Fprintf(w, "reference %s (%d rows), current %s (%d rows)\n\n",
		printable(report.Reference.Name), report.Reference.Rows, printable(report.Current.Name), report.Current.Rows)
	t := newTable("column", "test", ">statistic", ">q-value", ">effect", "verdict", "note")
	for _, c := range report.Columns {
		if c.Verdict == driftline.NotCompared {
			t.add(printable(c.Column), "-", "-", "-", "-", string(c.Verdict), printable(c.Note))
			continue
		}
		t.add(printable(c.Column), c.Test, figure(c.Statistic), figure(c.QValue), figure(c.Effect), string(c.Verdict), printable(c.Note))
	}
	if err := t.print(w); err != nil {
		return err
	}
	style := green
	if report.Drifted > 0 {
		style = red
	}
	fmt.Fprintf(w, "\n%s\n", paint(style, fmt.Sprintf("%d of %d columns drifted (%s)", report.Drifted, report.Compared(), driftRule(report))))
	if report.Drifted > 0 && !report.Drift {
		fmt.Fprintln(w, "Too few columns for the data set to count as drifted.")
	}
	return nil
}

// driftRule says by what a column drifted.
func driftRule(report *driftline.DriftReport) string {
	if report.Preset != "" && report.Preset != "driftline" {
		return "by the rules of " + report.Preset
	}
	return fmt.Sprintf("false discovery rate %v, smallest effect %v", report.Alpha, report.Margin)
}

func figure(n driftline.Number) string { return strconv.FormatFloat(float64(n), 'g', 4, 64) }

// driftForms are the forms of a drift report.
func driftForms(outcome *driftline.DriftReport) reportForms {
	return reportForms{
		html:     func(w io.Writer) error { return report.DriftHTML(w, outcome) },
		markdown: func(w io.Writer) error { return report.DriftMarkdown(w, outcome) },
		junit:    func(w io.Writer) error { return report.DriftJUnit(w, outcome) },
		rows:     report.DriftRows(memory.DefaultAllocator, outcome),
	}
}
