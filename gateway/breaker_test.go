package gateway

import (
	"testing"
	"time"
)

func TestACircuitOpensAndIsProbed(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	fail := func() bool {
		if !b.allow(now) {
			t.Fatal("a request was kept back")
		}
		return b.settle(now, false)
	}
	for range tripAfter - 1 {
		if fail() {
			t.Fatal("it opened early")
		}
	}
	b.allow(now)
	b.settle(now, true)
	for range tripAfter - 1 {
		if fail() {
			t.Fatal("a success between failures was not counted")
		}
	}
	b.allow(now) // one that is still on its way when the circuit opens
	if !fail() || b.allow(now.Add(firstOpen-1)) {
		t.Fatal("it did not open, or lets requests through")
	}
	if b.settle(now, false); b.allow(now.Add(firstOpen - 1)) {
		t.Fatal("what went out before moved the circuit")
	}
	wait := firstOpen
	for range 8 {
		now = now.Add(wait)
		if !b.allow(now) || b.allow(now) {
			t.Fatal("after its time exactly one request may go out to see")
		}
		if b.settle(now, false) {
			t.Fatal("an open circuit opened again")
		}
		wait = min(mostOpen, 2*wait)
		if b.allow(now.Add(wait - 1)) {
			t.Fatalf("after a failed probe it is not open for %s", wait)
		}
	}
	now = now.Add(mostOpen)
	if !b.allow(now) || !b.settle(now, true) || b.isOpen() || !b.allow(now) || !b.allow(now) {
		t.Fatal("a probe that succeeded did not close it")
	}
}

func TestAProbeThatNeverWentOutIsGivenBack(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	for range tripAfter {
		b.allow(now)
		b.settle(now, false)
	}
	now = now.Add(firstOpen)
	if !b.allow(now) || b.allow(now) {
		t.Fatal("not one probe")
	}
	if b.forget(); !b.allow(now) {
		t.Fatal("the probe was lost, and with it the server for ever")
	}
}
