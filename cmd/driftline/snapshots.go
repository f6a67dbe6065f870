package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) tableCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "table",
		Short: "Look at the snapshots of stored tables, and keep the tables in shape",
		Long: "Every view and every version of a dataset is a table of immutable files. Each write, flush and compaction\n" +
			"makes a snapshot. The server compacts, expires and scrubs tables on its own; these commands do it now.",
		Example: "  driftline table snapshots features.weather\n  driftline table tag features.weather 4711 before_backfill\n" +
			"  driftline table rollback features.weather before_backfill",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.tableListCommand(), a.tableSnapshotsCommand(), a.tableDiffCommand(), a.tableTagCommand(),
		a.tableUntagCommand(), a.tableRollbackCommand(), a.tableCompactCommand(), a.tableExpireCommand(), a.tableScrubCommand())
	return command
}

// tableVerb makes a subcommand that asks the server one thing.
func (a *app) tableVerb(use, short string, args int, do func(ctx context.Context, server *client.Client, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: exactly(args), RunE: func(c *cobra.Command, args []string) error {
		return a.withServer(c.Context(), func(server *client.Client) error { return do(c.Context(), server, args) })
	}}
}

func (a *app) tableListCommand() *cobra.Command {
	return a.tableVerb("list", "List the stored tables", 0, func(ctx context.Context, server *client.Client, _ []string) error {
		tables, err := server.Tables(ctx)
		if err != nil {
			return err
		}
		return a.answer(map[string]any{"tables": tables}, func(w io.Writer) error {
			if len(tables) == 0 {
				_, err := fmt.Fprintln(w, "No table is stored yet: register a view with driftline apply.")
				return err
			}
			t := newTable("table", ">rows", ">in the log", ">files", ">bytes", "changed", "by")
			for _, s := range tables {
				t.add(s.Table, fmt.Sprint(s.Rows), fmt.Sprint(s.Logged), fmt.Sprint(s.Files), fmt.Sprint(s.Bytes), moment(s.Time), s.Cause)
			}
			return t.print(w)
		})
	})
}

func (a *app) tableSnapshotsCommand() *cobra.Command {
	return a.tableVerb("snapshots TABLE", "List the snapshots of a table, oldest first", 1, func(ctx context.Context, server *client.Client, args []string) error {
		snapshots, err := server.Snapshots(ctx, args[0])
		if err != nil {
			return err
		}
		return a.answer(map[string]any{"snapshots": snapshots}, func(w io.Writer) error {
			if len(snapshots) == 0 {
				_, err := fmt.Fprintln(w, "no snapshot yet; rows that were written wait in the ingest log for the next flush, and readers see them")
				return err
			}
			t := newTable(">snapshot", "time", "by", ">rows", ">files", ">bytes", "tags", "needed by")
			for _, s := range snapshots {
				pins := make([]string, len(s.Pins))
				for i, p := range s.Pins {
					pins[i] = p.String()
				}
				t.add(fmt.Sprint(s.ID), moment(s.Time), s.Cause, fmt.Sprint(s.Rows), fmt.Sprint(s.Files), fmt.Sprint(s.Bytes),
					strings.Join(s.Tags, ", "), strings.Join(pins, ", "))
			}
			return t.print(w)
		})
	})
}

// moment is a time, or nothing for one that never was.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

func (a *app) tableDiffCommand() *cobra.Command {
	return a.tableVerb("diff TABLE FROM TO", "Say what changed between two snapshots, given as ids, tags or times", 3, func(ctx context.Context, server *client.Client, args []string) error {
		from, err := findSnapshot(ctx, server, args[0], args[1])
		if err != nil {
			return err
		}
		to, err := findSnapshot(ctx, server, args[0], args[2])
		if err != nil {
			return err
		}
		diff, err := server.DiffSnapshots(ctx, args[0], from, to)
		if err != nil {
			return err
		}
		return a.answer(diff, func(w io.Writer) error {
			fmt.Fprintf(w, "rows: %d added, %d removed; files: %d added, %d removed\n", diff.RowsAdded, diff.RowsRemoved, diff.FilesAdded, diff.FilesRemoved)
			if diff.EventTimes != nil {
				fmt.Fprintf(w, "added rows are of %s to %s\n", stamp(diff.EventTimes.Start), stamp(diff.EventTimes.End))
			}
			for _, change := range diff.Schema {
				fmt.Fprintln(w, change)
			}
			return nil
		})
	})
}

func (a *app) tableTagCommand() *cobra.Command {
	return a.tableVerb("tag TABLE SNAPSHOT NAME", "Give a snapshot a name, which keeps it", 3, func(ctx context.Context, server *client.Client, args []string) error {
		id, err := findSnapshot(ctx, server, args[0], args[1])
		if err != nil {
			return err
		}
		if err := server.TagSnapshot(ctx, args[0], args[2], id); err != nil {
			return err
		}
		return a.answer(map[string]any{"tag": args[2], "snapshot": id}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Snapshot %d of %s is %q.\n", id, args[0], args[2])
			return err
		})
	})
}

func (a *app) tableUntagCommand() *cobra.Command {
	return a.tableVerb("untag TABLE NAME", "Remove a tag", 2, func(ctx context.Context, server *client.Client, args []string) error {
		if err := server.UntagSnapshot(ctx, args[0], args[1]); err != nil {
			return err
		}
		return a.answer(map[string]any{"removed": args[1]}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Tag %q of %s is gone.\n", args[1], args[0])
			return err
		})
	})
}

