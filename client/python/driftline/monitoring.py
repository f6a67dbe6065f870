"""Monitors that watch tables for drift over time, and the alerts that they raise.

A monitor is applied as a feature view is:

    from driftline import Monitor

    store.apply(Monitor(
        name="weather_daily",
        source="view/weather",
        reference={"moving": "28d"},
        window="1d",
        grace="2h",
        channels=["ops"],
    ))
    store.monitors()["weather_daily"].panes()
    store.alerts(state="firing")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from driftline._http import HTTP
from driftline.times import format_duration, format_time, parse_duration, parse_time


@dataclass(frozen=True)
class Monitor:
    """A monitor, as it is defined.

    Attributes:
        name: Its name.
        source: ``view/weather``, ``dataset/late_departure``, or a SELECT.
        reference: What panes are compared with: ``{"moving": "28d"}``, ``{"same_weekday": 4}``,
            ``{"from": time, "to": time}``, or a dataset, ``"dataset/late_departure@1"``.
        window: How long a pane is: ``"1h"``, ``"1d"``, ``"1w"`` or ``"1mo"``.
        time_column: The column that says to which pane a row belongs; a view has one.
        grace: How long a pane waits for rows that come late.
        early: How often a pane that has not closed is looked at; None for never.
        cron: When panes are evaluated; None for when they close.
        time_zone: Of days, months and cron; an IANA name.
        catch_up: ``all``, ``latest`` or ``none`` of the panes that were missed.
        start: Where the first pane begins; None for now.
        end: When the monitor is over; None for never.
        segments: SQL expressions, each of whose values is compared apart; a dict names them.
        slices: How the rows are searched in which columns changed most: ``{"by": ["origin"],
            "conditions": 1}``, or ``{"off": True}``.
        tests: As the arguments of ``store.drift``: ``columns``, ``exclude``, ``alpha``, ``margin``.
        budget: False alarms in a time: ``(1, "30d")``.
        drifted: How many of the last ``of`` panes must drift for an alert.
        of: Of how many.
        clear: After how many panes in a row without drift an alert ends.
        severity: ``info``, ``warning`` or ``critical``.
        channels: Who is told, by names of the server's settings.
        keep_profiles: Of how many panes, the newest ones, the profile is kept; 0 for 1,000.
        disabled: Whether no panes are evaluated.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    name: str
    source: str
    reference: str | Mapping[str, Any]
    window: str
    time_column: str = ""
    grace: timedelta | str | None = None
    early: timedelta | str | None = None
    cron: str = ""
    time_zone: str = ""
    catch_up: str = ""
    start: datetime | str | None = None
    end: datetime | str | None = None
    segments: Sequence[str] | Mapping[str, str] = ()
    slices: Mapping[str, Any] = field(default_factory=dict)
    tests: Mapping[str, Any] = field(default_factory=dict)
    budget: tuple[float, timedelta | str] | None = None
    drifted: int = 0
    of: int = 0
    clear: int = 0
    severity: str = ""
    channels: Sequence[str] = ()
    keep_profiles: int = 0
    disabled: bool = False
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        source = {"ref": self.source} if _is_ref(self.source) else {"sql": self.source}
        if isinstance(self.segments, Mapping):
            segments = [{"name": name, "expression": sql} for name, sql in self.segments.items()]
        else:
            segments = [{"expression": sql} for sql in self.segments]
        body = {
            "name": self.name,
            "source": _filled({**source, "time_column": self.time_column}),
            "reference": _reference(self.reference),
            "window": self.window,
            "grace": _duration(self.grace),
            "early": _duration(self.early),
            "schedule": _filled(
                {"cron": self.cron, "time_zone": self.time_zone, "catch_up": self.catch_up}
            ),
            "start": format_time(self.start) if self.start else "",
            "end": format_time(self.end) if self.end else "",
            "segments": segments,
            "slices": dict(self.slices),
            "tests": dict(self.tests),
            "budget": {"alarms": self.budget[0], "per": _duration(self.budget[1])}
            if self.budget
            else None,
            "alert": _filled(
                {
                    "drifted": self.drifted,
                    "of": self.of,
                    "clear": self.clear,
                    "severity": self.severity,
                    "channels": list(self.channels),
                }
            ),
            "keep_profiles": self.keep_profiles,
            "disabled": self.disabled,
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
        }
        return _filled(body)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Monitor:
        """Reads the server's form."""
        source, schedule, alert = (body.get(n) or {} for n in ("source", "schedule", "alert"))
        reference, budget = body["reference"], body.get("budget")
        view = source.get("ref", "").startswith("view/")
        segments = body.get("segments") or ()
        if any(s.get("name") for s in segments):
            segments = {s.get("name") or s["expression"]: s["expression"] for s in segments}
        else:
            segments = tuple(s["expression"] for s in segments)
        return cls(
            name=body["name"],
            source=source.get("ref") or source.get("sql", ""),
            reference=reference.get("ref")
            or {n: parse_time(v) if n in _REFERENCE_TIMES else v for n, v in reference.items()},
            window=body["window"],
            # The server fills in that of a view.
            time_column="" if view else source.get("time_column", ""),
            grace=parse_duration(body["grace"]) if body.get("grace") else None,
            early=parse_duration(body["early"]) if body.get("early") else None,
            cron=schedule.get("cron", ""),
            time_zone=schedule.get("time_zone", ""),
            catch_up=schedule.get("catch_up", ""),
            start=parse_time(body["start"]) if body.get("start") else None,
            end=parse_time(body["end"]) if body.get("end") else None,
            segments=segments,
            slices=dict(body.get("slices") or {}),
            tests=dict(body.get("tests") or {}),
            budget=(budget["alarms"], parse_duration(budget["per"])) if budget else None,
            drifted=alert.get("drifted", 0),
            of=alert.get("of", 0),
            clear=alert.get("clear", 0),
            severity=alert.get("severity", ""),
            channels=tuple(alert.get("channels") or ()),
            keep_profiles=body.get("keep_profiles", 0),
            disabled=body.get("disabled", False),
            description=body.get("description", ""),
            owner=body.get("owner", ""),
            tags=dict(body.get("tags") or {}),
        )


