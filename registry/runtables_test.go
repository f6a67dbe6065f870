package registry

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The tables of all runs say what the runs say, one by one.
func TestTablesOfRunsSayWhatRunsSay(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		run, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Name: fmt.Sprint("n", i), Params: map[string]string{"p": fmt.Sprint(i), "only": "first"}})
		if err != nil {
			t.Fatal(err)
		}
		log := driftline.RunLog{Tags: map[string]string{"z": "", fmt.Sprint("t", i%3): "v"}}
		for m := range i { // from none to more than are packed
			log.Metrics = append(log.Metrics, driftline.Metric{Key: fmt.Sprint("m", m*m%17, m), Value: driftline.Number(m), Step: int64(m)})
		}
		if _, err := r.LogRun(run.ID, log); err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			_, err = r.FinishRun(run.ID, driftline.RunFailed)
		case 1:
			_, err = r.DeleteRun(run.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	params, tags, last := map[RunPair]bool{}, map[RunPair]bool{}, map[RunMetric]bool{}
	for p := range r.EachParam() {
		params[p] = true
	}
	for p := range r.EachTag() {
		tags[p] = true
	}
	for m := range r.EachLast() {
		last[m] = true
	}
	var infos []driftline.Run
	for run, err := range r.EachBareRun("") {
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, *run)
	}
	wantParams, wantTags, wantLast := map[RunPair]bool{}, map[RunPair]bool{}, map[RunMetric]bool{}
	var want []driftline.Run
	for run, err := range r.EachRun("") {
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range run.Params {
			wantParams[RunPair{run.ID, key, value}] = true
		}
		for key, value := range run.Tags {
			wantTags[RunPair{run.ID, key, value}] = true
		}
		for _, m := range run.Last {
			wantLast[RunMetric{run.ID, m}] = true
		}
		run.Params, run.Tags, run.Metrics, run.Last, run.LastStep = nil, nil, nil, nil, 0
		want = append(want, *run)
	}
	for what, pair := range map[string][2]any{"params": {params, wantParams}, "tags": {tags, wantTags}, "metrics": {last, wantLast}, "runs": {infos, want}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s are\n%v\nwant\n%v", what, pair[0], pair[1])
		}
	}
}