func (a *app) tableRollbackCommand() *cobra.Command {
	command := a.tableVerb("rollback TABLE SNAPSHOT", "Make a new snapshot with the rows of an older one, given as id, tag or time", 2, func(ctx context.Context, server *client.Client, args []string) error {
		id, err := findSnapshot(ctx, server, args[0], args[1])
		if err != nil {
			return err
		}
		now, err := server.Rollback(ctx, args[0], id)
		if err != nil {
			return err
		}
		return a.answer(now, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s has the %d rows of snapshot %d, as snapshot %d.\n", args[0], now.Rows, id, now.ID)
			return err
		})
	})
	command.Long = "Make a new snapshot with the rows of an older one, given as id, tag or time. What is served online is made anew from it,\n" +
		"so that training sets and online reads go back together. A time means the newest snapshot that there was then; rows that\n" +
		"were still in the ingest log are in a later one. What is rolled back stays, until it expires, and can be rolled back to."
	command.Example = "  driftline table rollback features.weather before_backfill\n  driftline table rollback features.weather 2013-01-31T16:00:00Z"
	return command
}

func (a *app) tableCompactCommand() *cobra.Command {
	return a.tableVerb("compact TABLE", "Merge the files of a view's table where that pays", 1, func(ctx context.Context, server *client.Client, args []string) error {
		return a.maintained(server.Compact(ctx, args[0]))
	})
}

func (a *app) tableExpireCommand() *cobra.Command {
	retention := driftline.Retention{Last: 10, MaxAge: driftline.Duration(7 * 24 * time.Hour)}
	age := time.Duration(retention.MaxAge)
	command := a.tableVerb("expire TABLE", "Give up old snapshots, and the files that only they had", 1, func(ctx context.Context, server *client.Client, args []string) error {
		retention.MaxAge = driftline.Duration(age)
		return a.maintained(server.Expire(ctx, args[0], retention))
	})
	command.Long = "Give up old snapshots, and the files that only they had. The newest, tagged ones, and those that a dataset, a\n" +
		"run or a model was made from stay in any case."
	command.Flags().IntVar(&retention.Last, "last", retention.Last, "keep the newest so many")
	command.Flags().DurationVar(&age, "max-age", age, "keep those of at most this age")
	return command
}

func (a *app) tableScrubCommand() *cobra.Command {
	return a.tableVerb("scrub TABLE", "Read every file and compare it with its name", 1, func(ctx context.Context, server *client.Client, args []string) error {
		return a.maintained(server.Scrub(ctx, args[0]))
	})
}

// maintained prints what a round of upkeep did.
func (a *app) maintained(done *driftline.Maintenance, err error) error {
	if err != nil {
		return err
	}
	return a.answer(done, func(w io.Writer) error {
		var did []string
		for _, one := range []struct {
			n         int
			one, many string
		}{
			{int(done.Flushed), "row of the log moved into files", "rows of the log moved into files"},
			{done.Expired, "snapshot given up", "snapshots given up"}, {done.Removed, "file removed", "files removed"},
			{done.Verified, "file verified", "files verified"}, {len(done.Damaged), "of them damaged", "of them damaged"},
		} {
			switch {
			case one.n == 1:
				did = append(did, "1 "+one.one)
			case one.n > 1:
				did = append(did, fmt.Sprintf("%d %s", one.n, one.many))
			}
		}
		if done.Compacted > 0 {
			did = append(did, fmt.Sprintf("%d files merged into %d", done.Compacted, done.Into))
		}
		if len(did) == 0 {
			did = []string{"nothing to do"}
		}
		fmt.Fprintf(w, "%s: %s\n", done.Table, strings.Join(did, ", "))
		for _, ref := range done.Damaged {
			fmt.Fprintf(w, "damaged: %s\n", ref)
		}
		return nil
	})
}

// findSnapshot returns the snapshot of a table that an id or a tag names, or that was the
// newest at a time.
func findSnapshot(ctx context.Context, server *client.Client, table, text string) (driftline.SnapshotID, error) {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil && id != 0 {
		return driftline.SnapshotID(id), nil
	}
	snapshots, err := server.Snapshots(ctx, table)
	if err != nil {
		return 0, err
	}
	var tags []string
	for _, s := range snapshots {
		if slices.Contains(s.Tags, text) {
			return s.ID, nil
		}
		tags = append(tags, s.Tags...)
	}
	if at, ok := parseTime(text); ok {
		return newestBy(table, snapshots, at)
	}
	unknown := driftline.Unknown("tag", text, tags)
	if len(tags) == 0 {
		unknown = unknown.WithHint("%s has no tags; list its snapshots: driftline table snapshots %s", table, table)
	}
	return 0, unknown
}

// newestBy returns the newest snapshot of a time, of those of a table, which are sorted. A
// time of whole seconds, as lists have them, is all of its second.
func newestBy(table string, snapshots []driftline.Snapshot, at time.Time) (driftline.SnapshotID, error) {
	grain := time.Nanosecond
	if at.Nanosecond() == 0 {
		grain = time.Second
	}
	for _, s := range slices.Backward(snapshots) {
		if !s.Time.Truncate(grain).After(at) {
			return s.ID, nil
		}
	}
	none := driftline.Errorf(driftline.NotFound, "%s has no snapshot of %s", table, stamp(at))
	if len(snapshots) == 0 {
		return 0, none.WithHint("rows that were written wait in the ingest log; move them into files: driftline table compact %s", table)
	}
	return 0, none.WithHint("the oldest that is kept is of %s: driftline table snapshots %s", stamp(snapshots[0].Time), table)
}
