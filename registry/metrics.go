package registry

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The two tables under the prefix of metric points (drawn in doc.go).
const (
	everyPoint = 'p'
	lastPoint  = 'l'
)

func pointsPrefix(table byte, run driftline.RunID) []byte {
	return kv.AppendString([]byte{kv.MetricPoints, table}, string(run))
}

func metricPrefix(table byte, run driftline.RunID, metric string) []byte {
	return kv.AppendString(pointsPrefix(table, run), metric)
}

// place is where a point stands in the history of its metric, and is the whole point: two
// points of one place are one.
type place struct {
	step  int64
	time  int64  // microseconds
	value uint64 // in the order of floats, -0 before +0 and NaN last
}

// placeBytes is the size of a place in a key.
const placeBytes = 24

const signBit = 1 << 63

func pointPlace(m *driftline.Metric, now time.Time) place {
	at := m.Time
	if at.IsZero() {
		at = now
	}
	return makePlace(m.Step, at.UnixMicro(), float64(m.Value))
}

// makePlace is the place of a point whose time is in microseconds.
func makePlace(step, at int64, value float64) place {
	if math.IsNaN(value) {
		value = math.NaN() // one of the many
	}
	bits := math.Float64bits(value)
	if bits&signBit != 0 {
		bits = ^bits
	} else {
		bits |= signBit
	}
	return place{step: step, time: at, value: bits}
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.step, o.step), cmp.Compare(p.time, o.time), cmp.Compare(p.value, o.value))
}

func (p place) number() driftline.Number {
	if p.value&signBit != 0 {
		return driftline.Number(math.Float64frombits(p.value &^ signBit))
	}
	return driftline.Number(math.Float64frombits(^p.value))
}

func (p place) metric(key string) driftline.Metric {
	return driftline.Metric{Key: key, Value: p.number(), Step: p.step, Time: time.UnixMicro(p.time).UTC()}
}

// append adds step ∥ time ∥ value, 24 bytes whose order is that of the points.
func (p place) append(key []byte) []byte {
	key = kv.AppendInt64(key, p.step)
	key = kv.AppendInt64(key, p.time)
	return kv.AppendUint64(key, p.value)
}

// takePlace reads the beginning of bytes that append wrote.
func takePlace[T string | []byte](metric T, stored []byte) (place, error) {
	if len(stored) < placeBytes {
		return place{}, driftline.Errorf(driftline.DataLoss, "a stored point of metric %q is too short", metric)
	}
	return place{
		step:  int64(binary.BigEndian.Uint64(stored) ^ signBit),
		time:  int64(binary.BigEndian.Uint64(stored[8:]) ^ signBit),
		value: binary.BigEndian.Uint64(stored[16:]),
	}, nil
}

// stagedPoints are points that a batch holds, with the greatest of each metric.
type stagedPoints struct {
	run    driftline.RunID
	last   []point       // by key
	models []ModelMetric // the points that are about logged models
	count  int           // of all points
}

// point is a point of a metric while it is staged.
type point struct {
	key uint32
	place
}

// mostInBlock bounds what a reader of a history holds besides what it hands out.
const mostInBlock = 4096

// stagePoints fills a batch with the points of metrics, before its transaction begins,
// and finds the greatest of each metric. Several points of one metric are one entry.
func (r *Registry) stagePoints(run driftline.RunID, metrics []driftline.Metric) (stagedPoints, *kv.Batch) {
	batch, points := r.db.NewBatch(), r.sortPoints(metrics)
	staged := stagedPoints{run: run, count: len(points)}
	for len(points) > 0 {
		n := 1
		for n < len(points) && points[n].key == points[0].key {
			n++
		}
		r.stageMetric(batch, run, points[:n])
		staged.last = append(staged.last, points[n-1])
		points = points[n:]
	}
	staged.models = r.stageModelMetrics(batch, run, metrics)
	return staged, batch
}

// sortPoints returns the points by key and place, each once.
func (r *Registry) sortPoints(metrics []driftline.Metric) []point {
	points, now := make([]point, len(metrics)), r.now()
	for i := range metrics {
		m := &metrics[i]
		if i > 0 && m.Key == metrics[i-1].Key {
			points[i] = point{points[i-1].key, pointPlace(m, now)}
			continue
		}
		points[i] = point{r.keys.number(m.Key), pointPlace(m, now)}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.key, b.key), a.place.compare(b.place))
	})
	return slices.Compact(points)
}

// stageMetric writes the sorted points of one metric, and the greatest.
func (r *Registry) stageMetric(batch *kv.Batch, run driftline.RunID, points []point) {
	metric := r.keys.all()[points[0].key]
	prefix := metricPrefix(everyPoint, run, metric)
	for block := range slices.Chunk(points, mostInBlock) {
		key := block[0].append(slices.Clip(prefix))
		if len(block) == 1 {
			batch.Set(key, nil)
			continue
		}
		value := appendBlock(nil, block)
		sum := sha256.Sum256(value)
		batch.Set(append(key, sum[:8]...), value) // another block that begins alike is another key
	}
	batch.Max(metricPrefix(lastPoint, run, metric), points[len(points)-1].append(nil))
}

