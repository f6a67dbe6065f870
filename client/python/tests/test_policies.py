"""Policies on a real server."""

from __future__ import annotations

import driftline
import pytest
from driftline import Policy

WEEKLY = {"name": "weekly", "time": {"cron": "0 6 * * 1"}}


def test_a_policy_is_applied_changed_and_deleted(store: driftline.FeatureStore) -> None:
    with pytest.raises(driftline.errors.InvalidError, match='model "p1" does not exist'):
        store.apply(Policy(model="p1", triggers=[WEEKLY]))
    store.create_model("p1")
    store.apply(Policy(model="p1", triggers=[WEEKLY]))
    changed = Policy(
        model="p1",
        triggers=[WEEKLY],
        training={"command": ["true"], "timeout": "2h0m0s"},
        pacing={"cooldown": "3h0m0s"},
        tags={"team": "delays"},
    )
    assert store.apply(changed)[0].ref == "policy/p1@2"
    registered = store.policies()["p1"]
    assert (registered.version, registered.policy) == (2, changed)
    assert registered.state["runs"] == 0
    assert registered.next is not None
    assert [p.training for p in registered.versions()] == [None, changed.training]
    assert registered.delete(reason="no longer used") == []
    assert "p1" not in store.policies()


def test_a_wrong_policy_names_its_field(store: driftline.FeatureStore) -> None:
    store.create_model("p2")
    wrong = {"name": "fell", "performance": {"metric": "roc_auc", "fall": -1}}
    with pytest.raises(driftline.errors.InvalidError, match=r"triggers\[0\].performance.fall"):
        store.apply(Policy(model="p2", triggers=[wrong]))
    assert "p2" not in store.policies()
