package engine

import (
	"encoding/binary"
	"math"
	mathbits "math/bits"
	"slices"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/profile"
)

// profiledColumn is a column that is profiled, and how its values are counted.
type profiledColumn struct {
	name  string
	typ   driftline.Type
	kind  string
	index int // in the schema
	m     *profile.Map
}

// panes cut time into spans, in microseconds.
type panes struct {
	index      int   // of the column with the time; −1 if there are no panes
	length     int64 // 0: one pane
	start, end int64 // of the rows that are taken
}

const (
	allTime = math.MinInt64 // the start of the pane of a table that is not cut
	noPane  = math.MaxInt64 // of rows that are left out

	week        = 7 * 24 * time.Hour
	firstMonday = 4 * 24 * int64(time.Hour/time.Microsecond) // after 1970-01-01
)

// of returns the start of the pane of a time.
func (p panes) of(t int64) int64 {
	switch {
	case t < p.start || t >= p.end:
		return noPane
	case p.length == 0:
		return allTime
	}
	origin := int64(0)
	if p.length%week.Microseconds() == 0 {
		origin = firstMonday
	}
	into := (t - origin) % p.length
	if into < 0 {
		into += p.length
	}
	return t - into
}

// profiler profiles rows, pane by pane. It is for one goroutine; several that are to be
// merged have the same columns and panes.
type profiler struct {
	columns []profiledColumn
	panes   panes
	found   map[int64]*paneProfile // by start

	scratch  profile.Scratch
	numbers  []float64
	gathered []float64
	times    []int // by place in a dictionary
	starts   []int64
	segments []segment
}

// paneProfile is one pane on its way to be stored.
type paneProfile struct {
	rows    int64
	columns []*profile.Column
}

// segment are the rows of a batch that are of one pane; nil means all.
type segment struct {
	start int64
	count int
	rows  []int32
}

func newProfiler(columns []profiledColumn, panes panes) *profiler {
	return &profiler{columns: columns, panes: panes, found: map[int64]*paneProfile{}}
}

func (p *profiler) add(batch arrow.RecordBatch) {
	if batch.NumRows() == 0 {
		return
	}
	p.cut(batch)
	for _, s := range p.segments {
		p.pane(s.start).rows += int64(s.count)
	}
	for i, c := range p.columns {
		column := batch.Column(c.index)
		if c.kind == categorical {
			p.addCategories(i, column)
		} else {
			p.addNumbers(i, column)
		}
	}
}

func (p *profiler) pane(start int64) *paneProfile {
	pane, ok := p.found[start]
	if !ok {
		pane = &paneProfile{columns: make([]*profile.Column, len(p.columns))}
		for i, c := range p.columns {
			pane.columns[i] = profile.New(c.m)
		}
		p.found[start] = pane
	}
	return pane
}

// cut finds the segments of a batch.
func (p *profiler) cut(batch arrow.RecordBatch) {
	rows := int(batch.NumRows())
	p.segments = p.segments[:0]
	if p.panes.index < 0 {
		p.segments = append(p.segments, segment{start: allTime, count: rows})
		return
	}
	p.starts = p.startsOf(batch.Column(p.panes.index), p.starts[:0])
	same := !slices.ContainsFunc(p.starts, func(start int64) bool { return start != p.starts[0] })
	if same {
		if p.starts[0] != noPane {
			p.segments = append(p.segments, segment{start: p.starts[0], count: rows})
		}
		return
	}
	p.sortIntoSegments()
}

// startsOf appends the start of the pane of each row.
func (p *profiler) startsOf(times arrow.Array, starts []int64) []int64 {
	at, nulls := timesIn(times), times.NullN() > 0
	last, pane := int64(math.MinInt64), p.panes.of(math.MinInt64)
	for i := range times.Len() {
		if nulls && times.IsNull(i) {
			starts = append(starts, noPane)
			continue
		}
		if t := at(i); t != last {
			last, pane = t, p.panes.of(t)
		}
		starts = append(starts, pane)
	}
	return starts
}

