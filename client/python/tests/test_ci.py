"""The pipeline of examples/ci runs end to end, closes its gates, and is what its workflow says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree

import driftline
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from server_process import ROOT, binary, running

CI = ROOT / "examples" / "ci"
AS_OF = datetime(2013, 4, 1, tzinfo=timezone.utc)
GATE_CLOSED = 3


def step(name: str, results: Path, server: str = "") -> subprocess.CompletedProcess:
    """Runs a script of the example as a CI service would."""
    environment = {
        **os.environ,
        "AS_OF": f"{AS_OF:%Y-%m-%d}",
        "RESULTS": str(results),
        "DRIFTLINE": str(binary()),
        "DRIFTLINE_SERVER": server,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT / "client" / "python"),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the cores to others
    }
    if not server:
        del environment["DRIFTLINE_SERVER"]
    return subprocess.run([CI / name], env=environment, capture_output=True, text=True)


def text_of(done: subprocess.CompletedProcess) -> str:
    return f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def suites(folder: Path, pattern: str) -> dict[str, ElementTree.Element]:
    return {p.stem: ElementTree.parse(p).getroot() for p in sorted(folder.glob(pattern))}


def test_the_whole_pipeline_registers_a_candidate(tmp_path):
    done = step("run", tmp_path)
    assert done.returncode == 0, text_of(done)
    steps = re.findall(r"^── (\w+)$", done.stdout, re.MULTILINE)
    wanted = ("code_test", "serve", "load", "data_test", "drift_gate", "train", "register")
    assert steps == list(wanted)
    reports = suites(tmp_path, "*.xml")
    tables = ("carrier_performance", "departures", "weather")
    gates = {f"{gate}-{table}" for gate in ("data", "drift") for table in tables}
    assert set(reports) == {"code", *gates}
    assert all(reports[gate].get("failures") == "0" for gate in gates)
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["metrics"]["auc"] > 0.6
    assert "model/late_departure@1, candidate" in done.stdout
    assert "dataset/late_departure@1" in done.stdout, "lineage"
    summary = step("steps/summary", tmp_path).stdout
    assert summary.count("\n## ") >= 6
    assert '"auc"' in summary
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "server.pid").read_text()), 0)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A feature store with the example's rows, which tests break a little more each."""
    folder = tmp_path_factory.mktemp("ci")
    with running(folder) as url:
        done = step("steps/load", folder, url)
        assert done.returncode == 0, text_of(done)
        yield url


def newest_weather():
    rows = pq.read_table(ROOT / "examples/flights/data/weather.parquet")
    times = rows["event_timestamp"]
    recent = pc.and_(pc.greater_equal(times, AS_OF - timedelta(days=28)), pc.less(times, AS_OF))
    return rows.filter(recent)


def test_a_changed_unit_closes_the_drift_gate_and_nothing_is_trained(loaded, tmp_path):
    rows = newest_weather()
    celsius = pc.divide(pc.multiply(pc.subtract(rows["temp"], 32.0), 5.0), 9.0)
    rows = rows.set_column(rows.schema.get_field_index("temp"), "temp", celsius)
    with driftline.connect(loaded) as store:
        store.ingest("weather", rows, idempotency_key="celsius")
        done = step("run", tmp_path, loaded)
        assert done.returncode == GATE_CLOSED, text_of(done)
        assert re.findall(r"^── (\w+)$", done.stdout, re.MULTILINE)[-1] == "drift_gate"
        reports = suites(tmp_path, "d*-*.xml")
        failed = {name for name, suite in reports.items() if suite.get("failures") != "0"}
        assert failed == {"drift-weather"}, "the values are possible, and other than before"
        assert len(reports) == 6, "every table is reported before a gate closes"
        cases = reports["drift-weather"].iter("testcase")
        assert [c.get("name") for c in cases if c.find("failure") is not None] == ["temp"]
        assert store.models() == []


def test_values_that_cannot_be_close_the_data_test(loaded, tmp_path):
    rows = newest_weather().slice(0, 50)
    rows = rows.set_column(
        rows.schema.get_field_index("visib"), "visib", pc.add(rows["visib"], 100.0)
    )
    with driftline.connect(loaded) as store:
        store.ingest("weather", rows, idempotency_key="too far to see")
    done = step("steps/data_test", tmp_path, loaded)
    assert done.returncode == GATE_CLOSED, text_of(done)
    weather = suites(tmp_path, "data-*.xml")["data-weather"]
    failures = [c for c in weather.iter("testcase") if c.find("failure") is not None]
    assert [c.get("name") for c in failures] == ["visib from 0 to 10"]


def test_a_model_that_is_not_good_enough_is_not_registered(loaded, tmp_path):
    (tmp_path / "run.json").write_text('{"run": "late_departure-1", "metrics": {"auc": 0.5}}')
    done = step("steps/register", tmp_path, loaded)
    assert done.returncode == 1
    assert "below 0.6" in done.stdout


def test_the_checks_can_be_registered(loaded):
    done = subprocess.run(
        [binary(), "apply", CI / "checks", "--server", loaded], capture_output=True, text=True
    )
    assert done.returncode == 0, text_of(done)
    with driftline.connect(loaded) as store:
        assert {"weather", "departures", "carrier_performance"} <= set(store.validations())


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load((CI / "model.yml").read_text(encoding="utf-8"))


def scripts_of(text: str) -> list[str]:
    return re.findall(r"examples/ci/steps/(\w+)", text)


def test_the_workflow_calls_the_same_steps_in_the_same_order(workflow):
    job = workflow["jobs"]["model"]
    called = [name for s in job["steps"] for name in scripts_of(s.get("run", ""))]
    run = (CI / "run").read_text(encoding="utf-8")
    local = re.findall(r"^\s*step (\w+)$", run, re.MULTILINE)
    assert [name for name in called if name != "summary"] == local
    assert {p.name for p in (CI / "steps").iterdir()} == {*local, "summary"}
    for script in [*(CI / "steps").iterdir(), CI / "run"]:
        assert os.access(script, os.X_OK), f"{script.name} cannot be run"
        subprocess.run(["bash", "-n", script], check=True)


def test_the_workflow_is_one(workflow):
    # YAML 1.1 reads the key "on" as true, and so does this library.
    assert set(workflow[True]) == {"pull_request", "push", "schedule", "workflow_dispatch"}
    assert workflow["permissions"] == {"contents": "read"}
    job = workflow["jobs"]["model"]
    for s in job["steps"]:
        assert ("run" in s) != ("uses" in s), s
        if "uses" in s:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", s["uses"]), "of GitHub itself, pinned"
    makes = {t for s in job["steps"] for t in re.findall(r"\bmake ([\w ]+)", s.get("run", ""))}
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {target for words in makes for target in words.split()} <= set(targets)
    environment = (CI / "environment").read_text(encoding="utf-8")
    assert all(f"{name}" in environment for name in job["env"]), "the steps know what is set"
