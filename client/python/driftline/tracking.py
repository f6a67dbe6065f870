"""Runs, and the models that come out of them.

Example:
    >>> with driftline.init(project="late_departure", config={"depth": 6}) as run:
    ...     run.use_dataset(training_set.dataset)
    ...     run.log({"auc": 0.71})
    ...     run.log_artifact(model, name="model/model.joblib")
"""

from __future__ import annotations

import io
import json
import math
import numbers
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from driftline import _html
from driftline._http import HTTP
from driftline.models import Artifact, ModelVersion
from driftline.retrieval import Dataset, RetrievalJob
from driftline.times import parse_time


@dataclass(frozen=True)
class Metric:
    """One point of a metric's history."""

    key: str
    value: float
    step: int
    time: datetime | None


class Run:
    """One execution of training code: what went in, what came out.

    ``driftline.init`` and ``store.start_run`` make one; ``store.run`` finds one. As a
    context manager it finishes by itself: as FINISHED, or as FAILED if the block raises.
    What the server knows of it is in the attributes, as of the last call.

    Example:
        >>> with driftline.init(project="late_departure", config={"depth": 6}) as run:
        ...     for step in range(10):
        ...         run.log({"loss": 1 / (step + 1)}, step=step)
        >>> run.status
        'FINISHED'
    """

    id: str
    experiment: str
    name: str
    status: str
    started: datetime | None
    ended: datetime | None
    params: dict[str, str]
    metrics: dict[str, float]  # the last value of each
    tags: dict[str, str]
    inputs: list[str]
    artifacts: list[Artifact]

    def __init__(self, http: HTTP, body: Mapping[str, Any]) -> None:
        self._http = http
        self._step = 0
        self._read(body)

    @property
    def ref(self) -> str:
        """Its name everywhere: ``run/late_departure-1``."""
        return f"run/{self.id}"

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers.

        Args:
            metrics: From name to number; a dict inside is flattened to ``outer/inner``.
            step: Where in the run; counts up from 0 by itself if left out.
        """
        if not isinstance(metrics, Mapping):
            raise TypeError("log wants a dict from name to number, for example {'auc': 0.71}")
        if step is None:
            step = self._step
        points = [
            {"key": key, "value": _number(key, value), "step": int(step)}
            for key, value in _flatten(metrics).items()
        ]
        self._log({"metrics": points})
        self._step = int(step) + 1

    log_metrics = log

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Logs one number."""
        self.log({key: value}, step=step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs what the run was started with; a param is set once.

        Raises:
            ConflictError: If one was set to another value before.
        """
        self._log({"params": _texts("log_params", params)})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets tags; a later value replaces an earlier one."""
        self._log({"tags": _texts("set_tags", tags)})

    def use_dataset(self, dataset: Dataset | RetrievalJob | str) -> None:
        """Says that the run read a dataset, for lineage.

        Args:
            dataset: A dataset, a training set that was saved by ``save_as``, or a
                reference such as ``dataset/late_departure@1``.
        """
        self._log({"inputs": [ref_of(dataset)]})

    def log_inputs(self, inputs: Iterable[Any]) -> None:
        """Says that the run read datasets, snapshots or whatever else has a reference."""
        self._log({"inputs": [ref_of(i) for i in inputs]})

    @property
    def url(self) -> str:
        """The server's address."""
        return self._http.url

    def log_artifact(self, thing: Any, name: str | None = None) -> Artifact:
        """Keeps a file.

        Args:
            thing: A path, bytes, a matplotlib figure (kept as PNG), a table (Parquet), a
                dict or list (JSON), or any other object (joblib, or pickle without it).
            name: The name to keep it under, such as ``model/model.joblib``; for a path the
                file's own name if left out.

        Returns:
            What the server keeps.
        """
        if isinstance(thing, (str, Path)):
            path = Path(thing)
            if not path.is_file():
                raise FileNotFoundError(f"artifact {path} is not a file")
            with path.open("rb") as file:
                return self._put_artifact(name or path.name, file)
        if not name:
            raise TypeError("an artifact that is not a file on disk needs name=")
        return self._put_artifact(name, _to_bytes(thing))

    def download_artifact(self, path: str) -> bytes:
        """Returns the bytes that the run keeps under a name."""
        return self._http.get_bytes("runs", self.id, "artifacts", path)

    def metric_history(self, key: str) -> list[Metric]:
        """Returns all points of a metric."""
        body = self._http.get("runs", self.id, "metrics", key)
        return [
            Metric(m["key"], float(m["value"]), m.get("step", 0), parse_time(m.get("time")))
            for m in body.get("metrics") or ()
        ]

    def finish(self, status: str = "FINISHED") -> None:
        """Ends the run as FINISHED, FAILED or KILLED."""
        self._read(self._http.post("runs", self.id, "finish", body={"status": status}))

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.status != "RUNNING":
            return
        if kind is None:
            self.finish()
        else:
            self.finish("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def __repr__(self) -> str:
        metrics = ", ".join(f"{k}={v:.4g}" for k, v in self.metrics.items())
        return f"Run({self.id}, {self.status}{', ' + metrics if metrics else ''})"

    def _repr_html_(self) -> str:
        rows = [
            ("status", self.status),
            *((f"param {k}", v) for k, v in self.params.items()),
            *((f"metric {k}", f"{v:.6g}") for k, v in self.metrics.items()),
            *(("input", ref) for ref in self.inputs),
            *(("artifact", f"{a.path} ({a.size:,} bytes)") for a in self.artifacts),
        ]
        return _html.bold(self.ref) + _html.table(("", ""), rows)

    def _log(self, body: dict[str, Any]) -> None:
        self._read(self._http.post("runs", self.id, "log", body=body))

    def _put_artifact(self, name: str, content: Any) -> Artifact:
        body = self._http.put_bytes("runs", self.id, "artifacts", name, content=content)
        artifact = Artifact.from_json(body)
        self.artifacts = [a for a in self.artifacts if a.path != artifact.path] + [artifact]
        return artifact

    def _read(self, body: Mapping[str, Any]) -> None:
        self.id = body["id"]
        self.experiment = body["experiment"]
        self.name = body.get("name", "")
        self.status = body["status"]
        self.started = parse_time(body.get("started"))
        self.ended = parse_time(body.get("ended"))
        self.params = dict(body.get("params") or {})
        self.metrics = {k: float(v) for k, v in (body.get("metrics") or {}).items()}
        self.tags = dict(body.get("tags") or {})
        self.inputs = list(body.get("inputs") or ())
        self.artifacts = [Artifact.from_json(a) for a in body.get("artifacts") or ()]


def run_spec(
    project: str,
    config: Mapping[str, Any] | None,
    name: str,
    tags: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns the server's form of what a run starts with."""
    if not isinstance(project, str) or not project:
        raise TypeError(f"project is the name of the experiment, not {project!r}")
    spec: dict[str, Any] = {"experiment": project}
    if name:
        spec["name"] = name
    if config:
        spec["params"] = _texts("config", config)
    if tags:
        spec["tags"] = _texts("tags", tags)
    return spec


def ref_of(thing: Any) -> str:
    """Returns the reference of a dataset, a saved training set, a run, a model or a reference."""
    if isinstance(thing, RetrievalJob):
        saved = thing.dataset
        if saved is None:
            raise ValueError("the training set was not saved; ask for it with save_as=")
        return saved.ref
    if isinstance(thing, (Dataset, ModelVersion, Run)):
        return thing.ref
    if isinstance(thing, str) and "/" in thing:
        return thing
    raise TypeError(f"{thing!r} is no reference; write kind/name@version: dataset/late_departure@1")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _texts(where: str, values: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{where} wants a dict, not {type(values).__name__}")
    return {key: str(value) for key, value in _flatten(values).items()}


def _number(key: str, value: Any) -> float | str:
    """Returns a number in JSON, where NaN and the infinities are texts."""
    if hasattr(value, "item"):
        value = value.item()  # NumPy's and torch's scalars
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"metric {key!r} is {value!r}, want a number")
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _to_bytes(thing: Any) -> bytes:
    if isinstance(thing, (bytes, bytearray, memoryview)):
        return bytes(thing)
    buffer = io.BytesIO()
    if hasattr(thing, "savefig"):
        thing.savefig(buffer, format="png", bbox_inches="tight")
    elif isinstance(thing, (dict, list)):
        buffer.write(json.dumps(thing, indent=2, ensure_ascii=False).encode())
    elif hasattr(thing, "__arrow_c_stream__") or hasattr(thing, "__arrow_c_array__"):
        import pyarrow.parquet as pq

        from driftline._tables import to_table

        pq.write_table(to_table(thing), buffer)
    else:
        _dump(thing, buffer)
    return buffer.getvalue()


def _dump(thing: Any, buffer: io.BytesIO) -> None:
    try:
        import joblib
    except ImportError:
        pickle.dump(thing, buffer)
    else:
        joblib.dump(thing, buffer)
