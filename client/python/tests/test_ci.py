"""The pipeline of examples/ci runs end to end, closes its gates, and is what its workflow says."""

from __future__ import annotations

import json
import os
import re
import shutil
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


def environment(results: Path | str, server: str = "", production: str = "") -> dict[str, str]:
    """What a CI service would set."""
    chosen = {
        **os.environ,
        "AS_OF": f"{AS_OF:%Y-%m-%d}",
        "RESULTS": str(results),
        "DRIFTLINE": str(binary()),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT / "client" / "python"),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the cores to others
    }
    for name, address in (("DRIFTLINE_SERVER", server), ("DRIFTLINE_PRODUCTION", production)):
        chosen.pop(name, None)
        if address:
            chosen[name] = address
    return chosen


def step(
    name: str, results: Path, server: str = "", production: str = ""
) -> subprocess.CompletedProcess:
    """Runs a script of the example as a CI service would."""
    chosen = environment(results, server, production)
    return subprocess.run([CI / name], env=chosen, capture_output=True, text=True)


def text_of(done: subprocess.CompletedProcess) -> str:
    return f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def suites(folder: Path, pattern: str) -> dict[str, ElementTree.Element]:
    return {p.stem: ElementTree.parse(p).getroot() for p in sorted(folder.glob(pattern))}


def test_the_whole_pipeline_ends_in_production(tmp_path):
    done = step("run", tmp_path)
    assert done.returncode == 0, text_of(done)
    steps = re.findall(r"^── (\w+)$", done.stdout, re.MULTILINE)
    assert steps == [
        *("code_test", "serve", "load", "data_test", "drift_gate"),
        *("train", "register", "gate", "promote", "canary", "production"),
    ]
    reports = suites(tmp_path, "*.xml")
    tables = ("carrier_performance", "departures", "weather")
    gates = {"gate"} | {f"{gate}-{table}" for gate in ("data", "drift") for table in tables}
    assert set(reports) == {"code", *gates}
    assert all(reports[gate].get("failures") == "0" for gate in gates)
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["metrics"]["auc"] > 0.6
    assert "model/late_departure@1, candidate" in done.stdout
    assert "dataset/late_departure@1" in done.stdout, "lineage"
    assert "The gate is open: model/late_departure@1 on dataset/late_departure@1" in done.stdout
    assert re.search(r"leakage +no row was trained on", done.stdout)
    assert re.search(r"model/late_departure@1 of \S+ is model/late_departure@1 of ", done.stdout)
    assert "nobody serves yet" in done.stdout
    assert "version 1 of late_departure serves" in done.stdout
    summary = step("steps/summary", tmp_path).stdout
    assert summary.count("\n## ") >= 7
    assert '"auc"' in summary
    for server in ("staging", "production"):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"{server}.pid").read_text()), 0)


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """Staging, with the example's rows, and production, which is empty."""
    staging, production = (tmp_path_factory.mktemp(name) for name in ("staging", "production"))
    with running(staging) as first, running(production) as second:
        done = step("steps/load", staging, first)
        assert done.returncode == 0, text_of(done)
        yield first, second


def test_the_pipeline_does_not_train_twice_and_refuses_what_is_worse(environments, tmp_path):
    staging, production = environments
    shutil.copytree(CI, tmp_path / "ci", ignore=shutil.ignore_patterns("results", ".drift*"))
    (tmp_path / "flights").symlink_to(ROOT / "examples" / "flights")
    command = [binary(), "run", tmp_path / "ci" / "pipeline.yaml"]

    def run(seed: int = 7) -> tuple[int, dict[str, str], str]:
        chosen = environment("unused", staging, production) | {"SEED": str(seed)}
        done = subprocess.run([*command, "--json"], env=chosen, capture_output=True, text=True)
        state = json.loads(done.stdout)["steps"] if done.stdout else {}
        return done.returncode, {n: s["status"] for n, s in state.items()}, text_of(done)

    code, first, text = run()
    assert code == 0, text
    assert set(first.values()) == {"succeeded"}, text
    code, second, text = run()
    assert code == GATE_CLOSED, "the candidate is the champion by now, byte for byte: " + text
    again = {name for name, status in second.items() if status == "cached"}
    assert again == {"code_test", "train", "register"}
    assert (second["gate"], second["production"]) == ("failed", "skipped")

    code, third, text = run(seed=8)
    assert code == 0, text
    assert set(third.values()) == {"succeeded"}, text
    results = tmp_path / "ci" / "results"
    assert "is not worse by more than 0.02" in (results / "gate.md").read_text()
    assert suites(results, "canary.xml")["canary"].get("failures") == "0"

    with driftline.connect(staging) as store:
        found = json.loads((results / "run.json").read_text())
        name, number = found["dataset"].split("/")[1].split("@")
        rows = store.dataset(name, int(number)).to_df().query("__split == 'test'")
        noise = rows[["origin", "carrier", "tailnum", "scheduled_departure"]].assign(score=0.5)
        with store.start_run("late_departure", inputs=[found["dataset"]]) as worse:
            worse.log_artifact(noise, name=f"predictions/{name}@{number}.parquet")
            worse.log_artifact(b"says the same of all", name="model/late_departure.joblib")
        version = store.register_model("late_departure", worse, "model/late_departure.joblib")
        store.set_alias("late_departure", version, "candidate")
        done = step("steps/gate", results, staging)
        assert done.returncode == GATE_CLOSED, text_of(done)
        assert re.search(r"failed +metric roc_auc .* it is worse by more than 0.02", done.stdout)
        assert suites(results, "gate.xml")["gate"].get("failures") != "0"
        refused = step("steps/promote", results, staging, production)
        assert refused.returncode == 1
        assert 'check "evaluation" of model/late_departure@3 failed' in refused.stderr
        outcomes = [e.outcome for e in store.evaluations("late_departure")]
        assert outcomes == ["failed", "passed", "identical", "passed"]
    with driftline.connect(production) as store:
        first, second = store.model_versions("late_departure")
        assert (first.aliases, second.aliases) == ((), ("candidate", "champion"))
        assert second.origin.datasets[0]["ref"] == found["dataset"]
        (rollout,) = store.rollouts("late_departure")
        assert (rollout.champion, rollout.candidate) == (1, 2)
        assert rollout.phase in ("baking", "promoted")


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
