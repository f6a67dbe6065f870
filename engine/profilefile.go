package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/profile"
)

// ProfileData is a profile in memory, of rows that need be in no table: it is made, merged,
// compared, written and read again without a server.
type ProfileData struct {
	source     string
	start, end time.Time
	rows       int64
	columns    []dataColumn
}

type dataColumn struct {
	columnRecord
	profile *profile.Column
}

// profileMagic begins a profile that stands alone; docs/formats.md draws it. Its last byte
// is the version.
const profileMagic = "DLPROF\x00\x01"

// ProfileRows profiles rows, which it reads once. Of req it uses Source, Columns and Exclude,
// and Start and End as what the profile is of. With like, which may be nil, values are counted
// as there, so that the two profiles can be compared and merged.
func ProfileRows(ctx context.Context, req driftline.ProfileRequest, rows driftline.Batches, like *ProfileData) (*ProfileData, error) {
	task, err := newDataTask(req, rows.Schema, like)
	if err != nil {
		return nil, err
	}
	p, err := task.profileStream(ctx, rows)
	if err != nil {
		return nil, err
	}
	return task.data(req, p), nil
}

// Parts are rows whose columns can be read several times, in parts that can be read at once.
// Sample returns some of the rows, evenly spread.
type Parts interface {
	Read(columns []string) ([]driftline.Batches, error)
	Sample(columns []string) ([]driftline.Batches, error)
}

// ProfileParts is [ProfileRows] of a table in parts.
func ProfileParts(ctx context.Context, req driftline.ProfileRequest, schema *arrow.Schema, parts Parts, like *ProfileData) (*ProfileData, error) {
	task, err := newDataTask(req, schema, like)
	if err != nil {
		return nil, err
	}
	table := &profiledTable{schema: schema, read: parts.Read, sample: parts.Sample}
	if err := task.freeze(ctx, table); err != nil {
		return nil, err
	}
	p, err := task.scan(ctx, table, task.columns)
	if err != nil {
		return nil, err
	}
	return task.data(req, p), nil
}

// newDataTask is a task whose outcome stays in memory.
func newDataTask(req driftline.ProfileRequest, schema *arrow.Schema, like *ProfileData) (*profileTask, error) {
	maps := map[string]*profile.Map{}
	if like != nil {
		for _, c := range like.columns {
			maps[c.Name] = c.profile.Map()
		}
	}
	req.Pane, req.Start, req.End = 0, time.Time{}, time.Time{}
	if req.Source == "" {
		req.Source = "rows"
	}
	return newProfileTask(req, schema, maps)
}

// data is what the task has found of all rows.
func (t *profileTask) data(req driftline.ProfileRequest, p *profiler) *ProfileData {
	d := &ProfileData{source: req.Source, start: req.Start, end: req.End}
	pane := p.pane(allTime)
	d.rows = pane.rows
	for i, c := range t.columns {
		d.columns = append(d.columns, dataColumn{c.record(), pane.columns[i]})
	}
	return d
}

// Rows is the number of rows that were profiled.
func (d *ProfileData) Rows() int64 { return d.rows }

// Merge takes in the rows of another profile, which must have been made like this one or
// from it. Columns that only one of them has are null in the rows of the other.
func (d *ProfileData) Merge(other *ProfileData) error {
	for _, theirs := range other.columns {
		i := d.find(theirs.Name)
		if i >= 0 && d.columns[i].Fingerprint != theirs.Fingerprint {
			return driftline.Errorf(driftline.FailedPrecondition, "column %q was counted in another way: the profiles cannot be put together", theirs.Name).
				WithHint("make one of them like the other, or both like one reference")
		}
	}
	for _, theirs := range other.columns {
		i := d.find(theirs.Name)
		if i < 0 {
			empty := profile.New(theirs.profile.Map())
			empty.AddNulls(int(d.rows))
			d.columns = append(d.columns, dataColumn{theirs.columnRecord, empty})
			i = len(d.columns) - 1
		}
		if err := d.columns[i].profile.Merge(theirs.profile); err != nil {
			return err
		}
	}
	for _, ours := range d.columns {
		if other.find(ours.Name) < 0 {
			ours.profile.AddNulls(int(other.rows))
		}
	}
	d.rows += other.rows
	d.start, d.end = earlier(d.start, other.start), later(d.end, other.end)
	return nil
}

func (d *ProfileData) find(name string) int {
	return slices.IndexFunc(d.columns, func(c dataColumn) bool { return c.Name == name })
}

// earlier is the earlier of two times, the zero time if one is it.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() || a.Before(b) && !a.IsZero() {
		if b.IsZero() {
			return b
		}
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if a.After(b) {
		return a
	}
	return b
}

// Summary is the profile in a form to look at.
func (d *ProfileData) Summary() *driftline.Profile {
	p := &driftline.Profile{Source: d.source, Start: d.start, End: d.end, Rows: d.rows, Panes: 1, Columns: []driftline.ColumnProfile{}}
	for _, c := range d.columns {
		p.Columns = append(p.Columns, columnProfile(c.columnRecord, c.profile))
	}
	return p
}

// window is the profile as one that is compared.
func (d *ProfileData) window() *profiledWindow {
	w := &profiledWindow{name: d.source, rows: d.rows, columns: map[string]*windowColumn{}}
	for _, c := range d.columns {
		w.order = append(w.order, c.Name)
		w.columns[c.Name] = &windowColumn{
			columnRecord: c.columnRecord, source: d.source, m: c.profile.Map(), heads: [][]byte{c.profile.AppendHead(nil)},
			whole: func() (*profile.Column, error) { return c.profile, nil },
		}
	}
	return w
}

