package merge

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// View is one use of a feature view: its columns, with the types that they have now, and
// the rules of the join.
type View struct {
	Keys     []columns.Column
	Event    columns.Column
	Created  columns.Column // without a name if the view has none
	Sequence columns.Column
	Features []columns.Column

	TTL     int64 // in microseconds; negative for none
	Horizon int64 // of labels, which are looked up ahead; negative for none
	Lag     int64
	Strict  bool
	KnownAt bool

	// CountUnknown asks for [Answer.Unknown].
	CountUnknown bool

	// EventTime asks for [Answer.EventTime].
	EventTime bool
}

// Rows are the rows of a view: files that are sorted, and batches in any order.
type Rows struct {
	Files []*columns.File
	Tail  driftline.Batches // zero if there are none
}

// source is one sorted part of the rows of a view.
type source struct {
	file *columns.File // nil for the tail
	tail *tail

	keys                     []int // leaves of the file; -1 where it lacks the column
	event, created, sequence int
	features                 []int
	copies                   []copying // how each feature gets from the file into the answer
	coder                    coder
}

// segment is a row group of a file, or the tail.
type segment[K key] struct {
	*source
	number int32 // of the source
	group  int
	rows   int

	bounded       bool // no key is outside of least to most
	least, most   K
	mostIsABegins bool // most is the beginning of keys: those that begin with it are inside
}

// table is the rows of a view, ready to be joined.
type table[K key] struct {
	view     *View
	segments []segment[K] // source by source, each in its order
	sources  int
	rows     int   // of the files
	bytes    int64 // of the files
	unmapped bool  // the files are read so, whatever is wanted
}

func (v *View) ahead() bool { return v.Horizon >= 0 }

// textKeys reports whether the keys of a view are texts.
func (v *View) textKeys() bool {
	return len(v.Keys) > 1 || len(v.Keys) == 1 && isText(v.Keys[0].Type)
}

// Understands reports whether the files have the columns of a view in types that can be
// merged. Files that somebody else wrote may have others, which a general reader of
// Parquet knows what to do with.
func Understands(v *View, files []*columns.File) bool {
	for _, f := range files {
		if _, ok := newSource(v, f); !ok {
			return false
		}
	}
	return true
}

func newTable[K key](v *View, rows Rows) (*table[K], error) {
	t := &table[K]{view: v}
	for _, f := range rows.Files {
		s, ok := newSource(v, f)
		if !ok {
			return nil, driftline.Errorf(driftline.Internal, "a file was to be merged whose columns are of other types")
		}
		for g := range f.Groups() {
			if f.Rows(g) > 0 {
				seg := segment[K]{source: s, number: int32(t.sources), group: g, rows: f.Rows(g)}
				seg.bound()
				t.segments = append(t.segments, seg)
				t.rows += seg.rows
			}
		}
		t.sources++
		t.bytes += f.Size()
	}
	if rows.Tail.Schema == nil {
		return t, nil
	}
	tail, err := newTail(v, rows.Tail)
	if err != nil || tail.rows == 0 {
		return t, err
	}
	t.segments = append(t.segments, segment[K]{source: &source{tail: tail}, number: int32(t.sources), rows: tail.rows})
	t.sources++
	return t, nil
}

// newSource finds the columns of a view in a file.
func newSource(v *View, f *columns.File) (*source, bool) {
	s := &source{file: f, created: -1}
	find := func(c columns.Column) int {
		if leaf, ok := f.Find(c); ok {
			return leaf
		}
		return -1
	}
	var stored, wanted []arrow.DataType
	for _, k := range v.Keys {
		leaf := find(k)
		if leaf < 0 {
			return nil, false
		}
		s.keys = append(s.keys, leaf)
		stored, wanted = append(stored, f.Leaves()[leaf].Type), append(wanted, k.Type)
	}
	var ok bool
	if s.coder, ok = newCoder(stored, wanted); !ok {
		return nil, false
	}
	is := func(leaf int, right func(arrow.DataType) bool) bool {
		return leaf >= 0 && f.Leaves()[leaf].Type != nil && right(f.Leaves()[leaf].Type)
	}
	isInt64 := func(dt arrow.DataType) bool { return dt.ID() == arrow.INT64 }
	s.event, s.sequence = find(v.Event), find(v.Sequence)
	if !is(s.event, isMicroseconds) || !is(s.sequence, isInt64) {
		return nil, false
	}
	if v.Created.Name != "" {
		if s.created = find(v.Created); s.created >= 0 && !is(s.created, isMicroseconds) {
			return nil, false
		}
	}
	for _, feature := range v.Features {
		leaf, how := find(feature), copyNothing
		if leaf >= 0 {
			if how, ok = copyingOf(f.Leaves()[leaf].Type, feature.Type); !ok {
				return nil, false
			}
		}
		s.features, s.copies = append(s.features, leaf), append(s.copies, how)
	}
	return s, true
}

// bound reads the bounds of the segment's keys from the statistics of the first key.
func (s *segment[K]) bound() {
	if len(s.keys) == 0 {
		return
	}
	least, most, ok := s.file.Bounds(s.group, s.keys[0])
	if !ok {
		return
	}
	code := func(raw []byte) (text []byte, number uint64, ok bool) {
		if s.coder.raw[0] == nil {
			return appendText(nil, raw, len(s.keys) == 1), 0, true
		}
		leaf := s.file.Leaves()[s.keys[0]]
		if width := leaf.Type.(arrow.FixedWidthDataType).BitWidth() / 8; len(raw) < max(width, 1) {
			return nil, 0, false
		}
		number, ok = s.coder.raw[0](raw)
		return bigEndian(number), number, ok
	}
	leastText, leastNumber, ok1 := code(least)
	mostText, mostNumber, ok2 := code(most)
	if !ok1 || !ok2 {
		return
	}
	switch k := any(s).(type) {
	case *segment[uint64]:
		k.least, k.most = leastNumber, mostNumber
	case *segment[string]:
		k.least, k.most, k.mostIsABegins = string(leastText), string(mostText), true
	}
	s.bounded = true
}

// mayHave reports whether the segment may have keys from least to most.
func (s *segment[K]) mayHave(least, most K) bool {
	if !s.bounded {
		return true
	}
	if s.mostIsABegins {
		if l, ok := any(&least).(*string); ok {
			end := any(&s.most).(*string)
			cut := *l
			if len(cut) > len(*end) {
				cut = cut[:len(*end)]
			}
			return most >= s.least && cut <= *end
		}
	}
	return most >= s.least && least <= s.most
}
