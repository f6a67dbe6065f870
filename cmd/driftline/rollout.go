package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/report"
)

// errNotPromoted says that a candidate did not become champion. It has been reported already.
var errNotPromoted = errors.New("the candidate was not promoted")

// watchEvery is how often a rollout that is watched is looked at.
const watchEvery = time.Second

func (a *app) rolloutCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "rollout",
		Short: "Make a version champion step by step, watch how it does, and take it back",
		Long: "Make a version of a model champion step by step: shadow, canary, promotion, bake. What it does worse than the champion is\n" +
			"found by tests that are valid however often one looks, and takes it back by itself.\n\n" +
			"Where a rollout is named, its model may be: then it is the model's newest one.",
		Example: "  driftline rollout start late_departure@3 --plan canary.yaml --reason 'AUC 0.81' --wait\n" +
			"  driftline rollout status late_departure\n  driftline rollout rollback late_departure --reason 'complaints'",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.rolloutStartCommand(), a.rolloutListCommand(), a.rolloutStatusCommand(), a.rolloutWatchCommand(), a.rolloutExplainCommand())
	for _, action := range []struct {
		action driftline.RolloutAction
		short  string
	}{
		{driftline.RolloutPause, "Keep the shares as they are; what is worse is taken back all the same"},
		{driftline.RolloutResume, "Go on where it was paused"},
		{driftline.RolloutAbort, "Give the candidate no more requests"},
		{driftline.RolloutPromote, "Make the candidate champion without waiting for more evidence; of a baking one, end the bake"},
		{driftline.RolloutApprove, "Let the stage that waits for it pass"},
	} {
		command.AddCommand(a.rolloutActionCommand(action.action, action.short))
	}
	command.AddCommand(a.rolloutRollbackCommand())
	return command
}

// rolloutNamed finds a rollout by its ID, or the newest one of a model.
func rolloutNamed(ctx context.Context, server *client.Client, name string) (*driftline.RolloutStatus, error) {
	found, err := server.Rollout(ctx, driftline.RolloutID(name))
	if driftline.CodeOf(err) != driftline.NotFound {
		return found, err
	}
	all, errModel := server.Rollouts(ctx, driftline.ModelName(name))
	switch {
	case errModel != nil:
		return nil, err // of the two it is the one that says how to begin
	case len(all) == 0:
		return nil, driftline.Errorf(driftline.NotFound, "model %q has had no rollout", name).WithHint("start one: driftline rollout start %s@VERSION", name)
	}
	return &all[0], nil
}

// readPlan reads a plan of a rollout from YAML or JSON.
func readPlan(path string) (*driftline.RolloutPlan, error) {
	return readValue(path, "the file", "", (*driftline.RolloutPlan).Check)
}

// rolloutStartFlags are what driftline rollout start was asked.
type rolloutStartFlags struct {
	plan    string
	notify  []string
	who     whoFlags
	wait    bool
	until   string
	timeout time.Duration
	reports reportFlags
}

func (a *app) rolloutStartCommand() *cobra.Command {
	var flags rolloutStartFlags
	c := a.tableVerb("start MODEL@VERSION", "Begin to make a version champion", 1, func(ctx context.Context, server *client.Client, args []string) error {
		return a.startRollout(ctx, server, args[0], flags)
	})
	c.Long = "Begin to make a version champion. VERSION is a number or an alias. Without --plan the plan is that of the model's policy,\n" +
		"or the usual one: 5, 25 and 50 % of the requests, and a day of baking.\n\n" +
		"With --wait it goes on until the candidate stays champion, or is out; --until baking does not wait for the bake.\n\n" +
		"Exit code: 0 it began, and with --wait it was promoted; 3 it was not; 1 it could not begin, or --timeout was over first."
	c.Example = "  driftline rollout start late_departure@3\n" +
		"  driftline rollout start late_departure@challenger --plan canary.yaml --notify ops --wait --until baking --junit rollout.xml"
	c.Flags().StringVar(&flags.plan, "plan", "", "YAML or JSON file of the plan: shadow, stages, bake, guards, …")
	c.Flags().StringArrayVar(&flags.notify, "notify", nil, "a channel that is told of everything; may be repeated (default: those of the policy)")
	flags.who.add(c)
	c.Flags().BoolVar(&flags.wait, "wait", false, "wait for its end, and show what changes meanwhile")
	c.Flags().StringVar(&flags.until, "until", string(driftline.RolloutPromoted), "with --wait: promoted, or baking, once it is champion")
	c.Flags().DurationVar(&flags.timeout, "timeout", 0, "with --wait: give up waiting after so long; the rollout goes on (default: never)")
	c.Flags().StringVar(&flags.reports.markdown, "markdown", "", "with --wait: write Markdown to this file; - prints it")
	c.Flags().StringVar(&flags.reports.junit, "junit", "", "with --wait: write JUnit XML, which CI servers show, to this file")
	return c
}

