"""Runs, artifacts, models, aliases, and the lineage that comes of them."""

import io
import itertools
import json
import math

import driftline
import joblib
import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from conftest import NOON

mpl.use("Agg")

_numbers = itertools.count(1)


@pytest.fixture
def project() -> str:
    return f"project {next(_numbers)}"


@pytest.fixture
def run(store, project):
    return store.start_run(project, config={"depth": 6, "tree": {"leaves": 31}}, name="first")


def test_a_run_from_start_to_finish(store, project, run):
    assert run.params == {"depth": "6", "tree/leaves": "31"}
    assert (run.experiment, run.name, run.status) == (project, "first", "RUNNING")
    run.log({"loss": 0.5, "val": {"auc": np.float32(0.75)}})
    run.log({"loss": 0.25})
    run.log({"loss": 0.125}, step=10)
    run.log_params({"depth": 6, "late": None})
    run.set_tags({"by": "me"})
    run.finish()

    found = store.run(run.id)
    assert found.status == "FINISHED"
    assert found.metrics == {"loss": 0.125, "val/auc": 0.75}
    assert found.params == {"depth": "6", "tree/leaves": "31", "late": "None"}
    assert found.tags == {"by": "me"}
    assert found.ended >= found.started
    assert [(m.step, m.value) for m in found.metric_history("loss")] == [
        (0, 0.5),
        (1, 0.25),
        (10, 0.125),
    ]
    assert [m.value for m in found.metric_history("val/auc")] == [0.75]
    assert [r.id for r in store.runs(project)] == [run.id]


def lose_the_first_answer(http, monkeypatch):
    send, lost = http._session.request, []

    def lose_the_first(*args, **kwargs):
        answer = send(*args, **kwargs)
        if not lost:
            lost.append(answer.json()["id"])
            raise requests.ConnectionError
        return answer

    monkeypatch.setattr(http._session, "request", lose_the_first)
    return lost


def test_a_lost_answer_starts_no_second_run(store, project, monkeypatch):
    lost = lose_the_first_answer(store._http, monkeypatch)
    run = store.start_run(project)
    assert [run.id] == lost == [r.id for r in store.runs(project)]


def test_a_lost_answer_logs_no_point_twice(store, run, monkeypatch):
    lost = lose_the_first_answer(run._http, monkeypatch)
    run.log({"loss": 0.5})
    assert lost == [run.id]
    assert [(p.step, p.value) for p in run.metric_history("loss")] == [(0, 0.5)]


def test_all_runs_come_page_by_page(store, project, monkeypatch):
    made = {store.start_run(project).id for _ in range(5)}
    ask, pages = store._http.get, []

    def two_at_a_time(*path, **query):
        pages.append(ask(*path, **query, limit=2))
        return pages[-1]

    monkeypatch.setattr(store._http, "get", two_at_a_time)
    listed = [run.id for run in store.runs(project)]
    assert len(listed) == 5
    assert set(listed) == made
    assert [len(page["runs"]) for page in pages] == [2, 2, 1]


def test_the_block_ends_the_run(store, project):
    with driftline.init(project=project, store=store) as run:
        assert run.status == "RUNNING"
    assert store.run(run.id).status == "FINISHED"

    def fail(kind):
        with driftline.init(project=project, store=store) as failing:
            runs.append(failing)
            raise kind

    runs = []
    for kind in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(kind):
            fail(kind)
    assert [store.run(r.id).status for r in runs] == ["FAILED", "KILLED"]


def test_init_finds_the_store_that_was_connected(server_url, project):
    driftline.connect(server_url)
    assert driftline.init(project).experiment == project


def test_numbers_that_json_has_not(run):
    run.log({"a": math.nan, "b": math.inf, "c": -math.inf})
    assert math.isnan(run.metrics["a"])
    assert (run.metrics["b"], run.metrics["c"]) == (math.inf, -math.inf)


def test_a_param_is_set_once(run):
    with pytest.raises(driftline.ConflictError, match="depth"):
        run.log_params({"depth": 7})


@pytest.mark.parametrize(
    "mistake",
    [
        lambda run: run.log({"a": "0.5"}),
        lambda run: run.log({"a": True}),
        lambda run: run.log([1]),
        lambda run: run.log_params(["a"]),
        lambda run: run.log_artifact(b"x"),
        lambda run: run.use_dataset("late_departure"),
    ],
)
def test_mistakes_are_early(run, mistake):
    with pytest.raises(TypeError):
        mistake(run)


