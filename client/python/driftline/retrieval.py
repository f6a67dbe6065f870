"""Answers: training sets, saved datasets and online values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from driftline import _html
from driftline._flight import Exchange
from driftline.errors import FailedPreconditionError
from driftline.times import parse_time


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
class Dataset:
    """One saved version of a training set. It never changes.

    Attributes:
        name: The dataset's name.
        version: Its version, from 1.
        snapshot: The snapshot of its table that holds the rows.
        created: When it was saved.
        content_hash: A hash of its schema and values.
        request: Which features were asked for, and how: ``event_timestamp``, ``known_at``,
            ``strict``.
        report: What is known of its rows.
    """

    name: str
    version: int
    snapshot: int
    created: datetime | None
    content_hash: str
    request: dict[str, Any] = field(repr=False)
    report: HistoricalReport = field(repr=False)

    @property
    def ref(self) -> str:
        """Its name everywhere: ``dataset/late_departure@1``."""
        return f"dataset/{self.name}@{self.version}"

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Dataset:
        """Reads the server's form."""
        return cls(
            name=body["name"],
            version=body["version"],
            snapshot=body.get("snapshot", 0),
            created=parse_time(body.get("created")),
            content_hash=body.get("content_hash", ""),
            request=body.get("request") or {},
            report=HistoricalReport.from_json(body.get("report") or {}),
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

    def __init__(self, begin: Callable[[], Exchange]) -> None:
        self._begin = begin
        self._exchange: Exchange | None = None
        self._table: pa.Table | None = None

    def to_arrow(self) -> pa.Table:
        """Returns the training set as an Arrow table."""
        if self._table is None:
            self._table = self._start().table()
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
        return pa.RecordBatchReader.from_batches(exchange.schema, exchange.batches())

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
        return Dataset.from_json(saved) if saved else None

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
    """

    view: str
    rows: int
    sequence: int
    snapshot: int
    duplicate: bool

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> IngestResult:
        """Reads the server's form."""
        return cls(
            view=body["view"],
            rows=body["rows"],
            sequence=body["sequence"],
            snapshot=body.get("snapshot", 0),
            duplicate=body.get("duplicate", False),
        )
