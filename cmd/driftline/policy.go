package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/report"
	"github.com/spf13/cobra"
)

func (a *app) policyCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "policy",
		Short: "Look at what keeps models good: triggers, training, evaluation, rollout",
		Long: "A policy says when a model is trained again, by what, what the candidate must show, and how it is rolled out. It is\n" +
			"written in YAML (kind: policy, or policies: in a file of definitions) and registered with driftline apply.",
		Example: "  driftline policy list\n  driftline policy show late_departure\n  driftline policy history late_departure --json",
		Args:    exactly(0),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.policyListCommand(), a.policyShowCommand(), a.policyHistoryCommand(), a.policyDeleteCommand())
	return command
}

func (a *app) policyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the policies and where they stand", Example: "  driftline policy list --json", Args: exactly(0),
		RunE: listing(a, "policies", (*client.Client).Policies, printPolicies),
	}
}

func printPolicies(w io.Writer, all []driftline.PolicyStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No policy is registered yet: write one (kind: policy) and register it with driftline apply.")
		return err
	}
	t := newTable("model", ">version", "triggers", "training", ">runs", "now", "last", "next")
	for i := range all {
		p := &all[i].Policy
		t.add(string(p.Model), strconv.Itoa(p.Version), triggerNames(p), executorOf(p.Training), strconv.Itoa(all[i].State.Runs),
			activeRun(&all[i].State), lastRun(&all[i].State), nextLook(&all[i]))
	}
	return t.print(w)
}

func triggerNames(p *driftline.Policy) string {
	names := make([]string, len(p.Triggers))
	for i := range p.Triggers {
		names[i] = p.Triggers[i].Name
	}
	return orDash(strings.Join(names, ", "))
}

// executorOf is in a word what trains the model.
func executorOf(job *driftline.TrainingJob) string {
	switch {
	case job == nil:
		return "-"
	case job.Webhook != nil:
		return "webhook"
	case job.Airflow != nil:
		return "airflow"
	case job.Kubernetes != nil:
		return "kubernetes"
	}
	return "command"
}

func activeRun(s *driftline.PolicyState) string {
	if s.Active == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s", s.Active.ID, s.Active.State)
}

func lastRun(s *driftline.PolicyState) string {
	if s.Last == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s", s.Last.ID, s.Last.State)
}

func nextLook(status *driftline.PolicyStatus) string {
	switch {
	case status.Policy.Disabled:
		return "disabled"
	case status.Next.IsZero():
		return "-"
	}
	return stamp(status.Next)
}

func (a *app) policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show MODEL", Short: "Show a model's policy as it is defined, and where it stands",
		Example: "  driftline policy show late_departure", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				status, err := server.Policy(c.Context(), driftline.ModelName(args[0]))
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) error { return printPolicy(w, status) })
			})
		},
	}
}

func printPolicy(w io.Writer, status *driftline.PolicyStatus) error {
	text, err := report.PolicyYAML(&status.Policy)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, applied %s\n\n%s\n", status.Policy.Ref(), stamp(status.Policy.Created), text)
	if err := printPolicies(w, []driftline.PolicyStatus{*status}); err != nil {
		return err
	}
	if !status.Eligible.IsZero() {
		fmt.Fprintf(w, "no run begins before %s\n", stamp(status.Eligible))
	}
	return printSuppressions(w, status.State.Suppressed)
}

func printSuppressions(w io.Writer, all []driftline.Suppression) error {
	if len(all) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable("suppressed", "trigger", "reason", "because", "heard from")
	for _, s := range slices.Backward(all) {
		next := "-"
		if !s.Next.IsZero() {
			next = stamp(s.Next)
		}
		t.add(stamp(s.Time), orDash(s.Cause.Trigger), string(s.Reason), printable(s.Detail), next)
	}
	return t.print(w)
}

func (a *app) policyHistoryCommand() *cobra.Command {
	return &cobra.Command{
		Use: "history MODEL", Short: "List the definitions that a policy has had, the newest first",
		Example: "  driftline policy history late_departure --json", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				versions, err := server.PolicyVersions(c.Context(), driftline.ModelName(args[0]))
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"versions": versions}, func(w io.Writer) error { return printPolicyVersions(w, versions) })
			})
		},
	}
}

func printPolicyVersions(w io.Writer, versions []driftline.Policy) error {
	t := newTable(">version", "first applied", "triggers", "training", ">stages", "gate")
	for i := range slices.Backward(versions) {
		p := &versions[i]
		gate := "-"
		if p.Evaluation.Dataset != (driftline.Ref{}) {
			gate = p.Evaluation.Dataset.String()
		}
		t.add(strconv.Itoa(p.Version), stamp(p.Created), triggerNames(p), executorOf(p.Training), strconv.Itoa(len(p.Rollout.Completed().Stages)), gate)
	}
	return t.print(w)
}

func (a *app) policyDeleteCommand() *cobra.Command {
	var who whoFlags
	c := a.tableVerb("delete MODEL", "Delete a model's policy, and cancel its training runs", 1, func(ctx context.Context, server *client.Client, args []string) error {
		cancelled, err := server.DeletePolicy(ctx, driftline.ModelName(args[0]), who.by, who.reason)
		if err != nil {
			return err
		}
		return a.answer(map[string]any{"deleted": args[0], "cancelled": cancelled}, func(w io.Writer) error {
			for _, run := range cancelled {
				fmt.Fprintf(w, "%s is cancelled\n", run.Ref())
			}
			_, err := fmt.Fprintf(w, "policy/%s is deleted; its definitions stay readable\n", printable(args[0]))
			return err
		})
	})
	who.add(c)
	return c
}