// appendBlock writes all points: their number, the steps, the times, the values.
func appendBlock(to []byte, points []point) []byte {
	to = binary.AppendUvarint(to, uint64(len(points)))
	step, at := int64(0), int64(0)
	for _, p := range points {
		to = binary.AppendVarint(to, p.step-step)
		step = p.step
	}
	for _, p := range points {
		to = binary.AppendVarint(to, p.time-at)
		at = p.time
	}
	for _, p := range points {
		to = binary.BigEndian.AppendUint64(to, p.value)
	}
	return to
}

// readBlock reads what appendBlock wrote.
func readBlock(metric string, stored []byte) ([]place, error) {
	n, rest, ok := uint64(0), stored, true
	if n, rest, ok = uvarint(rest); !ok || n > mostInBlock {
		return nil, damagedBlock(metric)
	}
	points := make([]place, n)
	step, at := int64(0), int64(0)
	for i := range points {
		d, size := binary.Varint(rest)
		if size <= 0 {
			return nil, damagedBlock(metric)
		}
		step, rest = step+d, rest[size:]
		points[i].step = step
	}
	for i := range points {
		d, size := binary.Varint(rest)
		if size <= 0 {
			return nil, damagedBlock(metric)
		}
		at, rest = at+d, rest[size:]
		points[i].time = at
	}
	if len(rest) != 8*len(points) {
		return nil, damagedBlock(metric)
	}
	for i := range points {
		points[i].value = binary.BigEndian.Uint64(rest[8*i:])
	}
	return points, nil
}

func uvarint(from []byte) (uint64, []byte, bool) {
	n, size := binary.Uvarint(from)
	if size <= 0 {
		return 0, nil, false
	}
	return n, from[size:], true
}

func damagedBlock(metric string) error {
	return driftline.Errorf(driftline.DataLoss, "a stored block of points of metric %q is damaged", metric)
}

// Metrics yields the history of one metric of a run, by step, then time, then value.
func (r *Registry) Metrics(id driftline.RunID, metric string) iter.Seq2[driftline.Metric, error] {
	return func(yield func(driftline.Metric, error) bool) {
		if err := r.checkMetric(id, metric); err != nil {
			yield(driftline.Metric{}, err)
			return
		}
		for p, err := range r.places(id, metric) {
			if !yield(p.metric(metric), err) || err != nil {
				return
			}
		}
	}
}

// places yields the points of one metric of a run in order, each once.
func (r *Registry) places(id driftline.RunID, metric string) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		err := r.eachPlace(metricPrefix(everyPoint, id, metric), metricOf{id, metric}, func(metricOf) func(place, error) bool { return yield })
		if err != nil {
			yield(place{}, err)
		}
	}
}

// RunMetric is a point of a metric of a run.
type RunMetric struct {
	Run driftline.RunID
	driftline.Metric
}

// EachPoint yields the history of every metric of every run: by run, then metric, then as
// [Registry.Metrics] does. It holds no more than a few blocks of points at once.
func (r *Registry) EachPoint() iter.Seq2[RunMetric, error] {
	return func(yield func(RunMetric, error) bool) {
		err := r.eachPlace([]byte{kv.MetricPoints, everyPoint}, metricOf{}, func(of metricOf) func(place, error) bool {
			if !r.exists(of.run) {
				return nil // its line is not durable yet, or it was removed for good
			}
			return func(p place, err error) bool { return yield(RunMetric{of.run, p.metric(of.metric)}, err) }
		})
		if err != nil {
			yield(RunMetric{}, err)
		}
	}
}

// takeMetricPrefix reads what [metricPrefix] wrote for a key of every point. The prefix is a copy.
func takeMetricPrefix(key []byte) (of metricOf, prefix []byte, err error) {
	id, rest, err := kv.TakeString(key[2:])
	if err != nil {
		return metricOf{}, nil, err
	}
	metric, rest, err := kv.TakeString(rest)
	return metricOf{driftline.RunID(id), metric}, bytes.Clone(key[:len(key)-len(rest)]), err
}

func (r *Registry) exists(id driftline.RunID) bool {
	r.published.RLock()
	defer r.published.RUnlock()
	_, ok := r.durable.runs.find(id)
	return ok
}

// merger puts the points of one metric in order, each once. Entries begin in the order of
// their keys, but blocks may overlap: a point is handed out once no later entry can begin
// before it, and those that may not be handed out yet are waiting, in order.
type merger struct {
	yield   func(place, error) bool // nil: nobody wants them
	waiting []place
	last    place
	begun   bool
}