// sortIntoSegments puts the rows of each pane together.
func (p *profiler) sortIntoSegments() {
	places := map[int64]int{}
	last, place := int64(noPane), -1
	rows := make([]int32, len(p.starts))
	of := make([]int32, len(p.starts))
	for i, start := range p.starts {
		if start != last {
			last = start
			known, ok := places[start]
			if place = known; !ok && start == noPane {
				place = -1
			} else if !ok {
				place = len(p.segments)
				places[start] = place
				p.segments = append(p.segments, segment{start: start})
			}
		}
		if of[i] = int32(place); place >= 0 {
			p.segments[place].count++
		}
	}
	at := 0
	for i := range p.segments {
		s := &p.segments[i]
		s.rows = rows[at : at : at+s.count]
		at += s.count
	}
	for i, place := range of {
		if place >= 0 {
			s := &p.segments[place]
			s.rows = append(s.rows, int32(i))
		}
	}
}

// timesIn returns what reads the times of a column.
func timesIn(times arrow.Array) func(i int) int64 {
	switch a := times.(type) {
	case *array.Timestamp:
		return timesOf(a.TimestampValues(), a.DataType().(*arrow.TimestampType).Unit.Multiplier())
	case *array.Date32:
		return timesOf(a.Date32Values(), 24*time.Hour)
	case *array.Date64:
		return timesOf(a.Date64Values(), time.Millisecond)
	}
	return func(int) int64 { return 0 } // a column of nulls
}

func timesOf[T ~int32 | ~int64](values []T, unit time.Duration) func(int) int64 {
	if unit < time.Microsecond {
		return func(i int) int64 {
			per := int64(time.Microsecond / unit)
			whole := int64(values[i]) / per
			if int64(values[i]) < whole*per {
				whole--
			}
			return whole
		}
	}
	per := unit.Microseconds()
	return func(i int) int64 { return int64(values[i]) * per }
}

func (p *profiler) addNumbers(i int, a arrow.Array) {
	if a.DataType().ID() == arrow.NULL {
		p.addAllNull(i)
		return
	}
	all := p.allNumbers(a)
	for _, s := range p.segments {
		column := p.pane(s.start).columns[i]
		switch {
		case s.rows == nil && a.NullN() == 0:
			column.AddNumbers(all, &p.scratch)
			continue
		case s.rows == nil:
			column.AddPresent(all, a.NullBitmapBytes(), a.Data().Offset(), &p.scratch)
			continue
		}
		p.gathered = appendPresent(p.gathered[:0], all, a, s.rows)
		column.AddNumbers(p.gathered, &p.scratch)
		column.AddNulls(s.count - len(p.gathered))
	}
}

func (p *profiler) addAllNull(i int) {
	for _, s := range p.segments {
		p.pane(s.start).columns[i].AddNulls(s.count)
	}
}

// appendPresent appends the numbers of some rows that are not null.
func appendPresent(to, all []float64, a arrow.Array, rows []int32) []float64 {
	bitmap, offset := a.NullBitmapBytes(), a.Data().Offset()
	if a.NullN() == 0 {
		bitmap = nil
	}
	for _, row := range rows {
		if bitmap == nil || bitutil.BitIsSet(bitmap, offset+int(row)) {
			to = append(to, all[row])
		}
	}
	return to
}

// allNumbers returns a number for each row, any where there is a null.
func (p *profiler) allNumbers(a arrow.Array) []float64 {
	p.numbers = slices.Grow(p.numbers[:0], a.Len())
	switch a := a.(type) {
	case *array.Float64:
		return a.Float64Values()
	case *array.Float32:
		p.numbers = appendScaled(p.numbers, a.Float32Values(), 1)
	case *array.Int32:
		p.numbers = appendScaled(p.numbers, a.Int32Values(), 1)
	case *array.Int64:
		p.numbers = appendScaled(p.numbers, a.Int64Values(), 1)
	case *array.Timestamp:
		p.numbers = appendScaled(p.numbers, a.TimestampValues(), 1e6*secondsPer(a.DataType().(*arrow.TimestampType).Unit))
	default:
		plain := withoutNulls(a)
		defer plain.Release()
		p.numbers = append(p.numbers, numbersOf(plain)...)
	}
	return p.numbers
}

func appendScaled[T integerOrFloat](to []float64, values []T, factor float64) []float64 {
	for _, v := range values {
		to = append(to, float64(v)*factor)
	}
	return to
}

