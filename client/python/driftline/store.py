"""The feature store, as a client sees it."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from driftline import context, events
from driftline._closing import Closing
from driftline._flight import Flight
from driftline._http import HTTP
from driftline._online import OnlineStream
from driftline._push import Pusher
from driftline._tables import fit, open_source, plain, to_table
from driftline.definitions import (
    Changes,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    OnDemandFeatureView,
    Projectable,
    definitions_json,
    feature_set_json,
)
from driftline.drift import DriftReport
from driftline.errors import DriftlineError, NotFoundError, from_status
from driftline.evaluation import Evaluation
from driftline.lineage import Lineage, PredictionTrace
from driftline.materialization import Materialization
from driftline.monitoring import Alert, RegisteredMonitor
from driftline.performance import PerformanceReport
from driftline.policies import RegisteredPolicy
from driftline.predictions import LabelReceipt, PredictionReceipt
from driftline.presets import Preset
from driftline.profiles import Profile
from driftline.registry import ModelRegistry
from driftline.retrieval import (
    Dataset,
    IngestResult,
    OnlineResponse,
    Rebuild,
    RetrievalJob,
    Split,
)
from driftline.rollouts import Rollouts
from driftline.snapshots import Snapshot, StoredTable
from driftline.times import format_duration, format_time, parse_time
from driftline.tracking import Run, RunGroup, ref_of, run_group, run_spec
from driftline.types import Type
from driftline.validation import RegisteredValidation, ValidationReport

DEFAULT_URL = "http://127.0.0.1:8816"
MATERIALIZE_POLL_SECONDS = 0.05

Features = FeatureService | Projectable | str | Sequence[str | Projectable]


class FeatureStore(ModelRegistry, Rollouts, Closing):
    """A Driftline server.

    ``driftline.connect`` makes one. It can be used from several threads and as a
    context manager.

    Example:
        >>> store = FeatureStore("http://127.0.0.1:8816")
        >>> store.version
        '0.1.0'

    Attributes:
        url: The server's HTTP address.
        flight_uri: Its Flight address, also that of Flight SQL.
        version: Its version.
    """

    def __init__(self, url: str | None = None) -> None:
        """Connects.

        Args:
            url: The server's HTTP address; by default the environment's DRIFTLINE_SERVER, or
                http://127.0.0.1:8816.

        Raises:
            UnavailableError: If there is no server.
        """
        url = url or os.environ.get("DRIFTLINE_SERVER") or DEFAULT_URL
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not an HTTP address; write it like {DEFAULT_URL}")
        self._http = HTTP(url)
        server = self._http.get("server")
        self._flight = Flight(server["flight"])
        self.url = self._http.url
        self.flight_uri = self._flight.uri
        self.version: str = server["version"]

    def close(self) -> None:
        """Gives the connections back."""
        self._flight.close()
        self._http.close()

    def __repr__(self) -> str:
        return f"FeatureStore({self.url!r}, version {self.version})"

    # Catalogue

    def plan(self, objects: Definition | Iterable[Definition]) -> Changes:
        """Returns what ``apply`` would change, and changes nothing.

        Example:
            >>> store.plan([airport, weather])
            + entity/airport
            + view/weather
        """
        return Changes.from_json(self._http.post("plan", body=definitions_json(objects)))

    def apply(self, objects: Definition | Iterable[Definition]) -> Changes:
        """Registers entities, feature views, services, monitors and validations, all or none.

        Objects that are not named stay as they are.

        Example:
            >>> store.apply([airport, weather, delay_model])
        """
        return Changes.from_json(self._http.post("apply", body=definitions_json(objects)))

    def list_entities(self) -> list[Entity]:
        """Returns the registered entities."""
        return [Entity.from_json(e) for e in self._http.get("entities")["entities"] or ()]

    def list_feature_views(self) -> list[FeatureView]:
        """Returns the registered feature views."""
        body = self._http.get("feature-views")
        return [FeatureView.from_json(v) for v in body["feature_views"] or ()]

    def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Returns the registered on-demand feature views."""
        body = self._http.get("on-demand-feature-views")
        return [OnDemandFeatureView.from_json(v) for v in body["on_demand_feature_views"] or ()]

    def list_feature_services(self) -> list[FeatureService]:
        """Returns the registered feature services."""
        body = self._http.get("feature-services")
        return [FeatureService.from_json(s) for s in body["feature_services"] or ()]

    def get_feature_view(self, name: str) -> FeatureView:
        """Returns a registered feature view."""
        return FeatureView.from_json(self._http.get("feature-views", name))

    def get_on_demand_feature_view(self, name: str) -> OnDemandFeatureView:
        """Returns a registered on-demand feature view, with the types of its features."""
        return OnDemandFeatureView.from_json(self._http.get("on-demand-feature-views", name))

    def switch_feature_view(self, name: str, version: int) -> int:
        """Makes the bare name of a view mean one of its versions, and returns the one before.

        It takes effect in services, online reads, training sets, writes and SQL, all at
        once. A version is a view that was applied under a name like ``weather@2``.

        Example:
            >>> store.switch_feature_view("weather", 2)
            1
        """
        return self._http.put("feature-views", name, "version", body={"version": version})["from"]

    def clock(self, to: datetime | None = None) -> datetime:
        """Returns the server's time, after it has passed until ``to`` if that is given.

        Only a server that goes through the past (``driftline serve --replay``) can be told:
        its clock stands still otherwise. Time only goes on.

        Example:
            >>> store.clock(to=datetime(2013, 4, 2, tzinfo=timezone.utc))
        """
        if to is None:
            return parse_time(self._http.get("clock")["now"])
        return parse_time(self._http.put("clock", body={"to": format_time(to)})["now"])

    def get_feature_service(self, name: str) -> FeatureService:
        """Returns a registered feature service, to ask for its features."""
        return FeatureService.from_json(self._http.get("feature-services", name))

    # Writing

    def ingest(
        self,
        view: FeatureView | str,
        data: Any,
        idempotency_key: str | None = None,
        *,
        to: str | None = None,
    ) -> IngestResult:
        """Writes rows to a feature view; when it returns, they are durable and visible.

        Example:
            >>> store.ingest("weather", pd.read_parquet("weather.parquet")).rows
            26115

        Args:
            view: The feature view, or its name.
            data: A pandas or polars DataFrame, a pyarrow Table, RecordBatch or
                RecordBatchReader (streamed), anything else with the Arrow PyCapsule
                interface, a dict of columns or a list of dicts. Its columns are the view's:
                join keys, event timestamp, created timestamp if there is one, features.
                Naive times are UTC. Numbers are cast where no value can change.
            idempotency_key: A name for this write. The same key with the same content
                again changes nothing; with other content it is a conflict.
            to: ``"online"`` or ``"offline"`` for one of the two stores only. Rows that are
                offline only are served once they are materialized; rows that are online
                only are in no training set.

        Raises:
            NotFoundError: If there is no such view.
            InvalidError: If a column is missing, unknown or of the wrong type.
            ConflictError: If the key was used with other content.
        """
        name = _view_name(view)
        source = fit(open_source(data), self._schema_of(name))
        command = {"op": "ingest", "view": name}
        if idempotency_key is not None:
            command["idempotency_key"] = idempotency_key
        if to is not None:
            command["to"] = to
        return IngestResult.from_json(self._flight.put(command, source, label=name))

    def pusher(self, view: FeatureView | str) -> Pusher:
        """Opens a stream of small writes to a feature view, for a program that has many.

        Example:
            >>> with store.pusher("weather") as pusher:
            ...     for row in rows:
            ...         pusher.push([row])

        Args:
            view: The feature view, or its name.

        Raises:
            NotFoundError: If there is no such view.
        """
        name = _view_name(view)
        return Pusher(name, self._schema_of(name), self._flight)

    #: Feast's name. Without ``to``, a write is visible online and offline at once.
    push = ingest

    def write_to_online_store(
        self, view: FeatureView | str, data: Any, idempotency_key: str | None = None
    ) -> IngestResult:
        """Writes rows that are served at once and are in no training set."""
        return self.ingest(view, data, idempotency_key, to="online")

    def write_to_offline_store(
        self, view: FeatureView | str, data: Any, idempotency_key: str | None = None
    ) -> IngestResult:
        """Writes rows that are in training sets at once, and served once materialized."""
        return self.ingest(view, data, idempotency_key, to="offline")

    def materialize(
        self,
        start_date: datetime | str | None,
        end_date: datetime | str,
        feature_views: Iterable[FeatureView | str] | None = None,
        *,
        run_async: bool = False,
        force: bool = False,
    ) -> Materialization:
        """Brings rows online that were written offline only.

        Which rows those are is known by when they were written, so that late ones are
        never missed; rows that were written to both stores are online already.

        Example:
            >>> store.materialize(yesterday, now, ["weather"]).state
            'done'

        Args:
            start_date: The least event time, inclusive; None is the first.
            end_date: The greatest event time, inclusive.
            feature_views: The views; all that are served, if left out.
            run_async: Whether to return at once and let the job go on.
            force: Whether to cancel a job that is at work on one of the views.

        Raises:
            ConflictError: If a job is at work on one of the views.
        """
        body: dict[str, Any] = {"end_ts": format_time(end_date), "force": force}
        if start_date is None:
            body["incremental"] = True
        else:
            body["start_ts"] = format_time(start_date)
        if feature_views is not None:
            body["feature_views"] = [_view_name(view) for view in feature_views]
        return self._materialize(body, run_async)

    def rebuild_online(
        self,
        feature_views: Iterable[FeatureView | str],
        *,
        run_async: bool = False,
        force: bool = False,
    ) -> Materialization:
        """Makes all online rows of some views anew, from their files and the ingest log.

        Reads are answered offline meanwhile. Nobody needs it but after damage, or after
        ``check`` has found a difference.

        Example:
            >>> store.rebuild_online(["weather"]).rows
            26115

        The other arguments, and the errors, are those of ``materialize``.
        """
        views = [_view_name(view) for view in feature_views]
        body = {"rebuild": True, "feature_views": views, "force": force}
        return self._materialize(body, run_async)

    def _materialize(self, body: dict[str, Any], run_async: bool) -> Materialization:
        job = Materialization.from_json(self._http.post("materializations", body=body))
        while job.state == "running" and not run_async:
            time.sleep(MATERIALIZE_POLL_SECONDS)
            job = self.get_materialization(job.id)
        return job if run_async else job.checked()

    def materialize_incremental(
        self,
        end_date: datetime | str,
        feature_views: Iterable[FeatureView | str] | None = None,
        *,
        run_async: bool = False,
        force: bool = False,
    ) -> Materialization:
        """Brings everything online up to an event time that is not online yet."""
        return self.materialize(None, end_date, feature_views, run_async=run_async, force=force)

    def list_materializations(self) -> list[Materialization]:
        """Returns the materializations, the newest first."""
        body = self._http.get("materializations")
        return [Materialization.from_json(job) for job in body["materializations"]]

    def get_materialization(self, id: str) -> Materialization:
        """Returns a materialization as it is now."""
        return Materialization.from_json(self._http.get("materializations", id))

    def cancel_materialization(self, id: str) -> Materialization:
        """Ends a materialization; what it brought online stays so."""
        body = self._http.post("materializations", id, "cancel", body={})
        return Materialization.from_json(body)

    def monitors(self) -> dict[str, RegisteredMonitor]:
        """Returns the monitors and where they stand, by name."""
        found = [RegisteredMonitor(self._http, m) for m in self._http.get("monitors")["monitors"]]
        return {monitor.name: monitor for monitor in found}

    def policies(self) -> dict[str, RegisteredPolicy]:
        """Returns the policies and where they stand, by model."""
        found = [RegisteredPolicy(self._http, p) for p in self._http.get("policies")["policies"]]
        return {policy.model: policy for policy in found}

    def events(
        self,
        *,
        after: int | None = None,
        model: str = "",
        kinds: Sequence[str] = (),
        follow: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Yields what happens to monitors, policies, training runs, rollouts and models.

        Each event has ``seq``, ``time``, ``kind``, ``ref``, ``state`` and ``text``. A connection
        that breaks is made again, and nothing is missed.

        Args:
            after: The ``seq`` of the last event that is known; without it, what happens from now
                on, or, if not followed, all that happened.
            model: Only of this model, and of the monitors that see it.
            kinds: Only of these kinds, or of what stands before their dot, such as ``alert``.
            follow: Whether to wait for what is still to come.
        """
        if follow:
            yield from events.follow(self._http, after, model, kinds)
            return
        place = after or 0
        while True:
            page = self._http.get("events", after=place, model=model, kind=list(kinds))
            yield from page["events"]
            if page["next"] == place:
                return
            place = page["next"]

    def alerts(self, monitor: str = "", state: str = "") -> list[Alert]:
        """Returns alerts, the newest first.

        Args:
            monitor: Only those of this monitor.
            state: Only those that are ``firing``, or ``resolved``.
        """
        body = self._http.get("alerts", monitor=monitor, state=state)
        return [Alert(self._http, a) for a in body["alerts"] or ()]

    def erase(
        self, entity: Entity | str, keys: Mapping[str, Any], reason: str = ""
    ) -> dict[str, Any]:
        """Removes everything about one thing; it cannot be taken back.

        Its rows go from every view that has its join keys, from the online store and from
        saved datasets, and older snapshots that had them are given up.

        Example:
            >>> store.erase("passenger", {"passenger_id": 4711}, reason="request of May 3rd")

        Args:
            entity: The entity, or its name.
            keys: A value for each of its join keys.
            reason: Why, for the ledger. It stays there, so name nobody in it.

        Returns:
            What was removed: ``tables``, ``online``, ``datasets``, ``snapshots``.

        Raises:
            NotFoundError: If there is no such entity.
            InvalidError: If a join key is missing, unknown or of the wrong type.
        """
        name = entity.name if isinstance(entity, Entity) else entity
        texts = {key: _key_text(value) for key, value in keys.items()}
        return self._http.post("erasures", body={"entity": name, "keys": texts, "reason": reason})

    def check(
        self, views: Sequence[FeatureView | str] = (), entities: int = 100, seed: int | None = None
    ) -> dict[str, Any]:
        """Compares what is served online with what training sets have, value by value.

        Entities of each view are sampled, and looked at now and at the edges of a row's
        life, which begins at its event time and ends with its TTL.

        Example:
            >>> sum(view["differences"] for view in store.check()["views"])
            0

        Args:
            views: Feature views, or their names; all that are served if left out.
            entities: How many entities of each view to sample.
            seed: The ``seed`` of an earlier report, to sample the same rows again.

        Returns:
            ``seed`` and ``views``: for each ``values`` compared, ``differences``, and
            ``examples`` of them.

        Raises:
            NotFoundError: If there is no such view.
        """
        body = {
            "views": [_view_name(view) for view in views],
            "entities": entities,
            "seed": seed or 0,
        }
        return self._http.post("check", body=body)

    # Reading

    def get_historical_features(
        self,
        entity_df: Any = None,
        features: Features = (),
        full_feature_names: bool = False,
        start_date: datetime | str | None = None,
        end_date: datetime | str | None = None,
        *,
        event_timestamp: str | None = None,
        known_at: bool = False,
        strict: bool = False,
        save_as: str | None = None,
        split: Split | None = None,
        inputs: Sequence[Any] = (),
        since: Dataset | str | None = None,
    ) -> RetrievalJob:
        """Asks for the features of each row of a table, as of the time of the row.

        There is one row in the answer for each row of ``entity_df``, in its order, with
        its columns untouched and the features after them.

        Example:
            >>> job = store.get_historical_features(
            ...     entity_df=flights,
            ...     features=["weather:temp", "departures:dep_delay_mean_1h"],
            ...     event_timestamp="scheduled_departure",
            ... )
            >>> job.to_df()
            >>> store.get_historical_features(
            ...     entity_df="SELECT origin, event_timestamp, late FROM features.departures",
            ...     features=["weather:temp", driftline.lag("weather:temp", "1h")],
            ...     save_as="late_departure",
            ...     split=Split.by_time({"train": 0.8, "test": 0.2}),
            ... )
            >>> store.get_historical_features(
            ...     features="delay_model", start_date="2013-01-01", end_date="2013-02-01"
            ... )

        Args:
            entity_df: The spine: join keys, a time, and any other columns such as labels,
                as any kind of table that ``ingest`` takes; a SELECT that the server runs;
                or a saved Dataset (or its reference), whose spine is taken. With
                ``start_date`` and ``end_date`` instead there is one row for each (join
                keys, event time) that the views have in between, both included.
            features: A feature service or its name; or references ``view:feature``, views
                and projections (``weather[["temp"]]``), one or several in a list.
            full_feature_names: Whether features are called ``view__feature``.
            start_date: Where a range without a spine begins; open if left out.
            end_date: Where it ends; open if left out.
            event_timestamp: The spine's column with the time; ``event_timestamp`` by
                default, or that of the dataset that is the spine.
            known_at: Whether rows that were created after the row's time are ignored, in
                every view that has a created timestamp.
            strict: Whether only rows of a time before the row's are used, not equal to it.
            save_as: The dataset to keep the answer in, as its next version.
            split: How to divide the saved dataset.
            inputs: What the spine was made from (datasets or references), for lineage.
            since: A dataset, or its reference ``dataset/name@1``: of a range, a SELECT or a
                dataset only the rows that came after that version was made, whatever their
                event time.

        Returns:
            The training set; nothing is sent until its rows are asked for.
        """
        command: dict[str, Any] = {"op": "historical", **feature_set_json(features)}
        spine = _server_spine(entity_df, start_date, end_date)
        if since is not None:
            if spine is None:
                raise ValueError("since= is for a spine that the server finds, not for a table")
            spine["since"] = since.ref if isinstance(since, Dataset) else since
        options = {
            "event_timestamp": event_timestamp,
            "full_feature_names": full_feature_names,
            "known_at": known_at,
            "strict": strict,
            "spine": spine,
            "split": split.to_json() if split is not None else None,
            "save_as": save_as,
            "inputs": [ref_of(i) for i in inputs],
        }
        command |= {name: value for name, value in options.items() if value}
        source = open_source(pa.table({}) if spine else entity_df)
        time = event_timestamp or "event_timestamp"
        if not spine and time not in source.schema.names:
            raise ValueError(
                f"the entity dataframe has no column {time!r}; "
                f"name its time by event_timestamp=, one of {source.schema.names}"
            )
        return RetrievalJob(lambda: self._flight.exchange(command, source, "training set"), self)

    def get_online_features(
        self,
        features: Features,
        entity_rows: Any,
        full_feature_names: bool = False,
        *,
        at: datetime | str | None = None,
        metadata: bool = True,
    ) -> OnlineResponse:
        """Returns the newest features of some entities.

        Example:
            >>> store.get_online_features(
            ...     features="delay_model",
            ...     entity_rows=[{"origin": "JFK", "carrier": "B6", "tailnum": "N805JB"}],
            ... ).to_dict()

        Args:
            features: As for ``get_historical_features``.
            entity_rows: The join keys, as a list of dicts or any other kind of table.
            full_feature_names: Whether features are called ``view__feature``.
            at: The time that the values are for: their age counts from it, and rows of a
                later time do not exist. Now, if left out.
            metadata: Whether the answer has the statuses and event timestamps. Without them
                it is a third as wide.
        """
        command = _online_command(features, full_feature_names, at, metadata)
        exchange = self._flight.exchange(command, open_source(entity_rows), "online")
        return OnlineResponse(exchange.table())

    def online_stream(
        self,
        features: Features,
        full_feature_names: bool = False,
        *,
        at: datetime | str | None = None,
        metadata: bool = True,
    ) -> OnlineStream:
        """Opens a stream of online reads of some features, for a program that has many.

        Example:
            >>> with store.online_stream("delay_model", metadata=False) as stream:
            ...     for flight in flights:
            ...         predict(stream.get([flight]).to_arrow())

        The arguments are those of ``get_online_features``; a read without ``at`` is of the
        time at which it is answered.
        """
        return OnlineStream(
            _online_command(features, full_feature_names, at, metadata), self._flight
        )

    def get_history(
        self,
        view: FeatureView | str,
        entity_rows: Any,
        last: int = 10,
        *,
        features: Sequence[str] = (),
        at: datetime | str | None = None,
    ) -> pa.Table:
        """Returns the last rows of some entities that a view keeps online, newest first.

        The view has a ``history`` or aggregations; ``sql`` reads the rows of any view.

        Example:
            >>> store.get_history("weather", [{"origin": "JFK"}], last=5).to_pandas()

        Args:
            view: The feature view or its name.
            entity_rows: The join keys, as a list of dicts or any other kind of table.
            last: How many rows of each entity.
            features: Names of features; all if left out.
            at: A time after which rows do not exist. Now, if left out.
        """
        name = view.name if isinstance(view, FeatureView) else view
        command: dict[str, Any] = {"op": "history", "view": name, "last": last}
        if features:
            command["features"] = list(features)
        if at is not None:
            command["at"] = format_time(at)
        return self._flight.exchange(command, open_source(entity_rows), "history").table()

    def sql(self, query: str) -> pa.Table:
        """Returns the rows of a SELECT over ``features.*``, ``datasets.*`` and ``meta.*``.

        It goes through Flight SQL by the ADBC driver: ``pip install 'driftline[sql]'``.

        Example:
            >>> store.sql("SELECT origin, avg(temp) AS temp FROM features.weather GROUP BY 1")
        """
        if not isinstance(query, str) or not query.strip():
            raise TypeError("sql wants a SELECT as a text")
        try:
            from adbc_driver_flightsql import dbapi
        except ImportError:
            raise ImportError(
                "sql needs the Flight SQL driver of ADBC: pip install 'driftline[sql]'"
            ) from None
        try:
            with dbapi.connect(self.flight_uri, autocommit=True) as c, c.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetch_arrow_table()
        except dbapi.Error as error:
            raise from_status(str(error)) or DriftlineError(str(error)) from None

    # Datasets

    def datasets(self) -> list[Dataset]:
        """Returns the saved datasets."""
        body = self._http.get("datasets")
        return [Dataset.from_json(d, self) for d in body["datasets"] or ()]

    def dataset(self, name: str, version: int | None = None) -> Dataset:
        """Returns what is known of a saved dataset, the newest version by default."""
        path = ("datasets", name) if version is None else ("datasets", name, str(version))
        return Dataset.from_json(self._http.get(*path), self)

    def read_dataset(
        self, name: str, version: int | None = None, *, split: str | None = None
    ) -> pa.Table:
        """Returns the rows of a saved dataset, the newest version by default.

        Example:
            >>> train = store.read_dataset("late_departure", split="train")

        Args:
            name: The dataset's name.
            version: Its version.
            split: The part to read, if it is divided; its rows come without ``__split``.
        """
        version = version or self.dataset(name).version
        ticket = {"op": "dataset", "name": name, "version": version}
        return self._flight.get(ticket | ({"split": split} if split else {}))

    def rebuild_dataset(self, name: str, version: int | None = None) -> Rebuild:
        """Makes a dataset again on the server and says whether it came out the same."""
        version = version or self.dataset(name).version
        body = self._http.post("datasets", name, str(version), "rebuild", body={})
        return Rebuild(body["dataset"], body["rows"], body["content_hash"], body["equal"])

    def tables(self) -> list[Snapshot]:
        """Returns the newest snapshot of each stored table, with the rows of the ingest log."""
        return [Snapshot.from_json(t) for t in self._http.get("tables")["tables"]]

    def table(self, name: str) -> StoredTable:
        """Returns a stored table: "features.weather", or "datasets.late_v1"."""
        return StoredTable(name, self._http)

    def read_feature_view(self, name: str) -> pa.Table:
        """Returns the whole history of a feature view."""
        return self._flight.get({"op": "view", "name": name})

    # Drift

    def drift(
        self,
        reference: Any,
        current: Any,
        *,
        columns: Sequence[str] = (),
        exclude: Sequence[str] = (),
        preset: Preset | str = "",
        tests: Sequence[Mapping[str, Any]] = (),
        alpha: float | None = None,
        correction: str = "",
        margin: float | None = None,
        drift_share: float | None = None,
        multivariate: Sequence[str] = (),
        reference_name: str = "",
        current_name: str = "",
    ) -> DriftReport:
        """Compares two tables column by column.

        Example:
            >>> report = store.drift(
            ...     "SELECT * FROM features.weather WHERE event_timestamp < '2013-04-01'",
            ...     "SELECT * FROM features.weather WHERE event_timestamp >= '2013-06-01'",
            ...     exclude=["event_timestamp", "created"],
            ... )
            >>> report.has_drift
            True

        Args:
            reference: What was: a reference (``dataset/late_departure@1``,
                ``view/weather``), a Dataset, a SELECT, or any kind of table.
            current: What is, likewise.
            columns: The columns to compare; by default all that both sides have.
            exclude: Columns to leave out.
            preset: The rules that decide: ``driftline`` (the default), ``evidently`` or
                ``nannyml``, which decide as those packages do by default; the name of a
                preset that was applied; or a Preset itself.
            tests: Tests that overrule the preset's, such as ``{"columns": ["delay"],
                "test": "psi", "threshold": 0.2}`` or ``{"kind": "categorical", "test": "js"}``.
            alpha: The rate of false alarms over all columns; 0.05 by default.
            correction: For many columns: ``bh`` (the default), ``by``, ``e-bh`` or ``none``.
            margin: The smallest effect that counts; 0.01 by default.
            drift_share: The share of drifted columns from which on the data set has
                drifted; the preset's by default.
            multivariate: Tests of all columns together: ``mmd``, ``classifier``.
            reference_name: What to call the reference in the report.
            current_name: What to call the current data in the report.
        """
        chosen = {
            "columns": list(columns),
            "exclude": list(exclude),
            "preset": preset if isinstance(preset, str) else "",
            "rules": preset.to_json() if isinstance(preset, Preset) else None,
            "tests": [dict(test) for test in tests],
            "alpha": alpha,
            "correction": correction,
            "multivariate": list(multivariate),
        }
        options = {name: value for name, value in chosen.items() if value}
        if margin is not None:
            options["margin"] = margin
        if drift_share is not None:
            options["drift_share"] = drift_share
        sides = (_drift_source(reference), _drift_source(current))
        if all(sides):
            request = {"reference": sides[0], "current": sides[1], **options}
            body = self._http.post("drift", body=request)
        else:
            before, after = (
                self._read_source(side) if side else to_table(given)
                for side, given in zip(sides, (reference, current), strict=True)
            )
            body = self._drift_of_tables(before, after, options)
        body["reference"]["name"] = reference_name or body["reference"]["name"]
        body["current"]["name"] = current_name or body["current"]["name"]
        return DriftReport(body, self._render_drift)

    def profile(
        self,
        data: Any,
        *,
        like: Profile | None = None,
        source: str = "",
        reference: str = "",
        pane: str = "",
        time: str = "",
        columns: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Profile:
        """Profiles a table: what is kept can be merged and compared without its rows.

        The server keeps the profiles of its own tables; that of a table from here stays here.

        Example:
            >>> before = store.profile(frame)
            >>> store.profile(new_frame, like=before).compare(before).has_drift
            >>> days = store.profile("view/weather", pane="1d")

        Args:
            data: A reference (``view/weather``, ``dataset/late_departure@1``), a Dataset, a
                SELECT, or any kind of table.
            like: Of a table from here: the profile that it will be compared or merged with.
            source: What to call the profile. A SELECT needs it.
            reference: Of a table of the server: the source that it will be compared with.
            pane: Of a table of the server: cut it by time, into spans such as ``1d``.
            time: Which column has that time; by default a view's event timestamp.
            columns: The columns to profile; by default all that can be.
            exclude: Columns to leave out.

        Raises:
            ValueError: If an argument is for the other kind of table.
        """
        body: dict[str, Any] = {
            "source": source,
            "columns": list(columns),
            "exclude": list(exclude),
        }
        table = _drift_source(data)
        if table:
            if like is not None:
                raise ValueError("like is for tables from here; give reference, a source")
            body |= {"table": table, "reference": reference, "time": time}
            panes = self._http.post("profiles", body=body | ({"pane": pane} if pane else {}))
            if not panes:
                raise ValueError(f"{data!r} has no rows to profile")
            return self.kept_profile(
                panes[0]["source"], panes[0].get("start"), panes[-1].get("end")
            )
        if reference or pane or time:
            raise ValueError("reference, pane and time are for tables of the server")
        command = {"op": "profile", "local": True, **body}
        if like is not None:
            command["like"] = like._bytes()
        exchange = self._flight.exchange(command, open_source(data), "profile")
        for _ in exchange.batches():
            pass
        return Profile.held(self._http, exchange.metadata)

    def log(
        self,
        data: Any,
        source: str,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        reference: str = "",
        columns: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Profile:
        """Profiles a table from here, and has the server keep that as one pane of a source.

        The rows are sent once and kept nowhere. A pane that the source has is replaced.

        Example:
            >>> today = store.log(frame, "orders", start="2013-06-02", end="2013-06-03")
            >>> today.compare(store.kept_profile("orders", "2013-06-01", "2013-06-02")).has_drift

        Args:
            data: Any kind of table.
            source: The name that the profiles are kept under. Its first profile says how
                values are counted, so that all of its panes can be compared.
            start: The rows are of then or later; without start and end they are of all time.
            end: The rows are of before then.
            reference: The source that it will be compared with, if that is another one.
            columns: The columns to profile; by default all that can be.
            exclude: Columns to leave out.
        """
        command: dict[str, Any] = {"op": "profile", "source": source, "reference": reference}
        command |= {"columns": list(columns), "exclude": list(exclude)}
        command |= {k: format_time(v) for k, v in {"start": start, "end": end}.items() if v}
        for _ in self._flight.exchange(command, open_source(data), "profile").batches():
            pass
        return self.kept_profile(source, start, end)

    def kept_profile(
        self, source: str, start: datetime | str | None = None, end: datetime | str | None = None
    ) -> Profile:
        """Returns what the server keeps of a source, of the panes from start to end.

        Raises:
            NotFoundError: If it keeps none.
        """
        window = {"source": source}
        window |= {k: format_time(v) for k, v in {"start": start, "end": end}.items() if v}
        return Profile(self._http, window, self._http.get("profiles", "merged", **window))

    def read_profile(self, path: str | Path) -> Profile:
        """Reads a profile that ``Profile.write`` or ``driftline profile --out`` has written."""
        data = base64.b64encode(Path(path).read_bytes()).decode()
        return Profile.merged(self._http, [{"data": data}])

    def performance(
        self,
        source: Any,
        *,
        task: str,
        reference: Any = None,
        prediction: str = "",
        score: str = "",
        label: str = "",
        group: str = "",
        time: str = "",
        window: timedelta | None = None,
        inputs: Sequence[str] = (),
        alpha: float | None = None,
    ) -> PerformanceReport:
        """Measures a model window by window, and says why it does worse.

        Example:
            >>> report = store.performance(
            ...     "SELECT * FROM datasets.scored",
            ...     reference="dataset/late_departure@1",
            ...     task="classification",
            ...     prediction="predicted",
            ...     score="probability",
            ...     label="late",
            ...     time="event_timestamp",
            ... )
            >>> report.fell
            True
            >>> report.causes[0]
            ('wind_speed', 0.12)

        Args:
            source: The predictions, which the server has: a reference
                (``dataset/scored@1``, ``view/scored``), a Dataset, or a SELECT.
            task: ``classification``, ``regression`` or ``ranking``.
            reference: Rows with labels from when the model did well, likewise. Without
                them scores are taken for probabilities, and a fall is explained against
                the first ten windows.
            prediction: The column of classes 0 and 1, or of numbers.
            score: The column of the probability of class 1, or of what orders a ranking.
            label: The column of the truth, null while it is not known.
            group: The column whose values name the lists of a ranking.
            time: The column of the prediction's time; without it all rows are one window.
            window: How long a window is; a day by default.
            inputs: The columns that may explain a fall; by default all others.
            alpha: One minus the confidence of intervals; 0.05 by default.
        """
        chosen = {
            "source": _server_source(source),
            "reference": None if reference is None else _server_source(reference),
            "task": task,
            "prediction": prediction,
            "score": score,
            "label": label,
            "group": group,
            "time": time,
            "window": None if window is None else format_duration(window),
            "inputs": list(inputs),
            "alpha": alpha,
        }
        request = {name: value for name, value in chosen.items() if value}
        return PerformanceReport(
            self._http.post("performance", body=request), self._render_performance
        )

    def validate(
        self,
        table: Any,
        checks: Sequence[Mapping[str, Any]],
        *,
        name: str = "",
    ) -> ValidationReport:
        """Checks that a table is what it should be.

        Example:
            >>> checks = store.suggest_checks("dataset/late_departure@1")
            >>> report = store.validate("dataset/late_departure@2", checks)
            >>> if not report.passed:
            ...     raise SystemExit(report)

        Args:
            table: A reference (``dataset/late_departure@1``, ``view/weather``), a Dataset,
                a SELECT, or any kind of table.
            checks: One dict for each check, with the fields that the YAML of
                ``driftline validate`` has: ``{"check": "nulls", "column": "temp"}``.
            name: What to call the table in the report.
        """
        given = [dict(check) for check in checks]
        source = _drift_source(table)
        if source:
            body = self._http.post("validate", body={"table": source, "checks": given})
        else:
            rows = plain(to_table(table))
            command = {"op": "validate", "name": name or "table", "checks": given}
            exchange = self._flight.exchange(command, open_source(rows), "validate")
            for _ in exchange.batches():
                pass
            body = exchange.metadata
        body["table"] = name or body["table"]
        return ValidationReport(body, self._render_validation)

    def evaluate(
        self,
        model: str,
        version: int | str,
        *,
        gate: Mapping[str, Any] | None = None,
        predictions: Any = None,
        champion_predictions: Any = None,
        champion: int | str = "",
        by: str = "",
    ) -> Evaluation:
        """Holds a version of a model against the one that serves; the server keeps the result.

        Example:
            >>> gate = {"dataset": "dataset/late_departure_test", "task": "classification",
            ...         "metric": "roc_auc", "label": "late", "floors": {"roc_auc": 0.7}}
            >>> store.evaluate("late_departure", 3, gate=gate, predictions=scored).passed
            True

        Args:
            model: The model's name.
            version: The candidate: a number or an alias.
            gate: What it must show, with the fields of ``evaluation:`` in a policy; that of the
                model's policy if left out.
            predictions: What it made of the dataset's rows: a reference, a Dataset, a SELECT, or
                any kind of table, with a column ``prediction`` or ``score`` and the dataset's
                keys and time. A table is logged as a file of a run in project ``evaluations``.
                If left out, predictions that the version's run logged are looked for.
            champion_predictions: The same of the champion.
            champion: The version to hold it against; ``"none"`` looks at the candidate alone.
            by: Who asks.
        """
        spec = {
            "gate": dict(gate) if gate else None,
            "predictions": self._predictions(model, version, predictions, gate),
            "champion_predictions": self._predictions(
                model, champion or "champion", champion_predictions, gate
            ),
            "champion": str(champion),
            "by": by,
        }
        body = {key: value for key, value in spec.items() if value}
        answer = self._http.post(
            "models", model, "versions", str(version), "evaluations", body=body
        )
        return Evaluation(answer, self._render_evaluation)

    def evaluations(
        self, model: str, version: int | None = None, limit: int = 50
    ) -> list[Evaluation]:
        """Returns the evaluations of a model's versions, or of one of them, the newest first."""
        query = {"limit": limit} | ({"version": version} if version else {})
        body = self._http.get("models", model, "evaluations", **query)
        return [Evaluation(e, self._render_evaluation) for e in body["evaluations"] or ()]

    def evaluation(self, id: str) -> Evaluation:
        """Returns one evaluation."""
        return Evaluation(self._http.get("evaluations", id), self._render_evaluation)

    def _predictions(
        self, model: str, version: int | str, given: Any, gate: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        """Returns where predictions are; a table is logged first."""
        if given is None:
            return None
        source = _drift_source(given)
        if source:
            return {"table": source}
        name = str((gate or {}).get("dataset", "")).removeprefix("dataset/")
        if name and "@" not in name:
            name = self.dataset(name).ref.removeprefix("dataset/")
        path = f"predictions/{name}.parquet" if name else "predictions.parquet"
        title = f"predictions of {model}@{version}"
        with self.start_run("evaluations", name=title, inputs=()) as run:
            run.log_artifact(plain(to_table(given)), name=path)
        return {"run": run.id, "path": path}

    def _render_evaluation(self, report: Mapping[str, Any], form: str) -> str:
        return self._http.post_text("evaluations", "report", body=report, format=form)

    def presets(self) -> dict[str, Preset]:
        """Returns the registered presets by name."""
        found = self._http.get("presets")["presets"] or ()
        return {p["name"]: Preset.from_json(p) for p in found}

    def validations(self) -> dict[str, RegisteredValidation]:
        """Returns the registered sets of checks by name, each with how it went last.

        Example:
            >>> store.validations()["weather"].run().passed
            True
        """
        found = self._http.get("validations")["validations"] or ()
        sets = [RegisteredValidation(self._http, self._render_validation, v) for v in found]
        return {v.name: v for v in sets}

    def suggest_checks(self, table: Any) -> list[dict[str, Any]]:
        """Learns checks from a table of the server, which passes them.

        Args:
            table: A reference, a Dataset or a SELECT.
        """
        source = _drift_source(table)
        if not source:
            raise TypeError("checks are learned from a reference or a SELECT; save the table first")
        return self._http.post("validate", "suggest", body=source)["checks"]

    def _render_validation(self, report: Mapping[str, Any], form: str) -> str:
        return self._http.post_text("validate", "report", body=report, format=form)

    def _render_performance(self, report: Mapping[str, Any], form: str) -> str:
        return self._http.post_text("performance", "report", body=report, format=form)

    def _render_drift(self, report: Mapping[str, Any], form: str) -> str:
        return self._http.post_text("drift", "report", body=report, format=form)

    def _drift_of_tables(
        self,
        reference: pa.Table,
        current: pa.Table,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        common = [name for name in reference.column_names if name in current.column_names]
        if not common:
            raise ValueError("the two tables have no column in common")
        rows = pa.concat_tables(
            [plain(side.select(common)) for side in (reference, current)],
            promote_options="permissive",
        )
        command = {
            "op": "drift",
            "reference_rows": reference.num_rows,
            "reference_name": "reference",
            "current_name": "current",
            **options,
        }
        exchange = self._flight.exchange(command, open_source(rows), "drift")
        for _ in exchange.batches():
            pass
        return exchange.metadata

    def _read_source(self, source: dict[str, str]) -> pa.Table:
        if "sql" in source:
            return self.sql(source["sql"])
        kind, _, rest = source["ref"].partition("/")
        name, _, version = rest.partition("@")
        if kind == "view":
            return self.read_feature_view(name)
        return self.read_dataset(name, int(version) if version else None)

    # Runs and models

    def start_run(
        self,
        project: str,
        config: dict[str, Any] | None = None,
        name: str = "",
        tags: dict[str, Any] | None = None,
        inputs: Iterable[Any] | None = None,
    ) -> Run:
        """Starts a run; ``driftline.init`` is the same without a store at hand.

        Example:
            >>> with store.start_run("late_departure", config={"depth": 6}) as run:
            ...     run.log({"auc": 0.71})
        """
        return self._begin_run(run_spec(project, config, name, tags), {}, inputs, "never")

    def _begin_run(
        self,
        spec: dict[str, Any],
        marks: dict[str, str],
        inputs: Iterable[Any] | None,
        resume: str,
    ) -> Run:
        """Starts a run, or goes on with one; marks are tags that the user did not give."""
        if marks:
            spec["tags"] = marks | spec.get("tags", {})
        refs = context.current(self.url) if inputs is None else [ref_of(i) for i in inputs]
        body = self._resumed(spec, refs, resume) if resume != "never" else None
        if body is None:
            body = self._created(spec, refs, inputs is not None)
        run = self._run_of(body)
        context.began(self.url, run)
        return run

    def _created(self, spec: dict[str, Any], refs: list[str], asked: bool) -> dict[str, Any]:
        try:
            return self._http.post_once("runs", body=spec | ({"inputs": refs} if refs else {}))
        except NotFoundError:
            if asked or not refs:
                raise
            return self._http.post_once("runs", body=spec)  # the data folder is another one since

    def _resumed(self, spec: dict[str, Any], refs: list[str], resume: str) -> dict[str, Any] | None:
        """Goes on with the run of that id; None if there is none and there need not be."""
        id = spec.get("id")
        if not id:
            raise ValueError("a run is resumed by its id: give id=")
        try:
            self._http.patch("runs", id, body={"status": "RUNNING"})
        except NotFoundError:
            if resume == "must":
                raise
            return None
        news = {"params": spec.get("params"), "tags": spec.get("tags"), "inputs": refs}
        return self._http.post("runs", id, "log", body={k: v for k, v in news.items() if v})

    def _run_of(self, body: dict[str, Any]) -> Run:
        run = Run(self._http, body)
        run._put_points = self._log_points
        return run

    def _log_points(self, run: str, points: pa.Table) -> int:
        """Logs points of the form of offline.POINTS over Flight."""
        answer = self._flight.put({"op": "metrics", "run": run}, open_source(points), "points")
        return int(answer["points"])

    def run(self, id: str) -> Run:
        """Returns a run."""
        return self._run_of(self._http.get("runs", id))

    def runs(self, project: str | None = None) -> list[Run]:
        """Returns all runs, or those of one project (experiment)."""
        runs, after = [], None
        while True:
            page = self._http.get("runs", experiment=project, after=after)
            runs += (self._run_of(run) for run in page["runs"])
            after = page.get("next")
            if not after:
                return runs

    def search_runs(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        projects: Sequence[str] = (),
        limit: int = 1000,
        offset: int = 0,
    ) -> list[Run]:
        """Returns the runs that a filter finds.

        The language is that of ``mlflow.search_runs``, with OR, NOT, brackets, numbers in
        params and regular expressions.

        Args:
            filter: Such as ``metrics.auc > 0.7 AND (params.depth > 6 OR tags.team = 'ops')``.
            order_by: Such as ``["metrics.auc DESC"]``; the newest first if left out.
            projects: Only runs of these projects (experiments).
            limit: At most so many.
            offset: Skip so many first.

        Example:
            >>> store.search_runs("metrics.auc > 0.7", order_by=["metrics.auc DESC"])[0]
            Run(late_departure-1, FINISHED, auc=0.71)
        """
        if isinstance(order_by, str) or isinstance(projects, str):
            raise TypeError("order_by and projects are lists of texts")
        search = {
            "filter": filter,
            "order_by": list(order_by),
            "experiments": list(projects),
            "limit": limit,
            "offset": offset,
        }
        body = self._http.post("runs", "search", body=search)
        return [self._run_of(r) for r in body["runs"] or ()]

    def group_runs(
        self,
        by: str,
        metrics: Sequence[str] = (),
        filter: str = "",
        projects: Sequence[str] = (),
        limit: int = 100,
        offset: int = 0,
    ) -> list[RunGroup]:
        """Returns the runs that a filter finds in groups, with what their metrics are.

        Groups come by their values: as numbers where all are, and what has none last.

        Args:
            by: ``params.depth``, ``tags.team``, ``parent``, or an attribute that is a text
                such as ``status``.
            metrics: Keys of those to be summed up; the eight that most runs have if left out.
            filter: As in :meth:`search_runs`.
            projects: Only runs of these projects (experiments).
            limit: At most so many groups.
            offset: Skip so many first.

        Example:
            >>> for group in store.group_runs("params.depth", metrics=["auc"]):
            ...     print(group.value, group.runs, group.metrics["auc"].mean)
        """
        if isinstance(metrics, str) or isinstance(projects, str):
            raise TypeError("metrics and projects are lists of texts")
        grouping = {
            "by": by,
            "metrics": list(metrics),
            "filter": filter,
            "experiments": list(projects),
            "limit": limit,
            "offset": offset,
        }
        body = self._http.post("runs", "groups", body=grouping)
        return [run_group(g) for g in body["groups"]]

    # Lineage

    def lineage(self, thing: Any, direction: str = "up", depth: int | None = None) -> Lineage:
        """Returns what a thing was made from, or what was made from it.

        Example:
            >>> store.lineage("model/late_departure@1")

        Args:
            thing: A reference, or a model version, run or dataset.
            direction: ``up`` or ``down``.
            depth: How many steps; all by default.
        """
        if direction not in ("up", "down"):
            raise ValueError(f"direction is {direction!r}, want 'up' or 'down'")
        body = self._http.get("lineage", ref=ref_of(thing), direction=direction, depth=depth)
        return Lineage(body, direction)

    def why(self, prediction: str | int, log: str = "", rows: int = 5) -> PredictionTrace:
        """Traces a prediction to the model, the run and the training rows it comes from.

        Example:
            >>> store.why("p-1").features

        Args:
            prediction: Its id in a prediction log (a view with ``predictions=``).
            log: The log's view; all logs are searched by default.
            rows: How many training rows of the prediction's entity to return, at most 100.

        Raises:
            NotFoundError: No prediction log has the id.
        """
        ask = {"prediction": str(prediction), "log": log or None, "rows": rows}
        return PredictionTrace(self._http.get("why", **ask))

    def log_predictions(
        self, model: str, data: Any, *, entity: Sequence[str] = ()
    ) -> PredictionReceipt:
        """Logs predictions of a model; when it returns, they are durable.

        Example:
            >>> store.log_predictions("late_departure", scored, entity=["flight"]).ids[:1]
            ['0199a3…']

        Args:
            model: A registered model.
            data: Rows, as of :meth:`ingest`. Columns called like those of the log are that
                (``prediction_id``, ``event_timestamp``, ``model_version``, ``arm``,
                ``prediction``, ``score``, ``latency_ms``, ``status``, ``fault`` …); all others
                are features as they were served. Rows without an id get one; sent again with
                the same id and time they change nothing.
            entity: The columns that are join keys.

        Raises:
            NotFoundError: If there is no such model.
            InvalidError: If a column cannot be what its name says.
        """
        command = {"op": "predictions", "model": model, "entity": list(entity)}
        return PredictionReceipt.from_json(
            self._flight.put(command, open_source(data), label=f"{model} predictions")
        )

    def log_labels(self, model: str, data: Any, *, entity: Sequence[str] = ()) -> LabelReceipt:
        """Says the truth of predictions: late, again, corrected, or before they were logged.

        Example:
            >>> store.log_labels("late_departure", [{"prediction_id": "p-77", "label": 1}])

        Args:
            model: A registered model.
            data: Rows, as of :meth:`ingest`, with ``prediction_id``, or ``prediction_time`` and
                join keys; ``label`` (a number) or ``label_text``; and, if known,
                ``event_timestamp`` (when it became known, now by default) and
                ``labelled_by``. Of several labels of a prediction the one that became
                known last counts. A null label takes back what was said.
            entity: The columns that are join keys.

        Raises:
            NotFoundError: If there is no such model.
            InvalidError: If a label is from the future, or of nothing.
        """
        command = {"op": "labels", "model": model, "entity": list(entity)}
        return LabelReceipt.from_json(
            self._flight.put(command, open_source(data), label=f"{model} labels")
        )

    def prediction_log(self, model: str) -> dict[str, Any]:
        """Returns how predictions of a model are logged, and what was logged and dropped."""
        answer: dict[str, Any] = self._http.get("models", model, "predictions")
        return answer

    def configure_prediction_log(
        self,
        model: str,
        *,
        mode: str = "",
        overflow: str = "",
        fields: Sequence[str] = (),
        most_bytes: int = 0,
    ) -> dict[str, Any]:
        """Says how predictions of a model are logged; what is left out has its default.

        Args:
            model: A registered model.
            mode: ``async`` or ``sync``: whether who logs waits until it is durable.
            overflow: ``drop_oldest``, ``block`` or ``sample``: what gives way when
                predictions come faster than they can be written.
            fields: The features and join keys that may be kept; all by default.
            most_bytes: Of an output, and of a record's features; 64 KiB by default.
        """
        body = {"mode": mode, "overflow": overflow, "fields": list(fields)}
        body["most_bytes"] = most_bytes
        answer: dict[str, Any] = self._http.put("models", model, "predictions", body=body)
        return answer

    def labels(self, model: str, since: datetime | None = None) -> dict[str, Any]:
        """Returns how many predictions have a label so far, and how late labels come."""
        at = format_time(since) if since is not None else None
        answer: dict[str, Any] = self._http.get("models", model, "labels", since=at)
        return answer

    def ask_labels(
        self, model: str, *, budget: int = 100, by: str = "both", save_as: str = ""
    ) -> dict[str, Any]:
        """Chooses predictions that are worth a label, and keeps them as a dataset.

        Example:
            >>> store.ask_labels("late_departure", budget=200)["dataset"]
            'dataset/late_departure_to_label@1'

        Args:
            model: A registered model.
            budget: How many to ask for at most.
            by: ``uncertain``, ``drifted`` or ``both``.
            save_as: The dataset; the model's name and ``_to_label`` by default.
        """
        body = {"budget": budget, "by": by, "save_as": save_as}
        answer: dict[str, Any] = self._http.post("models", model, "label-requests", body=body)
        return answer

    def model_performance(
        self,
        model: str,
        *,
        by: Sequence[str] = (),
        task: str = "",
        window: timedelta | str | None = None,
        metrics: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Measures a model by its predictions and the labels that are known by now.

        Example:
            >>> store.model_performance("late_departure", by=["model_version"])["groups"]

        Args:
            model: A registered model.
            by: Columns of the log, such as ``model_version`` or ``arm``: each combination
                of their values is measured apart.
            task: ``classification``, ``regression`` or ``ranking``; found out by default.
            window: How long the windows are; a day by default.
            metrics: Metrics of one's own: an SQL aggregate by name.
        """
        body: dict[str, Any] = {"by": list(by), "task": task, "metrics": dict(metrics or {})}
        if window is not None:
            body["window"] = window if isinstance(window, str) else format_duration(window)
        answer: dict[str, Any] = self._http.post("models", model, "performance", body=body)
        return answer

    def _schema_of(self, view: str) -> pa.Schema:
        """Returns the names and types of a view's features and join keys."""
        body = self._http.get("feature-views", view)
        registered = FeatureView.from_json(body)
        fields = [(k["name"], k["type"]) for k in body.get("join_keys") or ()]
        times = [registered.timestamp_field, registered.created_timestamp_column]
        fields += [(name, "timestamp") for name in times if name]
        fields += [(f.name, f.dtype) for f in registered.schema]
        return pa.schema([(name, Type.parse(type_).to_arrow()) for name, type_ in fields])


def _online_command(
    features: Features, full_feature_names: bool, at: datetime | str | None, metadata: bool
) -> dict[str, Any]:
    command: dict[str, Any] = {"op": "online", **feature_set_json(features)}
    if metadata:
        command["metadata"] = True
    if full_feature_names:
        command["full_feature_names"] = True
    if at is not None:
        command["at"] = format_time(at)
    return command


def _server_spine(entity_df: Any, start: Any, end: Any) -> dict[str, Any] | None:
    """Returns the server's form of a spine that it has itself, or None for a table."""
    if start is not None or end is not None:
        if entity_df is not None:
            raise ValueError("give entity_df, or start_date and end_date, but not both")
        bounds = {"start": start, "end": end}
        return {"range": {k: format_time(t) for k, t in bounds.items() if t is not None}}
    if entity_df is None:
        raise ValueError("there is no spine: give entity_df, or start_date and end_date")
    if isinstance(entity_df, Dataset):
        return {"dataset": entity_df.ref}
    if not isinstance(entity_df, str):
        return None
    text = entity_df.strip()
    if text.startswith("dataset/"):
        return {"dataset": text}
    return {"sql": text}


def _view_name(view: FeatureView | str) -> str:
    if isinstance(view, FeatureView):
        return view.name
    if isinstance(view, str) and view:
        return view
    raise TypeError(f"view is a feature view or its name, not {view!r}")


def _drift_source(side: Any) -> dict[str, str] | None:
    """Returns the server's form of a side that it has itself, or None for a table."""
    if isinstance(side, Dataset):
        return {"ref": side.ref}
    if isinstance(side, RetrievalJob) or not isinstance(side, str):
        return None
    text = side.strip()
    if text.split(None, 1)[0].upper() in ("SELECT", "WITH", "FROM") if text else False:
        return {"sql": text}
    if text.startswith(("dataset/", "view/")):
        return {"ref": text}
    raise ValueError(
        f"{side!r} is neither a reference (dataset/name@version, view/name) nor a SELECT"
    )


def _server_source(side: Any) -> dict[str, str]:
    source = _drift_source(side)
    if source is None:
        raise TypeError(
            "performance is measured of what the server has: a reference, a Dataset or a SELECT"
        )
    return source


def _key_text(value: Any) -> str:
    """Writes a join key's value as text, as the server reads it."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value).lower() if isinstance(value, bool) else str(value)
