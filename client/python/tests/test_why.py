"""From a prediction back to the rows of files, and sideways to lineage."""

from __future__ import annotations

import driftline
import pandas as pd
import pytest
from conftest import HOUR, NOON, World
from driftline import Entity, FeatureView, Field, PredictionLog
from driftline.errors import NotFoundError
from driftline.types import Float64, Int64, String


def predicted(world: World) -> tuple[str, driftline.Dataset]:
    """A model that was trained on the world, and what it said of station a."""
    store, name = world.store, world.name
    times = [NOON, NOON + HOUR, NOON + 2 * HOUR]
    rows = {
        "station": ["a", "b", "a"],
        "event_timestamp": times,
        "temp": [1.0, 2.0, 3.0],
        "count": 1,
    }
    store.ingest(name, pd.DataFrame(rows))
    spine = pd.DataFrame(
        {"station": ["a", "b", "a"], "event_timestamp": times, "late": [True, False, True]}
    )
    features = [world.ref("temp")]
    job = store.get_historical_features(spine, features, save_as=f"why_{name}")
    job.to_df()
    dataset = store.dataset(f"why_{name}")
    with driftline.init(f"why {name}", store=store) as run:
        run.use_dataset(dataset)
        run.log_artifact(b"weights", name="model.bin")
    store.register_model(f"why_{name}", run, "model.bin")
    prediction = Entity(name=f"prediction_{name}", join_keys=["prediction_id"], value_type=String)
    schema = [
        Field("model", String),
        Field("model_version", Int64),
        Field("station", String),
        Field("temp", Float64),
    ]
    log = FeatureView(
        name=f"log_{name}", entities=[prediction], predictions=PredictionLog(), schema=schema
    )
    store.apply([prediction, log])
    said = {
        "prediction_id": [f"{name}-1", f"{name}-2"],
        "event_timestamp": NOON + 3 * HOUR,
        "model": f"why_{name}",
        "model_version": 1,
        "station": "a",
        "temp": [3.0, 99.0],
    }
    store.push(log.name, pd.DataFrame(said))
    return log.name, dataset


def test_a_prediction_leads_to_the_rows_of_its_entity(world: World) -> None:
    log, dataset = predicted(world)
    why = world.store.why(f"{world.name}-1")
    assert (why.log, why.model) == (log, f"model/why_{world.name}@1")
    assert why.run.startswith("run/why-")
    assert [d["content_hash"] for d in why.datasets] == [dataset.content_hash]
    examples = why.datasets[0]["examples"]
    assert [e["values"]["temp"] for e in examples] == ["1", "3"]  # of station a, not of b
    assert all(e["file"] in {f["file"] for f in why.datasets[0]["files"]} for e in examples)


def test_a_value_that_was_never_true_differs(world: World) -> None:
    predicted(world)
    differs = [
        world.store.why(f"{world.name}-{n}").features.query("differs")["name"].tolist()
        for n in (1, 2)
    ]
    assert differs == [[], ["temp"]]


def test_a_prediction_has_a_lineage(world: World) -> None:
    log, dataset = predicted(world)
    up = world.store.lineage(f"prediction/{world.name}-1")
    assert {f"view/{log}", f"model/why_{world.name}@1", dataset.ref} <= set(up.refs())
    assert up.refs("file")


def test_an_unknown_prediction_says_where_it_was_looked_for(world: World) -> None:
    log, _ = predicted(world)
    with pytest.raises(NotFoundError, match=log):
        world.store.why("nobody", log=log)
