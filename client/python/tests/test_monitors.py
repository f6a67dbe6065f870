"""Monitors on a real server: panes, alerts and the notices that a file channel gets."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import driftline
import pytest
import yaml
from conftest import World, make_world
from driftline import Entity, FeatureView, Monitor
from server_process import ROOT, running

DAY = timedelta(days=1)
PATIENCE_SECONDS = 120

# Days of which the last closed long enough ago that none closes while the tests run,
# but for the one that does at midnight.
TODAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - 6 * DAY
WARM = TODAY - 2 * DAY


@pytest.fixture(scope="module")
def notices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("channels") / "notices.jsonl"


@pytest.fixture(scope="module")
def store(
    notices: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[driftline.FeatureStore]:
    """A server that tells the channel "ops", which is a file."""
    channels = notices.with_name("channels.yaml")
    channels.write_text(f"channels:\n  ops: {{type: file, path: {notices}}}\n")
    folder = tmp_path_factory.mktemp("server")
    with running(folder, "--channels", channels) as url, driftline.connect(url) as store:
        yield store


@pytest.fixture(scope="module")
def readings(store: driftline.FeatureStore) -> World:
    """Six days of readings every three minutes, of which those of WARM are 50 degrees warmer."""
    world = make_world(store)
    at = [FIRST + timedelta(minutes=3 * i) for i in range(6 * 480)]
    store.ingest(
        world.name,
        {
            "station": ["ab"[i % 2] for i in range(len(at))],
            "event_timestamp": at,
            "temp": [i * 37 % 101 + 50.0 * (WARM <= t < WARM + DAY) for i, t in enumerate(at)],
            "count": [i * 53 % 17 for i in range(len(at))],
        },
    )
    return world


@pytest.fixture(scope="module")
def daily(readings: World) -> Monitor:
    return Monitor(
        name="daily",
        source=f"view/{readings.name}",
        reference={"from": FIRST, "to": FIRST + 3 * DAY},
        window="1d",
        start=FIRST + 3 * DAY,
        segments={"where": "station"},
        tests={"margin": 0.3},
        channels=("ops",),
        keep_profiles=500,
        owner="ann",
    )


@pytest.fixture(scope="module")
def watched(store, daily) -> driftline.FeatureStore:
    assert not store.plan(daily).is_empty
    store.apply(daily)
    store.monitors()["daily"].run()
    return store


def test_days_that_are_over_are_caught_up_with(watched):
    panes = [p for p in reversed(watched.monitors()["daily"].panes()) if p.end <= TODAY]
    assert [(p.start, p.outcome) for p in panes] == [
        (WARM - DAY, "same"),
        (WARM, "drift"),
        (WARM + DAY, "same"),
    ]
    warm = panes[1]
    assert (warm.rows, warm.late, warm.evaluation, warm.error) == (480, None, 1, "")
    assert (warm.drifted, warm.compared) == (3, 6), "temp of all rows and of both stations"
    assert {c["column"] for c in warm.columns} == {"temp"}
    assert {c.get("segment", "") for c in warm.columns} == {"", "where=a", "where=b"}


def test_a_definition_comes_back_as_it_was(watched, daily):
    assert watched.plan(daily).is_empty
    assert Monitor.from_json(watched.monitors()["daily"].definition) == daily


def test_what_was_found_in_a_pane(watched):
    report = watched.monitors()["daily"].report(WARM + timedelta(hours=12))
    assert report["pane"]["outcome"] == "drift"
    assert [r.get("segment", "") for r in report["reports"]] == ["", "where=a", "where=b"]
    temp = report["reports"][0]["report"]["columns"][0]
    assert (temp["column"], temp["verdict"]) == ("temp", "drift")
    with pytest.raises(driftline.NotFoundError, match="no pane"):
        watched.monitors()["daily"].report(FIRST)


def test_rows_behind_a_finding(watched):
    monitor = watched.monitors()["daily"]
    rows = monitor.rows(WARM + timedelta(hours=12), column="temp", limit=5)
    assert len(rows) == 5
    assert {"station", "temp", "event_timestamp"} <= set(rows[0])
    assert min(row["temp"] for row in rows) > 100, "of the bin whose share rose most"
    cold = monitor.rows(WARM, segment="where=a", side="reference", column="temp")
    assert {row["station"] for row in cold} == {"a"}
    assert max(row["temp"] for row in cold) <= 100
    with pytest.raises(driftline.NotFoundError, match="slice"):
        monitor.rows(WARM, slice=99)


def test_rows_that_come_late(watched, readings):
    late = {"station": ["a"], "event_timestamp": [WARM], "temp": [1.0], "count": [1]}
    watched.ingest(readings.name, late | {"station": ["c"]})
    monitor = watched.monitors()["daily"]
    assert {p.start: p.late for p in monitor.panes(late=True)}[WARM] == 1
    (again,) = monitor.run(WARM)
    assert (again.evaluation, again.rows, again.outcome) == (2, 481, "drift")


def test_an_alert_of_the_past_is_recorded_and_nobody_is_told(watched, notices):
    (alert,) = watched.alerts(monitor="daily")
    assert alert.state == "resolved", "the day after was as before"
    assert "temp" in alert.summary
    assert alert.columns[0]["column"] == "temp"
    assert not notices.exists() or "daily-1" not in notices.read_text()
    assert watched.alerts(monitor="daily", state="firing") == []
    assert alert.remedies == []
    with pytest.raises(driftline.errors.FailedPreconditionError, match="is over"):
        alert.do("ignore", by="ann")


def test_pause_snooze_and_resume(watched):
    monitor = watched.monitors()["daily"]
    assert monitor.pause().state["paused"]
    with pytest.raises(driftline.DriftlineError, match="paused"):
        monitor.run()
    until = datetime.now(timezone.utc).replace(microsecond=0) + DAY
    assert not monitor.resume().state.get("paused")
    assert driftline.times.parse_time(monitor.snooze(until).state["snoozed_until"]) == until


def test_a_pane_that_drifts_now_is_told_to_the_file(store, notices):
    world = make_world(store)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    before = [now - timedelta(hours=1) + timedelta(seconds=i) for i in range(600)]
    ahead = [now + timedelta(seconds=i / 40) for i in range(40 * PATIENCE_SECONDS)]
    for at, warmer in ((before, 0), (ahead, 500)):
        store.ingest(
            world.name,
            {
                "station": ["a"] * len(at),
                "event_timestamp": at,
                "temp": [i * 37 % 101 + float(warmer) for i in range(len(at))],
                "count": [1] * len(at),
            },
        )
    monitor = Monitor(
        name="each_second",
        source=f"SELECT event_timestamp, temp FROM features.{world.name}",
        time_column="event_timestamp",
        reference={"from": before[0], "to": before[-1]},
        window="1s",
        channels=("ops",),
    )
    store.apply(monitor)

    (told,) = _lines_of(notices, "each_second-1", 1)
    assert told["kind"] == "firing"
    assert told["alert"]["columns"][0]["column"] == "temp"
    could = ["re_reference", "snooze", "ignore"]
    assert [r["action"] for r in told["alert"]["remedies"]] == could

    (alert,) = store.alerts(monitor="each_second", state="firing")
    assert alert.acknowledge(by="ann", comment="I see").details["acknowledged_by"] == "ann"
    store.monitors()["each_second"].pause()
    assert [r["action"] for r in alert.remedies] == could
    assert alert.do("ignore", by="ann")["ref"] == "alert/each_second-1"
    assert (alert.state, alert.details["resolved_by"]) == ("resolved", "ann")
    kinds = [told["kind"] for told in _lines_of(notices, "each_second-1", 2)]
    assert kinds == ["firing", "resolved"]


def _lines_of(path: Path, alert: str, count: int) -> list[dict]:
    """Waits until the file has so many notices of an alert."""
    until = time.monotonic() + PATIENCE_SECONDS
    found: list[dict] = []
    while time.monotonic() < until:
        lines = path.read_text().splitlines() if path.exists() else []
        found = [n for n in map(json.loads, lines) if n["alert"]["id"] == alert]
        if len(found) >= count:
            break
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "view/nowhere"}, "nowhere"),
        ({"window": "1y"}, "1y"),
        ({"channels": ["pager"]}, "pager"),
        ({"reference": {"moving": "7d", "same_weekday": 2}}, "reference"),
        ({"cron": "every day"}, "every day"),
        ({"end": FIRST}, "end"),
        ({"early": "1d"}, "early"),
        ({"slices": {"conditions": 9}}, "conditions"),
        ({"keep_profiles": -1}, "keep_profiles"),
        ({"budget": (1, "30d"), "tests": {"preset": "evidently"}}, "budget"),
    ],
)
def test_what_is_no_monitor(store, daily, change, says):
    wrong = dataclasses.replace(daily, name="wrong", **change)
    with pytest.raises(driftline.DriftlineError, match=says):
        store.apply(wrong)
    assert "wrong" not in store.monitors()


def test_the_monitors_of_the_flights_are_accepted(store):
    read = {}
    for name in ("flights/weather", "flights/departures", "monitors/flights"):
        text = (ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
        for kind, bodies in yaml.safe_load(text).items():
            read.setdefault(kind, []).extend(bodies)
    store.apply([Entity.from_json(e) for e in read["entities"]])
    store.apply([FeatureView.from_json(v) for v in read["feature_views"]])
    for body in read["monitors"]:  # YAML reads times as such
        monitor = Monitor.from_json(body)
        assert not store.plan(monitor).is_empty
        assert Monitor.from_json(monitor.to_json()) == monitor
