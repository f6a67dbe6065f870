package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) trainCommand() *cobra.Command {
	var key, reason, by string
	var wait bool
	command := &cobra.Command{
		Use: "train MODEL", Short: "Train a model now, as its policy says",
		Long: "Ask for a training run. The budget of the policy holds, its cooldown does not. With --key the same request is\n" +
			"answered with the same run, however often it is made. --wait shows how it goes, and ends with 1 if it came to nothing.",
		Example: "  driftline train late_departure --reason 'new airport'\n  driftline train late_departure --key \"$BUILD_ID\" --wait", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				answer, err := server.Train(c.Context(), driftline.ModelName(args[0]), key, driftline.TrainingRequest{Reason: reason, By: by})
				if err != nil {
					return err
				}
				if wait {
					if answer.Run, err = a.awaitTraining(c.Context(), server, answer.Run); err != nil {
						return err
					}
				}
				if err := a.answer(answer, func(w io.Writer) error { return printAnswer(w, answer) }); err != nil {
					return err
				}
				return cameToNothing(&answer.Run)
			})
		},
	}
	command.Flags().StringVar(&key, "key", "", "idempotency key: the same key is the same request")
	command.Flags().StringVar(&reason, "reason", "", "why, for whoever reads the history")
	command.Flags().StringVar(&by, "by", person(), "who asks")
	command.Flags().BoolVar(&wait, "wait", false, "wait until the run has ended")
	return command
}

func printAnswer(w io.Writer, answer *driftline.TrainingAnswer) error {
	if answer.Deduplicated {
		fmt.Fprintln(w, "The same was asked for before.")
	}
	return printTrainings(w, []driftline.TrainingRun{answer.Run})
}

// cameToNothing is the error of a run that ended badly.
func cameToNothing(run *driftline.TrainingRun) error {
	switch run.State {
	case driftline.TrainingFailed, driftline.TrainingTimedOut, driftline.TrainingRejected, driftline.TrainingCancelled:
		return driftline.Errorf(driftline.FailedPrecondition, "training run %s is %s: %s", run.ID, run.State, orDash(run.Reason)).
			WithHint("driftline training log %s", run.ID)
	}
	return nil
}

const askEvery = 500 * time.Millisecond

// awaitTraining waits until a run has ended, and says when its state changes.
func (a *app) awaitTraining(ctx context.Context, server *client.Client, run driftline.TrainingRun) (driftline.TrainingRun, error) {
	var said driftline.TrainingState
	for {
		found, err := server.Training(ctx, run.ID)
		if err != nil {
			return run, err
		}
		run = *found
		if run.State != said {
			fmt.Fprintf(a.stderr, "%s is %s\n", run.ID, run.State)
			said = run.State
		}
		if run.State.Ended() {
			return run, nil
		}
		select {
		case <-ctx.Done():
			return run, ctx.Err()
		case <-time.After(askEvery):
		}
	}
}

func (a *app) trainingCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "training",
		Short:   "Look at training runs, at their logs, and at why there was none",
		Example: "  driftline training list late_departure\n  driftline training log late_departure-7\n  driftline training suppressions",
		Args:    exactly(0),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.trainingListCommand(), a.trainingShowCommand(), a.trainingLogCommand(), a.trainingCancelCommand(), a.trainingSuppressionsCommand())
	return command
}

func (a *app) trainingListCommand() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use: "list [MODEL]", Short: "List training runs, the newest first", Example: "  driftline training list late_departure --json", Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				runs, err := server.Trainings(c.Context(), modelIn(args), limit)
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"runs": runs}, func(w io.Writer) error { return printTrainings(w, runs) })
			})
		},
	}
	command.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return command
}

func modelIn(args []string) driftline.ModelName {
	if len(args) == 0 {
		return ""
	}
	return driftline.ModelName(args[0])
}

func printTrainings(w io.Writer, runs []driftline.TrainingRun) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "No training run yet: driftline train MODEL begins one.")
		return err
	}
	t := newTable("run", "state", "cause", ">causes", "created", "ended", ">candidate", "what became of it")
	for _, r := range runs {
		ended, candidate, became := "-", "-", r.Note
		if !r.Ended.IsZero() {
			ended = stamp(r.Ended)
		}
		if r.Candidate > 0 {
			candidate = strconv.Itoa(r.Candidate)
		}
		if r.Reason != "" {
			became = r.Reason
		}
		t.add(string(r.ID), string(r.State), printable(r.Causes[0].Summary), strconv.FormatInt(r.CauseCount, 10), stamp(r.Created), ended, candidate, printable(orDash(became)))
	}
	return t.print(w)
}

func (a *app) trainingShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Show a training run: its causes, its data, what came of it", Example: "  driftline training show late_departure-7", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				run, err := server.Training(c.Context(), driftline.TrainingID(args[0]))
				if err != nil {
					return err
				}
				return a.answer(run, func(w io.Writer) error { return printTraining(w, run) })
			})
		},
	}
}

func printTraining(w io.Writer, run *driftline.TrainingRun) error {
	fmt.Fprintf(w, "%s by %s, %d attempts", run.Ref(), driftline.PolicyRef(run.Model, run.Policy), run.Attempts)
	if run.Dataset != (driftline.Ref{}) {
		fmt.Fprintf(w, ", trained on %s", run.Dataset)
	}
	fmt.Fprintln(w)
	if err := printTrainings(w, []driftline.TrainingRun{*run}); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t := newTable("cause", "kind", "trigger", "seen", "by")
	for _, cause := range run.Causes {
		t.add(printable(cause.Summary), string(cause.Kind), orDash(cause.Trigger), stamp(cause.Time), orDash(cause.By))
	}
	return t.print(w)
}

func (a *app) trainingLogCommand() *cobra.Command {
	return &cobra.Command{
		Use: "log RUN", Short: "Print what the command of a training run has written", Example: "  driftline training log late_departure-7", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				log, err := server.TrainingLog(c.Context(), driftline.TrainingID(args[0]))
				if err != nil {
					return err
				}
				defer log.Close()
				_, err = io.Copy(a.stdout, log)
				return err
			})
		},
	}
}

func (a *app) trainingCancelCommand() *cobra.Command {
	var who whoFlags
	c := a.tableVerb("cancel RUN", "End a training run that has not ended", 1, func(ctx context.Context, server *client.Client, args []string) error {
		run, err := server.CancelTraining(ctx, driftline.TrainingID(args[0]), who.by, who.reason)
		if err != nil {
			return err
		}
		return a.answer(run, func(w io.Writer) error { return printTrainings(w, []driftline.TrainingRun{*run}) })
	})
	who.add(c)
	return c
}

func (a *app) trainingSuppressionsCommand() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use: "suppressions [MODEL]", Short: "List what triggers saw that led to no run, and why", Example: "  driftline training suppressions late_departure", Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				all, err := server.Suppressions(c.Context(), modelIn(args), limit)
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"suppressions": all}, func(w io.Writer) error { return printAllSuppressions(w, all) })
			})
		},
	}
	command.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return command
}

func printAllSuppressions(w io.Writer, all []driftline.Suppression) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was suppressed.")
		return err
	}
	t := newTable("model", "time", "trigger", "reason", "because", "heard from")
	for _, s := range all {
		next := "-"
		if !s.Next.IsZero() {
			next = stamp(s.Next)
		}
		t.add(string(s.Model), stamp(s.Time), orDash(s.Cause.Trigger), string(s.Reason), printable(s.Detail), next)
	}
	return t.print(w)
}
