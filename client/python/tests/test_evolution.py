"""A feature view changes, and its rows stay."""

from __future__ import annotations

import driftline
import pyarrow as pa
import pytest
from conftest import NOON, make_world
from driftline import Entity, FeatureService, FeatureView, Field
from driftline.types import Float32, Float64, Int64, String

boiler = Entity(name="boiler", join_keys=["boiler"], value_type=String)


def boilers(*features: Field) -> FeatureView:
    return FeatureView(name="boilers", entities=[boiler], schema=list(features))


def test_features_are_renamed_widened_dropped_and_added_again(store):
    temp, fuel = Field("temp", Float32), Field("fuel", String)
    store.apply([boiler, boilers(temp, fuel), FeatureService("heat", [boilers(temp)])])
    rows = {"boiler": ["b1"], "event_timestamp": [NOON]}
    features = {"temp": pa.array([1.5], pa.float32()), "fuel": ["gas"]}
    store.ingest("boilers", pa.table({**rows, **features}))

    heat = Field("heat", Float64, renamed_from="temp")
    with pytest.raises(driftline.FailedPreconditionError, match='"heat" has it as "temp"'):
        store.apply([boilers(heat, fuel)])
    with pytest.raises(driftline.FailedPreconditionError, match="boilers@2"):
        store.apply([boilers(temp, Field("fuel", Int64))])

    service = FeatureService("heat", [boilers(heat)])
    said = str(store.plan([boilers(heat), service]))
    for change in ("temp → heat", "- fuel string", "float32 → float64"):
        assert change in said
    store.apply([boilers(heat), service])
    store.apply([boilers(heat, fuel), service])

    wanted = ["boilers:heat", "boilers:fuel"]
    online = store.get_online_features(wanted, [{"boiler": "b1"}]).to_dict()
    assert (online["heat"], online["fuel"]) == ([1.5], [None])
    history = store.read_feature_view("boilers").to_pylist()
    assert [(row["heat"], row["fuel"]) for row in history] == [(1.5, None)]
    assert store.plan([boilers(heat, fuel), service]).is_empty


def test_versions_stand_side_by_side_and_are_switched(store: driftline.FeatureStore) -> None:
    world = make_world(store)
    second = FeatureView(
        name=f"{world.name}@2", entities=[world.entity], schema=[Field("temp", String)]
    )
    store.apply(second)
    rows = {"station": ["a"], "event_timestamp": [NOON]}
    store.ingest(world.name, {**rows, "temp": [1.5], "count": [1]})
    store.ingest(f"{world.name}@2", {**rows, "temp": ["mild"]})

    def temp(name: str) -> object:
        answer = store.get_online_features([f"{name}:temp"], [{"station": "a"}])
        return answer.to_dict()["temp"][0]

    assert (temp(world.name), temp(f"{world.name}@2")) == (1.5, "mild")
    assert store.switch_feature_view(world.name, 2) == 1
    assert (temp(world.name), temp(f"{world.name}@1")) == ("mild", 1.5)
    spine = {"station": ["a"], "event_timestamp": [NOON]}
    frame = store.get_historical_features(spine, [f"{world.name}:temp"]).to_df()
    assert list(frame["temp"]) == ["mild"]
    assert store.switch_feature_view(world.name, 1) == 2
    assert temp(world.name) == 1.5
