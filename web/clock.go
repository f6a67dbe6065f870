package web

import (
	"net/http"

	"github.com/driftline/driftline"
)

func (s *Server) clock(*http.Request) (driftline.ClockReading, error) {
	return driftline.ClockReading{Now: s.engine.Now(), Replay: s.options.Replay != nil}, nil
}

func (s *Server) moveClock(r *http.Request) (driftline.ClockReading, error) {
	move, err := readJSON[driftline.ClockMove](r)
	switch {
	case err != nil:
		return driftline.ClockReading{}, err
	case s.options.Replay == nil:
		return driftline.ClockReading{}, driftline.Errorf(driftline.FailedPrecondition, "the server goes by the time of its machine").
			WithHint("to go through the past start one with a fresh folder: driftline serve --data FOLDER --replay 2013-04-01T00:00:00Z")
	case move.To.IsZero():
		return driftline.ClockReading{}, driftline.Errorf(driftline.Invalid, "to is missing").WithHint("say until when time is to pass")
	}
	if err := s.options.Replay.AdvanceTo(move.To); err != nil {
		return driftline.ClockReading{}, err
	}
	return s.clock(r)
}
