package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) predictCommand() *cobra.Command {
	var file string
	var ask client.PredictRequest
	command := &cobra.Command{
		Use:   "predict MODEL [COLUMN=VALUE...]",
		Short: "Ask a model for predictions, by way of the gateway",
		Long: "Ask a model for predictions, by way of the gateway: the version answers that the model's rollout chooses, and what it answers\n" +
			"is logged. A row is given as COLUMN=VALUE, where a value that is no JSON is text. Columns called like the join keys of the\n" +
			"model's features have these looked up. With --file several rows are asked for: a list of objects, or any body of\n" +
			"POST /models/MODEL/invocations.",
		Example: "  driftline predict late_departure airport=JFK hour=17\n" +
			"  driftline predict late_departure --file rows.json --key user-42 --json\n" +
			"  echo '{\"entities\": {\"airport\": [\"JFK\", \"LGA\"]}}' | driftline predict late_departure --file -",
		Args: atLeast(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if (file == "") == (len(args) == 1) {
				return usagef("give a row as COLUMN=VALUE, or rows with --file")
			}
			if file == "" {
				ask.Rows, err = rowOf(args[1:])
			} else {
				err = a.readQuestion(file, &ask)
			}
			if err != nil {
				return err
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				answer, err := server.Predict(c.Context(), driftline.ModelName(args[0]), ask)
				if err != nil {
					return err
				}
				return a.answer(answer, func(w io.Writer) error { return printPrediction(w, answer) })
			})
		},
	}
	command.Flags().StringVarP(&file, "file", "f", "", "a file of rows, or of a whole request, as JSON; - for standard input")
	command.Flags().StringVar(&ask.Version, "version", "", "the version to be asked, a number or an alias (default: the rollout's choice)")
	command.Flags().StringVar(&ask.Key, "key", "", "what the request is dealt by, such as the ID of a user")
	return command
}

// rowOf reads a row's columns.
func rowOf(args []string) ([]map[string]any, error) {
	row := make(map[string]any, len(args))
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usagef("%q is no column of a row: write COLUMN=VALUE, for example hour=17", arg)
		}
		if _, twice := row[name]; twice {
			return nil, usagef("column %q is given twice", name)
		}
		row[name] = text
		if json.Valid([]byte(text)) {
			row[name] = json.RawMessage(text)
		}
	}
	return []map[string]any{row}, nil
}

// readQuestion reads rows, or a whole request.
func (a *app) readQuestion(file string, ask *client.PredictRequest) error {
	var content []byte
	var err error
	if file == "-" {
		content, err = io.ReadAll(a.stdin)
	} else {
		content, err = os.ReadFile(file)
	}
	if err != nil {
		return err
	}
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("[")) {
		decoder := json.NewDecoder(bytes.NewReader(content))
		decoder.UseNumber() // as it is written
		err = decoder.Decode(&ask.Rows)
	} else if err = json.Unmarshal(content, &map[string]any{}); err == nil {
		ask.Body = content
	}
	if err != nil {
		return driftline.Errorf(driftline.Invalid, "%s holds no rows: %w", file, err).WithHint(`write [{"airport": "JFK", "hour": 17}, …], or {"dataframe_split": …}`)
	}
	return nil
}

func printPrediction(w io.Writer, p *client.Prediction) error {
	t := newTable(">row", ">prediction")
	for i, one := range p.Predictions {
		t.add(fmt.Sprint(i), printable(string(one)))
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "by version %s%s; prediction %s\n", printable(p.Version), armText(p), printable(p.ID))
	return err
}

func armText(p *client.Prediction) string {
	switch {
	case p.Fallback != "":
		return fmt.Sprintf(" (%s, in the place of the candidate: %s)", p.Arm, p.Fallback)
	case p.Arm != "":
		return " (" + string(p.Arm) + ")"
	}
	return ""
}
