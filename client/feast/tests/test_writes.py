"""What the Feast client writes to Driftline, and materializes, is what is served."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from conftest import ONE_REQUEST
from feast import FeatureStore
from feast.data_source import PushMode
from feast.errors import FeatureViewNotFoundException

NOW = datetime.now(timezone.utc).replace(microsecond=0)
HOUR = timedelta(hours=1)


def stats(trips: list[int], ids: list[int], when: datetime = NOW, **more: list) -> pd.DataFrame:
    rows = {
        "driver_id": ids,
        "event_timestamp": [when] * len(ids),
        "created": [when] * len(ids),
        "conv_rate": [1.0] * len(ids),
        "acc_rate": [0.5] * len(ids),
        "trips": trips,
        "grade": [1] * len(ids),
        "active": [True] * len(ids),
        "city": ["Köln"] * len(ids),
        "seen": [None] * len(ids),
    }
    return pd.DataFrame({**rows, **more})


def trips(store: FeatureStore, *ids: int) -> list[int | None]:
    rows = [{"driver_id": i} for i in ids]
    return store.get_online_features(["driver_stats:trips"], rows).to_dict()["trips"]


def trained(server, view: str) -> int:
    """The number of rows that a training set can have."""
    answer = server.post("/api/v1/sql", {"query": f"SELECT count(*) AS n FROM features.{view}"})
    return answer.json()["rows"][0][0]


def test_write_to_online_store_is_served_and_in_no_training_set(
    server, store: FeatureStore
) -> None:
    store.write_to_online_store("driver_stats", df=stats([1, 2], [1001, 1002]))
    assert trips(store, 1001, 1002, 9) == [1, 2, None]
    answer = store.get_online_features(
        ["driver_stats:conv_rate", "driver_stats:city", "driver_stats:active"],
        [{"driver_id": 1001}],
    ).to_dict()
    assert answer["conv_rate"] == [1.0]
    assert answer["city"] == ["Köln"]
    assert answer["active"] == [True]
    assert trained(server, "driver_stats") == 0


def test_an_older_write_does_not_take_the_place_of_a_newer_one(store: FeatureStore) -> None:
    store.write_to_online_store("driver_stats", df=stats([1], [1001]))
    store.write_to_online_store("driver_stats", df=stats([2], [1001], NOW - HOUR))
    assert trips(store, 1001) == [1]
    store.write_to_online_store("driver_stats", df=stats([3], [1001], NOW + timedelta(seconds=1)))
    time.sleep(1.1)
    assert trips(store, 1001) == [3]


def test_times_are_written_where_the_client_can(store: FeatureStore) -> None:
    rows = stats([1], [1001], seen=[NOW])
    if not ONE_REQUEST:  # the older client cannot write its own times as JSON
        with pytest.raises(TypeError):
            store.write_to_online_store("driver_stats", df=rows)
        return
    store.write_to_online_store("driver_stats", df=rows)
    answer = store.get_online_features(["driver_stats:seen"], [{"driver_id": 1001}]).to_dict()
    assert answer["seen"] == [int(NOW.timestamp())]


def test_composite_keys_are_written(server, store: FeatureStore) -> None:
    rows = pd.DataFrame(
        {
            "origin": ["1", "12"],
            "destination": ["23", "3"],
            "event_timestamp": [NOW] * 2,
            "minutes": [100.0, 200.0],
        }
    )
    store.write_to_online_store("route_stats", df=rows)
    body = {
        "features": ["route_stats:minutes"],
        "entities": {"origin": ["1", "12", "1"], "destination": ["23", "3", "3"]},
    }
    answer = server.post("/get-online-features", body).json()
    assert answer["results"][2]["values"] == [100.0, 200.0, None]


def test_push_to_the_online_store(server, store: FeatureStore) -> None:
    store.push("driver_stats_push", stats([5], [1001]), to=PushMode.ONLINE)
    assert trips(store, 1001) == [5]
    assert trained(server, "driver_stats") == 0


def test_what_is_not_there_is_feasts_own_exception(server, store: FeatureStore) -> None:
    body = {"feature_view_name": "driver_stat", "df": {}}
    response = server.post("/write-to-online-store", body)
    assert response.status_code == 404
    raised = FeatureViewNotFoundException.from_error_detail(response.json())
    assert isinstance(raised, FeatureViewNotFoundException)


def offline(server, value: int, driver: int, when: datetime) -> None:
    rows = {
        "driver_id": [driver],
        "event_timestamp": [when.isoformat()],
        "created": [None],
        "conv_rate": [0.0],
        "acc_rate": [0.0],
        "trips": [value],
        "grade": [0],
        "active": [False],
        "city": [None],
        "seen": [None],
    }
    server.push("driver_stats", rows, to="offline")


@pytest.mark.skipif(not ONE_REQUEST, reason="the older client materializes by itself")
def test_materialize_and_materialize_incremental(server, store: FeatureStore) -> None:
    offline(server, 4, 3, NOW - 3 * HOUR)
    offline(server, 5, 3, NOW - HOUR)
    assert trips(store, 3) == [None]

    store.materialize(NOW - 4 * HOUR, NOW - 2 * HOUR, feature_views=["driver_stats"])
    assert trips(store, 3) == [4]
    store.materialize_incremental(NOW, feature_views=["driver_stats"])
    assert trips(store, 3) == [5]

    offline(server, 7, 2, NOW - 30 * HOUR)  # late: older than what was materialized
    store.materialize_incremental(NOW)
    assert trips(store, 2, 3) == [7, 5]

    jobs = server.get("/api/v1/materializations")["materializations"]
    assert [job["state"] for job in jobs] == ["done"] * 3
    assert [job["incremental"] for job in jobs] == [True, True, False]


@pytest.mark.skipif(not ONE_REQUEST, reason="the older client materializes by itself")
def test_materialize_in_the_background(server, store: FeatureStore) -> None:
    offline(server, 1, 1001, NOW - HOUR)
    store.materialize_incremental(NOW, run_async=True, force=True)
    deadline = time.monotonic() + 60
    while trips(store, 1001) != [1]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not ONE_REQUEST, reason="the older client materializes by itself")
def test_what_cannot_be_materialized(store: FeatureStore) -> None:
    with pytest.raises(RuntimeError, match=r"\(404\).*driver_stat"):
        store.materialize_incremental(NOW, feature_views=["driver_stat"])


@pytest.mark.skipif(ONE_REQUEST, reason="the newer client leaves it to the server")
def test_the_older_client_materializes_by_itself(server, store: FeatureStore, tmp_path) -> None:
    stats([4, 5], [3, 4], NOW - HOUR).astype({"seen": "datetime64[us, UTC]"}).to_parquet(
        tmp_path / "repo" / "driver_stats.parquet"
    )
    store.materialize(NOW - 2 * HOUR, NOW, feature_views=["driver_stats"])
    assert trips(store, 3, 4) == [4, 5]
    assert trained(server, "driver_stats") == 0
