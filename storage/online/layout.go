package online

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/driftline/driftline"
)

// layout says where each feature is in a packed row. It never changes.
type layout struct {
	id     uint64
	text   []byte // the JSON that is stored
	fields []layoutField
	places map[string]int // of fields, by name
	texts  []int          // which fields are strings or bytes
	fixed  int            // bytes of nulls and slots

	onlineOnly bool // rows in it are in no file and in no log
}

type layoutField struct {
	Name string         `json:"name"` // the feature's identity, which it keeps when it is renamed
	Type driftline.Type `json:"type"`

	slot     int // offset of the slot, counted from the nulls
	previous int // slot of the text before this one, or -1: where this text begins
}

// slotBytes is the width of each type's slot; 0 is no type.
func slotBytes(t driftline.Type) int {
	switch t {
	case driftline.Bool:
		return 1
	case driftline.Int32, driftline.Float32, driftline.String, driftline.Bytes:
		return 4
	case driftline.Int64, driftline.Float64, driftline.Timestamp:
		return 8
	}
	return 0
}

func isText(t driftline.Type) bool { return t == driftline.String || t == driftline.Bytes }

// onlineOnlyText is what is stored of a layout whose rows are online only.
type onlineOnlyText struct {
	Fields []layoutField `json:"online_only"`
}

// layoutOf returns the layout in which features are written.
func layoutOf(features []driftline.Field, onlineOnly bool) (*layout, error) {
	fields := make([]layoutField, len(features))
	for i, f := range features {
		fields[i] = layoutField{Name: f.Identity(), Type: f.Type}
	}
	var stored any = fields
	if onlineOnly {
		stored = onlineOnlyText{fields}
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return nil, err
	}
	return newLayout(text, fields, onlineOnly)
}

// parseLayout reads what was stored under id.
func parseLayout(id uint64, text []byte) (*layout, error) {
	var only onlineOnlyText
	into, onlineOnly := any(&only.Fields), bytes.HasPrefix(text, []byte("{"))
	if onlineOnly {
		into = &only
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, err
	}
	l, err := newLayout(text, only.Fields, onlineOnly)
	if err != nil {
		return nil, err
	}
	if l.id != id {
		return nil, fmt.Errorf("layout has id %016x, want %016x", l.id, id)
	}
	return l, nil
}

func newLayout(text []byte, fields []layoutField, onlineOnly bool) (*layout, error) {
	hash := sha256.Sum256(text)
	l := &layout{
		id:     binary.BigEndian.Uint64(hash[:]),
		text:   text,
		fields: fields,
		places: make(map[string]int, len(fields)),
		fixed:  (len(fields) + 7) / 8,

		onlineOnly: onlineOnly,
	}
	previous := -1
	for i := range fields {
		f := &fields[i]
		width := slotBytes(f.Type)
		if width == 0 {
			return nil, fmt.Errorf("feature %q has the unknown type %q", f.Name, f.Type)
		}
		if _, twice := l.places[f.Name]; twice {
			return nil, fmt.Errorf("feature %q is there twice", f.Name)
		}
		l.places[f.Name] = i
		f.slot, f.previous = l.fixed, -1
		if isText(f.Type) {
			f.previous, previous = previous, l.fixed
			l.texts = append(l.texts, i)
		}
		l.fixed += width
	}
	return l, nil
}

// isOf reports whether l is the layout of features.
func (l *layout) isOf(features []driftline.Field) bool {
	if len(l.fields) != len(features) {
		return false
	}
	for i, f := range features {
		if l.fields[i].Name != f.Identity() || l.fields[i].Type != f.Type {
			return false
		}
	}
	return true
}
