package main

import (
	"context"
	"fmt"
	"io"
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
	presetFile         string
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
			"A preset says which columns get which test, by name, type or kind, and when they have drifted. Presets of your\n" +
			"own are written in YAML (presets:) and registered with driftline apply, or read from --preset-file.\n\n" +
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
			if !c.Flags().Changed("alpha") {
				flags.options.Alpha = 0 // as the preset says
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
	command.Flags().StringVar(&flags.options.Preset, "preset", "", "rules that decide: driftline, evidently, nannyml, or a preset that was registered (default driftline)")
	command.Flags().StringVar(&flags.presetFile, "preset-file", "", "YAML file that has the preset (presets:), in place of the server; --preset says which if there are several")
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

// findRules puts the rules of a preset of the user's into the options: from a file, or, for
// a comparison that happens here, from the server.
func (a *app) findRules(ctx context.Context, flags *driftFlags, here bool) (err error) {
	options := &flags.options
	switch {
	case flags.presetFile != "":
		if options.Rules, err = presetOf(flags.presetFile, options.Preset); err != nil {
			return err
		}
	case here && !driftline.IsBuiltInPreset(options.Preset):
		err := a.withServer(ctx, func(c *client.Client) (err error) {
			options.Rules, err = c.Preset(ctx, driftline.PresetName(options.Preset))
			return err
		})
		if err != nil {
			return err
		}
	default:
		return nil
	}
	options.Preset = ""
	return nil
}

// presetOf reads a preset from a file: the one of that name, or the only one.
func presetOf(path, name string) (*driftline.Preset, error) {
	files, err := readDefinitions([]string{path})
	if err != nil {
		return nil, err
	}
	var names []string
	for i, p := range files.Presets {
		if string(p.Name) == name || name == "" && len(files.Presets) == 1 {
			return &files.Presets[i], nil
		}
		names = append(names, string(p.Name))
	}
	switch {
	case len(names) == 0:
		return nil, driftline.Errorf(driftline.Invalid, "%s has no presets", path).WithHint("write them below presets:")
	case name == "":
		return nil, usagef("%s has several presets: say which with --preset, one of %s", path, strings.Join(names, ", "))
	}
	err = driftline.Errorf(driftline.NotFound, "%s has no preset %q", path, name)
	if near := driftline.Nearest(name, names); near != "" {
		err = driftline.Errorf(driftline.NotFound, "%s has no preset %q", path, name).WithHint("did you mean %q?", near)
	}
	return nil, err
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

// compare asks the server if it has both sides, and computes here otherwise.
func (a *app) compare(ctx context.Context, flags driftFlags) (report *driftline.DriftReport, err error) {
	reference, err := parseSource("reference", flags.reference)
	if err != nil {
		return nil, err
	}
	current, err := parseSource("current", flags.current)
	if err != nil {
		return nil, err
	}
	if err := a.findRules(ctx, &flags, reference.file != "" || current.file != ""); err != nil {
		return nil, err
	}
	err = a.withTables(ctx, []source{reference, current}, func(c *client.Client) (err error) {
		report, err = c.Drift(ctx, driftline.DriftRequest{Reference: reference.server, Current: current.server, DriftOptions: flags.options})
		return err
	}, func(db *query.DB, sides []opened) (err error) {
		if report, err = compareHere(ctx, db, []source{reference, current}, sides, flags.options); err == nil {
			report.Reference.Name, report.Current.Name = sides[0].name, sides[1].name
		}
		return err
	})
	return report, err
}

// compareHere compares two tables, of which one at least is a file: column by column if both are files that
// can be read so.
func compareHere(ctx context.Context, db *query.DB, from []source, sides []opened, options driftline.DriftOptions) (*driftline.DriftReport, error) {
	var tables [2]engine.TableInParts
	inParts := true
	for i := range tables {
		rows, err := sides[i].columns(ctx, db, from[i])
		if err != nil {
			return nil, err
		}
		tables[i].Rows = rows
		inParts = inParts && strings.EqualFold(filepath.Ext(from[i].file), ".parquet")
	}
	for i := range tables {
		if !inParts {
			break
		}
		parts, err := db.OpenParts(ctx, from[i].file)
		if err != nil {
			return nil, err
		}
		defer parts.Close()
		tables[i].Parts, inParts = parts, parts.InPlace()
	}
	if !inParts {
		return engine.Compare(ctx, tables[0].Rows, tables[1].Rows, options)
	}
	return engine.CompareInParts(ctx, tables[0], tables[1], options)
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
	if by := report.DecidedBy(); by != driftline.PresetDriftline {
		return "by the rules of " + by
	}
	return fmt.Sprintf("false discovery rate %v, smallest effect %v", report.Alpha, report.Margin)
}

// figure prints four digits, and a dash for what there is none of.
func figure(n driftline.Number) string {
	if n != n {
		return "-"
	}
	return strconv.FormatFloat(float64(n), 'g', 4, 64)
}

// driftForms are the forms of a drift report.
func driftForms(outcome *driftline.DriftReport) reportForms {
	return reportForms{
		html:     func(w io.Writer) error { return report.DriftHTML(w, outcome) },
		markdown: func(w io.Writer) error { return report.DriftMarkdown(w, outcome) },
		junit:    func(w io.Writer) error { return report.DriftJUnit(w, outcome) },
		rows:     report.DriftRows(memory.DefaultAllocator, outcome),
	}
}
