package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// promoteFlags are what driftline promote was asked.
type promoteFlags struct {
	from, to string
	name     string // of the model there
	trust    string
	require  []string
	alias    string
	who      whoFlags
}

func (a *app) promoteCommand() *cobra.Command {
	var flags promoteFlags
	c := &cobra.Command{
		Use:   "promote MODEL@VERSION --from SERVER --to SERVER",
		Short: "Bring a version of a model from one server to another, with what it was made from",
		Long: "Bring a version from one server to another, of which each is an environment, such as staging and production: as a\n" +
			"bundle that the first signs and the second checks, byte for byte, with the datasets and their content hashes,\n" +
			"snapshots, params, metrics and commit that it was made from. What is there already is not brought again.\n\n" +
			"A server is its address, or a name, whose address is in the environment: staging is DRIFTLINE_SERVER_STAGING. The\n" +
			"key that must have signed the bundle is what --from says is its own, or --trust.",
		Example: "  driftline promote late_departure@candidate --from staging --to production --require evaluation --alias candidate",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			model, version, found := cutVersion(args[0])
			switch {
			case !found:
				return usagef("name the version too: %s@3, or an alias", args[0])
			case flags.from == "" || flags.to == "":
				return usagef("say --from which server --to which")
			}
			return a.promote(c.Context(), driftline.ModelName(model), version, flags)
		},
	}
	f := c.Flags()
	f.StringVar(&flags.from, "from", "", "the server that has the version")
	f.StringVar(&flags.to, "to", "", "the server that is to have it")
	f.StringVar(&flags.name, "name", "", "another name for the model there")
	f.StringVar(&flags.trust, "trust", "", "the key that must have signed the bundle: ed25519:…")
	f.StringArrayVar(&flags.require, "require", nil, "a check that the version must have passed, which is brought along; may be repeated")
	f.StringVar(&flags.alias, "alias", "", "an alias to point at it there")
	flags.who.add(c)
	return c
}

// serverNamed is the address of a server that is given by its address or by a name.
func (a *app) serverNamed(flag, text string) (string, error) {
	if strings.ContainsAny(text, ":/.") {
		return text, nil
	}
	name := envPrefix + "SERVER_" + strings.ToUpper(strings.ReplaceAll(text, "-", "_"))
	for _, one := range a.environ() {
		if address, ok := strings.CutPrefix(one, name+"="); ok && address != "" {
			return address, nil
		}
	}
	return "", usagef("--%s %s is no address, and %s is not set", flag, text, name)
}

// promotion is what came of bringing a version.
type promotion struct {
	From    driftline.Ref           `json:"from"`
	Version *driftline.ModelVersion `json:"version"`
	Already bool                    `json:"already"` // it was there
}

func (a *app) promote(ctx context.Context, model driftline.ModelName, version string, flags promoteFlags) (err error) {
	servers := [2]*client.Client{}
	for i, s := range []struct{ flag, text string }{{"from", flags.from}, {"to", flags.to}} {
		address, err := a.serverNamed(s.flag, s.text)
		if err != nil {
			return err
		}
		if servers[i], err = client.Dial(ctx, address); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, servers[i].Close()) }()
	}
	done, err := promoteBetween(ctx, servers[0], servers[1], model, version, flags)
	if err != nil {
		return err
	}
	return a.answer(done, func(w io.Writer) error {
		how := "is"
		if done.Already {
			how = "was already, and is"
		}
		_, err := fmt.Fprintf(w, "%s of %s %s %s of %s\n", printable(done.From.String()), flags.from, how, printable(done.Version.Ref().String()), flags.to)
		return err
	})
}

func promoteBetween(ctx context.Context, from, to *client.Client, model driftline.ModelName, version string, flags promoteFlags) (*promotion, error) {
	of, err := from.ModelVersion(ctx, model, version)
	if err != nil {
		return nil, err
	}
	checks, err := required(of, flags.require)
	if err != nil {
		return nil, err
	}
	key := flags.trust
	if key == "" {
		if key, err = from.SigningKey(ctx); err != nil {
			return nil, err
		}
	}
	done := &promotion{From: of.Ref()}
	name := model
	if flags.name != "" {
		name = driftline.ModelName(flags.name)
	}
	if done.Version, err = promoted(ctx, to, name, of, key); err != nil {
		return nil, err
	}
	if done.Already = done.Version != nil; !done.Already {
		if done.Version, err = carry(ctx, from, to, of, name, key, flags.who.by); err != nil {
			return nil, err
		}
	}
	return done, settle(ctx, to, done, checks, flags)
}

// required are the checks that a version must have passed.
func required(of *driftline.ModelVersion, names []string) (checks []driftline.ModelCheck, err error) {
	for _, name := range names {
		found := false
		for _, c := range of.Checks {
			if c.Name == name {
				found = true
				if !c.Passed {
					return nil, driftline.Errorf(driftline.FailedPrecondition, "check %q of %s failed: %s", name, of.Ref(), c.Summary).WithRef(of.Ref()).
						WithHint("bring a version that passed, or leave the check out of --require")
				}
				checks = append(checks, c)
			}
		}
		if !found {
			return nil, driftline.Errorf(driftline.FailedPrecondition, "check %q of %s was not made", name, of.Ref()).WithRef(of.Ref()).
				WithHint("make it first, with driftline gate or driftline models check")
		}
	}
	return checks, nil
}

// promoted is the version that was brought earlier, nil if there is none.
func promoted(ctx context.Context, to *client.Client, name driftline.ModelName, of *driftline.ModelVersion, key string) (*driftline.ModelVersion, error) {
	there, err := to.Model(ctx, name)
	if driftline.CodeOf(err) == driftline.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range there.Versions {
		v := &there.Versions[i]
		if v.Imported != nil && v.Imported.Ref == of.Ref() && v.Imported.Key == key && v.Artifact.SHA256 == of.Artifact.SHA256 {
			return v, nil
		}
	}
	return nil, nil
}

// carry hands the bundle from one server to the other as it comes.
func carry(ctx context.Context, from, to *client.Client, of *driftline.ModelVersion, name driftline.ModelName, key, by string) (*driftline.ModelVersion, error) {
	bundle, err := from.ExportModel(ctx, of.Model, fmt.Sprint(of.Version))
	if err != nil {
		return nil, err
	}
	defer bundle.Close()
	return to.ImportModel(ctx, name, key, by, bundle)
}

// settle records the checks that the version brings along, and points the alias at it.
func settle(ctx context.Context, to *client.Client, done *promotion, checks []driftline.ModelCheck, flags promoteFlags) (err error) {
	v := done.Version
	for _, c := range checks {
		summary := fmt.Sprintf("passed as %s of %s: %s", done.From, flags.from, c.Summary)
		if done.Version, err = to.AddModelCheck(ctx, v.Model, fmt.Sprint(v.Version), driftline.ModelCheck{Name: c.Name, Passed: true, Summary: summary, By: flags.who.by}); err != nil {
			return err
		}
	}
	if flags.alias == "" {
		return nil
	}
	done.Version, err = to.MoveAlias(ctx, v.Model, driftline.Alias(flags.alias), driftline.AliasMove{Version: v.Version, By: flags.who.by, Reason: flags.who.reason})
	return err
}
