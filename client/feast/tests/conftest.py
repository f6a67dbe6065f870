"""A real server, and the published Feast client with `online_store: type: remote`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import feast
import pytest
import requests
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    ValueType,
)
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

sys.path.append(str(Path(__file__).parents[2] / "python" / "tests"))

from server_process import START_SECONDS, running

# From 0.64 on the client sends one request for all views, and asks the server what they are.
ONE_REQUEST = tuple(int(part) for part in feast.__version__.split(".")[:2]) >= (0, 64)

# The catalogue of the server, which the client's own registry repeats.
DEFINITIONS = {
    "entities": [
        {"name": "driver", "join_keys": [{"name": "driver_id", "type": "int64"}]},
        {
            "name": "route",
            "join_keys": [
                {"name": "origin", "type": "string"},
                {"name": "destination", "type": "string"},
            ],
        },
    ],
    "feature_views": [
        {
            "name": "driver_stats",
            "entities": ["driver"],
            "created_timestamp": "created",
            "features": [
                {"name": "conv_rate", "type": "float64"},
                {"name": "acc_rate", "type": "float32"},
                {"name": "trips", "type": "int64"},
                {"name": "grade", "type": "int32"},
                {"name": "active", "type": "bool"},
                {"name": "city", "type": "string"},
                {"name": "seen", "type": "timestamp"},
            ],
        },
        {
            "name": "driver_mood",
            "entities": ["driver"],
            "ttl": "1h",
            "features": [{"name": "mood", "type": "string"}],
        },
        {
            "name": "route_stats",
            "entities": ["route"],
            "features": [{"name": "minutes", "type": "float64"}],
        },
        {"name": "rates", "features": [{"name": "euro", "type": "float64"}]},
        {
            "name": "rides",
            "entities": ["driver"],
            "features": [
                {"name": "fare", "type": "float64"},
                {"name": "kind", "type": "string"},
            ],
            "aggregations": [
                {"column": "fare", "function": "sum", "windows": ["1h", "3d"]},
                {"column": "fare", "function": "last_n", "n": 2, "windows": ["3d"]},
            ],
        },
    ],
    "on_demand_feature_views": [
        {
            "name": "trip",
            "sources": [{"view": "driver_stats", "features": ["conv_rate"]}],
            "request": [{"name": "km", "type": "int64"}],
            "features": [{"name": "rate_per_km", "expression": "conv_rate / km"}],
        }
    ],
    "feature_services": [
        {
            "name": "driver_model",
            "projections": [
                {"view": "driver_stats", "features": ["conv_rate", "trips"]},
                {"view": "driver_mood", "features": ["mood"]},
            ],
        },
        {
            "name": "trip_model",
            "projections": [
                {"view": "trip"},
                {"view": "driver_stats", "features": ["trips"]},
                {
                    "view": "driver_stats",
                    "features": ["trips"],
                    "role": "rival",
                    "join_key_map": {"driver_id": "rival_id"},
                },
            ],
        },
    ],
}


class Server:
    """A server that can be asked in its own words."""

    def __init__(self, url: str):
        self.url = url

    def post(self, path: str, body: object, **params: str) -> requests.Response:
        return requests.post(self.url + path, json=body, params=params, timeout=START_SECONDS)

    def get(self, path: str) -> object:
        response = requests.get(self.url + path, timeout=START_SECONDS)
        response.raise_for_status()
        return response.json()

    def push(self, view: str, rows: dict, **fields: str) -> None:
        body = {"push_source_name": view, "df": rows, **fields}
        response = self.post("/push", body)
        assert response.status_code == 200, response.text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server over an empty folder of its own, with the catalogue applied."""
    with running(tmp_path) as url:
        server = Server(url)
        assert server.post("/api/v1/apply", DEFINITIONS).status_code == 200
        yield server


@pytest.fixture
def store(server: Server, tmp_path: Path) -> FeatureStore:
    """The client, with a registry in a file that has the server's views."""
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(
        f"""
project: rides
registry: {repo / "registry.db"}
provider: local
online_store:
  type: remote
  path: {server.url}
offline_store:
  type: file
entity_key_serialization_version: 3
"""
    )
    store = FeatureStore(repo_path=str(repo))
    store.apply(objects(repo))
    return store


def objects(repo: Path) -> list:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    destination = Entity(name="destination", join_keys=["destination"], value_type=ValueType.STRING)
    stats = FeatureView(
        name="driver_stats",
        entities=[driver],
        ttl=timedelta(0),
        schema=[
            Field(name="driver_id", dtype=Int64),
            Field(name="conv_rate", dtype=Float64),
            Field(name="acc_rate", dtype=Float32),
            Field(name="trips", dtype=Int64),
            Field(name="grade", dtype=Int32),
            Field(name="active", dtype=Bool),
            Field(name="city", dtype=String),
            Field(name="seen", dtype=UnixTimestamp),
        ],
        source=PushSource(
            name="driver_stats_push",
            batch_source=source(repo, "driver_stats", created="created"),
        ),
    )
    mood = FeatureView(
        name="driver_mood",
        entities=[driver],
        ttl=timedelta(hours=1),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="mood", dtype=String)],
        source=source(repo, "driver_mood"),
    )
    routes = FeatureView(
        name="route_stats",
        entities=[origin, destination],
        ttl=timedelta(0),
        schema=[
            Field(name="origin", dtype=String),
            Field(name="destination", dtype=String),
            Field(name="minutes", dtype=Float64),
        ],
        source=source(repo, "route_stats"),
    )
    rates = FeatureView(
        name="rates",
        entities=[],
        ttl=timedelta(0),
        schema=[Field(name="euro", dtype=Float64)],
        source=source(repo, "rates"),
    )
    service = FeatureService(
        name="driver_model", features=[stats[["conv_rate", "trips"]], mood[["mood"]]]
    )
    return [driver, origin, destination, stats, mood, routes, rates, service]


def source(repo: Path, name: str, created: str = "") -> FileSource:
    return FileSource(
        name=name + "_file",
        path=str(repo / f"{name}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column=created,
    )
