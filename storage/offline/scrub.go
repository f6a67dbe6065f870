package offline

import (
	"context"

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
	slow := NewPace(bytesPerSecond)
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
