package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/driftline/driftline"
)

func TestEventsAreFollowedFromAPlace(t *testing.T) {
	c, env := serve(t)
	reg := env.Engine.Registry()
	if _, err := reg.CreateModel(driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := reg.RegisterModel(driftline.ModelSpec{Model: "late", Source: "runs:/e-1/model"}); err != nil {
			t.Fatal(err)
		}
	}
	filter := driftline.EventFilter{Model: "late", Kinds: []string{"model", "alias"}}
	page, err := c.Events(t.Context(), 0, filter)
	if err != nil || len(page.Events) != 2 || page.Events[1].Ref != driftline.ModelRef("late", 2) {
		t.Fatalf("events are %+v, %v", page, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var states []string
	for event, err := range c.FollowEvents(ctx, &page.Events[0].Sequence, filter) {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch states = append(states, event.State); len(states) {
		case 1:
			if _, err := reg.MoveAlias("late", "champion", driftline.AliasMove{Version: 2}); err != nil {
				t.Fatal(err)
			}
		case 2:
			cancel()
		}
	}
	if len(states) != 2 || states[0] != "registered" || states[1] != "moved" {
		t.Errorf("what was followed is %v", states)
	}
	for _, err := range c.FollowEvents(t.Context(), nil, driftline.EventFilter{Kinds: []string{"miracle"}}) {
		if driftline.CodeOf(err) != driftline.NotFound {
			t.Errorf("a kind that there is not: %v", err)
		}
	}
}
