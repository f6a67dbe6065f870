"""Online reads: equal to the offline join, with a reason for each null."""

from datetime import timedelta

import driftline
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import requests
from conftest import HOUR, NOON

TWO = NOON + 2 * HOUR


def test_values_and_statuses(filled):
    answer = filled.store.get_online_features(
        [filled.ref("temp"), filled.ref("count")],
        [{"station": "a"}, {"station": "b"}, {"station": "nobody"}],
        at=TWO,
    )
    assert answer.to_dict() == {
        "station": ["a", "b", "nobody"],
        "temp": [None, 20.0, None],
        "count": [3, 4, None],
    }
    assert answer.statuses == {
        "temp": ["NULL_VALUE", "PRESENT", "NOT_FOUND"],
        "count": ["PRESENT", "PRESENT", "NOT_FOUND"],
    }
    assert answer.event_timestamps["count"][:2] == [TWO, NOON]


def test_a_value_older_than_the_ttl_is_null(filled):
    asked = [{"station": "b"}]
    edge = NOON + timedelta(hours=3)
    at_the_edge = filled.store.get_online_features([filled.ref("count")], asked, at=edge)
    after = filled.store.get_online_features(
        [filled.ref("count")], asked, at=edge + timedelta(microseconds=1)
    )
    assert (at_the_edge.to_dict()["count"], at_the_edge.statuses["count"]) == ([4], ["PRESENT"])
    assert (after.to_dict()["count"], after.statuses["count"]) == ([None], ["OUTSIDE_MAX_AGE"])
    forgotten = NOON + timedelta(hours=3 + 24)
    for at, status in [
        (forgotten, "OUTSIDE_MAX_AGE"),
        (forgotten + timedelta(microseconds=1), "NOT_FOUND"),
        (None, "NOT_FOUND"),
    ]:
        much_later = filled.store.get_online_features([filled.ref("count")], asked, at=at)
        assert much_later.to_dict()["count"] == [None]
        assert much_later.statuses["count"] == [status]


def test_features_computed_on_demand(filled):
    view = driftline.OnDemandFeatureView(
        name=f"on_demand_{filled.name}",
        sources=[
            filled.view,
            driftline.RequestSource(schema=[driftline.Field(name="people", dtype="int64")]),
        ],
        expressions={"share": "count / people", "root": "sqrt(people)"},
    )
    filled.store.apply(view)
    asked = [{"station": "b", "people": 8}, {"station": "nobody", "people": -1}]
    answer = filled.store.get_online_features(view, asked, at=TWO)
    assert answer.to_dict()["share"] == [0.5, None]
    assert answer.statuses["root"] == ["PRESENT", "INVALID"]
    spine = pd.DataFrame([{**row, "event_timestamp": TWO} for row in asked])
    job = filled.store.get_historical_features(spine, view)
    trained = job.to_arrow()
    assert trained["share"].to_pylist() == answer.to_dict()["share"]
    assert trained["root"].to_pylist() == answer.to_dict()["root"]
    with pytest.raises(driftline.InvalidError, match='request data "people" is missing'):
        filled.store.get_online_features(view, [{"station": "b"}])


@pytest.mark.parametrize("minutes", [-1, 0, 59, 90, 120, 121, 200, 300, 301, 1000])
def test_online_equals_offline(filled, minutes):
    at = NOON + timedelta(minutes=minutes)
    keys = ["a", "b", "nobody", None]
    features = [filled.ref("temp"), filled.ref("count")]
    spine = pa.table(
        {
            "station": pa.array(keys, pa.string()),
            "event_timestamp": pa.array([at] * 4, pa.timestamp("us", tz="UTC")),
        }
    )
    offline = filled.store.get_historical_features(spine, features).to_arrow()
    online = filled.store.get_online_features(features, spine.select(["station"]), at=at)
    assert online.to_arrow().equals(offline.drop_columns(["event_timestamp"]))

    response = requests.post(
        f"{filled.store.url}/get-online-features",
        json={"features": features, "entities": {"station": keys}, "at": at.isoformat()},
        timeout=30,
    )
    body = response.json()
    assert response.status_code == 200, body
    by_http = dict(
        zip(
            body["metadata"]["feature_names"],
            [r["values"] for r in body["results"]],
            strict=True,
        )
    )
    assert by_http == online.to_dict()


@pytest.mark.parametrize(
    "rows",
    [
        [{"station": "b"}],
        {"station": ["b"]},
        pd.DataFrame({"station": ["b"]}),
        pl.DataFrame({"station": ["b"]}),
        pa.table({"station": ["b"]}),
    ],
)
def test_any_kind_of_table_in_and_out(filled, rows):
    answer = filled.store.get_online_features(filled.ref("count"), rows, at=TWO)
    assert answer.to_df()["count"].tolist() == [4]
    assert answer.to_polars()["count"].to_list() == [4]


def test_full_names_and_roles(filled):
    view = filled.view
    answer = filled.store.get_online_features(
        [filled.ref("count")], [{"station": "b"}], full_feature_names=True, at=TWO
    )
    assert f"{view.name}__count" in answer.to_dict()
    there = view[["count"]].with_name("there").with_join_key_map({"station": "other"})
    answer = filled.store.get_online_features([there], [{"other": "b"}], at=TWO)
    assert answer.to_dict()["there__count"] == [4]


def test_mistakes(filled):
    with pytest.raises(driftline.NotFoundError):
        filled.store.get_online_features([filled.ref("nothing")], [{"station": "a"}])
    with pytest.raises(driftline.InvalidError, match="station"):
        filled.store.get_online_features([filled.ref("count")], [{"airport": "a"}])
    with pytest.raises(driftline.InvalidError, match="station"):
        filled.store.get_online_features([filled.ref("count")], [{"station": 1}])
    with pytest.raises(TypeError, match="datetime"):
        filled.store.get_online_features([filled.ref("count")], [{"station": "a"}], at=12)
