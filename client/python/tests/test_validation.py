"""Validation: checks of references, queries and tables alike."""

from xml.etree import ElementTree

import driftline
import pandas as pd
import pytest
from conftest import NOON, make_world

CHECKS = [
    {"check": "rows", "min": 3, "max": 10},
    {"check": "nulls", "column": "temp"},
    {"check": "range", "column": "temp", "max": 100, "severity": "warning"},
    {"check": "unique", "columns": ["station", "hour"]},
    {"check": "values", "column": "hour", "values": [1, 2, 3]},
    {"check": "sql", "sql": "SELECT * FROM data WHERE station = 'b' AND hour = 1"},
]
FRAME = pd.DataFrame(
    {"station": ["a", "a", "b", "b"], "hour": [1, 2, 1, 3], "temp": [1.0, None, 101.0, 5.0]}
)


@pytest.fixture(scope="module")
def report(store) -> driftline.ValidationReport:
    return store.validate(FRAME, CHECKS, name="frame")


def test_what_failed(report):
    assert not report.passed
    assert [r.check["check"] for r in report.failed] == ["nulls", "sql"]
    assert [r.check["check"] for r in report.warned] == ["range"]
    nulls = report.failed[0]
    assert (nulls.bad, nulls.looked, nulls.observed) == (1, 4, 0.25)
    assert nulls.examples == [{"temp": None, "station": "a", "hour": "2"}]
    assert (report.table, report.rows) == ("frame", 4)


def test_forms(report, tmp_path):
    report.save_html(tmp_path / "checks.html")
    page = (tmp_path / "checks.html").read_text(encoding="utf-8")
    assert "2 of 6 checks failed" in page
    assert report.to_markdown().startswith("## 2 of 6 checks failed")
    suites = ElementTree.fromstring(report.to_junit(tmp_path / "checks.xml"))
    assert (suites.get("failures"), suites.get("skipped")) == ("2", "1")
    assert report.to_arrow().num_rows == len(report.to_df()) == 6
    assert "is never null" in repr(report)
    assert "<table>" in report._repr_html_()


def test_queries_and_references_are_checked_where_they_are(store):
    world = make_world(store)
    n = 200
    store.ingest(
        world.name,
        {
            "station": [f"s{i}" for i in range(n)],
            "event_timestamp": [NOON] * n,
            "temp": [float(i % 40) for i in range(n)],
            "count": list(range(n)),
        },
    )
    checks = store.suggest_checks(f"view/{world.name}")
    assert {"schema", "rows", "unique", "nulls", "range"} <= {c["check"] for c in checks}
    assert store.validate(f"view/{world.name}", checks).passed
    shifted = f"SELECT * REPLACE (temp + 100 AS temp) FROM features.{world.name}"
    failed = store.validate(shifted, checks).failed
    assert [r.check["check"] for r in failed] == ["range"]
    assert failed[0].bad == n


def test_mistakes(store):
    with pytest.raises(driftline.InvalidError, match=r"check 1 .nulls.: no column"):
        store.validate(FRAME, [{"check": "nulls"}])
    with pytest.raises(TypeError, match="learned from a reference"):
        store.suggest_checks(FRAME)


def test_a_registered_set_keeps_how_it_went(store):
    world = make_world(store)
    rows = {"station": ["a", "b"], "event_timestamp": [NOON, NOON], "temp": [1.0, 200.0]}
    store.ingest(world.name, {**rows, "count": [1, 2]})
    guard = driftline.Validation(
        name=f"guard_{world.name}",
        table=f"view/{world.name}",
        checks=[{"check": "range", "column": "temp", "max": 100}, {"check": "rows", "min": 1}],
        owner="ops",
    )
    assert [c.action for c in store.apply(guard)] == ["create"]
    assert store.plan(guard).is_empty
    registered = store.validations()[guard.name]
    assert registered.definition == guard
    assert registered.last is None
    assert "never checked" in repr(registered)
    report = registered.run()
    assert [r.title for r in report.failed] == ["temp at most 100"]
    assert registered.last.failed == 1
    assert [r.run for r in registered.runs()] == [1]
    assert registered.report().failed[0].examples[0]["temp"] == "200"
    assert registered.report(1).failed[0].found == "1 of 2 out of range (50 %)"
    assert store.validations()[guard.name].last == registered.last
