"""How well a model does, window by window, and why it does worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from driftline import _html
from driftline._forms import Forms


class PerformanceReport(Forms):
    """What measuring a model found.

    Example:
        >>> report = store.performance(
        ...     "dataset/scored@1", task="regression", prediction="predicted", label="delay"
        ... )
        >>> report.to_df()
        >>> report.to_html("performance.html")

    Attributes:
        source: Name of the predictions.
        rows: How many predictions there are.
        task: ``classification``, ``regression`` or ``ranking``.
        alpha: One minus the confidence of intervals.
        fell: Whether any metric fell by the rule of windows or is worse than before.
        metrics: What became of each metric, by its name, in the server's form: ``first``
            and ``recent`` mean, ``fell``, intervals ``before`` and ``after``, ``worse``.
        windows: The windows with rows, in the server's form.
        explanation: Why it fell, in the server's form; None if it did not.
        notes: What to know of the report.
    """

    def __init__(
        self, body: Mapping[str, Any], render: Callable[[Mapping[str, Any], str], str]
    ) -> None:
        self.source: str = body["source"]["name"]
        self.rows: int = body["source"]["rows"]
        self.task: str = body["task"]
        self.alpha: float = body["alpha"]
        self.fell: bool = body["fell"]
        self.metrics: dict[str, dict[str, Any]] = {m["metric"]: m for m in body["metrics"]}
        self.windows: list[dict[str, Any]] = body["windows"]
        self.explanation: dict[str, Any] | None = body.get("explanation")
        self.notes: list[str] = body.get("notes", [])
        super().__init__(body, render)

    @property
    def causes(self) -> list[tuple[str, float]]:
        """How much the mean loss would have changed by each input alone, the largest first."""
        causes = self.explanation["causes"] if self.explanation else ()
        return [(cause["column"], float(cause["change"])) for cause in causes]

    @property
    def segments(self) -> list[dict[str, Any]]:
        """The rows that got worst: ``conditions``, ``q_value``, ``examples`` and losses."""
        return self.explanation["segments"] if self.explanation else []

    def to_df(self) -> Any:
        """Returns one row per window and metric as a pandas DataFrame.

        The columns are ``start``, ``end``, ``rows``, ``labels``, ``metric``, and the value,
        ``_low`` and ``_high`` of what was ``measured``, ``estimated`` and ``combined``;
        what could not be computed is NaN.
        """
        import pandas as pd

        rows = []
        for window in self.windows:
            for figures in window["metrics"]:
                row = {"start": window.get("start"), "end": window.get("end")}
                row |= {name: window[name] for name in ("rows", "labels")}
                row["metric"] = figures["metric"]
                for how in ("measured", "estimated", "combined"):
                    found = figures.get(how, {})
                    row[how] = float(found.get("value", "nan"))
                    row[f"{how}_low"] = float(found.get("low", "nan"))
                    row[f"{how}_high"] = float(found.get("high", "nan"))
                rows.append(row)
        frame = pd.DataFrame(rows)
        for side in ("start", "end"):
            if side in frame:
                frame[side] = pd.to_datetime(frame[side], utc=True)
        return frame

    def _summary(self) -> str:
        return f"{self.source} ({self.rows:,} rows): {'fell' if self.fell else 'did not fall'}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = []
        for name, change in self.metrics.items():
            verdict = "fell" if change["fell"] else "worse" if change["worse"] else "-"
            before, after = change.get("before"), change.get("after")
            pair = (change["first"], change["recent"])
            if before and after:
                pair = (before["value"], after["value"])
            rows.append((name, *(f"{float(v):.4g}" for v in pair), verdict))
        return rows

    def __repr__(self) -> str:
        lines = [f"{name}: {was} → {now}  {verdict}" for name, was, now, verdict in self._rows()]
        return "\n".join([self._summary(), *lines])

    def _repr_html_(self) -> str:
        table = _html.table(("metric", "before", "now", "verdict"), self._rows())
        return _html.bold(self._summary()) + table
