"""Answers: training sets, saved datasets and online values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from driftline import _html, context
from driftline._flight import Exchange
from driftline.errors import FailedPreconditionError
from driftline.times import format_time, parse_time

if TYPE_CHECKING:
    from driftline.store import FeatureStore

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class ColumnReport:
    """What a reader of a training set should know of one feature column.

    Attributes:
        column: The column's name.
        type: Its Arrow type.
        nulls: How many values are null.
        not_yet_known: How many values were written down after the time of their row: a
            model that learns from them sees the future. ``known_at=True`` avoids it.
    """

    column: str
    type: str
    nulls: int
    not_yet_known: int


@dataclass(frozen=True)
class HistoricalReport:
    """What is known of a training set once its last row has arrived.

    Attributes:
        rows: How many rows it has.
        pins: From each view to the snapshot of its table that was read.
        columns: One entry per feature column.
        sql: The query that joined it.
    """

    rows: int
    pins: dict[str, int]
    columns: list[ColumnReport]
    sql: str = field(repr=False)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> HistoricalReport:
        """Reads the server's form."""
        return cls(
            rows=body.get("rows", 0),
            pins={p["view"]: p["snapshot"] for p in body.get("pins") or ()},
            columns=[
                ColumnReport(c["column"], c["type"], c["nulls"], c["not_yet_known"])
                for c in body.get("columns") or ()
            ],
            sql=body.get("sql", ""),
        )

    @property
    def not_yet_known(self) -> int:
        """How many values, over all columns, were not known at the time of their row."""
        return sum(c.not_yet_known for c in self.columns)

    def to_df(self) -> Any:
        """Returns one row per feature column as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([vars(c) for c in self.columns])

    def _repr_html_(self) -> str:
        head = ("column", "type", "nulls", "not yet known")
        rows = [(c.column, c.type, f"{c.nulls:,}", f"{c.not_yet_known:,}") for c in self.columns]
        return _html.bold(f"{self.rows:,} rows") + _html.table(head, rows)


@dataclass(frozen=True)
class Split:
    """How the rows of a saved training set are divided: the same rows, always the same way.

    Example:
        >>> Split.random({"train": 0.8, "test": 0.2}, seed=7)
        >>> Split.by_group("customer", {"train": 0.8, "test": 0.2}, seed=7)
        >>> Split.by_time({"train": 0.8, "test": 0.2})
        >>> Split.by_time({"train": "2013-09-01", "validation": "2013-11-01", "test": None})

    Attributes:
        kind: ``random``, ``group`` or ``time``.
        parts: The server's form of each part, in order.
        seed: What random and group splits depend on, besides the rows.
        column: Of a group split: equal values of it are never torn apart.
    """

    kind: str
    parts: tuple[dict[str, Any], ...]
    seed: int = 0
    column: str = ""

    @classmethod
    def random(cls, parts: Mapping[str, float], seed: int = 0) -> Split:
        """Divides row by row; ``parts`` are fractions that add up to 1."""
        return cls("random", _fractions(parts), seed)

    @classmethod
    def by_group(cls, column: str, parts: Mapping[str, float], seed: int = 0) -> Split:
        """Keeps all rows of equal ``column`` in one part: all flights of one aircraft."""
        return cls("group", _fractions(parts), seed, column)

    @classmethod
    def by_time(cls, parts: Mapping[str, float | datetime | str | None]) -> Split:
        """Divides by event time, the first part the oldest.

        Args:
            parts: Fractions; or the time before which the rows of each part are, and None
                for the last part.
        """
        if all(isinstance(v, (int, float)) for v in parts.values()):
            return cls("time", _fractions(parts))
        until = ({"until": format_time(t)} if t is not None else {} for t in parts.values())
        return cls("time", tuple({"name": n, **u} for n, u in zip(parts, until, strict=True)))

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Split:
        """Reads the server's form."""
        parts = tuple(dict(p) for p in body["parts"])
        return cls(body["kind"], parts, body.get("seed", 0), body.get("column", ""))

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        body = {"kind": self.kind, "parts": list(self.parts)}
        options = {"seed": self.seed, "column": self.column}
        return body | {name: value for name, value in options.items() if value}

    @property
    def rows(self) -> dict[str, int]:
        """From each part to how many rows it has, once it is saved."""
        return {p["name"]: p.get("rows", 0) for p in self.parts}