def test_artifacts(run, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("as it was")
    frame = pd.DataFrame({"a": [1, 2]})
    figure = mpl.figure.Figure()

    assert run.log_artifact(file).path == "notes.txt"
    run.log_artifact(b"\x00\xff", name="folder/raw ü.bin")
    run.log_artifact({"a": [1]}, name="a.json")
    run.log_artifact(frame, name="a.parquet")
    run.log_artifact(pa.table({"a": [3]}), name="b.parquet")
    run.log_artifact(figure, name="figure.png")
    run.log_artifact(np.arange(3), name="model.joblib")

    assert run.download_artifact("notes.txt") == b"as it was"
    assert run.download_artifact("folder/raw ü.bin") == b"\x00\xff"
    assert json.loads(run.download_artifact("a.json")) == {"a": [1]}
    assert pd.read_parquet(io.BytesIO(run.download_artifact("a.parquet"))).equals(frame)
    assert pq.read_table(io.BytesIO(run.download_artifact("b.parquet")))["a"].to_pylist() == [3]
    assert run.download_artifact("figure.png").startswith(b"\x89PNG")
    assert joblib.load(io.BytesIO(run.download_artifact("model.joblib"))).tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        run.log_artifact(tmp_path / "missing")
    with pytest.raises(driftline.NotFoundError):
        run.download_artifact("missing")


def test_models_and_aliases(store, run, project, tmp_path):
    model = f"model of {project}"
    run.log_artifact(b"one", name="model.bin")
    first = store.register_model(model, run, "model.bin", description="d", tags={"n": 1})
    run.log_artifact(b"two", name="model2.bin")
    second = store.register_model(model, run.id, "model2.bin")
    assert (first.version, second.version) == (1, 2)
    assert (first.run, first.description, first.tags) == (run.id, "d", {"n": "1"})

    store.set_alias(model, first, "champion", reason="the first")
    assert store.model_version(model, "champion").version == 1
    assert store.model_version(model, "champion").aliases == ("champion",)
    with pytest.raises(driftline.ConflictError):
        store.set_alias(model, 2, "champion", expect=0)
    store.set_alias(model, 2, "champion", expect=1)

    champion = store.model_version(model, "champion")
    assert store.download_artifact(champion, to=tmp_path / "model") == b"two"
    assert (tmp_path / "model").read_bytes() == b"two"
    assert store.download_artifact(run, "model.bin") == b"one"
    assert [v.version for v in store.model_versions(model)] == [1, 2]
    assert model in [m.model for m in store.models()]
    with pytest.raises(driftline.NotFoundError):
        store.model_version(model, "challenger")
    with pytest.raises(driftline.NotFoundError):
        store.register_model(model, run, "missing.bin")


def test_lineage_goes_back_to_the_rows(filled, run, project):
    store = filled.store
    dataset = f"lineage_of_{filled.name}"
    job = store.get_historical_features(
        {"station": ["a"], "event_timestamp": [NOON]}, [filled.ref("temp")], save_as=dataset
    )
    run.use_dataset(job)
    run.log_artifact(b"model", name="model.bin")
    version = store.register_model(f"model of {project}", run, "model.bin")

    up = store.lineage(version)
    assert up.root == version.ref
    assert f"run/{run.id}" in up.refs("run")
    assert f"dataset/{dataset}@1" in up.refs("dataset")
    assert any(ref.startswith(f"snapshot/features.{filled.name}@") for ref in up.refs("snapshot"))
    assert repr(up).splitlines()[0].startswith(version.ref)
    assert all(ref in repr(up) for ref in up.refs())
    assert "<pre" in up._repr_html_()

    down = store.lineage(job.dataset, direction="down")
    assert version.ref in down.refs("model")
    assert f"run/{run.id}  (trained on ↑)" in repr(down)
    assert store.lineage(version, depth=1).refs() != up.refs()
    with pytest.raises(ValueError, match="up"):
        store.lineage(version, direction="sideways")
    with pytest.raises(driftline.NotFoundError):
        store.lineage("model/none@1")


def test_runs_are_searched(store):
    for depth in (3, 12):
        with store.start_run("searched", config={"depth": depth}) as run:
            run.log({"auc": depth / 20})
    found = store.search_runs("params.depth > 9 OR metrics.auc > 1", projects=["searched"])
    assert [r.params["depth"] for r in found] == ["12"]
    ordered = store.search_runs(projects=["searched"], order_by=["metrics.auc ASC"], limit=1)
    assert ordered[0].metrics == {"auc": 0.15}
    with pytest.raises(driftline.InvalidError, match="has no value"):
        store.search_runs("metrics.auc >")
    with pytest.raises(TypeError, match="lists"):
        store.search_runs(order_by="metrics.auc")


def test_runs_are_grouped(store):
    for depth, auc in ((10, 0.5), (9, 0.25), (10, 1.0), (10, math.nan)):
        with store.start_run("grouped", config={"depth": depth}) as run:
            run.log({"auc": auc})
    store.start_run("grouped").finish()
    groups = store.group_runs("params.depth", metrics=["auc"], projects=["grouped"])
    assert [(g.value, g.runs) for g in groups] == [("9", 1), ("10", 3), (None, 1)]
    assert groups[1].metrics == {"auc": driftline.MetricSummary(2, 0.75, 0.5, 1.0)}
    assert groups[2].metrics == {}
    found = store.search_runs(groups[1].filter, projects=["grouped"])
    assert [r.params["depth"] for r in found] == ["10"] * 3
    assert [g.value for g in store.group_runs("parent", projects=["grouped"])] == [None]
    with pytest.raises(driftline.InvalidError, match="grouped by"):
        store.group_runs("metrics.auc")
    with pytest.raises(TypeError, match="lists"):
        store.group_runs("params.depth", metrics="auc")
