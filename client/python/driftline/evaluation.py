"""Evaluations: what a candidate showed beside the champion before it got any traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from driftline import _html
from driftline._forms import Forms
from driftline.times import parse_time


@dataclass(frozen=True)
class EvaluationCheck:
    """What one check of an evaluation found.

    Attributes:
        check: Which: ``artifact``, ``signature``, ``data``, ``leakage``, ``metric``, ``floor``,
            ``segment``, ``calibration`` or ``latency``.
        subject: The metric or the segment that it is about.
        outcome: ``passed``, ``warned``, ``failed``, ``skipped`` or ``identical``.
        severity: ``blocking`` or ``warning``.
        message: In a sentence.
        difference: Candidate less champion as value, low and high, signed so that more is
            better; None if nothing was compared.
    """

    check: str
    subject: str
    outcome: str
    severity: str
    message: str
    difference: tuple[float, float, float] | None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> EvaluationCheck:
        """Reads the server's form."""
        found = body.get("difference")
        return cls(
            body["check"],
            body.get("subject", ""),
            body["outcome"],
            body["severity"],
            body["message"],
            (float(found["value"]), float(found["low"]), float(found["high"])) if found else None,
        )


class Evaluation(Forms):
    """What a version of a model showed on a frozen dataset, with its evidence.

    Example:
        >>> found = store.evaluate("late_departure", 3)
        >>> if not found.passed:
        ...     raise SystemExit(found)

    Attributes:
        id: Its name, such as ``late_departure-5``.
        model: The model's name.
        candidate: The version that was measured.
        champion: The version that it was held against; None if there was none.
        dataset: The reference of the dataset, with its version.
        outcome: ``passed``, ``warned``, ``failed`` or ``identical``.
        passed: Whether the candidate may get traffic.
        checks: What each check found.
        time: When.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        render: Callable[[Mapping[str, Any], str], str],
    ) -> None:
        self.id: str = body.get("id", "")
        self.model: str = body["model"]
        self.candidate: int = body["candidate"]
        self.champion: int | None = body.get("champion")
        self.dataset: str = body["dataset"]
        self.outcome: str = body["outcome"]
        self.passed: bool = self.outcome in ("passed", "warned")
        self.time: datetime | None = parse_time(body.get("time"))
        self.checks = [EvaluationCheck.from_json(c) for c in body["checks"]]
        super().__init__(body, render)

    @property
    def failed(self) -> list[EvaluationCheck]:
        """The blocking checks that failed."""
        return [c for c in self.checks if c.outcome == "failed"]

    def to_arrow(self) -> pa.Table:
        """Returns one row per check as an Arrow table."""
        names = ("check", "subject", "outcome", "severity", "message")
        return pa.table({n: [getattr(c, n) for c in self.checks] for n in names})

    def to_df(self) -> Any:
        """Returns one row per check as a pandas DataFrame."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        lines = [f"{c.outcome:9}  {c.check}: {c.message}" for c in self.checks]
        return "\n".join([self._summary(), *lines])

    def _repr_html_(self) -> str:
        rows = [(c.outcome, c.check, c.message) for c in self.checks]
        return _html.bold(self._summary()) + _html.table(("outcome", "check", "found"), rows)

    def _summary(self) -> str:
        beside = f" beside @{self.champion}" if self.champion else ""
        return f"model/{self.model}@{self.candidate}{beside} on {self.dataset}: {self.outcome}"
