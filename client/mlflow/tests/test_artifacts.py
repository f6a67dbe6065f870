"""Artifacts by proxy, as MLflow's own client logs, lists and downloads them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository


def test_files_folders_texts_tables_and_figures(
    client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "folder" / "deep" / "ä ö 50%.bin").write_bytes(bytes(range(256)))
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "folder" / "a.txt"))
        mlflow.log_artifacts(str(tmp_path / "folder"), "data")
        mlflow.log_text("héllo", "notes/hello.txt")
        mlflow.log_dict({"a": [1]}, "notes/a.json")
        mlflow.log_figure(figure, "plots/line.png")
        mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "table.json")
        mlflow.log_table({"x": [3], "y": ["c"]}, "table.json")
        mlflow.log_image(np.zeros((4, 4, 3), "uint8"), "plots/black.png")
    run_id = run.info.run_id
    client.log_text(run_id, "later", "after the end.txt")  # MLflow's clients do that
    listed = lambda path=None: [  # noqa: E731
        (f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id, path)
    ]
    assert listed() == [
        ("a.txt", False, 1),
        ("after the end.txt", False, 5),
        ("data", True, None),
        ("notes", True, None),
        ("plots", True, None),
        ("table.json", False, os.path.getsize(client.download_artifacts(run_id, "table.json"))),
    ]
    assert listed("data") == [("data/a.txt", False, 1), ("data/deep", True, None)]
    assert listed("data/deep") == [("data/deep/ä ö 50%.bin", False, 256)]
    assert listed("a.txt") == []
    got = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="data"))
    assert (got / "deep" / "ä ö 50%.bin").read_bytes() == bytes(range(256))
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/hello.txt") == "héllo"
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/notes/a.json") == {"a": [1]}
    assert mlflow.artifacts.load_image(f"runs:/{run_id}/plots/black.png").size == (4, 4)
    table = mlflow.load_table("table.json", run_ids=[run_id])
    pd.testing.assert_frame_equal(table, pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "c"]}))
    assert json.loads(client.get_run(run_id).data.tags["mlflow.loggedArtifacts"])
    with pytest.raises((MlflowException, OSError), match=r"(?i)(not exist|no such|fail)"):
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="nothing")


def test_a_file_is_replaced_and_deleted(
    client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    with mlflow.start_run() as run:
        mlflow.log_text("first", "x/file.txt")
        mlflow.log_text("second", "x/file.txt")
        mlflow.log_text("other", "y")
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/x/file.txt") == "second"
    repository = get_artifact_repository(run.info.artifact_uri)
    repository.delete_artifacts("x")
    repository.delete_artifacts("x")
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["y"]
    client.delete_run(run.info.run_id)
    with pytest.raises(Exception, match="'active' state"):
        client.log_text(run.info.run_id, "x", "z")
    client.restore_run(run.info.run_id)
    client.log_text(run.info.run_id, "x", "z")


def test_a_large_file_goes_in_parts(
    client: MlflowClient, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1000000")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 << 20))
    content = os.urandom(12 << 20)
    (tmp_path / "large.bin").write_bytes(content)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "large.bin"), "folder")
    got = client.download_artifacts(run.info.run_id, "folder/large.bin")
    assert Path(got).read_bytes() == content


def test_ranges_and_hashes(experiment: str) -> None:
    with mlflow.start_run() as run:
        mlflow.log_text("0123456789", "digits")
    place = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    url = f"{mlflow.get_tracking_uri()}/api/2.0/mlflow-artifacts/artifacts/{place}/digits"
    part = requests.get(url, headers={"Range": "bytes=3-5"})
    assert (part.status_code, part.text) == (206, "345")
    whole = requests.get(url)
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert len(whole.headers["X-Content-SHA256"]) == 64
    tag = {"If-None-Match": whole.headers["ETag"]}
    assert requests.get(url, headers=tag).status_code == 304
