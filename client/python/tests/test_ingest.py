"""Writing: any kind of table, once, or not at all."""

from datetime import timedelta

import driftline
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import HOUR, NOON


def rows(n=3):
    return pa.table(
        {
            "station": [f"s{i}" for i in range(n)],
            "event_timestamp": pa.array([NOON] * n, pa.timestamp("us", tz="UTC")),
            "temp": [float(i) for i in range(n)],
            "count": pa.array(range(n), pa.int64()),
        }
    )


def history(world):
    columns = ["station", "event_timestamp", "temp", "count"]
    table = world.store.read_feature_view(world.name).select(columns)
    return table.sort_by([("station", "ascending"), ("event_timestamp", "ascending")])


@pytest.mark.parametrize(
    "convert",
    [
        lambda t: t,
        lambda t: t.to_batches()[0],
        lambda t: t.to_reader(),
        lambda t: t.to_pandas(),
        lambda t: pl.from_arrow(t),
        lambda t: t.to_pydict(),
        lambda t: t.to_pylist(),
        lambda t: t.select(["count", "temp", "event_timestamp", "station"]),  # any order
        lambda t: t.set_column(3, "count", t["count"].cast(pa.int32())),
        lambda t: t.set_column(0, "station", t["station"].dictionary_encode()),
        lambda t: t.set_column(0, "station", t["station"].cast(pa.large_string())),
        lambda t: t.set_column(1, "event_timestamp", t[1].cast(pa.timestamp("us"))),  # naive
        lambda t: t.set_column(1, "event_timestamp", t[1].cast(pa.timestamp("ns", "Europe/Rome"))),
    ],
)
def test_any_kind_of_table(world, convert):
    result = world.store.ingest(world.view, convert(rows()))
    assert (result.view, result.rows, result.duplicate) == (world.name, 3, False)
    assert history(world).to_pylist() == rows().to_pylist()


def test_the_same_key_writes_once(world):
    first = world.store.ingest(world.name, rows(), idempotency_key="k")
    again = world.store.ingest(world.name, rows(), idempotency_key="k")
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.sequence == first.sequence
    assert history(world).num_rows == 3
    with pytest.raises(driftline.ConflictError):
        world.store.ingest(world.name, rows(2), idempotency_key="k")
    assert history(world).num_rows == 3


def test_a_long_stream(world):
    def batches():
        for hour in range(20):
            time = pa.array([NOON + hour * HOUR] * 10_000, pa.timestamp("us", tz="UTC"))
            count = pa.array(range(10_000), pa.int64())
            keys = [f"s{i}" for i in range(10_000)]
            yield pa.record_batch(
                [keys, time, pa.nulls(10_000, pa.float64()), count], schema=rows().schema
            )

    reader = pa.RecordBatchReader.from_batches(rows().schema, batches())
    assert world.store.ingest(world.name, reader).rows == 200_000
    counted = world.store.sql(f"SELECT count(*) AS n FROM features.{world.name}")
    assert counted["n"].to_pylist() == [200_000]


def test_a_stream_that_fails_leaves_nothing(world):
    def batches():
        yield rows().to_batches()[0]
        raise RuntimeError("the source is gone")

    reader = pa.RecordBatchReader.from_batches(rows().schema, batches())
    with pytest.raises(Exception, match="the source is gone"):
        world.store.ingest(world.name, reader)
    assert history(world).num_rows == 0


def test_hard_values_survive(world):
    exact = pa.table(
        {
            "station": ["", "ключ 🔑", "a'b\"c\\", "z"],
            "event_timestamp": pa.array([NOON] * 4, pa.timestamp("us", tz="UTC")),
            "temp": [float("inf"), float("-inf"), -0.0, None],
            "count": pa.array([2**63 - 1, -(2**63), 0, None], pa.int64()),
        }
    )
    world.store.ingest(world.name, exact)
    assert history(world).to_pylist() == sorted(exact.to_pylist(), key=lambda r: r["station"])


def test_empty_tables_are_fine(world):
    assert world.store.ingest(world.name, rows(0)).rows == 0


@pytest.mark.parametrize(
    ("spoil", "kind", "word"),
    [
        (lambda t: t.drop(["temp"]), driftline.InvalidError, "temp"),
        (lambda t: t.append_column("extra", t["temp"]), driftline.InvalidError, "extra"),
        (lambda t: t.set_column(2, "temp", t["station"]), driftline.InvalidError, "temp"),
        (lambda t: t.set_column(2, "temp", pa.array([0.5, 1, 2])).rename_columns(
            ["station", "event_timestamp", "count", "temp"]), driftline.InvalidError, "count"),
        (lambda t: t.set_column(0, "station", pa.array(["a", None, "c"])),
         driftline.InvalidError, "station"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused_whole(world, spoil, kind, word):
    with pytest.raises(kind, match=word):
        world.store.ingest(world.name, spoil(rows()))
    assert history(world).num_rows == 0


def test_unknown_view(store, world):
    with pytest.raises(driftline.NotFoundError) as caught:
        store.ingest(world.name + "x", rows())
    assert world.name in caught.value.hint
    with pytest.raises(TypeError, match="view"):
        store.ingest(None, rows())


def test_feast_names(world):
    frame = pd.DataFrame(rows().to_pydict())
    assert world.store.push(world.name, frame).rows == 3
    assert world.store.write_to_offline_store(world.name, frame).rows == 3


def test_an_older_row_does_not_replace_a_newer_one_online(world):
    newer = rows().set_column(1, "event_timestamp", [[NOON + HOUR] * 3])
    world.store.ingest(world.name, newer.set_column(2, "temp", [[7.0, 7.0, 7.0]]))
    world.store.ingest(world.name, rows())
    online = world.store.get_online_features(
        [world.ref("temp")], [{"station": "s1"}], at=NOON + timedelta(hours=2)
    )
    assert online.to_dict()["temp"] == [7.0]


def test_what_is_erased_is_gone_everywhere(filled):
    store = filled.store
    done = store.erase(filled.entity, {"station": "a"}, reason="a test")
    assert [(t["table"], t["rows"]) for t in done["tables"]] == [(f"features.{filled.name}", 3)]
    assert done["online"] == 1
    assert done["reason"] == "a test"
    left = store.sql(f"SELECT station FROM features.{filled.name}").column("station")
    assert left.to_pylist() == ["b"]
    answer = store.get_online_features(
        features=[filled.ref("temp")], entity_rows=[{"station": "a"}]
    )
    assert answer.to_dict()["temp"] == [None]
    with pytest.raises(driftline.InvalidError, match="no join key"):
        store.erase(filled.entity, {"station": "a", "town": "b"})
