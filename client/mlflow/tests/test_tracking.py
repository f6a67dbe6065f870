"""Experiments, runs and searches, as MLflow's own client makes them."""

from __future__ import annotations

import json
import math
import time
from urllib.request import Request, urlopen

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException


def test_the_default_experiment_is_there(client: MlflowClient) -> None:
    default = client.get_experiment("0")
    assert (default.name, default.lifecycle_stage) == ("Default", "active")
    assert client.get_experiment_by_name("Default").experiment_id == "0"


def test_an_experiments_life(client: MlflowClient) -> None:
    name = "/Users/åsa/late départ"
    made = client.create_experiment(name, tags={"team": "ops", "stage": "draft"})
    assert made.isdecimal()
    with pytest.raises(RestException, match="already exists") as raised:
        client.create_experiment(name)
    assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"
    client.set_experiment_tag(made, "stage", "final")
    client.rename_experiment(made, "late")
    got = client.get_experiment(made)
    assert (got.name, got.tags) == ("late", {"team": "ops", "stage": "final"})
    assert got.artifact_location == f"mlflow-artifacts:/{made}"
    assert got.last_update_time >= got.creation_time > 0
    assert client.get_experiment_by_name(name) is None
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    with pytest.raises(MlflowException, match=r"(?s)late.*(deleted|already exists)"):
        client.create_experiment("late")
    with pytest.raises(MlflowException, match="'active' state"):
        client.create_run(made)
    client.restore_experiment(made)
    assert client.create_run(made).info.experiment_id == made
    with pytest.raises(RestException) as raised:
        client.get_experiment("424242")
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_experiments_are_searched(client: MlflowClient) -> None:
    ids = [client.create_experiment(f"found {i}", tags={"n": str(i)}) for i in range(5)]
    client.delete_experiment(ids[4])
    find = client.search_experiments
    assert [e.name for e in find(filter_string="name LIKE 'found %'", order_by=["name"])] == [
        "found 0",
        "found 1",
        "found 2",
        "found 3",
    ]
    assert [e.name for e in find(filter_string="name ILIKE 'FOUND %' AND tags.n = '2'")] == [
        "found 2"
    ]
    every = find(ViewType.ALL, filter_string="name LIKE 'found %'")
    assert [e.experiment_id for e in every] == ids[::-1]
    assert [e.name for e in find(ViewType.DELETED_ONLY, filter_string="name LIKE 'found%'")] == [
        "found 4"
    ]
    first = find(max_results=2, filter_string="name LIKE 'found %'", order_by=["name DESC"])
    second = find(
        max_results=2,
        filter_string="name LIKE 'found %'",
        order_by=["name DESC"],
        page_token=first.token,
    )
    assert [e.name for e in [*first, *second]] == ["found 3", "found 2", "found 1", "found 0"]
    assert not second.token


