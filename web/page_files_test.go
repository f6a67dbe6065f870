package web_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// parquetFile is a file of three rows and two columns.
func parquetFile(t *testing.T) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "carrier", Type: arrow.BinaryTypes.String}, {Name: "delay", Type: arrow.PrimitiveTypes.Float64, Nullable: true}}, nil)
	rows, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(
		`[{"carrier": "UA", "delay": 12.5}, {"carrier": "<b>bold</b>", "delay": null}, {"carrier": "B6", "delay": -3}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What a run logged is seen on its page: pictures, and the first rows of tables in whatever form. What is no
// table, whatever its name says, is a file like others.
func TestFilesOfARunAreSeen(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "seen"}`)
	long := "hour,delay\n" + strings.Repeat("7,1.25\n", 100_000)
	wide := strings.Repeat("column,", 20) + "last\n" + strings.Repeat("1,", 20) + "2\n"
	parquet := parquetFile(t)
	for path, content := range map[string]string{
		"roc.PNG":         "\x89PNG",
		"rows.csv":        "airport,late\nJFK,\"a \"\"quoted\"\" word\"\nLGA\n",
		"rows.tsv":        "tabbed\tlate\nEWR\t<b>bold</b>\n",
		"long.csv":        long,
		"wide.csv":        wide,
		"split.json":      `{"columns": ["split", "n"], "data": [["train", 75], ["test", null]]}`,
		"records.json":    `[{"b": {"deep": 1}, "a": "first"}, {"c": true}]`,
		"rows.parquet":    parquet,
		"not.json":        `{"columns": "none"}`,
		"not.parquet":     "PAR1 is not all of it PAR1",
		"damaged.parquet": parquet[:len(parquet)/2] + "x" + parquet[len(parquet)/2+1:],
		"empty.csv":       "",
		"model.bin":       "weights",
	} {
		s.mustAsk(t, "PUT", "/api/v1/runs/seen-1/artifacts/"+path, content)
	}
	page := s.mustAsk(t, "GET", "/runs/seen-1", "", "Accept: text/html")
	for _, want := range []string{
		`src="/api/v1/runs/seen-1/artifacts/roc.PNG"`,
		`<tr><td>JFK</td><td>a &#34;quoted&#34; word</td></tr><tr><td>LGA</td><td></td></tr>`,
		`<th>tabbed</th><th>late</th>`, `<td>EWR</td><td>&lt;b&gt;bold&lt;/b&gt;</td>`,
		`<tr><th>hour</th><th>delay</th></tr>`, `<a href="/api/v1/runs/seen-1/artifacts/long.csv" download>all of it</a>`,
		`<th class="quiet">9 more</th>`,
		`<td>train</td><td>75</td></tr><tr><td>test</td><td></td>`,
		`<th>a</th><th>b</th><th>c</th>`, `<td>first</td><td>{&#34;deep&#34;:1}</td><td></td></tr><tr><td></td><td></td><td>true</td>`,
		`<th>carrier</th><th>delay</th>`, `<td>UA</td><td>12.5</td></tr><tr><td>&lt;b&gt;bold&lt;/b&gt;</td><td></td></tr><tr><td>B6</td><td>-3</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	if n := strings.Count(page, `<td>7</td><td>1.25</td>`); n != 8 {
		t.Errorf("%d rows of a long table are shown, want 8", n)
	}
	for _, path := range []string{"not.json", "not.parquet", "empty.csv", "model.bin"} {
		if strings.Count(page, ">"+path+"<") != 1 {
			t.Errorf("%s is more than a name", path)
		}
	}
}

// What runs have under the same name stands side by side, and says whether it is the same.
func TestFilesOfRunsAreCompared(t *testing.T) {
	s := newSite(t)
	for range 3 {
		s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "seen"}`)
	}
	for path, content := range map[string]string{
		"seen-1/artifacts/plots/roc.png": "one", "seen-2/artifacts/plots/roc.png": "two",
		"seen-1/artifacts/confusion.csv": "true,false\n10,2\n", "seen-2/artifacts/confusion.csv": "true,false\n9,3\n", "seen-3/artifacts/confusion.csv": "true,false\n8,4\n",
		"seen-1/artifacts/same.csv": "x\n1\n", "seen-2/artifacts/same.csv": "x\n1\n", "seen-3/artifacts/same.csv": "x\n1\n",
		"seen-3/artifacts/alone.json": `[{"only": "here"}]`, "seen-3/artifacts/model.bin": "weights",
	} {
		s.mustAsk(t, "PUT", "/api/v1/runs/"+path, content)
	}
	page := s.mustAsk(t, "GET", "/runs/compare?run=seen-1&run=seen-2&run=seen-3", "", "Accept: text/html")
	last := -1
	for _, want := range []string{
		`<h3><code>confusion.csv</code></h3>`, `<td>10</td><td>2</td>`, `<td>9</td><td>3</td>`, `<td>8</td><td>4</td>`,
		`<h3><code>same.csv</code> <span class="quiet">the same bytes in all runs</span></h3>`,
		`<h3><code>plots/roc.png</code></h3>`, `src="/api/v1/runs/seen-1/artifacts/plots/roc.png"`, `src="/api/v1/runs/seen-2/artifacts/plots/roc.png"`, `seen-3</p><p class="quiet">None.</p>`,
		`<h3><code>alone.json</code></h3>`, `<td>here</td>`,
	} {
		at := strings.Index(page, want)
		if at < 0 {
			t.Errorf("the page does not show %s", want)
		} else if at < last {
			t.Errorf("%s comes too early", want)
		}
		last = max(last, at)
	}
	if strings.Contains(page, "model.bin") {
		t.Error("a file that cannot be shown is compared")
	}
	if page := s.mustAsk(t, "GET", "/runs/compare?run=seen-1&run=seen-2&find=roc", "", "Accept: text/html"); strings.Contains(page, "confusion.csv") || !strings.Contains(page, "plots/roc.png") {
		t.Error("what is looked for does not choose the files")
	}
}