func (a *app) startRollout(ctx context.Context, server *client.Client, text string, flags rolloutStartFlags) error {
	model, version, ok := cutLast(text, "@")
	switch {
	case !ok || model == "" || version == "":
		return usagef("%q is not MODEL@VERSION", text)
	case flags.until != string(driftline.RolloutPromoted) && flags.until != string(driftline.RolloutBaking):
		return usagef("--until is %q, want promoted or baking", flags.until)
	}
	request := driftline.RolloutRequest{Model: driftline.ModelName(model), Version: version, By: flags.who.by, Reason: flags.who.reason}
	if flags.plan != "" {
		var err error
		if request.Plan, err = readPlan(flags.plan); err != nil {
			return err
		}
	}
	if len(flags.notify) > 0 {
		request.Notices = []driftline.PolicyNotice{{Channels: flags.notify}}
	}
	started, err := server.StartRollout(ctx, request)
	if err != nil {
		return err
	}
	if !flags.wait {
		return a.answer(started, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "rollout %s of version %d has begun\n", printable(string(started.Rollout.ID)), started.Rollout.Candidate)
			return err
		})
	}
	return a.awaitRollout(ctx, server, started.Rollout.ID, flags)
}

// awaitRollout follows a rollout to its end, and reports it.
func (a *app) awaitRollout(ctx context.Context, server *client.Client, id driftline.RolloutID, flags rolloutStartFlags) error {
	waiting, cancel := ctx, func() {}
	if flags.timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, flags.timeout)
	}
	defer cancel()
	status, changes, err := a.follow(waiting, server, id, a.stderr, func(s *driftline.RolloutStatus) bool {
		return s.Phase.Ended() || flags.until == string(driftline.RolloutBaking) && s.Phase == driftline.RolloutBaking
	})
	if waiting.Err() != nil && ctx.Err() == nil {
		return driftline.Errorf(driftline.Deadline, "rollout %s has not ended after %s; it goes on", id, flags.timeout).
			WithHint("watch it: driftline rollout watch %s", id)
	}
	if err != nil {
		return err
	}
	forms := reportForms{
		markdown: func(w io.Writer) error { return report.RolloutMarkdown(w, status, changes) },
		junit:    func(w io.Writer) error { return report.RolloutJUnit(w, status, changes) },
	}
	if err := writeReports(flags.reports, forms); err != nil {
		return err
	}
	if err := a.printReport(flags.reports, status, forms, func(w io.Writer) error { return printRollout(w, status, changes) }); err != nil {
		return err
	}
	if status.Phase != driftline.RolloutPromoted && status.Phase != driftline.RolloutBaking {
		return errNotPromoted
	}
	return nil
}

// follow shows the changes of a rollout, and what it waits for, until it is done.
func (a *app) follow(ctx context.Context, server *client.Client, id driftline.RolloutID, to io.Writer, done func(*driftline.RolloutStatus) bool) (*driftline.RolloutStatus, []driftline.RolloutChange, error) {
	shown, said := 0, ""
	for {
		status, err := server.Rollout(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		changes, err := server.RolloutHistory(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		for ; shown < len(changes); shown++ {
			fmt.Fprintln(to, changeLine(status, &changes[shown]))
		}
		if now := waitsFor(status); now != said {
			if said = now; now != "" {
				fmt.Fprintf(to, "%s\n", printable(now))
			}
		}
		if done(status) {
			return status, changes, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(watchEvery):
		}
	}
}

// waitsFor is what does not come by itself; "" if nothing is.
func waitsFor(s *driftline.RolloutStatus) string {
	switch {
	case s.Blind != "":
		return "held: " + s.Blind
	case s.Waiting != "":
		return "waits for " + s.Waiting + ": " + s.Reason
	}
	return ""
}

func changeLine(status *driftline.RolloutStatus, c *driftline.RolloutChange) string {
	then := driftline.Rollout{Phase: c.To, Stage: c.Stage, Plan: status.Plan}
	line := fmt.Sprintf("%s  %-13s candidate gets %g %%: %s", stamp(c.Time), then.Title(), c.Weight, printable(c.Reason))
	if c.By != "" {
		line += " (" + printable(c.By) + ")"
	}
	return line
}

func (a *app) rolloutListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [MODEL]", Short: "List rollouts, the newest first", Example: "  driftline rollout list late_departure --json", Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				all, err := server.Rollouts(c.Context(), driftline.ModelName(strings.Join(args, "")))
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"rollouts": all}, func(w io.Writer) error { return printRollouts(w, all) })
			})
		},
	}
}

