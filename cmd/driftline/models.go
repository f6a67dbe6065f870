package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) modelsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "models [MODEL]",
		Short: "List registered models, describe one, or change what its aliases and stages are",
		Long: "List registered models, or describe one.\n" +
			"The subcommands register versions, move aliases and stages, say what was where at a time, and take moves back.",
		Example: "  driftline models\n  driftline models late_departure\n" +
			"  driftline models alias late_departure champion 2 --reason 'AUC 0.81' --evidence run/late-7\n" +
			"  driftline models history late_departure --alias champion --at 2026-03-01T12:00:00Z",
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				if len(args) == 1 {
					return a.showModel(c.Context(), server, driftline.ModelName(args[0]))
				}
				models, err := server.RegisteredModels(c.Context())
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"models": models}, func(w io.Writer) error { return printModels(w, models) })
			})
		},
	}
	command.AddCommand(a.modelsCreateCommand(), a.modelsRegisterCommand(), a.modelsAliasCommand(), a.modelsUnaliasCommand(), a.modelsRollbackCommand(),
		a.modelsHistoryCommand(), a.modelsStageCommand(), a.modelsGateCommand(), a.modelsCheckCommand(), a.modelsApproveCommand(),
		a.modelsRenameCommand(), a.modelsDeleteCommand(), a.modelsDownloadCommand(), a.modelsCardCommand(),
		a.modelsExportCommand(), a.modelsImportCommand(), a.modelsKeyCommand(), a.modelsServeAtCommand(), a.modelsUnserveCommand())
	return command
}

func (a *app) modelsCreateCommand() *cobra.Command {
	var description string
	command := &cobra.Command{
		Use: "create MODEL", Short: "Create a model that has no versions yet",
		Long:    "Create a model that has no versions yet, so that a policy can say how it is trained.",
		Example: "  driftline models create late_departure --description 'Does a flight leave late?'", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				spec := driftline.RegisteredModelSpec{Name: driftline.ModelName(args[0]), Description: description}
				created, err := server.CreateModel(c.Context(), spec)
				if err != nil {
					return err
				}
				return a.answer(created, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "model/%s created\n", created.Name)
					return err
				})
			})
		},
	}
	command.Flags().StringVar(&description, "description", "", "for people")
	return command
}

func (a *app) showModel(ctx context.Context, server *client.Client, name driftline.ModelName) error {
	model, err := server.Model(ctx, name)
	if err != nil {
		return err
	}
	return a.answer(model, func(w io.Writer) error {
		printModelHead(w, model.Model)
		return printVersions(w, model.Versions)
	})
}

func printModelHead(w io.Writer, m *driftline.RegisteredModel) {
	if m == nil {
		return
	}
	fmt.Fprintf(w, "%s: created %s", printable(string(m.Name)), stamp(m.Created))
	if m.By != "" {
		fmt.Fprintf(w, " by %s", printable(m.By))
	}
	fmt.Fprintln(w)
	if m.Description != "" {
		fmt.Fprintln(w, printable(m.Description))
	}
	for _, key := range slices.Sorted(maps.Keys(m.Tags)) {
		fmt.Fprintf(w, "tag %s: %s\n", printable(key), printable(m.Tags[key]))
	}
	for _, g := range m.Gates {
		fmt.Fprintf(w, "%s is gated: %s\n", printable(g.Target()), printable(gateText(g)))
	}
	fmt.Fprintln(w)
}

func gateText(g driftline.ModelGate) string {
	var wants []string
	for _, check := range g.Checks {
		wants = append(wants, "check "+check)
	}
	if g.Approvals > 0 {
		wants = append(wants, fmt.Sprintf("%d approvals", g.Approvals))
	}
	return strings.Join(wants, ", ")
}

func printModels(w io.Writer, models []driftline.RegisteredModel) error {
	if len(models) == 0 {
		_, err := fmt.Fprintln(w, "No model is registered yet.")
		return err
	}
	t := newTable("model", ">versions", ">newest", "aliases", "run", "changed")
	for _, m := range models {
		newest, run := "", ""
		if m.Newest != nil {
			newest, run = strconv.Itoa(m.Newest.Version), string(m.Newest.Run)
		}
		var aliases []string
		for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
			aliases = append(aliases, fmt.Sprintf("%s=%d", alias, m.Aliases[alias]))
		}
		t.add(printable(string(m.Name)), strconv.Itoa(m.Versions), newest, strings.Join(aliases, ", "), printable(run), stamp(m.Updated))
	}
	return t.print(w)
}

