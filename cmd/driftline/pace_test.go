package main

import (
	"runtime/debug"
	"testing"
	"time"
)

func TestGarbageFollowsTheWork(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		allowed, live int64
		since         time.Duration
		want          int64
	}{
		{24 * mb, 10 * mb, 100 * time.Millisecond, 48 * mb},   // busy
		{200 * mb, 10 * mb, 100 * time.Millisecond, 256 * mb}, // up to the most
		{256 * mb, 10 * mb, 2 * time.Second, 256 * mb},        // right
		{256 * mb, 10 * mb, time.Minute, 128 * mb},            // idle
		{12 * mb, 10 * mb, time.Minute, 12 * mb},              // down to the least
		{24 * mb, 400 * mb, time.Minute, 100 * mb},            // a large heap has more
		{256 * mb, 900 * mb, 0, 512 * mb},                     // and may have as much as lives
	} {
		if got := nextGarbage(c.allowed, c.live, c.since); got != c.want {
			t.Errorf("after %d MiB in %s with %d MiB alive, %d MiB may gather, want %d", c.allowed/mb, c.since, c.live/mb, got/mb, c.want/mb)
		}
	}
	if got := percentFor(24*mb, 48*mb); got != 50 {
		t.Errorf("24 MiB of 48 are %d %%, want 50", got)
	}
	if got := percentFor(24*mb, 0); got != 600 {
		t.Errorf("24 MiB before the first collection are %d %%, want 600: Go takes the heap for 4 MiB", got)
	}
}

// Between its start and its end Go's percentage is the pace's, and after it the old one.
func TestThePaceGivesGoItsRuleBack(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	p := startGCPace()
	for range 3 {
		p.collected()
	}
	p.release()
	p.collected()
	p.stop()
	p.collected()
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("after the pace the percentage is %d, want 77", got)
	}
}
