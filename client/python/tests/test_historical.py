"""Training sets: one row in, one row out, and nothing from the future."""

import random
from datetime import timedelta

import driftline
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import HOUR, NOON, make_world

TIME = pa.timestamp("us", tz="UTC")


def spine(*rows, time="event_timestamp"):
    keys, times = zip(*rows, strict=True)
    return pa.table({"station": pa.array(keys, pa.string()), time: pa.array(times, TIME)})


def test_the_newest_row_at_or_before_the_time(filled):
    minute = timedelta(minutes=1)
    asked = spine(
        ("a", NOON - minute),
        ("a", NOON),
        ("a", NOON + 90 * minute),
        ("a", NOON + 150 * minute),
        ("b", NOON + 3 * HOUR),
        ("b", NOON + 3 * HOUR + timedelta(microseconds=1)),
        ("c", NOON),
        (None, NOON),
        ("a", None),
    )
    job = filled.store.get_historical_features(asked, [filled.ref("temp"), filled.ref("count")])
    assert job.to_arrow()["temp"].to_pylist() == [
        None, 10.0, 11.0, None, 20.0, None, None, None, None,
    ]  # fmt: skip
    assert job.to_arrow()["count"].to_pylist() == [None, 1, 2, 3, 4, None, None, None, None]


def test_rows_order_duplicates_and_other_columns_are_kept(filled):
    asked = spine(("b", NOON), ("a", NOON), ("b", NOON), ("b", NOON)).append_column(
        "label", pa.array([[1], [2, 3], None, []], pa.list_(pa.int8()))
    )
    answer = filled.store.get_historical_features(asked, [filled.ref("count")]).to_arrow()
    assert answer.column_names == ["station", "event_timestamp", "label", "count"]
    assert answer.select(asked.column_names).equals(asked)
    assert answer["count"].to_pylist() == [4, 1, 4, 4]


def test_against_a_loop(store):
    """Random rows over tiny domains, so that equal times are frequent, against the definition."""
    chance = random.Random(7)
    world = make_world(store, ttl=2 * HOUR, created_timestamp_column="created")
    written = [
        {
            "station": chance.choice("abc"),
            "event_timestamp": NOON + chance.randrange(6) * HOUR,
            "created": NOON + chance.randrange(8) * HOUR if chance.random() < 0.9 else None,
            "temp": chance.choice([1.0, 2.0, None]),
            "count": i,
        }
        for i in range(60)
    ]
    for start in range(0, 60, 20):
        store.ingest(world.name, written[start : start + 20])
    asked = [(chance.choice("abcd"), NOON + chance.randrange(9) * HOUR) for _ in range(120)]

    def expected(key, time, known_at, strict):
        visible = [
            row
            for row in written
            if row["station"] == key
            and (row["event_timestamp"] < time or (row["event_timestamp"] == time and not strict))
            and (not known_at or (row["created"] is not None and row["created"] <= time))
        ]
        if not visible:
            return None
        never = NOON - timedelta(days=999)
        best = max(visible, key=lambda r: (r["event_timestamp"], r["created"] or never, r["count"]))
        return best["count"] if best["event_timestamp"] >= time - 2 * HOUR else None

    for known_at in (False, True):
        for strict in (False, True):
            job = store.get_historical_features(
                spine(*asked), [world.ref("count")], known_at=known_at, strict=strict
            )
            want = [expected(key, time, known_at, strict) for key, time in asked]
            assert job.to_arrow()["count"].to_pylist() == want, (known_at, strict)


def test_the_report_counts_what_was_not_yet_known(store):
    world = make_world(store, created_timestamp_column="created")
    row = {"station": "a", "event_timestamp": NOON, "created": NOON + HOUR, "temp": 1.0, "count": 1}
    store.ingest(world.name, [row])
    asked = spine(("a", NOON), ("a", NOON + HOUR), ("b", NOON))
    report = store.get_historical_features(asked, [world.ref("temp")]).report
    assert report.rows == 3
    assert [(c.column, c.nulls, c.not_yet_known) for c in report.columns] == [("temp", 1, 1)]
    assert list(report.pins) == [world.name]
    assert "SELECT" in report.sql
    known = store.get_historical_features(asked, [world.ref("temp")], known_at=True)
    assert known.report.not_yet_known == 0
    assert known.to_arrow()["temp"].to_pylist() == [None, 1.0, None]


@pytest.mark.parametrize(
    "convert",
    [
        lambda t: t,
        lambda t: t.to_reader(),
        lambda t: t.to_pandas(),
        lambda t: pl.from_arrow(t),
        lambda t: t.to_pydict(),
        lambda t: t.to_pylist(),
    ],
)
def test_any_kind_of_table_in_and_out(filled, convert):
    asked = convert(spine(("a", NOON), ("b", NOON)))
    job = filled.store.get_historical_features(asked, [filled.ref("count")])
    frame = job.to_df()
    assert isinstance(frame, pd.DataFrame)
    assert frame["count"].tolist() == [1, 4]
    assert isinstance(job.to_polars(), pl.DataFrame)
    assert job.to_polars()["station"].to_list() == ["a", "b"]
    assert pa.table(job).num_rows == 2