def _fractions(parts: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    if not isinstance(parts, Mapping):
        raise TypeError('parts are a dict from name to fraction: {"train": 0.8, "test": 0.2}')
    return tuple({"name": name, "fraction": float(value)} for name, value in parts.items())


@dataclass(frozen=True)
class ColumnStatistics:
    """The values of one column of a saved training set.

    Attributes:
        column: The column's name.
        type: Its Arrow type.
        rows: How many rows there are.
        nulls: How many of them are null.
        min: The least value; of numbers and times (in microseconds) only, as are
            ``max``, ``mean``, ``std_dev``, ``edges`` and ``counts``.
        max: The greatest value.
        mean: The mean.
        std_dev: The standard deviation of the sample.
        zeros: How many values are 0.
        not_finite: How many values are NaN or infinite, which all others leave out.
        edges: The limits of the histogram's bins.
        counts: How many values are in each bin.
        distinct: How many different texts there are, or that there are more than so many.
        more_distinct: Whether there are more than ``distinct``.
        top: The most frequent texts, and how often each occurs.
    """

    column: str
    type: str
    rows: int
    nulls: int
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std_dev: float | None = None
    zeros: int = 0
    not_finite: int = 0
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    distinct: int = 0
    more_distinct: bool = False
    top: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ColumnStatistics:
        """Reads the server's form."""
        values = dict(body)
        for name in ("min", "max", "mean", "std_dev"):
            if name in values:
                values[name] = float(values[name])
        values["edges"] = tuple(float(e) for e in body.get("edges") or ())
        values["counts"] = tuple(body.get("counts") or ())
        values["top"] = {t["value"]: t["count"] for t in body.get("top") or ()}
        return cls(**{name: v for name, v in values.items() if name in cls.__dataclass_fields__})


_DESCRIBED = ("type", "nulls", "min", "mean", "max", "distinct")


def _described(c: ColumnStatistics) -> tuple[Any, ...]:
    """Returns the cells of a column's line; those that its type does not have are None."""
    limits: tuple[Any, ...] = (c.min, c.mean, c.max)
    if c.type.startswith("timestamp"):
        limits = tuple(v if v is None else _EPOCH + timedelta(microseconds=v) for v in limits)
    distinct = f"> {c.distinct}" if c.more_distinct else c.distinct or None
    return (c.type, c.nulls, *limits, distinct)


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,}" if isinstance(value, int) else value


@dataclass(frozen=True)
class Rebuild:
    """What came out when a dataset was made again.

    Attributes:
        dataset: Its reference.
        rows: How many rows were made.
        content_hash: A hash of their schema and values.
        equal: Whether they are the dataset's own, byte for byte.
    """

    dataset: str
    rows: int
    content_hash: str
    equal: bool


