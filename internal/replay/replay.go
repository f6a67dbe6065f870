// Package replay tells the time of a server that goes through the past: a clock that stands
// still until somebody moves it, so that months of events, schedules, windows and rollouts
// can be lived through in minutes, in the order in which they happened.
package replay

import (
	"sync"
	"time"

	"github.com/driftline/driftline"
)

// Clock is such a clock. It may be used by any number of goroutines.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	passed time.Duration
}

// At returns a clock that stands at a time.
func At(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time at which the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Uptime is how much time has passed, whatever the clock was set to.
func (c *Clock) Uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

// Advance lets time pass.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.passed = c.now.Add(d), c.passed+d
}

// AdvanceTo lets time pass until then. It is Invalid to go back: what has happened has.
func (c *Clock) AdvanceTo(then time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if then.Before(c.now) {
		return driftline.Errorf(driftline.Invalid, "the clock stands at %s, and %s is before", c.now.UTC().Format(time.RFC3339), then.UTC().Format(time.RFC3339)).
			WithHint("time only goes on; begin again in a fresh folder")
	}
	c.now, c.passed = then, c.passed+then.Sub(c.now)
	return nil
}

// Set moves the clock without letting time pass, as somebody does who sets a clock.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}
