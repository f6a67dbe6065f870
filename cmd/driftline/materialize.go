package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) materializeCommand() *cobra.Command {
	var start, end string
	var force, background, rebuild bool
	command := &cobra.Command{
		Use:   "materialize [VIEW…]",
		Short: "Bring online what was written offline only",
		Long: "Bring rows online that were written offline only (ingest --to offline), of the views that are named or of all\n" +
			"that are served. Which rows those are is known by when they were written, so late ones are never missed.\n" +
			"--start and --end bound their event times, both inclusive; without --start it is everything that is not\n" +
			"online yet, and without --end up to now.\n" +
			"--rebuild makes all online rows of the views anew, from their files and the ingest log.",
		Example: "  driftline materialize\n  driftline materialize weather --start 2013-01-01 --end 2013-01-31T15:00:00Z\n" +
			"  driftline materialize --rebuild weather\n  driftline materialize list",
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			req := driftline.MaterializationRequest{Incremental: start == "", End: time.Now().UTC(), Force: force}
			for _, name := range args {
				req.Views = append(req.Views, driftline.ViewName(name))
			}
			var err error
			if end != "" {
				if req.End, err = parseAt(end); err != nil {
					return err
				}
			}
			if req.Start, err = parseAt(start); err != nil {
				return err
			}
			if rebuild {
				if start != "" || end != "" {
					return usagef("--rebuild takes all rows: leave --start and --end out")
				}
				req.Rebuild, req.Incremental, req.End = true, false, time.Time{}
			}
			return a.materialize(c.Context(), req, background)
		},
	}
	command.Flags().StringVar(&start, "start", "", "least event time (default: everything that is not online yet)")
	command.Flags().StringVar(&end, "end", "", "greatest event time (default now)")
	command.Flags().BoolVar(&force, "force", false, "cancel a job that is at work on the views")
	command.Flags().BoolVar(&rebuild, "rebuild", false, "make all online rows of the views anew")
	command.Flags().BoolVar(&background, "async", false, "do not wait for the job's end")
	command.AddCommand(a.materializeListCommand(), a.materializeShowCommand(), a.materializeCancelCommand())
	return command
}

// materializePoll is how often a job is asked how far it is.
const materializePoll = 100 * time.Millisecond

func (a *app) materialize(ctx context.Context, req driftline.MaterializationRequest, background bool) error {
	return a.withServer(ctx, func(c *client.Client) error {
		job, err := c.Materialize(ctx, req)
		for err == nil && !background && job.State == driftline.MaterializationRunning {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(materializePoll):
			}
			job, err = c.Materialization(ctx, job.ID)
		}
		if err != nil {
			return err
		}
		if err := a.answer(job, func(w io.Writer) error { return printMaterializations(w, *job) }); err != nil {
			return err
		}
		switch job.State {
		case driftline.MaterializationFailed:
			return driftline.Errorf(driftline.Internal, "%s failed: %s", job.ID, job.Error)
		case driftline.MaterializationCancelled:
			return driftline.Errorf(driftline.Unavailable, "%s was cancelled", job.ID).WithHint("start it again: what it brought online is online")
		}
		return nil
	})
}

func (a *app) materializeListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the jobs, the newest first", Example: "  driftline materialize list --json", Args: exactly(0),
		RunE: listing(a, "materializations", (*client.Client).Materializations, func(w io.Writer, jobs []driftline.Materialization) error { return printMaterializations(w, jobs...) }),
	}
}

func (a *app) materializeShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show JOB", Short: "Show a job and how far it is", Example: "  driftline materialize show materialize-3", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.showMaterialization(c.Context(), args[0], (*client.Client).Materialization)
		},
	}
}

func (a *app) materializeCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel JOB", Short: "End a job; what it brought online stays so", Example: "  driftline materialize cancel materialize-3", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.showMaterialization(c.Context(), args[0], (*client.Client).CancelMaterialization)
		},
	}
}

func (a *app) showMaterialization(ctx context.Context, id string, ask func(*client.Client, context.Context, string) (*driftline.Materialization, error)) error {
	return a.withServer(ctx, func(c *client.Client) error {
		job, err := ask(c, ctx, id)
		if err != nil {
			return err
		}
		return a.answer(job, func(w io.Writer) error { return printMaterializations(w, *job) })
	})
}

func printMaterializations(w io.Writer, jobs ...driftline.Materialization) error {
	t := newTable("job", "state", "views", "from", "to", ">rows", ">of", "started")
	for _, job := range jobs {
		from, to := "not online", job.End.Format(time.RFC3339)
		switch {
		case job.Rebuild:
			from, to = "all", "all"
		case !job.Start.IsZero():
			from = job.Start.Format(time.RFC3339)
		}
		var views []string
		for _, view := range job.Views {
			views = append(views, string(view))
		}
		t.add(job.ID, string(job.State), strings.Join(views, ", "), from, to,
			fmt.Sprint(job.Rows), fmt.Sprint(job.Total), job.Started.Format(time.RFC3339))
	}
	return t.print(w)
}