def test_a_run_keeps_what_it_is_told(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run(run_name="first", tags={"kind": "test"}, description="why") as run:
        mlflow.log_param("depth", 3)
        mlflow.log_params({"lr": 0.1, "layers/first": [1, 2]})
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metrics({"loss": 0.25, "acc": 1}, step=2)
        mlflow.set_tags({"kind": "better", "note": "ünïcode 🌧"})
        mlflow.set_tag("gone", "x")
        mlflow.delete_tag("gone")
    got = client.get_run(run.info.run_id)
    assert len(got.info.run_id) == 32
    assert (got.info.status, got.info.lifecycle_stage, got.info.run_name) == (
        "FINISHED",
        "active",
        "first",
    )
    assert got.info.end_time >= got.info.start_time > 0
    assert got.info.artifact_uri == f"mlflow-artifacts:/{experiment}/{run.info.run_id}/artifacts"
    assert got.data.params == {"depth": "3", "lr": "0.1", "layers/first": "[1, 2]"}
    assert got.data.metrics == {"loss": 0.25, "acc": 1.0}
    assert got.data.tags["kind"] == "better"
    assert got.data.tags["note"] == "ünïcode 🌧"
    assert "gone" not in got.data.tags
    assert got.data.tags["mlflow.runName"] == "first"
    assert got.data.tags["mlflow.note.content"] == "why"
    client.set_tag(run.info.run_id, "mlflow.runName", "second")
    assert client.get_run(run.info.run_id).info.run_name == "second"
    client.update_run(run.info.run_id, name="third")
    assert client.get_run(run.info.run_id).data.tags["mlflow.runName"] == "third"


def test_a_run_without_a_name_is_given_one(experiment: str) -> None:
    with mlflow.start_run() as run:
        assert run.info.run_name.count("-") == 2
        assert run.data.tags["mlflow.runName"] == run.info.run_name


def test_runs_are_nested_and_resumed(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run(run_name="parent") as parent:
        for i in range(3):
            with mlflow.start_run(run_name=f"child {i}", nested=True):
                mlflow.log_metric("score", i)
    children = client.search_runs(
        [experiment],
        f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
        order_by=["metrics.score DESC"],
    )
    assert [r.info.run_name for r in children] == ["child 2", "child 1", "child 0"]
    with mlflow.start_run(run_id=parent.info.run_id):
        assert client.get_run(parent.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("late", 1)
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


def test_a_failed_run_says_so(client: MlflowClient, experiment: str) -> None:
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        1 / 0  # noqa: B018
    assert client.get_run(run.info.run_id).info.status == "FAILED"
    killed = client.create_run(experiment)
    client.set_terminated(killed.info.run_id, "KILLED", end_time=killed.info.start_time + 5)
    got = client.get_run(killed.info.run_id).info
    assert (got.status, got.end_time - got.start_time) == ("KILLED", 5)


def test_params_do_not_change(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    client.log_param(run, "lr", "0.1")
    client.log_param(run, "lr", "0.1")
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        client.log_param(run, "lr", "0.2")
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        client.log_batch(
            run, params=[Param("new", "1"), Param("lr", "0.2")], metrics=[Metric("m", 1, 1, 1)]
        )
    got = client.get_run(run).data
    assert (got.params, got.metrics) == ({"lr": "0.1"}, {}), "half a batch was kept"


def test_metrics_that_are_no_numbers(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    values = [1.5, math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0]
    client.log_batch(run, metrics=[Metric("m", v, 1_000, step) for step, v in enumerate(values)])
    client.log_metric(run, "nan", math.nan, timestamp=1, step=0)
    history = client.get_metric_history(run, "m")
    assert [h.step for h in history] == list(range(len(values)))
    for point, value in zip(history, values, strict=True):
        assert point.value == value or (math.isnan(point.value) and math.isnan(value))
    assert math.isnan(client.get_run(run).data.metrics["nan"])


def test_the_last_metric_is_the_greatest_by_step_time_and_value(
    client: MlflowClient, experiment: str
) -> None:
    run = client.create_run(experiment).info.run_id
    for value, timestamp, step in [(1, 50, 2), (9, 90, 1), (3, 60, 2), (2, 60, 2), (3, 60, 2)]:
        client.log_metric(run, "m", value, timestamp, step)
    assert client.get_run(run).data.metrics["m"] == 3
    points = {(h.value, h.timestamp, h.step) for h in client.get_metric_history(run, "m")}
    assert points == {(1, 50, 2), (9, 90, 1), (3, 60, 2), (2, 60, 2)}
    assert len(client.get_metric_history(run, "m")) == 4, "a point was kept twice"
    assert client.get_metric_history(run, "none") == []


def test_a_history_is_the_same_once_its_points_are_in_files(
    client: MlflowClient, experiment: str, server: str
) -> None:
    run = client.create_run(experiment).info.run_id
    points = [Metric("m", v, 1000 + i % 2, i // 2) for i, v in enumerate([0.5, math.inf, -0.0, 2])]
    client.log_batch(run, metrics=points)
    client.log_metric(run, "m", math.nan, timestamp=5000, step=9)
    client.set_terminated(run)
    before = [repr(h.to_dictionary()) for h in client.get_metric_history(run, "m")]
    assert len(before) == 5
    compact = Request(f"{server}/api/v1/tables/meta.metric_history/compact", b"{}", method="POST")
    with urlopen(compact) as answer:
        assert json.load(answer)["flushed"] >= 5
    assert [repr(h.to_dictionary()) for h in client.get_metric_history(run, "m")] == before
    client.log_metric(run, "m", 1, timestamp=5000, step=-1)  # the last is still the last
    history = client.get_metric_history(run, "m")
    assert [repr(h.to_dictionary()) for h in history[1:]] == before
    assert math.isnan(client.get_run(run).data.metrics["m"])


def test_a_long_history_comes_in_pages(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    for begin in range(0, 60_000, 1000):
        points = [Metric("m", step / 7, 1_000 + step, step) for step in range(begin, begin + 1000)]
        client.log_batch(run, metrics=points)
    history = client.get_metric_history(run, "m")
    assert [h.step for h in history] == list(range(60_000))
    assert history[59_999].value == 59_999 / 7


def test_limits_are_told_at_once(client: MlflowClient, experiment: str, server: str) -> None:
    run = client.create_run(experiment).info.run_id
    began = time.monotonic()
    for metrics, params, tags, says in [
        ([Metric("m", 1, 1, i) for i in range(1001)], [], [], "1000 metrics"),
        ([], [Param(f"p{i}", "x") for i in range(101)], [], "100 params"),
        ([], [], [RunTag(f"t{i}", "x") for i in range(101)], "100 tags"),
        ([], [Param("../up", "x")], [], "resolve to"),
        ([], [Param("a", "x"), Param("a", "y")], [], "(?i)duplicate"),
        ([Metric("k" * 251, 1, 1, 1)], [], [], "250"),
        ([Metric("a;b", 1, 1, 1)], [], [], "Names may only contain"),
    ]:
        with pytest.raises(MlflowException, match=says):
            client._tracking_client.store.log_batch(run, metrics, params, tags)
    assert time.monotonic() - began < 60, "the client tried again what cannot succeed"
    assert client.get_run(run).data.params == {}


def test_runs_are_deleted_and_restored(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    for write in [
        lambda: client.log_metric(run, "m", 1),
        lambda: client.log_param(run, "p", 1),
        lambda: client.set_tag(run, "t", 1),
        lambda: client.update_run(run, status="FAILED"),
    ]:
        with pytest.raises(MlflowException, match=r"must be in the 'active' state"):
            write()
    assert client.search_runs([experiment]) == []
    assert [
        r.info.run_id for r in client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)
    ] == [run]
    client.restore_run(run)
    client.log_metric(run, "m", 1)
    assert client.search_runs([experiment])[0].data.metrics == {"m": 1}
    with pytest.raises(MlflowException, match="does not exist"):
        client.get_run("0" * 32)
    with pytest.raises(MlflowException, match="No tag with name: nope"):
        client.delete_tag(run, "nope")


# Each filter with the runs that it finds, of four: a and b with metrics, c without, d deleted.
FILTERS = {
    "": "cba",
    "metrics.loss > 0.1": "ba",
    "metrics.loss >= 0.5": "b",
    "metrics.loss < 0.5": "a",
    "metrics.loss <= 0.5 and metrics.loss != 0.2": "b",
    "metrics.`val loss` = 2": "a",
    'metrics."val loss" = 2': "a",
    "params.solver = 'lbfgs'": "a",
    "params.solver != 'lbfgs'": "b",
    "params.solver LIKE 'l%'": "a",
    "params.solver ILIKE 'L%S'": "a",
    'params.solver = "lbfgs"': "a",
    "tags.owner = 'åsa'": "b",
    "tags.owner LIKE '%s_'": "b",
    "tags.`mlflow.source.type` = 'LOCAL'": "",
    "attributes.status = 'FINISHED'": "ba",
    "status = 'RUNNING'": "c",
    "status != 'RUNNING'": "ba",
    "run_name ILIKE 'A'": "a",
    "attributes.start_time >= 2000 AND end_time > 0": "b",
    "created < 2000": "a",
    "user_id = 'me'": "",
    "metrics.loss > 0 AND params.solver = 'sgd' AND tags.owner = 'åsa' AND status LIKE 'F%'": "b",
    "dataset.name = 'iris'": "a",
    "dataset.digest LIKE 'abc%'": "a",
    "datasets.context = 'training'": "a",
    "dataset.name IN ('iris', 'wine')": "a",
    "tags.owner IS NULL": "ca",
    "params.solver IS NOT NULL": "ba",
    # What MLflow's server does not know.
    "metrics.loss > 0.4 OR params.solver = 'lbfgs'": "ba",
    "NOT (status = 'FINISHED')": "c",
    "params.depth > 9": "a",
    "run_name RLIKE '^[ab]$'": "ba",
    "run_name IN ('a', 'b')": "ba",
}


@pytest.fixture(scope="module")
def searched(server: str) -> str:
    """The id of an experiment with the four runs of FILTERS."""
    client = MlflowClient(server)
    mlflow.set_tracking_uri(server)
    made = client.create_experiment("searched")
    runs = {
        name: client.create_run(made, start_time=1000 * (i + 1), run_name=name).info.run_id
        for i, name in enumerate("abcd")
    }
    client.log_batch(
        runs["a"],
        metrics=[Metric("loss", 0.2, 1, 1), Metric("val loss", 2, 1, 1)],
        params=[Param("solver", "lbfgs"), Param("depth", "12")],
    )
    client.log_batch(
        runs["b"],
        metrics=[Metric("loss", 0.5, 1, 1)],
        params=[Param("solver", "sgd"), Param("depth", "3")],
        tags=[RunTag("owner", "åsa")],
    )
    log_dataset(client, runs["a"])
    client.set_terminated(runs["a"], end_time=1500)
    client.set_terminated(runs["b"], end_time=2500)
    client.delete_run(runs["d"])
    return made


def log_dataset(client: MlflowClient, run: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = Dataset("iris", "abc123", "local", "{}", schema="{}", profile="{}")
    client.log_inputs(
        run, datasets=[DatasetInput(data, [InputTag("mlflow.data.context", "training")])]
    )


@pytest.mark.parametrize("text", FILTERS)
def test_runs_are_found(client: MlflowClient, searched: str, text: str) -> None:
    found = client.search_runs([searched], filter_string=text)
    assert "".join(r.info.run_name for r in found) == FILTERS[text]


def test_orders_and_pages(client: MlflowClient, experiment: str) -> None:
    values = {"two": 2.0, "nan": math.nan, "none": None, "inf": math.inf, "one": 1.0}
    for i, (name, value) in enumerate(values.items()):
        run = client.create_run(experiment, run_name=name, start_time=1 + i).info.run_id
        if value is not None:
            client.log_metric(run, "m", value)
        client.log_param(run, "p", name)

    def names(*order: str, **more: object) -> list[str]:
        return [
            r.info.run_name for r in client.search_runs([experiment], order_by=list(order), **more)
        ]

    assert names() == ["one", "inf", "none", "nan", "two"]
    assert names("metrics.m ASC") == ["one", "two", "inf", "nan", "none"]
    assert names("metrics.m DESC") == ["inf", "two", "one", "nan", "none"]
    assert names("params.p") == sorted(values)
    assert names("attributes.start_time") == list(values)
    assert names("attribute.`run_name` DESC") == sorted(values, reverse=True)
    pages, token = [], None
    while True:
        page = client.search_runs(
            [experiment], order_by=["metrics.m"], max_results=2, page_token=token
        )
        pages += [r.info.run_name for r in page]
        token = page.token
        if not token:
            break
    assert pages == names("metrics.m ASC")
    for bad in ["metrics.m UP", "nothing", "thing.m"]:
        with pytest.raises(MlflowException) as raised:
            names(bad)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(MlflowException, match=r"(?i)page token"):
        client.search_runs([experiment], page_token="!")


def test_search_runs_makes_a_data_frame(experiment: str) -> None:
    with mlflow.start_run(run_name="framed"):
        mlflow.log_param("p", 1)
        mlflow.log_metric("m", 2)
    frame = mlflow.search_runs([experiment], "metrics.m = 2")
    assert frame.loc[0, "params.p"] == "1"
    assert frame.loc[0, "metrics.m"] == 2.0
    by_name = mlflow.search_runs(
        experiment_names=["test_search_runs_makes_a_data_frame"], output_format="list"
    )
    assert [r.info.run_name for r in by_name] == ["framed"]


def test_datasets_are_recorded(client: MlflowClient, experiment: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    data = mlflow.data.from_pandas(
        frame, source="https://example.org/flights.csv", name="flights", targets="y"
    )
    with mlflow.start_run() as run:
        mlflow.log_input(data, context="training")
        mlflow.log_input(data, context="training")
    inputs = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [(i.dataset.name, i.dataset.digest) for i in inputs] == [("flights", data.digest)]
    assert {t.key: t.value for t in inputs[0].tags}["mlflow.data.context"] == "training"
    assert mlflow.data.get_source(inputs[0]).url == "https://example.org/flights.csv"
