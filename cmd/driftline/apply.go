package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) applyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "apply PATH…",
		Short: "Register entities, feature views, services, monitors, sets of checks and policies",
		Long: "Register the definitions in YAML files, or in all *.yaml files of folders: all of them, or none.\n" +
			"Applying the same definitions again changes nothing. What the files do not name is left alone.",
		Example: "  driftline apply definitions.yaml\n  driftline apply examples/flights/",
		Args:    atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.change(c.Context(), args, true, (*client.Client).Apply)
		},
	}
}

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "plan PATH…",
		Short:   "Show what apply would change, and change nothing",
		Example: "  driftline plan examples/flights/",
		Args:    atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.change(c.Context(), args, false, (*client.Client).Plan)
		},
	}
}

func (a *app) change(ctx context.Context, paths []string, done bool,
	send func(*client.Client, context.Context, driftline.Definitions) ([]driftline.Change, error)) error {
	files, err := readDefinitions(paths)
	if err != nil {
		return err
	}
	return a.withServer(ctx, func(c *client.Client) error {
		changes, err := send(c, ctx, files.Definitions)
		if err != nil {
			return files.locate(err)
		}
		return a.answer(map[string]any{"changes": changes}, func(w io.Writer) error { return printChanges(w, changes, done) })
	})
}

// shownDependents is how many are printed; --json has all.
const shownDependents = 10

func printAffects(w io.Writer, lead string, affects []driftline.Dependent) {
	if len(affects) == 0 {
		return
	}
	var names []string
	for i, d := range affects {
		if i == shownDependents {
			names = append(names, fmt.Sprintf("and %d more", len(affects)-i))
			break
		}
		names = append(names, printable(d.String()))
	}
	fmt.Fprintln(w, lead+strings.Join(names, ", "))
}

func printChanges(w io.Writer, changes []driftline.Change, done bool) error {
	paint := painter(w)
	marks := map[string]string{
		driftline.ChangeCreate: paint(green, "+"), driftline.ChangeUpdate: paint(amber, "~"), driftline.ChangeNone: " ",
	}
	counts := map[string]int{}
	for _, change := range changes {
		counts[change.Action]++
		fmt.Fprintf(w, "%s %s\n", marks[change.Action], change.Ref)
		for _, field := range change.Fields {
			fmt.Fprintf(w, "    %s\n", paint(dim, printable(field)))
		}
		printAffects(w, "    made from what this takes away: ", change.Affects)
	}
	form := "%d created, %d updated, %d unchanged\n"
	if !done {
		form = "%d to create, %d to update, %d unchanged\n"
	}
	_, err := fmt.Fprintf(w, form,
		counts[driftline.ChangeCreate], counts[driftline.ChangeUpdate], counts[driftline.ChangeNone])
	return err
}
