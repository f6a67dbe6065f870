"""What checking a table found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from driftline import _html
from driftline._forms import Forms


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
