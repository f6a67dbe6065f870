package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// heldRows are rows of a view that were written to the offline store only, by their write
// sequences. No other row of the view has a sequence between first and last. A training
// set has them; an online read does not, until they are materialized.
//
// They are written down in the transaction of their write, so that it is known of every
// row whether it was meant to be online: what a write said, and not when it came or how
// old its rows are, decides what a materialization takes.
type heldRows struct {
	first, last uint64
	from, to    int64       // event times, microseconds: the least and the greatest
	online      []eventSpan // event times of which the rows are online by now: sorted, apart

	small bool // of a small write in this process, so that the next one may be joined to it
}

// eventSpan is event times in microseconds, both inclusive.
type eventSpan struct{ from, to int64 }

func (h *heldRows) rows() int64 { return int64(h.last - h.first + 1) }

// touches reports whether rows of the span may be among those that are held back.
func (h *heldRows) touches(span eventSpan) bool { return h.from <= span.to && span.from <= h.to }

// without returns the rows that are still held back when those of a span are online; nil
// if there are none.
func (h *heldRows) without(span eventSpan) *heldRows {
	left := *h
	left.online = joinSpans(append(slices.Clone(h.online), span))
	for _, s := range left.online {
		if s.from <= h.from && h.to <= s.to {
			return nil
		}
	}
	return &left
}

// joinSpans sorts spans and joins those that touch.
func joinSpans(spans []eventSpan) []eventSpan {
	slices.SortFunc(spans, func(a, b eventSpan) int { return cmp.Compare(a.from, b.from) })
	out := spans[:0]
	for _, s := range spans {
		n := len(out)
		if n > 0 && (out[n-1].to == math.MaxInt64 || s.from <= out[n-1].to+1) {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// holds reports whether a row is held back, given rows in the order of their sequences.
func holds(held []*heldRows, sequence uint64, event int64) bool {
	at, _ := slices.BinarySearchFunc(held, sequence, func(h *heldRows, s uint64) int { return cmp.Compare(h.last, s) })
	if at == len(held) || sequence < held[at].first {
		return false
	}
	return !slices.ContainsFunc(held[at].online, func(s eventSpan) bool { return s.from <= event && event <= s.to })
}

// storedHeld is how heldRows are written down; their key has the first sequence.
type storedHeld struct {
	Last   uint64     `json:"last"`
	From   int64      `json:"from"`
	To     int64      `json:"to"`
	Online [][2]int64 `json:"online,omitempty"`
}

// heldKey is 'b' ∥ view ∥ 0x00 ∥ first sequence (8 bytes, big endian).
func heldKey(view driftline.ViewName, first uint64) []byte {
	return binary.BigEndian.AppendUint64(heldPrefix(view), first)
}

func heldPrefix(view driftline.ViewName) []byte {
	return append(append([]byte{kv.HeldRows}, view...), 0)
}

func (h *heldRows) store(b *kv.Batch, view driftline.ViewName) error {
	stored := storedHeld{Last: h.last, From: h.from, To: h.to}
	for _, s := range h.online {
		stored.Online = append(stored.Online, [2]int64{s.from, s.to})
	}
	raw, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	b.Set(heldKey(view, h.first), raw)
	return nil
}

// storedHeldRows reads what is held back of a view, in the order of the sequences.
func (e *Engine) storedHeldRows(view driftline.ViewName) ([]*heldRows, error) {
	var held []*heldRows
	prefix := heldPrefix(view)
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		var stored storedHeld
		if len(pair.Key) != len(prefix)+8 || json.Unmarshal(pair.Value, &stored) != nil {
			return nil, driftline.Errorf(driftline.DataLoss, "view %q: the record of rows that are held back from serving is damaged", view).
				WithRef(driftline.ViewRef(view)).WithHint("restore the data folder from a backup")
		}
		h := &heldRows{first: binary.BigEndian.Uint64(pair.Key[len(prefix):]), last: stored.Last, from: stored.From, to: stored.To}
		for _, s := range stored.Online {
			h.online = append(h.online, eventSpan{s[0], s[1]})
		}
		held = append(held, h)
	}
	return held, nil
}

// eventsIn returns the least and the greatest of event times.
func eventsIn(times *array.Timestamp) eventSpan {
	span := eventSpan{math.MaxInt64, math.MinInt64}
	for _, t := range times.TimestampValues() {
		span.from, span.to = min(span.from, int64(t)), max(span.to, int64(t))
	}
	return span
}

func (s eventSpan) and(other eventSpan) eventSpan {
	return eventSpan{min(s.from, other.from), max(s.to, other.to)}
}

// where yields the rows, in the view's stored schema, of which keep says so, given their
// sequences and event times.
func (e *Engine) where(ctx context.Context, view *driftline.FeatureView, rows driftline.Batches, keep func(sequence uint64, event int64) bool) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			events := b.Column(len(view.JoinKeys)).(*array.Timestamp)
			sequences := b.Column(int(b.NumCols()) - 1).(*array.Int64)
			var kept []int64
			for i, s := range sequences.Int64Values() {
				if keep(uint64(s), int64(events.Value(i))) {
					kept = append(kept, int64(i))
				}
			}
			switch len(kept) {
			case 0:
				continue
			case sequences.Len():
				b.Retain()
			default:
				if b, err = takeRows(ctx, e.mem, b, kept); err != nil {
					yield(nil, err)
					return
				}
			}
			more := yield(b, nil)
			b.Release()
			if !more {
				return
			}
		}
	}}
}

// served yields those of a view's rows that are not held back.
func (e *Engine) served(ctx context.Context, view *driftline.FeatureView, rows driftline.Batches) driftline.Batches {
	held := e.heads.of(view.Name).held
	if len(held) == 0 {
		return rows
	}
	return e.where(ctx, view, rows, func(sequence uint64, event int64) bool { return !holds(held, sequence, event) })
}

// newestIn yields the last row of each run of an entity's rows, of rows that are sorted
// entity by entity, oldest first: its newest.
func (e *Engine) newestIn(ctx context.Context, view *driftline.FeatureView, rows driftline.Batches) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			newest, err := takeRows(ctx, e.mem, b, runEnds(b, len(view.JoinKeys)))
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(newest, nil)
			newest.Release()
			if !more {
				return
			}
		}
	}}
}

// MarshalJSON and UnmarshalJSON let an intent carry the rows.
func (h *heldRows) MarshalJSON() ([]byte, error) {
	return json.Marshal(heldIntent{h.first, storedHeld{Last: h.last, From: h.from, To: h.to}})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *heldRows) UnmarshalJSON(data []byte) error {
	var in heldIntent
	err := json.Unmarshal(data, &in)
	h.first, h.last, h.from, h.to = in.First, in.Last, in.From, in.To
	return err
}

type heldIntent struct {
	First uint64 `json:"first"`
	storedHeld
}
