"""Definitions: the same objects as in YAML, and wrong ones fail where they are written."""

from datetime import timedelta

import pyarrow as pa
import pytest
from driftline import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureView,
    FeatureViewProjection,
    Field,
    InvalidError,
    OnDemandFeatureView,
    RequestSource,
)
from driftline.definitions import definitions_json, feature_set_json
from driftline.times import (
    format_duration,
    format_time,
    parse_duration,
    parse_time,
    short_duration,
)
from driftline.types import Bool, Float64, Int64, String, Type, UnixTimestamp, ValueType

airport = Entity(name="airport", join_keys=["origin"], value_type=ValueType.STRING)
weather = FeatureView(
    name="weather",
    entities=[airport],
    ttl=timedelta(hours=3),
    schema=[Field(name="temp", dtype=Float64), Field(name="humid", dtype=Float64)],
)


def test_json_leaves_out_what_is_empty():
    assert definitions_json([airport, weather]) == {
        "entities": [{"name": "airport", "join_keys": [{"name": "origin", "type": "string"}]}],
        "feature_views": [
            {
                "name": "weather",
                "entities": ["airport"],
                "features": [
                    {"name": "temp", "type": "float64"},
                    {"name": "humid", "type": "float64"},
                ],
                "event_timestamp": "event_timestamp",
                "ttl": "3h0m0s",
            }
        ],
    }


@pytest.mark.parametrize(
    "thing",
    [
        airport,
        Entity(
            "leg", [Field("from", String), Field("to", Int64)], description="d", tags={"a": "b"}
        ),
        weather,
        FeatureView(
            "full",
            schema=[Field("x", Int64, "what", renamed_from="y")],
            timestamp_field="at",
            created_timestamp_column="made",
            known_at=True,
            description="d",
            owner="o",
            tags={"k": "v"},
        ),
        FeatureView(
            "flights",
            schema=[Field("flight", Int64), Field("delay", Float64)],
            aggregations=[
                Aggregation("delay", "mean", ["1h", timedelta(days=1)]),
                Aggregation("flight", "top_k", ["7d"], n=3, hop="5m", filter="delay > 1", by="x"),
                Aggregation("delay", "approx_quantile", ["7d"], quantile=0.9, name="p90"),
            ],
            event_id="flight",
        ),
        FeatureService(
            "s", [weather, weather.with_name("there").with_join_key_map({"origin": "d"})]
        ),
    ],
)
def test_json_round_trip(thing):
    assert type(thing).from_json(thing.to_json()) == thing


def test_one_view_under_two_roles():
    service = FeatureService(
        name="both",
        features=[
            weather[["temp"]],
            weather[["temp"]].with_name("destination").with_join_key_map({"origin": "dest"}),
        ],
    )
    assert service.to_json()["projections"] == [
        {"view": "weather", "features": ["temp"]},
        {
            "view": "weather",
            "features": ["temp"],
            "role": "destination",
            "join_key_map": {"origin": "dest"},
        },
    ]


def test_aggregations_name_their_features():
    late = Aggregation(function="count", windows=["90m"], filter="delay > 15", name="late")
    delay = Aggregation(column="delay", function="mean", time_window=timedelta(days=1))
    view = FeatureView("v", schema=[Field("delay", Float64)], aggregations=[late, delay])
    assert view[["late_1h30m", "delay_mean_1d", "delay"]].features[0] == "late_1h30m"
    with pytest.raises(KeyError, match="delay_mean_1d"):
        view[["delay_mean_2d"]]
    assert view.to_json()["aggregations"] == [
        {"function": "count", "windows": ["1h30m0s"], "name": "late", "filter": "delay > 15"},
        {"column": "delay", "function": "mean", "windows": ["24h0m0s"]},
    ]


@pytest.mark.parametrize("text", ["7d", "1h", "1h30m", "250ms", "1d6h"])
def test_short_durations_are_letters_and_digits(text):
    days, _, rest = text.rpartition("d")
    whole = timedelta(days=int(days or 0)) + parse_duration(rest)
    assert short_duration(whole) == text


def test_a_join_key_in_the_schema_is_no_feature():
    view = FeatureView("v", entities=[airport], schema=[Field("origin", String), Field("x", Int64)])
    assert [f.name for f in view.schema] == ["x"]


@pytest.mark.parametrize(
    ("features", "json"),
    [
        ("delay_model", {"service": "delay_model"}),
        (FeatureService("delay_model", [weather]), {"service": "delay_model"}),
        ("weather:temp", {"features": ["weather:temp"]}),
        (["weather:temp", "planes:year"], {"features": ["weather:temp", "planes:year"]}),
        (weather, {"projections": [{"view": "weather"}]}),
        (
            [weather[["temp"]], "planes:year"],
            {
                "projections": [
                    {"view": "weather", "features": ["temp"]},
                    {"view": "planes", "features": ["year"]},
                ]
            },
        ),
        ([FeatureViewProjection("weather")], {"projections": [{"view": "weather"}]}),
    ],
)
def test_feature_sets(features, json):
    assert feature_set_json(features) == json


