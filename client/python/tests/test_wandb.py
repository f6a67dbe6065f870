"""What W&B's users write, with the import changed: docs/from-wandb.md says the same."""

import re
import subprocess
import sys
import time

import driftline
import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from driftline._background import Companion
from driftline.offline import read_points
from driftline.system import Machine
from server_process import ROOT

mpl.use("Agg")


@pytest.fixture
def wandb(store):
    """The module, connected to the server of the tests; no run stays active."""
    driftline._connected = store
    yield driftline
    driftline.finish()


def test_a_script_of_wandb(wandb, store):
    run = wandb.init(
        project="wandb script",
        config={"lr": 0.1, "layers": [64, 32], "tree": {"leaves": 31}, "resume": None},
        tags=["baseline"],
        notes="the first",
        group="fold 1",
        job_type="train",
    )
    assert wandb.run is run
    assert (wandb.config.lr, wandb.config["layers"], wandb.config.tree["leaves"]) == (
        0.1,
        [64, 32],
        31,
    )
    assert wandb.config.resume is None
    wandb.config.update({"seed": 7})
    wandb.define_metric("acc", summary="max")
    for acc in (0.5, 0.9, 0.7):
        wandb.log({"acc": acc, "val": {"loss": 1 - acc}})
    wandb.summary["best_epoch"] = 1
    wandb.finish()
    assert wandb.run is None

    found = store.run(run.id)
    assert found.status == "FINISHED"
    assert found.config.seed == 7
    assert found.summary["acc"] == 0.7
    assert found.metrics["acc.max"] == 0.9
    assert found.metrics["best_epoch"] == 1
    assert [m.step for m in found.metric_history("val/loss")] == [0, 1, 2]
    assert found.tags["baseline"] == "true"
    assert found.tags["mlflow.note.content"] == "the first"
    assert (found.tags["group"], found.tags["job_type"]) == ("fold 1", "train")
    with pytest.raises(driftline.FailedPreconditionError, match="call driftline"):
        wandb.log({"acc": 1})


