package offline

import (
	"context"
	"time"

	"github.com/driftline/driftline"
)

// Scrub reads the files that the snapshots of a table have and compares each with the
// hash that is its name, whether or not it was found good before. It reads at most so
// many bytes a second, without a limit if that is 0. A damaged file goes into quarantine,
// see [Store.Damaged], and the others go on being checked; one that was restored comes
// out of it. An error is one of the scrub itself: the metadata is damaged, or the
// context ended.
func (s *Store) Scrub(ctx context.Context, id TableID, bytesPerSecond int64) (checked int, damaged []File, err error) {
	has, err := untilSteady(func() (reach, error) {
		t, err := s.load(ctx, id)
		if err != nil {
			return reach{}, err
		}
		return s.reachOf(ctx, id, t.Metadata().Snapshots())
	})
	if err != nil {
		return 0, nil, err
	}
	var slow *pace
	if bytesPerSecond > 0 {
		slow = &pace{bytesPerSecond: bytesPerSecond}
	}
	for _, f := range has.files() {
		s.mu.Lock()
		delete(s.verified, s.pathOf(f))
		s.mu.Unlock()
		err := s.verify(ctx, f, slow)
		switch driftline.CodeOf(err) {
		case driftline.NotFound:
			continue // it expired meanwhile
		case driftline.DataLoss:
			damaged = append(damaged, f)
		default:
			if err != nil {
				return checked, damaged, err
			}
		}
		checked++
	}
	return checked, damaged, nil
}

// pace bounds how fast files are read. One goroutine uses it.
type pace struct {
	bytesPerSecond int64
	due            time.Time // when what was read so far is paid for
}

// wait waits until what was read before is paid for.
func (p *pace) wait(ctx context.Context) error {
	timer := time.NewTimer(time.Until(p.due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// took notes that n bytes were read. A pause is not made up for later.
func (p *pace) took(n int) {
	if now := time.Now(); p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.bytesPerSecond) * float64(time.Second)))
}
