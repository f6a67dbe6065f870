"""``driftline import mlflow`` brings over what a real MLflow server has, once, and goes on
where it was stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import mlflow.pyfunc
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, ViewType
from server_process import binary, running

NEW = int(mlflow.__version__.split(".")[0]) >= 3
IMPORTED = "driftline.imported_from"  # the tag of a run that came over
POINTS = 1200
PROGRAM = Path(sys.executable).with_name("mlflow")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server of MLflow over SQLite, with something of everything in it."""
    folder = tmp_path_factory.mktemp("mlflow")
    url = f"http://127.0.0.1:{free_port()}"
    store = f"sqlite:///{folder / 'mlflow.db'}"
    command = [PROGRAM, "server", "--port", url.rsplit(":", 1)[1], "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", folder / "files"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5)
                break
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline or process.poll() is not None:
                    pytest.fail((folder / "log").read_text()[-2000:])
                time.sleep(0.3)
        fill(url)
        yield url, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # nobody reads its folder again
        process.wait(timeout=60)


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context: object, model_input: list[str]) -> list[str]:
        return model_input


def fill(url: str) -> None:
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    experiment = mlflow.set_experiment("flights").experiment_id
    client.set_experiment_tag(experiment, "team", "ops")
    with mlflow.start_run(run_name="parent", tags={"kind": "α/β"}) as parent:
        mlflow.log_params({f"p{i}": "v" * (i + 1) for i in range(120)})
        mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "zero": 0.0, "tiny": 5e-324})
        points = [Metric("loss", 1 / (i + 1), 1_700_000_000_000 + i, i) for i in range(POINTS)]
        for at in range(0, POINTS, 1000):
            client.log_batch(parent.info.run_id, metrics=points[at : at + 1000])
        mlflow.log_text("deep", "a/b c/d#e.txt")
        mlflow.log_dict({"x": 1}, "x.json")
        place = {"name": "model"} if NEW else {"artifact_path": "model"}
        for _ in range(3):
            mlflow.pyfunc.log_model(
                **place,
                python_model=Echo(),
                registered_model_name="echo",
                pip_requirements=["mlflow"],
            )
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("auc", 0.7)
    with pytest.raises(ZeroDivisionError), mlflow.start_run(run_name="fails"):
        _ = 1 / 0
    with mlflow.start_run(run_name="gone") as gone:
        mlflow.log_param("p", 1)
    client.delete_run(gone.info.run_id)
    client.delete_experiment(client.create_experiment("old"))
    client.delete_model_version("echo", "2")  # numbers have gaps
    client.set_registered_model_alias("echo", "champion", "3")
    client.set_model_version_tag("echo", "3", "checked", "yes")
    client.update_registered_model("echo", "says what it hears")
    client.transition_model_version_stage("echo", "1", "Staging")
    client.create_registered_model("empty")


