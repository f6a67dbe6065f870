package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/spf13/cobra"
)

// errProblems is the answer, and no failure: it only sets the exit code.
var errProblems = errors.New("the data folder has problems")

func (a *app) fsckCommand() *cobra.Command {
	var rebuild bool
	command := &cobra.Command{
		Use:   "fsck",
		Short: "Check a data folder against its ledger, and mend what was made from it",
		Long: "Read the whole ledger of a data folder that no server has open, check its chain, fold it, and compare what is\n" +
			"kept beside it: the index of artifacts, the last points of metrics, and which runs have points in files. --rebuild\n" +
			"makes them again from the ledger and the points, which it never changes.\n\n" +
			"Exit code: 0 nothing is wrong or all was mended, 3 something is wrong, 1 the check failed.",
		Example: "  driftline fsck --data /var/lib/driftline\n  driftline fsck --rebuild",
		Args:    exactly(0),
		RunE: func(*cobra.Command, []string) error {
			chosen, err := a.settings()
			if err != nil {
				return err
			}
			if _, err := os.Stat(chosen.Data); err != nil {
				return aboutFolder(chosen.Data, driftline.Errorf(driftline.NotFound, "there is no data folder").WithHint("name it with --data"))
			}
			report, err := engine.Fsck(chosen.Data, rebuild)
			if err != nil {
				return aboutFolder(chosen.Data, err)
			}
			if err := a.answer(report, func(w io.Writer) error { return printFsck(w, report) }); err != nil {
				return err
			}
			if report.Problems > 0 && !report.Repaired {
				return errProblems
			}
			return nil
		},
	}
	command.Flags().String("data", "./.driftline", "data folder")
	command.Flags().BoolVar(&rebuild, "rebuild", false, "make again what is wrong")
	return command
}

func printFsck(w io.Writer, report driftline.FsckReport) error {
	fmt.Fprintf(w, "The ledger's %d lines are whole. %d points of metrics and %d files were compared with them.\n", report.Lines, report.Points, report.Artifacts)
	for _, problem := range report.Named {
		fmt.Fprintf(w, "  %s\n", printable(problem))
	}
	if more := report.Problems - len(report.Named); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	text := "Nothing is wrong."
	switch {
	case report.Repaired:
		text = "All of it was made again."
	case report.Problems > 0:
		text = "Make it again with --rebuild."
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
