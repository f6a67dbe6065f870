package main

import (
	"io"

	"github.com/spf13/pflag"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

// reportFlags say where an outcome is written beside the terminal.
type reportFlags struct{ html, markdown, junit, out string }

func (f *reportFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.html, "html", "", "write a self-contained page to this file")
	flags.StringVar(&f.markdown, "markdown", "", "write Markdown to this file; - prints it instead of the table")
	flags.StringVar(&f.junit, "junit", "", "write JUnit XML, which CI servers show, to this file")
	flags.StringVar(&f.out, "out", "", "write the results as rows to this file (.parquet, .arrow, .csv, .json)")
}

// reportForms are the forms of one outcome.
type reportForms struct {
	html, markdown, junit func(io.Writer) error
	rows                  driftline.Batches
}

// writeReports writes the files that were asked for, each complete or not at all.
func writeReports(f reportFlags, forms reportForms) error {
	for _, one := range []struct {
		path  string
		write func(io.Writer) error
	}{{f.html, forms.html}, {f.markdown, forms.markdown}, {f.junit, forms.junit}} {
		if one.path == "" || one.path == "-" {
			continue
		}
		if err := durable.WriteFile(one.path, one.write); err != nil {
			return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", one.path, err).WithHint("choose a folder that exists and is writable")
		}
	}
	if f.out == "" {
		return nil
	}
	return writeRows(f.out, forms.rows)
}

// printReport answers with JSON, Markdown or what people read in a terminal.
func (a *app) printReport(f reportFlags, value any, forms reportForms, human func(io.Writer) error) error {
	if f.markdown == "-" {
		human = forms.markdown
	}
	return a.answer(value, human)
}