// withoutNulls is the array with every row taken for present. The caller releases it.
func withoutNulls(a arrow.Array) arrow.Array {
	d := a.Data()
	buffers := slices.Clone(d.Buffers())
	buffers[0] = nil
	data := array.NewData(d.DataType(), d.Len(), buffers, d.Children(), 0, d.Offset())
	defer data.Release()
	return array.MakeFromData(data)
}

func (p *profiler) addCategories(i int, a arrow.Array) {
	for _, s := range p.segments {
		column := p.pane(s.start).columns[i]
		nulls := 0
		switch a := a.(type) {
		case *array.Dictionary:
			nulls = p.addDictionary(column, a, s)
		case *array.Boolean:
			nulls = addBooleans(column, a, s)
		default:
			nulls = addNames(column, a, s)
		}
		column.AddNulls(nulls)
	}
}

// each calls with each row of the segment.
func (s segment) each(with func(row int)) {
	if s.rows == nil {
		for row := range s.count {
			with(row)
		}
		return
	}
	for _, row := range s.rows {
		with(int(row))
	}
}

func addNames(column *profile.Column, a arrow.Array, s segment) (nulls int) {
	name := namer(a)
	if name == nil {
		return s.count
	}
	some := a.NullN() > 0
	if text, ok := a.(*array.Binary); ok {
		name = func(row int) string { // its memory stays for as long as the name is looked up
			value := text.Value(row)
			return unsafe.String(unsafe.SliceData(value), len(value))
		}
	}
	s.each(func(row int) {
		if some && a.IsNull(row) {
			nulls++
			return
		}
		column.AddCategory(name(row), 1)
	})
	return nulls
}

func addBooleans(column *profile.Column, a *array.Boolean, s segment) (nulls int) {
	present, set := 0, 0
	bits, valid, offset := a.Data().Buffers()[1].Bytes(), validityOf(a), a.Data().Offset()
	if s.rows == nil {
		present, set = s.count, bitutil.CountSetBits(bits, offset, s.count)
		if valid != nil {
			present, set = bitutil.CountSetBits(valid, offset, s.count), setInBoth(bits, valid, offset, s.count)
		}
	} else {
		for _, row := range s.rows {
			if valid == nil || bitutil.BitIsSet(valid, offset+int(row)) {
				present++
				set += int(bits[(offset+int(row))/8]) >> ((offset + int(row)) % 8) & 1
			}
		}
	}
	for i, n := range []int{present - set, set} {
		if n > 0 {
			column.AddCategory([]string{"false", "true"}[i], n)
		}
	}
	return s.count - present
}

// validityOf is the bitmap of what is not null, nil if nothing is null.
func validityOf(a arrow.Array) []byte {
	if a.NullN() == 0 {
		return nil
	}
	return a.NullBitmapBytes()
}

// setInBoth counts the bits that are set in two bitmaps.
func setInBoth(a, b []byte, offset, length int) (n int) {
	i := offset
	for ; i < offset+length && i%8 != 0; i++ {
		n += int(a[i/8]&b[i/8]) >> (i % 8) & 1
	}
	for ; i+64 <= offset+length; i += 64 {
		n += mathbits.OnesCount64(binary.LittleEndian.Uint64(a[i/8:]) & binary.LittleEndian.Uint64(b[i/8:]))
	}
	for ; i < offset+length; i++ {
		n += int(a[i/8]&b[i/8]) >> (i % 8) & 1
	}
	return n
}

// addDictionary counts the indices first, so that each name is looked up once.
func (p *profiler) addDictionary(column *profile.Column, a *array.Dictionary, s segment) (nulls int) {
	words := a.Dictionary()
	p.times = slices.Grow(p.times[:0], words.Len())[:words.Len()]
	clear(p.times)
	if indices, ok := a.Indices().(*array.Int32); ok && s.rows == nil {
		nulls = p.countPlaces(indices.Int32Values(), validityOf(a), a.Data().Offset())
	} else {
		s.each(func(row int) {
			if a.IsNull(row) {
				nulls++
				return
			}
			p.times[a.GetValueIndex(row)]++
		})
	}
	name := namer(words)
	for i, n := range p.times {
		switch {
		case n == 0:
		case name == nil || words.IsNull(i):
			nulls += n
		default:
			column.AddCategory(name(i), n)
		}
	}
	return nulls
}

