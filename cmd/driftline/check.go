package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

// errDifferent is the answer, and no failure: it only sets the exit code.
var errDifferent = errors.New("the stores differ")

func (a *app) checkCommand() *cobra.Command {
	var req driftline.CheckRequest
	command := &cobra.Command{
		Use:   "check [VIEW…]",
		Short: "Prove that training and serving agree",
		Long: "Sample entities of each view, and compare what is served online with what a training set has for them: now,\n" +
			"and at the edges of a row's life, which begins at its event time and ends with its TTL. Every value must be\n" +
			"the same, bit by bit. The server does this by itself every hour; see also SELECT * FROM meta.checks.\n\n" +
			"Exit code: 0 no difference, 3 values differ, 1 the check failed.",
		Example: "  driftline check\n  driftline check weather --entities 1000 --json",
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				req.Views = append(req.Views, driftline.ViewName(name))
			}
			return a.check(c.Context(), req)
		},
	}
	command.Flags().IntVar(&req.Entities, "entities", 100, "how many entities of each view to sample")
	command.Flags().Uint64Var(&req.Seed, "seed", 0, "sample the same rows as an earlier check of that seed (default: other ones each time)")
	return command
}

func (a *app) check(ctx context.Context, req driftline.CheckRequest) error {
	return a.withServer(ctx, func(c *client.Client) error {
		report, err := c.Check(ctx, req)
		if err != nil {
			return err
		}
		if err := a.answer(report, func(w io.Writer) error { return printCheck(w, report) }); err != nil {
			return err
		}
		if report.Differences() > 0 {
			return errDifferent
		}
		return nil
	})
}

func printCheck(w io.Writer, report driftline.CheckReport) error {
	t := newTable("view", ">entities", ">moments", ">values", ">differences", "")
	for _, v := range report.Views {
		if v.Skipped != "" {
			t.add(string(v.View), "-", "-", "-", "-", v.Skipped)
			continue
		}
		note := ""
		if v.OneStore > 0 {
			note = fmt.Sprintf("%d more differ as their writes said: to one store only", v.OneStore)
		}
		t.add(string(v.View), fmt.Sprint(v.Entities), fmt.Sprint(v.Moments), fmt.Sprint(v.Values), fmt.Sprint(v.Differences), note)
	}
	if err := t.print(w); err != nil {
		return err
	}
	for _, v := range report.Views {
		for _, d := range v.Examples {
			if _, err := fmt.Fprintf(w, "%s %v at %s: %s is %s online (%s), %s offline\n", v.View, d.Entity,
				d.At.Format(time.RFC3339Nano), d.Feature, d.Online, d.Status, d.Offline); err != nil {
				return err
			}
		}
	}
	if report.Differences() > 0 {
		_, err := fmt.Fprintf(w, "Look again at the same rows with --seed %d. Roll the view's table back to its newest snapshot to make its online rows anew.\n", report.Seed)
		return err
	}
	return nil
}