@dataclass(frozen=True)
class Pane:
    """One evaluation of one pane.

    Attributes:
        monitor: The monitor's name.
        start: Where it begins, inclusive.
        end: Where it ends, exclusive.
        outcome: ``drift``, ``same``, ``not enough data`` or ``failed``.
        rows: How many rows it had.
        late: How many came since then; None if they were not counted.
        drifted: How many columns drifted.
        compared: Of how many, over all segments.
        columns: Those that drifted, by effect.
        slices: Where they changed more than elsewhere, the worst first.
        evaluation: 1 for the first, 2, … for those by command.
        error: Why it could not be compared.
    """

    monitor: str
    start: datetime
    end: datetime
    outcome: str
    rows: int
    late: int | None
    drifted: int
    compared: int
    columns: tuple[dict[str, Any], ...]
    slices: tuple[dict[str, Any], ...]
    evaluation: int
    error: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Pane:
        """Reads the server's form."""
        return cls(
            monitor=body["monitor"],
            start=parse_time(body["start"]),
            end=parse_time(body["end"]),
            outcome=body["outcome"],
            rows=body["rows"],
            late=body.get("late"),
            drifted=body["drifted"],
            compared=body["compared"],
            columns=tuple(body.get("columns") or ()),
            slices=tuple(body.get("slices") or ()),
            evaluation=body["evaluation"],
            error=body.get("error", ""),
        )


