"""Models logged, registered, staged, aliased, copied and loaded by MLflow's own client."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.models import infer_signature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sklearn.linear_model import LinearRegression

NEW = int(mlflow.__version__.split(".")[0]) >= 3
X = np.arange(20.0).reshape(10, 2)
Y = X @ [2.0, 1.0] + 1

warnings.simplefilter("ignore")


def log_linear(name: str | None = None, slope: float = 2.0) -> object:
    """Logs a model y = slope * x0 + x1 + 1, and registers it if it has a name."""
    y = X @ [slope, 1.0] + 1
    model = LinearRegression().fit(X, y)
    place = {"name": "model"} if NEW else {"artifact_path": "model"}
    with mlflow.start_run():
        mlflow.log_param("slope", slope)
        mlflow.log_metric("r2", model.score(X, y))
        return mlflow.sklearn.log_model(
            model,
            **place,
            signature=infer_signature(X, y),
            input_example=X[:2],
            registered_model_name=name,
            pip_requirements=["scikit-learn"],
        )


@pytest.mark.parametrize("flavor", ["sklearn", "lightgbm"])
def test_a_model_is_logged_registered_and_loaded(
    client: MlflowClient, experiment: str, flavor: str
) -> None:
    if flavor == "sklearn":
        model, module = LinearRegression().fit(X, Y), mlflow.sklearn
    else:
        data = lightgbm.Dataset(X, Y, params={"min_data_in_leaf": 1, "min_data_in_bin": 1})
        model = lightgbm.train({"verbose": -1, "min_data_in_leaf": 1}, data, 5)
        module = mlflow.lightgbm
    place = {"name": "model"} if NEW else {"artifact_path": "model"}
    with mlflow.start_run() as run:
        info = module.log_model(
            model,
            **place,
            signature=infer_signature(X, Y),
            registered_model_name=f"logged {flavor}",
            pip_requirements=["numpy"],
        )
    version = client.get_model_version(f"logged {flavor}", "1")
    assert (version.run_id, version.status, version.current_stage) == (
        run.info.run_id,
        "READY",
        "None",
    )
    expected = model.predict(X)
    for uri in (
        f"models:/logged {flavor}/1",
        f"models:/logged {flavor}/latest",
        info.model_uri,
        f"runs:/{run.info.run_id}/model",
    ):
        assert np.allclose(mlflow.pyfunc.load_model(uri).predict(X), expected)
    client.set_registered_model_alias(f"logged {flavor}", "champion", 1)
    loaded = module.load_model(f"models:/logged {flavor}@champion")
    assert np.allclose(loaded.predict(X), expected)
    signature = mlflow.models.get_model_info(f"models:/logged {flavor}@champion").signature
    assert signature.inputs is not None


def test_stages_and_aliases(client: MlflowClient, experiment: str) -> None:
    name = "staged"
    for slope in (2.0, 3.0, 4.0):
        log_linear(name, slope)
    for version in ("1", "2"):
        client.transition_model_version_stage(name, version, "Production")
    client.transition_model_version_stage(name, "3", "staging")
    client.transition_model_version_stage(name, "3", "Production", archive_existing_versions=True)
    stages = {v.version: v.current_stage for v in client.search_model_versions(f"name='{name}'")}
    assert stages == {1: "Archived", 2: "Archived", 3: "Production"} or stages == {
        "1": "Archived",
        "2": "Archived",
        "3": "Production",
    }
    latest = client.get_latest_versions(name, ["Production", "Archived", "Staging"])
    assert {(v.current_stage, int(v.version)) for v in latest} == {
        ("Production", 3),
        ("Archived", 2),
    }
    loaded = mlflow.pyfunc.load_model(f"models:/{name}/Production")
    assert np.allclose(loaded.predict(X), X @ [4.0, 1.0] + 1)
    with pytest.raises(MlflowException, match="Invalid Model Version stage: Live"):
        client.transition_model_version_stage(name, "1", "Live")
    with pytest.raises(MlflowException, match=r"(?i)staging"):
        mlflow.pyfunc.load_model(f"models:/{name}/Staging")

    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "challenger", "2")
    assert client.get_registered_model(name).aliases == {"champion": "2", "challenger": "2"}
    assert sorted(client.get_model_version(name, "2").aliases) == ["challenger", "champion"]
    assert int(client.get_model_version_by_alias(name, "champion").version) == 2
    loaded = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    assert np.allclose(loaded.predict(X), X @ [3.0, 1.0] + 1)
    client.delete_registered_model_alias(name, "challenger")
    client.delete_registered_model_alias(name, "challenger")
    with pytest.raises(RestException, match="Registered model alias challenger not found") as e:
        client.get_model_version_by_alias(name, "challenger")
    assert e.value.error_code == "INVALID_PARAMETER_VALUE"
    for alias in ("latest", "v3", "a/b"):
        with pytest.raises(MlflowException):
            client.set_registered_model_alias(name, alias, "1")
    with pytest.raises(RestException, match="not found"):
        client.set_registered_model_alias(name, "champion", "9")
    client.delete_model_version(name, "2")
    assert client.get_registered_model(name).aliases == {}
    with pytest.raises(RestException, match=r"Model Version \(name=staged, version=2\) not found"):
        client.get_model_version(name, "2")


def test_a_registered_models_life(client: MlflowClient) -> None:
    made = client.create_registered_model("life", {"team": "ops", "n": 1}, "first words")
    assert (made.name, made.tags, made.description) == (
        "life",
        {"team": "ops", "n": "1"},
        "first words",
    )
    with pytest.raises(RestException, match=r"Registered Model .*already exists") as raised:
        client.create_registered_model("life")
    assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"
    client.set_registered_model_tag("life", "a", "")
    client.delete_registered_model_tag("life", "n")
    client.update_registered_model("life", "other words")
    client.rename_registered_model("life", "afterlife")
    renamed = client.get_registered_model("afterlife")
    assert (renamed.tags, renamed.description) == ({"team": "ops", "a": ""}, "other words")
    with pytest.raises(RestException, match="Registered Model with name=life not found") as raised:
        client.get_registered_model("life")
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.delete_registered_model("afterlife")
    with pytest.raises(RestException, match="Registered Model with name=afterlife not found"):
        client.rename_registered_model("afterlife", "x")
    assert client.create_registered_model("afterlife").latest_versions == []
    for name in ("", " ", "a/b", "a:b", "AfterLife"):
        with pytest.raises(MlflowException):
            client.create_registered_model(name)


def test_versions_are_described_copied_and_never_numbered_twice(
    client: MlflowClient, experiment: str
) -> None:
    log_linear("source")
    client.update_model_version("source", "1", "the first")
    client.set_model_version_tag("source", "1", "validated", "yes")
    client.set_model_version_tag("source", "1", "gone", "x")
    client.delete_model_version_tag("source", "1", "gone")
    version = client.get_model_version("source", "1")
    assert (version.description, version.tags.get("validated")) == ("the first", "yes")
    assert version.last_updated_timestamp >= version.creation_timestamp > 0

    copied = client.copy_model_version("models:/source/1", "target")
    assert (copied.name, int(copied.version), copied.run_id) == ("target", 1, version.run_id)
    again = client.copy_model_version("models:/source/1", "target")
    client.delete_registered_model("source")
    loaded = mlflow.pyfunc.load_model(f"models:/target/{again.version}")
    assert np.allclose(loaded.predict(X), Y)
    with pytest.raises(MlflowException, match="source"):
        client.copy_model_version("models:/source/1", "target")

    client.delete_model_version("target", again.version)
    log_linear("target")
    assert [int(v.version) for v in client.search_model_versions("name='target'")] == [3, 1]
    log_linear("source")  # a name that was given up counts on
    assert [int(v.version) for v in client.search_model_versions("name='source'")] == [2]


def test_models_and_versions_are_searched(client: MlflowClient, experiment: str) -> None:
    for i in range(7):
        client.create_registered_model(f"Found {i}", {"n": i, "even": str(i % 2 == 0)})
    register_prompt = mlflow.genai.register_prompt if NEW else mlflow.register_prompt
    register_prompt(name="Found-prompt", template="Hello {{name}}")
    names = lambda **q: [m.name for m in client.search_registered_models(**q)]  # noqa: E731
    everything = [f"Found {i}" for i in range(7)]
    assert names(filter_string="name LIKE 'Found%'") == everything
    assert names(filter_string="name ILIKE 'found%' AND tags.even = 'True'") == everything[::2]
    assert names(filter_string="name LIKE 'found%'") == []
    assert names(filter_string="name = 'Found 3'") == ["Found 3"]
    assert names(filter_string="tags.n = '3' OR name = 'Found 4'") == ["Found 3", "Found 4"]
    assert names(filter_string="name LIKE 'Found%'", order_by=["name DESC"]) == everything[::-1]
    page = client.search_registered_models("name LIKE 'Found%'", max_results=3)
    seen = [m.name for m in page]
    while page.token:
        page = client.search_registered_models(
            "name LIKE 'Found%'", max_results=3, page_token=page.token
        )
        seen += [m.name for m in page]
    assert seen == everything
    with pytest.raises(MlflowException):
        client.search_registered_models("nothing = 'x'")

    client.create_registered_model("versions")
    for i in range(4):
        client.create_model_version("versions", "s3://bucket/m", tags={"i": i})
    found = client.search_model_versions("name = 'versions' AND tags.i = '2'")
    assert [(int(v.version), v.source) for v in found] == [(3, "s3://bucket/m")]
    order = client.search_model_versions("name = 'versions'", order_by=["version_number ASC"])
    assert [int(v.version) for v in order] == [1, 2, 3, 4]
    assert client.get_model_version_download_uri("versions", "1") == "s3://bucket/m"
    load_prompt = mlflow.genai.load_prompt if NEW else mlflow.load_prompt
    assert load_prompt("prompts:/Found-prompt/1").template == "Hello {{name}}"
    assert "Found-prompt" not in names()
    if NEW:
        assert [p.name for p in mlflow.genai.search_prompts()] == ["Found-prompt"]


def test_where_a_version_may_come_from(client: MlflowClient, experiment: str) -> None:
    client.create_registered_model("sources")
    with mlflow.start_run() as run:
        mlflow.log_text("flavors: {}", "model/MLmodel")
    made = client.create_model_version("sources", f"{run.info.artifact_uri}/model", run.info.run_id)
    assert made.status == "READY"
    elsewhere = client.create_model_version("sources", "runs:/run_id/model", "run_id")
    assert (elsewhere.status, elsewhere.run_id, elsewhere.source) == (
        "READY",
        "run_id",
        "runs:/run_id/model",
    )
    for source, code in (
        ("file:///etc", "INVALID_PARAMETER_VALUE"),
        ("/etc", "INVALID_PARAMETER_VALUE"),
        ("http://169.254.169.254/latest", "INVALID_PARAMETER_VALUE"),
        ("ftp://evil/x", "INVALID_PARAMETER_VALUE"),
        (f"{run.info.artifact_uri}/nothing", "RESOURCE_DOES_NOT_EXIST"),
        ("models:/missing/1", "RESOURCE_DOES_NOT_EXIST"),
    ):
        with pytest.raises(RestException) as raised:
            client.create_model_version("sources", source)
        assert raised.value.error_code == code
    with pytest.raises(RestException, match="Registered Model with name=nobody not found"):
        client.create_model_version("nobody", "s3://bucket/m")


def test_a_version_stays_what_it_was_registered_as(
    client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    client.create_registered_model("fixed")
    with mlflow.start_run() as run:
        mlflow.log_text("first", "model/MLmodel")
        client.create_model_version("fixed", f"runs:/{run.info.run_id}/model", run.info.run_id)
        mlflow.log_text("second", "model/MLmodel")
    got = mlflow.artifacts.download_artifacts("models:/fixed/1/MLmodel", dst_path=str(tmp_path))
    assert Path(got).read_text() == "first"
    uri = client.get_model_version_download_uri("fixed", "1")
    (tmp_path / "new").write_text("x")
    with pytest.raises(Exception, match="does not change"):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "new"))


@pytest.mark.skipif(not NEW, reason="logged models came with MLflow 3")
def test_logged_models(client: MlflowClient, experiment: str) -> None:
    infos = [log_linear(slope=slope) for slope in (2.0, 3.0)]
    first = mlflow.get_logged_model(infos[0].model_id)
    assert (str(first.status), first.name, first.source_run_id) == (
        "READY",
        "model",
        infos[0].run_id,
    )
    assert first.params == {"slope": "2.0"}
    assert {m.key for m in first.metrics} == {"r2"}
    mlflow.set_logged_model_tags(first.model_id, {"kind": "linear", "gone": "x"})
    mlflow.delete_logged_model_tag(first.model_id, "gone")
    mlflow.log_model_params({"extra": "1"}, first.model_id)
    assert mlflow.get_logged_model(first.model_id).tags["kind"] == "linear"

    found = mlflow.search_logged_models([experiment], output_format="list")
    assert [m.model_id for m in found] == [infos[1].model_id, infos[0].model_id]
    found = mlflow.search_logged_models(
        [experiment], filter_string="params.slope = '3.0'", output_format="list"
    )
    assert [m.model_id for m in found] == [infos[1].model_id]
    found = mlflow.search_logged_models(
        [experiment],
        filter_string="metrics.r2 > 0.5 AND tags.kind = 'linear'",
        order_by=[{"field_name": "metrics.r2", "ascending": False}],
        output_format="list",
    )
    assert [m.model_id for m in found] == [infos[0].model_id]

    mlflow.register_model(infos[1].model_uri, "from logged")
    own = f"{mlflow.get_tracking_uri()}/api/v1/models/from%20logged/versions/1"
    version = requests.get(own).json()  # MLflow's own object forgets the id
    assert version["logged_model"] == infos[1].model_id
    assert version["origin"]["params"] == {"slope": "3.0"}
    assert mlflow.get_logged_model(infos[1].model_id).tags
    loaded = mlflow.pyfunc.load_model(f"models:/{infos[1].model_id}")
    assert np.allclose(loaded.predict(X), X @ [3.0, 1.0] + 1)
    client.delete_logged_model(infos[0].model_id)
    with pytest.raises(MlflowException, match="not found"):
        mlflow.get_logged_model(infos[0].model_id)
    outputs = client.get_run(infos[1].run_id).outputs.model_outputs
    assert [o.model_id for o in outputs] == [infos[1].model_id]


def test_who_moved_an_alias_is_remembered(client: MlflowClient, experiment: str) -> None:
    log_linear("remembered")
    os.environ |= {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "any"}
    try:
        client.set_registered_model_alias("remembered", "champion", "1")
    finally:
        del os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
    history = requests.get(f"{mlflow.get_tracking_uri()}/api/v1/models/remembered/history").json()
    assert [(c["to"], c["by"]) for c in history["aliases"]] == [(1, "ada")]
