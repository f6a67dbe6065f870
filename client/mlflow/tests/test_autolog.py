"""Training code that knows MLflow's autologging only."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(200, 3))
Y = (X[:, 0] + 0.1 * RANDOM.normal(size=200) > 0).astype(int)


@pytest.fixture(autouse=True)
def no_autolog() -> None:
    yield
    mlflow.autolog(disable=True, silent=True)


def test_scikit_learn(client: MlflowClient, experiment: str) -> None:
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog(log_models=False, silent=True)
    with mlflow.start_run() as run:
        LogisticRegression(C=0.5).fit(X, Y)
    got = client.get_run(run.info.run_id)
    assert got.data.params["C"] == "0.5"
    assert got.data.metrics["training_accuracy_score"] > 0.9
    assert got.data.tags["estimator_name"] == "LogisticRegression"
    assert got.inputs.dataset_inputs, "the training data was not recorded"


def test_a_grid_search_is_nested(client: MlflowClient, experiment: str) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    mlflow.sklearn.autolog(log_models=False, silent=True, max_tuning_runs=4)
    with mlflow.start_run() as run:
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(X, Y)
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert sorted(c.data.params["C"] for c in children) == ["0.1", "1.0", "10.0"]
    assert "best_cv_score" in client.get_run(run.info.run_id).data.metrics


def test_lightgbm(client: MlflowClient, experiment: str) -> None:
    import lightgbm

    mlflow.lightgbm.autolog(log_models=False, silent=True)
    with mlflow.start_run() as run:
        train, valid = lightgbm.Dataset(X[:150], Y[:150]), lightgbm.Dataset(X[150:], Y[150:])
        lightgbm.train(
            {"objective": "binary", "metric": "auc", "verbose": -1, "num_threads": 1},
            train,
            num_boost_round=12,
            valid_sets=[valid],
            valid_names=["valid"],
        )
    got = client.get_run(run.info.run_id)
    assert got.data.params["objective"] == "binary"
    assert len(client.get_metric_history(run.info.run_id, "valid-auc")) == 12
