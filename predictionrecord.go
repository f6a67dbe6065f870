package driftline

import (
	"encoding/json"
	"math"
	"time"
)

// PredictionRecord is one request to a model and what became of it: a row of the model's
// prediction log. Whoever serves the model makes it, right after the answer has left.
type PredictionRecord struct {
	ID      string    `json:"id,omitempty"`     // of the prediction, unique in its log; made up if empty
	Time    time.Time `json:"time,omitzero"`    // when the request came; now if zero
	Model   ModelName `json:"model"`            //
	Version int       `json:"model_version"`    // that answered; 0 if nobody did
	Status  int       `json:"status,omitempty"` // as it was answered: of HTTP, 0 if that is not known

	// Arm, Route, Rollout, Key and Pinned are the decision by which the request was dealt, see
	// [Route]. A record without a route, or with a pin, is no evidence of any rollout.
	Arm     Arm    `json:"arm,omitempty"`
	Route   uint64 `json:"route,omitempty"`   // the sequence of the route
	Rollout string `json:"rollout,omitempty"` // its salt
	Key     string `json:"key,omitempty"`     // it was dealt by; "" if by its own ID
	Pinned  bool   `json:"pinned,omitempty"`

	// FellBack says that the arm failed, with Fault, and that the champion answered in its
	// place: Version and Output are then the champion's.
	FellBack bool     `json:"fell_back,omitempty"`
	Fault    Fault    `json:"fault,omitempty"`
	Latency  Duration `json:"latency,omitempty"` // of the arm's answer

	Entity   map[string]any `json:"entity,omitempty"`   // join keys by name
	Features map[string]any `json:"features,omitempty"` // as served, by name

	// Output is the answer as it left, if it is to be kept. Prediction is the class or number
	// in it, a text where classes have names, and Score the probability or what else ranks.
	Output     json.RawMessage `json:"output,omitempty"`
	Prediction any             `json:"prediction,omitempty"`
	Score      *float64        `json:"score,omitempty"`

	Values map[string]float64 `json:"values,omitempty"` // for guards of means, see [Guard]

	Mirror *MirrorAnswer `json:"mirror,omitempty"` // nil if nobody else got the request
}

// MirrorAnswer is what another arm made of a request whose answer it did not give.
type MirrorAnswer struct {
	Version    int                `json:"model_version"`
	Fault      Fault              `json:"fault,omitempty"`
	Latency    Duration           `json:"latency,omitempty"`
	Prediction any                `json:"prediction,omitempty"`
	Score      *float64           `json:"score,omitempty"`
	Values     map[string]float64 `json:"values,omitempty"`
	Differs    bool               `json:"differs,omitempty"` // its prediction was another one
}

// Dealt reports whether the request is evidence of a rollout: it was dealt by a route, and
// not by a pin.
func (r *PredictionRecord) Dealt() bool { return r.Route != 0 && r.Arm != "" && !r.Pinned }

// ScoreOf returns a score, NaN if there is none.
func ScoreOf(score *float64) float64 {
	if score == nil {
		return math.NaN()
	}
	return *score
}
