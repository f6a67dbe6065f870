"""Entities, feature views and feature services, declared in Python.

The names and arguments are Feast's; the objects are the same as those that
``driftline apply`` reads from YAML.

    from datetime import timedelta
    from driftline import Entity, FeatureService, FeatureView, Field
    from driftline.types import Float64, String

    airport = Entity(name="airport", join_keys=["origin"], value_type=String)
    weather = FeatureView(
        name="weather",
        entities=[airport],
        ttl=timedelta(hours=3),
        schema=[Field(name="temp", dtype=Float64)],
    )
    delay_model = FeatureService(name="delay_model", features=[weather[["temp"]]])

    driftline.connect().apply([airport, weather, delay_model])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from driftline.monitoring import Monitor
from driftline.policies import Policy
from driftline.presets import Preset
from driftline.times import format_duration, parse_duration, short_duration
from driftline.types import Type
from driftline.validation import Validation


@dataclass(frozen=True)
class Field:
    """A named, typed column.

    Example:
        >>> Field(name="temp", dtype=Float64, description="Temperature (°F)")

    Attributes:
        name: The column's name.
        dtype: Its type: one of ``driftline.types``, or a name such as ``"float64"``.
        description: What it means and in which unit, for people.
        renamed_from: The name that a feature had until now. Its values stay, and no row is
            rewritten. May be left in once it is applied: it then says nothing.
    """

    name: str
    dtype: Type
    description: str = ""
    renamed_from: str = ""

    def __post_init__(self) -> None:
        _want_text("Field", "name", self.name)
        object.__setattr__(self, "dtype", Type.parse(self.dtype))

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            name=self.name,
            type=self.dtype.value,
            description=self.description,
            renamed_from=self.renamed_from,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Field:
        """Reads the server's form."""
        return cls(
            body["name"],
            Type.parse(body["type"]),
            body.get("description", ""),
            body.get("renamed_from", ""),
        )


