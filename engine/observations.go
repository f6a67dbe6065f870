package engine

import (
	"fmt"
	"math"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
)

const (
	// mostObserved is how many observations of a rollout wait for its next tick. At
	// their size it is some 10 MB, and 65,000 requests a second.
	mostObserved = 1 << 16

	// mostValue is the greatest value that is counted, so that its square is a number.
	mostValue = 1e100
)

// observed gathers what requests came to between two ticks of a rollout.
type observed struct {
	mu    sync.Mutex
	all   []rollout.Observation
	lost  int64  // that found no room
	blind string // why somebody else lost some
}

func (b *observed) add(o rollout.Observation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) >= mostObserved {
		b.lost++
		return
	}
	b.all = append(b.all, o)
}

// take returns what was gathered, and what is not known of it, and begins anew.
func (b *observed) take() (all []rollout.Observation, blind string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if blind = b.blind; b.lost > 0 {
		blind = fmt.Sprintf("%d of %d requests came too fast to be counted", b.lost, b.lost+int64(len(b.all)))
	}
	all, b.all, b.lost, b.blind = b.all, nil, 0, ""
	return all, blind
}

// giveBack puts observations back that could not be counted yet.
func (b *observed) giveBack(all []rollout.Observation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := max(0, mostObserved-len(b.all))
	if len(all) > room {
		b.lost += int64(len(all) - room)
		all = all[:room]
	}
	b.all = append(all, b.all...)
}

// ObserveRollout tells a model's rollout, if there is one, what became of a request that its
// route dealt. It is to be called once for each, and waits neither for a disk nor for a
// decision. Requests that were pinned are no evidence, and are not to be told.
func (e *Engine) ObserveRollout(model driftline.ModelName, o rollout.Observation) {
	live := e.liveRollout(model)
	if live == nil {
		return
	}
	for name, v := range o.Answer.Values {
		if math.Abs(v) > mostValue {
			o.Answer.Values = without(o.Answer.Values, name)
		}
	}
	live.observed.add(o)
}

// without leaves the map that the caller has alone.
func without(values map[string]float64, name string) map[string]float64 {
	rest := make(map[string]float64, len(values))
	for k, v := range values {
		if k != name {
			rest[k] = v
		}
	}
	return rest
}

// BlindRollout tells a model's rollout that requests were made of which nobody will tell it:
// a log that dropped rows, a store that cannot be written. It concludes nothing at its next tick.
func (e *Engine) BlindRollout(model driftline.ModelName, why string) {
	if live := e.liveRollout(model); live != nil {
		live.observed.mu.Lock()
		defer live.observed.mu.Unlock()
		live.observed.blind = why
	}
}
