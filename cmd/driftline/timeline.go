package main

import (
	"context"
	"io"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) timelineCommand() *cobra.Command {
	var since string
	var limit int
	c := a.tableVerb("timeline MODEL", "Say what happened to a model and what was done about it, in the order of time", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			if t, ok := parseTime(since); ok {
				since = t.UTC().Format("2006-01-02T15:04:05.999999Z")
			}
			line, err := server.Timeline(ctx, driftline.ModelName(args[0]), since, limit)
			if err != nil {
				return err
			}
			return a.answer(line, func(w io.Writer) error { return printTimeline(w, line) })
		})
	c.Example = "  driftline timeline late_departure --since 7d\n  driftline timeline late_departure --since 2013-06-01 --json"
	c.Flags().StringVar(&since, "since", "", "leave out what was over before: a time, or a length before now such as 7d")
	c.Flags().IntVar(&limit, "limit", 500, "the last so many events, 1000 at most")
	return c
}

func printTimeline(w io.Writer, line *driftline.Timeline) error {
	if len(line.Events) == 0 {
		_, err := io.WriteString(w, "Nothing has happened: driftline train MODEL, or a policy, begins something.\n")
		return err
	}
	t := newTable("when", "what", "state", "until", "ref", "why", "because of")
	for _, e := range line.Events {
		until := "-"
		switch {
		case e.Open:
			until = "now"
		case !e.End.IsZero():
			until = stamp(e.End)
		}
		because := make([]string, len(e.Because))
		for i, ref := range e.Because {
			because[i] = ref.String()
		}
		t.add(stamp(e.Time), string(e.Kind), e.State, until, e.Ref.String(), printable(e.Text), orDash(strings.Join(because, ", ")))
	}
	return t.print(w)
}
