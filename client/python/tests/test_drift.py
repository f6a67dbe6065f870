"""Drift: exact tests over references, queries and tables alike."""

import math
from xml.etree import ElementTree

import driftline
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import NOON, make_world
from driftline import DriftReport
from scipy import stats

chance = np.random.default_rng(7)
BEFORE = {
    "x": chance.normal(size=500),
    "y": chance.normal(size=500),
    "c": chance.choice(["a", "b"], 500),
}
AFTER = {
    "x": chance.normal(size=400) + 0.8,
    "y": chance.normal(size=400),
    "c": chance.choice(["a", "b"], 400),
}


@pytest.fixture(scope="module")
def report(store) -> DriftReport:
    return store.drift(pd.DataFrame(BEFORE), pl.DataFrame(AFTER), reference_name="before")


def test_the_numbers_are_scipys(report):
    for column in ("x", "y"):
        want = stats.ks_2samp(BEFORE[column], AFTER[column], method="exact")
        assert report[column].test == "ks"
        assert report[column].statistic == pytest.approx(want.statistic, rel=1e-12)
        assert report[column].p_value == pytest.approx(want.pvalue, rel=1e-9)
    counts = [[np.sum(side["c"] == c) for c in "ab"] for side in (BEFORE, AFTER)]
    want = stats.chi2_contingency(counts, correction=False)
    assert report["c"].test == "chi2"
    assert report["c"].statistic == pytest.approx(want.statistic, rel=1e-9)
    assert report["c"].p_value == pytest.approx(want.pvalue, rel=1e-9)


def test_what_drifted(report):
    assert report.has_drift
    assert "x" in report.drifted_columns
    assert report.columns[0].column == "x", "drifted ones come first"
    assert (report.reference, report.reference_rows, report.current_rows) == ("before", 500, 400)
    with pytest.raises(KeyError, match="x"):
        report["z"]


def test_the_same_is_no_drift(store):
    same = store.drift(BEFORE, BEFORE)
    assert not same.has_drift
    assert same["x"].p_value == 1


def test_shown_as_table_page_and_text(report, tmp_path):
    frame = report.to_df()
    assert list(frame["column"]) == [c.column for c in report.columns]
    page = report.to_html(tmp_path / "drift.html")
    assert page == (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "<script src=" not in page, "it needs nothing else"
    report.save_html(tmp_path / "same.html")
    assert (tmp_path / "same.html").read_text(encoding="utf-8") == page
    assert report.to_markdown().startswith("## ")
    suites = ElementTree.fromstring(report.to_junit(tmp_path / "drift.xml"))
    assert int(suites.get("failures")) == len(report.drifted_columns)
    assert report.to_arrow().column("column").to_pylist() == list(frame["column"])
    assert "before" in repr(report)
    assert "<table>" in report._repr_html_()


def test_names_of_columns_are_not_html(store):
    hostile = {"<script>alert(1)</script>": [1.0, 2.0, 3.0]}
    shown = store.drift(hostile, hostile)
    assert "<script>alert" not in shown._repr_html_()
    assert "<script>alert" not in shown.to_html()


def test_options(store):
    one = store.drift(BEFORE, AFTER, columns=["y"])
    assert [c.column for c in one.columns] == ["y"]
    two = store.drift(BEFORE, AFTER, exclude=["y"], alpha=0.01, margin=0.9)
    assert sorted(c.column for c in two.columns) == ["c", "x"]
    assert (two.alpha, two.margin, two.has_drift) == (0.01, 0.9, False)


def test_only_common_columns_and_types_that_differ(store):
    report = store.drift(
        pa.table({"n": pa.array([1, 2, 3], pa.int32()), "left": [1, 2, 3]}),
        pa.table({"n": pa.array([1, 2, 3], pa.float64()), "right": [1, 2, 3]}),
    )
    assert [c.column for c in report.columns] == ["n"]
    with pytest.raises(ValueError, match="common"):
        store.drift({"a": [1]}, {"b": [1]})


def test_queries_references_and_tables_agree(store):
    world = make_world(store)
    n = 300
    values = chance.normal(size=n)
    store.ingest(
        world.name,
        {
            "station": [f"s{i % 2}" for i in range(n)],
            "event_timestamp": [NOON] * n,
            "temp": values,
            "count": list(range(n)),
        },
    )
    query = f"SELECT temp FROM features.{world.name} WHERE station = '{{}}'"
    by_query = store.drift(query.format("s0"), query.format("s1"))
    by_table = store.drift({"temp": values[0::2]}, {"temp": values[1::2]})
    mixed = store.drift(query.format("s0"), {"temp": values[1::2]})
    assert by_query["temp"].p_value == by_table["temp"].p_value == mixed["temp"].p_value

    by_ref = store.drift(f"view/{world.name}", f"view/{world.name}", columns=["temp"])
    assert by_ref["temp"].statistic == 0


def test_infinities_and_nan_survive_the_wire(store):
    strange = {"x": [math.inf, -math.inf, math.nan, 1.0, 2.0]}
    report = store.drift(strange, strange)
    assert report["x"].statistic == 0 or math.isnan(report["x"].statistic)


def test_mistakes(store):
    with pytest.raises(ValueError, match="neither"):
        store.drift("weather", BEFORE)
    with pytest.raises(TypeError, match="not a table"):
        store.drift(BEFORE, 3)
    with pytest.raises(driftline.NotFoundError):
        store.drift("view/nothing", "view/nothing")


def test_presets_of_the_user(store):
    coarse = driftline.Preset(
        name="coarse",
        tests=[{"types": ["float64"], "test": "wasserstein", "threshold": 0.2}],
        margin=0.0,
        exclude=["nowhere"],
    )
    store.apply(coarse)
    assert store.plan(coarse).is_empty
    assert store.presets()["coarse"] == coarse
    before = {"x": [float(i) for i in range(200)], "s": ["a", "b"] * 100}
    after = {"x": [i + 100.0 for i in range(200)], "s": ["a", "b"] * 100}
    for preset in ("coarse", coarse, driftline.Preset(tests=coarse.tests, margin=0.0)):
        report = store.drift(before, after, preset=preset)
        assert report["x"].test == "wasserstein"
        assert report["x"].effect_low < report["x"].effect < report["x"].effect_high
        assert report.margin == 0
        assert report.drifted_columns == ["x"]
    with pytest.raises(driftline.NotFoundError, match="corse"):
        store.drift(before, after, preset="corse")
