"""Training and serving are compared, value by value."""

import pytest
from conftest import NOON
from driftline import NotFoundError


def test_a_view_agrees_with_itself(world):
    rows = [
        {"station": station, "event_timestamp": NOON, "temp": temp, "count": 1}
        for station, temp in [("a", 0.1), ("b", -0.0), ("c", None), ("d", float("nan"))]
    ]
    world.store.push(world.view, rows)
    [checked] = world.store.check([world.view], entities=10, seed=1)["views"]
    assert (checked["view"], checked["differences"]) == (world.name, 0)
    assert checked["entities"] >= 4
    assert checked["values"] >= 4 * checked["entities"]


def test_an_unknown_view_is_named(world):
    with pytest.raises(NotFoundError, match="wether"):
        world.store.check(["wether"])
