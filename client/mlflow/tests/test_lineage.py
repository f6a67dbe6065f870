"""A training set that this process retrieved is known to the models made of it, with no
line about it in the training code."""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

sys.path.append(str(Path(__file__).parents[2] / "python"))

import driftline
from driftline import Entity, FeatureView, Field
from driftline.mlflow_context import DriftlineRunContext
from driftline.types import Float64, Int64, String
from mlflow.tracking.context import registry

NEW = int(mlflow.__version__.split(".")[0]) >= 3
TIMES = pd.date_range("2024-05-01", periods=20, freq="h", tz="UTC")


@pytest.fixture(scope="module")
def store(server: str) -> driftline.FeatureStore:
    """A server with rows of a view, and the plug-in as an installed package has it."""
    registry._run_context_provider_registry.register(DriftlineRunContext)
    with driftline.connect(server) as store:
        station = Entity(name="station", join_keys=["station"], value_type=String)
        schema = [Field("temp", Float64, description="Degrees"), Field("count", Int64)]
        store.apply([station, FeatureView(name="readings", entities=[station], schema=schema)])
        rows = {
            "station": "a",
            "event_timestamp": TIMES,
            "temp": np.arange(20.0),
            "count": range(20),
        }
        store.ingest("readings", pd.DataFrame(rows))
        yield store


def training_set(store: driftline.FeatureStore, name: str) -> pd.DataFrame:
    spine = pd.DataFrame({"station": "a", "event_timestamp": TIMES, "late": np.arange(20.0) * 2})
    features = ["readings:temp", "readings:count"]
    return store.get_historical_features(spine, features, save_as=name).to_df()


def log(model: LinearRegression, columns: pd.DataFrame, name: str) -> None:
    place = {"name": "model"} if NEW else {"artifact_path": "model"}
    mlflow.sklearn.log_model(
        model,
        **place,
        signature=infer_signature(columns, model.predict(columns)),
        registered_model_name=name,
        pip_requirements=["scikit-learn"],
    )


def test_a_model_knows_its_dataset(
    client: MlflowClient, experiment: str, store: driftline.FeatureStore
) -> None:
    frame = training_set(store, "late")
    columns = frame[["temp", "count"]]
    with mlflow.start_run() as run:
        log(LinearRegression().fit(columns, frame["late"]), columns, "known")
    assert client.get_run(run.info.run_id).data.tags["driftline.inputs"] == "dataset/late@1"
    version = store.model_version("known", 1)
    assert [d["ref"] for d in version.origin.datasets] == ["dataset/late@1"]
    assert len(version.origin.datasets[0]["content_hash"]) == 64
    assert [s.split("@")[0] for s in version.origin.snapshots] == ["snapshot/features.readings"]
    (check,) = version.checks
    assert (check.name, check.passed, check.evidence) == ("signature", True, ("dataset/late@1",))
    up = str(store.lineage("model/known@1"))
    for ref in (f"run/{run.info.run_id}", "dataset/late@1", "snapshot/features.readings@"):
        assert ref in up
    card = store.model_card("known", 1)
    assert "readings:temp" in card
    assert "Degrees" in card


def test_a_set_that_is_retrieved_during_the_run_counts(
    client: MlflowClient, experiment: str, store: driftline.FeatureStore
) -> None:
    training_set(store, "before")
    with mlflow.start_run() as run:
        training_set(store, "during")
    tag = client.get_run(run.info.run_id).data.tags["driftline.inputs"]
    assert tag == "dataset/before@1,dataset/during@1"
    inputs = store.run(run.info.run_id).inputs
    assert inputs == ["dataset/before@1", "dataset/during@1"]


def test_a_signature_that_does_not_fit_fails_its_check(
    client: MlflowClient, experiment: str, store: driftline.FeatureStore
) -> None:
    frame = training_set(store, "late")
    columns = pd.DataFrame({"tmep": frame["temp"], "count": frame["count"].astype(str)})
    model = LinearRegression().fit(columns.astype(float), frame["late"])
    place = {"name": "model"} if NEW else {"artifact_path": "model"}
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model,
            **place,
            signature=infer_signature(columns, frame["late"]),
            registered_model_name="misfit",
            pip_requirements=["scikit-learn"],
        )
    (check,) = store.model_version("misfit", 1).checks
    assert not check.passed
    assert 'input "tmep" is no column that it was trained on (nearest: "temp")' in check.summary
    assert 'input "count" is string, the column is int64' in check.summary
    store.set_gate("misfit", alias="champion", checks=["signature"])
    with pytest.raises(Exception, match=r'check "signature" failed'):
        client.set_registered_model_alias("misfit", "champion", "1")
