"""The last rows of an entity, of a view that keeps them online."""

from datetime import timedelta

import driftline
import pytest
from conftest import HOUR, NOON, make_world
from driftline import FeatureView, History


def test_the_last_rows_come_newest_first(store):
    world = make_world(store, history=History(last=5))
    store.ingest(
        world.name,
        {
            "station": ["a", "a", "b", "a"],
            "event_timestamp": [NOON, NOON + 2 * HOUR, NOON, NOON + HOUR],
            "temp": [10.0, None, 20.0, 11.0],
            "count": [1, 3, 4, 2],
        },
    )
    rows = store.get_history(world.view, [{"station": "a"}, {"station": "nobody"}], last=2)
    assert rows.to_pylist() == [
        {"station": "a", "event_timestamp": NOON + 2 * HOUR, "temp": None, "count": 3},
        {"station": "a", "event_timestamp": NOON + HOUR, "temp": 11.0, "count": 2},
    ]
    earlier = store.get_history(world.name, [{"station": "a"}], features=["count"], at=NOON)
    assert earlier.to_pylist() == [{"station": "a", "event_timestamp": NOON, "count": 1}]


def test_a_view_that_keeps_none_says_how_to_keep_some(filled):
    with pytest.raises(driftline.FailedPreconditionError, match="give the view a history"):
        filled.store.get_history(filled.view, [{"station": "a"}])


def test_what_a_view_keeps_is_part_of_its_definition(store):
    world = make_world(store, history=History(last=20, max_age="7d"))
    assert store.get_feature_view(world.name).history == History(20, timedelta(days=7))
    with pytest.raises(TypeError, match="History"):
        FeatureView(name="x", schema=[], history=20)
    assert "history" in driftline.definitions.definitions_json([world.view])["feature_views"][0]
