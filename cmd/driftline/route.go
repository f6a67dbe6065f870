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

func (a *app) routeCommand() *cobra.Command {
	var key string
	command := &cobra.Command{
		Use:   "route MODEL",
		Short: "Say which version of a model answers, or which one answers the requests of a key",
		Long: "Say which version of a model answers: by its rollout, or, where none is under way, the version with the alias champion,\n" +
			"or else in stage Production. With --key, which one answers the requests of that key.",
		Example: "  driftline route late_departure\n  driftline route late_departure --key user-42 --json",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			model := driftline.ModelName(args[0])
			return a.withServer(c.Context(), func(server *client.Client) error {
				if c.Flags().Changed("key") {
					decision, err := server.RouteOf(c.Context(), model, key)
					if err != nil {
						return err
					}
					return a.answer(decision, func(w io.Writer) error { return printDecision(w, decision) })
				}
				route, err := server.Route(c.Context(), model)
				if err != nil {
					return err
				}
				return a.answer(route, func(w io.Writer) error { return printRoute(w, route) })
			})
		},
	}
	command.Flags().StringVar(&key, "key", "", "what requests are dealt by, such as the ID of a user")
	return command
}

func printDecision(w io.Writer, d *driftline.RouteDecision) error {
	text := fmt.Sprintf("version %d (%s), slot %d", d.Version, d.Arm, d.Slot)
	if d.Pinned {
		text = fmt.Sprintf("version %d (%s), pinned", d.Version, d.Arm)
	}
	for _, m := range d.Mirror {
		text += fmt.Sprintf("; copied to version %d, whose answer is discarded", m.Version)
	}
	if d.Fallback != 0 {
		text += fmt.Sprintf("; version %d where it fails", d.Fallback)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func printRoute(w io.Writer, r *driftline.Route) error {
	t := newTable("arm", ">share", "version")
	for _, arm := range r.Arms {
		t.add(string(arm.Arm), strconv.FormatFloat(arm.Weight, 'g', -1, 64)+" %", sharesText(arm.Versions))
	}
	if err := t.print(w); err != nil {
		return err
	}
	if r.Mirror > 0 {
		fmt.Fprintf(w, "%g %% of the other requests are copied to the %s, its answers discarded\n", r.Mirror, r.MirrorTo)
	}
	if r.Salt != "" {
		fmt.Fprintf(w, "by rollout %s, route %d\n", printable(r.Salt), r.Sequence)
	}
	return nil
}

func sharesText(versions []driftline.VersionShare) string {
	if len(versions) == 1 {
		return strconv.Itoa(versions[0].Version)
	}
	texts := make([]string, len(versions))
	for i, v := range versions {
		texts[i] = fmt.Sprintf("%d (%g %%)", v.Version, v.Share)
	}
	return strings.Join(texts, ", ")
}
