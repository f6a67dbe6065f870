package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/profile"
	"github.com/driftline/driftline/storage/kv"
)

// Keys of profiles, after their keyspace; docs/formats.md draws them.
//
//	source, 'p', start, end            → the pane's record, JSON: without it the pane is not there
//	source, 'h', start, end, column    → head of a column's profile
//	source, 'q', start, end, column    → its body
//	source, 'm', column                → fingerprint of the map that new profiles get
//	source, 'n', column, fingerprint   → a map that profiles of the column have
//	source, 'o', origin                → nothing; the origin, JSON, is where rows or maps once came from
//
// A pane of all time has the start and end 0.
const (
	profilePanes    byte = 'p'
	profileHeads    byte = 'h'
	profileBodies   byte = 'q'
	profileMapNames byte = 'm'
	profileMaps     byte = 'n'
	profileOrigins  byte = 'o'

	// profileBatchBytes are committed at a time.
	profileBatchBytes = 64 << 20
)

func profileKey(source string, table byte) []byte {
	return append(kv.AppendString([]byte{kv.Profiles}, source), table)
}

// span is the time of a pane in microseconds; both 0 for all time.
type span struct{ start, end int64 }

func (s span) append(key []byte) []byte { return kv.AppendInt64(kv.AppendInt64(key, s.start), s.end) }

func spanOf(start, end time.Time) span {
	if start.IsZero() && end.IsZero() {
		return span{}
	}
	return span{start.UnixMicro(), end.UnixMicro()}
}

func (s span) times() (start, end time.Time) {
	if s == (span{}) {
		return time.Time{}, time.Time{}
	}
	return time.UnixMicro(s.start).UTC(), time.UnixMicro(s.end).UTC()
}

// keptPane is what is stored of a pane besides the profiles of its columns.
type keptPane struct {
	driftline.ProfilePane
	Profiled []columnRecord `json:"profiled"`
}

type columnRecord struct {
	Name        string         `json:"name"`
	Type        driftline.Type `json:"type,omitempty"`
	Kind        string         `json:"kind"`
	Fingerprint uint64         `json:"fingerprint,string"`
}

// decodeKeptPane reads the record of a pane. The list of its columns, which is last and may be long, is read
// as package json writes it, and by package json if it looks otherwise.
func decodeKeptPane(raw []byte) (record keptPane, err error) {
	before, list, ok := bytes.Cut(raw, []byte(`,"profiled":[`)) // in a text its quotes would be escaped
	if columns, all := readColumnRecords(string(list)); ok && all {
		if err := json.Unmarshal(append(slices.Clip(before), '}'), &record); err == nil {
			record.Profiled = columns
			return record, nil
		}
		record = keptPane{}
	}
	err = json.Unmarshal(raw, &record)
	return record, err
}

// readColumnRecords reads records up to the end of their list and of the object that it is in. It is false if
// they are not plainly that.
func readColumnRecords(rest string) (columns []columnRecord, all bool) {
	columns = []columnRecord{}
	for rest != "]}" {
		record, after, ok := strings.Cut(rest, "}")
		columns = append(columns, columnRecord{})
		c, plain := &columns[len(columns)-1], strings.IndexByte(record, '\\') < 0
		fingerprint := ""
		for _, field := range []struct {
			begins string
			to     *string
		}{{`{"name":"`, &c.Name}, {`,"type":"`, (*string)(&c.Type)}, {`,"kind":"`, &c.Kind}, {`,"fingerprint":"`, &fingerprint}} {
			text, begins := strings.CutPrefix(record, field.begins)
			if !begins && field.to == (*string)(&c.Type) {
				continue // it is left out if there is none
			}
			ended := false
			*field.to, record, ended = strings.Cut(text, `"`)
			plain = plain && begins && ended
		}
		number, err := strconv.ParseUint(fingerprint, 10, 64)
		if !ok || !plain || record != "" || err != nil || !utf8.ValidString(c.Name) {
			return nil, false
		}
		c.Fingerprint = number
		if rest = after; strings.HasPrefix(after, ",{") {
			rest = after[1:]
		} else if after != "]}" {
			return nil, false
		}
	}
	return columns, true
}