@dataclass(frozen=True)
class Dataset:
    """One saved version of a training set. It never changes.

    Attributes:
        name: The dataset's name.
        version: Its version, from 1.
        snapshot: The snapshot of its table that holds the rows.
        created: When it was saved.
        content_hash: A hash of its schema and values.
        request: Which features were asked for, and how: ``event_timestamp``, ``known_at``,
            ``strict``, ``spine``.
        report: What is known of its rows.
        split: How it is divided, and how many rows each part has; None if it is not.
        statistics: What is known of the values of each column, the spine's too.
    """

    name: str
    version: int
    snapshot: int
    created: datetime | None
    content_hash: str
    request: dict[str, Any] = field(repr=False)
    report: HistoricalReport = field(repr=False)
    split: Split | None = None
    statistics: dict[str, ColumnStatistics] = field(default_factory=dict, repr=False)
    _store: FeatureStore | None = field(default=None, repr=False, compare=False)

    @property
    def ref(self) -> str:
        """Its name everywhere: ``dataset/late_departure@1``."""
        return f"dataset/{self.name}@{self.version}"

    def to_arrow(self, split: str | None = None) -> pa.Table:
        """Returns its rows, or those of one part, as an Arrow table."""
        return self._server().read_dataset(self.name, self.version, split=split)

    def to_df(self, split: str | None = None) -> Any:
        """Returns its rows, or those of one part, as a pandas DataFrame."""
        return self.to_arrow(split).to_pandas()

    def to_polars(self, split: str | None = None) -> Any:
        """Returns its rows, or those of one part, as a polars DataFrame."""
        import polars as pl

        return pl.from_arrow(self.to_arrow(split))

    def describe(self) -> Any:
        """Returns its statistics as a pandas DataFrame, one row per column.

        Example:
            >>> store.dataset("late_departure", 1).describe().loc["temp", "max"]
            100.04
        """
        import pandas as pd

        rows = [_described(c) for c in self.statistics.values()]
        return pd.DataFrame(rows, list(self.statistics), _DESCRIBED)

    def rebuild(self) -> Rebuild:
        """Makes it again on the server, from its spine and the snapshots that it pins.

        Example:
            >>> store.dataset("late_departure", 1).rebuild().equal
            True

        Raises:
            FailedPreconditionError: If a snapshot has expired, or an erasure took rows out.
        """
        return self._server().rebuild_dataset(self.name, self.version)

    def _repr_html_(self) -> str:
        rows = f"{self.report.rows:,} rows"
        if self.split is not None:
            rows += f" ({', '.join(f'{n:,} {part}' for part, n in self.split.rows.items())})"
        columns = ((c.column, *map(_shown, _described(c))) for c in self.statistics.values())
        line = f"{self.ref}: {rows}, content {self.content_hash[:16]}…"
        return _html.bold(line) + _html.table(("column", *_DESCRIBED), columns)

    def _server(self) -> FeatureStore:
        if self._store is None:
            raise FailedPreconditionError(
                f"{self.ref} does not know its server", "get it from store.dataset(name, version)"
            )
        return self._store

    @classmethod
    def from_json(cls, body: Mapping[str, Any], store: FeatureStore | None = None) -> Dataset:
        """Reads the server's form."""
        request = body.get("request") or {}
        columns = (ColumnStatistics.from_json(c) for c in body.get("statistics") or ())
        return cls(
            name=body["name"],
            version=body["version"],
            snapshot=body.get("snapshot", 0),
            created=parse_time(body.get("created")),
            content_hash=body.get("content_hash", ""),
            request=request,
            report=HistoricalReport.from_json(body.get("report") or {}),
            split=Split.from_json(request["split"]) if request.get("split") else None,
            statistics={c.column: c for c in columns},
            _store=store,
        )


class RetrievalJob:
    """A training set that has been asked for.

    Nothing is sent until the first call of a method below; then the rows are joined once
    and kept. ``to_reader`` keeps nothing and can be called only once, instead.

    Example:
        >>> job = store.get_historical_features(flights, ["weather:temp"])
        >>> frame = job.to_df()
        >>> job.report.rows
        336776
    """

    def __init__(self, begin: Callable[[], Exchange], store: FeatureStore | None = None) -> None:
        self._begin = begin
        self._store = store
        self._exchange: Exchange | None = None
        self._table: pa.Table | None = None
        self._noted = False

    def to_arrow(self) -> pa.Table:
        """Returns the training set as an Arrow table."""
        if self._table is None:
            self._table = self._start().table()
            self._note()
        return self._table

    def to_df(self) -> Any:
        """Returns the training set as a pandas DataFrame."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Returns the training set as a polars DataFrame."""
        import polars as pl

        return pl.from_arrow(self.to_arrow())

    def to_reader(self) -> pa.RecordBatchReader:
        """Returns the training set batch by batch, for more rows than fit in memory.

        ``report`` and ``dataset`` are known after the last batch.
        """
        if self._table is not None:
            return self._table.to_reader()
        exchange = self._start()
        return pa.RecordBatchReader.from_batches(exchange.schema, self._batches(exchange))

    def _batches(self, exchange: Exchange) -> Iterator[pa.RecordBatch]:
        yield from exchange.batches()
        self._note()

    def _note(self) -> None:
        """Remembers what was read, for the runs of this process."""
        if self._noted or self._store is None or self._exchange is None:
            return
        self._noted = True
        body = self._exchange.metadata or {}
        saved = body.get("dataset")
        if saved:
            refs = [f"dataset/{saved['name']}@{saved['version']}"]
        else:
            pins = body.get("pins") or ()
            refs = [f"snapshot/features.{p['view']}@{p['snapshot']}" for p in pins if p["snapshot"]]
        context.note(self._store.url, refs)

    @property
    def report(self) -> HistoricalReport:
        """What is known of the training set; joins it if that has not happened yet."""
        return HistoricalReport.from_json(self._metadata())

    @property
    def dataset(self) -> Dataset | None:
        """The dataset that it was saved as, or None without ``save_as``.

        Joins the training set if that has not happened yet.
        """
        saved = self._metadata().get("dataset")
        return Dataset.from_json(saved, self._store) if saved else None

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _start(self) -> Exchange:
        if self._exchange is not None:
            raise FailedPreconditionError(
                "the training set has been streamed already and was not kept",
                "ask for it again, or use to_arrow() instead of to_reader()",
            )
        self._exchange = self._begin()
        return self._exchange

    def _metadata(self) -> dict[str, Any]:
        if self._exchange is None:
            self.to_arrow()
        assert self._exchange is not None
        if not self._exchange.metadata:
            raise FailedPreconditionError(
                "the training set has not been read to its end", "read the last batch first"
            )
        return self._exchange.metadata


