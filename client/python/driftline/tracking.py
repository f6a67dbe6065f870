"""Runs, and the models that come out of them.

Example:
    >>> with driftline.init(project="late_departure", config={"depth": 6}) as run:
    ...     run.use_dataset(training_set.dataset)
    ...     run.log({"auc": 0.71})
    ...     run.log_artifact(model, name="model/model.joblib")
"""

from __future__ import annotations

import ast
import io
import json
import math
import numbers
import pickle
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from driftline import _html
from driftline._background import Companion
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


@dataclass(frozen=True)
class MetricSummary:
    """What the runs of a group have as the last value of a metric, but for NaN."""

    runs: int
    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class RunGroup:
    """Runs that are equal in what they are grouped by."""

    value: str | None  # None for the runs that have none
    runs: int
    filter: str  # finds these runs: store.search_runs(group.filter)
    metrics: dict[str, MetricSummary]  # of those that some run of the group has


def run_group(body: Mapping[str, Any]) -> RunGroup:
    """Reads a group as the server sends it."""
    metrics = {
        key: MetricSummary(m["runs"], float(m["mean"]), float(m["min"]), float(m["max"]))
        for key, m in (body.get("metrics") or {}).items()
    }
    value = None if body.get("missing") else body["value"]
    return RunGroup(value, body["runs"], body["filter"], metrics)


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
    reason: str  # why it ended, if its status does not say so: "lost: …"
    params: dict[str, str]
    metrics: dict[str, float]  # the last value of each
    tags: dict[str, str]
    inputs: list[str]
    artifacts: list[Artifact]

    def __init__(self, http: Any, body: Mapping[str, Any]) -> None:
        self._http: HTTP = http  # or what stands for a server: offline.Journal
        self._companion: Companion | None = None
        self._rules: dict[str, _Rule] = {}
        self._read(body)
        self._step = int(body.get("last_step", -1)) + 1

    @property
    def config(self) -> Config:
        """Its params, nested and with types; setting one logs it.

        Example:
            >>> run.config.depth, run.config["tree"]["leaves"]
            (6, 31)
        """
        return Config(self)

    @property
    def summary(self) -> Summary:
        """The last value of each metric; setting one logs it."""
        return Summary(self)

    def define_metric(self, name: str, summary: str = "last") -> None:
        """Says what a metric's summary is, kept as a metric of its own when the run ends.

        Args:
            name: The metric: ``val/auc``.
            summary: ``max``, ``min`` or ``mean``, kept as ``val/auc.max``; ``last`` needs none.
        """
        if summary not in _RULES:
            raise ValueError(f"summary is {summary!r}, want one of {', '.join(_RULES)}")
        if summary != "last":
            self._rules[name] = _Rule(summary)

    @property
    def ref(self) -> str:
        """Its name everywhere: ``run/late_departure-1``."""
        return f"run/{self.id}"

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers, and figures, images and tables.

        Args:
            metrics: From name to number; a dict inside is flattened to ``outer/inner``. A
                figure, an image or a table becomes an artifact, ``media/NAME_STEP.png`` or
                ``.parquet``.
            step: Where in the run; counts up from 0 by itself if left out.
        """
        if not isinstance(metrics, Mapping):
            raise TypeError("log wants a dict from name to number, for example {'auc': 0.71}")
        step = self._step if step is None else int(step)
        values = _flatten(metrics)
        media = {key: values.pop(key) for key in list(values) if _is_media(values[key])}
        now = datetime.now(timezone.utc).isoformat()  # so that a point that is sent again is itself
        points = [
            {"key": key, "value": _number(key, value), "step": step, "time": now}
            for key, value in values.items()
        ]
        if points or not media:
            self._log({"metrics": points})
        for key, thing in media.items():
            self.log_artifact(thing, name=f"media/{key}_{step}.{_ending(thing)}")
        for point in points:
            if point["key"] in self._rules:
                self._rules[point["key"]].add(float(point["value"]))
        self._step = step + 1

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

    def log_history(self, table: Any, step: str = "step", time: str = "time") -> int:
        """Logs many points at once, over Arrow Flight: millions a second.

        Args:
            table: A table with a column for each metric; a null is no point.
            step: The column that says where in the run; the row's number if there is none.
            time: The column of times; now if there is none.

        Returns:
            How many points were logged. Logging them again changes nothing if they have times.
        """
        from driftline.offline import points_of

        points = points_of(table, step, time)
        if self._put_points is None:
            raise RuntimeError("this run was not made by a store; use log")
        return self._put_points(self.id, points)

    _put_points: Any = None  # of the store that made it

    def metric_history(self, key: str) -> list[Metric]:
        """Returns all points of a metric."""
        body = self._http.get("runs", self.id, "metrics", key)
        return [
            Metric(m["key"], float(m["value"]), m.get("step", 0), parse_time(m.get("time")))
            for m in body.get("metrics") or ()
        ]

    def finish(self, status: str | int = "FINISHED") -> None:
        """Ends the run.

        Args:
            status: FINISHED, FAILED or KILLED, or an exit code: 0 is FINISHED, others FAILED.
        """
        if isinstance(status, int):
            status = "FAILED" if status else "FINISHED"
        if self._companion is not None:
            self._companion.stop()
            self._companion = None
        points = [
            {"key": f"{key}.{rule.name}", "value": _number(key, rule.value), "step": self._step}
            for key, rule in self._rules.items()
            if rule.count
        ]
        if points:
            self._log({"metrics": points})
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
            ("status", f"{self.status} ({self.reason})" if self.reason else self.status),
            *((f"param {k}", v) for k, v in self.params.items()),
            *((f"metric {k}", f"{v:.6g}") for k, v in self.metrics.items()),
            *(("input", ref) for ref in self.inputs),
            *(("artifact", f"{a.path} ({a.size:,} bytes)") for a in self.artifacts),
        ]
        return _html.bold(self.ref) + _html.table(("", ""), rows)

    def _log(self, body: dict[str, Any]) -> None:
        self._read(self._http.post_again("runs", self.id, "log", body=body))

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
        self.reason = body.get("reason", "")
        self.params = dict(body.get("params") or {})
        self.metrics = {k: float(v) for k, v in (body.get("metrics") or {}).items()}
        self.tags = dict(body.get("tags") or {})
        self.inputs = list(body.get("inputs") or ())
        self.artifacts = [Artifact.from_json(a) for a in body.get("artifacts") or ()]


class Config(MutableMapping[str, Any]):
    """What a run was started with, as it was given: nested, and with types.

    The server keeps texts; numbers, booleans and None are read back as what they were. A text
    that looks like one of them comes back as one.
    """

    def __init__(self, run: Run) -> None:
        object.__setattr__(self, "_run", run)

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as a dict of its own."""
        nested: dict[str, Any] = {}
        for path, text in self._run.params.items():
            *outer, last = path.split("/")
            inner = nested
            for name in outer:
                inner = inner.setdefault(name, {})
                if not isinstance(inner, dict):  # "a" beside "a/b"
                    break
            if isinstance(inner, dict):
                inner[last] = _value_of(text)
        return nested

    def __getitem__(self, key: str) -> Any:
        return self.as_dict()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._run.log_params({key: value})

    def __delitem__(self, key: str) -> None:
        raise TypeError("a param stays: it is what the run was started with")

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"the run has no param {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def update(self, *values: Any, allow_val_change: bool = False, **more: Any) -> None:
        """Logs params. A param is set once, so ``allow_val_change`` allows nothing."""
        self._run.log_params(dict(*values, **more))

    def __repr__(self) -> str:
        return repr(self.as_dict())


