"""Driftline's Python client: a feature store, training sets, runs, models and drift.

    import driftline

    store = driftline.connect()
    store.ingest("weather", frame)
    job = store.get_historical_features(flights, "delay_model", event_timestamp="departure")
    with driftline.init(project="late_departure") as run:
        ...

It needs a running server (``driftline serve``). Tables go in and out as Arrow: any
argument that is a table can be a pandas or polars DataFrame, a pyarrow Table, or
anything else with the Arrow PyCapsule interface. Names are those that people know
from Feast, MLflow and W&B.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from driftline import _origin, offline
from driftline._background import Companion, Output
from driftline._online import OnlineStream
from driftline._push import Pusher
from driftline.definitions import (
    Aggregation,
    Change,
    Changes,
    Entity,
    FeatureService,
    FeatureView,
    FeatureViewProjection,
    Field,
    History,
    IcebergSource,
    OnDemandFeatureView,
    ParquetSource,
    PredictionLog,
    RequestSource,
    lag,
)
from driftline.drift import ColumnDrift, DriftReport
from driftline.errors import (
    AlreadyExistsError,
    ConflictError,
    DataLossError,
    DeadlineError,
    DriftlineError,
    ExhaustedError,
    FailedPreconditionError,
    InternalError,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from driftline.evaluation import Evaluation, EvaluationCheck
from driftline.lineage import Lineage, PredictionTrace
from driftline.materialization import Materialization
from driftline.models import AliasChange, Artifact, ModelVersion, RegisteredModel, StageChange
from driftline.monitoring import Alert, Monitor, Pane, RegisteredMonitor
from driftline.performance import PerformanceReport
from driftline.policies import Policy, RegisteredPolicy
from driftline.predictions import LabelReceipt, PredictionReceipt
from driftline.presets import Preset
from driftline.profiles import Profile
from driftline.retrieval import (
    ColumnStatistics,
    Dataset,
    HistoricalReport,
    IngestResult,
    OnlineResponse,
    Rebuild,
    RetrievalJob,
    Split,
)
from driftline.rollouts import Predictions, Rollout, RouteDecision
from driftline.snapshots import Snapshot, StoredTable
from driftline.store import FeatureStore
from driftline.tracking import (
    Config,
    Metric,
    MetricSummary,
    Run,
    RunGroup,
    Summary,
    fork_of,
    ref_of,
    run_spec,
)
from driftline.types import ValueType
from driftline.validation import (
    CheckResult,
    RegisteredValidation,
    Validation,
    ValidationReport,
    ValidationRun,
)

__version__ = "0.1.0"

_connected: FeatureStore | None = None


def connect(url: str | None = None) -> FeatureStore:
    """Connects to a server.

    Example:
        >>> store = driftline.connect("http://127.0.0.1:8816")

    Args:
        url: The server's HTTP address; by default the environment's DRIFTLINE_SERVER, or
            http://127.0.0.1:8816. The Flight address is asked from the server.

    Raises:
        UnavailableError: If there is no server.
    """
    global _connected
    _connected = FeatureStore(url)
    return _connected


def init(
    project: str,
    config: Mapping[str, Any] | None = None,
    name: str = "",
    tags: Mapping[str, Any] | Iterable[str] | None = None,
    store: FeatureStore | None = None,
    inputs: Iterable[Any] | None = None,
    *,
    id: str = "",
    resume: str = "never",
    fork_from: str = "",
    mode: str = "online",
    dir: str | Path = ".",
    notes: str = "",
    group: str = "",
    job_type: str = "",
    heartbeat: float = 60,
    system_metrics: float = 15,
    capture_output: bool = False,
    save_code: bool = True,
) -> Run:
    """Starts a run, as W&B's users know it.

    It is also ``driftline.run`` then, and what ``driftline.log`` logs to, until it is
    finished, which happens at the latest when the process ends.

    Example:
        >>> with driftline.init(project="late_departure", config={"depth": 6}) as run:
        ...     run.log({"auc": 0.71})

    Args:
        project: The experiment that the run belongs to.
        config: Params to begin with; a dict inside is flattened to ``outer/inner``.
        name: A name for people; the server gives the id.
        tags: For people and scripts.
        store: The server; by default the last one that ``connect`` was called for, or
            the one that it would find.
        inputs: What it reads: datasets, training sets, references. If left out, the training
            sets that this process retrieved since the run before, or what that run read.
        id: An id of your own.
        resume: What becomes of a run that has this id already: ``allow`` or ``must`` (be
            there) go on with it, ``never`` is an error.
        fork_from: A run, and the step until which its params and metrics are taken over:
            ``late_departure-1?_step=200``.
        mode: ``online``; ``offline`` writes a folder that ``driftline.sync`` uploads;
            ``disabled`` keeps nothing.
        dir: Where ``driftline-offline`` is, the folder of runs that are offline.
        notes: A text for people.
        group: What it belongs together with, such as the folds of one validation.
        job_type: What it does, such as ``train`` or ``evaluate``.
        heartbeat: Seconds after which a run that stopped breathing is FAILED, as lost; 0
            for never. A thread breathes.
        system_metrics: Seconds between two measures of processors, memory, disk, network
            and GPUs, which are metrics under ``system/``; 0 for none.
        capture_output: Keeps what the process prints as the artifact ``output.log``.
        save_code: Keeps program, commit, uncommitted changes and installed packages.
    """
    spec: dict[str, Any] = {}
    marks = {"mlflow.note.content": notes, "group": group, "job_type": job_type}
    marks = {key: value for key, value in marks.items() if value}
    if save_code:
        marks |= _origin.tags()
    if id:
        spec["id"] = id
    if fork_from:
        spec["fork"] = fork_of(fork_from)
    if resume not in ("allow", "must", "never"):
        raise ValueError(f"resume is {resume!r}, want allow, must or never")
    if mode in ("offline", "disabled"):
        folder = Path(dir) / offline.FOLDER if mode == "offline" else None
        spec |= run_spec(project, config, name, tags)
        spec["tags"] = marks | spec.get("tags", {})
        if inputs:
            spec["inputs"] = [ref_of(i) for i in inputs]
        journal = offline.Journal(spec, folder)
        return _began(Run(journal, journal.run))
    if mode != "online":
        raise ValueError(f"mode is {mode!r}, want online, offline or disabled")
    if heartbeat:
        spec["heartbeat"] = f"{max(heartbeat, 1):g}s"
    store = store or _connected or connect()
    run = store._begin_run(run_spec(project, config, name, tags) | spec, marks, inputs, resume)
    run._companion = Companion(
        store._http.again(),
        run.id,
        heartbeat,
        system_metrics,
        Output() if capture_output else None,
        _origin.files if save_code else None,
    )
    return _began(run)


_active: Run | None = None
_failed = False  # an exception is ending the process


def _began(run: Run) -> Run:
    global _active
    if _active is None:
        atexit.register(_finish_at_exit)
        sys.excepthook = _noting(sys.excepthook)
    _active = run
    return run


def _noting(hook: Any) -> Any:
    def note(*error: Any) -> None:
        global _failed
        _failed = True
        hook(*error)

    return note


def _finish_at_exit() -> None:
    if _active is not None and _active.status == "RUNNING":
        with contextlib.suppress(Exception):  # the server may be gone before
            _active.finish("FAILED" if _failed else "FINISHED")


def _running() -> Run:
    if _active is None or _active.status != "RUNNING":
        raise FailedPreconditionError("no run is active", "call driftline.init first")
    return _active


def log(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Logs numbers, figures, images and tables to the active run."""
    _running().log(metrics, step)


