"""Rollouts: who answers, how a candidate begins, and what people do to it."""

from __future__ import annotations

import pytest
from driftline import ConflictError, FailedPreconditionError, FeatureStore, NotFoundError


def test_a_rollout_from_its_start_to_its_end(store: FeatureStore):
    for number in (1, 2):
        store.register_model("rolled", source=f"s3://models/rolled/{number}")
    with pytest.raises(FailedPreconditionError, match="no champion"):
        store.route("rolled", "user-42")
    store.set_alias("rolled", 1, "champion")
    decision = store.route("rolled", "user-42")
    assert (decision.version, decision.arm, decision.slot, decision.seq) == (1, "champion", 9158, 0)

    rollout = store.start_rollout("rolled", 2, {"stages": [{"weight": 10}]}, reason="AUC 0.81")
    assert (rollout.id, rollout.candidate, rollout.champion) == ("rolled-1", 2, 1)
    assert (rollout.phase, rollout.weight, rollout.reason) == ("pending", 0, "AUC 0.81")
    assert store.route("rolled", "user-42").rollout == "rolled-1"
    with pytest.raises(ConflictError, match="under way"):
        store.start_rollout("rolled", 2)
    with pytest.raises(ConflictError, match="decided on 99"):
        store.act_on_rollout("rolled-1", "pause", expect=99)

    paused = store.act_on_rollout("rolled-1", "pause", reason="we look at it first")
    assert paused.phase == "paused"
    assert not paused.ended
    assert store.roll_back("rolled", reason="not now") == 1
    ended = store.rollout("rolled-1")
    assert ended.ended
    assert (ended.phase, ended.cause) == ("rolled_back", "person")
    assert [c["to"] for c in store.rollout_history("rolled-1")] == [
        "pending",
        "paused",
        "rolled_back",
    ]
    assert store.rollouts("rolled") == [ended]
    with pytest.raises(NotFoundError):
        store.rollout("rolled-9")
