"""Profiles: of frames and of the server's tables, merged, compared and written."""

import driftline
import numpy as np
import pandas as pd
import pytest
from conftest import HOUR, NOON, make_world

chance = np.random.default_rng(11)


def frame(shift: float = 0, rows: int = 20_000) -> pd.DataFrame:
    values = chance.normal(size=rows) + shift
    return pd.DataFrame({"x": values, "kind": chance.choice(["a", "b"], rows)})


@pytest.fixture(scope="module")
def monday() -> pd.DataFrame:
    return frame()


@pytest.fixture(scope="module")
def baseline(store, monday) -> driftline.Profile:
    return store.profile(monday)


def test_a_profile_tells_drift_from_none(store, baseline):
    assert store.profile(frame(shift=0.5), like=baseline).compare(baseline).drifted_columns == ["x"]
    assert not store.profile(frame(), like=baseline).compare(baseline, alpha=0.001).has_drift


def test_merged_is_the_whole(store, monday, baseline):
    halves = [store.profile(part, like=baseline) for part in (monday[:7_000], monday[7_000:])]
    merged = halves[1].merge(halves[0])
    assert merged.rows == baseline.rows == 20_000
    assert merged.columns == baseline.columns
    assert baseline["x"]["mean"] == pytest.approx(monday["x"].mean(), rel=1e-12)
    assert {c["name"]: c["rows"] for c in baseline["kind"]["top"]} == dict(
        monday["kind"].value_counts()
    )
    with pytest.raises(KeyError, match="kind"):
        baseline["z"]


def test_profiles_of_other_cells_are_not_merged(store, baseline):
    with pytest.raises(driftline.FailedPreconditionError, match="x"):
        baseline.merge(store.profile(frame(shift=9)))


def test_written_and_read(store, baseline, tmp_path):
    baseline.write(tmp_path / "monday.profile")
    again = store.read_profile(tmp_path / "monday.profile")
    assert again.columns == baseline.columns
    assert not again.compare(baseline).has_drift
    damaged = bytearray((tmp_path / "monday.profile").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.profile").write_bytes(damaged)
    with pytest.raises(driftline.DriftlineError):
        store.read_profile(tmp_path / "damaged.profile")


def test_panes_of_a_view(store):
    world = make_world(store)
    n = 2_000
    store.ingest(
        world.name,
        {
            "station": [f"s{i}" for i in range(n)],
            "event_timestamp": [NOON + (i % 2) * 24 * HOUR for i in range(n)],
            "temp": [float(i + (i % 2) * 5_000) for i in range(n)],
            "count": [1] * n,
        },
    )
    both = store.profile(f"view/{world.name}", pane="1d", columns=["temp", "count"])
    assert (both.rows, both.source) == (n, f"view/{world.name}")
    noon = NOON.replace(hour=0)
    first, second = (
        store.kept_profile(both.source, noon + i * 24 * HOUR, noon + (i + 1) * 24 * HOUR)
        for i in range(2)
    )
    assert (first.rows, second.rows) == (n // 2, n // 2)
    assert second.compare(first).drifted_columns == ["temp"]
    assert "temp" in both._repr_html_()
    with pytest.raises(ValueError, match="pane"):
        store.profile({"x": [1]}, pane="1d")


def test_logged_day_by_day(store):
    source, first = "orders of a shop", NOON.replace(hour=0)
    days = [first + i * 24 * HOUR for i in range(4)]
    logged = [
        store.log(frame(shift=0.5 * (i == 2)), source, start=days[i], end=days[i + 1])
        for i in range(3)
    ]
    assert [(p.source, p.rows, p.start) for p in logged] == [
        (source, 20_000, day) for day in days[:3]
    ]
    baseline = store.kept_profile(source, days[0], days[1])
    assert not logged[1].compare(baseline, alpha=0.001).has_drift
    assert logged[2].compare(baseline).drifted_columns == ["x"]

    again = store.log(frame(rows=10), source, start=days[2], end=days[3])
    assert again.rows == 10
    assert store.kept_profile(source).rows == 40_010

    both = store.log(frame(), "another shop", reference=source)
    assert not both.compare(logged[0], alpha=0.001).has_drift
    kept = store.sql("SELECT count(*) AS n FROM meta.profiles WHERE source = 'orders of a shop'")
    assert kept.to_pylist() == [{"n": 3}]


def test_what_cannot_be_logged(store):
    with pytest.raises(driftline.InvalidError, match="source"):
        store.log(frame(rows=10), "")
    with pytest.raises(driftline.InvalidError, match="ends before it begins"):
        store.log(frame(rows=10), "backwards", start=NOON, end=NOON - HOUR)
    with pytest.raises(driftline.DriftlineError, match="nothing"):
        store.log(frame(rows=10), "lonely", reference="nothing")
    with pytest.raises(driftline.NotFoundError):
        store.kept_profile("never logged")
