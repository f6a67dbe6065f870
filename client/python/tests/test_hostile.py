"""What a hostile server, or a hostile model, can do to whoever uses the client: nothing."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import driftline
import pytest

CONTENT = b"planted"


@pytest.fixture
def lying(store, monkeypatch):
    """Returns a function that lets the server call a model's only file as it likes."""

    def lie(path: str) -> driftline.FeatureStore:
        file = {"path": path, "sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}
        answer = {"owner": "model/late@1", "files": [file]}
        monkeypatch.setattr(store._http, "get", lambda *at, **query: answer)
        monkeypatch.setattr(
            store._http, "download", lambda *at, to, sha256: to.write_bytes(CONTENT)
        )
        return store

    return lie


@pytest.mark.parametrize("path", ["../planted", "/etc/planted", "a/../../planted", "..", "."])
def test_a_name_of_a_file_does_not_lead_out_of_the_folder(lying, tmp_path, path):
    """CVE-2024-0520: the server says what a downloaded file is called."""
    folder = tmp_path / "in" / "model"
    with pytest.raises(ValueError, match="folder"):
        lying(path).download_model("models:/late/1", folder)
    assert [p for p in tmp_path.rglob("*") if p.name == "planted"] == []


def test_a_link_does_not_lead_out_of_the_folder(lying, tmp_path):
    """#18964: a link lies where the files are to go."""
    outside, folder = tmp_path / "outside", tmp_path / "model"
    outside.mkdir()
    folder.mkdir()
    (folder / "data").symlink_to(outside)
    with pytest.raises(ValueError, match="outside"):
        lying("data/deeper/planted").download_model("models:/late/1", folder)
    assert list(outside.iterdir()) == []


def test_a_good_name_is_written(lying, tmp_path):
    lying("data/weights.bin").download_model("models:/late/1", tmp_path)
    assert (tmp_path / "data" / "weights.bin").read_bytes() == CONTENT


def test_nothing_is_unpickled():
    """CVE-2024-37052 to 37061: loading a model runs its code, so the client never does."""
    loaders = {"load", "loads", "Unpickler", "load_model"}
    for file in Path(driftline.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                call = f"{node.value.id}.{node.attr}"
                unsafe = node.value.id in {"pickle", "joblib", "cloudpickle", "dill", "torch"}
                assert not (unsafe and node.attr in loaders), f"{file.name}: {call}"