def bring(source: str | Path, into: str, *flags: str) -> dict:
    command = [binary(), "import", "mlflow", source, "--json", "--server", into, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def runs(client: MlflowClient) -> dict[str, mlflow.entities.Run]:
    ids = [e.experiment_id for e in client.search_experiments(ViewType.ALL)]
    return {r.info.run_id: r for r in client.search_runs(ids, run_view_type=ViewType.ALL)}


def files(client: MlflowClient, run: str, folder: str = "") -> dict[str, int]:
    found = {}
    for f in client.list_artifacts(run, folder):
        found.update(files(client, run, f.path) if f.is_dir else {f.path: f.file_size})
    return found


def points(client: MlflowClient, run: str, key: str) -> list[tuple]:
    history = client.get_metric_history(run, key)
    return sorted((p.step, p.timestamp, repr(p.value)) for p in history)


def own(tags: dict[str, str]) -> dict[str, str]:
    """Tags without those that say that something was imported."""
    return {k: v for k, v in tags.items() if not k.startswith("driftline.import")}


def compare(there: MlflowClient, here: MlflowClient) -> None:
    theirs = runs(there)
    # other tests log runs here too
    ours = {id: run for id, run in runs(here).items() if IMPORTED in run.data.tags}
    assert theirs.keys() == ours.keys()
    for id, run in theirs.items():
        copy = ours[id]
        for field in ("run_name", "status", "start_time", "end_time", "lifecycle_stage"):
            assert getattr(copy.info, field) == getattr(run.info, field), field
        assert copy.data.params == run.data.params
        assert own(copy.data.tags) == own(run.data.tags)
        assert copy.data.metrics.keys() == run.data.metrics.keys()
        for key in run.data.metrics:
            assert points(here, id, key) == points(there, id, key), key
        assert files(here, id) == files(there, id)
    for name in ("flights", "old"):
        a, b = there.get_experiment_by_name(name), here.get_experiment_by_name(name)
        assert (b.lifecycle_stage, b.tags.get("team")) == (a.lifecycle_stage, a.tags.get("team"))
    a, b = there.get_registered_model("echo"), here.get_registered_model("echo")
    assert {k: int(v) for k, v in b.aliases.items()} == {k: int(v) for k, v in a.aliases.items()}
    assert (b.description or "") == (a.description or "")
    theirs = {int(v.version): v for v in there.search_model_versions("name = 'echo'")}
    ours = {int(v.version): v for v in here.search_model_versions("name = 'echo'")}
    assert ours.keys() == theirs.keys() == {1, 3}
    for number, version in theirs.items():
        for field in ("run_id", "creation_timestamp", "current_stage", "description"):
            assert (getattr(ours[number], field) or "") == (getattr(version, field) or ""), field
        assert own(ours[number].tags) == version.tags
    assert here.get_registered_model("empty").name == "empty"


def test_everything_comes_over_once(origin: tuple[str, Path], server: str) -> None:
    url, _ = origin
    there, here = MlflowClient(url), MlflowClient(server)
    first = bring(url, server)
    assert not first.get("problems"), first
    assert all(c["there"] == c["here"] for c in first.values() if isinstance(c, dict))
    assert first["runs"] == {"there": 4, "here": 4}
    assert first["metric_points"]["here"] == POINTS + 5
    compare(there, here)
    mlflow.set_tracking_uri(server)
    assert mlflow.pyfunc.load_model("models:/echo@champion").predict(["hi"]) == ["hi"]

    lines = ledger(server)
    again = bring(url, server)
    assert again["runs_copied_before"] == 4
    assert again["metric_points"] == first["metric_points"]
    assert again["files"] == first["files"]
    assert ledger(server) - lines <= 20  # what was deleted is looked at again; nothing is copied
    compare(there, here)


def ledger(server: str) -> int:
    """How many lines there are, by the cursor of the events that are made of them."""
    last, after = -1, 0
    while after != last:
        last = after
        with urllib.request.urlopen(
            f"{server}/api/v1/lineage/events?lines=10000&after={after}"
        ) as answer:
            after = json.load(answer)["next"]
    return after


def test_an_import_that_was_stopped_goes_on(origin: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = origin
    with running(tmp_path) as fresh:
        command = [binary(), "import", "mlflow", url, "--server", fresh]
        stopped = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        here = MlflowClient(fresh)
        while stopped.poll() is None and len(runs(here)) < 2:
            time.sleep(0.02)
        stopped.send_signal(signal.SIGINT)
        stopped.communicate(timeout=120)
        report = bring(url, fresh)
        assert not report.get("problems"), report
        compare(MlflowClient(url), here)


def test_a_file_of_sqlite_is_read_by_a_server_of_its_own(
    origin: tuple[str, Path], tmp_path: Path
) -> None:
    _, folder = origin
    flags = [
        "--mlflow",
        str(PROGRAM),
        "--artifacts",
        str(folder / "files"),
        "--experiment",
        "flights",
    ]
    with running(tmp_path) as fresh:
        report = bring(folder / "mlflow.db", fresh, *flags)
        assert report["experiments"] == {"there": 1, "here": 1}
        assert report["runs"] == {"there": 4, "here": 4}
        assert report["metric_points"]["here"] == POINTS + 5


def test_a_run_of_the_same_id_is_left_alone(origin: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = origin
    run = next(iter(runs(MlflowClient(url))))
    with running(tmp_path) as fresh:
        spec = json.dumps({"id": run, "experiment": "mine"}).encode()
        request = urllib.request.Request(
            f"{fresh}/api/v1/runs", spec, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()
        command = [binary(), "import", "mlflow", url, "--json", "--server", fresh]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode != 0
        assert run in done.stdout
        assert "not imported from this source" in done.stdout
        assert MlflowClient(fresh).get_run(run).data.tags.get("driftline.imported_from") is None
