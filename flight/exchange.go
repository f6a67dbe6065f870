package flight

import (
	"context"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// historical answers a spine with a training set, and then its report.
func (s *service) historical(ctx context.Context, command historicalCommand, in *inbound, stream frameStream) error {
	spine, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	set, err := s.engine.Historical(ctx, command.HistoricalRequest, spine)
	if err != nil {
		return err
	}
	out := s.outbound(ctx, stream, set.Batches.Schema)
	err = out.sendAll(set.Batches)
	if err == nil {
		err = out.sendTrailer(set.Report())
	}
	return out.close(err)
}

// drift answers one stream of rows, the reference first, with a report.
func (s *service) drift(ctx context.Context, command driftCommand, in *inbound, stream frameStream) error {
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	if command.ReferenceRows < 0 {
		return driftline.Errorf(driftline.Invalid, "reference_rows is %d", command.ReferenceRows)
	}
	halves, stop := splitAfter(counted(ctx, rows), command.ReferenceRows)
	defer stop()
	report, err := s.engine.CompareRows(ctx, halves.first(), halves.rest(), command.DriftOptions)
	if err != nil {
		return err
	}
	report.Reference.Name, report.Current.Name = command.ReferenceName, command.CurrentName
	out := s.outbound(ctx, stream, arrow.NewSchema(nil, nil))
	return out.close(out.sendTrailer(report))
}

// profile answers rows with what is kept of them.
func (s *service) profile(ctx context.Context, command profileCommand, in *inbound, stream frameStream) error {
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	var answer any
	if command.Local {
		answer, err = profileLocally(ctx, command, counted(ctx, rows))
	} else {
		answer, err = s.engine.StoreProfile(ctx, command.ProfileRequest, counted(ctx, rows))
	}
	if err != nil {
		return err
	}
	out := s.outbound(ctx, stream, arrow.NewSchema(nil, nil))
	return out.close(out.sendTrailer(answer))
}

func profileLocally(ctx context.Context, command profileCommand, rows driftline.Batches) (*driftline.ProfileFile, error) {
	var like *engine.ProfileData
	if len(command.Like) > 0 {
		var err error
		if like, err = engine.DecodeProfile(command.Like); err != nil {
			return nil, err
		}
	}
	d, err := engine.ProfileRows(ctx, command.ProfileRequest, rows, like)
	if err != nil {
		return nil, err
	}
	return d.File()
}

// validate answers a stream of rows with what its checks found. The rows are kept until
// then, because a failed check is asked for examples.
func (s *service) validate(ctx context.Context, command validateCommand, in *inbound, stream frameStream) error {
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	kept, _, err := counted(ctx, rows).Collect()
	defer driftline.ReleaseAll(kept)
	if err != nil {
		return err
	}
	report, err := s.engine.ValidateRows(ctx, driftline.BatchesOf(rows.Schema, kept...), command.Checks)
	if err != nil {
		return err
	}
	report.Table = command.Name
	out := s.outbound(ctx, stream, arrow.NewSchema(nil, nil))
	return out.close(out.sendTrailer(report))
}

// halves are one stream as two. The second one waits for the end of the first, so
// that both may be read at the same time.
type halves struct {
	schema  *arrow.Schema
	ended   chan struct{} // closed once the first half is not read any more
	next    func() (arrow.RecordBatch, error, bool)
	missing int64             // rows of the first half not yet yielded
	cut     arrow.RecordBatch // the batch that lies across the border
	at      int64             // the first row of cut that is of the second half
}

// splitAfter splits a stream after some rows. The caller calls stop.
func splitAfter(rows driftline.Batches, n int64) (h *halves, stop func()) {
	next, stop := iter.Pull2(rows.All)
	return &halves{schema: rows.Schema, ended: make(chan struct{}), next: next, missing: n}, stop
}

func (h *halves) first() driftline.Batches {
	return driftline.Batches{Schema: h.schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		defer close(h.ended)
		for h.missing > 0 {
			batch, err, ok := h.next()
			if err == nil && !ok {
				err = driftline.Errorf(driftline.Invalid, "the stream ended %d rows before the end of the reference", h.missing).
					WithHint("reference_rows must be the number of reference rows that are sent")
			}
			if err != nil {
				yield(nil, err)
				return
			}
			rows := min(batch.NumRows(), h.missing)
			if rows < batch.NumRows() {
				h.cut, h.at = batch, rows
			}
			h.missing -= rows
			if !yieldSlice(batch, 0, rows, yield) {
				return
			}
		}
	}}
}

func (h *halves) rest() driftline.Batches {
	return driftline.Batches{Schema: h.schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		<-h.ended
		if h.missing > 0 {
			return // the first half has said why
		}
		if h.cut != nil && !yieldSlice(h.cut, h.at, h.cut.NumRows(), yield) {
			return
		}
		for batch, err, ok := h.next(); ok; batch, err, ok = h.next() {
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}}
}

func yieldSlice(batch arrow.RecordBatch, from, to int64, yield func(arrow.RecordBatch, error) bool) bool {
	slice := batch.NewSlice(from, to)
	defer slice.Release()
	return yield(slice, nil)
}