func printRollouts(w io.Writer, all []driftline.RolloutStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was rolled out yet: driftline rollout start MODEL@VERSION begins.")
		return err
	}
	t := newTable("rollout", ">candidate", ">champion", "phase", ">candidate gets", "verdict", "since", "why")
	for i := range all {
		r := &all[i]
		t.add(printable(string(r.ID)), strconv.Itoa(r.Candidate), versionText(r.Champion), r.Title(), shareOf(&r.Route), outcomeOf(r.Verdict), stamp(r.Entered), printable(r.Reason))
	}
	return t.print(w)
}

func outcomeOf(v *driftline.RolloutVerdict) string {
	if v == nil {
		return "-"
	}
	return string(v.Outcome)
}

func shareOf(route *driftline.Route) string {
	return strconv.FormatFloat(route.Weight(driftline.ArmCandidate), 'g', -1, 64) + " %"
}

func (a *app) rolloutStatusCommand() *cobra.Command {
	c := a.tableVerb("status ROLLOUT|MODEL", "Say how far a rollout is, what the evidence says, and how it came there", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			status, err := rolloutNamed(ctx, server, args[0])
			if err != nil {
				return err
			}
			changes, err := server.RolloutHistory(ctx, status.ID)
			if err != nil {
				return err
			}
			return a.answer(map[string]any{"rollout": status, "changes": changes}, func(w io.Writer) error { return printRollout(w, status, changes) })
		})
	c.Example = "  driftline rollout status late_departure\n  driftline rollout status late_departure-3 --json"
	return c
}

