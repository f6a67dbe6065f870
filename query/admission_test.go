package query

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftline/driftline"
)

// askFor asks for memory in a goroutine, and hands over its release once it was let in.
func askFor(a *admission, ctx context.Context, bytes int64) <-chan func() {
	got := make(chan func(), 1)
	go func() {
		release, err := a.admit(ctx, bytes)
		if err != nil {
			close(got)
			return
		}
		got <- release
	}()
	return got
}

func TestAdmissionIsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(100, 10, time.Minute)
		first, err := a.admit(t.Context(), 80)
		if err != nil {
			t.Fatal(err)
		}
		big := askFor(a, t.Context(), 1000) // all there is
		synctest.Wait()
		small := askFor(a, t.Context(), 10) // would fit, but came later
		synctest.Wait()
		if len(big) != 0 || len(small) != 0 {
			t.Fatal("somebody was let in before the big request")
		}
		first()
		first() // a second time: nothing
		synctest.Wait()
		if len(big) != 1 || len(small) != 0 {
			t.Fatal("the big request was not let in alone")
		}
		(<-big)()
		(<-small)()
		if a.free != 100 {
			t.Errorf("%d of 100 are free", a.free)
		}
	})
}

func TestAdmissionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(100, 2, time.Minute)
		all, err := a.admit(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		one, two := askFor(a, t.Context(), 1), askFor(a, t.Context(), 1)
		synctest.Wait()
		if _, err := a.admit(t.Context(), 1); driftline.CodeOf(err) != driftline.Exhausted {
			t.Errorf("a third one that waits: %v", err)
		}
		if _, ok := <-one; ok {
			t.Error("a request was let in without memory")
		}
		<-two
		all()
		if a.free != 100 || a.queue.Len() != 0 {
			t.Errorf("%d of 100 are free, %d wait", a.free, a.queue.Len())
		}
	})
}

func TestAdmissionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(100, 2, time.Minute)
		all, _ := a.admit(t.Context(), 100)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		behind := askFor(a, t.Context(), 100)
		synctest.Wait()
		if _, err := a.admit(ctx, 100); driftline.CodeOf(err) != driftline.Deadline || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		all()
		(<-behind)()
		if a.free != 100 {
			t.Errorf("%d of 100 are free", a.free)
		}
	})
}

// TestAdmissionLosesNothing has many requests that come, wait, give up and leave.
func TestAdmissionLosesNothing(t *testing.T) {
	a := newAdmission(100, 8, time.Millisecond)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%7)*100*time.Microsecond)
			defer cancel()
			if release, err := a.admit(ctx, int64(i%60)); err == nil {
				release()
			}
		})
	}
	all.Wait()
	if a.free != 100 || a.queue.Len() != 0 {
		t.Errorf("%d of 100 are free, %d wait", a.free, a.queue.Len())
	}
}