class Summary(MutableMapping[str, float]):
    """The last value of each metric."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, key: str) -> float:
        return self._run.metrics[key]

    def __setitem__(self, key: str, value: Any) -> None:
        point = {"key": key, "value": _number(key, value), "step": self._run._step}
        self._run._log({"metrics": [point]})

    def __delitem__(self, key: str) -> None:
        raise TypeError("a metric stays: it was measured")

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.metrics)

    def __len__(self) -> int:
        return len(self._run.metrics)

    def __repr__(self) -> str:
        return repr(dict(self))


_RULES = ("last", "max", "min", "mean")


class _Rule:
    """The summary of one metric, value by value."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.value = math.nan

    def add(self, value: float) -> None:
        if math.isnan(value):
            return
        self.count += 1
        if self.count == 1:
            self.value = value
        elif self.name == "mean":
            self.value += (value - self.value) / self.count
        else:
            self.value = (max if self.name == "max" else min)(self.value, value)


def run_spec(
    project: str,
    config: Mapping[str, Any] | None,
    name: str,
    tags: Mapping[str, Any] | Iterable[str] | None,
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
        if not isinstance(tags, (Mapping, str)):
            tags = {tag: "true" for tag in tags}
        spec["tags"] = _texts("tags", tags)
    return spec


def fork_of(text: str) -> dict[str, Any]:
    """Returns the server's form of ``RUN?_step=200``, as W&B's users write it."""
    run, _, step = text.partition("?_step=")
    if not run or not step.lstrip("-").isdigit():
        raise ValueError(f"fork_from is {text!r}, want RUN?_step=NUMBER: late-1?_step=200")
    return {"run": run, "step": int(step)}


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


def _value_of(text: str) -> Any:
    """Returns the number, boolean or list that a text was made from by ``str``, or the text."""
    if text in ("nan", "inf", "-inf"):
        return float(text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if str(value) == text else text


def _is_media(value: Any) -> bool:
    """Reports whether it is a figure, an image or a table."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return False
    if hasattr(value, "savefig") or (hasattr(value, "save") and hasattr(value, "getbands")):
        return True
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


def _ending(thing: Any) -> str:
    return "png" if hasattr(thing, "savefig") or hasattr(thing, "getbands") else "parquet"


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
    elif hasattr(thing, "save") and hasattr(thing, "getbands"):
        thing.save(buffer, format="png")  # an image of Pillow
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
