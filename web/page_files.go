package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// The bounds of what a page shows of the files of runs.
const (
	mostPictureBytes = 4 << 20
	mostTableBytes   = 16 << 20 // of a Parquet file; others are read to sniffedBytes only
	sniffedBytes     = 256 << 10
	shownRows        = 8
	shownColumns     = 12
	maxTables        = 8  // on a page of one run
	maxComparedFiles = 12 // names of files, on a comparison
)

// fileKind is how a file can be shown.
type fileKind int

const (
	fileOnly    fileKind = iota // by its name
	filePicture                 // as a picture
	fileTable                   // by its first rows
)

func fileKindOf(a driftline.Artifact) fileKind {
	switch ending := strings.ToLower(path.Ext(a.Path)); {
	case slices.Contains([]string{".png", ".jpg", ".jpeg", ".gif", ".webp"}, ending) && a.Size <= mostPictureBytes:
		return filePicture
	case ending == ".csv" || ending == ".tsv":
		return fileTable
	case ending == ".json" && a.Size <= sniffedBytes, ending == ".parquet" && a.Size <= mostTableBytes:
		return fileTable
	}
	return fileOnly
}

// runFile is a file of a run, and what can be seen of it.
type runFile struct {
	driftline.Artifact
	Run     driftline.RunID
	Picture bool
	Table   *tablePreview // nil if it is none
}

// tablePreview is the beginning of a table.
type tablePreview struct {
	Heads []string
	Rows  [][]string
	Wider int  // columns that are not shown
	More  bool // rows
}

// seen is a file with what can be seen of it. A table that cannot be read is a file like others.
func (s *Server) seen(ctx context.Context, run driftline.RunID, a driftline.Artifact, tables bool) runFile {
	f := runFile{Artifact: a, Run: run}
	switch fileKindOf(a) {
	case filePicture:
		f.Picture = true
	case fileTable:
		if tables {
			if table, err := s.tableOf(ctx, run, a); err == nil && len(table.Heads) > 0 {
				table.cut()
				f.Table = table
			}
		}
	}
	return f
}

func (s *Server) tableOf(ctx context.Context, run driftline.RunID, a driftline.Artifact) (*tablePreview, error) {
	if strings.EqualFold(path.Ext(a.Path), ".parquet") {
		return s.parquetTable(ctx, a)
	}
	content, _, err := s.engine.OpenArtifact(ctx, run, a.Path)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	begin, err := io.ReadAll(io.LimitReader(struct{ io.Reader }{content}, sniffedBytes))
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(path.Ext(a.Path), ".json") {
		return jsonTable(begin)
	}
	return textTable(begin, strings.EqualFold(path.Ext(a.Path), ".tsv"), a.Size > sniffedBytes)
}

func (s *Server) parquetTable(ctx context.Context, a driftline.Artifact) (*tablePreview, error) {
	t := &tablePreview{}
	err := s.engine.FirstRows(ctx, a, shownRows+1, func(batch arrow.RecordBatch) error {
		if t.Heads == nil {
			for _, field := range batch.Schema().Fields() {
				t.Heads = append(t.Heads, field.Name)
			}
		}
		for i := range int(batch.NumRows()) {
			row := make([]string, batch.NumCols())
			for j, column := range batch.Columns() {
				row[j] = cellText(column, i)
			}
			t.Rows = append(t.Rows, row)
		}
		return nil
	})
	return t, err
}

