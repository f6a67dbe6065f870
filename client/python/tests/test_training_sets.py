"""Spines that the server has, lags, labels, splits, statistics and rebuilds."""

import itertools
from datetime import timedelta

import driftline
import polars as pl
import pyarrow as pa
import pytest
from conftest import HOUR, NOON, make_world
from driftline import FeatureService, FeatureView, Field, Split
from driftline.types import Bool, Float64

TIME = pa.timestamp("us", tz="UTC")
_names = (f"training_set_{i}" for i in itertools.count(1))


def spine(*rows):
    keys, times = zip(*rows, strict=True)
    columns = {"station": pa.array(keys, pa.string()), "event_timestamp": pa.array(times, TIME)}
    return pa.table(columns)


def many(rows):
    """A spine of so many rows, an hour apart, over five stations and seven groups."""
    return pa.table(
        {
            "station": pa.array(["abcde"[i % 5] for i in range(rows)]),
            "event_timestamp": pa.array([NOON + i // 2 * HOUR for i in range(rows)], TIME),
            "group": pa.array([i % 7 for i in range(rows)]),
        }
    )


@pytest.fixture
def saved(filled):
    """A dataset of 100 rows, divided by time."""
    job = filled.store.get_historical_features(
        many(100),
        [filled.ref("temp")],
        save_as=next(_names),
        split=Split.by_time({"train": 0.8, "test": 0.2}),
    )
    return job.dataset


def test_a_spine_by_sql(filled):
    query = f"""
        SELECT station, event_timestamp + INTERVAL 90 MINUTE AS event_timestamp, temp > 10 AS warm
        FROM features.{filled.name} WHERE temp IS NOT NULL ORDER BY station, event_timestamp"""
    job = filled.store.get_historical_features(query, [filled.ref("count")])
    answer = job.to_arrow()
    assert answer.column_names == ["station", "event_timestamp", "warm", "count"]
    assert answer["warm"].to_pylist() == [False, True, True]
    assert answer["count"].to_pylist() == [2, 3, 4]


def test_a_spine_by_sql_says_what_is_wrong_with_it(filled):
    with pytest.raises(driftline.NotFoundError, match="SELECT"):
        filled.store.get_historical_features(
            "SELECT * FROM features.nothing_of_that_name", [filled.ref("temp")]
        ).to_arrow()
    with pytest.raises(driftline.InvalidError, match="event_timestamp"):
        filled.store.get_historical_features(
            f"SELECT station FROM features.{filled.name}", [filled.ref("temp")]
        ).to_arrow()


def test_only_what_came_since_a_dataset(filled):
    whole = {"features": [filled.ref("temp")], "start_date": NOON - 5 * HOUR}
    made = filled.store.get_historical_features(**whole, save_as=next(_names)).dataset
    for since in (made, made.ref):
        assert filled.store.get_historical_features(**whole, since=since).to_arrow().num_rows == 0
    late = {"station": ["b"], "event_timestamp": [NOON - HOUR], "temp": [7.0], "count": [0]}
    filled.store.ingest(filled.name, late)
    answer = filled.store.get_historical_features(**whole, since=made).to_arrow()
    assert answer["temp"].to_pylist() == [7.0]
    with pytest.raises(ValueError, match="since="):
        filled.store.get_historical_features(many(3), whole["features"], since=made)


def test_the_spine_of_an_earlier_dataset(filled, saved):
    for earlier in (saved, saved.ref):
        job = filled.store.get_historical_features(
            earlier, [filled.ref("count")], save_as=next(_names)
        )
        assert job.to_arrow().column_names == ["station", "event_timestamp", "group", "count"]
        assert job.to_arrow().num_rows == 100
        assert saved.ref in str(filled.store.lineage(job.dataset))


def test_a_time_range_needs_no_spine(filled):
    job = filled.store.get_historical_features(
        features=[filled.ref("temp")], start_date=NOON, end_date=(NOON + HOUR).isoformat()
    )
    rows = job.to_arrow().to_pylist()
    assert [(r["station"], r["event_timestamp"], r["temp"]) for r in rows] == [
        ("a", NOON, 10.0),
        ("a", NOON + HOUR, 11.0),
        ("b", NOON, 20.0),
    ]


def test_exactly_one_spine(filled):
    with pytest.raises(ValueError, match="no spine"):
        filled.store.get_historical_features(features=[filled.ref("temp")])
    with pytest.raises(ValueError, match="not both"):
        filled.store.get_historical_features(many(1), [filled.ref("temp")], start_date=NOON)


@pytest.mark.parametrize("kind", [lambda t: t.to_pandas(), pl.from_arrow, lambda t: t])
def test_a_spine_of_any_kind_of_table(filled, kind):
    job = filled.store.get_historical_features(kind(spine(("a", NOON))), [filled.ref("temp")])
    assert job.to_df()["temp"].tolist() == [10.0]


def test_a_feature_as_it_was_an_hour_earlier(filled):
    asked = spine(("a", NOON), ("a", NOON + HOUR), ("a", NOON + 2 * HOUR), ("a", NOON + 4 * HOUR))
    features = [
        filled.ref("count"),
        filled.ref("temp"),
        driftline.lag(filled.ref("count"), "1h"),
        driftline.lag(filled.view[["count"]], timedelta(hours=1, minutes=30), name="before"),
    ]
    answer = filled.store.get_historical_features(asked, features).to_arrow()
    lagged = f"{filled.name}_lag_1h__count"
    assert answer.column_names[2:] == ["count", "temp", lagged, "before__count"]
    assert answer["count"].to_pylist() == [1, 2, 3, 3]
    assert answer[lagged].to_pylist() == [None, 1, 2, 3]
    assert answer["before__count"].to_pylist() == [None, None, 1, 3]
    with pytest.raises(driftline.DriftlineError, match="lag"):
        filled.store.get_online_features(
            driftline.lag(filled.ref("count"), "1h"), [{"station": "a"}]
        )


def test_labels_look_ahead(filled):
    name = f"outcomes_of_{filled.name}"
    outcomes = FeatureView(
        name=name, entities=[filled.entity], schema=[Field("failed", Bool)], horizon="2h"
    )
    filled.store.apply(outcomes)
    times = [NOON, NOON + HOUR, NOON + 3 * HOUR]
    rows = {"station": ["a"] * 3, "event_timestamp": times, "failed": [False, True, False]}
    filled.store.ingest(name, rows)
    asked = spine(("a", NOON - 3 * HOUR), ("a", NOON - HOUR), ("a", NOON), ("a", NOON + 3 * HOUR))
    job = filled.store.get_historical_features(asked, [f"{name}:failed", filled.ref("count")])
    assert job.to_arrow()["failed"].to_pylist() == [None, False, True, None]
    with pytest.raises(driftline.DriftlineError, match=r"(?i)label"):
        filled.store.get_online_features([f"{name}:failed"], [{"station": "a"}])


def test_roles_services_and_global_views_together(store):
    world = make_world(store)
    name = f"prices_of_{world.name}"
    price = FeatureView(name=name, schema=[Field("oil", Float64)])
    legs = FeatureService(
        name=f"legs_of_{world.name}",
        features=[
            world.view[["temp"]].with_name("here"),
            world.view[["temp"]].with_name("there").with_join_key_map({"station": "to"}),
            price,
        ],
    )
    store.apply([price, legs])
    rows = {"station": ["a", "b"], "event_timestamp": [NOON] * 2, "temp": [1.0, 2.0]}
    store.ingest(world.name, rows | {"count": [1, 2]})
    store.ingest(name, {"event_timestamp": [NOON - HOUR], "oil": [90.0]})
    asked = spine(("a", NOON), ("b", NOON)).append_column("to", pa.array(["b", "a"]))
    answer = store.get_historical_features(asked, legs, full_feature_names=True).to_arrow()
    assert answer.drop_columns(asked.column_names).to_pylist() == [
        {"here__temp": 1.0, "there__temp": 2.0, f"{name}__oil": 90.0},
        {"here__temp": 2.0, "there__temp": 1.0, f"{name}__oil": 90.0},
    ]


def test_a_split_by_time(filled, saved):
    assert saved.split.rows == {"train": 80, "test": 20}
    train, test = saved.to_df("train"), saved.to_polars("test")
    assert (len(train), len(test)) == (80, 20)
    assert "__split" not in train.columns
    assert train["event_timestamp"].max() < test["event_timestamp"].min()
    whole = filled.store.read_dataset(saved.name)
    assert whole["__split"].to_pylist() == ["train"] * 80 + ["test"] * 20
    counted = filled.store.sql(
        f"SELECT __split, count(*) AS n FROM datasets.{saved.name} GROUP BY 1 ORDER BY 2"
    )
    assert counted["n"].to_pylist() == [20, 80]
    with pytest.raises(driftline.NotFoundError, match="train"):
        saved.to_arrow("trian")


def test_a_split_at_given_times_and_one_by_group(filled):
    def save(split):
        return filled.store.get_historical_features(
            many(100), [filled.ref("temp")], save_as=next(_names), split=split
        ).dataset

    halves = save(Split.by_time({"before": NOON + 10 * HOUR, "after": None}))
    assert halves.split.rows == {"before": 20, "after": 80}
    grouped = save(Split.by_group("group", {"train": 0.6, "test": 0.4}, seed=3))
    parts = [set(grouped.to_df(part)["group"]) for part in ("train", "test")]
    assert parts[0] | parts[1] == set(range(7))
    assert not parts[0] & parts[1]
    same = save(Split.by_group("group", {"train": 0.6, "test": 0.4}, seed=3))
    assert same.content_hash == grouped.content_hash
    with pytest.raises(driftline.InvalidError, match="add up to"):
        save(Split.random({"train": 0.6, "test": 0.6}))


def test_statistics_of_every_column(filled, saved):
    frame = saved.to_df()
    group, station = saved.statistics["group"], saved.statistics["station"]
    assert (group.min, group.max, group.nulls, group.rows) == (0, 6, 0, 100)
    assert group.mean == pytest.approx(frame["group"].mean())
    assert group.std_dev == pytest.approx(frame["group"].std())
    assert list(group.counts) == frame["group"].value_counts().sort_index().tolist()
    assert station.top == {letter: 20 for letter in "abcde"}
    assert station.distinct == 5
    assert saved.statistics["temp"].nulls == frame["temp"].isna().sum()
    again = filled.store.dataset(saved.name, saved.version)
    assert again == saved
    assert again.statistics == saved.statistics
    columns = filled.store.sql(
        f"SELECT \"column\", mean FROM meta.dataset_columns WHERE name = '{saved.name}'"
    )
    assert dict(zip(*columns.to_pydict().values(), strict=True))["group"] == group.mean


def test_a_dataset_describes_its_columns(saved):
    described = saved.describe()
    assert list(described.index) == saved.to_arrow().column_names
    assert described.loc["group", ["min", "max"]].tolist() == [0, 6]
    assert described.loc["event_timestamp", "min"] == NOON
    assert described.loc["station", "distinct"] == 5
    page = saved._repr_html_()
    assert "100 rows (80 train, 20 test)" in page
    assert "<td" in page


def test_a_dataset_is_made_again(filled, saved):
    late = {"station": ["a"], "event_timestamp": [NOON], "temp": [-1.0], "count": [0]}
    filled.store.ingest(filled.name, late)
    now = filled.store.get_historical_features(saved, [filled.ref("temp")])
    assert now.to_arrow()["temp"].to_pylist() != saved.to_arrow()["temp"].to_pylist()
    outcome = filled.store.dataset(saved.name).rebuild()
    assert outcome == driftline.Rebuild(saved.ref, 100, saved.content_hash, True)


def test_a_dataset_is_a_reference_for_drift(filled, saved):
    report = filled.store.drift(saved, saved.ref, columns=["group"])
    assert not report.has_drift


def test_known_at_and_strict_are_kept_with_the_dataset(store):
    world = make_world(store, created_timestamp_column="created")
    rows = {"station": ["a", "a"], "event_timestamp": [NOON - HOUR, NOON], "temp": [1.0, 2.0]}
    created = [NOON - HOUR, NOON + HOUR]
    store.ingest(world.name, rows | {"created": created, "count": [1, 2]})
    asked = spine(("a", NOON))

    def temps(**options):
        return store.get_historical_features(asked, [world.ref("temp")], **options)

    assert temps().to_arrow()["temp"].to_pylist() == [2.0]
    assert temps().report.not_yet_known == 1
    assert temps(known_at=True).to_arrow()["temp"].to_pylist() == [1.0]
    assert temps(strict=True).to_arrow()["temp"].to_pylist() == [1.0]
    kept = temps(known_at=True, strict=True, save_as=next(_names)).dataset
    assert kept.request["known_at"]
    assert kept.request["strict"]
    assert kept.rebuild().equal


def test_the_first_batch_comes_before_the_answer_is_complete(filled):
    job = filled.store.get_historical_features(many(200_000), [filled.ref("temp")])
    reader = job.to_reader()
    assert reader.read_next_batch().num_rows > 0
    with pytest.raises(driftline.FailedPreconditionError, match="not been read to its end"):
        _ = job.report
    assert sum(b.num_rows for b in reader) < 200_000
    assert job.report.rows == 200_000
