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

from collections.abc import Iterable, Mapping
from typing import Any

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
from driftline.rollouts import Rollout, RouteDecision
from driftline.snapshots import Snapshot, StoredTable
from driftline.store import FeatureStore
from driftline.tracking import Metric, Run
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
    tags: Mapping[str, Any] | None = None,
    store: FeatureStore | None = None,
    inputs: Iterable[Any] | None = None,
) -> Run:
    """Starts a run.

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
    """
    store = store or _connected or connect()
    return store.start_run(project, dict(config or {}), name, dict(tags or {}), inputs)


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
    "Snapshot",
    "Split",
    "StageChange",
    "StoredTable",
    "UnauthenticatedError",
    "UnavailableError",
    "Validation",
    "ValidationReport",
    "ValidationRun",
    "ValueType",
    "connect",
    "init",
    "lag",
]
