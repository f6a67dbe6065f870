"""Checks of tables: sets of them that a server knows by name, and what checking found.

A set is applied as a feature view is, and checked by its name:

    from driftline import Validation

    store.apply(Validation(
        name="weather",
        table="view/weather",
        checks=[{"check": "nulls", "column": "temp", "max": 0.01}],
    ))
    store.validations()["weather"].run().passed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from driftline import _html
from driftline._forms import Forms
from driftline._http import HTTP
from driftline.times import parse_time


@dataclass(frozen=True)
class Validation:
    """A set of checks that a table must pass, as it is defined.

    Attributes:
        name: Its name.
        table: What is checked: ``view/weather``, ``dataset/late_departure@1`` or a SELECT.
        checks: One dict for each check, with the fields that the YAML of
            ``driftline validate`` has: ``{"check": "nulls", "column": "temp"}``.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    name: str
    table: str
    checks: Sequence[Mapping[str, Any]]
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        body = {
            "name": self.name,
            "table": self.table,
            "checks": [dict(check) for check in self.checks],
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
        }
        return {name: value for name, value in body.items() if value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Validation:
        """Reads the server's form."""
        return cls(
            name=body["name"],
            table=body["table"],
            checks=[dict(check) for check in body["checks"]],
            description=body.get("description", ""),
            owner=body.get("owner", ""),
            tags=dict(body.get("tags") or {}),
        )


@dataclass(frozen=True)
class ValidationRun:
    """One time that a set was checked.

    Attributes:
        run: Its number, from 1.
        at: When it was.
        version: Of the set's definition.
        passed: Whether no blocking check failed.
        failed: How many blocking checks failed.
        warned: How many others did.
        checks: Of how many.
        rows: How many rows the table had.
    """

    run: int
    at: datetime
    version: int
    passed: bool
    failed: int
    warned: int
    checks: int
    rows: int

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ValidationRun:
        """Reads the server's form."""
        names = ("run", "version", "passed", "failed", "warned", "checks", "rows")
        return cls(at=parse_time(body["at"]), **{name: body[name] for name in names})


class RegisteredValidation:
    """A set of checks of a server, and how it went last.

    Attributes:
        definition: The definition, as the server has it.
        last: How it went last; None if it was never checked.
    """

    def __init__(
        self,
        http: HTTP,
        render: Callable[[Mapping[str, Any], str], str],
        body: Mapping[str, Any],
    ) -> None:
        """Reads the server's form."""
        self._http = http
        self._render = render
        self.definition = Validation.from_json(body["validation"])
        last = body.get("last")
        self.last: ValidationRun | None = ValidationRun.from_json(last) if last else None

    @property
    def name(self) -> str:
        """The set's name."""
        return self.definition.name

    def run(self) -> ValidationReport:
        """Checks the table now; the server keeps how it went."""
        body = self._http.post("validations", self.name, "run", body={})
        last = {"checks": len(body["results"]), **{n: body[n] for n in body if n != "results"}}
        self.last = ValidationRun.from_json(last)
        return ValidationReport(body, self._render)

    def runs(self, limit: int = 50) -> list[ValidationRun]:
        """Returns how it went, the newest run first."""
        body = self._http.get("validations", self.name, "runs", limit=limit)
        return [ValidationRun.from_json(r) for r in body["runs"] or ()]

    def report(self, run: int | None = None) -> ValidationReport:
        """Returns what a run found; of the last one with examples of rows that break checks."""
        which = "last" if run is None else str(run)
        body = self._http.get("validations", self.name, "runs", which)
        return ValidationReport(body, self._render)

    def __repr__(self) -> str:
        if self.last is None:
            return f"Validation({self.name!r}, never checked)"
        went = "passed" if self.last.passed else f"{self.last.failed} failed"
        return f"Validation({self.name!r}, run {self.last.run}: {went})"


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        check: The check as it was given.
        title: What it asks, in words.
        outcome: ``passed``, ``failed`` or ``warned``.
        found: What was found, in words.
        observed: What was compared: a share, a mean, an age in seconds; NaN if it is no number.
        looked: How many values or rows were looked at.
        bad: How many of them break the check.
        examples: A few bad rows, as dicts of texts.
    """

    check: dict[str, Any]
    title: str
    outcome: str
    found: str
    observed: float
    looked: int
    bad: int
    examples: list[dict[str, str | None]]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> CheckResult:
        """Reads the server's form."""
        examples = body.get("examples") or {"columns": [], "rows": []}
        return cls(
            check=dict(body["check"]),
            title=body["title"],
            outcome=body["outcome"],
            found=body["found"],
            observed=float(body["observed"]),
            looked=body["looked"],
            bad=body["bad"],
            examples=[dict(zip(examples["columns"], row, strict=True)) for row in examples["rows"]],
        )


class ValidationReport(Forms):
    """What checking a table found.

    Example:
        >>> report = store.validate("view/weather", [
        ...     {"check": "nulls", "column": "temp", "max": 0.01},
        ...     {"check": "range", "column": "temp", "min": -40, "max": 130},
        ... ])
        >>> report.passed
        True

    Attributes:
        table: What was checked.
        rows: How many rows it has.
        passed: Whether no blocking check failed.
        results: One entry per check; failed ones first, then warnings.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        render: Callable[[Mapping[str, Any], str], str],
    ) -> None:
        self.table: str = body["table"]
        self.rows: int = body["rows"]
        self.passed: bool = body["passed"]
        self.results = [CheckResult.from_json(r) for r in body["results"]]
        super().__init__(body, render)

    @property
    def failed(self) -> list[CheckResult]:
        """The blocking checks that failed."""
        return [r for r in self.results if r.outcome == "failed"]

    @property
    def warned(self) -> list[CheckResult]:
        """The checks that failed and are warnings only."""
        return [r for r in self.results if r.outcome == "warned"]

    def to_arrow(self) -> pa.Table:
        """Returns one row per check as an Arrow table, without what is nested."""
        names = ("title", "outcome", "found", "observed", "looked", "bad")
        return pa.table({n: [getattr(r, n) for r in self.results] for n in names})

    def to_df(self) -> Any:
        """Returns one row per check as a pandas DataFrame, without what is nested."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        lines = [f"{r.outcome:7}  {r.title}: {r.found}" for r in self.results]
        return "\n".join([self._summary(), *lines])

    def _repr_html_(self) -> str:
        rows = [(r.outcome, r.title, r.found) for r in self.results]
        return _html.bold(self._summary()) + _html.table(("outcome", "check", "found"), rows)

    def _summary(self) -> str:
        return (
            f"{self.table} ({self.rows:,} rows): {len(self.failed)} of {len(self.results)} "
            f"checks failed, {len(self.warned)} warned"
        )