func printVersions(w io.Writer, versions []driftline.ModelVersion) error {
	if len(versions) == 0 {
		_, err := fmt.Fprintln(w, "It has no version yet.")
		return err
	}
	t := newTable("model", ">version", "aliases", "stage", "run", "artifact", "registered")
	for _, v := range versions {
		aliases := make([]string, len(v.Aliases))
		for i, alias := range v.Aliases {
			aliases[i] = string(alias)
		}
		artifact := cmp.Or(v.Artifact.Path, v.Source)
		t.add(printable(string(v.Model)), strconv.Itoa(v.Version), strings.Join(aliases, ", "), string(v.Stage), printable(string(v.Run)),
			printable(artifact), stamp(v.Created))
	}
	return t.print(w)
}

// whoFlags are who does something, and why.
type whoFlags struct{ by, reason string }

func (f *whoFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.by, "by", person(), "who does it")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for whoever reads the history")
}

// person is the name of the user that runs the command, or "".
func person() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

// parseRefs reads references such as run/late-7.
func parseRefs(flag string, texts []string) ([]driftline.Ref, error) {
	var refs []driftline.Ref
	for _, text := range texts {
		ref, err := driftline.ParseRef(text)
		if err != nil {
			return nil, usagef("--%s: %w", flag, err)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// expectFlag is the version of a compare-and-swap; -1 is none.
func addExpect(c *cobra.Command, expect *int) {
	c.Flags().IntVar(expect, "expect", -1, "the version that the alias must be at now, 0 for at none (default: anywhere)")
}

func expected(expect int) *int {
	if expect < 0 {
		return nil
	}
	return &expect
}

func parseVersion(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return 0, usagef("version %q is not a number from 1", text)
	}
	return number, nil
}

func (a *app) answerVersion(v *driftline.ModelVersion, err error, done string) error {
	if err != nil {
		return err
	}
	return a.answer(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s\n", printable(v.Ref().String()), done)
		return err
	})
}

func (a *app) modelsRegisterCommand() *cobra.Command {
	var spec driftline.ModelSpec
	var run string
	var tags []string
	c := a.tableVerb("register MODEL", "Register a run's artifact, or what a URI names, as the next version", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			spec.Model, spec.Run = driftline.ModelName(args[0]), driftline.RunID(run)
			var err error
			if spec.Tags, err = parsePairs("tag", tags); err != nil {
				return err
			}
			v, err := server.RegisterModel(ctx, spec)
			return a.answerVersion(v, err, "is registered")
		})
	c.Example = "  driftline models register late --run late-7 --artifact model\n  driftline models register late --source models:/late@champion"
	c.Flags().StringVar(&run, "run", "", "the run that made it")
	c.Flags().StringVar(&spec.Artifact, "artifact", "", "the file or folder that the run logged")
	c.Flags().StringVar(&spec.Source, "source", "", "in place of --artifact: runs:/…, models:/…, or the URI of an object store")
	c.Flags().StringVar(&spec.Description, "description", "", "for people")
	c.Flags().StringArrayVar(&tags, "tag", nil, "key=value; may be repeated")
	c.Flags().StringVar(&spec.By, "by", person(), "who registers it")
	return c
}

// parsePairs reads key=value.
func parsePairs(flag string, texts []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usagef("--%s is %q, want key=value", flag, text)
		}
		pairs[key] = value
	}
	return pairs, nil
}

func (a *app) modelsAliasCommand() *cobra.Command {
	var who whoFlags
	var expect int
	var evidence []string
	c := a.tableVerb("alias MODEL ALIAS VERSION", "Point an alias at a version", 3, func(ctx context.Context, server *client.Client, args []string) error {
		version, err := parseVersion(args[2])
		if err != nil {
			return err
		}
		refs, err := parseRefs("evidence", evidence)
		if err != nil {
			return err
		}
		v, err := server.MoveAlias(ctx, driftline.ModelName(args[0]), driftline.Alias(args[1]), driftline.AliasMove{
			Version: version, Expect: expected(expect), Reason: who.reason, By: who.by, Evidence: refs})
		return a.answerVersion(v, err, "is "+args[1]+" now")
	})
	who.add(c)
	addExpect(c, &expect)
	c.Flags().StringArrayVar(&evidence, "evidence", nil, "what the decision rests on, such as run/late-7; may be repeated")
	return c
}

func (a *app) modelsUnaliasCommand() *cobra.Command {
	var who whoFlags
	var expect int
	c := a.tableVerb("unalias MODEL ALIAS", "Take an alias away", 2, func(ctx context.Context, server *client.Client, args []string) error {
		v, err := server.RemoveAlias(ctx, driftline.ModelName(args[0]), driftline.Alias(args[1]),
			driftline.AliasMove{Expect: expected(expect), Reason: who.reason, By: who.by})
		return a.answerVersion(v, err, "is not "+args[1]+" any more")
	})
	who.add(c)
	addExpect(c, &expect)
	return c
}