// entry takes the next entry of the metric, by the end of its key and its value, and
// reports whether more are wanted.
func (m *merger) entry(metric string, begin place, value []byte) (more bool, err error) {
	if !m.before(begin) {
		return false, nil
	}
	if len(value) == 0 {
		return m.hand(begin), nil // what waits is greater, and so is what follows
	}
	points, err := readBlock(metric, value)
	m.add(points)
	return err == nil, err
}

// add merges points in.
func (m *merger) add(points []place) {
	overlap := len(m.waiting) > 0 && len(points) > 0 && m.waiting[len(m.waiting)-1].compare(points[0]) > 0
	m.waiting = append(m.waiting, points...)
	if overlap {
		slices.SortFunc(m.waiting, place.compare)
	}
}

// before hands out the points up to begin, and reports whether more are wanted.
func (m *merger) before(begin place) bool {
	n := 0
	for n < len(m.waiting) && m.waiting[n].compare(begin) <= 0 {
		if !m.hand(m.waiting[n]) {
			return false
		}
		n++
	}
	if n > 0 {
		m.waiting = m.waiting[:copy(m.waiting, m.waiting[n:])]
	}
	return true
}

// rest hands out all that waits, and reports whether more are wanted.
func (m *merger) rest() bool {
	for _, p := range m.waiting {
		if !m.hand(p) {
			return false
		}
	}
	return true
}

func (m *merger) hand(p place) bool {
	if m.begun && m.last == p {
		return true
	}
	m.begun, m.last = true, p
	return m.yield(p, nil)
}

func (r *Registry) checkMetric(id driftline.RunID, metric string) error {
	r.published.RLock()
	defer r.published.RUnlock()
	run, err := r.durable.run(id)
	if err != nil {
		return err
	}
	metrics := r.lastOf(run)
	if number, ok := r.keys.find(metric); ok {
		if _, ok := metrics.get(number); ok {
			return nil
		}
	}
	texts := r.keys.all()
	var known []string
	for m := range metrics.all() {
		known = append(known, texts[m.key])
	}
	return named("run", id, unknown("metric", metric, known, "log a point of it first").WithRef(driftline.RunRef(id)))
}

// runMetrics are the greatest point of each metric of a run, by the metric's number. It is
// no fold of the ledger, but of the points: the order in which they come is no matter.
// One is never changed, only replaced. A few are packed: for each its key's number, the step,
// the time's difference from the one before, and the value. Many all have the same length,
// so that one is found without reading those before it.
//
//	fewPoints  ∥ (key, step, time: variable lengths; value: 8 bytes) …
//	manyPoints ∥ (key: 4 bytes; step ∥ time ∥ value: 24 bytes) …
type runMetrics string

const (
	fewPoints  = 'f'
	manyPoints = 'm'

	fewMetrics = 32 // at most that many are packed
	pointBytes = 4 + placeBytes
)

func makeRunMetrics(points []point) runMetrics {
	if len(points) > fewMetrics {
		packed := append(make([]byte, 0, 1+pointBytes*len(points)), manyPoints)
		for _, p := range points {
			packed = p.append(binary.BigEndian.AppendUint32(packed, p.key))
		}
		return runMetrics(packed)
	}
	packed, at := append(make([]byte, 0, 1+16*len(points)), fewPoints), int64(0)
	for _, p := range points {
		packed = binary.AppendUvarint(packed, uint64(p.key))
		packed = binary.AppendVarint(packed, p.step)
		packed = binary.AppendVarint(packed, p.time-at)
		packed = binary.BigEndian.AppendUint64(packed, p.value)
		at = p.time
	}
	return runMetrics(packed)
}

// all yields the points by key.
func (m runMetrics) all() iter.Seq[point] {
	return func(yield func(point) bool) {
		if m.areMany() {
			for i := range m.many() {
				if !yield(m.nth(i)) {
					return
				}
			}
			return
		}
		at := int64(0)
		for rest := m.few(); len(rest) > 0; {
			var p point
			p, rest = takePoint(rest, at)
			if at = p.time; !yield(p) {
				return
			}
		}
	}
}

func (m runMetrics) areMany() bool { return len(m) > 0 && m[0] == manyPoints }

// many is how many points there are, of many.
func (m runMetrics) many() int { return len(m) / pointBytes }

// nth is one of many points.
func (m runMetrics) nth(i int) point {
	at := m[1+i*pointBytes:]
	return point{uint32(bigEndian(at[:4])), place{step: int64(bigEndian(at[4:12]) ^ signBit), time: int64(bigEndian(at[12:20]) ^ signBit), value: bigEndian(at[20:28])}}
}

// few are the packed points of a few.
func (m runMetrics) few() pairs { return pairs(m[min(1, len(m)):]) }