def log_artifact(thing: Any, name: str | None = None) -> Artifact:
    """Keeps a file with the active run."""
    return _running().log_artifact(thing, name)


def define_metric(name: str, summary: str = "last") -> None:
    """Says what a metric's summary is, see ``Run.define_metric``."""
    _running().define_metric(name, summary)


def finish(status: str | int = "FINISHED") -> None:
    """Ends the active run, if there is one."""
    if _active is not None and _active.status == "RUNNING":
        _active.finish(status)


def sync(*folders: str | Path, store: FeatureStore | None = None) -> list[str]:
    """Uploads runs that were logged with ``mode="offline"``, and returns their ids.

    Args:
        folders: Folders of runs, or of many; ``driftline-offline`` if left out. A run that is
            named is uploaded again, and changes nothing; others once.
        store: The server; as for ``init``.
    """
    store = store or _connected or connect()
    runs = [run for f in folders or (offline.FOLDER,) for run in offline.waiting(Path(f))]
    return [offline.upload(store, run) for run in runs]


def __getattr__(name: str) -> Any:
    if name == "run":
        return _active if _active is not None and _active.status == "RUNNING" else None
    if name in ("config", "summary"):
        return getattr(_running(), name)
    raise AttributeError(f"module 'driftline' has no attribute {name!r}")


__all__ = [
    "Aggregation",
    "Alert",
    "AliasChange",
    "AlreadyExistsError",
    "Artifact",
    "Change",
    "Changes",
    "CheckResult",
    "ColumnDrift",
    "ColumnStatistics",
    "Config",
    "ConflictError",
    "DataLossError",
    "Dataset",
    "DeadlineError",
    "DriftReport",
    "DriftlineError",
    "Entity",
    "Evaluation",
    "EvaluationCheck",
    "ExhaustedError",
    "FailedPreconditionError",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "FeatureViewProjection",
    "Field",
    "HistoricalReport",
    "History",
    "IcebergSource",
    "IngestResult",
    "InternalError",
    "InvalidError",
    "LabelReceipt",
    "Lineage",
    "Materialization",
    "Metric",
    "MetricSummary",
    "ModelVersion",
    "Monitor",
    "NotFoundError",
    "OnDemandFeatureView",
    "OnlineResponse",
    "OnlineStream",
    "Pane",
    "ParquetSource",
    "PerformanceReport",
    "PermissionDeniedError",
    "Policy",
    "PredictionLog",
    "PredictionReceipt",
    "PredictionTrace",
    "Predictions",
    "Preset",
    "Profile",
    "Pusher",
    "Rebuild",
    "RegisteredModel",
    "RegisteredMonitor",
    "RegisteredPolicy",
    "RegisteredValidation",
    "RequestSource",
    "RetrievalJob",
    "Rollout",
    "RouteDecision",
    "Run",
    "RunGroup",
    "Snapshot",
    "Split",
    "StageChange",
    "StoredTable",
    "Summary",
    "UnauthenticatedError",
    "UnavailableError",
    "Validation",
    "ValidationReport",
    "ValidationRun",
    "ValueType",
    "connect",
    "define_metric",
    "finish",
    "init",
    "lag",
    "log",
    "log_artifact",
    "sync",
]
