"""Small writes over one call, and writes whose source fails."""

from datetime import timedelta

import driftline
import pyarrow as pa
import pytest
from conftest import HOUR, NOON


def reading(station="a", hours=3, temp=1.5, count=1):
    at = NOON + hours * HOUR
    return [{"station": station, "event_timestamp": at, "temp": temp, "count": count}]


def count(world):
    return world.store.sql(f"SELECT count(*) AS n FROM features.{world.name}")["n"].to_pylist()[0]


def test_pushes_are_writes(world):
    with world.store.pusher(world.view) as pusher:
        first = pusher.push(reading())
        assert (first.view, first.rows, first.duplicate) == (world.name, 1, False)
        assert pusher.push(pa.table({k: [v] for k, v in reading(hours=4)[0].items()})).rows == 1
    assert count(world) == 2
    with pytest.raises(ValueError, match="closed"):
        pusher.push(reading())
    pusher.close()


def test_pushes_overlap_and_keep_their_order(world):
    with world.store.pusher(world.name) as pusher:
        futures = [pusher.submit(reading(temp=float(i))) for i in range(200)]
    sequences = [f.result().sequence for f in futures]
    assert sequences == sorted(sequences)
    answer = world.store.get_online_features(
        [world.ref("temp")], [{"station": "a"}], at=NOON + timedelta(hours=4)
    )
    assert answer.to_dict()["temp"] == [199.0]


def test_a_push_that_fails_is_one_push(world):
    with world.store.pusher(world.name) as pusher:
        pusher.push(reading(), "key")
        assert pusher.push(reading(), "key").duplicate
        with pytest.raises(driftline.ConflictError) as caught:
            pusher.push(reading(temp=9.0), "key")
        assert "new key" in caught.value.hint
        with pytest.raises(driftline.InvalidError, match="station"):
            pusher.push(reading(station=None))
        with pytest.raises(driftline.InvalidError, match="want"):
            pusher.push([{"station": "a"}])
        pusher.push(reading(hours=4))
    assert count(world) == 2


def test_unknown_views(store):
    with pytest.raises(driftline.NotFoundError):
        store.pusher("nothing_of_that_name")


def test_a_source_that_fails_writes_nothing(world):
    schema = world.store._schema_of(world.name)

    def batches():
        yield pa.RecordBatch.from_pylist(reading(), schema=schema)
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        world.store.ingest(world.name, pa.RecordBatchReader.from_batches(schema, batches()))
    assert count(world) == 0


def test_online_without_metadata(filled):
    answer = filled.store.get_online_features(
        [filled.ref("temp")], [{"station": "b"}, {"station": "z"}], at=NOON + HOUR, metadata=False
    )
    assert answer.to_dict() == {"station": ["b", "z"], "temp": [20.0, None]}
    assert answer.statuses == {}
    assert answer.event_timestamps == {}
