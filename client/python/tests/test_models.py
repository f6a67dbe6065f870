"""Registered models: versions, aliases, stages, gates, and their files."""

from __future__ import annotations

import io
from pathlib import Path

import driftline
import pandas as pd
import pytest
from conftest import NOON, make_world
from driftline import (
    AlreadyExistsError,
    ConflictError,
    FailedPreconditionError,
    FeatureStore,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
)
from server_process import running


@pytest.fixture
def run(store: FeatureStore) -> driftline.Run:
    with store.start_run("models", config={"depth": 6}) as run:
        run.log({"auc": 0.81})
        run.log_artifact(b"flavors: {}", name="model/MLmodel")
        run.log_artifact(b"weights", name="model/data/weights.bin")
    return run


def test_a_folder_is_a_version_and_keeps_its_files(store: FeatureStore, run, tmp_path: Path):
    version = store.register_model("folders", run, "model", tags={"n": 1})
    assert (version.version, version.run, version.stage, version.status) == (
        1,
        run.id,
        "None",
        "READY",
    )
    assert [f.path for f in version.files] == ["MLmodel", "data/weights.bin"]
    assert version.origin.params == {"depth": "6"}
    assert version.origin.metrics == {"auc": 0.81}
    assert version.uri == "models:/folders/1"
    copy = store.register_model("folders", source="models:/folders/1")
    assert (copy.version, copy.artifact.sha256) == (2, version.artifact.sha256)

    folder = store.download_model("models:/folders/1", tmp_path / "model")
    assert (folder / "MLmodel").read_bytes() == b"flavors: {}"
    assert (folder / "data" / "weights.bin").read_bytes() == b"weights"
    assert store.download_artifact(version, "data/weights.bin") == b"weights"
    store.download_model(f"runs:/{run.id}/model/data", tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["weights.bin"]
    with pytest.raises(TypeError, match="which artifact"):
        store.download_artifact(version)


def test_who_moved_champion_when_and_why(store: FeatureStore, run):
    for _ in range(2):
        store.register_model("moves", run, "model")
    store.set_alias("moves", 1, "champion", reason="first", by="ada")
    moved = store.set_alias("moves", 2, "champion", expect=1, by="bob", evidence=[run])
    assert moved.aliases == ("champion",)
    with pytest.raises(ConflictError, match="is at version 2, not at version 1"):
        store.set_alias("moves", 1, "champion", expect=1)
    first, second = store.alias_history("moves", "champion")
    assert (first.before, first.version, first.by, first.reason) == (0, 1, "ada", "first")
    assert first.until == second.time
    assert (second.evidence, second.until) == ((run.ref,), None)
    (then,) = store.alias_history("moves", "champion", at=first.time)
    assert then == first
    assert store.rollback_alias("moves", "champion", reason="errors").version == 1
    assert store.alias_history("moves")[-1].rollback
    assert store.model_version("models:/moves@champion").version == 1
    store.delete_alias("moves", "champion")
    with pytest.raises(NotFoundError, match="champion"):
        store.model_version("moves", "champion")
    rows = store.sql(
        "SELECT version, moved_by FROM meta.alias_history"
        " WHERE model = 'moves' AND alias = 'champion'"
        " AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())"
    )
    assert rows.to_pylist() == [{"version": None, "moved_by": store.alias_history("moves")[-1].by}]


def test_gates_want_checks_and_approvals(store: FeatureStore, run):
    version = store.register_model("gated", run, "model")
    store.set_gate("gated", alias="champion", checks=["auc"], approvals=1)
    with pytest.raises(FailedPreconditionError, match='check "auc" was not made'):
        store.set_alias("gated", version, "champion")
    store.log_check("gated", 1, "auc", True, "0.81", evidence=[run])
    with pytest.raises(PermissionDeniedError, match="another person"):
        store.approve("gated", 1, alias="champion", by=version.by)
    store.approve("gated", 1, alias="champion", by="bob")
    assert store.set_alias("gated", version, "champion").checks[0].passed
    assert store.model("gated").gates[0]["checks"] == ["auc"]


def test_stages_names_and_deletion(store: FeatureStore, run):
    store.create_model("Stages é", description="x", tags={"a": 1})
    with pytest.raises(AlreadyExistsError, match="case or form"):
        store.create_model("stages É")
    with pytest.raises(InvalidError, match="NFD"):
        store.create_model("Stages e\u0301")
    for _ in range(2):
        store.register_model("Stages é", run, "model")
    store.set_stage("Stages é", 1, "production")
    store.set_stage("Stages é", 2, "Production", archive_existing=True)
    assert [v.stage for v in store.model_versions("Stages é")] == ["Archived", "Production"]
    assert store.stage_history("Stages é")[-1].stage == "Archived"
    assert store.model_version("models:/Stages é/Production").version == 2
    changed = store.change_model("Stages é", description="y", remove_tags=["a"])
    assert (changed.description, changed.tags) == ("y", {})
    assert store.change_model("Stages é", 2, tags={"b": 2}).tags == {"b": "2"}
    assert store.rename_model("Stages é", "Renamed").versions == 2
    store.delete_model("Renamed", 2, reason="wrong")
    assert store.model("Renamed").newest.version == 1
    store.delete_model("Renamed")
    assert "Renamed" not in [m.name for m in store.registered_models()]


def test_a_model_version_comes_back_as_it_was(store: FeatureStore, run):
    joblib = pytest.importorskip("joblib")
    with store.start_run("models") as other:
        other.log_artifact({"x": [1, 2]}, name="model.joblib.json")
        other.log_artifact(io.BytesIO(b""), name="object.joblib")
    version = store.register_model("single", other, "object.joblib")
    assert isinstance(joblib.load(io.BytesIO(store.download_artifact(version))), io.BytesIO)


def test_a_version_goes_to_another_server(store: FeatureStore, run, tmp_path: Path):
    store.register_model("carried", run, "model", tags={"a": "b"})
    bundle = store.export_model("carried", 1, tmp_path / "carried.tar")
    back = store.import_model(bundle, name="carried back")
    assert (back.version, back.tags, [f.path for f in back.files]) == (
        1,
        {"a": "b"},
        ["MLmodel", "data/weights.bin"],
    )
    assert back.origin.params == {"depth": "6"}
    (tmp_path / "other").mkdir()
    with running(tmp_path / "other") as url, driftline.FeatureStore(url) as other:
        with pytest.raises(PermissionDeniedError, match="nobody here vouches for"):
            other.import_model(bundle)
        carried = other.import_model(bundle, trust=store.signing_key())
        assert carried.run == ""
        assert other.download_artifact(carried, "data/weights.bin") == b"weights"
        assert "carried" in other.model_card("carried", 1)
        damaged = tmp_path / "damaged.tar"
        damaged.write_bytes(bundle.read_bytes().replace(b'"depth": "6"', b'"depth": "7"'))
        with pytest.raises(InvalidError, match="changed after it was signed"):
            other.import_model(damaged, trust=store.signing_key())
        assert [v.version for v in other.model_versions("carried")] == [1]


def test_runs_say_by_themselves_what_they_read(store: FeatureStore):
    world = make_world(store)
    store.ingest(
        world.name,
        pd.DataFrame({"station": ["a"], "event_timestamp": [NOON], "temp": [1.5], "count": [2]}),
    )
    spine = pd.DataFrame({"station": ["a"], "event_timestamp": [NOON], "late": [True]})
    ask = lambda **more: store.get_historical_features(spine, [f"{world.name}:temp"], **more)  # noqa: E731
    ask(save_as="auto_one").to_df()
    with driftline.init("auto", store=store) as first:
        first.log_artifact({"a": 1}, name="model/m.json")
    with driftline.init("auto", store=store) as again:
        pass
    assert first.inputs == again.inputs == ["dataset/auto_one@1"]
    ask(save_as="auto_one").to_df()
    with driftline.init("auto", store=store) as other:
        ask(save_as="auto_two").to_arrow()
    assert other.inputs == ["dataset/auto_one@2", "dataset/auto_two@1"]
    with driftline.init("auto", store=store, inputs=[]) as none:
        pass
    assert none.inputs == []
    ask().to_df()
    with driftline.init("auto", store=store) as unsaved:
        pass
    assert [i.split("@")[0] for i in unsaved.inputs] == [f"snapshot/features.{world.name}"]
    version = store.register_model("auto", first, "model")
    assert [d["ref"] for d in version.origin.datasets] == ["dataset/auto_one@1"]
    assert len(version.origin.datasets[0]["content_hash"]) == 64
    assert version.origin.snapshots
    card = store.model_card("auto", 1)
    assert "dataset/auto\\_one@1" in card
    assert f"{world.name}:temp".replace("_", "\\_") in card


def test_a_candidate_is_evaluated(store: FeatureStore, run, tmp_path: Path):
    world = make_world(store)
    n = 300
    rows = pd.DataFrame(
        {
            "station": [f"s{i}" for i in range(n)],
            "event_timestamp": [NOON] * n,
            "late": [i % 3 == 0 for i in range(n)],
            "score": [0.9 - 0.2 * (i % 3) - 0.001 * i for i in range(n)],
        }
    )
    frozen = store.get_historical_features(
        rows.drop(columns="score"), [f"{world.name}:temp"], save_as="frozen_rows"
    ).dataset
    for _ in range(2):
        store.register_model("gated_candidates", run, "model/data/weights.bin")
    gate = {
        "dataset": frozen.ref,
        "task": "classification",
        "metric": "roc_auc",
        "label": "late",
        "floors": {"roc_auc": 0.8},
        "replications": 100,
    }
    found = store.evaluate("gated_candidates", 2, gate=gate, predictions=rows, champion="none")
    assert (found.id, found.outcome, found.champion) == ("gated_candidates-1", "passed", None)
    assert found.passed
    assert not found.failed
    assert found.to_dict()["predictions"]["match"] == "keys"
    assert store.model_version("gated_candidates", 2).checks[0].name == "evaluation"
    gate["floors"] = {"roc_auc": 0.999}
    failed = store.evaluate("gated_candidates", 2, gate=gate, predictions=rows, champion="none")
    assert [c.check for c in failed.failed] == ["floor"]
    assert "The gate is closed" in failed.to_html(tmp_path / "gate.html")
    assert failed.to_junit().count("<failure") == 1
    assert [e.id for e in store.evaluations("gated_candidates")] == [failed.id, found.id]
    assert store.evaluation(found.id).to_dict() == found.to_dict()
    assert "<table>" in failed._repr_html_()
    assert "floor" in repr(failed)
    identical = store.evaluate("gated_candidates", 2, gate=gate, champion=1)
    assert identical.outcome == "identical"
    assert not identical.passed
    with pytest.raises(FailedPreconditionError, match="no evaluation gate"):
        store.evaluate("gated_candidates", 2)