_STATUS = "__status"
_EVENT_TIMESTAMP = "__event_timestamp"


class OnlineResponse:
    """The newest values of some features, one row per entity row asked for.

    Example:
        >>> answer = store.get_online_features(["weather:temp"], [{"origin": "JFK"}])
        >>> answer.to_dict()
        {'origin': ['JFK'], 'temp': [39.02]}
        >>> answer.statuses
        {'temp': ['PRESENT']}
    """

    def __init__(self, table: pa.Table) -> None:
        self._statuses = {}
        self._event_timestamps = {}
        plain = []
        for name in table.column_names:
            if name.endswith(_STATUS):
                self._statuses[name.removesuffix(_STATUS)] = table[name]
            elif name.endswith(_EVENT_TIMESTAMP):
                self._event_timestamps[name.removesuffix(_EVENT_TIMESTAMP)] = table[name]
            else:
                plain.append(name)
        self._table = table.select(plain)

    @property
    def statuses(self) -> dict[str, list[str]]:
        """Per feature and row: PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE."""
        return {name: column.to_pylist() for name, column in self._statuses.items()}

    @property
    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """Per feature and row: when the value became true."""
        return {name: column.to_pylist() for name, column in self._event_timestamps.items()}

    def to_arrow(self) -> pa.Table:
        """Returns the request's columns and the features as an Arrow table."""
        return self._table

    def to_dict(self) -> dict[str, list[Any]]:
        """Returns the columns as lists."""
        return {name: self._table[name].to_pylist() for name in self._table.column_names}

    def to_df(self) -> Any:
        """Returns the columns as a pandas DataFrame."""
        return self._table.to_pandas()

    def to_polars(self) -> Any:
        """Returns the columns as a polars DataFrame."""
        import polars as pl

        return pl.from_arrow(self._table)

    def __repr__(self) -> str:
        return f"OnlineResponse({self.to_dict()})"

    def _repr_html_(self) -> str:
        rows = zip(*(c.to_pylist() for c in self._table.columns), strict=True)
        return _html.table(self._table.column_names, rows)


@dataclass(frozen=True)
class IngestResult:
    """The server's word that rows are durable and visible, online and offline.

    Attributes:
        view: The feature view that they belong to.
        rows: How many there were.
        sequence: The write sequence of the first row.
        snapshot: The snapshot of the view's table that holds them; 0 for a small write.
        duplicate: Whether the idempotency key was known, so that nothing changed.
        to: "online" or "offline" if the rows went to one store only.
    """

    view: str
    rows: int
    sequence: int
    snapshot: int
    duplicate: bool
    to: str = ""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> IngestResult:
        """Reads the server's form."""
        return cls(
            view=body["view"],
            rows=body["rows"],
            sequence=body["sequence"],
            snapshot=body.get("snapshot", 0),
            duplicate=body.get("duplicate", False),
            to=body.get("to", ""),
        )