def test_a_reader_streams_once(filled):
    many = spine(*[("a", NOON)] * 100_000)
    job = filled.store.get_historical_features(many, [filled.ref("count")])
    reader = job.to_reader()
    first = reader.read_next_batch()
    assert 0 < first.num_rows < 100_000
    with pytest.raises(driftline.FailedPreconditionError, match="end"):
        _ = job.report
    rest = sum(batch.num_rows for batch in reader)
    assert first.num_rows + rest == job.report.rows == 100_000
    with pytest.raises(driftline.FailedPreconditionError, match="streamed"):
        job.to_arrow()


def test_a_reader_can_be_given_up(filled):
    many = spine(*[("a", NOON)] * 300_000)
    reader = filled.store.get_historical_features(many, [filled.ref("count")]).to_reader()
    reader.read_next_batch()
    del reader
    again = filled.store.get_historical_features(spine(("a", NOON)), [filled.ref("count")])
    assert again.to_arrow()["count"].to_pylist() == [1]


def test_names(filled):
    store, view = filled.store, filled.view
    asked = spine(("a", NOON)).append_column("other", pa.array(["b"]))
    job = store.get_historical_features(asked, [filled.ref("temp")], full_feature_names=True)
    assert f"{view.name}__temp" in job.to_arrow().column_names

    roles = [
        view[["count"]].with_name("here"),
        view[["count"]].with_name("there").with_join_key_map({"station": "other"}),
    ]
    answer = store.get_historical_features(asked, roles).to_arrow()
    assert answer["here__count"].to_pylist() == [1]
    assert answer["there__count"].to_pylist() == [4]

    asked = asked.rename_columns(["station", "event_timestamp", "temp"])
    clash = store.get_historical_features(asked, [filled.ref("temp")])
    with pytest.raises(driftline.InvalidError, match="temp"):
        clash.to_arrow()


def test_another_name_for_the_time(filled):
    asked = spine(("a", NOON), time="departure")
    with pytest.raises(ValueError, match="departure"):
        filled.store.get_historical_features(asked, [filled.ref("count")])
    job = filled.store.get_historical_features(
        asked, [filled.ref("count")], event_timestamp="departure"
    )
    assert job.to_arrow()["count"].to_pylist() == [1]


def test_no_rows(filled):
    job = filled.store.get_historical_features(
        spine(("a", NOON)).slice(0, 0), [filled.ref("count")]
    )
    assert job.to_arrow().num_rows == 0
    assert job.to_arrow().column_names == ["station", "event_timestamp", "count"]
    assert job.report.rows == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"event_timestamp": [NOON]}, "station"),
        ({"station": pa.array([1]), "event_timestamp": [NOON]}, "station"),
        ({"station": ["a"], "event_timestamp": pa.array([True])}, "event_timestamp"),
    ],
)
def test_a_spine_that_does_not_fit(filled, asked, words):
    job = filled.store.get_historical_features(pa.table(asked), [filled.ref("count")])
    with pytest.raises(driftline.InvalidError, match=words):
        job.to_arrow()


def test_saved_datasets_never_change(filled):
    store, name = filled.store, f"set_of_{filled.name}"
    asked = spine(("a", NOON), ("b", NOON))
    first = store.get_historical_features(asked, [filled.ref("temp")], save_as=name)
    rows = first.to_arrow()
    assert (first.dataset.name, first.dataset.version) == (name, 1)
    assert first.dataset.ref == f"dataset/{name}@1"

    late = {"station": "a", "event_timestamp": NOON, "temp": 99.0, "count": 9}
    store.ingest(filled.name, [late])
    second = store.get_historical_features(asked, [filled.ref("temp")], save_as=name)
    assert second.to_arrow()["temp"].to_pylist() == [99.0, 20.0]
    assert second.dataset.version == 2
    assert second.dataset.content_hash != first.dataset.content_hash

    assert store.read_dataset(name, 1).select(rows.column_names).to_pylist() == rows.to_pylist()
    assert store.read_dataset(name)["temp"].to_pylist() == [99.0, 20.0]
    assert store.dataset(name).version == 2
    assert store.dataset(name, 1) == first.dataset
    assert name in [d.name for d in store.datasets()]


def test_the_same_rows_have_the_same_hash(filled):
    asked = spine(("a", NOON), ("b", NOON))
    hashes = {
        filled.store.get_historical_features(
            asked, [filled.ref("count")], save_as=f"{prefix}_{filled.name}"
        ).dataset.content_hash
        for prefix in ("one", "two")
    }
    assert len(hashes) == 1