class RegisteredMonitor:
    """A monitor of a server, and where it stands.

    Attributes:
        definition: The definition, as the server has it.
        state: Where it stands: ``phase``, ``panes``, ``alert`` and more.
    """

    def __init__(self, http: HTTP, body: Mapping[str, Any]) -> None:
        """Reads the server's form."""
        self._http = http
        self._take(body)

    def _take(self, body: Mapping[str, Any]) -> RegisteredMonitor:
        self.definition: dict[str, Any] = body["monitor"]
        self.state: dict[str, Any] = body["state"]
        return self

    @property
    def name(self) -> str:
        """The monitor's name."""
        return self.definition["name"]

    @property
    def phase(self) -> str:
        """``ok``, ``pending`` or ``firing``."""
        return self.state["phase"]

    def panes(self, limit: int = 50, late: bool = False) -> list[Pane]:
        """Returns the panes that were evaluated, the newest first."""
        body = self._http.get(
            "monitors", self.name, "panes", limit=limit, late="true" if late else None
        )
        return [Pane.from_json(p) for p in body["panes"] or ()]

    def report(self, pane: datetime | str) -> dict[str, Any]:
        """Returns everything that was found in the pane that a time is in."""
        return self._http.get("monitors", self.name, "panes", format_time(pane))

    def rows(
        self,
        pane: datetime | str,
        *,
        column: str = "",
        bin: int | str | None = None,
        segment: str = "",
        slice: int | None = None,
        side: str = "pane",
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Returns rows behind a finding, as they are now.

        Args:
            pane: A time in the pane.
            column: Only those in a bin of this column's histogram.
            bin: Which bin, from 1, or ``"missing"``; None for the one whose share rose most.
            segment: Only those of a segment, as results name it: ``"origin=JFK"``.
            slice: Only those of one of the pane's slices, from 1.
            side: ``"pane"`` or ``"reference"``.
            limit: How many at most.
        """
        body = self._http.get(
            "monitors",
            self.name,
            "panes",
            format_time(pane),
            "rows",
            column=column or None,
            bin=bin,
            segment=segment or None,
            slice=slice,
            side=side,
            limit=limit,
        )
        names = [c["name"] for c in body["columns"]]
        return [dict(zip(names, row, strict=True)) for row in body["rows"]]

    def run(self, pane: datetime | str | None = None) -> list[Pane]:
        """Evaluates the panes that are due now, or one pane again."""
        asked = {"pane": format_time(pane)} if pane else {}
        body = self._http.post("monitors", self.name, "run", body=asked)
        return [Pane.from_json(p) for p in body["panes"] or ()]

    def pause(self) -> RegisteredMonitor:
        """Evaluates no panes until it is resumed."""
        return self._take(self._http.post("monitors", self.name, "pause", body={}))

    def resume(self) -> RegisteredMonitor:
        """Goes on."""
        return self._take(self._http.post("monitors", self.name, "resume", body={}))

    def snooze(self, until: datetime | str) -> RegisteredMonitor:
        """Keeps quiet about new alerts until a time."""
        body = {"until": format_time(until)}
        return self._take(self._http.post("monitors", self.name, "snooze", body=body))

    def __repr__(self) -> str:
        return f"Monitor({self.name!r}, {self.phase}, {self.state['panes']} panes)"


class Alert:
    """An episode of a monitor.

    Attributes:
        details: Everything that the server knows of it.
    """

    def __init__(self, http: HTTP, body: Mapping[str, Any]) -> None:
        """Reads the server's form."""
        self._http = http
        self.details: dict[str, Any] = dict(body)

    @property
    def id(self) -> str:
        """Its name."""
        return self.details["id"]

    @property
    def state(self) -> str:
        """``firing`` or ``resolved``."""
        return self.details["state"]

    @property
    def summary(self) -> str:
        """What drifted."""
        return self.details.get("summary", "")

    @property
    def columns(self) -> list[dict[str, Any]]:
        """The columns that drifted, by effect."""
        return list(self.details.get("columns") or ())

    @property
    def slices(self) -> list[dict[str, Any]]:
        """Where they changed more than elsewhere, the worst first."""
        return list(self.details.get("slices") or ())

    @property
    def remedies(self) -> list[dict[str, Any]]:
        """What could be done about it: ``action``, ``model``, ``text`` and ``command`` of each."""
        return list(self._http.get("alerts", self.id).get("remedies") or ())

    def do(self, action: str, *, model: str = "", by: str = "", reason: str = "") -> dict[str, Any]:
        """Does one of its remedies, and returns what came of it: ``ref`` and ``text``.

        Args:
            action: ``retrain``, ``roll_back``, ``label``, ``re_reference``, ``snooze``, ``ignore``.
            model: Whose; needed only where it could be of several models.
            by: Who does it.
            reason: Why; that of the alert if left out.
        """
        body = {"model": model, "by": by, "reason": reason}
        done = self._http.post("alerts", self.id, "remedies", action, body=body)
        self.details = dict(self._http.get("alerts", self.id))
        return done

    def acknowledge(self, by: str = "", comment: str = "") -> Alert:
        """Says that somebody looks after it: nobody else is told of it."""
        return self._change("acknowledge", {"by": by, "comment": comment})

    def snooze(self, until: datetime | str, by: str = "") -> Alert:
        """Keeps quiet about it until a time."""
        return self._change("snooze", {"by": by, "until": format_time(until)})

    def resolve(self, by: str = "", comment: str = "") -> Alert:
        """Ends it by hand."""
        return self._change("resolve", {"by": by, "comment": comment})

    def _change(self, verb: str, body: dict[str, Any]) -> Alert:
        self.details = dict(self._http.post("alerts", self.id, verb, body=body))
        return self

    def __repr__(self) -> str:
        return f"Alert({self.id!r}, {self.state}: {self.summary})"


_REFERENCE_TIMES = {"from", "to"}


def _is_ref(text: str) -> bool:
    return text.startswith(("view/", "dataset/"))


def _reference(reference: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(reference, str):
        return {"ref": reference}
    return {n: format_time(v) if n in _REFERENCE_TIMES else v for n, v in reference.items()}


def _duration(value: timedelta | str | None) -> str:
    return format_duration(value) if isinstance(value, timedelta) else value or ""


def _filled(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value}
