package main

import (
	"fmt"
	"io"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) clockCommand() *cobra.Command {
	var to string
	command := &cobra.Command{
		Use:   "clock",
		Short: "Show the server's time; let it pass on a server that goes through the past",
		Long: "Show the server's time. A server that was started with --replay goes through the past: its clock stands still, and\n" +
			"--to lets time pass until then. What is due meanwhile (windows of monitors, schedules, rollouts) happens, as if\n" +
			"nobody had looked for that long; in small steps it happens one after the other.",
		Example: "  driftline clock\n  driftline clock --to 2013-04-02T00:00:00Z",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			var then time.Time
			if to != "" {
				var ok bool
				if then, ok = parseTime(to); !ok {
					return usagef("--to is %q, which is no time; write 2013-04-02T00:00:00Z", to)
				}
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				reading, err := readOrMove(c, server, then)
				if err != nil {
					return err
				}
				return a.answer(reading, func(w io.Writer) error {
					_, err := fmt.Fprintln(w, reading.Now.UTC().Format(time.RFC3339))
					return err
				})
			})
		},
	}
	command.Flags().StringVar(&to, "to", "", "let time pass until then")
	return command
}

func readOrMove(c *cobra.Command, server *client.Client, to time.Time) (driftline.ClockReading, error) {
	if to.IsZero() {
		return server.Clock(c.Context())
	}
	return server.MoveClock(c.Context(), to)
}
