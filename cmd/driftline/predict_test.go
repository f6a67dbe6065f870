package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// TestAModelIsAsked asks a model server that adds the numbers of each row, by way of a real server.
func TestAModelIsAsked(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Split   struct{ Data [][]any } `json:"dataframe_split"`
			Records []map[string]any       `json:"dataframe_records"`
		}
		err := json.NewDecoder(r.Body).Decode(&asked)
		for _, record := range asked.Records {
			asked.Split.Data = append(asked.Split.Data, slices.Collect(maps.Values(record)))
		}
		if err != nil || len(asked.Split.Data) == 0 {
			http.Error(w, `{"error_code": "BAD_REQUEST", "message": "no rows"}`, http.StatusBadRequest)
			return
		}
		sums := []float64{}
		for _, row := range asked.Split.Data {
			sum := 0.0
			for _, cell := range row {
				x, _ := cell.(float64)
				sum += x
			}
			sums = append(sums, sum)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": sums})
	}))
	defer model.Close()
	server := startServer(t)
	s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
	conn := dial(t, server)
	ask := func(args ...string) string { return s.run(append([]string{"predict", "late"}, args...)) }
	if out := ask("hour=17"); !strings.Contains(out, `model "late" does not exist`) || !strings.Contains(out, "exit 1") {
		t.Error(out)
	}
	for range 2 {
		if _, err := conn.RegisterModel(t.Context(), driftline.ModelSpec{Model: "late", Source: "s3://models/late"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"models", "serve-at", "late@1", model.URL, "--protocol", "mlflow"}, {"models", "alias", "late", "champion", "1"}} {
		if out := s.run(args); strings.Contains(out, "exit") {
			t.Fatal(out)
		}
	}
	if out := ask("hour=17", "dep_delay=2.5", "carrier=AA"); !strings.HasPrefix(out, "row  prediction\n  0        19.5\nby version 1 (champion); prediction ") {
		t.Error(out)
	}
	rows := filepath.Join(t.TempDir(), "rows.json")
	if err := os.WriteFile(rows, []byte(`[{"hour": 1, "delay": 2}, {"hour": 3, "delay": 4}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if out := ask("--file", rows, "--version", "1", "--json"); json.Unmarshal([]byte(out), &answer) != nil ||
		fmt.Sprintf("%v %v", answer["predictions"], answer["model_version"]) != "[3 7] 1" || answer["prediction_id"] == "" {
		t.Error(out)
	}
	s.stdin = `{"dataframe_split": {"columns": ["hour"], "data": [[5]]}}`
	if out := ask("--file", "-"); !strings.Contains(out, "  0           5\n") {
		t.Error(out)
	}
	for _, bad := range []struct {
		args []string
		want string
	}{
		{nil, "give a row as COLUMN=VALUE"},
		{[]string{"hour"}, `"hour" is no column of a row`},
		{[]string{"hour=1", "hour=2"}, `column "hour" is given twice`},
		{[]string{"hour=1", "--file", rows}, "give a row as COLUMN=VALUE"},
		{[]string{"hour=1", "--version", "2"}, "nobody said where"},
		{[]string{"--file", "none.json"}, "none.json"},
	} {
		if out := ask(bad.args...); !strings.Contains(out, bad.want) || !strings.Contains(out, "\nexit ") {
			t.Errorf("%v: %s", bad.args, out)
		}
	}
}
