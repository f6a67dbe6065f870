"""Registered models: their versions, files, aliases and stages, and how these came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from driftline.times import parse_time


@dataclass(frozen=True)
class Artifact:
    """A file that a run keeps.

    Attributes:
        path: The name that the run gave it, such as ``model/model.joblib``.
        size: Its size in bytes.
        sha256: The hash of its content.
    """

    path: str
    size: int
    sha256: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Artifact:
        """Reads the server's form."""
        return cls(body.get("path", ""), body["size"], body.get("sha256", ""))


@dataclass(frozen=True)
class ModelCheck:
    """The last outcome of a named check of a model version."""

    name: str
    passed: bool
    summary: str
    by: str
    time: datetime | None
    evidence: tuple[str, ...]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ModelCheck:
        """Reads the server's form."""
        return cls(
            body["name"],
            body["passed"],
            body.get("summary", ""),
            body.get("by", ""),
            parse_time(body.get("time")),
            tuple(body.get("evidence") or ()),
        )


@dataclass(frozen=True)
class ModelOrigin:
    """What a model version was made from, as it stood when it was registered.

    Attributes:
        datasets: The datasets, each with its reference, content hash and rows.
        snapshots: References of the snapshots that were read.
        params: The run's params.
        metrics: The run's last metrics.
        commit: The commit of the code, if the run said it.
    """

    datasets: tuple[dict[str, Any], ...]
    snapshots: tuple[str, ...]
    params: dict[str, str]
    metrics: dict[str, float]
    commit: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ModelOrigin:
        """Reads the server's form."""
        return cls(
            tuple(body.get("datasets") or ()),
            tuple(body.get("snapshots") or ()),
            dict(body.get("params") or {}),
            {key: float(value) for key, value in (body.get("metrics") or {}).items()},
            body.get("commit", ""),
        )


@dataclass(frozen=True, repr=False)
class ModelVersion:
    """One version of a registered model: files under a name, which never change.

    Attributes:
        model: The model's name.
        version: Its version, from 1.
        run: The id of the run that made it, if it is known.
        artifact: The file, or the folder, that it is.
        created: When it was registered.
        description: For people.
        tags: For people and scripts.
        aliases: The aliases that point at it.
        stage: ``None``, ``Staging``, ``Production`` or ``Archived``.
        status: ``READY`` if its files are kept by the server, ``EXTERNAL`` if they are elsewhere.
        source: What it was registered from, as it was said.
        files: The files of a folder.
        checks: The last outcome of each check.
        origin: What it was made from.
        by: Who registered it.
        server: Where it answers, as it was declared: ``url``, ``protocol`` and so on.
    """

    model: str
    version: int
    run: str
    artifact: Artifact
    created: datetime | None = None
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    stage: str = "None"
    status: str = "READY"
    source: str = ""
    files: tuple[Artifact, ...] = ()
    checks: tuple[ModelCheck, ...] = ()
    origin: ModelOrigin | None = None
    by: str = ""
    server: dict[str, Any] | None = None

    @property
    def ref(self) -> str:
        """Its name everywhere: ``model/late_departure@1``."""
        return f"model/{self.model}@{self.version}"

    @property
    def uri(self) -> str:
        """Its name for MLflow: ``models:/late_departure/1``."""
        return f"models:/{self.model}/{self.version}"

    def __repr__(self) -> str:
        aliases = f", {', '.join(self.aliases)}" if self.aliases else ""
        source = f", from run/{self.run}" if self.run else ""
        return f"ModelVersion({self.ref}{aliases}{source}, {self.artifact.path or self.source})"

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ModelVersion:
        """Reads the server's form."""
        origin = body.get("origin")
        return cls(
            model=body["model"],
            version=body["version"],
            run=body.get("run", ""),
            artifact=Artifact.from_json(body["artifact"]),
            created=parse_time(body.get("created")),
            description=body.get("description", ""),
            tags=dict(body.get("tags") or {}),
            aliases=tuple(body.get("aliases") or ()),
            stage=body.get("stage", "None"),
            status=body.get("status", "READY"),
            source=body.get("source", ""),
            files=tuple(Artifact.from_json(f) for f in body.get("files") or ()),
            checks=tuple(ModelCheck.from_json(c) for c in body.get("checks") or ()),
            origin=ModelOrigin.from_json(origin) if origin else None,
            by=body.get("by", ""),
            server=body.get("server"),
        )


@dataclass(frozen=True)
class RegisteredModel:
    """A name under which versions of a model are kept.

    Attributes:
        name: The name.
        versions: How many versions there are.
        newest: The newest of them, None if there is none.
        aliases: From alias to version.
        description: For people.
        tags: For people and scripts.
        gates: What a version must have before an alias or a stage.
        created: When it was registered.
    """

    name: str
    versions: int
    newest: ModelVersion | None
    aliases: dict[str, int]
    description: str
    tags: dict[str, str]
    gates: tuple[dict[str, Any], ...]
    created: datetime | None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RegisteredModel:
        """Reads the server's form."""
        newest = body.get("newest")
        return cls(
            name=body["name"],
            versions=body["versions"],
            newest=ModelVersion.from_json(newest) if newest else None,
            aliases=dict(body.get("aliases") or {}),
            description=body.get("description", ""),
            tags=dict(body.get("tags") or {}),
            gates=tuple(body.get("gates") or ()),
            created=parse_time(body.get("created")),
        )


@dataclass(frozen=True)
class AliasChange:
    """One move of an alias, which stayed where it went until ``until``.

    Attributes:
        alias: The alias.
        before: The version where it was; 0 if it was at none.
        version: The version where it went; 0 if it was taken away.
        time: When.
        until: When it was moved on; None while it is there.
        by: Who moved it.
        reason: Why.
        evidence: References of what the decision rests on.
        checks: The gate's checks that had passed.
        rollback: Whether it took back the move before.
        line: The number of the ledger line.
    """

    alias: str
    before: int
    version: int
    time: datetime | None
    until: datetime | None
    by: str
    reason: str
    evidence: tuple[str, ...]
    checks: tuple[str, ...]
    rollback: bool
    line: int

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> AliasChange:
        """Reads the server's form."""
        return cls(
            alias=body["alias"],
            before=body["from"],
            version=body["to"],
            time=parse_time(body.get("time")),
            until=parse_time(body.get("until")),
            by=body.get("by", ""),
            reason=body.get("reason", ""),
            evidence=tuple(body.get("evidence") or ()),
            checks=tuple(body.get("checks") or ()),
            rollback=body.get("rollback", False),
            line=body["seq"],
        )


@dataclass(frozen=True)
class StageChange:
    """One version's way from one stage to another."""

    version: int
    before: str
    stage: str
    time: datetime | None
    by: str
    reason: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> StageChange:
        """Reads the server's form."""
        return cls(
            body["version"],
            body["from"],
            body["to"],
            parse_time(body.get("time")),
            body.get("by", ""),
            body.get("reason", ""),
        )