@pytest.mark.parametrize(
    ("mistake", "kind", "words"),
    [
        (lambda: Field("x", "decimal"), TypeError, "float64"),
        (lambda: Field("", Float64), TypeError, "name"),
        (lambda: Entity("e", join_keys="origin"), TypeError, "list"),
        (lambda: FeatureView("v", schema=["temp"]), TypeError, "Field"),
        (lambda: FeatureView("v", schema=[], ttl=3), TypeError, "timedelta"),
        (lambda: FeatureView("v", schema=[], aggregations=["a"]), TypeError, "Aggregation"),
        (lambda: Aggregation("x", "", ["1h"]), TypeError, "function"),
        (lambda: Aggregation("x", "mean", [3]), TypeError, "timedelta"),
        (lambda: FeatureView("v", schema=[], ttl="3 hours"), ValueError, "3h"),
        (lambda: weather["temp"], TypeError, r"\[\["),
        (lambda: weather[["tmp"]], KeyError, "temp"),
        (lambda: FeatureService("s", weather), TypeError, "list"),
        (lambda: FeatureService("s", [3]), TypeError, "view:feature"),
        (lambda: definitions_json(["airport"]), TypeError, "Entity"),
        (lambda: feature_set_json(["temp"]), ValueError, "view:feature"),
        (lambda: feature_set_json([]), ValueError, "empty"),
    ],
)
def test_mistakes_are_named(mistake, kind, words):
    with pytest.raises(kind, match=words):
        mistake()


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=3), "3h0m0s"),
        (timedelta(days=7), "168h0m0s"),
        (timedelta(seconds=1, microseconds=500), "1.0005s"),
    ],
)
def test_durations(duration, text):
    assert format_duration(duration) == text
    assert parse_duration(text) == duration


def test_short_durations_are_read():
    assert parse_duration("7d") == timedelta(days=7)
    assert parse_duration("1h30m") == timedelta(minutes=90)
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))


def test_times():
    assert format_time("2024-05-01T14:00:00+02:00") == "2024-05-01T12:00:00.000000Z"
    assert format_time("2024-05-01 12:00:00") == "2024-05-01T12:00:00.000000Z"
    assert parse_time("2024-05-01T12:00:00.123456789Z").microsecond == 123456
    assert parse_time("2024-05-01T12:00:00.5Z").microsecond == 500000
    assert parse_time("") is None


@pytest.mark.parametrize(
    ("word", "type_"),
    [
        ("double", Float64),
        ("Float64", Float64),
        (pa.float64(), Float64),
        (pa.large_string(), String),
        (pa.timestamp("ns"), UnixTimestamp),
        (Type.INT64, Int64),
    ],
)
def test_types_by_many_names(word, type_):
    assert Type.parse(word) is type_


def test_apply_plan_and_read_back(store, world):
    assert store.plan([world.entity, world.view]).is_empty
    assert store.apply([world.entity, world.view]).is_empty
    assert store.get_feature_view(world.name) == world.view
    assert world.entity in store.list_entities()
    assert world.view in store.list_feature_views()

    longer = FeatureView(
        world.name, entities=[world.entity], schema=world.view.schema, ttl=timedelta(hours=4)
    )
    (change,) = [c for c in store.plan(longer) if c.action != "none"]
    assert (change.action, change.ref) == ("update", f"view/{world.name}")
    assert any("ttl" in field for field in change.fields)
    assert store.get_feature_view(world.name) == world.view, "a plan changes nothing"


def test_on_demand_views_are_registered(store, world):
    request = RequestSource(schema=[Field(name="distance", dtype=Int64)])
    view = OnDemandFeatureView(
        name=f"trip_{world.name}",
        sources=[world.view[["temp"]], request],
        expressions={"temp_f": "temp * 1.8 + 32", "far": "distance > 1000"},
        schema=[Field(name="far", dtype=Bool, description="By plane")],
        owner="me",
    )
    assert [c.action for c in store.apply(view)] == ["create"]
    registered = store.get_on_demand_feature_view(view.name)
    assert [f.dtype for f in registered.schema] == [Float64, Bool], "types are inferred"
    assert (registered.expressions, registered.request) == (view.expressions, view.request)
    assert registered in store.list_on_demand_feature_views()
    assert store.plan(registered).is_empty
    assert store.plan(view).is_empty
    with pytest.raises(InvalidError, match='did you mean "temp"'):
        store.plan(OnDemandFeatureView("typo", sources=[world.view], expressions={"x": "tmp"}))
    with pytest.raises(KeyError, match="no feature 'near'"):
        view[["near"]]


def test_services_are_registered(store, world):
    service = FeatureService(f"service_{world.name}", [world.view[["temp"]]], owner="me")
    assert [c.action for c in store.apply(service)] == ["create"]
    assert store.get_feature_service(service.name) == service
    assert service in store.list_feature_services()
