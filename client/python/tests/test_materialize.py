"""Writes to one store, and what brings them to the other."""

from __future__ import annotations

from datetime import timedelta

import driftline
import pytest
from conftest import HOUR, NOON, World, make_world


@pytest.fixture
def world(store: driftline.FeatureStore) -> World:
    """A view without a TTL and nothing in it."""
    return make_world(store)


def rows(*temps: float) -> dict:
    return {
        "station": ["a"] * len(temps),
        "event_timestamp": [NOON + i * HOUR for i in range(len(temps))],
        "temp": list(temps),
        "count": [1] * len(temps),
    }


def served(world: World) -> float | None:
    answer = world.store.get_online_features([world.ref("temp")], [{"station": "a"}])
    return answer.to_dict()["temp"][0]


def trained(world: World) -> float | None:
    spine = {"station": ["a"], "event_timestamp": [NOON + timedelta(days=1)]}
    frame = world.store.get_historical_features(spine, [world.ref("temp")]).to_df()
    value = frame["temp"][0]
    return None if value != value else value


def test_offline_rows_are_served_once_materialized(world: World) -> None:
    store = world.store
    result = store.write_to_offline_store(world.name, rows(1.0, 2.0))
    assert (result.rows, result.to) == (2, "offline")
    assert (served(world), trained(world)) == (None, 2.0)

    job = store.materialize(NOON, NOON, [world.view])
    assert (job.state, job.rows, job.views, job.start) == ("done", 1, (world.name,), NOON)
    assert served(world) == 1.0
    store.materialize_incremental(NOON + HOUR, [world.name])
    assert served(world) == 2.0

    jobs = store.list_materializations()
    assert jobs[1] == job
    assert jobs[0].incremental
    assert store.cancel_materialization(job.id) == job  # it has ended
    with pytest.raises(driftline.NotFoundError):
        store.get_materialization("materialize-0")


def test_online_rows_are_in_no_training_set(world: World) -> None:
    result = world.store.write_to_online_store(world.name, rows(1.0))
    assert result.to == "online"
    assert (served(world), trained(world)) == (1.0, None)
    world.store.push(world.name, rows(1.0))  # the same, to both
    assert (served(world), trained(world)) == (1.0, 1.0)


def test_a_target_that_is_none(world: World) -> None:
    with pytest.raises(driftline.NotFoundError, match="did you mean"):
        world.store.ingest(world.name, rows(1.0), to="onlin")


def test_a_rebuild_makes_all_online_rows_anew(world: World) -> None:
    store = world.store
    store.ingest(world.name, rows(1.0, 2.0))
    store.ingest(world.name, rows(3.0, 4.0, 5.0), to="offline")
    job = store.rebuild_online([world.view])
    assert (job.state, job.rebuild, job.end, job.views) == ("done", True, None, (world.name,))
    assert (job.rows, job.total) == (5, 5)
    assert served(world) == 2.0
    with pytest.raises(driftline.InvalidError, match="no views"):
        store.rebuild_online([])
    assert store.get_materialization(job.id) == job