// bigEndian reads a number from all bytes of a text.
func bigEndian[T ~string](text T) uint64 {
	n := uint64(0)
	for i := range len(text) {
		n = n<<8 | uint64(text[i])
	}
	return n
}

// takePoint reads the next packed point; at is the time of the one before.
func takePoint(from pairs, at int64) (point, pairs) {
	key, from := takeUvarint(from)
	step, from := takeUvarint(from)
	after, from := takeUvarint(from)
	return point{uint32(key), place{step: unzigzag(step), time: at + unzigzag(after), value: bigEndian(from[:8])}}, from[8:]
}

// unzigzag is the second half of binary.Varint.
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// get returns the point of a metric.
func (m runMetrics) get(key uint32) (place, bool) {
	if m.areMany() {
		i := sort.Search(m.many(), func(i int) bool { return m.nth(i).key >= key })
		if i == m.many() || m.nth(i).key != key {
			return place{}, false
		}
		return m.nth(i).place, true
	}
	at := int64(0)
	for rest := m.few(); len(rest) > 0; {
		var p point
		p, rest = takePoint(rest, at)
		if p.key >= key {
			return p.place, p.key == key
		}
		at = p.time
	}
	return place{}, false
}

// with returns m and others, which are sorted too: the greater point of each metric.
func (m runMetrics) with(others []point) runMetrics {
	if m == "" {
		return makeRunMetrics(others)
	}
	out := make([]point, 0, max(m.many(), fewMetrics)+len(others))
	for p := range m.all() {
		for len(others) > 0 && others[0].key < p.key {
			out, others = append(out, others[0]), others[1:]
		}
		if len(others) > 0 && others[0].key == p.key {
			if others[0].compare(p.place) > 0 {
				p = others[0]
			}
			others = others[1:]
		}
		out = append(out, p)
	}
	return makeRunMetrics(append(out, others...))
}

// lastOf returns the greatest points of a run. The caller holds published.
func (r *Registry) lastOf(run *run) runMetrics {
	return lastIn(r.metrics, run.number)
}

// lastIn is what a list has of a run: of the newest, which have no points yet, it need not have a place.
func lastIn(metrics *paged[runMetrics], number uint32) runMetrics {
	if int(number) >= metrics.len() {
		return runMetrics("")
	}
	return metrics.at(number)
}

// showPoints makes staged points visible. The caller holds published.
func (r *Registry) showPoints(staged stagedPoints) {
	r.logged.Add(int64(staged.count))
	if len(staged.last) == 0 {
		return
	}
	if number, ok := r.durable.runs.find(staged.run); ok {
		r.setLast(number, staged.last)
	}
	for _, m := range staged.models {
		r.showModelMetric(m)
	}
}

func (r *Registry) setLast(number uint32, points []point) {
	r.metrics.set(number, lastIn(r.metrics, number).with(points))
}

// loadPoints reads the table of greatest points, run by run.
func (r *Registry) loadPoints() error {
	var run []byte // the beginning of its keys
	var number uint32
	var known bool
	var last []point
	root := len(pointsPrefix(lastPoint, "")) - len(kv.AppendString(nil, ""))
	for pair, err := range r.db.ScanPrefix([]byte{kv.MetricPoints, lastPoint}) {
		if err == nil && (run == nil || !bytes.HasPrefix(pair.Key, run)) {
			r.setSorted(number, last)
			var id string
			var rest []byte
			if id, rest, err = kv.TakeString(pair.Key[root:]); err == nil {
				run, last = append(run[:0], pair.Key[:len(pair.Key)-len(rest)]...), last[:0]
				number, known = r.head.runs.find(driftline.RunID(id))
			}
		}
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		metric, _, err := kv.TakeBytes(pair.Key[len(run):])
		if err != nil {
			return err
		}
		at, err := takePlace(metric, pair.Value)
		if err != nil {
			return err
		}
		last = append(last, point{r.keys.numberOf(metric), at})
	}
	r.setSorted(number, last)
	return nil
}

func (r *Registry) setSorted(number uint32, last []point) {
	if len(last) == 0 {
		return
	}
	sortByKey(last)
	r.setLast(number, last)
}

func sortByKey(points []point) {
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.key, b.key) })
}

// lastPoints returns the last points of metrics, by key, and their values.
func (k *keyTable) lastPoints(metrics runMetrics) ([]driftline.Metric, map[string]driftline.Number) {
	if metrics == "" {
		return nil, nil
	}
	texts, points, values := k.all(), []driftline.Metric{}, map[string]driftline.Number{}
	for m := range metrics.all() {
		points = append(points, m.metric(texts[m.key]))
		values[texts[m.key]] = m.number()
	}
	slices.SortFunc(points, func(a, b driftline.Metric) int { return cmp.Compare(a.Key, b.Key) })
	return points, values
}
