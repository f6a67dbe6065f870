package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) switchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "switch VIEW VERSION",
		Short: "Make the bare name of a feature view mean another of its versions",
		Long: "Make the bare name of a feature view mean another of its versions from now on: in feature services, online\n" +
			"reads, training sets, writes and SQL, all at once. A version is applied under a name like weather@2, which\n" +
			"is written and read whatever the bare name means. Going back is the same command.",
		Example: "  driftline switch weather 2\n  driftline switch weather 1   # back",
		Args:    exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			version, err := strconv.Atoi(args[1])
			if err != nil {
				return usagef("%q is not the number of a version", args[1])
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				done, err := server.SwitchView(c.Context(), driftline.ViewName(args[0]), version)
				if err != nil {
					return err
				}
				return a.answer(done, func(w io.Writer) error {
					if done.From == done.Version {
						_, err = fmt.Fprintf(w, "%s means version %d already.\n", done.View, done.Version)
						return err
					}
					_, err = fmt.Fprintf(w, "%s means version %d now, and meant version %d before.\n", done.View, done.Version, done.From)
					return err
				})
			})
		},
	}
}