// textTable reads the beginning of a table of texts. The last line of a file that goes on may be half
// of one.
func textTable(begin []byte, tabs, goesOn bool) (*tablePreview, error) {
	if goesOn {
		begin = begin[:bytes.LastIndexByte(begin, '\n')+1]
	}
	r := csv.NewReader(bytes.NewReader(begin))
	r.LazyQuotes, r.FieldsPerRecord = true, -1
	if tabs {
		r.Comma = '\t'
	}
	heads, err := r.Read()
	if err != nil {
		return nil, err
	}
	t := &tablePreview{Heads: heads}
	for len(t.Rows) <= shownRows {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// jsonTable reads a table as MLflow and pandas write them: columns and data, or a list of objects with
// the same keys.
func jsonTable(text []byte) (*tablePreview, error) {
	var split struct {
		Columns []any   `json:"columns"`
		Data    [][]any `json:"data"`
	}
	if err := json.Unmarshal(text, &split); err == nil {
		t := &tablePreview{Heads: texts(split.Columns)}
		for _, row := range split.Data[:min(len(split.Data), shownRows+1)] {
			t.Rows = append(t.Rows, texts(row))
		}
		return t, nil
	}
	var records []map[string]any
	if err := json.Unmarshal(text, &records); err != nil {
		return nil, err
	}
	t := &tablePreview{}
	for _, record := range records[:min(len(records), shownRows+1)] {
		for key := range record {
			if !slices.Contains(t.Heads, key) {
				t.Heads = append(t.Heads, key)
			}
		}
	}
	slices.Sort(t.Heads)
	for _, record := range records[:min(len(records), shownRows+1)] {
		row := make([]any, len(t.Heads))
		for i, key := range t.Heads {
			row[i] = record[key]
		}
		t.Rows = append(t.Rows, texts(row))
	}
	return t, nil
}

func texts(values []any) []string {
	all := make([]string, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case nil:
		case string:
			all[i] = v
		default:
			if text, err := json.Marshal(v); err == nil {
				all[i] = string(text)
			} else {
				all[i] = fmt.Sprint(v)
			}
		}
	}
	return all
}

// cut leaves a table what a page has room for.
func (t *tablePreview) cut() {
	if len(t.Rows) > shownRows {
		t.Rows, t.More = t.Rows[:shownRows], true
	}
	t.Wider = max(0, len(t.Heads)-shownColumns)
	t.Heads = short(t.Heads)
	for i, row := range t.Rows {
		for len(row) < len(t.Heads) {
			row = append(row, "")
		}
		t.Rows[i] = short(row[:min(len(row), max(len(t.Heads), 1))])
	}
}

func short(cells []string) []string {
	cells = cells[:min(len(cells), shownColumns)]
	for i, cell := range cells {
		cell = strings.ToValidUTF8(cell, "\uFFFD")
		if runes := []rune(cell); len(runes) > shownCell {
			cell = string(runes[:shownCell]) + "…"
		}
		cells[i] = cell
	}
	return cells
}

// comparedFile is what runs have under one name: one for each run, and none for a run without it.
type comparedFile struct {
	Path  string
	Files []*runFile
	Same  bool // all have the same bytes
}

// compareFiles shows what pictures and tables the runs have under the same names; those that most have come first.
func (s *Server) compareFiles(ctx context.Context, p *comparePage) {
	found := map[string]int{}
	for i := range p.Runs {
		for _, a := range p.Runs[i].Artifacts {
			if fileKindOf(a) != fileOnly && strings.Contains(a.Path, p.Find) {
				found[a.Path]++
			}
		}
	}
	paths := make([]string, 0, len(found))
	for path := range found {
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int {
		if found[a] != found[b] {
			return found[b] - found[a]
		}
		return strings.Compare(a, b)
	})
	p.UnseenFiles = max(0, len(paths)-maxComparedFiles)
	for _, path := range paths[:min(len(paths), maxComparedFiles)] {
		p.Files = append(p.Files, s.compareFile(ctx, p, path))
	}
}

func (s *Server) compareFile(ctx context.Context, p *comparePage, path string) comparedFile {
	f := comparedFile{Path: path, Same: true}
	for i := range p.Runs {
		run := &p.Runs[i]
		var mine *runFile
		for _, a := range run.Artifacts {
			if a.Path == path {
				seen := s.seen(ctx, run.ID, a, true)
				mine = &seen
			}
		}
		if first := f.Files; len(first) > 0 {
			f.Same = f.Same && mine != nil && first[0] != nil && first[0].SHA256 == mine.SHA256
		}
		f.Files = append(f.Files, mine)
	}
	return f
}
