"""What comparing two tables found.

Numeric columns are compared by the exact two-sample Kolmogorov–Smirnov test,
categorical ones by a chi-square test of homogeneity, and both by tests of what these
are blind to; p-values are combined within a column and adjusted over all columns, and a
column has drifted if the adjusted value is at most ``alpha`` and the effect is at least
``margin``. A preset or the caller's own tests may choose other rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from driftline import _html
from driftline._forms import Forms


@dataclass(frozen=True)
class ColumnDrift:
    """What was found in one column.

    Attributes:
        column: The column's name.
        kind: ``numeric`` or ``categorical``.
        test: The main test, ``ks`` or ``chi2`` by default; empty if the values could
            not be tested.
        statistic: Of the main test: D of Kolmogorov and Smirnov, chi-square, a distance.
        p_value: How likely a difference like this is if nothing changed; NaN for a distance.
        q_value: The p-value of all the column's tests, adjusted over all columns.
        effect: From 0 (none) to 1 (complete): D, or Cramér's V.
        effect_low: Lower bound of the effect, at confidence ``1 - alpha``.
        effect_high: Upper bound of the effect.
        location: For ``ks``: the value at which the distributions differ most.
        combined_p_value: The p-value of the main test and the others together.
        decided_by: The test with the strongest evidence.
        threshold: What that test was compared with.
        detectable: The smallest effect that would have been significant.
        others: Further tests of the same values: dicts of ``name``, ``value``,
            ``p_value``, ``effect``.
        verdict: ``drift``, ``same``, ``not enough data`` or ``not compared``, of the values
            and of the share of missing ones.
        note: Why there is no test, or what to know of it.
        reference_rows: How many values of the reference were tested.
        current_rows: How many current values were tested.
        reference_nulls: How many values of the reference are null or NaN.
        current_nulls: How many current values are null or NaN.
        missing_p_value: How likely the change in the share of missing values is by chance.
        missing_q_value: That p-value, adjusted over all columns.
        missing_effect: Share of missing values now, minus what it was.
        missing_verdict: The verdict on missing values; empty if none are missing.
        unseen_share: Share of current values in categories that the reference does not have.
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
    effect_low: float
    effect_high: float
    location: float
    combined_p_value: float
    decided_by: str
    threshold: float
    detectable: float
    others: list[dict[str, Any]]
    verdict: str
    note: str
    reference_rows: int
    current_rows: int
    reference_nulls: int
    current_nulls: int
    missing_p_value: float
    missing_q_value: float
    missing_effect: float
    missing_verdict: str
    unseen_share: float
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
            effect_low=float(body["effect_low"]),
            effect_high=float(body["effect_high"]),
            location=float(body["location"]),
            combined_p_value=float(body["combined_p_value"]),
            decided_by=body["decided_by"],
            threshold=float(body["threshold"]),
            detectable=float(body["detectable"]),
            others=[
                {name: v if name == "name" else float(v) for name, v in other.items()}
                for other in body.get("others", ())
            ],
            verdict=body["verdict"],
            note=body.get("note", ""),
            reference_rows=body["reference_rows"],
            current_rows=body["current_rows"],
            reference_nulls=body["reference_nulls"],
            current_nulls=body["current_nulls"],
            missing_p_value=float(body["missing_p_value"]),
            missing_q_value=float(body["missing_q_value"]),
            missing_effect=float(body["missing_effect"]),
            missing_verdict=body.get("missing_verdict", ""),
            unseen_share=float(body["unseen_share"]),
            histogram=dict(body["histogram"]),
        )


class DriftReport(Forms):
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
        preset: The rules that decided.
        alpha: The rate of false alarms over all columns.
        correction: How p-values were adjusted for many columns.
        margin: The smallest effect that counts.
        columns: One entry per column; drifted ones first, then by effect.
        share: Share of the compared columns that drifted; NaN if none was compared.
        has_drift: Whether the data set has drifted, by the preset's rule.
        multivariate: What all columns together say, in the server's form; None unless asked for.
    """

    def __init__(
        self, body: Mapping[str, Any], render: Callable[[Mapping[str, Any], str], str]
    ) -> None:
        self.reference: str = body["reference"]["name"]
        self.current: str = body["current"]["name"]
        self.reference_rows: int = body["reference"]["rows"]
        self.current_rows: int = body["current"]["rows"]
        self.preset: str = body["preset"]
        self.alpha: float = body["alpha"]
        self.correction: str = body["correction"]
        self.margin: float = body["margin"]
        self.columns = [ColumnDrift.from_json(c) for c in body["columns"] or ()]
        self.share = float(body["share"])
        self.has_drift: bool = body["drift"]
        self.multivariate: dict[str, Any] | None = body.get("multivariate")
        super().__init__(body, render)

    @property
    def drifted_columns(self) -> list[str]:
        """The names of the columns that have drifted."""
        return [c.column for c in self.columns if c.has_drift]

    def __getitem__(self, column: str) -> ColumnDrift:
        for c in self.columns:
            if c.column == column:
                return c
        raise KeyError(f"{column!r} was not compared; columns: {[c.column for c in self.columns]}")

    def to_df(self) -> Any:
        """Returns one row per column as a pandas DataFrame, without the histograms."""
        import pandas as pd

        rows = [{k: v for k, v in vars(c).items() if k != "histogram"} for c in self.columns]
        names = [n for n in ColumnDrift.__dataclass_fields__ if n != "histogram"]
        return pd.DataFrame(rows, columns=names)

    def to_arrow(self) -> pa.Table:
        """Returns one row per column as an Arrow table, without what is nested."""
        nested = ("others", "histogram")
        names = [n for n in ColumnDrift.__dataclass_fields__ if n not in nested]
        return pa.table({n: [getattr(c, n) for c in self.columns] for n in names})

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