func (a *app) modelsRollbackCommand() *cobra.Command {
	var who whoFlags
	var expect int
	c := a.tableVerb("rollback MODEL ALIAS", "Take back the last move of an alias", 2, func(ctx context.Context, server *client.Client, args []string) error {
		v, err := server.RollbackAlias(ctx, driftline.ModelName(args[0]), driftline.Alias(args[1]),
			driftline.AliasRollback{Expect: expected(expect), Reason: who.reason, By: who.by})
		return a.answerVersion(v, err, "is "+args[1]+" again")
	})
	who.add(c)
	addExpect(c, &expect)
	return c
}

func (a *app) modelsHistoryCommand() *cobra.Command {
	var alias, at string
	c := a.tableVerb("history MODEL", "Say which version an alias was at, since when, who moved it, and on what evidence", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			var when time.Time
			if at != "" {
				var ok bool
				if when, ok = parseTime(at); !ok {
					return usagef("--at is %q, want a time such as 2026-03-01T12:00:00Z", at)
				}
			}
			past, err := server.ModelHistory(ctx, driftline.ModelName(args[0]), driftline.Alias(alias), when)
			if err != nil {
				return err
			}
			return a.answer(past, func(w io.Writer) error { return printHistory(w, past) })
		})
	c.Example = "  driftline models history late_departure\n  driftline models history late_departure --alias champion --at 2026-03-01T12:00:00Z"
	c.Flags().StringVar(&alias, "alias", "", "only this alias")
	c.Flags().StringVar(&at, "at", "", "only what was in force at this time")
	return c
}

func printHistory(w io.Writer, past *client.ModelHistory) error {
	if len(past.Aliases)+len(past.Stages) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was moved.")
		return err
	}
	t := newTable("what", "from", "to", "since", "until", "by", "reason", "evidence", ">line")
	for _, c := range past.Aliases {
		reason := c.Reason
		if len(c.Checks) > 0 {
			reason = strings.TrimSpace(reason + " (passed " + strings.Join(c.Checks, ", ") + ")")
		}
		t.add(printable(string(c.Alias)), versionText(c.From), versionText(c.To), stamp(c.Time), moment(c.Until), printable(c.By), printable(reason),
			printable(refsText(c.Evidence)), strconv.FormatUint(c.Sequence, 10))
	}
	for _, c := range past.Stages {
		t.add(fmt.Sprintf("version %d", c.Version), string(c.From), string(c.To), stamp(c.Time), "", printable(c.By), printable(c.Reason),
			printable(refsText(c.Evidence)), strconv.FormatUint(c.Sequence, 10))
	}
	return t.print(w)
}

func versionText(version int) string {
	if version == 0 {
		return "none"
	}
	return strconv.Itoa(version)
}

func refsText(refs []driftline.Ref) string {
	texts := make([]string, len(refs))
	for i, ref := range refs {
		texts[i] = ref.String()
	}
	return strings.Join(texts, ", ")
}

func (a *app) modelsStageCommand() *cobra.Command {
	var who whoFlags
	var archive bool
	c := a.tableVerb("stage MODEL VERSION STAGE", "Bring a version into a stage: None, Staging, Production or Archived", 3,
		func(ctx context.Context, server *client.Client, args []string) error {
			v, err := server.MoveStage(ctx, driftline.ModelName(args[0]), args[1], driftline.StageMove{
				Stage: driftline.ModelStage(args[2]), ArchiveExisting: archive, Reason: who.reason, By: who.by})
			if err != nil {
				return err
			}
			return a.answerVersion(v, nil, "is in stage "+string(v.Stage)+" now")
		})
	who.add(c)
	c.Flags().BoolVar(&archive, "archive", false, "archive the versions that are in the stage")
	return c
}

// targetFlags are the alias or the stage that a gate or an approval is about.
type targetFlags struct{ alias, stage string }

func (f *targetFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.alias, "alias", "", "the alias that it is about")
	c.Flags().StringVar(&f.stage, "stage", "", "or the stage")
}

func (f *targetFlags) check() error {
	if (f.alias == "") == (f.stage == "") {
		return usagef("name the --alias or the --stage that it is about")
	}
	return nil
}

