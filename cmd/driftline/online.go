package main

import (
	"context"
	"encoding/csv"
	"io"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

// onlineFlags are what driftline online was asked.
type onlineFlags struct {
	features  []string
	service   string
	entities  []string
	at        string
	fullNames bool
}

func (a *app) onlineCommand() *cobra.Command {
	var flags onlineFlags
	command := &cobra.Command{
		Use:   "online",
		Short: "Read the newest feature values of some entities",
		Long: "Read the newest feature values of some entities, or, with --at, the values as of a time.\n" +
			"--entity gives a join key's column; given again, it gives the next one of a composite key, row by row.",
		Example: "  driftline online --features weather:temp,weather:humid --entity airport=JFK,EWR\n" +
			"  driftline online --service delay_model --entity airport=JFK --entity carrier=UA --at 2013-01-31T15:00:00Z",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.online(c.Context(), flags) },
	}
	command.Flags().StringSliceVar(&flags.features, "features", nil, "features as view:feature, separated by commas")
	command.Flags().StringVar(&flags.service, "service", "", "feature service, instead of --features")
	command.Flags().StringArrayVar(&flags.entities, "entity", nil, "join key and its values: column=value,value")
	command.Flags().StringVar(&flags.at, "at", "", "time that the values are for (default now)")
	command.Flags().BoolVar(&flags.fullNames, "full-feature-names", false, "name columns view__feature")
	return command
}

func (a *app) online(ctx context.Context, flags onlineFlags) error {
	request := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{
		Service: driftline.ServiceName(flags.service), Features: flags.features, FullFeatureNames: flags.fullNames,
	}}
	if (flags.service == "") == (len(flags.features) == 0) {
		return usagef("give either --features or --service")
	}
	var err error
	if request.At, err = parseAt(flags.at); err != nil {
		return err
	}
	return a.withServer(ctx, func(c *client.Client) error {
		types, err := keyTypes(ctx, c, request.FeatureSet)
		if err != nil {
			return err
		}
		entities, err := entityBatch(flags.entities, types)
		if err != nil {
			return err
		}
		defer entities.Release()
		answer, err := c.Online(ctx, request, entities)
		if err != nil {
			return err
		}
		defer answer.Release()
		return a.answer(onlineRows(answer), func(w io.Writer) error { return printOnline(w, answer) })
	})
}

func parseAt(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, ok := parseTime(text); ok {
		return t, nil
	}
	return time.Time{}, usagef("--at is %q, want a time like 2013-01-31T15:00:00Z", text)
}

// keyTypes finds the type of each join key column that the features need.
func keyTypes(ctx context.Context, c *client.Client, set driftline.FeatureSet) (map[string]driftline.Type, error) {
	projections := make([]driftline.Projection, 0, len(set.Features))
	for _, ref := range set.Features {
		p, err := driftline.ParseFeatureRef(ref)
		if err != nil {
			return nil, err
		}
		projections = append(projections, p)
	}
	if set.Service != "" {
		service, err := c.FeatureService(ctx, set.Service)
		if err != nil {
			return nil, err
		}
		projections = service.Projections
	}
	types := map[string]driftline.Type{}
	for _, p := range projections {
		view, err := c.FeatureView(ctx, p.View)
		if err != nil {
			return nil, err
		}
		for _, key := range view.JoinKeys {
			types[p.KeyColumn(key.Name)] = key.Type
		}
	}
	return types, nil
}

// entityBatch makes the entity rows of --entity flags. The caller releases it.
func entityBatch(flags []string, types map[string]driftline.Type) (arrow.RecordBatch, error) {
	fields := make([]arrow.Field, 0, len(flags))
	columns := make([]arrow.Array, 0, len(flags))
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	for _, flag := range flags {
		name, values, err := parseEntity(flag)
		if err != nil {
			return nil, err
		}
		t, known := types[name]
		if !known {
			return nil, unknownKey(name, types)
		}
		column, err := keyColumn(name, t, values)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
		fields = append(fields, arrow.Field{Name: name, Type: column.DataType(), Nullable: true})
		if column.Len() != columns[0].Len() {
			return nil, usagef("--entity %s has %d values, --entity %s has %d", name, column.Len(), fields[0].Name, columns[0].Len())
		}
	}
	rows := int64(1) // views without entities have one row
	if len(columns) > 0 {
		rows = int64(columns[0].Len())
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, rows), nil
}

func unknownKey(name string, types map[string]driftline.Type) error {
	known := make([]string, 0, len(types))
	for key := range types {
		known = append(known, key)
	}
	e := driftline.Unknown("join key", name, known)
	e.Code = driftline.Invalid
	return e
}

// parseEntity reads column=value,value. A value with a comma goes in double quotes.
func parseEntity(flag string) (name string, values []string, err error) {
	name, list, ok := strings.Cut(flag, "=")
	if !ok || name == "" {
		return "", nil, usagef("--entity is %q, want column=value,value", flag)
	}
	if list == "" {
		return name, []string{""}, nil
	}
	values, err = csv.NewReader(strings.NewReader(list)).Read()
	if err != nil {
		return "", nil, usagef("--entity %s: %v", name, err)
	}
	return name, values, nil
}

func keyColumn(name string, t driftline.Type, values []string) (arrow.Array, error) {
	builder := array.NewBuilder(memory.DefaultAllocator, t.Arrow())
	defer builder.Release()
	for _, value := range values {
		if !appendText(builder, value) {
			return nil, driftline.Errorf(driftline.Invalid, "entity %s: %q is not of type %s", name, value, t)
		}
	}
	return builder.NewArray(), nil
}

// onlineRow is one entity's answer in --json.
type onlineRow struct {
	Entity   map[string]any              `json:"entity"`
	Features map[string]any              `json:"features"`
	Statuses map[string]driftline.Status `json:"statuses"`
}

func onlineRows(answer *driftline.OnlineResponse) map[string]any {
	batch := answer.Batch
	keys := int(batch.NumCols()) - len(answer.Features)
	rows := make([]onlineRow, batch.NumRows())
	for i := range rows {
		rows[i] = onlineRow{Entity: map[string]any{}, Features: map[string]any{}, Statuses: map[string]driftline.Status{}}
		for j, column := range batch.Columns() {
			name := batch.ColumnName(j)
			if j < keys {
				rows[i].Entity[name] = jsonValue(column, i)
				continue
			}
			rows[i].Features[name] = jsonValue(column, i)
			rows[i].Statuses[name] = answer.Features[j-keys].Statuses[i]
		}
	}
	return map[string]any{"rows": rows}
}

// statusWords say why a value is null.
var statusWords = map[driftline.Status]string{
	driftline.NullValue: "null", driftline.NotPresent: "not found", driftline.OutsideMaxAge: "too old",
}

func printOnline(w io.Writer, answer *driftline.OnlineResponse) error {
	batch := answer.Batch
	keys := int(batch.NumCols()) - len(answer.Features)
	t := newTable(columnNames(batch)...)
	for i := range int(batch.NumRows()) {
		line := cells(batch, i, "null")
		for j := range answer.Features {
			if word := statusWords[answer.Features[j].Statuses[i]]; word != "" {
				line[keys+j] = word
			}
		}
		t.add(line...)
	}
	return t.print(w)
}

func columnNames(batch arrow.RecordBatch) []string {
	names := make([]string, batch.NumCols())
	for i := range names {
		names[i] = printable(batch.ColumnName(i))
	}
	return names
}
