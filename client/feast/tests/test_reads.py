"""What the Feast client reads from Driftline is what was written."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from conftest import ONE_REQUEST
from feast import FeatureService, FeatureStore
from feast.errors import FeastError, FeatureServiceNotFoundException, FeatureViewNotFoundException
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

NOW = datetime.now(timezone.utc).replace(microsecond=0)
YESTERDAY = NOW - timedelta(days=1)

STATS = {
    "driver_id": [1001, 1002],
    "event_timestamp": [YESTERDAY.isoformat()] * 2,
    "created": [None, None],
    "conv_rate": [1.0, None],
    "acc_rate": [0.5, "NaN"],
    "trips": [2**53 + 1, 0],
    "grade": [-7, 8],
    "active": [True, False],
    "city": ["Köln", ""],
    "seen": [int(NOW.timestamp()), None],
}
FEATURES = ["conv_rate", "acc_rate", "trips", "grade", "active", "city", "seen"]


@pytest.fixture(autouse=True)
def rows(server) -> None:
    server.push("driver_stats", STATS)
    server.push(
        "driver_mood",
        {
            "driver_id": [1001, 1002],
            "event_timestamp": [NOW.isoformat(), YESTERDAY.isoformat()],
            "mood": ["calm", "cross"],
        },
    )
    server.push(
        "route_stats",
        {
            "origin": ["1", "12"],
            "destination": ["23", "3"],
            "event_timestamp": [NOW.isoformat()] * 2,
            "minutes": [100.0, 200.0],
        },
    )
    server.push("rates", {"event_timestamp": [NOW.isoformat()], "euro": [1.0]})


def read(store: FeatureStore, features, ids: list[int], **options: bool):
    return store.get_online_features(
        features=features, entity_rows=[{"driver_id": i} for i in ids], **options
    )


def test_values_have_the_types_that_feast_gives_them(store: FeatureStore) -> None:
    answer = read(store, [f"driver_stats:{f}" for f in FEATURES], [1001, 1002, 9]).to_dict()
    assert answer["driver_id"] == [1001, 1002, 9]
    assert answer["conv_rate"] == [1.0, None, None]
    assert type(answer["conv_rate"][0]) is float  # 1.0 is not sent as 1
    assert answer["acc_rate"][0] == 0.5
    assert answer["trips"] == [2**53 + 1, 0, None]
    assert answer["grade"] == [-7, 8, None]
    assert answer["active"] == [True, False, None]
    assert answer["city"] == ["Köln", "", None]
    seen = answer["seen"][0]
    if not ONE_REQUEST:  # it knows the type from its own registry
        seen = int(seen.timestamp())
    assert seen == int(NOW.timestamp())
    assert answer["seen"][1:] == [None, None]


def test_not_a_number_arrives_as_feast_writes_it(store: FeatureStore) -> None:
    value = read(store, ["driver_stats:acc_rate"], [1002]).to_dict()["acc_rate"][0]
    assert value == "NaN" if ONE_REQUEST else math.isnan(value)


def test_services_read_several_views(store: FeatureStore) -> None:
    service = store.get_feature_service("driver_model")
    answer = read(store, service, [1001, 1002]).to_dict()
    assert answer == {
        "driver_id": [1001, 1002],
        "conv_rate": [1.0, None],
        "trips": [2**53 + 1, 0],
        "mood": ["calm", None],
    }


def test_full_names_say_the_view(store: FeatureStore) -> None:
    features = ["driver_stats:trips", "driver_mood:mood"]
    answer = read(store, features, [1001], full_feature_names=True).to_dict()
    assert answer == {
        "driver_id": [1001],
        "driver_stats__trips": [2**53 + 1],
        "driver_mood__mood": ["calm"],
    }


def test_every_value_has_a_status(store: FeatureStore) -> None:
    response = read(store, ["driver_stats:conv_rate", "driver_mood:mood"], [1001, 1002, 9])
    names = list(response.proto.metadata.feature_names.val)
    statuses = {
        name: [FieldStatus.Name(s) for s in result.statuses]
        for name, result in zip(names, response.proto.results, strict=True)
    }
    if ONE_REQUEST:
        assert statuses["conv_rate"] == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
        assert statuses["mood"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
        return
    # The older client keeps the values of the server and makes statuses of its own.
    assert statuses["conv_rate"][0] == statuses["mood"][0] == "PRESENT"
    assert response.to_dict()["mood"] == ["calm", None, None]


def test_event_times_are_those_of_the_rows(server, store: FeatureStore) -> None:
    if not ONE_REQUEST:  # it reads one time per request: that of the first entity
        response = read(store, ["driver_stats:trips"], [1001])
        [result] = response.proto.results[1:]
        assert result.event_timestamps[0].ToSeconds() == int(YESTERDAY.timestamp())
    body = {"features": ["driver_stats:trips"], "entities": {"driver_id": [1001, 9]}}
    answer = server.post("/get-online-features", body).json()
    assert answer["results"][1]["event_timestamps"] == [
        YESTERDAY.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "1970-01-01T00:00:00Z",
    ]


def test_composite_keys_are_compared_column_by_column(store: FeatureStore) -> None:
    rows = [{"origin": "1", "destination": "23"}, {"origin": "12", "destination": "3"}]
    if ONE_REQUEST:
        answer = store.get_online_features(["route_stats:minutes"], rows).to_dict()
        assert answer["minutes"] == [100.0, 200.0]
        return
    # The older client sends the first of the keys only. It is told what is missing.
    with pytest.raises(FeastError, match=r'join key "destination" .* is missing'):
        store.get_online_features(["route_stats:minutes"], rows)


def test_a_view_without_entities_has_one_row(store: FeatureStore) -> None:
    answer = store.get_online_features(
        features=["rates:euro", "driver_stats:trips"], entity_rows=[{"driver_id": 1001}]
    ).to_dict()
    assert answer["euro"] == [1.0]
    assert type(answer["euro"][0]) is float


# The older client works out from its own registry what a service is made of.
@pytest.mark.skipif(not ONE_REQUEST, reason="the older client asks view by view")
def test_a_service_of_request_data_and_roles(store: FeatureStore) -> None:
    service = FeatureService(name="trip_model", features=[])
    rows = [{"driver_id": 1001, "rival_id": 1002, "km": 4}]
    answer = store.get_online_features(service, rows, full_feature_names=True).to_dict()
    assert answer == {
        "driver_id": [1001],
        "rival_id": [1002],
        "km": [4],
        "trip__rate_per_km": [0.25],
        "driver_stats__trips": [2**53 + 1],
        "rival__trips": [0],
    }


def test_windows_are_read_like_any_feature(server, store: FeatureStore) -> None:
    rides = {
        "driver_id": [1001, 1001, 1001],
        "event_timestamp": [YESTERDAY.isoformat(), NOW.isoformat(), NOW.isoformat()],
        "fare": [10.0, 2.5, 0.5],
        "kind": ["a", "b", "b"],
    }
    server.push("rides", rides)
    body = {
        "features": ["rides:fare_sum_1h", "rides:fare_sum_3d"],
        "entities": {"driver_id": [1001, 9]},
    }
    answer = server.post("/get-online-features", body).json()
    assert [result["values"] for result in answer["results"][1:]] == [[3.0, None], [13.0, None]]
    if ONE_REQUEST:  # the older client knows the features of its own registry only
        features = ["rides:fare_sum_1h", "rides:fare_sum_3d", "rides:fare_last_n_3d"]
        values = read(store, features, [1001]).to_dict()
        assert values["fare_sum_1h"] == [3.0]
        assert values["fare_sum_3d"] == [13.0]
        assert values["fare_last_n_3d"] == [[2.5, 0.5]]


def test_what_is_not_there_is_feasts_own_exception(server, store: FeatureStore) -> None:
    body = {"entities": {"driver_id": [1]}, "feature_service": "driver_modle"}
    response = server.post("/get-online-features", body)
    assert response.status_code == 404
    raised = FeastError.from_error_detail(response.json())
    assert isinstance(raised, FeatureServiceNotFoundException)
    assert 'did you mean "driver_model"?' in str(raised)

    if ONE_REQUEST:  # the older one looks into its own registry and never asks
        with pytest.raises(FeatureViewNotFoundException, match="driver_stat"):
            read(store, ["driver_stat:trips"], [1001])


def test_a_request_that_cannot_be_accepted_is_422(server) -> None:
    for body in (
        {"entities": {"driver_id": ["x"]}, "features": ["driver_stats:trips"]},
        {"entities": {}, "features": ["driver_stats:trips"]},
        {"entities": {"driver_id": [1]}, "features": []},
        {"entities": [1], "features": ["driver_stats:trips"]},
    ):
        response = server.post("/get-online-features", body)
        assert response.status_code == 422, response.text
        assert type(FeastError.from_error_detail(response.json())) is FeastError