// CompareProfileData is [Engine.CompareProfiles] of profiles in memory.
func CompareProfileData(ctx context.Context, reference, current *ProfileData, opts driftline.DriftOptions) (*driftline.DriftReport, error) {
	rules, err := profileRules(opts)
	if err != nil {
		return nil, err
	}
	a, b := reference.window(), current.window()
	compared, err := compareWindows(ctx, a, b, opts, rules.levels, true)
	if err != nil {
		return nil, err
	}
	return reportOfProfiles(a, b, compared, rules), nil
}

// dataHeader is the header of a profile that stands alone.
type dataHeader struct {
	Source  string         `json:"source"`
	Start   time.Time      `json:"start,omitzero"`
	End     time.Time      `json:"end,omitzero"`
	Rows    int64          `json:"rows"`
	Columns []columnRecord `json:"columns"`
}

// AppendTo writes the profile in its own format.
func (d *ProfileData) AppendTo(b []byte) ([]byte, error) {
	header := dataHeader{Source: d.source, Start: d.start, End: d.end, Rows: d.rows, Columns: []columnRecord{}}
	for _, c := range d.columns {
		header.Columns = append(header.Columns, c.columnRecord)
	}
	raw, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	begin := len(b)
	b = appendSized(append(b, profileMagic...), raw)
	for _, c := range d.columns {
		b = appendSized(b, c.profile.Map().AppendTo(nil))
		b = appendSized(b, c.profile.AppendHead(nil))
		b = appendSized(b, c.profile.AppendBody(nil))
	}
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b[begin:])), nil
}

func appendSized(b, part []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(part))), part...)
}

// DecodeProfile reads what AppendTo has written. It is Invalid if raw is anything else.
func DecodeProfile(raw []byte) (*ProfileData, error) {
	content := len(raw) - 8
	if content < len(profileMagic) || string(raw[:len(profileMagic)-1]) != profileMagic[:len(profileMagic)-1] {
		return nil, driftline.Errorf(driftline.Invalid, "the file is no profile").WithHint("driftline profile writes one with --out")
	}
	if raw[len(profileMagic)-1] != profileMagic[len(profileMagic)-1] {
		return nil, driftline.Errorf(driftline.Invalid, "the profile is of form %d, this driftline knows %d", raw[len(profileMagic)-1], profileMagic[len(profileMagic)-1]).
			WithHint("use the newer driftline that made it")
	}
	if xxhash.Sum64(raw[:content]) != binary.LittleEndian.Uint64(raw[content:]) {
		return nil, badProfileFile()
	}
	rest, header := raw[len(profileMagic):content], dataHeader{}
	part, rest, ok := takeSized(rest)
	if !ok || json.Unmarshal(part, &header) != nil || header.Rows < 0 {
		return nil, badProfileFile()
	}
	d := &ProfileData{source: header.Source, start: header.Start, end: header.End, rows: header.Rows}
	for _, record := range header.Columns {
		var parts [3][]byte
		for i := range parts {
			if parts[i], rest, ok = takeSized(rest); !ok {
				return nil, badProfileFile()
			}
		}
		m, err := profile.DecodeMap(parts[0])
		if err != nil {
			return nil, badProfileFile()
		}
		c, err := profile.Decode(m, parts[1], parts[2])
		if err != nil || m.Fingerprint() != record.Fingerprint || (m.Kind() == profile.Numbers) != (record.Kind == numeric) || d.find(record.Name) >= 0 {
			return nil, badProfileFile()
		}
		d.columns = append(d.columns, dataColumn{record, c})
	}
	if len(rest) > 0 {
		return nil, badProfileFile()
	}
	return d, nil
}

func badProfileFile() error {
	return driftline.Errorf(driftline.Invalid, "the profile is damaged").WithHint("make it again")
}

func takeSized(from []byte) (part, rest []byte, ok bool) {
	if len(from) < 4 {
		return nil, nil, false
	}
	n := int64(binary.LittleEndian.Uint32(from))
	if n > int64(len(from)-4) {
		return nil, nil, false
	}
	return from[4 : 4+n], from[4+n:], true
}

// profileData is what is kept of a window, in memory.
func (e *Engine) profileData(ctx context.Context, window driftline.ProfileWindow) (*ProfileData, error) {
	if len(window.Data) > 0 {
		return DecodeProfile(window.Data)
	}
	w, err := e.readWindow(ctx, window)
	if err != nil {
		return nil, err
	}
	d := &ProfileData{source: window.Source, start: w.records[0].Start, end: w.records[len(w.records)-1].End, rows: w.rows}
	for _, name := range w.order {
		c := w.columns[name]
		if c.mixed {
			return nil, mixedColumn(window.Source, name)
		}
		whole, err := c.whole()
		if err != nil {
			return nil, err
		}
		d.columns = append(d.columns, dataColumn{c.columnRecord, whole})
	}
	return d, nil
}

// MergeProfiles puts what is kept of windows, and profiles that clients hold, together, and
// returns it in a form to look at and as bytes that need no server.
func (e *Engine) MergeProfiles(ctx context.Context, windows []driftline.ProfileWindow) (*driftline.ProfileFile, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	var all *ProfileData
	for _, window := range windows {
		d, err := e.profileData(ctx, window)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = d
		} else if err := all.Merge(d); err != nil {
			return nil, err
		}
	}
	if all == nil {
		return nil, driftline.Errorf(driftline.Invalid, "there is nothing to merge").WithHint("give one window or more")
	}
	return all.File()
}

// File is the profile as it is sent.
func (d *ProfileData) File() (*driftline.ProfileFile, error) {
	data, err := d.AppendTo(nil)
	if err != nil {
		return nil, err
	}
	f := &driftline.ProfileFile{Profile: *d.Summary(), Data: data}
	f.Bytes = int64(len(data))
	return f, nil
}
