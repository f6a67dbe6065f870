package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) presetsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "presets",
		Short: "Look at registered presets: which tests columns get, and when they have drifted",
		Long: "A preset is a named set of rules of a comparison. It is registered with driftline apply (presets: in a file of\n" +
			"definitions) and used by driftline drift --preset NAME and by monitors. driftline, evidently and nannyml are built in.",
		Example: "  driftline presets list\n  driftline presets show payments --json",
		Args:    exactly(0),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.presetsListCommand(), a.presetsShowCommand())
	return command
}

func (a *app) presetsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the presets that are registered", Example: "  driftline presets list --json", Args: exactly(0),
		RunE: listing(a, "presets", (*client.Client).Presets, printPresets),
	}
}

func printPresets(w io.Writer, all []driftline.Preset) error {
	if len(all) == 0 {
		_, err := fmt.Fprintf(w, "No preset is registered yet: write presets: in YAML and driftline apply it. Built in are %s.\n", builtInPresets())
		return err
	}
	t := newTable("preset", ">version", "builds on", ">tests", "description")
	for _, p := range all {
		t.add(string(p.Name), strconv.Itoa(p.Version), presetBase(&p), strconv.Itoa(len(p.Tests)), printable(p.Description))
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nBuilt in are %s.\n", builtInPresets())
	return err
}

func builtInPresets() string { return strings.Join(driftline.BuiltInPresets, ", ") }

func presetBase(p *driftline.Preset) string {
	if p.Base == "" {
		return driftline.PresetDriftline
	}
	return p.Base
}

func (a *app) presetsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show the rules of a preset", Example: "  driftline presets show payments", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if driftline.IsBuiltInPreset(args[0]) {
				return driftline.Errorf(driftline.Invalid, "preset %q is built in: its rules are no list", args[0]).
					WithHint("docs/statistics.md says what they are")
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				p, err := server.Preset(c.Context(), driftline.PresetName(args[0]))
				if err != nil {
					return err
				}
				return a.answer(p, func(w io.Writer) error { return printPreset(w, p) })
			})
		},
	}
}

// printPreset prints what the preset says, and nothing of what it leaves to its base.
func printPreset(w io.Writer, p *driftline.Preset) error {
	lines := []string{fmt.Sprintf("%s, version %d, builds on %s", p.Name, p.Version, presetBase(p))}
	if p.Description != "" {
		lines = append(lines, printable(p.Description))
	}
	say := func(name, value string, said bool) {
		if said {
			lines = append(lines, fmt.Sprintf("%-14s%s", name, value))
		}
	}
	say("alpha", formatFloat(p.Alpha), p.Alpha != 0)
	say("correction", p.Correction, p.Correction != "")
	if p.Margin != nil {
		say("margin", formatFloat(*p.Margin), true)
	}
	if p.DriftShare != nil {
		say("drift share", formatFloat(*p.DriftShare), true)
	}
	say("multivariate", strings.Join(p.Multivariate, ", "), len(p.Multivariate) > 0)
	say("excluded", printable(strings.Join(p.Exclude, ", ")), len(p.Exclude) > 0)
	say("owner", printable(p.Owner), p.Owner != "")
	if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil || len(p.Tests) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := newTable("columns", "test", ">threshold")
	for _, test := range p.Tests {
		threshold := "the test's own"
		if test.Threshold != nil {
			threshold = formatFloat(*test.Threshold)
		}
		t.add(printable(testedColumns(test)), test.Test, threshold)
	}
	return t.print(w)
}

// testedColumns says in words which columns a test is for.
func testedColumns(t driftline.ColumnTest) string {
	switch {
	case len(t.Columns) > 0:
		return strings.Join(t.Columns, ", ")
	case len(t.Types) > 0:
		types := make([]string, len(t.Types))
		for i, typ := range t.Types {
			types[i] = string(typ)
		}
		return "of type " + strings.Join(types, ", ")
	case t.Kind != "":
		return "all " + t.Kind
	}
	return "all"
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
