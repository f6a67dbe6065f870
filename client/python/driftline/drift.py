"""What comparing two tables found.

Numeric columns are compared by the exact two-sample Kolmogorov–Smirnov test,
categorical ones by a chi-square test of homogeneity; p-values are adjusted over all
columns (Benjamini–Hochberg), and a column has drifted if the adjusted value is at most
``alpha`` and the effect is at least ``margin``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftline import _html


@dataclass(frozen=True)
class ColumnDrift:
    """What was found in one column.

    Attributes:
        column: The column's name.
        kind: ``numeric`` or ``categorical``.
        test: ``ks`` or ``chi2``; empty if the column could not be tested.
        statistic: D of Kolmogorov and Smirnov, or chi-square.
        p_value: How likely a difference like this is if nothing changed.
        q_value: The p-value, adjusted over all columns.
        effect: From 0 (none) to 1 (complete): D, or Cramér's V.
        location: For ``ks``: the value at which the distributions differ most.
        verdict: ``drift``, ``same``, ``not enough data`` or ``not compared``.
        note: Why there is no test, or what to know of it.
        reference_rows: How many values of the reference were tested.
        current_rows: How many current values were tested.
        reference_nulls: How many values of the reference are null.
        current_nulls: How many current values are null.
        histogram: Counts of both sides over the same bins: ``edges`` or ``categories``,
            ``reference``, ``current``.
    """

    column: str
    kind: str
    test: str
    statistic: float
    p_value: float
    q_value: float
    effect: float
    location: float
    verdict: str
    note: str
    reference_rows: int
    current_rows: int
    reference_nulls: int
    current_nulls: int
    histogram: dict[str, Any]

    @property
    def has_drift(self) -> bool:
        """Whether the column has drifted."""
        return self.verdict == "drift"

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ColumnDrift:
        """Reads the server's form."""
        return cls(
            column=body["column"],
            kind=body["kind"],
            test=body["test"],
            # NaN and the infinities come as texts, which float reads too.
            statistic=float(body["statistic"]),
            p_value=float(body["p_value"]),
            q_value=float(body["q_value"]),
            effect=float(body["effect"]),
            location=float(body["location"]),
            verdict=body["verdict"],
            note=body.get("note", ""),
            reference_rows=body["reference_rows"],
            current_rows=body["current_rows"],
            reference_nulls=body["reference_nulls"],
            current_nulls=body["current_nulls"],
            histogram=dict(body["histogram"]),
        )


class DriftReport:
    """What comparing current data with reference data found.

    Example:
        >>> report = store.drift(winter, summer)
        >>> report.has_drift
        True
        >>> report.to_df().head()
        >>> report.to_html("drift.html")

    Attributes:
        reference: Name of the reference.
        current: Name of the current data.
        reference_rows: How many rows the reference has.
        current_rows: How many rows the current data has.
        alpha: The false discovery rate over all columns.
        margin: The smallest effect that counts.
        columns: One entry per column; drifted ones first, then by effect.
    """

    def __init__(self, body: Mapping[str, Any], render: Callable[[Mapping[str, Any]], str]) -> None:
        self.reference: str = body["reference"]["name"]
        self.current: str = body["current"]["name"]
        self.reference_rows: int = body["reference"]["rows"]
        self.current_rows: int = body["current"]["rows"]
        self.alpha: float = body["alpha"]
        self.margin: float = body["margin"]
        self.columns = [ColumnDrift.from_json(c) for c in body["columns"] or ()]
        self._body = dict(body)
        self._render = render

    @property
    def has_drift(self) -> bool:
        """Whether any column has drifted."""
        return any(c.has_drift for c in self.columns)

    @property
    def drifted_columns(self) -> list[str]:
        """The names of the columns that have drifted."""
        return [c.column for c in self.columns if c.has_drift]

    def __getitem__(self, column: str) -> ColumnDrift:
        for c in self.columns:
            if c.column == column:
                return c
        raise KeyError(f"{column!r} was not compared; columns: {[c.column for c in self.columns]}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the report in the server's JSON form."""
        return dict(self._body)

    def to_df(self) -> Any:
        """Returns one row per column as a pandas DataFrame, without the histograms."""
        import pandas as pd

        rows = [{k: v for k, v in vars(c).items() if k != "histogram"} for c in self.columns]
        names = [n for n in ColumnDrift.__dataclass_fields__ if n != "histogram"]
        return pd.DataFrame(rows, columns=names)

    def to_html(self, path: str | Path | None = None) -> str:
        """Returns the report as a page that needs nothing else, and writes it to ``path``.

        The server draws it: a table and a pair of histograms for each column.
        """
        page = self._render(self._body)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def __repr__(self) -> str:
        rows = [_HEAD, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([self._summary(), *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        return _html.bold(self._summary()) + _html.table(_HEAD, self._rows())

    def _summary(self) -> str:
        compared = sum(c.verdict != "not compared" for c in self.columns)
        return (
            f"{len(self.drifted_columns)} of {compared} columns drifted: "
            f"{self.reference} ({self.reference_rows:,} rows) → "
            f"{self.current} ({self.current_rows:,} rows)"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                c.column,
                c.verdict,
                c.test,
                f"{c.effect:.3f}" if c.test else "",
                _probability(c.q_value) if c.test else "",
                _nulls(c.reference_nulls, c.reference_rows),
                _nulls(c.current_nulls, c.current_rows),
                c.note,
            )
            for c in self.columns
        ]


_HEAD = ("column", "verdict", "test", "effect", "q", "nulls before", "nulls now", "note")


def _probability(p: float) -> str:
    return "<1e-300" if p < 1e-300 else f"{p:.2g}"


def _nulls(nulls: int, rows: int) -> str:
    if not nulls:
        return "0"
    share = nulls / (nulls + rows)
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"