// countPlaces counts the places in a dictionary that are not null. What stands for a null is
// any number, and is counted nowhere.
func (p *profiler) countPlaces(places []int32, valid []byte, offset int) (nulls int) {
	times := p.times
	if valid == nil {
		for _, place := range places {
			times[place]++
		}
		return 0
	}
	for i, place := range places {
		bit := offset + i
		if valid[bit>>3]>>(bit&7)&1 == 0 {
			nulls++
			continue
		}
		times[place]++
	}
	return nulls
}

// merge takes in what another profiler has found.
func (p *profiler) merge(other *profiler) error {
	for start, theirs := range other.found {
		ours, ok := p.found[start]
		if !ok {
			p.found[start] = theirs
			continue
		}
		ours.rows += theirs.rows
		for i, column := range theirs.columns {
			if err := ours.columns[i].Merge(column); err != nil {
				return err
			}
		}
	}
	return nil
}

// sampler looks at some rows, evenly spread, of which the maps of a source are made.
type sampler struct {
	profiler // for its ways of reading
	stride   int
	next     int // rows until the next one is looked at
	taken    int
	rows     int64
	least    int64 // of the times that are in a pane
	greatest int64
	numbers  [][]float64
	names    []categoryCounter
}

// mostSampled rows are kept, or up to twice as many.
const mostSampled = 1 << 16

func newSampler(columns []profiledColumn, panes panes) *sampler {
	panes.length = 0
	s := &sampler{profiler: *newProfiler(columns, panes), stride: 1, least: math.MaxInt64, greatest: math.MinInt64}
	s.numbers, s.names = make([][]float64, len(columns)), make([]categoryCounter, len(columns))
	for i := range columns {
		s.names[i].counts = map[string]*int64{}
	}
	return s
}

func (s *sampler) add(batch arrow.RecordBatch) {
	if batch.NumRows() == 0 {
		return
	}
	s.cut(batch)
	var rows []int32
	for _, segment := range s.segments {
		s.rows += int64(segment.count)
		segment.each(func(row int) {
			if s.next == 0 {
				rows = append(rows, int32(row))
				s.next = s.stride
			}
			s.next--
		})
	}
	s.observeTimes(batch)
	for i, c := range s.columns {
		s.take(i, c, batch.Column(c.index), rows)
	}
	if s.taken += len(rows); s.taken > 2*mostSampled {
		s.thin()
	}
}

// observeTimes remembers the range of the times that are taken.
func (s *sampler) observeTimes(batch arrow.RecordBatch) {
	if s.panes.index < 0 {
		return
	}
	at := timesIn(batch.Column(s.panes.index))
	for i, start := range s.starts {
		if start != noPane {
			s.least, s.greatest = min(s.least, at(i)), max(s.greatest, at(i))
		}
	}
}

func (s *sampler) take(i int, c profiledColumn, column arrow.Array, rows []int32) {
	switch {
	case column.DataType().ID() == arrow.NULL:
	case c.kind == numeric:
		s.numbers[i] = appendPresent(s.numbers[i], s.allNumbers(column), column, rows)
	default:
		counter, name := &s.names[i], namer(column)
		if dictionary, ok := column.(*array.Dictionary); ok {
			words := namer(dictionary.Dictionary())
			name = func(row int) string { return words(dictionary.GetValueIndex(row)) }
		}
		for _, row := range rows {
			if column.IsValid(int(row)) {
				counter.count(name(int(row)), 1)
			}
		}
	}
}

// thin leaves out every other number.
func (s *sampler) thin() {
	s.stride *= 2
	s.taken /= 2
	for i, values := range s.numbers {
		kept := values[:0]
		for at := 0; at < len(values); at += 2 {
			kept = append(kept, values[at])
		}
		s.numbers[i] = kept
	}
}

// maps gives the columns that have none their maps, several at once.
func (s *sampler) maps(atOnce int) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range s.columns {
		c := &s.columns[i]
		if c.m != nil {
			continue
		}
		group.Go(func() error {
			if c.kind == numeric {
				c.m = profile.NumberMap(s.numbers[i])
			} else {
				c.m = profile.CategoryMap(s.names[i].total())
			}
			return nil
		})
	}
	_ = group.Wait()
}
