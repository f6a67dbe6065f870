"""Snapshots of stored tables, from Python."""

from __future__ import annotations

from datetime import datetime, timezone

import driftline
import pyarrow as pa
import pytest


@pytest.fixture
def sensor(store):
    """A view with two bulk writes behind it."""
    place = driftline.Entity("shelf", join_keys=["shelf"])
    view = driftline.FeatureView(
        "shelves", entities=[place], schema=[driftline.Field("load", driftline.ValueType.DOUBLE)]
    )
    store.apply([place, view])
    for day in (1, 2):
        store.ingest(
            "shelves",
            pa.table(
                {
                    "shelf": [f"s{i}" for i in range(20_000)],
                    "event_timestamp": [datetime(2024, 1, day, tzinfo=timezone.utc)] * 20_000,
                    "load": [float(day)] * 20_000,
                }
            ),
        )
    return store.table("features.shelves")


def test_a_table_can_be_tagged_and_rolled_back(store, sensor):
    first, second = sensor.snapshots()[:2]
    assert (first.rows, second.rows) == (20_000, 40_000)
    sensor.tag(first.id, "clean")
    assert sensor.snapshots()[0].tags == ["clean"]
    assert sensor.diff(first.id, second.id)["rows_added"] == 20_000
    assert sensor.diff("clean", second.id)["rows_added"] == 20_000
    assert sensor.rollback("clean").rows == 20_000
    assert store.read_feature_view("shelves").num_rows == 20_000
    assert sensor.scrub()["verified"] > 0
    with pytest.raises(driftline.InvalidError, match="use letters"):
        sensor.tag(first.id, "x y/z")
    listed = next(t for t in store.tables() if t.table == "features.shelves")
    assert (listed.rows, listed.logged) == (20_000, 0)
    with pytest.raises(driftline.NotFoundError, match="clean"):
        sensor.rollback("clear")
    sensor.untag("clean")
    with pytest.raises(driftline.NotFoundError, match="no tags"):
        sensor.untag("clean")
    with pytest.raises(driftline.NotFoundError):
        sensor.rollback(1)