// profileMapsOf returns the maps that new profiles of a source get, by column.
func (e *Engine) profileMapsOf(source string) (map[string]*profile.Map, error) {
	maps := map[string]*profile.Map{}
	prefix := profileKey(source, profileMapNames)
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		column, _, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return nil, err
		}
		fingerprint, _, err := kv.TakeUint64(pair.Value)
		if err != nil {
			return nil, err
		}
		if maps[column], err = e.profileMap(source, column, fingerprint); err != nil {
			return nil, err
		}
	}
	return maps, nil
}

// hasProfileMaps reports whether it is settled how new profiles of a source are counted.
func (e *Engine) hasProfileMaps(source string) (bool, error) {
	for _, err := range e.kv.ScanPrefix(profileKey(source, profileMapNames)) {
		return err == nil, err
	}
	return false, nil
}

func profileMapKey(source, column string, fingerprint uint64) []byte {
	return kv.AppendUint64(kv.AppendString(profileKey(source, profileMaps), column), fingerprint)
}

func (e *Engine) profileMap(source, column string, fingerprint uint64) (*profile.Map, error) {
	raw, err := e.kv.Get(profileMapKey(source, column, fingerprint))
	if err != nil {
		return nil, err
	}
	m, err := profile.DecodeMap(raw)
	if err != nil {
		return nil, damagedProfile(source, err)
	}
	return m, nil
}

// profileMapsNamed returns maps of a source by column, of those whose fingerprints are given
// and that there are: one pass over the maps of the source.
func (e *Engine) profileMapsNamed(source string, fingerprints map[string]uint64) (map[string]*profile.Map, error) {
	maps := make(map[string]*profile.Map, len(fingerprints))
	if len(fingerprints) == 0 {
		return maps, nil
	}
	prefix := profileKey(source, profileMaps)
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		column, rest, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return nil, err
		}
		fingerprint, _, err := kv.TakeUint64(rest)
		if err != nil {
			return nil, err
		}
		if wanted, ok := fingerprints[column]; !ok || wanted != fingerprint {
			continue
		}
		if maps[column], err = profile.DecodeMap(pair.Value); err != nil {
			return nil, damagedProfile(source, err)
		}
	}
	return maps, nil
}

func damagedProfile(source string, err error) error {
	return driftline.Errorf(driftline.DataLoss, "the profiles of %q cannot be read: %w", source, err).
		WithHint("profile the table again")
}

// profileWriter stores profiles. A pane is there once its record is, which is last.
type profileWriter struct {
	engine *Engine
	source string
	batch  *kv.Batch
	bytes  map[span]int64
}

func (e *Engine) newProfileWriter(source string) *profileWriter {
	return &profileWriter{engine: e, source: source, batch: e.kv.NewBatch(), bytes: map[span]int64{}}
}

func (w *profileWriter) close() error { return w.batch.Close() }

// profileOrigin is where a source has its rows or its maps from. It stays until the source
// is forgotten, for erasures: maps outlive the panes that they were made for.
type profileOrigin struct {
	Table     driftline.DriftSource `json:"table,omitzero"`
	Reference string                `json:"reference,omitempty"`
}

// begin stores what comes before any pane.
func (w *profileWriter) begin(from []profileOrigin, maps []profiledColumn) error {
	for _, origin := range from {
		raw, err := json.Marshal(origin)
		if err != nil {
			return err
		}
		w.batch.Set(append(profileKey(w.source, profileOrigins), raw...), nil)
	}
	for _, c := range maps {
		w.batch.Set(profileMapKey(w.source, c.name, c.m.Fingerprint()), c.m.AppendTo(nil))
		w.batch.Set(kv.AppendString(profileKey(w.source, profileMapNames), c.name), kv.AppendUint64(nil, c.m.Fingerprint()))
	}
	return nil
}

