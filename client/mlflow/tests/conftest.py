"""A real server, and the published MLflow client pointed at it: the only line that changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before mlflow is imported: a test must fail at once where a user would wait for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MPLBACKEND", "Agg")

import mlflow
from mlflow import MlflowClient

sys.path.append(str(Path(__file__).parents[2] / "python" / "tests"))

from server_process import running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(autouse=True)
def tracked(server: str) -> Iterator[None]:
    """Points MLflow at the server, and leaves no run open."""
    mlflow.set_tracking_uri(server)
    yield
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def client(server: str) -> MlflowClient:
    return MlflowClient(server)


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """The id of an experiment of the test's own, which is the active one."""
    return mlflow.set_experiment(request.node.name).experiment_id
