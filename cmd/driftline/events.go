package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

// eventFlags are what driftline events was asked.
type eventFlags struct {
	model  string
	kinds  []string
	after  uint64
	follow bool
	limit  int
}

func (a *app) eventsCommand() *cobra.Command {
	var flags eventFlags
	command := &cobra.Command{
		Use: "events", Short: "List what happened, or follow it as it happens",
		Long: "List what happened to monitors, policies, training runs, rollouts and models, the oldest first. With --follow it goes on, from\n" +
			"now or from --after on, until it is interrupted; a connection that breaks is made again and nothing is missed. With --json\n" +
			"there is an event on each line.",
		Example: "  driftline events --model late_departure --after 417\n  driftline events --follow --kind alert --kind rollout --json", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				if flags.follow {
					return a.followEvents(c.Context(), server, flags, c.Flags().Changed("after"))
				}
				return a.listEvents(c.Context(), server, flags)
			})
		},
	}
	command.Flags().StringVar(&flags.model, "model", "", "only of this model, and of the monitors that see it")
	command.Flags().StringArrayVar(&flags.kinds, "kind", nil, "only of this kind, or of what stands before its dot: alert, rollout, training; may be repeated")
	command.Flags().Uint64Var(&flags.after, "after", 0, "only what came after this event")
	command.Flags().BoolVarP(&flags.follow, "follow", "f", false, "go on as things happen")
	command.Flags().IntVar(&flags.limit, "limit", 0, "end after so many")
	return command
}

func (f *eventFlags) filter() driftline.EventFilter {
	return driftline.EventFilter{Model: driftline.ModelName(f.model), Kinds: f.kinds}
}

func (a *app) listEvents(ctx context.Context, server *client.Client, flags eventFlags) error {
	said := 0
	for after := flags.after; ; {
		page, err := server.Events(ctx, after, flags.filter())
		if err != nil {
			return err
		}
		for i := range page.Events {
			if err := a.printEvent(&page.Events[i]); err != nil {
				return err
			}
			if said++; said == flags.limit {
				return nil
			}
		}
		if page.Next == after {
			break
		}
		after = page.Next
	}
	if said == 0 && !a.asJSON {
		_, err := io.WriteString(a.stdout, "Nothing has happened that was asked for.\n")
		return err
	}
	return nil
}

func (a *app) followEvents(ctx context.Context, server *client.Client, flags eventFlags, fromPlace bool) error {
	var after *uint64
	if fromPlace {
		after = &flags.after
	}
	said := 0
	for event, err := range server.FollowEvents(ctx, after, flags.filter()) {
		if errors.Is(err, context.Canceled) {
			return nil // interrupted, which is how it ends
		}
		if err != nil {
			return err
		}
		if err := a.printEvent(&event); err != nil {
			return err
		}
		if said++; said == flags.limit {
			return nil
		}
	}
	return nil
}

func (a *app) printEvent(e *driftline.Event) error {
	if a.asJSON {
		encoder := json.NewEncoder(a.stdout)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(e)
	}
	by := ""
	if e.By != "" {
		by = ", by " + printable(e.By)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-18s  %s%s\n", stamp(e.Time), e.Kind, printable(e.Text), by)
	return err
}
