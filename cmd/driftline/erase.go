package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) eraseCommand() *cobra.Command {
	var reason string
	var sure bool
	command := &cobra.Command{
		Use:   "erase ENTITY KEY=VALUE…",
		Short: "Remove everything about one thing, for privacy",
		Long: "Remove the rows of one thing from every view that has its join keys, from the online store and from saved\n" +
			"datasets. Older snapshots whose files had such rows are given up. Datasets that were made of them, or that\n" +
			"lost rows themselves, cannot be rebuilt.\n" +
			"The ledger keeps that it was done, how much was removed and why, and not the values. It cannot be taken back.",
		Example: "  driftline erase passenger passenger_id=4711 --reason 'request of 2026-11-20' --yes",
		Args:    atLeast(2),
		RunE: func(c *cobra.Command, args []string) error {
			keys, err := keyValues(args[1:])
			if err != nil {
				return err
			}
			if !sure {
				return usagef("this cannot be taken back: add --yes")
			}
			return a.erase(c.Context(), driftline.ErasureRequest{Entity: driftline.EntityName(args[0]), Keys: keys, Reason: reason})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why, for the ledger; it stays there, so name nobody in it")
	command.Flags().BoolVar(&sure, "yes", false, "yes, remove it")
	return command
}

func keyValues(args []string) (map[string]string, error) {
	keys := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usagef("%q is not KEY=VALUE", arg)
		}
		if _, twice := keys[key]; twice {
			return nil, usagef("the key %q is given twice", key)
		}
		keys[key] = value
	}
	return keys, nil
}

func (a *app) erase(ctx context.Context, req driftline.ErasureRequest) error {
	return a.withServer(ctx, func(c *client.Client) error {
		done, err := c.Erase(ctx, req)
		if err != nil {
			return err
		}
		return a.answer(done, func(w io.Writer) error { return printErasure(w, done) })
	})
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func printErasure(w io.Writer, done driftline.Erasure) error {
	t := newTable("table", ">rows", ">files rewritten")
	for _, table := range done.Tables {
		t.add(table.Table, fmt.Sprint(table.Rows), fmt.Sprint(table.Rewritten))
	}
	if err := t.print(w); err != nil {
		return err
	}
	if done.Profiles > 0 {
		if _, err := fmt.Fprintf(w, "Profiles of such rows are gone, of %s.\n", counted(done.Profiles, "source")); err != nil {
			return err
		}
	}
	if done.Findings > 0 {
		if _, err := fmt.Fprintf(w, "Names that only such rows had are gone from %s of monitors.\n", counted(done.Findings, "finding")); err != nil {
			return err
		}
	}
	printAffects(w, "Made from datasets that had such rows, and unchanged: ", done.Affects)
	_, err := fmt.Fprintf(w, "Gone too: %s, %s.\n", counted(done.Online, "online row"), counted(done.Snapshots, "older snapshot"))
	return err
}