func (a *app) modelsGateCommand() *cobra.Command {
	var who whoFlags
	var target targetFlags
	var gate driftline.ModelGate
	c := a.tableVerb("gate MODEL", "Say what a version must have before an alias points at it, or before it is in a stage", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			if err := target.check(); err != nil {
				return err
			}
			gate.Alias, gate.Stage = driftline.Alias(target.alias), driftline.ModelStage(target.stage)
			model, err := server.SetModelGate(ctx, driftline.ModelName(args[0]), gate, who.by, who.reason)
			if err != nil {
				return err
			}
			return a.answer(model, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s of %s wants: %s\n", printable(gate.Target()), printable(args[0]), cmp.Or(printable(gateText(gate)), "nothing"))
				return err
			})
		})
	c.Long = "Say what a version must have before an alias points at it, or before it is in a stage.\nWithout --check and --approvals the gate is taken away."
	c.Example = "  driftline models gate late --alias champion --check auc --check drift --approvals 1"
	who.add(c)
	target.add(c)
	c.Flags().StringArrayVar(&gate.Checks, "check", nil, "a check that must have passed; may be repeated")
	c.Flags().IntVar(&gate.Approvals, "approvals", 0, "how many people must approve")
	return c
}

func (a *app) modelsCheckCommand() *cobra.Command {
	var check driftline.ModelCheck
	var failed bool
	var evidence []string
	c := a.tableVerb("check MODEL VERSION NAME", "Record the outcome of a check of a version", 3, func(ctx context.Context, server *client.Client, args []string) error {
		var err error
		if check.Evidence, err = parseRefs("evidence", evidence); err != nil {
			return err
		}
		check.Name, check.Passed = args[2], !failed
		v, err := server.AddModelCheck(ctx, driftline.ModelName(args[0]), args[1], check)
		word := "has passed "
		if failed {
			word = "has failed "
		}
		return a.answerVersion(v, err, word+args[2])
	})
	c.Flags().BoolVar(&failed, "failed", false, "it failed (default: it passed)")
	c.Flags().StringVar(&check.Summary, "summary", "", "what was found, for people")
	c.Flags().StringVar(&check.By, "by", person(), "who checked")
	c.Flags().StringArrayVar(&evidence, "evidence", nil, "what shows it, such as run/late-7; may be repeated")
	return c
}

func (a *app) modelsApproveCommand() *cobra.Command {
	var who whoFlags
	var target targetFlags
	var request, reject bool
	c := a.tableVerb("approve MODEL VERSION", "Approve that a version comes to an alias or a stage, ask for it, or refuse it", 2,
		func(ctx context.Context, server *client.Client, args []string) error {
			if err := target.check(); err != nil {
				return err
			}
			decision := driftline.ApprovalGiven
			switch {
			case request && reject:
				return usagef("--request and --reject exclude each other")
			case request:
				decision = driftline.ApprovalRequested
			case reject:
				decision = driftline.ApprovalRefused
			}
			v, err := server.AddModelApproval(ctx, driftline.ModelName(args[0]), args[1], driftline.ModelApproval{
				Alias: driftline.Alias(target.alias), Stage: driftline.ModelStage(target.stage), Decision: decision, By: who.by, Reason: who.reason})
			return a.answerVersion(v, err, fmt.Sprintf("for %s: %s by %s", cmp.Or(target.alias, target.stage), decision, who.by))
		})
	who.add(c)
	target.add(c)
	c.Flags().BoolVar(&request, "request", false, "ask others to approve it")
	c.Flags().BoolVar(&reject, "reject", false, "refuse it")
	return c
}

func (a *app) modelsRenameCommand() *cobra.Command {
	return a.tableVerb("rename MODEL NAME", "Give a model another name; it keeps everything", 2, func(ctx context.Context, server *client.Client, args []string) error {
		model, err := server.RenameModel(ctx, driftline.ModelName(args[0]), driftline.ModelName(args[1]), person())
		if err != nil {
			return err
		}
		return a.answer(model, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is %s now\n", printable(args[0]), printable(args[1]))
			return err
		})
	})
}

func (a *app) modelsDeleteCommand() *cobra.Command {
	var who whoFlags
	var yes bool
	c := a.tableVerb("delete MODEL[@VERSION]", "Delete a version, or, with --all-versions, a model", 1, func(ctx context.Context, server *client.Client, args []string) error {
		name, version, one := cutVersion(args[0])
		if !one {
			if !yes {
				return usagef("%s names a model with all its versions; write %s@VERSION for one of them, or add --all-versions", args[0], args[0])
			}
			if err := server.DeleteModel(ctx, driftline.ModelName(name), who.by, who.reason); err != nil {
				return err
			}
		} else if err := server.DeleteModelVersion(ctx, driftline.ModelName(name), version, who.by, who.reason); err != nil {
			return err
		}
		return a.answer(map[string]any{"deleted": args[0]}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is deleted; its history stays\n", printable(args[0]))
			return err
		})
	})
	who.add(c)
	c.Flags().BoolVar(&yes, "all-versions", false, "delete the model with all its versions and aliases")
	return c
}

// cutVersion splits late@3 and late@champion.
func cutVersion(text string) (name, version string, found bool) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}
