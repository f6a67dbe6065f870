"""A real server for all tests, and names that no other test uses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import driftline
import pytest
from driftline import Entity, FeatureView, Field
from driftline.types import Float64, Int64, String
from server_process import running

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server in a folder of its own, on free ports."""
    with running(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def store(server_url: str) -> Iterator[driftline.FeatureStore]:
    with driftline.connect(server_url) as store:
        yield store


_numbers = itertools.count(1)


@dataclass
class World:
    """A station with hourly readings, under names of its own."""

    store: driftline.FeatureStore
    entity: Entity
    view: FeatureView

    @property
    def name(self) -> str:
        return self.view.name

    def ref(self, feature: str) -> str:
        return f"{self.view.name}:{feature}"


def make_world(store: driftline.FeatureStore, **options: object) -> World:
    number = next(_numbers)
    entity = Entity(name=f"station{number}", join_keys=["station"], value_type=String)
    view = FeatureView(
        name=f"readings{number}",
        entities=[entity],
        schema=[Field("temp", Float64), Field("count", Int64)],
        **options,
    )
    store.apply([entity, view])
    return World(store, entity, view)


@pytest.fixture
def world(store: driftline.FeatureStore) -> World:
    """A view with a TTL of three hours and nothing in it."""
    return make_world(store, ttl=timedelta(hours=3))


@pytest.fixture
def filled(world: World) -> World:
    """Two stations: "a" read at noon, one and two o'clock, "b" at noon only."""
    world.store.ingest(
        world.name,
        {
            "station": ["a", "a", "a", "b"],
            "event_timestamp": [NOON, NOON + HOUR, NOON + 2 * HOUR, NOON],
            "temp": [10.0, 11.0, None, 20.0],
            "count": [1, 2, 3, 4],
        },
    )
    return world
