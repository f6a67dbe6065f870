"""Policies on a real server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import driftline
import pytest
from conftest import NOON, make_world
from driftline import Policy
from server_process import running

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


TRAIN = """
import driftline.training

with driftline.training.job() as job:
    rows = job.dataset()
    print("training on", rows.num_rows, "rows with depth", job.parameters["depth"])
    if job.parameters["depth"] == "0":
        raise ValueError("a tree needs a depth")
    version = job.store.register_model(job.model, source="runs:/e-1/model", tags=job.tags)
    job.report(version, rows=rows.num_rows)
    job.report(version, rows=rows.num_rows)
"""


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[driftline.FeatureStore]:
    """A server that runs commands."""
    folder = tmp_path_factory.mktemp("school")
    with running(folder, "--allow-commands") as url, driftline.connect(url) as store:
        yield store


def test_a_job_trains_on_the_dataset_that_it_is_given(
    school: driftline.FeatureStore, tmp_path: Path
) -> None:
    world = make_world(school)
    spine = {"station": ["a", "b"], "event_timestamp": [NOON, NOON]}
    school.ingest(world.name, {**spine, "temp": [1.0, 2.0], "count": [1, 2]})
    school.get_historical_features(spine, features=[world.ref("temp")], save_as="rows").to_arrow()
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    school.create_model("taught")

    def train(depth: str) -> dict:
        job = {
            "command": [sys.executable, str(script)],
            "dataset": "rows",
            "parameters": {"depth": depth},
        }
        school.apply(Policy(model="taught", training=job))
        registered = school.policies()["taught"]
        asked = registered.train(key=f"depth {depth}", reason="test")
        assert registered.train(key=f"depth {depth}")["id"] == asked["id"]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            run = registered.runs()[0]
            if run["state"] not in ("queued", "running"):
                return run
            time.sleep(0.2)
        raise AssertionError(f"it did not end: {run}")

    run = train("6")
    assert run["state"] == "succeeded", run.get("reason")
    assert run["candidate"] == 1
    assert run["dataset"] == "dataset/rows@2"  # made again for it
    failed = train("0")
    assert failed["state"] == "failed"
    assert failed["reason"] == "ValueError: a tree needs a depth"


def test_the_time_line_of_a_model(store: driftline.FeatureStore) -> None:
    store.create_model("p9")
    version = store.register_model("p9", source="runs:/e-1/model")
    store.set_alias("p9", version, "champion", reason="the first")
    line = store.timeline("p9")
    assert [(e["kind"], e["state"], e["ref"]) for e in line] == [
        ("version", "registered", "model/p9@1"),
        ("alias", "moved", "model/p9@1"),
    ]
    assert line[1]["text"] == "champion: nowhere → @1: the first"
    assert store.timeline("p9", "1d", limit=1) == line[1:]
    later = driftline.times.parse_time(line[1]["time"]).replace(year=9999)
    assert store.timeline("p9", later) == []
    with pytest.raises(driftline.errors.InvalidError, match="since"):
        store.timeline("p9", "soon")


def test_events_are_followed_from_a_place(store: driftline.FeatureStore) -> None:
    store.create_model("p10")
    first = store.register_model("p10", source="runs:/e-1/model")
    store.set_alias("p10", first, "champion")
    known = list(store.events(model="p10", follow=False))
    assert [(e["kind"], e["state"]) for e in known] == [
        ("model.registered", "registered"),
        ("alias.moved", "moved"),
    ]
    following = store.events(model="p10", kinds=["alias"], after=known[0]["seq"])
    assert next(following) == known[1]
    second = store.register_model("p10", source="runs:/e-1/model")
    store.set_alias("p10", second, "champion")
    assert next(following)["text"] == "model p10: alias champion goes from version 1 to version 2"
    following.close()
    with pytest.raises(driftline.errors.NotFoundError, match="kind of event"):
        next(store.events(kinds=["miracle"]))