func (w *profileWriter) addColumn(pane span, name string, c *profile.Column) error {
	if _, begun := w.bytes[pane]; !begun {
		w.replace(pane)
	}
	head, body := c.AppendHead(nil), c.AppendBody(nil)
	w.batch.Set(kv.AppendString(pane.append(profileKey(w.source, profileHeads)), name), head)
	w.batch.Set(kv.AppendString(pane.append(profileKey(w.source, profileBodies)), name), body)
	w.bytes[pane] += int64(len(head) + len(body))
	if w.batch.Bytes() < profileBatchBytes {
		return nil
	}
	return w.commit()
}

// replace takes away what is kept of a pane.
func (w *profileWriter) replace(pane span) {
	w.batch.Delete(pane.append(profileKey(w.source, profilePanes)))
	w.batch.DeletePrefix(pane.append(profileKey(w.source, profileHeads)))
	w.batch.DeletePrefix(pane.append(profileKey(w.source, profileBodies)))
}

func (w *profileWriter) addPane(pane span, record keptPane) error {
	record.Bytes = w.bytes[pane]
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	w.batch.Set(pane.append(profileKey(w.source, profilePanes)), raw)
	return nil
}

func (w *profileWriter) commit() error {
	err := w.batch.Commit()
	err = errors.Join(err, w.batch.Close())
	w.batch = w.engine.kv.NewBatch()
	return err
}

// profilePanes yields the records of the panes that lie in a window, by time.
func (e *Engine) profilePanes(window driftline.ProfileWindow) ([]keptPane, error) {
	prefix := profileKey(window.Source, profilePanes)
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !window.Start.IsZero() {
		from = window.Start.UnixMicro()
	}
	if !window.End.IsZero() {
		to = window.End.UnixMicro()
	}
	var found []keptPane
	for pair, err := range e.kv.ScanFrom(kv.AppendInt64(slices.Clone(prefix), from), prefix) {
		if err != nil {
			return nil, err
		}
		record, err := decodeKeptPane(pair.Value)
		if err != nil {
			return nil, damagedProfile(window.Source, err)
		}
		pane := spanOf(record.Start, record.End)
		if pane == (span{}) && (from > math.MinInt64 || to < math.MaxInt64) {
			continue
		}
		if pane.start >= to {
			break
		}
		if pane.end <= to {
			found = append(found, record)
		}
	}
	return found, nil
}

// readHeads visits the heads of a pane's columns in order of their names.
func (e *Engine) readHeads(source string, pane span, visit func(column string, head []byte) error) error {
	prefix := pane.append(profileKey(source, profileHeads))
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		column, _, err := kv.TakeString(pair.Key[len(prefix):])
		if err != nil {
			return err
		}
		if err := visit(column, pair.Value); err != nil {
			return err
		}
	}
	return nil
}

// readColumn reads the profile of a column of a pane.
func (e *Engine) readColumn(source string, pane span, column string, m *profile.Map) (*profile.Column, error) {
	head, err := e.kv.Get(kv.AppendString(pane.append(profileKey(source, profileHeads)), column))
	if err != nil {
		return nil, err
	}
	body, err := e.kv.Get(kv.AppendString(pane.append(profileKey(source, profileBodies)), column))
	if err != nil {
		return nil, err
	}
	c, err := profile.Decode(m, head, body)
	if err != nil {
		return nil, damagedProfile(source, err)
	}
	return c, nil
}

// origins returns where a source has its rows and maps from.
func (e *Engine) origins(source string) (found []profileOrigin, err error) {
	prefix := profileKey(source, profileOrigins)
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		var origin profileOrigin
		if err := json.Unmarshal(pair.Key[len(prefix):], &origin); err != nil {
			return nil, damagedProfile(source, err)
		}
		found = append(found, origin)
	}
	return found, nil
}
