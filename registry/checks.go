package registry

import "github.com/driftline/driftline"

// AddCheck records the comparison of a view's two stores, without the values that differ:
// the ledger never forgets. It returns the line, and the check with its time.
func (tx *Tx) AddCheck(check driftline.ViewCheck) (driftline.ViewCheck, Line, error) {
	if _, ok := tx.r.head.onDemand[check.View]; !ok {
		if _, err := tx.r.head.view(check.View); err != nil {
			return check, Line{}, err
		}
	}
	check.Time = tx.time
	kept := check
	kept.Examples = nil
	line, err := tx.add(ViewChecked, driftline.ViewRef(check.View), nil, kept)
	return check, line, err
}

func foldCheck(_ *state, line *Line) ([]effect, error) {
	check, err := body[driftline.ViewCheck](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.ViewName]*driftline.ViewCheck { return s.checks }
	return []effect{put(table, check.View, check)}, nil
}

// Checked returns the last check of a view, and false if there was none.
func (r *Registry) Checked(view driftline.ViewName) (last driftline.ViewCheck, ok bool) {
	r.read(func(s *state) {
		if found := s.checks[view]; found != nil {
			last, ok = *found, true
		}
	})
	return last, ok
}
