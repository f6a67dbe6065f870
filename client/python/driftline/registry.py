"""The part of a feature store that keeps models."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from driftline._http import HTTP
from driftline.models import (
    AliasChange,
    Artifact,
    ModelVersion,
    RegisteredModel,
    StageChange,
)
from driftline.times import format_time
from driftline.tracking import Run, ref_of


class ModelRegistry:
    """What ``FeatureStore`` does with models."""

    _http: HTTP

    def create_model(
        self, name: str, description: str = "", tags: Mapping[str, Any] | None = None
    ) -> RegisteredModel:
        """Registers a name without versions; ``register_model`` does so by itself."""
        body = {"name": name, "by": person()}
        if description:
            body["description"] = description
        if tags:
            body["tags"] = _texts(tags)
        return RegisteredModel.from_json(self._http.post("models", body=body))

    def register_model(
        self,
        name: str,
        run: Run | str | None = None,
        artifact: Artifact | str | None = None,
        description: str = "",
        tags: Mapping[str, Any] | None = None,
        *,
        source: str = "",
    ) -> ModelVersion:
        """Registers a file or a folder of a run as the next version of a model.

        Its files are fixed then. What the run knew (datasets with their content hashes,
        snapshots, params, metrics, commit) is recorded with it.

        Example:
            >>> store.register_model("late_departure", run, "model/model.joblib").version
            1
            >>> store.register_model("late_departure", source="models:/challenger@best")

        Args:
            name: The model's name; it is registered if it is new.
            run: The run, or its id.
            artifact: What the run logged: a file or a folder.
            description: For people.
            tags: For people and scripts.
            source: In place of run and artifact, a URI: ``runs:/…``, ``models:/…``.
        """
        spec = {
            "model": name,
            "run": run.id if isinstance(run, Run) else run,
            "artifact": artifact.path if isinstance(artifact, Artifact) else artifact,
            "source": source,
            "description": description,
            "tags": _texts(tags or {}),
            "by": person(),
        }
        body = {key: value for key, value in spec.items() if value}
        return ModelVersion.from_json(self._http.post("models", name, "versions", body=body))

    def models(self) -> list[ModelVersion]:
        """Returns the newest version of each model that has one."""
        return [ModelVersion.from_json(m) for m in self._http.get("models")["models"] or ()]

    def registered_models(self) -> list[RegisteredModel]:
        """Returns every model, also those without versions."""
        return [RegisteredModel.from_json(m) for m in self._http.get("models")["registered"]]

    def model(self, name: str) -> RegisteredModel:
        """Returns a model."""
        return RegisteredModel.from_json(self._http.get("models", name)["model"])

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Returns all versions of a model."""
        body = self._http.get("models", name)
        return [ModelVersion.from_json(v) for v in body["versions"] or ()]

    def model_version(self, name: str, version: int | str | None = None) -> ModelVersion:
        """Returns a version of a model by its number, by an alias, or by a URI.

        Example:
            >>> store.model_version("late_departure", "champion").version
            1
            >>> store.model_version("models:/late_departure@champion").version
            1
        """
        if version is None:
            body = self._http.get("resolve", uri=name)
            if "model" not in body:
                raise ValueError(f"{name!r} names {body['owner']}, no version of a model")
            return ModelVersion.from_json(body["model"])
        return ModelVersion.from_json(self._http.get("models", name, "versions", str(version)))

    def timeline(
        self, name: str, since: datetime | str = "", *, limit: int = 500
    ) -> list[dict[str, Any]]:
        """Returns what happened to a model and what was done about it, the oldest first.

        Each event has ``kind``, ``time``, ``state``, ``text``, ``ref`` and, where something led to
        it, ``because``.

        Args:
            name: The model.
            since: A time, or a length before now such as ``7d``; what was over before is left out.
            limit: The last so many events, at most 1000.
        """
        asked = format_time(since) if isinstance(since, datetime) else since
        return self._http.get("models", name, "timeline", since=asked, limit=limit)["events"]

    def rename_model(self, name: str, to: str) -> RegisteredModel:
        """Gives a model another name; it keeps everything."""
        body = {"to": to, "by": person()}
        return RegisteredModel.from_json(self._http.post("models", name, "rename", body=body))

    def change_model(
        self,
        name: str,
        version: int | str | None = None,
        *,
        description: str | None = None,
        tags: Mapping[str, Any] | None = None,
        remove_tags: Iterable[str] = (),
    ) -> RegisteredModel | ModelVersion:
        """Changes the description and tags of a model, or of one of its versions."""
        body: dict[str, Any] = {"by": person()}
        if description is not None:
            body["description"] = description
        if tags:
            body["tags"] = _texts(tags)
        if removed := list(remove_tags):
            body["remove_tags"] = removed
        if version is None:
            return RegisteredModel.from_json(self._http.patch("models", name, body=body))
        answer = self._http.patch("models", name, "versions", str(version), body=body)
        return ModelVersion.from_json(answer)

    def delete_model(self, name: str, version: int | str | None = None, reason: str = "") -> None:
        """Deletes a model, or one of its versions; their history stays."""
        path = ("models", name) if version is None else ("models", name, "versions", str(version))
        self._http.delete(*path, by=person(), reason=reason)

    def serve_model_at(
        self,
        model: str,
        version: int | str,
        url: str | None,
        *,
        protocol: str = "oip",
        name: str = "",
        timeout: str = "",
        concurrency: int = 0,
        max_batch: int = 0,
        batch_delay: str = "",
        tensor: str = "",
        service: str = "",
        features: Iterable[str] = (),
        full_feature_names: bool = False,
        reason: str = "",
    ) -> ModelVersion:
        """Declares where a version answers: the server that the gateway forwards to.

        Example:
            >>> store.serve_model_at("late", 2, "http://127.0.0.1:5001", protocol="mlflow")

        Args:
            model: The model's name.
            version: The version, or an alias.
            url: What comes before ``/v2/models`` or ``/invocations``; None if it does not
                answer any more.
            protocol: ``oip`` or ``mlflow``.
            name: What an OIP server calls the model; the registered name if left out.
            timeout: How long an answer may take: ``500ms``; 5 seconds if left out.
            concurrency: How many requests the server gets at a time; 64 if 0.
            max_batch: Requests that come at the same time are joined, up to so many rows, for
                models whose answer to a row does not depend on the others; none if 0.
            batch_delay: How long a request waits for others while one is under way: ``1ms`` if
                left out.
            tensor: The name of one input, a matrix, that all columns become.
            service: The feature service whose features are looked up where a request brings
                keys; the features of the training set if left out.
            features: Or the features, as ``view:feature``.
            full_feature_names: Whether the model knows features as ``view__feature``.
            reason: Why, for whoever reads the history.
        """
        path = ("models", model, "versions", str(version), "server")
        if url is None:
            return ModelVersion.from_json(self._http.delete(*path, by=person(), reason=reason))
        given = {
            "name": name,
            "timeout": timeout,
            "concurrency": concurrency,
            "max_batch": max_batch,
            "batch_delay": batch_delay,
            "tensor": tensor,
        }
        server: dict[str, Any] = {"url": url, "protocol": protocol}
        server |= {key: value for key, value in given.items() if value}
        wanted: dict[str, Any] = {"service": service, "features": list(features)}
        if any(wanted.values()):
            server["features"] = {key: value for key, value in wanted.items() if value}
            server["features"]["full_feature_names"] = full_feature_names
        body = {"server": server, "by": person(), "reason": reason}
        return ModelVersion.from_json(self._http.put(*path, body=body))

    def set_alias(
        self,
        model: str,
        version: ModelVersion | int,
        alias: str,
        *,
        expect: int | None = None,
        reason: str = "",
        evidence: Iterable[Any] = (),
        by: str | None = None,
    ) -> ModelVersion:
        """Points an alias at a version of a model.

        Example:
            >>> store.set_alias("late_departure", 1, "champion", reason="first model")

        Args:
            model: The model's name.
            version: The version to point at.
            alias: The alias.
            expect: The version that it must point at now (0: at none); if it points
                elsewhere, somebody else was faster, and it is a ConflictError.
            reason: Why, for whoever reads the history.
            evidence: What the decision rests on: runs, datasets, references.
            by: Who moves it; the user of this process if left out.

        Raises:
            ConflictError: If it is not where ``expect`` says.
            FailedPreconditionError: If the alias is gated and the version lacks a check
                or an approval.
        """
        move: dict[str, Any] = {
            "version": version.version if isinstance(version, ModelVersion) else int(version),
            "by": person() if by is None else by,
        }
        if expect is not None:
            move["expect"] = expect
        if reason:
            move["reason"] = reason
        if refs := [ref_of(thing) for thing in evidence]:
            move["evidence"] = refs
        return ModelVersion.from_json(self._http.put("models", model, "aliases", alias, body=move))

    def delete_alias(self, model: str, alias: str, reason: str = "") -> ModelVersion:
        """Takes an alias away and returns the version where it was."""
        body = self._http.delete("models", model, "aliases", alias, by=person(), reason=reason)
        return ModelVersion.from_json(body)

    def rollback_alias(
        self, model: str, alias: str, *, expect: int | None = None, reason: str = ""
    ) -> ModelVersion:
        """Takes back the last move of an alias and returns the version where it is then."""
        body: dict[str, Any] = {"by": person()}
        if expect is not None:
            body["expect"] = expect
        if reason:
            body["reason"] = reason
        answer = self._http.post("models", model, "aliases", alias, "rollback", body=body)
        return ModelVersion.from_json(answer)

    def alias_history(
        self, model: str, alias: str | None = None, at: datetime | str | None = None
    ) -> list[AliasChange]:
        """Returns the moves of an alias, or of all, or those that were in force at a time.

        Example:
            >>> change, = store.alias_history("late", "champion", at="2026-03-01T12:00:00Z")
            >>> change.version, change.by, change.evidence
            (2, 'ada', ('run/late-7',))
        """
        when = None if at is None else format_time(at)
        body = self._http.get("models", model, "history", alias=alias, at=when)
        return [AliasChange.from_json(c) for c in body["aliases"]]

    def stage_history(self, model: str) -> list[StageChange]:
        """Returns how the versions of a model went through its stages."""
        body = self._http.get("models", model, "history")
        return [StageChange.from_json(c) for c in body["stages"]]

    def set_stage(
        self,
        model: str,
        version: int | str,
        stage: str,
        *,
        archive_existing: bool = False,
        reason: str = "",
    ) -> ModelVersion:
        """Brings a version into a stage: None, Staging, Production or Archived."""
        body: dict[str, Any] = {"stage": stage, "by": person()}
        if archive_existing:
            body["archive_existing"] = True
        if reason:
            body["reason"] = reason
        answer = self._http.put("models", model, "versions", str(version), "stage", body=body)
        return ModelVersion.from_json(answer)

    def set_gate(
        self,
        model: str,
        *,
        alias: str = "",
        stage: str = "",
        checks: Iterable[str] = (),
        approvals: int = 0,
        reason: str = "",
    ) -> RegisteredModel:
        """Says what a version must have before an alias points at it, or before a stage.

        Without checks and approvals the gate is taken away.

        Example:
            >>> store.set_gate("late", alias="champion", checks=["auc"], approvals=1)
        """
        spec = {
            "alias": alias,
            "stage": stage,
            "checks": list(checks),
            "approvals": approvals,
            "reason": reason,
            "by": person(),
        }
        body = {key: value for key, value in spec.items() if value}
        return RegisteredModel.from_json(self._http.put("models", model, "gates", body=body))

    def log_check(
        self,
        model: str,
        version: int | str,
        name: str,
        passed: bool,
        summary: str = "",
        evidence: Iterable[Any] = (),
    ) -> ModelVersion:
        """Records the outcome of a check of a version; the last one of a name counts."""
        body: dict[str, Any] = {"name": name, "passed": bool(passed), "by": person()}
        if summary:
            body["summary"] = summary
        if refs := [ref_of(thing) for thing in evidence]:
            body["evidence"] = refs
        answer = self._http.post("models", model, "versions", str(version), "checks", body=body)
        return ModelVersion.from_json(answer)

    def approve(
        self,
        model: str,
        version: int | str,
        *,
        alias: str = "",
        stage: str = "",
        decision: str = "approved",
        by: str | None = None,
        reason: str = "",
    ) -> ModelVersion:
        """Says ``requested``, ``approved`` or ``rejected`` to a version's alias or stage."""
        spec = {
            "alias": alias,
            "stage": stage,
            "decision": decision,
            "by": person() if by is None else by,
            "reason": reason,
        }
        body = {key: value for key, value in spec.items() if value}
        answer = self._http.post("models", model, "versions", str(version), "approvals", body=body)
        return ModelVersion.from_json(answer)

    def download_artifact(
        self,
        source: ModelVersion | Run | str,
        path: str | None = None,
        *,
        to: str | Path | None = None,
    ) -> bytes:
        """Returns the bytes of a model version, or of an artifact of a run.

        They are compared with their hash.

        Example:
            >>> champion = store.model_version("late_departure", "champion")
            >>> model = joblib.load(io.BytesIO(store.download_artifact(champion)))

        Args:
            source: A model version, a run or a run's id.
            path: The artifact's name; may be left out for a version of one file.
            to: A file to write the bytes to as well.
        """
        if isinstance(source, ModelVersion):
            begin = ("models", source.model, "versions", str(source.version))
            if not path and not source.files:
                path = PurePosixPath(source.artifact.path).name
        else:
            begin = ("runs", source.id if isinstance(source, Run) else source)
        if not path:
            raise TypeError("which artifact? give its path")
        content = self._http.get_checked(*begin, "artifacts", path)
        if to is not None:
            Path(to).write_bytes(content)
        return content

    def model_card(self, name: str, version: int | str) -> str:
        """Returns the card of a version as Markdown: data, metrics, checks, lineage, limits."""
        return self._http.get_text("models", name, "versions", str(version), "card.md")

    def export_model(self, name: str, version: int | str, to: str | Path) -> Path:
        """Writes a version as a signed bundle that another server can import."""
        self._http.download("models", name, "versions", str(version), "bundle", to=Path(to))
        return Path(to)

    def import_model(self, bundle: str | Path, name: str = "", trust: str = "") -> ModelVersion:
        """Registers what a bundle holds as the next version of its model.

        Args:
            bundle: The file.
            name: Another name for the model.
            trust: The key of the server that made the bundle, if it is another one.
        """
        query = {"name": name, "trust": trust, "by": person()}
        with Path(bundle).open("rb") as content:
            answer = self._http.post_bytes("bundles", content=content, **query)
        return ModelVersion.from_json(answer)

    def signing_key(self) -> str:
        """Returns the key that the server signs bundles with."""
        return self._http.get("bundles", "key")["key"]

    def download_model(self, uri: str | ModelVersion, to: str | Path) -> Path:
        """Downloads the files that a ``models:/`` or ``runs:/`` URI names, checking hashes.

        Example:
            >>> folder = store.download_model("models:/late_departure@champion", "model")

        Args:
            uri: The URI, or a version.
            to: The folder to write them into; it is made if it does not exist.
        """
        body = self._http.get("resolve", uri=uri.uri if isinstance(uri, ModelVersion) else uri)
        folder, asked = Path(to), body.get("path", "")
        owner = _files_of(body["owner"])
        for file in body["files"]:
            name = _inside(asked, file["path"])
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{str(name)!r} would be outside of {folder}")
            target.parent.mkdir(parents=True, exist_ok=True)
            path = file["path"]
            self._http.download(*owner, "artifacts", path, to=target, sha256=file["sha256"])
        return folder


def _files_of(owner: str) -> tuple[str, ...]:
    """Returns where the files of a run, a logged model or a version are."""
    kind, _, rest = owner.partition("/")
    if kind == "model":
        name, _, version = rest.rpartition("@")
        return ("models", name, "versions", version)
    return ({"run": "runs", "logged_model": "logged-models"}[kind], rest)


def _inside(asked: str, path: str) -> PurePosixPath:
    """Returns the name of a file below what was asked for; never one outside."""
    name = PurePosixPath(path)
    if asked == path:
        name = PurePosixPath(name.name)
    elif asked:
        name = name.relative_to(asked)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise ValueError(f"{path!r} is not the name of a file in a folder")
    return name


def person() -> str:
    """Returns the name of whoever runs this process, or ""."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}