def test_the_page_says_what_works(wandb, server_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLINE_SERVER", server_url)
    page = (ROOT / "docs" / "from-wandb.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) > 3
    for snippet in snippets:
        exec(snippet, names)


def test_figures_images_and_tables_are_logged(wandb):
    run = wandb.init("wandb media")
    run.log({"loss": 1.0, "figure": mpl.figure.Figure(), "rows": pd.DataFrame({"a": [1]})}, step=4)
    assert run.download_artifact("media/figure_4.png").startswith(b"\x89PNG")
    assert run.download_artifact("media/rows_4.parquet").startswith(b"PAR1")
    assert run.metrics["loss"] == 1.0
    run.log({"loss": np.float32(0.5)})
    assert run.metric_history("loss")[-1].step == 5


def test_resume_and_fork(wandb, store):
    run = wandb.init("wandb resume", {"lr": 0.1}, id=f"r{time.time_ns()}", resume="allow")
    for loss in (3, 2, 1):
        run.log({"loss": loss})
    run.finish(1)
    assert store.run(run.id).status == "FAILED"
    with pytest.raises(driftline.AlreadyExistsError):
        wandb.init("wandb resume", id=run.id)

    again = wandb.init("wandb resume", id=run.id, resume="must")
    assert (again.id, again.status) == (run.id, "RUNNING")
    again.log({"loss": 0.5})
    assert [m.step for m in again.metric_history("loss")] == [0, 1, 2, 3]
    again.finish()

    fork = wandb.init("wandb resume", {"lr": 0.2}, fork_from=f"{run.id}?_step=1")
    assert fork.config.lr == 0.2
    fork.log({"loss": 9})
    assert [m.value for m in fork.metric_history("loss")] == [3, 2, 9]
    with pytest.raises(driftline.NotFoundError):
        wandb.init("wandb resume", id="nobody", resume="must")
    for mistake in ({"resume": "maybe"}, {"resume": "allow"}, {"fork_from": "x"}, {"mode": "on"}):
        with pytest.raises(ValueError, match=r"want|give id"):
            wandb.init("wandb resume", **mistake)


def test_what_stands_beside_the_code_is_kept(wandb):
    run = wandb.init("wandb origin", capture_output=True)
    print("from the training")
    wandb.finish()
    kept = wandb._connected.run(run.id)
    assert "python.version" in kept.tags
    assert b"pyarrow==" in kept.download_artifact("code/requirements.txt")
    assert kept.download_artifact("output.log") == b"from the training\n"
    assert type(sys.stdout).__name__ != "_Tee", "the streams are as before"
    bare = wandb.init("wandb origin", save_code=False, system_metrics=0, heartbeat=0)
    wandb.finish()
    assert wandb._connected.run(bare.id).artifacts == []


def test_many_points_at_once(wandb):
    run = wandb.init("wandb bulk", system_metrics=0)
    rows = pd.DataFrame(
        {"step": range(1000), "loss": np.linspace(1, 0, 1000), "acc": [None, 1.0] * 500}
    )
    assert run.log_history(rows) == 1500
    history = run.metric_history("loss")
    assert [m.step for m in history] == list(range(1000))
    assert history[-1].value == 0
    assert len(run.metric_history("acc")) == 500
    with pytest.raises(driftline.InvalidError, match="no column that is a metric"):
        run.log_history({"step": [1]})
    run.finish()
    with pytest.raises(driftline.FailedPreconditionError):
        run.log_history(rows)


def test_runs_breathe_and_measure_the_machine(store):
    run = store._begin_run({"experiment": "breath", "heartbeat": "1s"}, {}, None, "never")
    companion = Companion(store._http.again(), run.id, heartbeat=0.3, system_metrics=0.05)
    deadline = time.monotonic() + 30
    while not (found := store.run(run.id)).metrics and time.monotonic() < deadline:
        time.sleep(0.05)
    companion.stop()
    assert found.metrics["system/system_memory_usage_megabytes"] > 0
    assert found.metrics["system/process_memory_megabytes"] > 0
    assert found._step == 0, "measures are no steps of the run"
    assert Machine().measure()["disk_available_megabytes"] > 0
    deadline = time.monotonic() + 60
    while (found := store.run(run.id)).status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert (found.status, found.reason[:5]) == ("FAILED", "lost:")
    run.log({"loss": 1})
    assert store.run(run.id).status == "RUNNING"
    run.finish()


OFFLINE = """
import sys, driftline
run = driftline.init("offline", {"lr": 0.1}, id=sys.argv[1], mode="offline", dir=sys.argv[2])
for i in range(600):
    run.log({"loss": 600 - i})
run.log_artifact(b"weights", name="model.bin")
run.use_dataset("view/nothing") if sys.argv[3] == "bad" else None
run.set_tags({"late": "yes"})
if sys.argv[3] == "killed":
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "raise":
    raise RuntimeError("boom")
"""


@pytest.mark.parametrize("end", ["exit", "raise", "killed"])
def test_runs_without_a_server_are_uploaded_later(store, tmp_path, end):
    id = f"offline-{end}-{time.time_ns()}"
    subprocess.run([sys.executable, "-c", OFFLINE, id, tmp_path, end], stderr=subprocess.DEVNULL)
    folder = tmp_path / "driftline-offline"
    with (folder / id / "run.jsonl").open("a") as file:
        file.write('{"log": {"tags": {"half"')  # where a write was cut
    assert driftline.sync(folder, store=store) == [id]
    assert driftline.sync(folder, store=store) == []
    assert driftline.sync(folder / id, store=store) == [id], "a run that is named goes again"

    run = store.run(id)
    assert run.status == ("FINISHED" if end == "exit" else "FAILED")
    assert run.params == {"lr": "0.1"}
    assert run.tags["late"] == "yes"
    assert run.download_artifact("model.bin") == b"weights"
    history = run.metric_history("loss")
    points = read_points(folder / id / "metrics.arrows")
    assert [m.value for m in history] == points["value"].to_pylist()
    assert len(history) == 600 if end != "killed" else 512 <= len(history) <= 600
    assert history[0].value == 600


def test_offline_runs_answer_like_others(tmp_path):
    run = driftline.init("offline", {"a": 1}, mode="offline", dir=tmp_path)
    run.log({"loss": 1})
    run.log_artifact({"a": 1}, name="a.json")
    assert (run.config.a, run.summary["loss"], run.status) == (1, 1.0, "RUNNING")
    assert [a.path for a in run.artifacts] == ["a.json"]
    with pytest.raises(driftline.ConflictError):
        run.log_params({"a": 2})
    run.finish()
    assert run.status == "FINISHED"
    nothing = driftline.init("offline", mode="disabled", dir=tmp_path / "x")
    nothing.log({"loss": 1})
    nothing.log_artifact(b"x", name="x")
    nothing.finish()
    assert not (tmp_path / "x").exists()
    with pytest.raises(driftline.InvalidError, match="no folder of a run"):
        driftline.offline.upload(None, tmp_path)