@dataclass(frozen=True, init=False)
class Entity:
    """A thing that features are about, and the columns that identify one.

    Example:
        >>> airport = Entity(name="airport", join_keys=["origin"], value_type=String)
        >>> leg = Entity(name="leg", join_keys=[Field("origin", String), Field("dest", String)])

    Attributes:
        name: The entity's name.
        join_keys: The columns that identify one, with their types.
        description: For people.
        tags: For people and scripts.
    """

    name: str
    join_keys: tuple[Field, ...]
    description: str
    tags: dict[str, str]

    def __init__(
        self,
        name: str,
        join_keys: Sequence[str | Field] | None = None,
        value_type: Type | str = Type.STRING,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Declares an entity.

        Args:
            name: The entity's name.
            join_keys: The columns that identify one; the entity's name if left out.
            value_type: The type of the join keys that are given by name only.
            description: For people.
            tags: For people and scripts.
        """
        _want_text("Entity", "name", name)
        keys = _want_sequence("Entity", "join_keys", [name] if join_keys is None else join_keys)
        object.__setattr__(self, "name", name)
        object.__setattr__(
            self,
            "join_keys",
            tuple(k if isinstance(k, Field) else Field(k, Type.parse(value_type)) for k in keys),
        )
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "tags", dict(tags or {}))

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            name=self.name,
            join_keys=[k.to_json() for k in self.join_keys],
            description=self.description,
            tags=self.tags,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Entity:
        """Reads the server's form."""
        return cls(
            name=body["name"],
            join_keys=[Field.from_json(k) for k in body["join_keys"]],
            description=body.get("description", ""),
            tags=body.get("tags"),
        )


@dataclass(frozen=True)
class FeatureViewProjection:
    """The part of a feature view that a service or a request uses.

    ``view[["temp"]]`` makes one; its methods make others from it.

    Example:
        >>> weather[["temp"]].with_name("destination").with_join_key_map({"origin": "dest"})

    Attributes:
        view: The feature view's name.
        features: The features wanted, in order; empty means all.
        role: The name of this use of the view, for output columns; "" means the view's.
        join_key_map: From the view's join keys to columns of the spine.
        lag: How much earlier than the spine's time the values are looked up.
    """

    view: str
    features: tuple[str, ...] = ()
    role: str = ""
    join_key_map: dict[str, str] = field(default_factory=dict)
    lag: timedelta | None = None

    def with_name(self, name: str) -> FeatureViewProjection:
        """Names this use of the view, so that a view can be used twice."""
        _want_text("with_name", "name", name)
        return replace(self, role=name)

    def with_join_key_map(self, join_key_map: Mapping[str, str]) -> FeatureViewProjection:
        """Says which columns of the spine carry the view's join keys."""
        if not isinstance(join_key_map, Mapping):
            raise TypeError("with_join_key_map wants a dict from join key to column of the spine")
        return replace(self, join_key_map=dict(join_key_map))

    def with_lag(self, lag: timedelta | str) -> FeatureViewProjection:
        """Takes the values as they were so much earlier: ``timedelta(hours=1)`` or ``"1h"``."""
        return replace(self, lag=_want_duration("with_lag", "lag", lag))

    def __getitem__(self, features: Sequence[str]) -> FeatureViewProjection:
        return replace(self, features=_feature_names(self.view, features))

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            view=self.view,
            features=list(self.features),
            role=self.role,
            join_key_map=self.join_key_map,
            lag=format_duration(self.lag) if self.lag else "",
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> FeatureViewProjection:
        """Reads the server's form."""
        return cls(
            view=body["view"],
            features=tuple(body.get("features") or ()),
            role=body.get("role", ""),
            join_key_map=dict(body.get("join_key_map") or {}),
            lag=parse_duration(body["lag"]) if body.get("lag") else None,
        )


@dataclass(frozen=True)
class PredictionLog:
    """Makes a feature view a log of predictions, for :meth:`driftline.Store.why`.

    Each row of the view is one prediction. Its other columns are understood by their names:
    one called like a feature (``temp`` or ``weather__temp``) is the value that was served to
    the model, one called like a join key says for which entity.

    Example:
        >>> PredictionLog(id="prediction_id", model="model", version="model_version")

    Attributes:
        id: The column that identifies a prediction; the view's only join key by default.
        model: The column that names the registered model.
        version: The column with the model's version.
        mode: Of predictions that the server writes: ``async`` or ``sync``.
        overflow: ``drop_oldest``, ``block`` or ``sample``: what gives way when they come
            faster than they can be written.
        fields: The features and join keys that may be kept; all if empty.
        most_bytes: Of an output, and of a record's features; 64 KiB if 0.
    """

    id: str = ""
    model: str = "model"
    version: str = "model_version"
    mode: str = ""
    overflow: str = ""
    fields: tuple[str, ...] = ()
    most_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            id=self.id,
            model=self.model,
            version=self.version,
            mode=self.mode,
            overflow=self.overflow,
            fields=list(self.fields),
            most_bytes=self.most_bytes,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PredictionLog:
        """Reads the server's form."""
        texts = ("id", "model", "version", "mode", "overflow", "most_bytes")
        return cls(
            **{name: body[name] for name in texts if body.get(name)},
            fields=tuple(body.get("fields") or ()),
        )


@dataclass(frozen=True)
class History:
    """Which rows of an entity a view keeps online besides the newest.

    Example:
        >>> History(last=20)

    Attributes:
        last: The newest so many; 0 for none in particular.
        max_age: Those whose event time is not longer ago; None for none in particular.
    """

    last: int = 0
    max_age: timedelta | str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        age = _want_duration("History", "max_age", self.max_age)
        return _filled(last=self.last, max_age=format_duration(age) if age else "")

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> History:
        """Reads the server's form."""
        age = body.get("max_age")
        return cls(last=body.get("last", 0), max_age=parse_duration(age) if age else None)


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file, or all of them below a folder, read in place.

    The server must have been started with ``--allow-source`` and a folder around it.

    Attributes:
        path: An absolute path on the server's machine.
    """

    path: str
    format = "parquet"


@dataclass(frozen=True)
class IcebergSource:
    """An Iceberg table that somebody else writes, read in place.

    The server must have been started with ``--allow-source`` and a folder around it.

    Attributes:
        path: The table's folder, the one that has ``metadata`` in it, on the server's machine.
    """

    path: str
    format = "iceberg"


_SOURCES = {source.format: source for source in (ParquetSource, IcebergSource)}


@dataclass(frozen=True, init=False)
class Aggregation:
    """Features that a view derives from its rows, one for each window.

    The value at time t summarises the rows of the entity in the window (t - w, t].

    Example:
        >>> Aggregation(column="dep_delay", function="mean", windows=["1h", "1d"])
        >>> Aggregation(function="count", windows=["1d"], filter="dep_delay > 15", name="late")

    Attributes:
        column: The feature that is summarised; "" for a count of rows.
        function: ``count``, ``sum``, ``mean``, ``min``, ``max``, ``stddev``, ``first``, ``last``,
            ``last_n``, ``approx_count_distinct``, ``approx_quantile`` or ``top_k``.
        windows: How far back it looks, one feature each.
        name: What its features are called, before the window; "" for column and function.
        filter: An SQL condition on the rows that count.
        by: A feature of which each value is summarised apart: the result is a map.
        n: Of ``last_n`` and ``top_k``, how many values at most.
        quantile: Of ``approx_quantile``, from 0 to 1.
        hop: Steps in which the windows move; None for windows that slide.
    """

    column: str
    function: str
    windows: tuple[timedelta, ...]
    name: str
    filter: str
    by: str
    n: int
    quantile: float
    hop: timedelta | None

    def __init__(
        self,
        column: str = "",
        function: str = "",
        windows: Sequence[timedelta | str] = (),
        *,
        name: str = "",
        filter: str = "",
        by: str = "",
        n: int = 0,
        quantile: float = 0.0,
        hop: timedelta | str | None = None,
        time_window: timedelta | str | None = None,
        slide_interval: timedelta | str | None = None,
    ) -> None:
        """Declares an aggregation; the arguments are the attributes.

        ``time_window`` and ``slide_interval`` are Feast's names for one window and for hop.
        """
        what = f"Aggregation of {column or 'rows'}"
        _want_text("Aggregation", "function", function)
        all_windows = list(_want_sequence(what, "windows", windows))
        if time_window is not None:
            all_windows.append(time_window)
        values = {
            "column": column,
            "function": function,
            "windows": tuple(_want_duration(what, "windows", w) for w in all_windows),
            "name": name,
            "filter": filter,
            "by": by,
            "n": n,
            "quantile": float(quantile),
            "hop": _want_duration(what, "hop", hop if hop is not None else slide_interval) or None,
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    @property
    def feature_names(self) -> list[str]:
        """The names of the features that it derives, one for each window."""
        label = self.name or (f"{self.column}_{self.function}" if self.column else self.function)
        return [f"{label}_{short_duration(w)}" for w in self.windows]

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            column=self.column,
            function=self.function,
            windows=[format_duration(w) for w in self.windows],
            name=self.name,
            filter=self.filter,
            by=self.by,
            n=self.n,
            quantile=self.quantile,
            hop=format_duration(self.hop) if self.hop else "",
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Aggregation:
        """Reads the server's form."""
        return cls(**{**body, "windows": list(body.get("windows") or ())})


@dataclass(frozen=True, init=False)
class FeatureView:
    """A table of features over time.

    Its rows are join keys, an event timestamp (when the values became true), maybe a
    created timestamp (when the row was written down), and features.

    Example:
        >>> weather = FeatureView(
        ...     name="weather",
        ...     entities=[airport],
        ...     ttl=timedelta(hours=3),
        ...     schema=[Field(name="temp", dtype=Float64)],
        ...     created_timestamp_column="created",
        ... )

    Attributes:
        name: The view's name.
        entities: The names of its entities; none for one global row per time.
        schema: Its features.
        ttl: How old a value may be when it is used; None means any age.
        timestamp_field: The event timestamp's column.
        created_timestamp_column: The created timestamp's column; "" if there is none.
        known_at: Whether every read ignores rows created after the time asked for.
        horizon: For a view of labels, how long after the spine's time an outcome counts;
            None for features.
        aggregations: Further features, derived from the rows of windows of time.
        event_id: The feature that tells rows of equal keys and time apart for aggregations;
            "" if each row is an event of its own.
        history: Which rows of an entity stay online besides the newest; None for none.
        predictions: Makes the view a log of predictions; None, for nearly all, is none.
        source: Files that somebody else writes, read in place; None if rows are ingested.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    name: str
    entities: tuple[str, ...]
    schema: tuple[Field, ...]
    ttl: timedelta | None
    timestamp_field: str
    created_timestamp_column: str
    known_at: bool
    horizon: timedelta | None
    aggregations: tuple[Aggregation, ...]
    event_id: str
    history: History | None
    predictions: PredictionLog | None
    source: ParquetSource | IcebergSource | None
    description: str
    owner: str
    tags: dict[str, str]

    def __init__(
        self,
        name: str,
        *,
        entities: Sequence[Entity | str] = (),
        schema: Sequence[Field],
        ttl: timedelta | str | None = None,
        timestamp_field: str = "event_timestamp",
        created_timestamp_column: str = "",
        known_at: bool = False,
        horizon: timedelta | str | None = None,
        aggregations: Sequence[Aggregation] = (),
        event_id: str = "",
        history: History | None = None,
        predictions: PredictionLog | None = None,
        source: ParquetSource | IcebergSource | None = None,
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Declares a feature view; the arguments are the attributes.

        A field of ``schema`` that is a join key of one of ``entities`` is not a feature
        and is left out, as in Feast.
        """
        _want_text("FeatureView", "name", name)
        entities = _want_sequence("FeatureView", "entities", entities)
        fields = _want_sequence("FeatureView", "schema", schema)
        for f in fields:
            if not isinstance(f, Field):
                raise TypeError(f"schema of view {name!r} holds {f!r}, want Field(name=, dtype=)")
        for a in _want_sequence("FeatureView", "aggregations", aggregations):
            if not isinstance(a, Aggregation):
                raise TypeError(f"aggregations of view {name!r} hold {a!r}, want Aggregation(…)")
        keys = {k.name for e in entities if isinstance(e, Entity) for k in e.join_keys}
        if history is not None and not isinstance(history, History):
            raise TypeError(f"history of view {name!r} is {history!r}, want History(last=20)")
        if predictions is not None and not isinstance(predictions, PredictionLog):
            raise TypeError(
                f"predictions of view {name!r} is {predictions!r}, want PredictionLog()"
            )
        if source is not None and not isinstance(source, ParquetSource | IcebergSource):
            raise TypeError(f"source of view {name!r} is {source!r}, want ParquetSource(path=)")
        values = {
            "name": name,
            "entities": tuple(e.name if isinstance(e, Entity) else e for e in entities),
            "schema": tuple(f for f in fields if f.name not in keys),
            "ttl": _want_duration(f"view {name!r}", "ttl", ttl) or None,
            "timestamp_field": timestamp_field,
            "created_timestamp_column": created_timestamp_column,
            "known_at": known_at,
            "horizon": _want_duration(f"view {name!r}", "horizon", horizon) or None,
            "aggregations": tuple(aggregations),
            "event_id": event_id,
            "history": history,
            "predictions": predictions,
            "source": source,
            "description": description,
            "owner": owner,
            "tags": dict(tags or {}),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    @property
    def projection(self) -> FeatureViewProjection:
        """The whole view, as a request or a service uses it."""
        return FeatureViewProjection(self.name)

    def __getitem__(self, features: Sequence[str]) -> FeatureViewProjection:
        names = _feature_names(self.name, features)
        known = [f.name for f in self.schema]
        known += [feature for a in self.aggregations for feature in a.feature_names]
        for name in names:
            if name not in known:
                raise KeyError(f"view {self.name!r} has no feature {name!r}; it has {known}")
        return replace(self.projection, features=names)

    def with_name(self, name: str) -> FeatureViewProjection:
        """Names a use of the view, so that it can be used twice.

        Example:
            >>> weather.with_name("destination").with_join_key_map({"origin": "dest"})
        """
        return self.projection.with_name(name)

    def with_join_key_map(self, join_key_map: Mapping[str, str]) -> FeatureViewProjection:
        """Says which columns of the spine carry the view's join keys."""
        return self.projection.with_join_key_map(join_key_map)

    def with_lag(self, lag: timedelta | str) -> FeatureViewProjection:
        """Takes the values as they were so much earlier: ``timedelta(hours=1)`` or ``"1h"``."""
        return self.projection.with_lag(lag)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            name=self.name,
            entities=list(self.entities),
            features=[f.to_json() for f in self.schema],
            event_timestamp=self.timestamp_field,
            created_timestamp=self.created_timestamp_column,
            ttl=format_duration(self.ttl) if self.ttl else "",
            known_at=self.known_at,
            horizon=format_duration(self.horizon) if self.horizon else "",
            aggregations=[a.to_json() for a in self.aggregations],
            event_id=self.event_id,
            history=self.history.to_json() if self.history else {},
            predictions=self.predictions.to_json() if self.predictions else {},
            source={"format": self.source.format, "path": self.source.path} if self.source else {},
            description=self.description,
            owner=self.owner,
            tags=self.tags,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> FeatureView:
        """Reads the server's form."""
        return cls(
            name=body["name"],
            entities=body.get("entities") or (),
            schema=[Field.from_json(f) for f in body["features"]],
            ttl=body.get("ttl") or None,
            timestamp_field=body.get("event_timestamp") or "event_timestamp",
            created_timestamp_column=body.get("created_timestamp") or "",
            known_at=bool(body.get("known_at")),
            horizon=body.get("horizon") or None,
            aggregations=[Aggregation.from_json(a) for a in body.get("aggregations") or ()],
            event_id=body.get("event_id") or "",
            history=History.from_json(body["history"]) if body.get("history") else None,
            predictions=PredictionLog.from_json(body["predictions"])
            if body.get("predictions")
            else None,
            source=_source(body.get("source")),
            description=body.get("description", ""),
            owner=body.get("owner", ""),
            tags=body.get("tags"),
        )


@dataclass(frozen=True)
class RequestSource:
    """The columns that a request itself brings, for features that are computed on demand.

    Example:
        >>> RequestSource(schema=[Field(name="distance", dtype=Int64)])

    Attributes:
        schema: The columns.
        name: For Feast's sake; it says nothing here.
    """

    schema: Sequence[Field]
    name: str = ""

    def __post_init__(self) -> None:
        for f in _want_sequence("RequestSource", "schema", self.schema):
            if not isinstance(f, Field):
                raise TypeError(f"schema of RequestSource holds {f!r}, want Field(name=, dtype=)")
        object.__setattr__(self, "schema", tuple(self.schema))


@dataclass(frozen=True, init=False)
class OnDemandFeatureView:
    """Features that are computed, when they are asked for, from those of other views.

    An expression is SQL over the features of the sources and the request's columns. It
    means the same in a training set, where the request's columns are columns of the spine,
    and online, where they come with the entities. A row for which it fails is null.

    Example:
        >>> trips = OnDemandFeatureView(
        ...     name="trips",
        ...     sources=[weather, RequestSource(schema=[Field(name="distance", dtype=Int64)])],
        ...     expressions={"headwind": "wind / distance", "freezing": "temp < 32"},
        ... )

    Attributes:
        name: The view's name; its features are asked for as ``trips:headwind``.
        sources: The views, or parts of views, that the expressions read.
        request: The columns that a request brings, from every RequestSource.
        expressions: The expression of each feature.
        schema: The features with their types. Declared ones are checked by the server,
            which infers the others.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    name: str
    sources: tuple[FeatureViewProjection, ...]
    request: tuple[Field, ...]
    expressions: dict[str, str]
    schema: tuple[Field, ...]
    description: str
    owner: str
    tags: dict[str, str]

    def __init__(
        self,
        name: str,
        *,
        sources: Sequence[FeatureView | FeatureViewProjection | RequestSource],
        expressions: Mapping[str, str],
        schema: Sequence[Field] = (),
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Declares an on-demand feature view; the arguments are the attributes.

        A RequestSource among ``sources`` brings the columns of ``request``.
        """
        _want_text("OnDemandFeatureView", "name", name)
        given = _want_sequence("OnDemandFeatureView", "sources", sources)
        if not isinstance(expressions, Mapping):
            raise TypeError(f"expressions of view {name!r} want a dict from feature to SQL")
        for f in _want_sequence("OnDemandFeatureView", "schema", schema):
            if not isinstance(f, Field):
                raise TypeError(f"schema of view {name!r} holds {f!r}, want Field(name=, dtype=)")
            if f.name not in expressions:
                raise ValueError(f"view {name!r} has no expression for {f.name!r}")
        views = [s for s in given if not isinstance(s, RequestSource)]
        values = {
            "name": name,
            "sources": tuple(as_projection(s) for s in views),
            "request": tuple(f for s in given if isinstance(s, RequestSource) for f in s.schema),
            "expressions": dict(expressions),
            "schema": tuple(schema),
            "description": description,
            "owner": owner,
            "tags": dict(tags or {}),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    @property
    def projection(self) -> FeatureViewProjection:
        """The whole view, as a request or a service uses it."""
        return FeatureViewProjection(self.name)

    def __getitem__(self, features: Sequence[str]) -> FeatureViewProjection:
        names = _feature_names(self.name, features)
        for name in names:
            if name not in self.expressions:
                known = list(self.expressions)
                raise KeyError(f"view {self.name!r} has no feature {name!r}; it has {known}")
        return replace(self.projection, features=names)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        declared = {f.name: f for f in self.schema}
        features = []
        for name, expression in self.expressions.items():
            said = declared.get(name)
            features.append(
                _filled(
                    name=name,
                    expression=expression,
                    type=said.dtype.value if said else "",
                    description=said.description if said else "",
                )
            )
        return _filled(
            name=self.name,
            sources=[s.to_json() for s in self.sources],
            request=[f.to_json() for f in self.request],
            features=features,
            description=self.description,
            owner=self.owner,
            tags=self.tags,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> OnDemandFeatureView:
        """Reads the server's form."""
        sources: list[Any] = [FeatureViewProjection.from_json(p) for p in body["sources"]]
        if body.get("request"):
            sources.append(RequestSource([Field.from_json(f) for f in body["request"]]))
        return cls(
            name=body["name"],
            sources=sources,
            expressions={f["name"]: f["expression"] for f in body["features"]},
            schema=[Field.from_json(f) for f in body["features"] if f.get("type")],
            description=body.get("description", ""),
            owner=body.get("owner", ""),
            tags=body.get("tags"),
        )


Projectable = FeatureView | OnDemandFeatureView | FeatureViewProjection


@dataclass(frozen=True, init=False)
class FeatureService:
    """The named set of features that one model uses, in training and in serving.

    Example:
        >>> FeatureService(
        ...     name="delay_model",
        ...     features=[weather, departures[["dep_delay_mean_1h"]]],
        ... )

    Attributes:
        name: The service's name.
        features: The parts of views that it is made of, in order.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    name: str
    features: tuple[FeatureViewProjection, ...]
    description: str
    owner: str
    tags: dict[str, str]

    def __init__(
        self,
        name: str,
        features: Sequence[Projectable],
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Declares a feature service; the arguments are the attributes."""
        _want_text("FeatureService", "name", name)
        values = {
            "name": name,
            "features": tuple(
                as_projection(f) for f in _want_sequence("FeatureService", "features", features)
            ),
            "description": description,
            "owner": owner,
            "tags": dict(tags or {}),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        return _filled(
            name=self.name,
            projections=[p.to_json() for p in self.features],
            description=self.description,
            owner=self.owner,
            tags=self.tags,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> FeatureService:
        """Reads the server's form."""
        return cls(
            name=body["name"],
            features=[FeatureViewProjection.from_json(p) for p in body["projections"]],
            description=body.get("description", ""),
            owner=body.get("owner", ""),
            tags=body.get("tags"),
        )


Definition = (
    Entity
    | FeatureView
    | OnDemandFeatureView
    | FeatureService
    | Preset
    | Monitor
    | Validation
    | Policy
)

# The list of definitions that each kind of object belongs to.
_LISTS = {
    Entity: "entities",
    FeatureView: "feature_views",
    OnDemandFeatureView: "on_demand_feature_views",
    FeatureService: "feature_services",
    Preset: "presets",
    Monitor: "monitors",
    Validation: "validations",
    Policy: "policies",
}


@dataclass(frozen=True)
class Change:
    """One difference between definitions and the catalogue.

    Attributes:
        action: ``create``, ``update`` or ``none``.
        ref: The object, such as ``view/weather``.
        fields: What differs, for people: ``ttl: 3h0m0s → 6h0m0s``.
        affects: What was made from features that the change drops, renames or gives another
            type, such as ``model/late_departure@3 (@champion)``; only a plan says it.
    """

    action: str
    ref: str
    fields: tuple[str, ...] = ()
    affects: tuple[str, ...] = ()

    def __str__(self) -> str:
        marks = {"create": "+", "update": "~", "none": " "}
        lines = [f"{marks.get(self.action, '?')} {self.ref}", *(f"    {f}" for f in self.fields)]
        if self.affects:
            lines.append(f"    made from what this takes away: {', '.join(self.affects)}")
        return "\n".join(lines)


def _dependent(body: Mapping[str, Any]) -> str:
    return " ".join([body["ref"], *(f"(@{alias})" for alias in body.get("aliases") or ())])


class Changes(Sequence[Change]):
    """What applying definitions changes, or would change."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._changes = tuple(changes)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Changes:
        """Reads the server's form."""
        return cls(
            Change(
                c["action"],
                c["ref"],
                tuple(c.get("fields") or ()),
                tuple(_dependent(d) for d in c.get("affects") or ()),
            )
            for c in body.get("changes") or ()
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return all(c.action == "none" for c in self._changes)

    def __len__(self) -> int:
        return len(self._changes)

    def __getitem__(self, i: Any) -> Any:
        return self._changes[i]

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes)

    def __repr__(self) -> str:
        if self.is_empty:
            return f"Nothing to change: {len(self)} objects are up to date."
        return "\n".join(str(c) for c in self._changes)


def definitions_json(objects: Definition | Iterable[Definition]) -> dict[str, Any]:
    """Returns the server's form of all objects together.

    Raises:
        TypeError: If one is nothing that can be applied.
    """
    if isinstance(objects, tuple(_LISTS)):
        objects = [objects]
    sorted_objects: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS.values()}
    for thing in objects:
        kind = next((kind for kind in _LISTS if isinstance(thing, kind)), None)
        if kind is None:
            known = [kind.__name__ for kind in _LISTS]
            raise TypeError(
                f"cannot apply {type(thing).__name__} {thing!r}; "
                f"give {', '.join(known[:-1])} and {known[-1]} objects"
            )
        sorted_objects[_LISTS[kind]].append(thing.to_json())
    return {kind: list_ for kind, list_ in sorted_objects.items() if list_}


def feature_set_json(
    features: FeatureService | Projectable | str | Sequence[str | Projectable],
) -> dict[str, Any]:
    """Returns the part of a request that says which features are wanted.

    Args:
        features: A feature service or its name, or references ``view:feature``, views and
            projections, in a list or one alone.
    """
    if isinstance(features, FeatureService):
        return {"service": features.name}
    if isinstance(features, str) and ":" not in features:
        return {"service": features}
    if isinstance(features, (str, FeatureView, OnDemandFeatureView, FeatureViewProjection)):
        features = [features]
    wanted = _want_sequence("the request", "features", features)
    if not wanted:
        raise ValueError("features is empty; name a feature service or some view:feature")
    if all(isinstance(f, str) for f in wanted):
        for f in wanted:
            _parse_feature_ref(f)
        return {"features": list(wanted)}
    return {"projections": [as_projection(f).to_json() for f in wanted]}


def as_projection(thing: Projectable | str) -> FeatureViewProjection:
    """Returns the projection that a view, a projection or ``view:feature`` stands for."""
    if isinstance(thing, FeatureViewProjection):
        return thing
    if isinstance(thing, (FeatureView, OnDemandFeatureView)):
        return thing.projection
    if isinstance(thing, str):
        return _parse_feature_ref(thing)
    raise TypeError(
        f"{thing!r} does not name features; give a FeatureView, view[[...]] or 'view:feature'"
    )


def lag(
    feature: Projectable | str, by: timedelta | str, name: str | None = None
) -> FeatureViewProjection:
    """Returns features as they were known some time earlier, under a name of their own.

    Example:
        >>> features = ["weather:temp", driftline.lag("weather:temp", "1h")]
        >>> store.get_historical_features(flights, features).to_arrow().column_names
        ['origin', 'event_timestamp', 'temp', 'weather_lag_1h__temp']

    Args:
        feature: ``view:feature``, a view or a projection.
        by: How much earlier: ``"1h"``, ``"7d"`` or a timedelta.
        name: What the columns begin with; the view's name and the lag by default.
    """
    projection = as_projection(feature).with_lag(by)
    if not projection.lag:
        raise ValueError("a lag of nothing is the feature itself: leave the lag out")
    text = by if isinstance(by, str) else _short_duration(projection.lag)
    return projection.with_name(name or f"{projection.role or projection.view}_lag_{text}")


def _short_duration(value: timedelta) -> str:
    """Writes ``1h30m`` where the server writes ``1h30m0s``."""
    text = format_duration(value)
    for zero in ("0s", "0m"):
        if text.endswith(zero) and not text[: -len(zero)].endswith(tuple("0123456789")):
            text = text[: -len(zero)]
    return text


def _parse_feature_ref(text: str) -> FeatureViewProjection:
    view, _, feature = text.partition(":")
    if not view or not feature:
        raise ValueError(f"feature reference {text!r} is not valid; write view:feature")
    return FeatureViewProjection(view, (feature,))


def _feature_names(view: str, features: Any) -> tuple[str, ...]:
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise TypeError(f"choose features of view {view!r} by a list: {view}[['temp', 'humid']]")
    return tuple(features)


def _source(body: Mapping[str, Any] | None) -> ParquetSource | IcebergSource | None:
    return _SOURCES[body["format"]](body["path"]) if body else None


def _want_duration(where: str, name: str, value: timedelta | str | None) -> timedelta | None:
    duration = parse_duration(value) if isinstance(value, str) else value
    if duration is not None and not isinstance(duration, timedelta):
        raise TypeError(f"{name} of {where} is {value!r}, want a timedelta such as hours=3")
    return duration


def _want_text(where: str, name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{where} wants {name} as a text that is not empty, not {value!r}")


def _want_sequence(where: str, name: str, value: Any) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{where} wants {name} as a list, not {value!r}")
    return list(value)


def _filled(**values: Any) -> dict[str, Any]:
    """Leaves out what is empty, as the server does."""
    return {name: value for name, value in values.items() if value}
