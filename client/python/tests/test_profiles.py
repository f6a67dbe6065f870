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