func printRollout(w io.Writer, s *driftline.RolloutStatus, changes []driftline.RolloutChange) error {
	fmt.Fprintf(w, "%s: version %d beside %s is %s since %s, at sequence %d\n", printable(string(s.ID)), s.Candidate, championWord(s.Champion), s.Title(), stamp(s.Entered), s.Sequence)
	fmt.Fprintf(w, "%s\n", printable(s.Reason))
	if text := waitsFor(s); text != "" && s.Waiting == "" {
		fmt.Fprintln(w, printable(text))
	}
	if s.Phase == driftline.RolloutPending {
		fmt.Fprintf(w, "loaded: %t; %d of the champion's %d requests that say what is normal\n", s.Loaded, s.Baseline, s.Plan.Baseline)
	}
	if s.Next != 0 {
		fmt.Fprintf(w, "version %d waits until it has ended\n", s.Next)
	}
	if s.Verdict != nil {
		fmt.Fprintf(w, "\n%s\n", printable(report.RolloutVerdict(s.Verdict)))
		if err := printGuards(w, s.Verdict); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for i := range changes {
		fmt.Fprintln(w, changeLine(s, &changes[i]))
	}
	return nil
}

func championWord(version int) string {
	if version == 0 {
		return "no champion"
	}
	return fmt.Sprintf("champion %d", version)
}

func printGuards(w io.Writer, v *driftline.RolloutVerdict) error {
	t := newTable("guard", "outcome", "candidate to champion", ">events", ">requests", ">needs")
	for i := range v.Guards {
		g := &v.Guards[i]
		t.add(printable(g.Guard), string(g.Outcome), orDash(report.GuardEffect(g)), fmt.Sprintf("%d : %d", g.Events.Candidate, g.Events.Champion),
			fmt.Sprintf("%d : %d", g.Requests.Candidate, g.Requests.Champion), needsText(g.Needs))
	}
	return t.print(w)
}

func needsText(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func (a *app) rolloutWatchCommand() *cobra.Command {
	c := a.tableVerb("watch ROLLOUT|MODEL", "Show a rollout's changes as they come, until it has ended", 1, func(ctx context.Context, server *client.Client, args []string) error {
		found, err := rolloutNamed(ctx, server, args[0])
		if err != nil {
			return err
		}
		to := a.stdout
		if a.asJSON {
			to = io.Discard
		}
		status, changes, err := a.follow(ctx, server, found.ID, to, func(s *driftline.RolloutStatus) bool { return s.Phase.Ended() })
		if err != nil || !a.asJSON {
			return err
		}
		return a.answer(map[string]any{"rollout": status, "changes": changes}, nil)
	})
	c.Example = "  driftline rollout watch late_departure"
	return c
}

func (a *app) rolloutExplainCommand() *cobra.Command {
	c := a.tableVerb("explain ROLLOUT|MODEL", "Make each verdict again from the counts it rested on", 1, func(ctx context.Context, server *client.Client, args []string) error {
		found, err := rolloutNamed(ctx, server, args[0])
		if err != nil {
			return err
		}
		changes, err := server.ExplainRollout(ctx, found.ID)
		if err != nil {
			return err
		}
		return a.answer(map[string]any{"changes": changes}, func(w io.Writer) error { return printExplanations(w, found, changes) })
	})
	c.Example = "  driftline rollout explain late_departure-3\n  driftline rollout explain late_departure-3 --json | jq '.changes[].evidence'"
	return c
}

func printExplanations(w io.Writer, status *driftline.RolloutStatus, changes []driftline.RolloutExplanation) error {
	for i := range changes {
		x := &changes[i]
		fmt.Fprintln(w, changeLine(status, &x.RolloutChange))
		if x.Verdict == nil {
			continue
		}
		var segments []json.RawMessage
		if err := json.Unmarshal(x.Evidence, &segments); err != nil {
			return err
		}
		word := "equal in every bit"
		if !x.Equal {
			word = "DIFFERENT"
		}
		fmt.Fprintf(w, "  %s\n  made again from the counts of %d segments: %s\n", printable(report.RolloutVerdict(x.Verdict)), len(segments), word)
		if err := printGuards(w, x.Verdict); err != nil {
			return err
		}
	}
	return nil
}

// commandFlags are those of what people do to a rollout.
type commandFlags struct {
	who    whoFlags
	expect int64
	force  bool
}

func (f *commandFlags) add(c *cobra.Command) {
	f.who.add(c)
	c.Flags().Int64Var(&f.expect, "expect", -1, "the sequence of the rollout that it was decided on; at another one it is refused (default: whatever it is)")
}

func (f *commandFlags) command() driftline.RolloutCommand {
	command := driftline.RolloutCommand{By: f.who.by, Reason: f.who.reason, Force: f.force}
	if f.expect >= 0 {
		expect := uint64(f.expect)
		command.Expect = &expect
	}
	return command
}

func (a *app) rolloutActionCommand(action driftline.RolloutAction, short string) *cobra.Command {
	var flags commandFlags
	c := a.tableVerb(string(action)+" ROLLOUT|MODEL", short, 1, func(ctx context.Context, server *client.Client, args []string) error {
		found, err := rolloutNamed(ctx, server, args[0])
		if err != nil {
			return err
		}
		status, err := server.ActOnRollout(ctx, found.ID, action, flags.command())
		if err != nil {
			return err
		}
		return a.answer(status, func(w io.Writer) error { return printStanding(w, status) })
	})
	c.Example = fmt.Sprintf("  driftline rollout %s late_departure --reason 'we look at it first'", action)
	flags.add(c)
	if action == driftline.RolloutPromote {
		c.Flags().BoolVar(&flags.force, "force", false, "against the evidence, or without any; needs a --reason")
	}
	return c
}

func printStanding(w io.Writer, s *driftline.RolloutStatus) error {
	_, err := fmt.Fprintf(w, "%s is %s: %s\n", printable(string(s.ID)), s.Title(), printable(s.Reason))
	return err
}

func (a *app) rolloutRollbackCommand() *cobra.Command {
	var flags commandFlags
	c := a.tableVerb("rollback ROLLOUT|MODEL", "Give the model back to the version that was champion before", 1, func(ctx context.Context, server *client.Client, args []string) error {
		status, err := server.Rollout(ctx, driftline.RolloutID(args[0]))
		if driftline.CodeOf(err) == driftline.NotFound {
			back, err := server.RollBackModel(ctx, driftline.ModelName(args[0]), driftline.AliasRollback{By: flags.who.by, Reason: flags.who.reason})
			if err != nil {
				return err
			}
			return a.answer(back, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "version %d of %s answers again\n", back.Version, printable(args[0]))
				return err
			})
		}
		if err == nil {
			status, err = server.ActOnRollout(ctx, status.ID, driftline.RolloutRollback, flags.command())
		}
		if err != nil {
			return err
		}
		return a.answer(status, func(w io.Writer) error { return printStanding(w, status) })
	})
	c.Long = "Give the model back to the version that was champion before, in one step: the rollout under way, one that has ended well, or,\n" +
		"where a model is named that has neither, the last move of the alias champion."
	c.Example = "  driftline rollout rollback late_departure --reason 'complaints since noon'"
	flags.add(c)
	return c
}
